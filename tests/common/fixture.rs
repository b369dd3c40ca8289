//! PyTorch's numbers as `scripts/fixtures.py` wrote them, and the comparison of one case with an executor.
//!
//! The script documents every tensor; one that is missing, or a setting that is not known here, fails the test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use recurrent::internals::plan::{MetricsRow, Purpose, Target};
use recurrent::recipe::{Clip, GradientCheckpointing, Loss, Optimizer, Recipe};
use recurrent::{Activation, Cell, Column, Config, Directions, Head, InputKind, Layout, Pool, Reset};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::compare::{EXACT, Tolerance, assert_close};
use super::executor::Execute;
use super::heads::{HeadLabels, Targets, head_losses, with_head_losses};
use super::network::{Inputs, Network, Window, step_into};

/// The files that hold many small cases each.
pub const MATRIX: [&str; 5] =
    ["matrix_elman_tanh", "matrix_elman_relu", "matrix_lstm", "matrix_gru", "matrix_gru_before"];

/// The file of networks whose layers differ, by `scripts/list_fixtures.py`.
pub const LISTS: &str = "lists";

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Inference, evaluation and one training step of a case, and the gradient of its initial state.
pub fn check_case<E: Execute>(executor: impl Fn() -> E, target: Target, fixture: &Fixture, tolerance: Tolerance) {
    let name = &fixture.name;
    let (config, loss, window) = (fixture.config(), fixture.loss(), fixture.window());
    let (steps, batch) = (window.steps, window.batch);
    let close = |what: &str, got: &[f64], want: &[f64]| assert_close(&format!("{name}: {what}"), got, want, tolerance);
    // What comes out behind the end of a sequence means nothing.
    let outputs = |what: &str, got: &[f64]| close(what, got, &fixture.outputs());
    let mut network = Network::new(executor(), &config, target);
    let parameters = fixture.parameters(&network.layout, "");

    let recipe = Recipe::new(loss).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let recipe = with_head_losses(recipe, &config);
    let infer = network.prepare(Purpose::Infer, steps, batch);
    let evaluate = network.prepare(Purpose::Evaluate(&recipe), steps, batch);
    let train = network.prepare(Purpose::Train(&recipe), steps, batch);
    network.write(&train, train.at.parameters, &parameters);
    let held = network.read(&train, train.at.parameters);

    network.run(&infer, &window, step_into(0));
    outputs("outputs", &network.outputs(&infer, &window));
    close("final state", &network.read(&infer, infer.at.state), &fixture.state("hn", "cn"));

    // Any slot of the metrics will do, so each run has its own.
    network.run(&evaluate, &window, step_into(3));
    let metrics = network.metrics(&evaluate, 3);
    close("loss in evaluation", &[metrics.loss], &fixture.real("loss"));
    assert_eq!(metrics, MetricsRow { grad_norm: 0.0, clip_scale: 1.0, updates: 1.0, ..metrics }, "{name}: evaluation");
    outputs("outputs in evaluation", &network.outputs(&evaluate, &window));
    close("final state in evaluation", &network.read(&evaluate, evaluate.at.state), &fixture.state("hn", "cn"));

    // At a rate of 0 no parameter changes: what is tested here is the gradient, and where there are segments to be had,
    // that of segments as well.
    let mut trains = vec![train];
    if config.recurrent_layers().all(|layer| layer.directions == Directions::Forward) {
        let recipe = recipe.clone().with_gradient_checkpointing(GradientCheckpointing::Sqrt);
        trains.push(network.prepare(Purpose::Train(&recipe), steps, batch));
    }
    for train in trains {
        network.run(&train, &window, step_into(1023));
        let metrics = network.metrics(&train, 1023);
        close("loss", &[metrics.loss], &fixture.real("loss"));
        close("norm", &[metrics.grad_norm], &fixture.real("norm"));
        assert_eq!(metrics, MetricsRow { clip_scale: 1.0, updates: 1.0, ..metrics }, "{name}: training");
        close("final state in training", &network.read(&train, train.at.state), &fixture.state("hn", "cn"));
        let gradients = network.gradients(&train);
        let want = fixture.parameters(&network.layout, "grad.");
        for parameter in network.layout.parameters() {
            let what = format!("gradient of {}", parameter.name);
            close(&what, &gradients[parameter.range()], &want[parameter.range()]);
        }
        let mut gaps = gradients;
        network.layout.parameters().iter().for_each(|p| gaps[p.range()].fill(0.0));
        assert!(gaps.iter().all(|&g| g == 0.0), "{name}: a gradient in a gap between tensors");
        assert_close(name, &network.read(&train, train.at.parameters), &held, EXACT);
    }

    // A learned one is a parameter, compared above. Of any other the same network that could learn it has the gradient.
    if !config.recurrent_layers().next().unwrap().learned_initial_state {
        let mut learning = Network::new(executor(), &config.with_learned_initial_state(true), target);
        let mut all = vec![0.0; learning.layout.buffer_len()];
        for parameter in network.layout.parameters() {
            let place = learning.layout.get(&parameter.name).unwrap().range();
            all[place].copy_from_slice(&parameters[parameter.range()]);
        }
        let train = learning.prepare_kept(Purpose::Train(&recipe), steps, batch);
        learning.write(&train, train.at.parameters, &all);
        learning.run(&train, &window, step_into(0));
        let got = learning.state_gradient(&train);
        close("gradient of the initial state", &got, &fixture.state("grad.h0", "grad.c0"));
    }
}

/// PyTorch's numbers for one case.
pub struct Fixture {
    pub name: String,
    reals: HashMap<String, Vec<f64>>,
    ids: HashMap<String, Vec<u32>>,
    case: Value,
    optimizer: Option<Value>,
}

impl Fixture {
    /// The case of a file that holds one.
    pub fn load(file: &str) -> Self {
        let path = folder().join(format!("{file}.safetensors"));
        Self::read(file, &path).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
    }

    /// All cases of a file that holds many.
    pub fn load_many(file: &str) -> Vec<Self> {
        let path = folder().join(format!("{file}.safetensors"));
        Self::read_many(file, &path).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
    }

    fn read(name: &str, path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let case = serde_json::from_str(metadata.get("case").context("no case in the metadata")?)?;
        let optimizer = metadata.get("optimizer").map(|text| serde_json::from_str(text)).transpose()?;
        let mut fixture =
            Fixture { name: name.to_owned(), reals: HashMap::new(), ids: HashMap::new(), case, optimizer };
        fixture.take(&SafeTensors::deserialize(&bytes)?, "")?;
        Ok(fixture)
    }

    fn read_many(file: &str, path: &Path) -> anyhow::Result<Vec<Self>> {
        let bytes = std::fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let cases: Vec<Value> = serde_json::from_str(metadata.get("cases").context("no cases in the metadata")?)?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let (mut fixtures, mut taken) = (Vec::new(), 0);
        for case in cases {
            let name = case["name"].as_str().context("a case without a name")?.to_owned();
            let (reals, ids) = (HashMap::new(), HashMap::new());
            let mut fixture = Fixture { name: format!("{file}/{name}"), reals, ids, case, optimizer: None };
            fixture.take(&tensors, &format!("{name}/"))?;
            taken += fixture.reals.len() + fixture.ids.len();
            fixtures.push(fixture);
        }
        anyhow::ensure!(taken == tensors.len(), "{taken} of {} tensors belong to a case", tensors.len());
        Ok(fixtures)
    }

    /// The tensors with `prefix` before their names.
    fn take(&mut self, tensors: &SafeTensors, prefix: &str) -> anyhow::Result<()> {
        for (name, tensor) in tensors.tensors() {
            let Some(key) = name.strip_prefix(prefix) else { continue };
            let (key, data) = (key.to_owned(), tensor.data());
            match tensor.dtype() {
                Dtype::F64 => {
                    self.reals.insert(key, data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect());
                }
                Dtype::I32 => {
                    self.ids.insert(key, data.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect());
                }
                other => anyhow::bail!("{name} is {other:?}"),
            }
        }
        Ok(())
    }

    /// A tensor of real numbers.
    pub fn real(&self, tensor: &str) -> Vec<f64> {
        self.reals.get(tensor).unwrap_or_else(|| panic!("{}: no tensor {tensor}", self.name)).clone()
    }

    /// h `[B, D·H]` of all recurrent layers, then c of those that have one.
    pub fn state(&self, h: &str, c: &str) -> Vec<f64> {
        let mut state = self.real(h);
        if self.reals.contains_key(c) {
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

    /// Whether the setting is there and holds: the files of one case each, and of lists, leave it out.
    fn is(&self, name: &str) -> bool {
        let of_others = self.case["name"].is_null() || !self.case["config"].is_null();
        !(of_others && self.case[name].is_null())
            && self.case[name].as_bool().unwrap_or_else(|| panic!("{}: no {name}", self.name))
    }

    /// The network.
    pub fn config(&self) -> Config {
        if !self.case["config"].is_null() {
            return serde_json::from_value(self.case["config"].clone())
                .unwrap_or_else(|e| panic!("{}: {e}", self.name));
        }
        let input = match self.choice("input") {
            "tokens" => InputKind::Tokens(self.size("I")),
            "dense" => InputKind::Dense(self.size("I")),
            other => panic!("{}: input {other}", self.name),
        };
        let reset = self.case["reset"].as_str();
        let cell = match (self.choice("cell"), self.choice("activation"), reset) {
            ("elman", "tanh", None | Some("")) => Cell::Elman(Activation::Tanh),
            ("elman", "relu", None | Some("")) => Cell::Elman(Activation::Relu),
            ("lstm", "", None | Some("")) => Cell::Lstm,
            ("gru", "", None | Some("after")) => Cell::Gru(Reset::AfterProduct),
            ("gru", "", Some("before")) => Cell::Gru(Reset::BeforeProduct),
            other => panic!("{}: cell, activation and reset {other:?}", self.name),
        };
        let read_out = match self.choice("readout") {
            "every" => None,
            "last" => Some(Pool::Last),
            "mean" => Some(Pool::Mean),
            other => panic!("{}: read-out {other}", self.name),
        };
        let layers = if self.case["layers"].is_null() { 1 } else { self.size("layers") };
        let directions = match self.case["directions"].as_u64() {
            None | Some(1) => Directions::Forward,
            Some(2) => Directions::Bidirectional,
            other => panic!("{}: directions {other:?}", self.name),
        };
        Config::of_cell(cell, input, self.size("H"), self.size("O"))
            .with_layers(layers)
            .with_directions(directions)
            .with_bias(self.case["bias"].is_null() || self.is("bias"))
            .with_learned_initial_state(self.is("learned_initial_state"))
            .with_pool(read_out)
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        match self.choice("loss") {
            "cross_entropy" => Loss::CrossEntropy,
            "mse" => Loss::MeanSquared,
            other => panic!("{}: loss {other}", self.name),
        }
    }

    /// The recipe of a file of an optimiser.
    pub fn recipe(&self) -> Recipe {
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

    /// The data.
    pub fn window(&self) -> Window {
        let dense = self.choice("input") == "dense";
        let classes = self.loss() == Loss::CrossEntropy;
        let config = self.config();
        // A start from the learned state does not read the carried one: a wrong one shows.
        let unread = || vec![0.5; config.state_len(self.size("B"))];
        Window {
            steps: self.size("T"),
            batch: self.size("B"),
            columns: self.columns(&config),
            inputs: if dense { Inputs::Dense(self.real("x")) } else { Inputs::Tokens(self.id("tokens")) },
            lengths: self.lengths(),
            targets: if classes { Targets::Classes(self.id("targets")) } else { Targets::Values(self.real("targets")) },
            mask: self.real("mask"),
            state: if config.recurrent_layers().next().unwrap().learned_initial_state {
                unread()
            } else {
                self.state("h0", "c0")
            },
            fresh: config.recurrent_layers().next().unwrap().learned_initial_state,
            heads: self.heads(&config),
        }
    }

    /// `[B]`: the valid steps of each sequence; in the files of one case each all are.
    fn lengths(&self) -> Vec<u32> {
        if self.case["name"].is_null() { vec![self.size("T") as u32; self.size("B")] } else { self.id("lengths") }
    }

    fn columns(&self, config: &Config) -> Vec<Inputs> {
        let of = |column: &Column| match column.input {
            InputKind::Tokens(_) => Inputs::Tokens(self.id(&format!("column.{}", column.name))),
            _ => Inputs::Dense(self.real(&format!("column.{}", column.name))),
        };
        config.columns.iter().map(of).collect()
    }

    fn heads(&self, config: &Config) -> Vec<HeadLabels> {
        let of_head = |(head, loss, _): (&Head, Loss, f64)| {
            let name = &head.name;
            let targets = match loss {
                Loss::CrossEntropy => Targets::Classes(self.id(&format!("targets.{name}"))),
                _ => Targets::Values(self.real(&format!("targets.{name}"))),
            };
            HeadLabels { targets, mask: self.real(&format!("mask.{name}")) }
        };
        head_losses(config).map(of_head).collect()
    }

    /// The outputs, the network's own and then each head's; zeros behind the end of a sequence.
    pub fn outputs(&self) -> Vec<f64> {
        let mut all = self.real("logits");
        if self.choice("readout") == "every" {
            let (lengths, batch) = (self.lengths(), self.size("B"));
            let rows = all.chunks_mut(self.size("O")).enumerate();
            rows.filter(|(row, _)| row / batch >= lengths[row % batch] as usize).for_each(|(_, row)| row.fill(0.0));
        }
        for head in &self.config().heads {
            all.extend(self.real(&format!("logits.{}", head.name)));
        }
        all
    }

    /// The tensors named as the parameters, after `prefix`, in one flat vector.
    pub fn parameters(&self, layout: &Layout, prefix: &str) -> Vec<f64> {
        let mut flat = vec![0.0; layout.buffer_len()];
        for parameter in layout.parameters() {
            let values = self.real(&format!("{prefix}{}", parameter.name));
            assert_eq!(values.len(), parameter.len(), "{}: {}", self.name, parameter.name);
            flat[parameter.range()].copy_from_slice(&values);
        }
        flat
    }
}
