//! A training that diverges: what its error says, on every executor.
//!
//! The contract: losses and norms are those of the steps before, and the tensor that is named is the first of the step
//! that is not finite, found in networks whose weights are chosen so that one number overflows.

use crate::common::whole;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Clip, Config, Device, Divergence, Error, InputKind, LearningRateSchedule,
    Loss, Model, NotFinite, Optimizer, Recipe, Reset, Sequences, Targets, Trainer,
};

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    if cfg!(not(no_adapter)) {
        devices.push(whole::gpu());
    }
    devices
}

fn batch(input: f32, target: f32) -> Batch {
    let sequences = Sequences::dense(BatchShape { steps: 3, batch_size: 1 }, vec![input; 3]);
    Batch::new(sequences, Targets::Values(vec![target; 3]))
}

/// Two rectified layers of one unit, no bias but a read-out of 0: W and U of the first, of the second, then V.
fn model([w0, u0, w1, u1, v]: [f32; 5]) -> Model {
    let config =
        Config::of_cell(Cell::Elman(Activation::Relu), InputKind::Dense(1), 1, 1).with_layers(2).with_bias(false);
    let values =
        [("weight_ih_l0", w0), ("weight_hh_l0", u0), ("weight_ih_l1", w1), ("weight_hh_l1", u1), ("weight", v)];
    let tensors = values.iter().map(|(name, value)| (*name, &[1, 1][..], std::slice::from_ref(value)));
    Model::from_tensors(config, tensors.chain([("bias", &[1][..], &[0.0][..])])).unwrap()
}

fn recipe() -> Recipe {
    Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 1e-3)
}

fn diverged(error: Error) -> (u64, Divergence, String) {
    let said = error.to_string();
    match error {
        Error::Diverged { step, seen, .. } => (step, *seen, said),
        error => panic!("{error:?}"),
    }
}

#[test]
fn it_says_what_led_there_and_what_to_try() {
    for device in devices() {
        let steep = recipe().with_optimizer(Optimizer::sgd(0.0), 50.0);
        let mut trainer = Trainer::new(&device, &model([0.5, 0.5, 0.5, 0.5, 0.5]), steep).unwrap();
        let (mut norms, mut losses) = (Vec::new(), Vec::new());
        let error = loop {
            trainer.step(&batch(0.7, 1.0)).unwrap();
            match trainer.metrics() {
                Ok(metrics) => {
                    losses.push(metrics[0].loss);
                    norms.push(metrics[0].grad_norm);
                }
                Err(error) => break error,
            }
            assert!(norms.len() < 50, "{norms:?}");
        };
        let (step, seen, said) = diverged(error);
        assert_eq!(step, norms.len() as u64 + 1);
        assert!(!norms.is_empty(), "the first step is finite");
        let recent = norms.len().saturating_sub(8);
        assert_eq!((&seen.norms[..], &seen.losses[..]), (&norms[recent..], &losses[recent..]));
        assert!(said.contains("the gradient norms before it: ") && said.contains("Clip::Norm"), "{said}");
    }
}

#[test]
fn the_first_tensor_that_is_not_finite_is_named() {
    // h of a layer is W·1, then 1 + U, then (1 + U)·U.
    let layer = |layer| NotFinite::State { layer };
    let gradient = NotFinite::Gradient("weight_ih_l0".to_owned());
    let cases = [
        ([1.0, 3e38, 1.0, 0.0, 1.0], batch(1.0, 0.0), layer(0), "the state of layer 0"),
        ([1.0, 0.0, 1.0, 3e38, 1.0], batch(1.0, 0.0), layer(1), "the state of layer 1"),
        ([1.0, 0.0, 1.0, 0.0, 1.0], batch(1.0, 3e38), NotFinite::Loss, "the loss"),
        // h is 1e-20 and 1, the output 1e9; dL/dh of the first layer 7e37, which W's gradient multiplies by 1e10.
        ([1e-30, 0.0, 1e20, 0.0, 1e9], batch(1e10, 0.0), gradient, "the gradient of weight_ih_l0"),
    ];
    for device in devices() {
        for (weights, batch, expected, words) in &cases {
            let mut trainer = Trainer::new(&device, &model(*weights), recipe()).unwrap();
            // Read late: the second step is as the first, which changed nothing.
            trainer.step(batch).unwrap();
            trainer.step(batch).unwrap();
            let (step, seen, said) = diverged(trainer.metrics().unwrap_err());
            assert_eq!((step, seen.first.as_ref()), (1, Some(&(2, expected.clone()))), "{said}");
            assert_eq!(said.contains("learning rate"), seen.largest.is_none(), "{said}");
            assert!(said.contains(&format!("the first that is not finite at step 2 is {words}")), "{said}");
            // A step that is finite again has left nothing to be found.
            let mut trainer = Trainer::new(&device, &model(*weights), recipe()).unwrap();
            trainer.step(batch).unwrap();
            trainer.step(&self::batch(0.0, 0.0)).unwrap();
            let (step, seen, said) = diverged(trainer.metrics().unwrap_err());
            assert_eq!((step, seen.first), (1, None), "{said}");
        }
    }
}

#[test]
fn a_parameter_that_an_update_threw_beyond_all_bounds_is_named() {
    for device in devices() {
        let far = recipe().with_optimizer(Optimizer::sgd(0.0), Recipe::MAX_RATE);
        let mut trainer = Trainer::new(&device, &model([1.0, 0.0, 1.0, 0.0, 1.0]), far).unwrap();
        // At step 1 all is finite but what the update makes of it: a gradient of 2e24, not clipped.
        trainer.step(&batch(1e6, 1e18)).unwrap();
        trainer.metrics().unwrap();
        trainer.step(&batch(1e6, 1e18)).unwrap();
        let (step, seen, said) = diverged(trainer.metrics().unwrap_err());
        assert_eq!((step, seen.first), (2, Some((2, NotFinite::Parameter("weight_ih_l0".to_owned())))), "{said}");
    }
}

/// A gate that is shut has a derivative of 0, not one of 10⁻³⁸, of which inputs of 10³⁷ would make something.
#[test]
fn a_gate_that_is_shut_passes_no_gradient_however_large_its_input() {
    for cell in [Cell::Lstm, Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)] {
        let config = Config::of_cell(cell, InputKind::Dense(2), 5, 1).with_seed(3);
        let model = Model::new(config).unwrap();
        let devices = devices();
        let norms = devices.iter().flat_map(|device| {
            [1.0, 1e37].map(|input| {
                let mut trainer = Trainer::new(device, &model, recipe()).unwrap();
                let sequences =
                    Sequences::dense(BatchShape { steps: 2, batch_size: 1 }, vec![input, -input, -input, input]);
                let targets = Targets::Values(vec![0.5; 2]);
                trainer.step(&Batch::new(sequences, targets)).unwrap();
                trainer.metrics().unwrap()[0].grad_norm
            })
        });
        let norms: Vec<f64> = norms.collect();
        let cpu = norms[..2].to_vec();
        // At most the read-out's, whose gradient is no larger than 1 times h, and 1.
        assert!(cpu[1] < 10.0, "{cell:?}: {norms:?}");
        for of_device in norms.chunks_exact(2) {
            for (norm, cpu) in of_device.iter().zip(&cpu) {
                assert!((norm / cpu - 1.0).abs() < 1e-4, "{cell:?}: {norms:?}");
            }
        }
    }
}

/// A schedule that grows passes f32 in a few steps; the rate stays at its bound, and the decay at nothing left.
#[test]
fn a_rate_that_grows_without_bound_leaves_every_weight_finite() {
    let schedule = LearningRateSchedule::StepDecay { after: 1, every: 1, factor: 1e30 };
    assert_eq!(recipe().with_schedule(schedule).rate(1), 1e-3);
    for step in [2, 3, 1000, u64::MAX] {
        assert_eq!(recipe().with_schedule(schedule).rate(step), Recipe::MAX_RATE);
    }
    for device in devices() {
        for clip in [Clip::Norm(5.0), Clip::Value(5.0), Clip::Normalize(1e15)] {
            for optimizer in [Optimizer::sgd(0.9), Optimizer::rms_prop(), Optimizer::adam(), Optimizer::adam_w(0.1)] {
                let config = Config::lstm(InputKind::Dense(1), 3, 1);
                let recipe = Recipe::new(Loss::MeanSquared).with_clip(clip).with_optimizer(optimizer, 1e-3);
                let network = Model::new(config).unwrap();
                let mut trainer = Trainer::new(&device, &network, recipe.with_schedule(schedule)).unwrap();
                for step in 1..6 {
                    trainer.step(&batch(0.7, 1.0)).unwrap();
                    // Weights as large overflow the next step's loss: that step changes nothing.
                    let _ = trainer.metrics();
                    let model = trainer.model().unwrap();
                    let is_finite = model.values().iter().all(|value| value.is_finite());
                    assert!(is_finite, "{} {clip:?} {optimizer:?} step {step}: {:?}", device.name(), model.values());
                }
            }
        }
    }
}

/// 1e30 in the second step of the first sequence, in inputs or in targets.
#[test]
fn numbers_far_too_large_are_named_in_place_of_the_rate() {
    let far = |at: usize, value: f32| (0..3).map(|t| if t == at { value } else { 0.5 }).collect::<Vec<f32>>();
    let window = |inputs: Vec<f32>, targets: Vec<f32>| {
        Batch::new(Sequences::dense(BatchShape { steps: 3, batch_size: 1 }, inputs), Targets::Values(targets))
    };
    let batches = [
        (window(far(1, -1e30), far(0, 0.5)), "inputs[1, 0, 0] is -1e30: scale inputs to about 1"),
        (window(far(0, 0.5), far(2, 1e30)), "targets[2, 0] is 1e30: scale targets to about 1"),
        (window(far(0, 1e30), far(2, 2e30)), "targets[2, 0] is 2e30: scale targets to about 1"),
    ];
    for device in devices() {
        for (batch, words) in &batches {
            let mut trainer = Trainer::new(&device, &model([-1.0, 0.0, 1.0, 0.0, 1.0]), recipe()).unwrap();
            trainer.step(batch).unwrap();
            let (step, seen, said) = diverged(trainer.metrics().unwrap_err());
            assert!(step == 1 && seen.largest.is_some() && said.contains(words), "{said}");
            assert!(!said.contains("learning rate"), "{said}");
            // An evaluation is no step: it does not say what a step did.
            let mut trainer = Trainer::new(&device, &model([-1.0, 0.0, 1.0, 0.0, 1.0]), recipe()).unwrap();
            trainer.step(&self::batch(0.5, 0.5)).unwrap();
            let error = trainer.evaluate([self::batch(0.5, 0.5), batch.clone()]).unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, Error::LossNotFinite { steps: 1, .. }), "{error:?}");
            assert!(said.contains("evaluation") && said.contains(words) && !said.contains("that step"), "{said}");
        }
    }
}

#[test]
fn an_evaluation_names_the_parameter_that_is_not_finite() {
    for device in devices() {
        let far = recipe().with_optimizer(Optimizer::sgd(0.0), Recipe::MAX_RATE);
        let mut trainer = Trainer::new(&device, &model([1.0, 0.0, 1.0, 0.0, 1.0]), far).unwrap();
        trainer.step(&batch(1e6, 1e18)).unwrap();
        let error = trainer.evaluate([batch(1.0, 100.0)]).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("after 1 steps of training; the parameter weight_ih_l0 is not finite"), "{said}");
    }
}
