//! A caller's mistakes: each is an error that says what was given and what was expected, and none is a panic.
//!
//! The words are asserted, for they are all that a caller has to find the mistake by.

use crate::common::whole::{self, bytes, rng};
use recurrent::data::{HeldOutWindows, Windows};
#[cfg(feature = "gpu")]
use recurrent::gpu::Gpu;
use recurrent::{
    Batch, BatchShape, Clip, Config, Device, Directions, Error, InputKind, Inputs, LearningRateSchedule, Loss, Model,
    Optimizer, Pool, Recipe, Start, State, StreamingPredictor, Targets, Trainer,
};

fn tokens() -> Config {
    Config::elman(InputKind::Tokens(5), 8, 6)
}

fn dense() -> Config {
    Config::elman(InputKind::Dense(3), 8, 2)
}

fn trainer(config: &Config, loss: Loss) -> Trainer {
    Trainer::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), Recipe::new(loss)).unwrap()
}

fn stream(config: &Config) -> StreamingPredictor {
    StreamingPredictor::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), 2).unwrap()
}

/// A good batch for [`tokens`], T = 4, B = 2.
fn good() -> Batch {
    whole::batch(&mut rng(1), &tokens(), Loss::CrossEntropy, 4, 2)
}

/// A good batch for [`dense`], T = 4, B = 2.
fn good_numbers() -> Batch {
    whole::batch(&mut rng(1), &dense(), Loss::MeanSquared, 4, 2)
}

/// The same batch, said to be of other sizes.
fn sized(batch: Batch, steps: usize, size: usize) -> Batch {
    let mut batch = batch;
    (batch.sequences.steps, batch.sequences.batch_size) = (steps, size);
    batch
}

/// The same batch, reading other inputs.
fn reading(batch: Batch, inputs: Inputs) -> Batch {
    let mut batch = batch;
    batch.sequences = batch.sequences.with_inputs(inputs);
    batch
}

/// The error's words.
#[track_caller]
pub fn words<T>(result: recurrent::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this is a mistake, but it was accepted"),
        Err(error) => error.to_string(),
    }
}

/// Training and evaluation refuse the batch in the same words, and stay as they were.
#[track_caller]
fn refused(config: &Config, loss: Loss, batch: Batch) -> String {
    let mut trainer = trainer(config, loss);
    let before = bytes(&mut trainer);
    let said = words(trainer.step(&batch));
    assert_eq!(words(trainer.evaluate([batch])), said);
    assert_eq!((trainer.steps_done(), trainer.metrics().unwrap().len()), (0, 0));
    assert!(bytes(&mut trainer) == before);
    said
}

#[test]
fn sizes_of_zero() {
    for (config, what) in [
        (Config::elman(InputKind::Tokens(0), 8, 6), "the number of inputs (I)"),
        (Config::elman(InputKind::Dense(0), 8, 6), "the number of inputs (I)"),
        (Config::elman(InputKind::Tokens(5), 0, 6), "layer 0 (rnn): the number of hidden units (H)"),
        (Config::elman(InputKind::Tokens(5), 8, 6).with_layers(0), "the number of recurrent layers (L)"),
        (Config::elman(InputKind::Tokens(5), 8, 0), "the number of outputs (O)"),
    ] {
        let said = words(Model::new(config));
        assert_eq!(said, format!("invalid configuration: {what} is 0, expected at least 1"));
    }
    let none = |what| format!("invalid configuration: the number of {what} is 0, expected at least 1");
    let (steps, sequences) = (none("steps (T)"), none("sequences in a batch (B)"));
    assert_eq!(
        refused(
            &tokens(),
            Loss::CrossEntropy,
            Batch::tokens(BatchShape { steps: 0, batch_size: 2 }, Vec::new(), Vec::new())
        ),
        steps
    );
    assert_eq!(
        refused(
            &tokens(),
            Loss::CrossEntropy,
            Batch::tokens(BatchShape { steps: 4, batch_size: 0 }, Vec::new(), Vec::new())
        ),
        sequences
    );
    let last = tokens().pool(Pool::Last);
    assert_eq!(
        refused(
            &last,
            Loss::CrossEntropy,
            Batch::tokens(BatchShape { steps: 0, batch_size: 2 }, Vec::new(), vec![0; 2])
        ),
        steps
    );
    let mut trainer = trainer(&tokens(), Loss::CrossEntropy);
    assert_eq!(words(pollster::block_on(trainer.prepare_async(BatchShape { steps: 0, batch_size: 2 }))), steps);
    assert_eq!(words(pollster::block_on(trainer.prepare_async(BatchShape { steps: 2, batch_size: 0 }))), sequences);
    assert_eq!(words(StreamingPredictor::new(&Device::cpu(), &Model::new(tokens()).unwrap(), 0)), sequences);
    assert_eq!(words(stream(&tokens()).sequence(0, &Inputs::Tokens(Vec::new()))), steps);
    assert_eq!(words(Windows::new(vec![1; 9], BatchShape { steps: 0, batch_size: 2 })), steps);
    assert_eq!(words(HeldOutWindows::new(vec![1; 9], BatchShape { steps: 2, batch_size: 0 })), sequences);
}

#[test]
fn sizes_whose_product_overflows() {
    let huge = usize::MAX;
    for config in [
        Config::elman(InputKind::Dense(huge), huge, 2),
        Config::elman(InputKind::Tokens(huge), 1, 2),
        Config::elman(InputKind::Tokens(5), huge, 2),
        Config::elman(InputKind::Tokens(5), 8, huge),
        Config::elman(InputKind::Tokens(5), 1 << 16, 2),
        Config::elman(InputKind::Dense(1 << 32), 1 << 32, 1 << 32),
    ] {
        let error = Model::new(config).unwrap_err();
        assert!(matches!(error, Error::Limit { asked, allowed: 0x8000_0000, .. } if asked > 1 << 31), "{error:?}");
        assert!(error.to_string().contains("the limit is 2147483648 (elements that 32-bit indices reach)"), "{error}");
    }
    for (steps, size) in [(huge, 2), (2, huge), (huge, huge), (1 << 63, 2)] {
        let said = refused(&tokens(), Loss::CrossEntropy, sized(good(), steps, size));
        assert_eq!(said, format!("inputs has shape [8], expected [{steps}, {size}]"));
        let said = refused(&dense(), Loss::MeanSquared, sized(good_numbers(), steps, size));
        assert_eq!(said, format!("inputs has shape [24], expected [{steps}, {size}, 3]"));
        let mut trainer = trainer(&tokens(), Loss::CrossEntropy);
        let error = pollster::block_on(trainer.prepare_async(BatchShape { steps, batch_size: size })).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    }
    // A length that is right only if the product wraps around.
    let wrapped = Batch::tokens(BatchShape { steps: 1 << 63, batch_size: 2 }, Vec::new(), Vec::new());
    let said = refused(&tokens(), Loss::CrossEntropy, wrapped);
    assert_eq!(said, format!("inputs has shape [0], expected [{}, 2]", 1u64 << 63));
    let said = words(stream(&tokens()).sequence(1 << 63, &Inputs::Tokens(Vec::new())));
    assert_eq!(said, format!("inputs has shape [0], expected [{}, 2]", 1u64 << 63));
    let error = StreamingPredictor::new(&Device::cpu(), &Model::new(tokens()).unwrap(), huge).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    let said = words(Windows::new(vec![1; 9], BatchShape { steps: huge, batch_size: huge }));
    assert!(said.ends_with(&format!("needs at least {} ids, 9 given", huge as u128 * huge as u128 + 1)), "{said}");
}

#[test]
fn batches_of_another_shape() {
    let refused_tokens = |batch| refused(&tokens(), Loss::CrossEntropy, batch);
    let refused_numbers = |batch| refused(&dense(), Loss::MeanSquared, batch);
    let short = reading(good(), Inputs::Tokens(vec![0; 7]));
    assert_eq!(refused_tokens(short), "inputs has shape [7], expected [4, 2]");
    let short = good().with_targets(Targets::Classes(vec![0; 9]));
    assert_eq!(refused_tokens(short), "targets has shape [9], expected [8]");
    let narrow = reading(good_numbers(), Inputs::Dense(vec![0.0; 16]));
    assert_eq!(refused_numbers(narrow), "inputs has shape [16], expected [4, 2, 3]");
    let narrow = good_numbers().with_targets(Targets::Values(vec![0.0; 8]));
    assert_eq!(refused_numbers(narrow), "targets has shape [8], expected [8, 2]");
    let short = good().with_loss_mask(vec![true; 3]);
    assert_eq!(refused_tokens(short), "mask has shape [3], expected [8]");
    let one = State::new(&tokens(), 1, vec![0.0; 8]).unwrap();
    let short = good().with_start(Start::Given(one.clone()));
    assert_eq!(refused_tokens(short), "start has shape [1, 8], expected [2, 8]");
    // Labels at every step, for a network that is read out at the last.
    let last = tokens().pool(Pool::Last);
    let said = refused(&last, Loss::CrossEntropy, good());
    let expected = "(one for each sequence, as the network has a pool) has shape [8], expected [2]";
    assert_eq!(said, format!("targets {expected}"));

    assert_eq!(words(stream(&tokens()).step_tokens(&[1])), "inputs has shape [1], expected [1, 2]");
    assert_eq!(words(stream(&dense()).step(&[1.0; 5])), "inputs has shape [5], expected [1, 2, 3]");
    let said = words(stream(&dense()).set_state(&one));
    assert_eq!(said, "state has shape [1, 8], expected [2, 8]");
    assert_eq!(words(State::new(&dense(), 2, vec![1.0; 5])), "state has shape [5], expected [2, 8]");
}

#[test]
fn ids_out_of_range() {
    let with = |inputs: Option<usize>, targets: Option<usize>| {
        let (mut ids, mut classes) = (vec![0; 8], vec![0; 8]);
        inputs.into_iter().for_each(|at| ids[at] = 5);
        targets.into_iter().for_each(|at| classes[at] = 6);
        Batch::tokens(BatchShape { steps: 4, batch_size: 2 }, ids, classes)
    };
    let said = refused(&tokens(), Loss::CrossEntropy, with(Some(5), None));
    assert_eq!(said, "inputs[5] (step 2, sequence 1) is id 5, but the model has 5 tokens, counted from 0");
    let said = refused(&tokens(), Loss::CrossEntropy, with(None, Some(7)));
    assert_eq!(said, "targets[7] (step 3, sequence 1) is id 6, but the model has 6 outputs, counted from 0");
    // What does not count is still read.
    let hidden = with(Some(5), None).with_loss_mask((0..8).map(|r| r != 5).collect());
    assert!(refused(&tokens(), Loss::CrossEntropy, hidden).starts_with("inputs[5]"));
    let said = words(stream(&tokens()).step_tokens(&[4, 5]));
    assert_eq!(said, "inputs[1] (step 0, sequence 1) is id 5, but the model has 5 tokens, counted from 0");
    assert!(
        words(stream(&tokens()).step_tokens(&[u32::MAX, 0]))
            .starts_with("inputs[0] (step 0, sequence 0) is id 4294967295")
    );
}

#[test]
fn numbers_that_are_not_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let values = |count: usize, at: usize| (0..count).map(|i| if i == at { bad } else { 0.5 }).collect::<Vec<_>>();
        let inputs = reading(good_numbers(), Inputs::Dense(values(24, 23)));
        let targets = good_numbers().with_targets(Targets::Values(values(16, 3)));
        let start = State::new(&dense(), 2, values(16, 0));
        assert_eq!(words(start), format!("element 0 of the state is {bad}"));
        for (batch, place) in [(inputs, "inputs[23]"), (targets, "targets[3]")] {
            let said = refused(&dense(), Loss::MeanSquared, batch);
            assert_eq!(said, format!("{place} is {bad}, expected a finite number"));
        }
        assert_eq!(
            words(stream(&dense()).step(&values(6, 2))),
            format!("inputs[2] is {bad}, expected a finite number")
        );
    }
}

#[test]
fn inputs_and_targets_of_the_wrong_kind() {
    let said = refused(&tokens(), Loss::MeanSquared, good());
    assert_eq!(said, "the loss needs real numbers as targets, but the batch has classes");
    let said = refused(&dense(), Loss::CrossEntropy, good_numbers());
    assert_eq!(said, "the loss needs classes as targets, but the batch has real numbers");
    let said = refused(&tokens(), Loss::MeanSquared, good_numbers());
    assert_eq!(said, "the model reads tokens, but the inputs are dense");
    let said = refused(&dense(), Loss::CrossEntropy, good());
    assert_eq!(said, "the model reads dense inputs, but the inputs are tokens");
    assert_eq!(words(stream(&tokens()).step(&[0.0; 2])), "the model reads tokens, but the inputs are dense");
    assert_eq!(words(stream(&dense()).step_tokens(&[0; 2])), "the model reads dense inputs, but the inputs are tokens");
}

#[test]
fn nothing_that_counts() {
    let masked = good().with_loss_mask(vec![false; 8]);
    let said = refused(&tokens(), Loss::CrossEntropy, masked);
    assert_eq!(said, "the mask leaves none of the 8 positions to learn from");
    let mut trainer = trainer(&tokens(), Loss::CrossEntropy);
    assert_eq!(words(trainer.evaluate([] as [Batch; 0])), "there is no batch to evaluate");
    let masked = good().with_loss_mask(vec![false; 8]);
    let said = "the mask leaves none of the 16 positions to learn from";
    assert_eq!(words(trainer.step_accumulated(&[masked.clone(), masked.clone()])), said);
    assert_eq!(words(trainer.evaluate([masked.clone(), masked])), said);
}

#[test]
fn carrying_on_from_nothing_or_from_another_batch() {
    let nothing = "the batch carries on from the window before, but there was none";
    let carry = good().with_start(Start::Carry);
    assert_eq!(refused(&tokens(), Loss::CrossEntropy, carry.clone()), nothing);
    let mut trainer = trainer(&tokens(), Loss::CrossEntropy);
    trainer.step(&good()).unwrap();
    assert_eq!(words(trainer.evaluate([carry])), nothing, "an evaluation does not carry on from the training");
    let wider = whole::batch(&mut rng(1), &tokens(), Loss::CrossEntropy, 4, 3).with_start(Start::Carry);
    assert_eq!(words(trainer.step(&wider)), "the carried state's batch has shape [2], expected [3]");
    let fresh = wider.clone().with_start(Start::Initial);
    assert_eq!(words(trainer.evaluate([good(), wider])), "the carried state's batch has shape [2], expected [3]");
    assert!(trainer.step(&fresh).is_ok(), "training goes on");
    for (directions, how) in [(Directions::Bidirectional, "both ways"), (Directions::Reverse, "from their end")] {
        let config = tokens().with_directions(directions);
        let said = refused(&config, Loss::CrossEntropy, good().with_start(Start::Carry));
        assert!(said.contains(&format!("but layer 0 (rnn) reads sequences {how}: what it knows")), "{said}");
    }
}

#[test]
fn recipes_out_of_range() {
    let refused = |recipe: Recipe| {
        let said = words(Trainer::new(&Device::cpu(), &Model::new(tokens()).unwrap(), recipe));
        said.strip_prefix("invalid configuration: ").expect("an invalid configuration").to_owned()
    };
    let recipe = Recipe::new(Loss::CrossEntropy);
    let adam = |beta1, beta2, epsilon, weight_decay| {
        recipe.clone().with_optimizer(Optimizer::Adam { beta1, beta2, epsilon, weight_decay }, 0.1)
    };
    for v in [f64::NAN, -0.1, 0.0, f64::INFINITY] {
        let positive = format!("is {v}, expected a number above 0 that f32 can hold");
        assert_eq!(
            refused(recipe.clone().with_optimizer(Optimizer::adam(), v)),
            format!("the learning rate {positive}")
        );
        for clip in [Clip::Norm(v), Clip::Value(v), Clip::Normalize(v)] {
            assert_eq!(refused(recipe.clone().with_clip(clip)), format!("the clipping bound {positive}"));
        }
        assert_eq!(refused(adam(0.9, 0.9, v, 0.0)), format!("Adam's epsilon {positive}"));
        let rms_prop = Optimizer::RmsProp { alpha: 0.9, epsilon: v };
        assert_eq!(refused(recipe.clone().with_optimizer(rms_prop, 0.1)), format!("RMSprop's epsilon {positive}"));
        let decay = LearningRateSchedule::StepDecay { after: 1, every: 1, factor: v };
        assert_eq!(refused(recipe.clone().with_schedule(decay)), format!("the decay of the learning rate {positive}"));
    }
    for v in [f64::NAN, -0.1, 1.0, 1.5, f64::NEG_INFINITY, 1.0 - 1e-9] {
        let fraction = format!("is {v}, expected at least 0 and, in f32, below 1");
        assert_eq!(refused(adam(v, 0.9, 1e-8, 0.0)), format!("Adam's beta1 {fraction}"));
        assert_eq!(refused(adam(0.9, v, 1e-8, 0.0)), format!("Adam's beta2 {fraction}"));
        assert_eq!(refused(recipe.clone().with_optimizer(Optimizer::sgd(v), 0.1)), format!("momentum {fraction}"));
        let rms_prop = Optimizer::RmsProp { alpha: v, epsilon: 1e-8 };
        assert_eq!(refused(recipe.clone().with_optimizer(rms_prop, 0.1)), format!("RMSprop's alpha {fraction}"));
    }
    // Beyond what f32 holds, and beyond what takes a weight past zero.
    for v in [f64::NAN, -0.1, f64::INFINITY, 1e39, 11.0] {
        let expected =
            "expected at least 0 and, at a learning rate of 1e-1, at most 1e1: more would carry a weight past zero";
        assert_eq!(refused(adam(0.9, 0.9, 1e-8, v)), format!("weight decay is {v:e}, {expected}"));
    }
    let steep = recipe.clone().with_optimizer(Optimizer::adam(), 1e16);
    assert_eq!(refused(steep), "the learning rate is 1e16, expected at most 1e15");
    let long = recipe.clone().with_clip(Clip::Normalize(1e16));
    assert_eq!(refused(long), "the clipping bound is 1e16, expected at most 1e15");
    for floor in [f64::NAN, -0.1, 1.1] {
        let cosine = LearningRateSchedule::Cosine { warm_up: 1, total: 2, floor };
        assert_eq!(
            refused(recipe.clone().with_schedule(cosine)),
            format!("the cosine's floor is {floor}, expected 0 to 1")
        );
    }
    let decay = LearningRateSchedule::StepDecay { after: 1, every: 0, factor: 0.5 };
    assert_eq!(refused(recipe.with_schedule(decay)), "the learning rate decays every 0 steps, expected at least 1");
}

#[test]
fn devices_that_nobody_knows() {
    for word in ["", "GPU", "cuda", "gpu:", "cpu:0", " cpu"] {
        let said = words(Device::parse(word));
        let expected = "expected best, cpu, gpu, gpu:INDEX or gpu:NAME";
        assert_eq!(said, format!("invalid configuration: there is no device `{word}`, {expected}"));
    }
}

/// Whatever adapters there are, none or some: the error lists them.
#[cfg(feature = "gpu")]
#[test]
fn adapters_that_are_not_there() {
    let there = recurrent::gpu::adapters();
    for (word, wanted) in
        [("gpu:no such card", "a GPU named `no such card`"), ("gpu:4096", "GPU number 4096"), ("gpu:-1", "`-1`")]
    {
        let error = Device::parse(word).unwrap_err();
        let said = error.to_string();
        let Error::NoAdapter { found, hint, .. } = error else { panic!("{said}") };
        assert_eq!(found, there.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(said.starts_with("no adapter for ") && said.contains(wanted) && said.ends_with(hint), "{said}");
        assert!(there.iter().all(|adapter| said.contains(&adapter.name)), "{said}");
        assert_eq!(said.contains("this machine has none"), there.is_empty(), "{said}");
    }
}

#[test]
#[cfg(not(feature = "gpu"))]
fn a_build_without_a_gpu_says_so() {
    for word in ["gpu", "gpu:0", "gpu:llvmpipe"] {
        let error = Device::parse(word).unwrap_err();
        assert!(matches!(error, Error::NoAdapter { .. }) && error.to_string().contains("feature `gpu`"), "{error}");
    }
    assert!(Device::gpu().is_err() && !Device::best().is_gpu());
}

/// On a device of small limits, so that it fits any machine.
#[cfg(feature = "gpu")]
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn models_and_windows_larger_than_the_adapter_allows() {
    const ALLOWED: u64 = 1 << 20;
    let (device, queue) = whole::open(|limits| {
        limits.max_storage_buffer_binding_size = ALLOWED;
        limits.max_buffer_size = ALLOWED;
    });
    let held = || device.generate_allocator_report().map(|report| report.total_allocated_bytes);
    let gpu = Device::from_gpu(Gpu::from_wgpu(device.clone(), queue).unwrap());
    let before = held();
    let large = Model::new(Config::elman(InputKind::Tokens(5), 600, 6)).unwrap();
    let asked = large.values().len() as u64 * 4;
    let limit = "the adapter's max_storage_buffer_binding_size";
    let expected = format!("tensor `parameters` (bytes) needs {asked}; the limit is {ALLOWED} ({limit})");
    let error = Trainer::new(&gpu, &large, Recipe::new(Loss::CrossEntropy)).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    assert_eq!(error.to_string(), expected);
    assert_eq!(words(StreamingPredictor::new(&gpu, &large, 1)), expected);
    assert_eq!(held(), before, "something was allocated");

    // A window that is too large for a model that is not.
    let config = Config::elman(InputKind::Tokens(5), 128, 6);
    let mut trainer =
        Trainer::new(&gpu, &Model::new(config.clone()).unwrap(), Recipe::new(Loss::CrossEntropy)).unwrap();
    let (state, before) = (bytes(&mut trainer), held());
    let long = whole::batch(&mut rng(2), &config, Loss::CrossEntropy, 1500, 2);
    let error = trainer.step(&long).unwrap_err();
    let asked = 1500 * 2 * 128 * 4;
    assert!(matches!(error, Error::Limit { asked: a, allowed: ALLOWED, .. } if a >= asked), "{error:?}");
    assert_eq!(held(), before, "something was allocated");
    assert!(bytes(&mut trainer) == state, "the training is another");
    trainer.step(&whole::batch(&mut rng(2), &config, Loss::CrossEntropy, 5, 2)).unwrap();
    assert_eq!(trainer.metrics().unwrap().len(), 1, "training goes on with shorter windows");
}
