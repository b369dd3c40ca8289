//! What a plan says of itself before anything is allocated: dispatches, bytes, its printed form, and the errors of sizes
//! and rates that no plan can be made of. No GPU is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use recurrent::plan::{
    Bytes, Clip, Element, Loss, METRICS_SLOTS, Op, Optimizer, Phase, Plan, Purpose, Recipe, RecurrenceSchedule,
    Schedule, Storage, Target,
};
use recurrent::{Config, Error, Input, Layout, Model, ReadOut};

/// A GPU without the workgroup memory for whole sequences: the recurrence goes step by step.
const BY_STEPS: Target = Target { binding_bytes: u64::MAX, parallel: true, workgroup_bytes: 0 };

fn train() -> Purpose {
    Purpose::Train(Recipe::new(Loss::CrossEntropy))
}

fn plan(config: &Config, purpose: Purpose, steps: usize, batch: usize, target: &Target) -> Plan {
    Plan::new(config, purpose, steps, batch, target).unwrap().0
}

fn dispatches(plan: &Plan) -> [usize; 4] {
    [Phase::Forward, Phase::Loss, Phase::Backward, Phase::Update].map(|phase| plan.dispatches(phase))
}

fn is_whole(plan: &Plan) -> bool {
    plan.stages().iter().any(|s| matches!(&s.op, Op::Forward(r) if r.schedule == RecurrenceSchedule::Whole))
}

/// The text model of the examples.
fn text() -> Config {
    Config::elman(Input::Tokens(65), 128, 65)
}

#[test]
fn dispatches_of_a_text_model_by_steps() {
    // Forward: gather, 50 steps, read-out. Backward: read-out, dV, 50 steps, dU, dW. Update: combine, measure, update.
    let plan = plan(&text(), train(), 50, 32, &BY_STEPS);
    assert_eq!(dispatches(&plan), [1 + 50 + 1, 1, 2 + 50 + 2, 3]);
}

#[test]
fn dispatches_of_a_text_model_on_the_cpu() {
    // As by steps, and U transposed once, for the products of all steps to read it row by row.
    let plan = plan(&text(), train(), 50, 32, &Target::cpu());
    assert_eq!(dispatches(&plan), [1 + 1 + 50 + 1, 1, 2 + 50 + 2, 3]);
}

#[test]
fn dispatches_of_a_text_model_as_a_whole_sequence() {
    // Forward: gather, U transposed, the sequence, read-out. Backward: read-out, dV, the sequence, dU, dW.
    let plan = plan(&text(), train(), 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&plan), [4, 1, 5, 3]);
}

#[test]
fn dispatches_of_an_lstm_of_two_layers() {
    let config = Config::lstm(Input::Tokens(65), 128, 65).with_layers(2);
    // Forward: each layer's product with W and 50 steps, then the read-out. Backward: read-out, dV; each layer's 50
    // steps, dU and dW, and what the layer below hears.
    let steps = plan(&config, train(), 50, 32, &BY_STEPS);
    assert_eq!(dispatches(&steps), [2 * (1 + 50) + 1, 1, 2 + 2 * (50 + 2) + 1, 3]);
    // With U transposed and one dispatch a layer, as 4·128·128 elements of U are few enough.
    let whole = plan(&config, train(), 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&whole), [2 * (1 + 1 + 1) + 1, 1, 2 + 2 * (1 + 2) + 1, 3]);
}

#[test]
fn dispatches_without_training() {
    let infer = plan(&text(), Purpose::Infer, 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&infer), [4, 0, 0, 0]);
    let evaluate = plan(&text(), Purpose::Evaluate(Loss::CrossEntropy), 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&evaluate), [4, 1, 0, 1]);
}

#[test]
fn dispatches_stay_within_their_bounds() {
    let optimizers = [Optimizer::sgd(0.9), Optimizer::rms_prop(), Optimizer::adam()];
    for target in [BY_STEPS, Target::webgpu()] {
        for input in [Input::Tokens(7), Input::Dense(7)] {
            for read_out in [ReadOut::EveryStep, ReadOut::Last] {
                for (steps, batch, hidden) in [(1, 1, 1), (2, 3, 33), (4, 1, 256), (50, 32, 257), (100, 2, 1025)] {
                    let config = Config::elman(input, hidden, 5).with_read_out(read_out);
                    for optimizer in optimizers {
                        let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, 0.1);
                        let plan = plan(&config, Purpose::Train(recipe), steps, batch, &target);
                        let [forward, loss, backward, update] = dispatches(&plan);
                        let recurrence = if is_whole(&plan) { 0 } else { steps };
                        let what = format!("{config:?}, T {steps}, {target:?}: {:?}", dispatches(&plan));
                        assert!(forward <= recurrence + 4 && loss == 1, "{what}");
                        assert!(backward <= recurrence + 8 && update <= 4, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_recurrence_is_one_dispatch_where_it_fits_a_workgroup() {
    let whole = |steps: usize, hidden: usize, target: &Target| {
        is_whole(&plan(&Config::elman(Input::Dense(3), hidden, 3), Purpose::Infer, steps, 2, target))
    };
    assert!(whole(50, 256, &Target::webgpu()));
    // U has more than 2^16 elements.
    assert!(!whole(50, 257, &Target::webgpu()));
    // Too few steps to pay for the transposition of U.
    assert!(whole(4, 128, &Target::webgpu()) && !whole(3, 128, &Target::webgpu()));
    // No workgroup memory, or nothing to gain.
    assert!(!whole(50, 128, &Target { workgroup_bytes: 1024, ..Target::webgpu() }));
    assert!(!whole(50, 128, &Target::cpu()));
}

#[test]
fn weight_gradients_are_cut_into_slices_where_work_is_spread() {
    let slices = |hidden: usize, steps: usize, batch: usize, target: &Target| {
        let plan = plan(&Config::elman(Input::Dense(3), hidden, 3), train(), steps, batch, target);
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
    let config = Config::elman(Input::Tokens(2000), 128, 3);
    let flat_bytes = 4 * Layout::new(&config).unwrap().len() as u64;
    let plan = plan(&config, train(), 50, 32, &Target { binding_bytes: 3 * flat_bytes, ..Target::webgpu() });
    assert_eq!(plan.get(plan.find("gradient_slices").unwrap()).shape[0], 3);
}

#[test]
fn bytes_are_the_sum_of_the_tensors() {
    // T 3, B 2, I 5 tokens, H 4, O 6; every parameter starts at a multiple of 64 elements.
    let parameters: u64 = [4 * 5, 4 * 4, 4, 4, 6 * 4, 6].map(|n: u64| n.next_multiple_of(64)).iter().sum();
    assert_eq!(parameters, 6 * 64);
    let metrics = METRICS_SLOTS as u64 * 4;
    let shared = parameters + metrics + parameters /* gradients */ + 2 * parameters /* Adam's moments */;
    let inputs = 3 * 2 /* tokens */ + 6 /* targets */ + 6 /* mask */ + 1 /* count */ + 4 /* hyper */
        + 6 /* order */ + (5 + 1) /* starts */;
    let scratch = 2 * 4 /* state */ + 3 * 2 * 4 /* gates */ + 4 * 2 * 4 /* history */ + 6 * 6 /* outputs */
        + 6 /* row_loss */ + parameters /* one slice of gradients */ + 3 * 2 * 4 /* upstream */
        + 3 /* one block of partials */;
    let plan = plan(&Config::elman(Input::Tokens(5), 4, 6), train(), 3, 2, &BY_STEPS);
    let bytes = plan.bytes();
    assert_eq!(bytes, Bytes { shared: 4 * shared, inputs: 4 * inputs, scratch: 4 * scratch });
    assert_eq!(bytes.total(), 4 * (shared + inputs + scratch));
}

#[test]
fn a_plan_prints_every_tensor_and_every_operation() {
    let with_all = [
        plan(&text().with_read_out(ReadOut::Last), train(), 50, 32, &Target::webgpu()),
        plan(&Config::elman(Input::Dense(3), 4, 5), train(), 2, 2, &BY_STEPS),
    ];
    for plan in &with_all {
        let printed = plan.to_string();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), plan.tensors().len() + plan.stages().len());
        for (tensor, line) in plan.tensors().iter().zip(&lines) {
            assert!(line.contains(&tensor.name) && line.contains(&format!("{:?}", tensor.shape)), "{line}");
        }
        for (stage, line) in plan.stages().iter().zip(&lines[plan.tensors().len()..]) {
            assert!(line.starts_with(&format!("{:?}", stage.phase).to_lowercase()), "{line}");
            assert!(line.contains(&format!("{}×", stage.op.dispatches())), "{line}");
            assert!(line.contains(verb(&stage.op)), "{line}");
        }
    }
    let all = with_all.map(|plan| plan.to_string()).concat();
    for line in ["elman forward (Whole) history_l0 ← gates_l0", "elman backward (Steps) gates_l0 ← upstream", "by Adam"]
    {
        assert!(all.contains(line), "`{line}` is not in\n{all}");
    }
}

fn verb(op: &Op) -> &'static str {
    match op {
        Op::Copy { .. } => "copy",
        Op::Zero { .. } => "zero",
        Op::Gather(_) => "gather gates",
        Op::Transpose(_) => "transpose",
        Op::MatMul(_) => "matmul",
        Op::Forward(_) => "elman forward",
        Op::Backward { .. } => "elman backward",
        Op::LossGradient(_) => "CrossEntropy of outputs",
        Op::WeightGradient(_) => "weight gradient",
        Op::GatherGradient(_) => "gather gradient",
        Op::Combine(_) => "combine gradients",
        Op::Measure(_) => "measure metrics",
        Op::Update(_) => "update parameters",
    }
}

#[test]
fn sizes_of_zero_are_named() {
    let dense = |i: usize, h: usize, o: usize| Config::elman(Input::Dense(i), h, o);
    for (config, steps, batch, what) in [
        (dense(3, 4, 5), 0, 1, "steps (T)"),
        (dense(3, 4, 5), 1, 0, "sequences in a batch (B)"),
        (dense(0, 4, 5), 1, 1, "inputs (I)"),
        (Config::elman(Input::Tokens(0), 4, 5), 1, 1, "inputs (I)"),
        (dense(3, 0, 5), 1, 1, "hidden units (H)"),
        (dense(3, 4, 0), 1, 1, "outputs (O)"),
    ] {
        for purpose in [Purpose::Infer, Purpose::Evaluate(Loss::MeanSquared), train()] {
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
    let decay = |every: u64, factor: f64| recipe().with_schedule(Schedule::StepDecay { after: 0, every, factor });
    let cosine = |floor: f64| recipe().with_schedule(Schedule::Cosine { warm_up: 1, total: 2, floor });
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
    ];
    for (recipe, what) in bad {
        let error = Plan::new(&text(), Purpose::Train(recipe), 2, 2, &Target::cpu()).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_tensor_beyond_the_adapters_limit_is_named_with_the_limit() {
    // 1000 steps of 512 sequences of 128 units are 262 MB.
    let error = Plan::new(&text(), train(), 1000, 512, &Target::webgpu()).unwrap_err();
    let Error::Limit { what, limit, asked, allowed } = &error else { panic!("{error:?}") };
    assert!(what.contains("gates") && limit.contains("max_storage_buffer_binding_size"), "{error}");
    assert_eq!((*asked, *allowed), (1000 * 512 * 128 * 4, 128 << 20));
    assert!(error.to_string().contains("134217728"), "{error}");

    // Every tensor fits by itself, but the inputs are uploaded together.
    let config = Config::elman(Input::Dense(20), 1, 10).with_read_out(ReadOut::EveryStep);
    let target = Target { binding_bytes: 100_000, ..Target::webgpu() };
    let mean_squared = Purpose::Evaluate(Loss::MeanSquared);
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
                        for input in [Input::Dense(inputs), Input::Tokens(inputs)] {
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
    let error = Model::new(Config::elman(Input::Dense(usize::MAX), usize::MAX, usize::MAX)).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
}

#[test]
fn a_tensor_beyond_32_bit_indices_is_an_error() {
    let mut plan = Plan::empty();
    assert!(plan.tensor("large", &[1 << 31], Element::Real, Storage::Scratch).is_ok());
    for shape in [&[(1 << 31) + 1][..], &[usize::MAX, usize::MAX], &[usize::MAX, 2], &[1 << 16, 1 << 16]] {
        let error = plan.tensor("larger", shape, Element::Real, Storage::Scratch).unwrap_err();
        assert!(matches!(&error, Error::Limit { what, .. } if what.contains("larger")), "{error:?}");
    }
}
