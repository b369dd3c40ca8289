//! Half precision: a network of every kind against the same one in 64 bits, a training that scales its gradient, and
//! what a device without 16-bit floats says.
//!
//! The contract: training, evaluation, inference and streams in half precision are those in single, up to its rounding.

use crate::common::compare::{F16_NETWORK, Tolerance, assert_close};
use crate::common::executor::gpu;
use crate::common::network::{Network, Window, random_parameters, step_into};
use crate::common::random::Random;
use crate::common::whole::{self, ids, rng};
use rand::RngExt;
use recurrent::checkpoint::LossScaling;
use recurrent::internals::cpu;
use recurrent::internals::plan::{DType, Plan, Purpose, StepParams, Target, UpdateLossScale};
use recurrent::recipe::Average;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Checkpoint, Clip, Config, Device, Directions, Dropout, EmbeddingUpdate, Error,
    GradientCheckpointing, Group, InputKind, Join, Loss, Model, Optimizer, Pool, Precision, Predictor, Recipe,
    Recurrent, Reset, StreamingPredictor, Targets, Trainer,
};

const CELLS: [Cell; 6] = [
    Cell::Elman(Activation::Tanh),
    Cell::Elman(Activation::Relu),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::PeepholeLstm,
];

/// The tests' adapter in half precision.
fn half() -> Device {
    whole::gpu().with_precision(Precision::F16).unwrap_or_else(|error| {
        panic!("{error}; with RECURRENT_F16=none the tests that need 16-bit floats are ignored")
    })
}

/// The target in half precision, whether it has that or not.
fn in_half(target: Target) -> Target {
    Target { has_f16: true, precision: Precision::F16, ..target }
}

/// Every rule, with groups and a mean of the parameters, trains as it does in single precision, past a step that
/// overflows, and resumes.
#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn every_optimizer_trains_in_half() {
    let config = Config::new(InputKind::Tokens(7)).embedding(6).layer(Recurrent::gru(9)).outputs(5).with_seed(3);
    let window = whole::batch(&mut rng(17), &config, Loss::CrossEntropy, 4, 3);
    for optimizer in [
        Optimizer::nesterov(0.9),
        Optimizer::adagrad(),
        Optimizer::ams_grad(0.01),
        Optimizer::r_adam(0.01),
        Optimizer::lion(0.01),
    ] {
        let rate = if matches!(optimizer, Optimizer::Lion { .. }) { 0.005 } else { 0.05 };
        let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, rate);
        let recipe = recipe.with_embedding_update(EmbeddingUpdate::Lazy).with_averaged_weights(Average::ema(0.9));
        let recipe = recipe.with_group(Group::new("embedding.weight").with_rate(0.5));
        let mut trainers = [whole::gpu(), half()]
            .map(|device| Trainer::new(&device, &Model::new(config.clone()).unwrap(), recipe.clone()).unwrap());
        for _ in 0..12 {
            trainers.iter_mut().for_each(|trainer| trainer.step(&window).unwrap());
        }
        let [single, scaled] = &mut trainers;
        let [want, got] = [&mut *single, &mut *scaled].map(|trainer| trainer.metrics().unwrap());
        assert!(want[11].loss < 0.95 * want[0].loss, "{optimizer:?}: {want:?}");
        assert!((got[11].loss - want[11].loss).abs() < 0.02 * want[0].loss, "{optimizer:?}: {got:?}, {want:?}");
        let of_mean = [&mut *single, &mut *scaled].map(|trainer| trainer.evaluate_averaged([&window]).unwrap());
        assert!((of_mean[0] - of_mean[1]).abs() < 0.02 * want[0].loss, "{optimizer:?}: {of_mean:?}");
        // A factor at which the gradient overflows changes nothing but the factor.
        let mut checkpoint = scaled.checkpoint().unwrap();
        checkpoint.training.as_mut().unwrap().loss_scale = Some(LossScaling::new(16_777_216.0, 0.0));
        let mut resumed = [(); 2].map(|()| Trainer::resume(&half(), &checkpoint).unwrap());
        let before = resumed[0].model().unwrap();
        resumed[0].step(&window).unwrap();
        assert!(!resumed[0].metrics().unwrap()[0].updated, "{optimizer:?}: the gradient overflows f16");
        assert_eq!(resumed[0].model().unwrap(), before, "{optimizer:?}");
        resumed[1].step(&window).unwrap();
        let bytes = resumed.map(|mut trainer| trainer.checkpoint().unwrap().to_bytes().unwrap());
        assert!(bytes[0] == bytes[1], "{optimizer:?}");
    }
}

/// Networks with every option somewhere, and recipes to train them by.
fn networks() -> Vec<(Config, Recipe)> {
    let all = CELLS.into_iter().enumerate().flat_map(|(number, cell)| {
        let tokens = Config::of_cell(cell, InputKind::Tokens(7), 19, 5).with_layers(2).with_learned_initial_state(true);
        let dense = Config::of_cell(cell, InputKind::Dense(3), 33, 2).with_directions(Directions::Bidirectional);
        let read_out = [Some(Pool::Last), Some(Pool::Mean), None][number % 3];
        let dropout = Dropout::variational(0.2, 0.3).with_outputs(0.2).with_weights(0.2).with_seed(number as u64);
        let plain = Recipe::new(Loss::CrossEntropy).with_clip(Clip::None);
        let dense = dense.with_join([Join::Sum, Join::Concat, Join::Product, Join::Mean][number % 4]);
        // Once more those of which h can be.
        let projected =
            matches!(cell, Cell::Lstm | Cell::Cifg).then(|| dense.clone().with_projection(15).with_layers(2));
        let dropped = Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_dropout(dropout);
        let projected = projected.map(|config| (config, dropped));
        let own = [
            (tokens.clone(), plain.clone()),
            (
                tokens.clone().with_pool(read_out),
                plain.clone().with_gradient_checkpointing(GradientCheckpointing::Steps(2)),
            ),
            (tokens.with_bias(false), plain.with_dropout(dropout)),
            (dense.with_pool(read_out), Recipe::new(Loss::MeanSquared).with_clip(Clip::None)),
        ];
        own.into_iter().chain(projected)
    });
    let tables = |(number, cell)| {
        let config = Config::new(InputKind::Tokens(7)).token_column("kind", 5, 3).embedding(6);
        let dropout = Dropout::variational(if number % 2 == 0 { 0.0 } else { 0.2 }, 0.0);
        let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::None).with_dropout(dropout);
        let update = [EmbeddingUpdate::Lazy, EmbeddingUpdate::Exact][number / 2 % 2];
        (config.layer(Recurrent::new(cell, 19)).outputs(5), recipe.with_embedding_update(update))
    };
    all.chain(CELLS.into_iter().enumerate().map(tables)).collect()
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn outputs_states_and_gradients_are_those_of_64_bits_up_to_rounding() {
    for (number, (config, recipe)) in networks().into_iter().enumerate() {
        let mut random = Random::new(number as u64);
        let classes = recipe.loss == Loss::CrossEntropy;
        // Whole sequences and steps.
        let steps = [3, 6][number % 2];
        let window = Window::random(&mut random, &config, classes, steps, 3);
        let executor = gpu();
        let target = in_half(executor.gpu().target());
        let mut halves = Network::new(executor, &config, target);
        let mut oracle = Network::new(cpu::Executor::<f64>::new(), &config, Target::cpu());
        let parameters = random_parameters(&mut random, &halves.layout, 0.5);
        let name = format!("{config:?}, {recipe:?}");

        let mut train = Vec::new();
        let mut infer = Vec::new();
        let step_params = step_into(0);
        {
            let prepared = halves.prepare(Purpose::Train(&recipe), steps, 3);
            halves.write(&prepared, prepared.at.parameters, &parameters);
            let training = prepared.at.training.unwrap();
            // Not the first of a training: some of these gradients are large.
            halves.write(&prepared, training.loss_scale.unwrap(), &[256.0, 1.0 / 256.0, 0.0]);
            halves.run(&prepared, &window, step_params);
            let metrics = halves.metrics(&prepared, 0);
            assert_eq!(metrics.updates, 1.0, "{name}");
            train.push((vec![metrics.loss], vec![metrics.grad_norm], halves.gradients(&prepared)));
        }
        {
            let prepared = oracle.prepare(Purpose::Train(&recipe), steps, 3);
            assert!(prepared.at.training.unwrap().loss_scale.is_none());
            oracle.write(&prepared, prepared.at.parameters, &parameters);
            oracle.run(&prepared, &window, step_params);
            let metrics = oracle.metrics(&prepared, 0);
            train.push((vec![metrics.loss], vec![metrics.grad_norm], oracle.gradients(&prepared)));
        }
        let [got, want] = train.as_slice() else { panic!("two networks") };
        assert_close(&format!("loss, {name}"), &got.0, &want.0, F16_NETWORK);
        assert_close(&format!("norm, {name}"), &got.1, &want.1, F16_NETWORK);
        for parameter in oracle.layout.parameters() {
            let [got, want] = [&got.2, &want.2].map(|flat| &flat[parameter.range()]);
            // Where sums cancel, what is left is measured against the whole gradient.
            let largest = train[1].2.iter().fold(0.0f64, |max, g| max.max(g.abs()));
            let tolerance = Tolerance { least: 0.3 * largest, ..F16_NETWORK };
            assert_close(&format!("gradient of {}, {name}", parameter.name), got, want, tolerance);
        }

        {
            let prepared = halves.prepare(Purpose::Infer, steps, 3);
            halves.write(&prepared, prepared.at.parameters, &parameters);
            halves.run(&prepared, &window, step_params);
            infer.push([prepared.at.outputs, prepared.at.state].map(|tensor| halves.read(&prepared, tensor)));
        }
        {
            let prepared = oracle.prepare(Purpose::Infer, steps, 3);
            oracle.write(&prepared, prepared.at.parameters, &parameters);
            oracle.run(&prepared, &window, step_params);
            infer.push([prepared.at.outputs, prepared.at.state].map(|tensor| oracle.read(&prepared, tensor)));
        }
        for (what, at) in [("outputs", 0), ("state", 1)] {
            assert_close(&format!("{what}, {name}"), &infer[0][at], &infer[1][at], F16_NETWORK);
        }
    }
}

/// The first token of a sequence is to be said after the last.
fn recall(random: &mut rand::rngs::ChaCha12Rng, size: usize) -> Batch {
    let first = ids(random, size, TOKENS);
    let rest: Vec<u32> = (0..(STEPS - 1) * size).map(|_| random.random_range(0..TOKENS as u32)).collect();
    Batch::tokens(BatchShape { steps: STEPS, batch_size: size }, [first.clone(), rest].concat(), first)
}

const TOKENS: usize = 4;
const STEPS: usize = 8;

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn a_task_is_learned_as_in_single_precision() {
    for cell in [Cell::Lstm, Cell::Gru(Reset::AfterProduct)] {
        let config = Config::of_cell(cell, InputKind::Tokens(TOKENS), 24, TOKENS).pool(Pool::Last).with_seed(3);
        let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(1.0)).with_optimizer(Optimizer::adam(), 1e-2);
        for device in [whole::gpu(), half()] {
            let mut trainer = Trainer::new(&device, &Model::new(config.clone()).unwrap(), recipe.clone()).unwrap();
            let mut random = rng(17);
            for _ in 0..250 {
                trainer.step(&recall(&mut random, 32)).unwrap();
            }
            let loss = trainer.evaluate([recall(&mut rng(18), 256)]).unwrap();
            // ln 4 = 1.39 without a memory.
            println!("{}, {:?}: {loss:.4}", cell.name(), device.precision());
            assert!(loss < 0.1, "{}, {:?}: a loss of {loss}", cell.name(), device.precision());
            let skipped = trainer.metrics().unwrap().iter().filter(|metrics| !metrics.updated).count();
            assert!(skipped < 5, "{skipped} steps changed nothing");
        }
    }
}

/// h = tanh(w·x) and y = v·h + bias, which without weights is the bias.
fn tiny(w: f32, v: f32) -> Model {
    let given: [(&str, &[usize], &[f32]); 6] = [
        ("weight_ih_l0", &[1, 1], &[w]),
        ("weight_hh_l0", &[1, 1], &[0.0]),
        ("bias_ih_l0", &[1], &[0.0]),
        ("bias_hh_l0", &[1], &[0.0]),
        ("weight", &[1, 1], &[v]),
        ("bias", &[1], &[0.0]),
    ];
    Model::from_tensors(Config::elman(InputKind::Dense(1), 1, 1), given).unwrap()
}

fn weight(trainer: &mut Trainer) -> f32 {
    trainer.model().unwrap().tensors().find(|(name, ..)| *name == "weight_ih_l0").unwrap().2[0]
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn a_gradient_that_16_bits_round_to_zero_moves_the_weights() {
    // Each of 8 positions has 2·1e-7/8 = 2.5e-8, less than half of the smallest f16.
    let window = Batch::dense(BatchShape { steps: 8, batch_size: 1 }, vec![1.0; 8], Targets::Values(vec![1e-7; 8]));
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 1e5);
    let moved = [whole::gpu(), half()].map(|device| {
        let mut trainer = Trainer::new(&device, &tiny(0.0, 1.0), recipe.clone()).unwrap();
        trainer.step(&window).unwrap();
        assert!(trainer.metrics().unwrap()[0].updated);
        weight(&mut trainer)
    });
    assert!((moved[0] - 0.02).abs() < 1e-4, "{moved:?}");
    assert!((moved[1] - moved[0]).abs() < 1e-3 * moved[0], "{moved:?}");

    // Without a loss scale there is nothing left of it.
    let config = Config::elman(InputKind::Dense(1), 1, 1);
    let executor = gpu();
    let target = in_half(executor.gpu().target());
    let mut network = Network::new(executor, &config, target);
    let prepared = network.prepare(Purpose::Train(&recipe), 8, 1);
    let gradient = |network: &mut Network<recurrent::internals::gpu::Executor>, scale: f64| {
        network.write(
            &prepared,
            prepared.at.parameters,
            &tiny(0.0, 1.0).values().iter().map(|v| f64::from(*v)).collect::<Vec<_>>(),
        );
        let training = prepared.at.training.unwrap();
        network.write(&prepared, training.loss_scale.unwrap(), &[scale, 1.0 / scale, 0.0]);
        let loss = prepared.at.loss.unwrap();
        network.write(&prepared, prepared.at.inputs, &[1.0; 8]);
        network.executor.write_ids(prepared.id, prepared.at.lengths, &[8]).unwrap();
        network.write(&prepared, loss.targets, &[1e-7; 8]);
        network.write(&prepared, loss.loss_weights, &[1.0; 8]);
        network.write(&prepared, loss.step_params, &StepParams { divisor: 8.0, ..StepParams::default() }.elements());
        network.executor.run(prepared.id).unwrap();
        let at = network.layout.get("weight_ih_l0").unwrap().offset;
        network.read(&prepared, training.gradients)[at]
    };
    assert_eq!(gradient(&mut network, 1.0), 0.0);
    assert!((gradient(&mut network, 65536.0) + 2e-7).abs() < 1e-9);
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn a_step_beyond_16_bits_changes_nothing_and_the_scale_goes_down() {
    // The gradient of h is 2·65536, then 2·32768, which are both beyond 65504, then 2·16384.
    let window = Batch::dense(BatchShape { steps: 1, batch_size: 1 }, vec![1.0], Targets::Values(vec![-1.0]));
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.9), 0.1);
    let mut trainer = Trainer::new(&half(), &tiny(0.0, 1.0), recipe).unwrap();
    assert_eq!(trainer.loss_scale().unwrap(), 65536.0);
    let before = trainer.model().unwrap();
    for (scale, updated) in [(32768.0, false), (16384.0, false), (16384.0, true)] {
        trainer.step(&window).unwrap();
        assert_eq!(trainer.loss_scale().unwrap(), scale);
        assert_eq!(trainer.model().unwrap() != before, updated);
        let metrics = trainer.metrics().unwrap()[0].clone();
        assert!(metrics.updated == updated && metrics.loss == 1.0, "{metrics:?}");
    }
    // The bias of the outputs and W have a gradient of 2 each, the bias of W and U too: divided by the scale.
    assert_eq!(weight(&mut trainer), -0.2);

    // What the checkpoint holds goes on to the last bit, and in single precision it goes on as well.
    let checkpoint = trainer.checkpoint().unwrap();
    assert_eq!(checkpoint.training.as_ref().unwrap().loss_scale, Some(LossScaling::new(16384.0, 1.0)));
    let checkpoint = Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap();
    let mut resumed = Trainer::resume(&half(), &checkpoint).unwrap();
    let mut single = Trainer::resume(&whole::gpu(), &checkpoint).unwrap();
    for trainer in [&mut trainer, &mut resumed, &mut single] {
        trainer.step(&window).unwrap();
    }
    assert_eq!(whole::bytes(&mut resumed), whole::bytes(&mut trainer));
    assert_eq!(single.loss_scale().unwrap(), 1.0);
    assert_eq!(single.checkpoint().unwrap().training.unwrap().loss_scale, None);
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn a_gradient_that_no_scale_holds_is_a_divergence() {
    // 2·1e9·V, and the least scale is 1/256.
    let window = Batch::dense(BatchShape { steps: 1, batch_size: 1 }, vec![1.0], Targets::Values(vec![1e9]));
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::Norm(1.0));
    let mut trainer = Trainer::new(&half(), &tiny(0.0, 1.0), recipe.clone()).unwrap();
    for _ in 0..24 {
        trainer.step(&window).unwrap();
    }
    assert!(trainer.metrics().unwrap().iter().all(|metrics| !metrics.updated));
    assert_eq!(trainer.loss_scale().unwrap(), f64::from(UpdateLossScale::MIN_SCALE));
    trainer.step(&window).unwrap();
    assert!(matches!(trainer.metrics(), Err(Error::Diverged { step: 25, what: "the gradient", .. })));
    assert_eq!(weight(&mut trainer), 0.0);
    // A loss that is not finite is one at once.
    let mut trainer = Trainer::new(&half(), &tiny(0.0, 1.0), recipe).unwrap();
    trainer
        .step(&Batch::dense(BatchShape { steps: 1, batch_size: 1 }, vec![1.0], Targets::Values(vec![1e30])))
        .unwrap();
    assert!(matches!(trainer.metrics(), Err(Error::Diverged { step: 1, what: "the loss", .. })));
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn windows_of_one_step_share_a_scale() {
    let config = Config::gru(InputKind::Tokens(5), 17, 5).with_seed(5);
    let model = Model::new(config.clone()).unwrap();
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::sgd(0.0), 0.5);
    let batches = [0, 1].map(|seed| whole::batch(&mut rng(seed), &config, Loss::CrossEntropy, 5, 3));
    let after = [whole::gpu(), half()].map(|device| {
        let mut trainer = Trainer::new(&device, &model, recipe.clone()).unwrap();
        trainer.step_accumulated(&batches).unwrap();
        assert!(trainer.metrics().unwrap()[0].updated);
        let moved = trainer.model().unwrap();
        let moved = moved.values().iter().zip(model.values()).map(|(after, before)| f64::from(after - before));
        moved.collect::<Vec<_>>()
    });
    assert_close("what a step over two windows moves", &after[1], &after[0], F16_NETWORK);
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn predictions_streams_and_evaluations_agree() {
    for cell in CELLS {
        let config = Config::of_cell(cell, InputKind::Dense(3), 21, 5).with_layers(2).with_seed(6);
        let model = Model::new(config.clone()).unwrap();
        let batch = whole::batch(&mut rng(7), &config, Loss::CrossEntropy, 6, 3);
        let recurrent::Inputs::Dense(x) = &batch.sequences.inputs else { panic!("vectors") };
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let run = |device: &Device| {
            let prediction = Predictor::new(device, &model).unwrap().run(&batch.sequences).unwrap();
            let mut trainer = Trainer::new(device, &model, Recipe::new(Loss::CrossEntropy)).unwrap();
            (prediction, trainer.evaluate([batch.clone()]).unwrap())
        };
        let ((single, single_loss), (prediction, loss)) = (run(&whole::gpu()), run(&half()));
        let name = cell.name();
        assert_close(&format!("{name}, outputs"), &wide(&prediction.outputs), &wide(&single.outputs), F16_NETWORK);
        assert_close(&format!("{name}, loss"), &[loss], &[single_loss], F16_NETWORK);

        let mut stream = StreamingPredictor::new(&half(), &model, 3).unwrap();
        let mut outputs = Vec::new();
        for step in x.chunks_exact(3 * 3) {
            outputs.extend_from_slice(stream.step(step).unwrap());
        }
        // A carried state has 32 bits and is rounded where it is read, as that of every step is: only sums differ.
        let rounding = Tolerance { relative: 1.5e-3, ..F16_NETWORK };
        assert_close(&format!("{name}, a stream's outputs"), &wide(&outputs), &wide(&prediction.outputs), rounding);
        let state = stream.state().unwrap();
        assert_close(
            &format!("{name}, a stream's state"),
            &wide(state.values()),
            &wide(prediction.state.values()),
            rounding,
        );
    }
}

#[test]
fn what_is_large_takes_half_the_memory() {
    // T 50, B 64, H 512, 96 tokens, as the benches have it.
    let (steps, batch, hidden, tokens) = (50u64, 64u64, 512u64, 96u64);
    let config = Config::gru(InputKind::Tokens(tokens as usize), hidden as usize, tokens as usize);
    let recipe = Recipe::new(Loss::CrossEntropy);
    let plan = |purpose: Purpose, target: Target| {
        Plan::new(&config, purpose, steps as usize, batch as usize, &target).unwrap().0
    };
    let [single, half] = [Target::webgpu(), in_half(Target::webgpu())].map(|t| plan(Purpose::Train(&recipe), t));
    for (name, elements) in [
        ("gates_l0", steps * batch * 3 * hidden),
        ("recurrent_l0", steps * batch * 3 * hidden),
        ("history_l0", (steps + 1) * batch * hidden),
        ("upstream_l0", (steps + 1) * batch * hidden),
    ] {
        let bytes = [&single, &half].map(|plan| plan.get(plan.find(name).unwrap()).bytes());
        assert_eq!(bytes, [4 * elements, 2 * elements], "{name}");
    }
    for name in ["outputs", "gradients", "gradient_slices", "first_moment", "parameters", "state"] {
        let of = |plan: &Plan| plan.get(plan.find(name).unwrap()).clone();
        assert_eq!((of(&half).dtype, of(&half)), (DType::F32, of(&single)), "{name}");
    }
    let scratch = [&single, &half].map(|plan| plan.bytes().scratch);
    println!("scratch of a training: {scratch:?}");
    assert!(scratch[1] * 100 < scratch[0] * 65, "{scratch:?}");
    // And a copy of the parameters and the scale, for all windows together.
    let flat = single.get(single.find("parameters").unwrap()).len() as u64;
    assert_eq!(half.bytes().shared, single.bytes().shared + 2 * flat + 12);

    let [single, half] = [Target::webgpu(), in_half(Target::webgpu())].map(|t| plan(Purpose::Infer, t).bytes());
    assert_eq!(half.shared, single.shared.div_ceil(2).next_multiple_of(4));
    println!("scratch of an inference: {:?}", [single.scratch, half.scratch]);
    assert!(half.scratch * 100 < single.scratch * 60, "{half:?} and {single:?}");
}

#[test]
fn the_cpu_and_a_target_without_it_say_so() {
    let Err(Error::Unsupported { device, what, missing, .. }) = Device::cpu().with_precision(Precision::F16) else {
        panic!("the CPU computes in half precision")
    };
    assert!(device.starts_with("CPU") && what == "half precision" && missing.contains("16-bit floats"));
    assert_eq!(Device::cpu().with_precision(Precision::F32).unwrap().precision(), Precision::F32);
    let config = Config::elman(InputKind::Tokens(3), 5, 3);
    for target in [Target::cpu(), Target::webgpu()] {
        let target = Target { precision: Precision::F16, ..target };
        let refused = Plan::new(&config, Purpose::Infer, 3, 2, &target);
        assert!(matches!(refused, Err(Error::Config(message)) if message.contains("has_f16")));
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_device_that_was_opened_without_it_says_so() {
    let (device, queue) = whole::open(|_| {});
    let gpu = recurrent::gpu::Gpu::from_wgpu(device, queue).unwrap();
    assert!(!gpu.target().has_f16);
    let name = gpu.adapter().name.clone();
    let Err(error) = Device::from_gpu(gpu.clone()).with_precision(Precision::F16) else {
        panic!("it computes in half precision")
    };
    assert!(matches!(&error, Error::Unsupported { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&name) && message.contains("SHADER_F16"), "{message}");
    // A plan that was made for another target does not get there either.
    let config = Config::elman(InputKind::Tokens(3), 5, 3);
    let (plan, _) = Plan::new(&config, Purpose::Infer, 3, 2, &in_half(gpu.target())).unwrap();
    let refused = recurrent::internals::gpu::Executor::new(gpu).prepare(plan);
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
}
