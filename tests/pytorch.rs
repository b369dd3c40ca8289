//! The executors against numbers from PyTorch: outputs, final state, loss, norm, every gradient, and three steps of every
//! optimiser.
//!
//! `scripts/fixtures.py` made the files and documents their tensors; a file or a tensor that is missing fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use recurrent::plan::{Clip, Loss, Optimizer, Purpose, Recipe, Target};
use recurrent::{Activation, Cell, Config, Input, Layout, ReadOut, cpu};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use common::compare::{EXACT, F32_NETWORK, F32_PARAMETERS, F64, Tolerance, assert_close};
use common::executor::{Execute, gpu};
use common::network::{Inputs, Metrics, Network, Targets, Window};

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
        CASES.iter().for_each(|name| check_case(cpu::Executor::<f64>::new(), target, name, F64));
    }
}

#[test]
fn the_f32_executor_agrees_on_every_case() {
    for target in [Target::cpu(), Target::webgpu()] {
        CASES.iter().for_each(|name| check_case(cpu::Executor::<f32>::new(), target, name, F32_NETWORK));
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
    let whole = gpu().gpu().target();
    for target in [whole, Target { workgroup_bytes: 0, ..whole }] {
        CASES.iter().for_each(|name| check_case(gpu(), target, name, F32_NETWORK));
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_gpu_agrees_on_every_optimizer() {
    let target = gpu().gpu().target();
    OPTIMIZERS.iter().for_each(|name| check_optimizer(gpu(), target, name, F32_PARAMETERS));
}

#[test]
fn every_fixture_is_tested() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut named = [&CASES[..], &OPTIMIZERS[..]].concat();
    files.sort();
    named.sort();
    assert_eq!(files, named);
}

/// Inference, evaluation and one training step of a case.
fn check_case<E: Execute>(executor: E, target: Target, name: &str, tolerance: Tolerance) {
    let fixture = Fixture::load(name);
    let (config, loss, window) = (fixture.config(), fixture.loss(), fixture.window());
    let (steps, batch) = (window.steps, window.batch);
    let close = |what: &str, got: &[f64], want: &[f64]| assert_close(&format!("{name}: {what}"), got, want, tolerance);
    let mut network = Network::new(executor, &config, target);
    let parameters = fixture.parameters(&network.layout, "");

    let recipe = Recipe::new(loss).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let infer = network.prepare(Purpose::Infer, steps, batch);
    let evaluate = network.prepare(Purpose::Evaluate(loss), steps, batch);
    let train = network.prepare(Purpose::Train(recipe), steps, batch);
    network.write(&train, train.at.parameters, &parameters);
    let held = network.read(&train, train.at.parameters);

    network.run(&infer, &window, [0.0; 4]);
    close("outputs", &network.read(&infer, infer.at.outputs), &fixture.real("logits"));
    close("final state", &network.read(&infer, infer.at.state), &fixture.state("hn", "cn"));

    // Any slot of the metrics will do, so each run has its own.
    network.run(&evaluate, &window, [0.0, 1.0, 1.0, 3.0]);
    let metrics = network.metrics(&evaluate, 3);
    close("loss in evaluation", &[metrics.loss], &fixture.real("loss"));
    assert_eq!(metrics, Metrics { norm: 0.0, scale: 1.0, finite: 1.0, ..metrics }, "{name}: evaluation");
    close("outputs in evaluation", &network.read(&evaluate, evaluate.at.outputs), &fixture.real("logits"));
    close("final state in evaluation", &network.read(&evaluate, evaluate.at.state), &fixture.state("hn", "cn"));

    // At a rate of 0 no parameter changes: what is tested here is the gradient.
    network.run(&train, &window, [0.0, 1.0, 1.0, 1023.0]);
    let metrics = network.metrics(&train, 1023);
    close("loss", &[metrics.loss], &fixture.real("loss"));
    close("norm", &[metrics.norm], &fixture.real("norm"));
    assert_eq!(metrics, Metrics { scale: 1.0, finite: 1.0, ..metrics }, "{name}: training");
    close("final state in training", &network.read(&train, train.at.state), &fixture.state("hn", "cn"));
    let gradients = network.read(&train, train.at.training.unwrap().gradients);
    let want = fixture.parameters(&network.layout, "grad.");
    for parameter in network.layout.parameters() {
        let what = format!("gradient of {}", parameter.name);
        close(&what, &gradients[parameter.range()], &want[parameter.range()]);
    }
    let mut gaps = gradients;
    network.layout.parameters().iter().for_each(|p| gaps[p.range()].fill(0.0));
    assert!(gaps.iter().all(|&g| g == 0.0), "{name}: a gradient in a gap between tensors");
    close(
        "gradient of the initial state",
        &network.state_gradient(&train, &window, &parameters),
        &fixture.state("grad.h0", "grad.c0"),
    );
    assert_close(name, &network.read(&train, train.at.parameters), &held, EXACT);
}

/// Three steps of an optimiser on one batch.
fn check_optimizer<E: Execute>(executor: E, target: Target, name: &str, tolerance: Tolerance) {
    let fixture = Fixture::load(name);
    let (recipe, window) = (fixture.recipe(), fixture.window());
    let mut network = Network::new(executor, &fixture.config(), target);
    let train = network.prepare(Purpose::Train(recipe), window.steps, window.batch);
    let start = fixture.parameters(&network.layout, "");
    network.write(&train, train.at.parameters, &start);
    for step in 1..=3 {
        let corrections = match recipe.optimizer {
            Optimizer::Adam { beta1, beta2, .. } => [1.0 - beta1.powi(step), 1.0 - beta2.powi(step)],
            _ => [1.0, 1.0],
        };
        network.run(&train, &window, [recipe.learning_rate, corrections[0], corrections[1], f64::from(step)]);
        let got = network.read(&train, train.at.parameters);
        let want = fixture.parameters(&network.layout, &format!("step{step}."));
        for parameter in network.layout.parameters() {
            let what = format!("{name}: {} after step {step}", parameter.name);
            assert_close(&what, &got[parameter.range()], &want[parameter.range()], tolerance);
        }
    }
}

/// One file of PyTorch's numbers.
struct Fixture {
    name: String,
    reals: HashMap<String, Vec<f64>>,
    ids: HashMap<String, Vec<u32>>,
    case: Value,
    optimizer: Option<Value>,
}

impl Fixture {
    fn load(name: &str) -> Self {
        let path = folder().join(format!("{name}.safetensors"));
        Self::read(name, &path).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
    }

    fn read(name: &str, path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let (mut reals, mut ids) = (HashMap::new(), HashMap::new());
        for (key, tensor) in SafeTensors::deserialize(&bytes)?.tensors() {
            match tensor.dtype() {
                Dtype::F64 => {
                    reals.insert(key, tensor.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect());
                }
                Dtype::I32 => {
                    ids.insert(key, tensor.data().as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect());
                }
                other => anyhow::bail!("{key} is {other:?}"),
            }
        }
        let metadata = header.metadata().clone().unwrap_or_default();
        let case = metadata.get("case").context("no case in the metadata")?;
        let optimizer = metadata.get("optimizer").map(|text| serde_json::from_str(text)).transpose()?;
        Ok(Fixture { name: name.to_owned(), reals, ids, case: serde_json::from_str(case)?, optimizer })
    }

    fn real(&self, tensor: &str) -> Vec<f64> {
        self.reals.get(tensor).unwrap_or_else(|| panic!("{}: no tensor {tensor}", self.name)).clone()
    }

    /// `[S, L, B, H]`: h, and then c where the cell has one.
    fn state(&self, h: &str, c: &str) -> Vec<f64> {
        let mut state = self.real(h);
        if self.choice("cell") == "lstm" {
            state.extend(self.real(c));
        }
        state
    }

    fn id(&self, tensor: &str) -> Vec<u32> {
        self.ids.get(tensor).unwrap_or_else(|| panic!("{}: no tensor {tensor}", self.name)).clone()
    }

    fn size(&self, name: &str) -> usize {
        self.case[name].as_u64().unwrap_or_else(|| panic!("{}: no size {name}", self.name)) as usize
    }

    fn choice(&self, name: &str) -> &str {
        self.case[name].as_str().unwrap_or_else(|| panic!("{}: no {name}", self.name))
    }

    fn config(&self) -> Config {
        let input = match self.choice("input") {
            "tokens" => Input::Tokens(self.size("I")),
            "dense" => Input::Dense(self.size("I")),
            other => panic!("{}: input {other}", self.name),
        };
        let cell = match (self.choice("cell"), self.choice("activation")) {
            ("elman", "tanh") => Cell::Elman(Activation::Tanh),
            ("elman", "relu") => Cell::Elman(Activation::Relu),
            ("lstm", "") => Cell::Lstm,
            ("gru", "") => Cell::Gru,
            other => panic!("{}: cell and activation {other:?}", self.name),
        };
        let layers = if self.case["layers"].is_null() { 1 } else { self.size("layers") };
        let read_out = match self.choice("readout") {
            "every" => ReadOut::EveryStep,
            "last" => ReadOut::Last,
            other => panic!("{}: read-out {other}", self.name),
        };
        Config::new(cell, input, self.size("H"), self.size("O")).with_layers(layers).with_read_out(read_out)
    }

    fn loss(&self) -> Loss {
        match self.choice("loss") {
            "cross_entropy" => Loss::CrossEntropy,
            "mse" => Loss::MeanSquared,
            other => panic!("{}: loss {other}", self.name),
        }
    }

    fn recipe(&self) -> Recipe {
        let settings = self.optimizer.as_ref().unwrap_or_else(|| panic!("{}: no optimizer", self.name));
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{}: {settings}", self.name));
        let adam = |weight_decay: f64| Optimizer::Adam {
            beta1: number(&settings["betas"][0]),
            beta2: number(&settings["betas"][1]),
            epsilon: number(&settings["eps"]),
            weight_decay,
        };
        let optimizer = match settings["name"].as_str() {
            Some("sgd") => Optimizer::sgd(number(&settings["momentum"])),
            Some("rmsprop") => {
                Optimizer::RmsProp { alpha: number(&settings["alpha"]), epsilon: number(&settings["eps"]) }
            }
            Some("adam") => adam(0.0),
            Some("adamw") => adam(number(&settings["weight_decay"])),
            _ => panic!("{}: {settings}", self.name),
        };
        let bound = number(&settings["clip_value"]);
        let clip = match settings["clip"].as_str() {
            Some("none") => Clip::None,
            Some("norm") => Clip::Norm(bound),
            Some("value") => Clip::Value(bound),
            _ => panic!("{}: {settings}", self.name),
        };
        Recipe::new(self.loss()).with_clip(clip).with_optimizer(optimizer, number(&settings["lr"]))
    }

    fn window(&self) -> Window {
        let dense = self.choice("input") == "dense";
        let classes = self.loss() == Loss::CrossEntropy;
        Window {
            steps: self.size("T"),
            batch: self.size("B"),
            inputs: if dense { Inputs::Dense(self.real("x")) } else { Inputs::Tokens(self.id("tokens")) },
            targets: if classes { Targets::Classes(self.id("targets")) } else { Targets::Values(self.real("targets")) },
            mask: self.real("mask"),
            state: self.state("h0", "c0"),
        }
    }

    /// The tensors named as the parameters, after `prefix`, in one flat vector.
    fn parameters(&self, layout: &Layout, prefix: &str) -> Vec<f64> {
        let mut flat = vec![0.0; layout.len()];
        for parameter in layout.parameters() {
            let values = self.real(&format!("{prefix}{}", parameter.name));
            assert_eq!(values.len(), parameter.len(), "{}: {}", self.name, parameter.name);
            flat[parameter.range()].copy_from_slice(&values);
        }
        flat
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}
