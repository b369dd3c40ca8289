//! What a plan says of itself before anything is allocated: dispatches, bytes, its printed form, and the errors of
//! sizes and rates that no plan can be made of; and what becomes of it on a GPU: the kernels, and what it lowers to.
//!
//! No GPU is needed, but for what `bounds` sees on one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod barriers;
mod border;
mod bounds;
mod dispatches;
mod loops;
mod lowering;
mod operands;
mod tables;
mod tiles;

use std::collections::BTreeSet;

use recurrent::internals::plan::{Bytes, DType, Lifetime, METRICS_SLOTS, Op, Plan, Purpose, RecurrenceMode, Target};
use recurrent::recipe::{Clip, Dropout, LearningRateSchedule, Loss, Optimizer, Recipe};
use recurrent::{Activation, Cell, Config, Device, Directions, Error, InputKind, Layout, Model, Pool, Reset, Trainer};

use crate::common::network::training;

/// A GPU without the workgroup memory for whole sequences: the recurrence goes step by step.
const BY_STEPS: Target = Target { binding_bytes: u64::MAX, workgroup_bytes: 0, ..Target::webgpu() };

fn train() -> Purpose<'static> {
    training(Recipe::new(Loss::CrossEntropy))
}

fn train_with(dropout: Dropout) -> Purpose<'static> {
    training(Recipe::new(Loss::CrossEntropy).with_dropout(dropout))
}

/// Dropout wherever there is some.
fn of_all_kinds() -> Dropout {
    let mut dropout = Dropout::variational(0.3, 0.4);
    dropout.outputs = 0.5;
    dropout
}

fn plan(config: &Config, purpose: Purpose, steps: usize, batch: usize, target: &Target) -> Plan {
    Plan::new(config, purpose, steps, batch, target).unwrap().0
}

fn is_whole(plan: &Plan) -> bool {
    plan.stages().iter().any(|s| matches!(&s.op, Op::Forward(r) if r.schedule == RecurrenceMode::WholeSequence))
}

/// The text model of the examples.
fn text() -> Config {
    Config::elman(InputKind::Tokens(65), 128, 65)
}

/// Every structure of a network, of one layer and of three.
fn structures(input: InputKind, hidden: usize) -> Vec<Config> {
    let mut all = Vec::new();
    for cell in [
        Cell::Elman(Activation::Tanh),
        Cell::Lstm,
        Cell::Gru(Reset::AfterProduct),
        Cell::Gru(Reset::BeforeProduct),
        Cell::Cifg,
        Cell::PeepholeLstm,
    ] {
        for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
            for read_out in [None, Some(Pool::Last), Some(Pool::Mean)] {
                for (learned_initial_state, bias) in [(false, true), (true, false)] {
                    for layers in [1, 3] {
                        let config = Config::of_cell(cell, input, hidden, 5).with_layers(layers);
                        let config = config.with_directions(directions).with_pool(read_out);
                        all.push(config.with_learned_initial_state(learned_initial_state).with_bias(bias));
                    }
                }
            }
        }
    }
    all
}

#[test]
fn a_recurrence_is_one_dispatch_where_it_fits_a_workgroup() {
    let whole = |steps: usize, hidden: usize, target: &Target| {
        is_whole(&plan(&Config::elman(InputKind::Dense(3), hidden, 3), Purpose::Infer, steps, 2, target))
    };
    assert!(whole(50, 256, &Target::webgpu()));
    // U has more than 2^16 elements.
    assert!(!whole(50, 257, &Target::webgpu()));
    // Too few steps to pay for the transposition of U.
    assert!(whole(4, 128, &Target::webgpu()) && !whole(3, 128, &Target::webgpu()));
    // No workgroup memory, or nothing to gain.
    assert!(!whole(50, 128, &Target { workgroup_bytes: 1023, ..Target::webgpu() }));
    assert!(!whole(50, 128, &Target::cpu()));
}

#[test]
fn weight_gradients_are_cut_into_slices_where_work_is_spread() {
    let slices = |hidden: usize, steps: usize, batch: usize, target: &Target| {
        let plan = plan(&Config::elman(InputKind::Dense(3), hidden, 3), train(), steps, batch, target);
        plan.get(plan.find("gradient_slices").unwrap()).shape[0]
    };
    assert_eq!(slices(128, 50, 32, &Target::cpu()), 1);
    // A product of 4×4 tiles: eight slices make 128 of them.
    assert_eq!(slices(128, 50, 32, &Target::webgpu()), 8);
    // At least 64 rows a slice.
    assert_eq!(slices(128, 10, 13, &Target::webgpu()), 2);
    assert_eq!(slices(128, 3, 1, &Target::webgpu()), 1);
    // At most 16, and no more than one binding holds.
    assert_eq!(slices(16, 100, 100, &Target::webgpu()), 16);
    let config = Config::elman(InputKind::Tokens(2000), 128, 3);
    let flat_bytes = 4 * Layout::new(&config).unwrap().buffer_len() as u64;
    let plan = plan(&config, train(), 50, 32, &Target { binding_bytes: 3 * flat_bytes, ..Target::webgpu() });
    assert_eq!(plan.get(plan.find("gradient_slices").unwrap()).shape[0], 3);
}

#[test]
fn bytes_are_the_sum_of_the_tensors() {
    // T 3, B 2, I 5 tokens, H 4, O 6; every parameter starts at a multiple of 64 elements.
    let parameters: u64 = [4 * 5, 4 * 4, 4, 4, 6 * 4, 6].map(|n: u64| n.next_multiple_of(64)).iter().sum();
    assert_eq!(parameters, 6 * 64);
    let metrics = METRICS_SLOTS as u64 * 4;
    let shared = parameters + metrics + parameters /* gradients */ + parameters /* parameter_flags */
        + 2 * parameters /* Adam's moments */;
    let inputs = 3 * 2 /* tokens */ + 2 /* lengths */ + 6 /* targets */ + 6 /* mask */ + 8 /* step_params */
        + 6 /* order */ + (5 + 1) /* starts */;
    let scratch = 2 * 4 /* state */ + 3 * 2 * 4 /* gates */ + 4 * 2 * 4 /* history */ + 6 * 6 /* outputs */
        + 6 /* row_loss */ + parameters /* one slice of gradients */ + 4 * 2 * 4 /* upstream */
        + 3 /* one block of partials */;
    let mut plan = plan(&Config::elman(InputKind::Tokens(5), 4, 6), train(), 3, 2, &BY_STEPS);
    // The partials lie where something of the passes before them was.
    assert_eq!(plan.bytes().scratch, 4 * (scratch - 3));
    plan.keep_all();
    let bytes = plan.bytes();
    assert_eq!(bytes, Bytes { shared: 4 * shared, inputs: 4 * inputs, scratch: 4 * scratch });
    assert_eq!(bytes.total(), 4 * (shared + inputs + scratch));
}

#[test]
fn bytes_of_all_options_are_the_sum_of_the_tensors() {
    // T 3, B 2, I 5 numbers, H 4, O 6, two layers of both directions: D·H is 8 and D·G·H 32.
    let layers = [5, 8].map(|inputs: u64| [32 * inputs, 32 * 4, 32, 32]).concat();
    let parameters: u64 = layers.into_iter().chain([6 * 8, 6, 2 * 2 * 8]).map(|n| n.next_multiple_of(64)).sum();
    let shared = 5 * parameters + METRICS_SLOTS as u64 * 4;
    let inputs = 3 * 2 * 5 /* x */ + 2 /* lengths */ + 5 * 2 /* keys */ + 1 /* fresh */ + 2 * 6 /* targets */
        + 2 /* mask */ + 8 /* step_params */;
    let (gates, history) = (3 * 2 * 32, (3 + 2) * 2 * 8);
    let scratch = 2 * 2 * 2 * 8 /* state */ + 3 * 2 * 5 /* x.dropped */ + 3 * 2 * 8 /* dropped_l0 */
        + 2 * (gates + history + history /* cells */ + 2 * 8 /* hidden_mask */ + history /* upstream */)
        + history /* masked_history */ + 2 * 2 * 8 /* pooled, and its excess */ + 2 * 6 /* outputs */ + 2 /* row_loss */
        + parameters /* one slice of gradients */ + 3 * parameters.div_ceil(2048) /* partials */;
    let config = Config::lstm(InputKind::Dense(5), 4, 6).with_layers(2).with_directions(Directions::Bidirectional);
    let config = config.with_learned_initial_state(true).pool(Pool::Mean);
    let recipe = Recipe::new(Loss::MeanSquared).with_dropout(of_all_kinds());
    let mut plan = plan(&config, Purpose::Train(&recipe), 3, 2, &BY_STEPS);
    plan.keep_all();
    assert_eq!(plan.bytes(), Bytes { shared: 4 * shared, inputs: 4 * inputs, scratch: 4 * scratch });
    assert_eq!(plan.get(plan.find("upstream_l1").unwrap()).shape, [3 + 2, 2, 8]);
    assert_eq!(plan.get(plan.find("lengths").unwrap()).shape, [2]);
}

#[test]
fn what_a_layer_hears_from_above_is_one_buffer_for_all_layers() {
    let config = Config::lstm(InputKind::Dense(5), 64, 6).with_layers(4);
    let mut plan = plan(&config, train(), 20, 8, &BY_STEPS);
    let shared = plan.bytes().scratch;
    plan.keep_all();
    let upstream = 21 * 8 * 64;
    // Three of the four, and the partials of the norm.
    let partials = 3 * Layout::new(&config).unwrap().buffer_len().div_ceil(2048);
    assert_eq!(plan.bytes().scratch - shared, 4 * (3 * upstream + partials) as u64);
}

/// The tensors that are larger where there are more steps.
fn growing(config: &Config, purpose: Purpose, target: &Target) -> BTreeSet<String> {
    let [short, long] = [2 * 128, 128 * 64].map(|steps| plan(config, purpose, steps, 2, target));
    assert_eq!(short.tensors().len(), long.tensors().len());
    let pairs = short.tensors().iter().zip(long.tensors());
    let grown = pairs.filter(|(short, long)| {
        assert_eq!(short.name, long.name);
        short.shape != long.shape
    });
    grown.map(|(tensor, _)| tensor.name.clone()).collect()
}

#[test]
fn without_training_only_inputs_and_outputs_of_a_causal_network_grow_with_the_steps() {
    for target in [Target::cpu(), Target::webgpu(), BY_STEPS] {
        for config in structures(InputKind::Tokens(7), 33) {
            let every_step = config.pooling().is_none();
            let mut infer = BTreeSet::from(["tokens".to_owned()]);
            infer.extend(every_step.then(|| "outputs".to_owned()));
            let mut evaluate = infer.clone();
            // Of the loss its inputs, and each position's part of it.
            let of_loss = ["targets", "loss_weights", "row_loss"].map(str::to_owned);
            evaluate.extend(of_loss.into_iter().filter(|_| every_step));
            if config.recurrent_layers().next().unwrap().directions != Directions::Forward {
                // The second direction begins where the first ends. Two histories do, however many layers there are.
                let mut layers = vec!["gates_l0", "history_l0"];
                layers.extend((config.recurrent_layers().count() > 1).then_some("history_l1"));
                layers.extend(match config.recurrent_layers().next().unwrap().cell {
                    Cell::Lstm | Cell::Cifg | Cell::PeepholeLstm => Some("cells_l0"),
                    Cell::Gru(Reset::AfterProduct) => Some("recurrent_l0"),
                    Cell::Gru(Reset::BeforeProduct) => Some("operand_l0"),
                    _ => None,
                });
                infer.extend(layers.iter().map(|name| name.to_string()));
                evaluate.extend(layers.iter().map(|name| name.to_string()));
            }
            assert_eq!(growing(&config, Purpose::Infer, &target), infer, "{config:?}");
            assert_eq!(
                growing(&config, Purpose::Evaluate(&Recipe::new(Loss::CrossEntropy)), &target),
                evaluate,
                "{config:?}"
            );
        }
    }
}

#[test]
fn without_training_a_layer_more_is_its_state_and_its_turned_weights() {
    for config in
        structures(InputKind::Tokens(7), 33).into_iter().filter(|config| config.recurrent_layers().count() == 3)
    {
        for target in [Target::cpu(), Target::webgpu(), BY_STEPS] {
            let bytes = |layers: usize| {
                let config = config.clone().with_layers(layers);
                let plan = plan(&config, Purpose::Infer, 1000, 2, &target);
                // Peepholes are weights that are read from a tensor of their own.
                let is_turned = |name: &str| name.ends_with(".transposed") || name.starts_with("peepholes_l");
                let of_layers = |name: &str| name == "state" || is_turned(name);
                let of_layers = plan.tensors().iter().filter(|tensor| of_layers(&tensor.name));
                plan.bytes().scratch - of_layers.map(|tensor| tensor.bytes()).sum::<u64>()
            };
            assert_eq!(bytes(2), bytes(5), "{config:?}");
        }
    }
}

#[test]
fn the_guide_shows_lines_of_a_plan() {
    let printed = plan(&text(), train(), 50, 32, &Target::webgpu()).to_string();
    let guide = include_str!("../../docs/how_it_works.md");
    let shown = guide.rsplit_once("```text\n").unwrap().1.split_once("```").unwrap().0;
    let lines: Vec<&str> = shown.lines().filter(|line| *line != "…").collect();
    assert!(lines.len() > 3, "{lines:?}");
    for line in lines {
        assert!(printed.lines().any(|other| other == line), "`{line}` is not in\n{printed}");
    }
}

#[test]
fn inference_on_the_cpu_keeps_as_many_steps_as_a_cache_holds() {
    let kept = |batch: usize, target: &Target| {
        let plan = plan(&Config::lstm(InputKind::Dense(3), 64, 2), Purpose::Infer, 1000, batch, target);
        plan.get(plan.find("gates_l0").expect("gates")).shape[0]
    };
    // 256 gates a sequence: 2^18 elements are 64 steps of 16 sequences; never fewer than 8, never more than on a GPU.
    assert_eq!([1, 8, 16, 32, 1000].map(|batch| kept(batch, &Target::cpu())), [128, 128, 64, 32, 8]);
    assert_eq!([1, 1000].map(|batch| kept(batch, &Target::webgpu())), [128, 128]);
}

#[test]
fn a_plan_prints_every_tensor_and_every_operation() {
    let with_all = [
        plan(&text().pool(Pool::Last), train(), 50, 32, &Target::webgpu()),
        plan(&Config::elman(InputKind::Dense(3), 4, 5), train(), 2, 2, &BY_STEPS),
        plan(
            &text().with_directions(Directions::Bidirectional).with_learned_initial_state(true).pool(Pool::Mean),
            train_with(Dropout::variational(0.1, 0.2)),
            5,
            2,
            &BY_STEPS,
        ),
    ];
    for plan in &with_all {
        let printed = plan.to_string();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), plan.tensors().len() + plan.stages().len());
        for (tensor, line) in plan.tensors().iter().zip(&lines) {
            assert!(line.contains(&tensor.name) && line.contains(&format!("{:?}", tensor.shape)), "{line}");
            assert_eq!(line.contains(" in block "), tensor.lifetime == Lifetime::Transient, "{line}");
        }
        for (stage, line) in plan.stages().iter().zip(&lines[plan.tensors().len()..]) {
            assert!(line.starts_with(&format!("{:?}", stage.phase).to_lowercase()), "{line}");
            assert!(line.contains(&format!("{}×", stage.op.dispatches(plan))), "{line}");
            assert!(line.contains(&stage.op.name()), "{line}");
        }
    }
    let all = with_all.map(|plan| plan.to_string()).concat();
    for line in [
        "elman forward as a whole history_l0 ← gates_l0",
        "elman backward by steps gates_l0 ← upstream",
        "adam parameters ← gradients, parameter_flags",
    ] {
        assert!(all.contains(line), "`{line}` is not in\n{all}");
    }
}

#[test]
fn sizes_of_zero_are_named() {
    let dense = |i: usize, h: usize, o: usize| Config::elman(InputKind::Dense(i), h, o);
    for (config, steps, batch, what) in [
        (dense(3, 4, 5), 0, 1, "steps (T)"),
        (dense(3, 4, 5), 1, 0, "sequences in a batch (B)"),
        (dense(0, 4, 5), 1, 1, "inputs (I)"),
        (Config::elman(InputKind::Tokens(0), 4, 5), 1, 1, "inputs (I)"),
        (dense(3, 0, 5), 1, 1, "hidden units (H)"),
        (dense(3, 4, 0), 1, 1, "outputs (O)"),
    ] {
        for purpose in [Purpose::Infer, Purpose::Evaluate(&Recipe::new(Loss::MeanSquared)), train()] {
            let error = Plan::new(&config, purpose, steps, batch, &Target::cpu()).unwrap_err();
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}

#[test]
fn rates_out_of_their_range_are_named() {
    let recipe = || Recipe::new(Loss::CrossEntropy);
    let adam = |beta1: f64, beta2: f64, epsilon: f64, weight_decay: f64| {
        recipe().with_optimizer(Optimizer::Adam { beta1, beta2, epsilon, weight_decay }, 0.1)
    };
    let decay =
        |every: u64, factor: f64| recipe().with_schedule(LearningRateSchedule::StepDecay { after: 0, every, factor });
    let cosine = |floor: f64| recipe().with_schedule(LearningRateSchedule::Cosine { warm_up: 1, total: 2, floor });
    let bad = [
        (recipe().with_optimizer(Optimizer::sgd(0.0), f64::NAN), "learning rate"),
        (recipe().with_optimizer(Optimizer::sgd(0.0), 0.0), "learning rate"),
        (recipe().with_optimizer(Optimizer::sgd(0.0), f64::INFINITY), "learning rate"),
        (recipe().with_optimizer(Optimizer::sgd(1.0), 0.1), "momentum"),
        (recipe().with_optimizer(Optimizer::sgd(-0.1), 0.1), "momentum"),
        (recipe().with_optimizer(Optimizer::RmsProp { alpha: f64::NAN, epsilon: 1e-8 }, 0.1), "alpha"),
        (recipe().with_optimizer(Optimizer::RmsProp { alpha: 0.9, epsilon: 0.0 }, 0.1), "epsilon"),
        (adam(1.0, 0.9, 1e-8, 0.0), "beta1"),
        (adam(0.9, -1.0, 1e-8, 0.0), "beta2"),
        (adam(0.9, 0.9, f64::NAN, 0.0), "epsilon"),
        (adam(0.9, 0.9, 1e-8, -1.0), "weight decay"),
        (recipe().with_clip(Clip::Norm(0.0)), "clipping bound"),
        (recipe().with_clip(Clip::Value(f64::NAN)), "clipping bound"),
        (recipe().with_clip(Clip::Normalize(f64::INFINITY)), "clipping bound"),
        (decay(0, 0.5), "every 0 steps"),
        (decay(1, f64::NAN), "decay of the learning rate"),
        (cosine(1.5), "floor"),
        (recipe().with_dropout(Dropout::between_layers(1.0)), "dropout between layers is 1"),
        (recipe().with_dropout(Dropout::between_layers(f64::NAN)), "dropout between layers is NaN"),
        (recipe().with_dropout(Dropout::variational(-0.1, 0.0)), "dropout of inputs is -0.1"),
        (recipe().with_dropout(Dropout::variational(0.0, 1.5)), "dropout of the hidden state is 1.5"),
        (recipe().with_dropout(Dropout::NONE.with_weights(1.0)), "dropout of the recurrent weights is 1"),
    ];
    for (recipe, what) in bad {
        let error = Plan::new(&text(), Purpose::Train(&recipe), 2, 2, &Target::cpu()).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn dropout_between_the_layers_of_a_network_of_one_is_refused() {
    let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(Dropout::between_layers(0.5));
    let by_plan = Plan::new(&text(), Purpose::Train(&recipe), 2, 2, &Target::cpu()).unwrap_err();
    let by_trainer = Trainer::new(&Device::cpu(), &Model::new(text()).unwrap(), recipe.clone()).unwrap_err();
    for error in [by_plan, by_trainer] {
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        let words = "dropout between layers is 0.5, but the network has one recurrent layer";
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(Plan::new(&text().with_layers(2), Purpose::Train(&recipe), 2, 2, &Target::cpu()).is_ok());
    let zero = recipe.with_dropout(Dropout::between_layers(0.0));
    assert!(Plan::new(&text(), Purpose::Train(&zero), 2, 2, &Target::cpu()).is_ok());
}

#[test]
fn a_forget_gate_s_bias_that_no_cell_has_is_refused() {
    let lstm = Config::lstm(InputKind::Tokens(5), 4, 5);
    for (config, what) in [
        (text().with_forget_bias(1.0), "a cell of kind elman has none"),
        (Config::gru(InputKind::Tokens(5), 4, 5).with_forget_bias(1.0), "a cell of kind gru has none"),
        (lstm.clone().with_bias(false).with_forget_bias(1.0), "the layers have no biases"),
        (lstm.clone().with_forget_bias(f64::NAN), "forget gate's bias is NaN"),
        (lstm.clone().with_forget_bias(1e300), "expected a finite number"),
    ] {
        for error in [
            Plan::new(&config, train(), 2, 2, &Target::cpu()).unwrap_err(),
            Layout::new(&config).unwrap_err(),
            Model::new(config).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
    assert!(Plan::new(&lstm.with_forget_bias(1.0), train(), 2, 2, &Target::cpu()).is_ok());
}

#[test]
fn a_tensor_beyond_the_adapters_limit_is_named_with_the_limit() {
    // 1000 steps of 512 sequences of 128 units are 262 MB.
    let error = Plan::new(&text(), train(), 1000, 512, &Target::webgpu()).unwrap_err();
    let Error::Limit { what, limit, asked, allowed, .. } = &error else { panic!("{error:?}") };
    assert!(what.contains("gates") && limit.contains("max_storage_buffer_binding_size"), "{error}");
    assert_eq!((*asked, *allowed), (1000 * 512 * 128 * 4, 128 << 20));
    assert!(error.to_string().contains("134217728"), "{error}");

    // Every tensor fits by itself, but the inputs are uploaded together.
    let config = Config::elman(InputKind::Dense(20), 1, 10).with_pool(None);
    let target = Target { binding_bytes: 100_000, ..Target::webgpu() };
    let mean_squared = Purpose::Evaluate(&Recipe::new(Loss::MeanSquared));
    let error = Plan::new(&config, mean_squared, 100, 10, &target).unwrap_err();
    assert!(error.to_string().contains("all inputs"), "{error}");
}

#[test]
fn sizes_whose_product_overflows_are_errors() {
    let sizes = [1, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 33, 1 << 62, usize::MAX];
    let (mut limits, mut plans) = (0, 0);
    for steps in sizes {
        for batch in sizes {
            for inputs in sizes {
                for hidden in sizes {
                    for outputs in sizes {
                        for input in [InputKind::Dense(inputs), InputKind::Tokens(inputs)] {
                            let config = Config::elman(input, hidden, outputs);
                            for target in [Target::cpu(), Target::webgpu()] {
                                match Plan::new(&config, train(), steps, batch, &target) {
                                    Ok(_) => plans += 1,
                                    Err(Error::Limit { asked, allowed, .. }) => {
                                        assert!(asked > allowed);
                                        limits += 1;
                                    }
                                    Err(error) => panic!("{config:?}, T {steps}, B {batch}: {error:?}"),
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(plans > 0 && limits > 1000, "{plans} plans, {limits} limits");
    let error = Model::new(Config::elman(InputKind::Dense(usize::MAX), usize::MAX, usize::MAX)).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
}

#[test]
fn a_tensor_beyond_32_bit_indices_is_an_error() {
    let mut plan = Plan::empty();
    assert!(plan.tensor("large", &[1 << 31], DType::F32, Lifetime::Scratch).is_ok());
    for shape in [&[(1 << 31) + 1][..], &[usize::MAX, usize::MAX], &[usize::MAX, 2], &[1 << 16, 1 << 16]] {
        let error = plan.tensor("larger", shape, DType::F32, Lifetime::Scratch).unwrap_err();
        assert!(matches!(&error, Error::Limit { what, .. } if what.contains("larger")), "{error:?}");
    }
}
