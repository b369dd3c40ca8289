//! A step timed operation by operation: what it counts against figures made by hand, and that it trains as any other.
//!
//! The contract: no test looks at how long anything took, but for times that must not exceed their sum.

use crate::common::whole::{self, bytes, on_both, rng};
#[cfg(feature = "gpu")]
use recurrent::gpu::Gpu;
use recurrent::internals::plan::{Cost, Op, Plan, Purpose, StepParams, Target};
#[cfg(feature = "gpu")]
use recurrent::wgpu;
use recurrent::{
    Batch, Cell, Config, Device, Directions, Dropout, GradientCheckpointing, InputKind, Loss, Model, Optimizer, Pool,
    Precision, Profile, Recipe, Reset, Trainer,
};
use serde_json::Value;

on_both!(
    every_operation_is_in_a_row,
    weights_are_those_of_a_step,
    a_table_has_its_columns_and_json_its_fields,
    a_step_of_hand_computed_operations,
    a_bad_batch_is_refused_and_trains_nothing,
);

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn in_half_precision_every_operation_is_in_a_row_and_weights_are_those_of_a_step() {
    let device = whole::gpu().with_precision(Precision::F16).unwrap();
    every_operation_is_in_a_row(&device);
    weights_are_those_of_a_step(&device);
}

/// T 3, B 2, I 4, H 5, O 6.
fn small() -> Config {
    Config::lstm(InputKind::Dense(4), 5, 6)
}

fn recipe() -> Recipe {
    Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam(), 1e-2)
}

fn batch(config: &Config, steps: usize, size: usize) -> Batch {
    whole::batch(&mut rng(3), config, Loss::CrossEntropy, steps, size)
}

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone().with_seed(5)).unwrap(), recipe).unwrap()
}

/// Networks that have every operation between them, and how they are trained.
fn networks() -> Vec<(Config, Recipe)> {
    let mut dropout = Dropout::NONE;
    (dropout.inputs, dropout.hidden, dropout.outputs) = (0.1, 0.2, 0.3);
    let gru = |reset| Config::gru(InputKind::Dense(4), 5, 6).with_cell(Cell::Gru(reset));
    vec![
        (small(), recipe()),
        (gru(Reset::AfterProduct).with_layers(2).pool(Pool::Mean), recipe()),
        (gru(Reset::BeforeProduct).with_directions(Directions::Bidirectional).pool(Pool::Last), recipe()),
        (
            Config::elman(InputKind::Tokens(7), 5, 6).with_layers(2).with_learned_initial_state(true),
            recipe().with_dropout(dropout),
        ),
        (
            Config::lstm(InputKind::Tokens(7), 5, 6).with_layers(2),
            recipe().with_gradient_checkpointing(GradientCheckpointing::Sqrt),
        ),
    ]
}

fn every_operation_is_in_a_row(device: &Device) {
    for (config, recipe) in networks() {
        let (steps, size) = (9, 2);
        let (plan, _) = Plan::new(&config, Purpose::Train(&recipe), steps, size, &device.target()).unwrap();
        let mut trainer = trainer(device, &config, recipe);
        let profile = trainer.profile(&batch(&config, steps, size)).unwrap();
        assert_eq!((profile.device.as_str(), profile.steps, profile.batch), (device.name().as_str(), steps, size));
        // Every operation counts in exactly one row.
        let costs: Vec<Cost> = plan.stages().iter().map(|stage| stage.op.cost(&plan)).collect();
        let sum = |of: fn(&recurrent::ProfileRow) -> u64| profile.rows.iter().map(of).sum::<u64>();
        assert_eq!(sum(|row| row.operations as u64), plan.stages().len() as u64);
        let dispatches: usize = plan.stages().iter().map(|stage| stage.op.dispatches(&plan)).sum();
        assert_eq!(sum(|row| row.dispatches as u64), dispatches as u64);
        assert_eq!(sum(|row| row.flops), costs.iter().map(|cost| cost.flops).sum::<u64>());
        assert_eq!(sum(|row| row.bytes), costs.iter().map(|cost| cost.bytes).sum::<u64>());
        for (stage, cost) in plan.stages().iter().zip(&costs) {
            let is_its = |row: &&recurrent::ProfileRow| {
                row.phase == stage.phase && row.op == cost.op && row.tensors == cost.tensors
            };
            assert_eq!(profile.rows.iter().filter(is_its).count(), 1, "{cost:?}");
        }
        // What took longest is first, and no part takes longer than the whole.
        assert!(profile.rows.windows(2).all(|pair| pair[0].micros >= pair[1].micros), "{profile}");
        let parts: f64 = profile.rows.iter().map(|row| row.micros).sum();
        assert!(profile.micros > 0.0 && parts > 0.0 && parts <= 1.001 * profile.micros, "{profile}");
        let shares: f64 = profile.rows.iter().map(|row| row.share).sum();
        assert!((shares - parts / profile.micros).abs() < 1e-9, "{profile}");
    }
}

fn weights_are_those_of_a_step(device: &Device) {
    for (config, recipe) in networks() {
        let batch = batch(&config, 9, 2);
        let [mut plain, mut timed] = [(); 2].map(|()| trainer(device, &config, recipe.clone()));
        plain.step(&batch).unwrap();
        let first = bytes(&mut plain);
        plain.step(&batch).unwrap();
        timed.step(&batch).unwrap();
        timed.profile(&batch).unwrap();
        assert!(bytes(&mut plain) != first, "a step that changes nothing");
        assert!(bytes(&mut plain) == bytes(&mut timed), "{config:?}");
        assert_eq!(plain.metrics().unwrap(), timed.metrics().unwrap());
        assert_eq!(timed.steps_done(), 2);
    }
}

fn a_table_has_its_columns_and_json_its_fields(device: &Device) {
    let profile = trainer(device, &small(), recipe()).profile(&batch(&small(), 3, 2)).unwrap();
    let text = profile.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(&device.name()) && lines[0].contains("T 3, B 2"), "{text}");
    let head: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(head, ["phase", "operation", "tensors", "dispatches", "µs", "GFLOP/s", "GB/s", "share"]);
    let rows = &lines[2..lines.len() - 1];
    assert_eq!(rows.len(), profile.rows.len());
    let width = lines[1].chars().count();
    assert!(rows.iter().all(|row| row.chars().count() == width), "{text}");
    for (line, row) in rows.iter().zip(&profile.rows) {
        assert!(line.contains(&row.op) && line.contains(&row.tensors) && line.ends_with(" %"), "{line}");
    }

    let json: Value = serde_json::to_value(&profile).unwrap();
    let clock = if device.is_gpu() { ["timestamps", "submissions"] } else { ["host", "host"] };
    assert!(clock.contains(&json["clock"].as_str().unwrap()), "{json}");
    assert_eq!((&json["device"], &json["steps"], &json["batch"]), (&device.name().into(), &3.into(), &2.into()));
    let adam = json["rows"].as_array().unwrap().iter().find(|row| row["op"] == "adam").unwrap();
    let keys: Vec<&str> = adam.as_object().unwrap().keys().map(String::as_str).collect();
    let known = [
        "bytes",
        "dispatches",
        "flops",
        "gflops_per_second",
        "gigabytes_per_second",
        "micros",
        "op",
        "operations",
        "phase",
        "share",
        "tensors",
    ];
    assert_eq!(keys, known);
    assert_eq!((&adam["phase"], &adam["dispatches"]), (&"update".into(), &1.into()));
    assert_eq!(adam["tensors"], "parameters ← gradients, parameter_flags");
}

/// FLOP and bytes of the one row of an operation that writes a tensor.
fn counted(profile: &Profile, op: &str, tensors: &str) -> [u64; 2] {
    let rows: Vec<_> = profile.rows.iter().filter(|row| row.op.starts_with(op) && row.tensors == tensors).collect();
    let [row] = rows.as_slice() else { panic!("{op} {tensors}: {} rows in\n{profile}", rows.len()) };
    [row.flops, row.bytes]
}

fn a_step_of_hand_computed_operations(device: &Device) {
    let profile = trainer(device, &small(), recipe()).profile(&batch(&small(), 3, 2)).unwrap();
    let counted = |op, tensors| counted(&profile, op, tensors);
    // x·Wᵀ: [6, 4]·[4, 20]; x, W, b_W and the gates. h·Vᵀ: [6, 5]·[5, 6].
    assert_eq!(counted("matmul", "gates_l0 ← x, parameters"), [2 * 6 * 4 * 20, 4 * (24 + 80 + 20 + 120)]);
    assert_eq!(counted("matmul", "outputs ← history_l0, parameters"), [2 * 6 * 5 * 6, 4 * (30 + 30 + 6 + 36)]);
    // The gradient of h: [6, 6]·[6, 5].
    assert_eq!(counted("matmul", "upstream_l0 ← outputs, parameters"), [2 * 6 * 6 * 5, 4 * (36 + 30 + 30)]);
    // Of 6 logits in 6 rows; logits read and written, targets, mask and loss a row each, the count.
    assert_eq!(counted("cross entropy", "outputs ← targets, loss_weights"), [4 * 36, 4 * (36 + 36 + 6 + 6 + 6 + 1)]);
    // 3 steps of [2, 5]·[5, 20], and 13 for each of 10 units a step. Backwards the last step's goes nowhere: 2
    // products.
    let is_whole = profile.rows.iter().any(|row| row.op == "lstm forward as a whole");
    let u = profile.rows.iter().find(|row| row.op.starts_with("lstm forward")).unwrap().tensors.clone();
    let [forward, moved] = counted("lstm forward", &u);
    assert_eq!(forward, 3 * (2 * 2 * 5 * 20 + 13 * 10));
    // U and b_U once a dispatch, lengths likewise; gates, h and c read and written at every step.
    let dispatches = if is_whole { 1 } else { 3 };
    assert_eq!(moved, 4 * (dispatches * (100 + 20 + 2) + 3 * 2 * (40 + 10 + 10)));
    let [backward, moved] = counted("lstm backward", "gates_l0 ← upstream_l0, parameters");
    assert_eq!(backward, 2 * (2 * 2 * 5 * 20) + 3 * 23 * 10);
    // By steps U is read by 2 of 3 dispatches, as are the gates' gradients of the step after.
    let by_dispatch = if is_whole { 100 + 2 } else { 2 * 100 + 3 * 2 + 2 * 40 };
    // Gates read and written, the gradient of h too; c_t, c_(t-1) and dc read, the gradient of c written.
    assert_eq!(moved, 4 * (by_dispatch + 3 * (80 + 20 + 40)));
    // dᵀ·x over 6 rows, and the sums of d for the bias; one result for each slice.
    let slices = profile.rows.iter().find(|row| row.op == "reduce gradients").unwrap();
    let (plan, _) = Plan::new(&small(), Purpose::Train(&recipe()), 3, 2, &device.target()).unwrap();
    let shape = |name: &str| plan.get(plan.find(name).unwrap()).shape.clone();
    let [cut, flat] = shape("gradient_slices")[..] else { panic!("two dimensions") };
    let [cut, flat] = [cut, flat].map(|size| size as u64);
    let weight = |m: u64, n: u64| [6 * (2 * m * n + m), 4 * (6 * m + 6 * n + cut * (m * n + m))];
    assert_eq!(counted("weight gradient", "gradient_slices ← gates_l0, x"), weight(20, 4));
    assert_eq!(counted("weight gradient", "gradient_slices ← gates_l0, history_l0"), weight(20, 5));
    assert_eq!(counted("weight gradient", "gradient_slices ← outputs, history_l0"), weight(6, 5));
    let parts = 3 * flat.div_ceil(2048);
    assert_eq!(
        [slices.flops, slices.bytes],
        [(cut + 3) * flat, 4 * ((cut + 2) * flat + StepParams::LEN as u64 + parts)]
    );
    // θ, m and v read and written; the gradient and the flags read, the step parameters and a row of metrics.
    let adam = counted("adam", "parameters ← gradients, parameter_flags");
    assert_eq!(adam, [15 * flat, 4 * (8 * flat + StepParams::LEN as u64 + 4)]);
}

fn a_bad_batch_is_refused_and_trains_nothing(device: &Device) {
    let mut trainer = trainer(device, &small(), recipe());
    let other = Config::lstm(InputKind::Dense(3), 5, 6);
    assert!(trainer.profile(&batch(&other, 3, 2)).unwrap_err().to_string().contains("expected"));
    assert_eq!(trainer.steps_done(), 0);
}

#[cfg(feature = "gpu")]
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_device_without_timestamps_is_timed_by_submissions() {
    // Opened without timestamps.
    let (device, queue) = whole::open(|_| ());
    let device = Device::from_gpu(Gpu::from_wgpu(device, queue).unwrap());
    let config = small();
    let batch = batch(&config, 9, 2);
    let mut timed = trainer(&device, &config, recipe());
    let profile = timed.profile(&batch).unwrap();
    assert_eq!(profile.clock, recurrent::TimingSource::Submissions);
    let parts: f64 = profile.rows.iter().map(|row| row.micros).sum();
    assert!(parts > 0.0 && parts <= profile.micros, "{profile}");
    let mut plain = trainer(&whole::gpu(), &config, recipe());
    plain.step(&batch).unwrap();
    assert!(bytes(&mut plain) == bytes(&mut timed));
}

#[cfg(feature = "gpu")]
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn more_operations_than_a_query_set_holds_are_timed() {
    let device = whole::gpu();
    let (config, recipe) = (
        Config::elman(InputKind::Dense(2), 3, 2),
        recipe().with_gradient_checkpointing(GradientCheckpointing::Steps(1)),
    );
    let (plan, _) = Plan::new(&config, Purpose::Train(&recipe), 300, 1, &device.target()).unwrap();
    let operations = plan.stages().len();
    assert!(2 * operations > wgpu::QUERY_SET_MAX_QUERIES as usize, "{operations} operations fit one set");
    let batch = batch(&config, 300, 1);
    let [mut plain, mut timed] = [(); 2].map(|()| trainer(&device, &config, recipe.clone()));
    plain.step(&batch).unwrap();
    let profile = timed.profile(&batch).unwrap();
    assert_eq!(profile.rows.iter().map(|row| row.operations).sum::<usize>(), operations);
    // The segments' are merged, and every kind of them has taken its time; so have those after the first set.
    assert!(profile.rows.len() < 40, "{profile}");
    let late = |row: &&recurrent::ProfileRow| row.op == "adam";
    assert!(profile.rows.iter().find(late).unwrap().micros > 0.0, "{profile}");
    let parts: f64 = profile.rows.iter().map(|row| row.micros).sum();
    assert!(parts <= 1.001 * profile.micros, "{profile}");
    assert!(bytes(&mut plain) == bytes(&mut timed));
}

/// A plan's one operation of a kind.
fn cost_of(plan: &Plan, is: impl Fn(&Op) -> bool) -> [u64; 2] {
    let cost = plan.stages().iter().find(|stage| is(&stage.op)).expect("an operation of the kind").op.cost(plan);
    [cost.flops, cost.bytes]
}

#[test]
fn tokens_and_two_products_are_counted() {
    // B 2, T 3, 4 tokens, H 5, O 6, by steps on the CPU.
    let tokens = Config::gru(InputKind::Tokens(4), 5, 6).with_cell(Cell::Gru(Reset::BeforeProduct));
    let (plan, _) = Plan::new(&tokens, Purpose::Train(&recipe()), 3, 2, &Target::cpu()).unwrap();
    // Of 6 rows the sum with b_W; tokens, W whole as there are fewer tokens than rows, b_W and the gates.
    assert_eq!(cost_of(&plan, |op| matches!(op, Op::Gather(_))), [6 * 15, 4 * (6 + 60 + 15 + 90)]);
    // The first product of [2, 5]·[5, 10], the second of [2, 5]·[5, 5], at 3 steps in 6 dispatches.
    let forward = cost_of(&plan, |op| matches!(op, Op::Forward(_)));
    assert_eq!(forward[0], 3 * (2 * 2 * 5 * 10 + 2 * 2 * 5 * 5 + 10 * 10));
    assert_eq!(forward[1], 4 * (3 * (75 + 15) + 6 * 2 + 3 * 10 * (7 + 3 + 2)));
    // Backwards the first product is one step less, and what goes through each was written by the dispatch before.
    let backward = cost_of(&plan, |op| matches!(op, Op::Backward(_)));
    assert_eq!(backward[0], 2 * (2 * 2 * 5 * 10) + 3 * (2 * 2 * 5 * 5) + 3 * 10 * 18);
    let reads = (2 * 50 + 3 * 25) + 6 * 2 + (2 * 20 + 3 * 10);
    // Gates read and written, h read twice, its gradient and that of the h before it read and written, the latter
    // twice.
    assert_eq!(backward[1], 4 * (reads + 3 * 10 * (6 + 2 + 2 + 4)));
}

#[test]
fn half_precision_moves_half_the_bytes_of_what_it_stores() {
    let target = Target { precision: recurrent::Precision::F16, has_f16: true, ..Target::webgpu() };
    let of = |target: &Target| {
        let (plan, _) = Plan::new(&small(), Purpose::Train(&recipe()), 3, 2, target).unwrap();
        let matmul = |op: &Op| matches!(op, Op::MatMul(o) if plan.get(o.out.tensor).name == "gates_l0");
        cost_of(&plan, matmul)
    };
    // W, b_W and the gates have 16 bits, x has what the host gives.
    assert_eq!(of(&target), [of(&Target::webgpu())[0], 4 * 24 + 2 * (80 + 20 + 120)]);
}
