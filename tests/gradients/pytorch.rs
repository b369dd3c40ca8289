//! The executors against numbers from PyTorch: outputs, final state, loss, norm, every gradient, and three steps of
//! every optimiser.
//!
//! Here are the cells, each at a few sizes, and the optimisers; `pytorch_matrix.rs` has what networks are built
//! of.

use recurrent::internals::cpu;
use recurrent::internals::plan::{Purpose, StepParams, Target};
use recurrent::recipe::Optimizer;

use crate::common::compare::{F32_NETWORK, F32_PARAMETERS, F64, Tolerance, assert_close};
use crate::common::executor::{Execute, gpu};
use crate::common::fixture::{Fixture, LISTS, MATRIX, check_case, folder};
use crate::common::network::{Network, step_into};
use crate::common::whole;

const CASES: [&str; 20] = [
    "elman_tanh_dense_every_cross_entropy",
    "elman_relu_dense_every_cross_entropy",
    "elman_tanh_tokens_every_cross_entropy",
    "elman_relu_tokens_last_cross_entropy",
    "elman_tanh_dense_last_mse",
    "elman_tanh_dense_every_mse",
    "elman_tanh_dense_every_cross_entropy_t1_b1",
    "elman_tanh_dense_every_cross_entropy_h33",
    "elman_tanh_dense_every_cross_entropy_l2",
    "elman_relu_tokens_last_cross_entropy_l2",
    "lstm_dense_every_cross_entropy",
    "lstm_tokens_last_cross_entropy",
    "lstm_tokens_every_cross_entropy_l2",
    "lstm_dense_last_mse_l2",
    "lstm_dense_every_cross_entropy_h33",
    "gru_dense_every_cross_entropy",
    "gru_tokens_last_cross_entropy",
    "gru_tokens_every_cross_entropy_l2",
    "gru_dense_last_mse_l2",
    "gru_dense_every_cross_entropy_h33",
];

const OPTIMIZERS: [&str; 7] = [
    "optimizer_sgd",
    "optimizer_sgd_momentum",
    "optimizer_rmsprop",
    "optimizer_adam",
    "optimizer_adamw",
    "optimizer_sgd_momentum_clip_norm",
    "optimizer_adam_clip_value",
];

#[test]
fn the_f64_executor_agrees_on_every_case() {
    for target in [Target::cpu(), Target::webgpu()] {
        CASES.iter().for_each(|name| check_case(cpu::Executor::<f64>::new, target, &Fixture::load(name), F64));
    }
}

#[test]
fn the_f32_executor_agrees_on_every_case() {
    for target in [Target::cpu(), Target::webgpu()] {
        CASES.iter().for_each(|name| check_case(cpu::Executor::<f32>::new, target, &Fixture::load(name), F32_NETWORK));
    }
}

#[test]
fn the_f64_executor_agrees_on_every_optimizer() {
    OPTIMIZERS.iter().for_each(|name| check_optimizer(cpu::Executor::<f64>::new(), Target::cpu(), name, F64));
}

#[test]
fn the_f32_executor_agrees_on_every_optimizer() {
    OPTIMIZERS
        .iter()
        .for_each(|name| check_optimizer(cpu::Executor::<f32>::new(), Target::cpu(), name, F32_PARAMETERS));
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_gpu_agrees_on_every_case() {
    // By a workgroup without memory the recurrence goes step by step; as the adapter offers, in one dispatch.
    let whole = whole::gpu().target();
    for target in [whole, Target { workgroup_bytes: 0, ..whole }] {
        CASES.iter().for_each(|name| check_case(gpu, target, &Fixture::load(name), F32_NETWORK));
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_gpu_agrees_on_every_optimizer() {
    let target = whole::gpu().target();
    OPTIMIZERS.iter().for_each(|name| check_optimizer(gpu(), target, name, F32_PARAMETERS));
}

#[test]
fn every_fixture_is_tested() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // A folder and a table of numbers are of another script, and have a test of their own.
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut named = [&CASES[..], &OPTIMIZERS[..], &MATRIX[..], &[LISTS]].concat();
    files.sort();
    named.sort();
    assert_eq!(files, named);
}

/// Three steps of an optimiser on one batch.
fn check_optimizer<E: Execute>(executor: E, target: Target, name: &str, tolerance: Tolerance) {
    let fixture = Fixture::load(name);
    let (recipe, window) = (fixture.recipe(), fixture.window());
    let mut network = Network::new(executor, &fixture.config(), target);
    let train = network.prepare(Purpose::Train(&recipe), window.steps, window.batch);
    let start = fixture.parameters(&network.layout, "");
    network.write(&train, train.at.parameters, &start);
    for step in 1..=3 {
        let corrections = match recipe.optimizer {
            Optimizer::Adam { beta1, beta2, .. } => [1.0 - beta1.powi(step), 1.0 - beta2.powi(step)],
            _ => [1.0, 1.0],
        };
        network.run(
            &train,
            &window,
            StepParams {
                learning_rate: recipe.learning_rate,
                first_correction: corrections[0],
                second_correction: corrections[1],
                ..step_into(step as usize)
            },
        );
        let got = network.read(&train, train.at.parameters);
        let want = fixture.parameters(&network.layout, &format!("step{step}."));
        for parameter in network.layout.parameters() {
            let what = format!("{name}: {} after step {step}", parameter.name);
            assert_close(&what, &got[parameter.range()], &want[parameter.range()], tolerance);
        }
    }
}
