//! Optimisers, groups, schedules and averaged weights against PyTorch over 200 steps, by the numbers of
//! `scripts/recipe_fixtures.py`.
//!
//! The plan in f64 is held against them closely, with the numbers of a step worked out here once more; a whole
//! [`Trainer`], which works them out by itself, as closely as f32 lets it.

use std::collections::HashMap;

use recurrent::internals::cpu::Executor;
use recurrent::internals::plan::{METRICS_SLOTS, Purpose, StepParams, Target, grouped_flags};
use recurrent::recipe::{Average, LearningRateSchedule, Loss, Optimizer, Recipe};
use recurrent::{Batch, BatchShape, Config, Device, InputKind, Layout, Model, Plateau, Sequences, Targets, Trainer};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::common::compare::{Tolerance, assert_close};
use crate::common::fixture::folder;
use crate::common::heads::Targets as Labels;
use crate::common::network::{Inputs, Network, Window};
use crate::common::whole;

/// 200 steps in f64: roundings of 1e-16, which a training may amplify a thousand times over. The settings of groups are
/// f32 numbers: so are those of the file.
const TRAINED_F64: Tolerance = Tolerance { relative: 1e-10, floor: 1e-2, least: 0.0 };

/// The same in f32: 200 roundings of 6e-8 and more.
const TRAINED_F32: Tolerance = Tolerance { relative: 3e-4, floor: 1.0, least: 0.0 };

/// A rate, which PyTorch takes from the one before it by up to 300 multiplications.
const RATE: Tolerance = Tolerance { relative: 1e-12, floor: 1e-12, least: 0.0 };

const STEPS: usize = 200;
const KEPT: [usize; 5] = [1, 2, 10, 50, STEPS];
const SHAPE: BatchShape = BatchShape { steps: 4, batch_size: 3 };

struct File {
    reals: HashMap<String, Vec<f64>>,
    metadata: HashMap<String, String>,
}

impl File {
    fn load(name: &str) -> Self {
        let bytes = std::fs::read(folder().join("recipes").join(format!("{name}.safetensors"))).unwrap();
        let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let real = |data: &[u8]| data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        let reals = tensors.tensors().into_iter().map(|(name, tensor)| (name, real(tensor.data()))).collect();
        File { reals, metadata }
    }

    fn real(&self, name: &str) -> &[f64] {
        self.reals.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    fn list(&self, name: &str) -> Vec<Value> {
        serde_json::from_str(&self.metadata[name]).unwrap()
    }

    /// The parameters whose names have this before them, as a layout places them.
    fn flat(&self, layout: &Layout, prefix: &str) -> Vec<f64> {
        let mut flat = vec![0.0; layout.buffer_len()];
        for parameter in layout.parameters() {
            flat[parameter.range()].copy_from_slice(self.real(&format!("{prefix}{}", parameter.name)));
        }
        flat
    }
}

fn config() -> Config {
    Config::elman(InputKind::Dense(3), 4, 2)
}

fn cases(file: &File) -> Vec<(String, Recipe)> {
    let named = |case: &Value| {
        let name = case["name"].as_str().unwrap().to_owned();
        let recipe = serde_json::from_value(case["recipe"].clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, recipe)
    };
    file.list("cases").iter().map(named).collect()
}

/// The names of the parameters of the recipe's frozen groups.
fn frozen(recipe: &Recipe) -> Vec<String> {
    let groups = recipe.groups.iter().filter(|group| group.frozen);
    groups.flat_map(|group| group.parameters.clone()).collect()
}

/// From the papers, and apart from the crate's.
fn corrections(optimizer: Optimizer, step: i32) -> [f64; 2] {
    match optimizer {
        Optimizer::Adam { beta1, beta2, .. } | Optimizer::AmsGrad { beta1, beta2, .. } => {
            [1.0 - beta1.powi(step), 1.0 - beta2.powi(step)]
        }
        Optimizer::RAdam { beta1, beta2, .. } => {
            let (t, infinity) = (f64::from(step), 2.0 / (1.0 - beta2) - 1.0);
            let rho = infinity - 2.0 * t * beta2.powi(step) / (1.0 - beta2.powi(step));
            let r = (rho - 4.0) * (rho - 2.0) * infinity / ((infinity - 4.0) * (infinity - 2.0) * rho);
            let rectified = if rho > 5.0 { r.sqrt() * (1.0 - beta2.powi(step)).sqrt() } else { 0.0 };
            [1.0 - beta1.powi(step), rectified]
        }
        _ => [1.0, 1.0],
    }
}

fn average_weight(average: Option<Average>, step: usize) -> f64 {
    match average {
        None => 0.0,
        Some(Average::Exponential { decay }) => {
            if step == 1 {
                1.0
            } else {
                1.0 - decay
            }
        }
        Some(Average::Stochastic { from_step, every }) => {
            let counted = (from_step as usize..=step).step_by(every as usize);
            if counted.clone().last() == Some(step) { 1.0 / counted.count() as f64 } else { 0.0 }
        }
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn every_recipe_trains_as_pytorch_does() {
    let file = File::load("trainings");
    let cases = cases(&file);
    assert!(cases.len() >= 17);
    for (name, recipe) in cases {
        let mut network = Network::new(Executor::<f64>::new(), &config(), Target::cpu());
        let train = network.prepare(Purpose::Train(&recipe), SHAPE.steps, SHAPE.batch_size);
        let training = train.at.training.unwrap();
        network.write(&train, train.at.parameters, &file.flat(&network.layout, "start."));
        let flags = grouped_flags(&recipe, &network.layout, &frozen(&recipe)).unwrap();
        network.executor.write_ids(train.id, training.parameter_flags, &flags).unwrap();
        for step in 1..=STEPS {
            let batch = (step - 1) % 4;
            let window = Window {
                steps: SHAPE.steps,
                batch: SHAPE.batch_size,
                inputs: Inputs::Dense(file.real(&format!("x.{batch}")).to_vec()),
                columns: Vec::new(),
                targets: Labels::Values(file.real(&format!("y.{batch}")).to_vec()),
                mask: vec![1.0; SHAPE.steps * SHAPE.batch_size],
                heads: Vec::new(),
                lengths: vec![SHAPE.steps as u32; SHAPE.batch_size],
                state: vec![0.0; 4 * SHAPE.batch_size],
                fresh: false,
            };
            let [first_correction, second_correction] = corrections(recipe.optimizer, step as i32);
            let step_params = StepParams {
                learning_rate: recipe.rate(step as u64),
                first_correction,
                second_correction,
                average_weight: average_weight(recipe.average, step),
                metrics_row: (step % METRICS_SLOTS) as f64,
                ..StepParams::default()
            };
            network.run(&train, &window, step_params);
            if !KEPT.contains(&step) {
                continue;
            }
            let got = network.read(&train, train.at.parameters);
            let want = file.flat(&network.layout, &format!("{name}/{step}."));
            let mean = training.average.filter(|_| file.reals.contains_key(&format!("{name}/{step}.average.bias")));
            let mean = mean.map(|tensor| {
                (network.read(&train, tensor), file.flat(&network.layout, &format!("{name}/{step}.average.")))
            });
            assert_eq!(mean.is_some(), recipe.average.is_some_and(|a| step >= 30 || a == Average::ema(0.95)));
            for parameter in network.layout.parameters() {
                let range = parameter.range();
                let what = format!("{name}: {} after step {step}", parameter.name);
                assert_close(&what, &got[range.clone()], &want[range.clone()], TRAINED_F64);
                if let Some((got, want)) = &mean {
                    assert_close(&format!("mean, {what}"), &got[range.clone()], &want[range], TRAINED_F64);
                }
            }
        }
    }
}

fn a_trainer_trains_as_pytorch_does(device: &Device) {
    let file = File::load("trainings");
    let f32s = |name: String| file.real(&name).iter().map(|v| *v as f32).collect::<Vec<_>>();
    let batches: Vec<Batch> = (0..4)
        .map(|at| {
            let sequences = Sequences::dense(SHAPE, f32s(format!("x.{at}")));
            Batch::new(sequences, Targets::Values(f32s(format!("y.{at}"))))
        })
        .collect();
    for (name, recipe) in cases(&file) {
        let mut model = Model::new(config()).unwrap();
        for parameter in model.layout().parameters().to_vec() {
            model.set_parameter(&parameter.name, &f32s(format!("start.{}", parameter.name))).unwrap();
        }
        let mut trainer = Trainer::new(device, &model, recipe.clone()).unwrap();
        for step in 1..=STEPS {
            trainer.step(&batches[(step - 1) % 4]).unwrap();
            if KEPT.contains(&step) {
                let mut models = vec![("", trainer.model().unwrap())];
                if file.reals.contains_key(&format!("{name}/{step}.average.bias")) {
                    models.push(("average.", trainer.averaged_model().unwrap()));
                }
                for (prefix, model) in models {
                    for (parameter, _, got) in model.tensors() {
                        let what = format!("{name}: {prefix}{parameter} after step {step}");
                        let got: Vec<f64> = got.iter().map(|v| f64::from(*v)).collect();
                        assert_close(
                            &what,
                            &got,
                            file.real(&format!("{name}/{step}.{prefix}{parameter}")),
                            TRAINED_F32,
                        );
                    }
                }
            }
        }
    }
}

whole::on_both!(a_trainer_trains_as_pytorch_does);

#[test]
fn every_schedule_has_pytorchs_rates() {
    let file = File::load("schedules");
    let cases = file.list("cases");
    assert!(cases.len() >= 17);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let schedule: LearningRateSchedule = serde_json::from_value(case["schedule"].clone()).unwrap();
        let recipe = Recipe::new(Loss::MeanSquared).with_learning_rate(0.3).with_schedule(schedule);
        let recipe = recipe.with_warm_up(case["warm_up"].as_u64().unwrap());
        let got: Vec<f64> = (1..=300).map(|step| recipe.rate(step)).collect();
        assert_close(name, &got, file.real(name), RATE);
    }
}

#[test]
fn every_plateau_lowers_the_rate_where_pytorch_does() {
    let file = File::load("schedules");
    for case in file.list("plateaus") {
        let (name, settings) = (case["name"].as_str().unwrap(), &case["settings"]);
        let number = |key: &str| settings[key].as_f64();
        let mut plateau = Plateau::new(number("factor").unwrap(), settings["patience"].as_u64().unwrap());
        if let Some(threshold) = number("threshold") {
            plateau = plateau.with_threshold(threshold);
        }
        if let Some(cooldown) = settings["cooldown"].as_u64() {
            plateau = plateau.with_cooldown(cooldown);
        }
        if let Some(rate) = number("min_lr") {
            plateau = plateau.with_min_rate(rate);
        }
        if settings["mode"] == "max" {
            plateau = plateau.with_maximum();
        }
        let mut rate = 0.3;
        let rates: Vec<f64> = file
            .real(&format!("{name}.metric"))
            .iter()
            .map(|metric| {
                rate = plateau.observe(*metric, rate).unwrap();
                // As an application keeps it.
                plateau = serde_json::from_str(&serde_json::to_string(&plateau).unwrap()).unwrap();
                rate
            })
            .collect();
        assert_close(name, &rates, file.real(&format!("{name}.rate")), RATE);
    }
}
