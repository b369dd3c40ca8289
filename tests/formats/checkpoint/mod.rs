//! Checkpoints: what comes back is what was saved, bit for bit, and what is in the file stays readable by others.
//!
//! The modules hold the rest: what is refused (`containers`, `damaged`), and where files go (`disk`).

mod containers;
mod damaged;
mod disk;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::heads::{with_head_losses, with_heads};
use crate::common::lists::with_dense;
use crate::common::whole;
use proptest::prelude::*;
use recurrent::checkpoint::{LossScaling, Training};
use recurrent::recipe::{
    Clip, DecayScope, Dropout, GradientCheckpointing, LearningRateSchedule, Loss, Optimizer, Recipe,
};
use recurrent::{
    Activation, Batch, BatchShape, Cell, Checkpoint, Config, Device, Directions, Error, GateActivation, Init,
    InputKind, Join, Layout, Model, Pool, Reset, Start, State, Targets, Trainer,
};
use serde_json::Value;
use tempfile::TempDir;

/// I = 4, H = 3, O = 2; no size is a multiple of the layout's alignment, so there are gaps.
fn config() -> Config {
    Config::elman(InputKind::Tokens(4), 3, 2).with_seed(u64::MAX)
}

/// Distinct values, with those that a careless reader would change; zeros in the gaps.
fn flat(layout: &Layout, scale: f32) -> Vec<f32> {
    let mut values = vec![0.0; layout.buffer_len()];
    for (k, parameter) in layout.parameters().iter().enumerate() {
        for (i, value) in values[parameter.range()].iter_mut().enumerate() {
            *value = scale * (1.0 + i as f32 / 7.0) * (k as f32 - 2.5);
        }
        let awkward = [-0.0, f32::from_bits(1)];
        values[parameter.range()].iter_mut().zip(awkward).for_each(|(value, awkward)| *value = awkward);
    }
    values
}

fn model() -> Model {
    let layout = Layout::new(&config()).unwrap();
    let values = flat(&layout, 0.1);
    let tensors = layout.parameters().iter().map(|p| (p.name.as_str(), p.shape.as_slice(), &values[p.range()]));
    Model::from_tensors(config(), tensors).unwrap()
}

/// With Adam (two moments), a state of two sequences and notes.
fn checkpoint() -> Checkpoint {
    let model = model();
    let moments = vec![flat(model.layout(), 1e-3), flat(model.layout(), f32::MAX / 1e3)];
    let values = vec![-0.0, f32::from_bits(0x007f_ffff), f32::MIN, 0.25, -0.5, 1.0];
    let state = Some(State::new(model.config(), 2, values).unwrap());
    let recipe = Recipe::new(Loss::CrossEntropy);
    let notes = BTreeMap::from([("alphabet".into(), "\n \"\\é€".into()), ("position".into(), "17".into())]);
    let mut training = Training::new(recipe);
    (training.steps, training.moments, training.state) = (u64::MAX, moments, state);
    let mut checkpoint = Checkpoint::from(model);
    (checkpoint.training, checkpoint.notes) = (Some(training), notes);
    checkpoint
}

fn training(checkpoint: &mut Checkpoint) -> &mut Training {
    checkpoint.training.as_mut().expect("the checkpoint of this test has a training")
}

/// Every number as its bits: `==` would take −0 for 0.
fn bits(checkpoint: &Checkpoint) -> Vec<u32> {
    let training = checkpoint.training.iter();
    let more =
        training.flat_map(|t| t.moments.iter().chain(&t.best).flatten().chain(t.state.iter().flat_map(|s| s.values())));
    checkpoint.model.values().iter().chain(more).map(|v| v.to_bits()).collect()
}

fn assert_same(a: &Checkpoint, b: &Checkpoint) {
    // Not `assert_eq`, which would print every weight.
    assert!(a == b && bits(a) == bits(b), "{:?}\nis not\n{:?}", a.model.config(), b.model.config());
}

/// A safetensors file of this header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A safetensors file taken apart: its header as it is written, and its data.
fn apart(bytes: &[u8]) -> (String, Vec<u8>) {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (String::from_utf8(header.to_vec()).unwrap(), data.to_vec())
}

#[track_caller]
fn assert_says(error: &Error, words: &[&str]) {
    assert!(matches!(error, Error::Checkpoint { .. } | Error::File { .. }), "{error:?}");
    let text = whole::said(error);
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_survives_bit_for_bit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("full.safetensors");
    checkpoint().save(&path).unwrap();
    assert_same(&Checkpoint::load(&path).unwrap(), &checkpoint());
    assert_eq!(fs::read(&path).unwrap(), checkpoint().to_bytes().unwrap());
    assert_eq!(names(folder.path()), ["full.safetensors"]);
}

#[test]
fn a_training_without_a_window_yet_has_no_state() {
    let mut fresh = checkpoint();
    training(&mut fresh).state = None;
    assert_same(&Checkpoint::from_bytes(&fresh.to_bytes().unwrap()).unwrap(), &fresh);
}

#[test]
fn the_best_parameters_are_kept_beside_the_last() {
    let mut with = checkpoint();
    let best = flat(with.model.layout(), 0.3);
    training(&mut with).best = Some(best);
    let bytes = with.to_bytes().unwrap();
    assert_same(&Checkpoint::from_bytes(&bytes).unwrap(), &with);
    assert!(apart(&bytes).0.contains("\"best.weight_hh_l0\""));
    assert!(!apart(&checkpoint().to_bytes().unwrap()).0.contains("best"));
    training(&mut with).best = Some(vec![0.0; 3]);
    assert_says(&with.to_bytes().unwrap_err(), &["the best parameters have 3 elements, expected"]);
}

#[test]
fn a_model_is_saved_alone_and_loaded_from_any_checkpoint() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    model().save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap(), model());
    assert_same(&Checkpoint::load(&path).unwrap(), &Checkpoint::from(model()));
    checkpoint().save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap(), model());
}

/// Every cell of one to three layers with every option; inputs, initialisations and seeds take turns.
fn configs() -> Vec<Config> {
    let cells = [
        Cell::Elman(Activation::Tanh),
        Cell::Elman(Activation::Relu),
        Cell::Lstm,
        Cell::Gru(Reset::AfterProduct),
        Cell::Gru(Reset::BeforeProduct),
        Cell::Cifg,
        Cell::PeepholeLstm,
    ];
    let inits = [Init::Uniform, Init::Glorot, Init::Orthogonal, Init::Identity];
    let mut configs = Vec::new();
    for (cell, layers) in cells.into_iter().flat_map(|cell| (1..=3).map(move |layers| (cell, layers))) {
        for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
            for (bias, learned_initial_state) in [(true, true), (true, false), (false, true), (false, false)] {
                for read_out in [None, Some(Pool::Last), Some(Pool::First), Some(Pool::Mean), Some(Pool::Max)] {
                    let at = configs.len();
                    let input = [InputKind::Tokens(2), InputKind::Dense(7), InputKind::Dense(1)][at / 3 % 3];
                    let config = Config::of_cell(cell, input, 1 + at % 5, 1 + at % 2)
                        .with_layers(layers)
                        .with_directions(directions)
                        .with_join(if directions == Directions::Bidirectional { JOINS[at % 4] } else { Join::Concat })
                        .with_bias(bias)
                        .with_learned_initial_state(learned_initial_state)
                        .with_pool(read_out)
                        .with_init(inits[at % 4])
                        .with_seed(u64::MAX - at as u64);
                    // Lists of several modules, of all functions.
                    let config = match at % 4 {
                        0 => config.dense(1 + at % 3, FUNCTIONS[at / 4 % FUNCTIONS.len()]),
                        1 => with_heads(with_dense(config)),
                        _ => config,
                    };
                    if cell.gates() > 1 && at % 3 == 0 {
                        configs.push(config.clone().with_gate_activation(GateActivation::HardSigmoid));
                    }
                    if cell.states() > 1 && bias {
                        configs.push(config.clone().with_forget_bias(0.1 + 0.2));
                        configs.push(config.clone().with_cell_clip(0.1 + 0.2));
                        configs.push(config.clone().with_zoneout(0.1 + 0.2, 1.0 / 3.0));
                    }
                    if matches!(cell, Cell::Lstm | Cell::Cifg) && bias && at % 5 > 0 {
                        let projected = config.clone().with_projection(1 + at % (at % 5));
                        configs.push(projected.clone().with_zoneout(0.1, 0.2));
                        configs.push(projected);
                    }
                    configs.push(config);
                }
            }
        }
    }
    configs
}

const JOINS: [Join; 4] = [Join::Concat, Join::Sum, Join::Mean, Join::Product];

/// Every function of a dense layer.
const FUNCTIONS: [Activation; 6] = [
    Activation::Tanh,
    Activation::Relu,
    Activation::Sigmoid,
    Activation::Gelu,
    Activation::Softplus,
    Activation::Identity,
];

/// Every optimiser, clipping, schedule, decay, checkpointing and kind of dropout that a network can have.
fn recipes(config: &Config) -> Vec<Recipe> {
    let recipe = Recipe::new(Loss::MeanSquared);
    let seed = (1 << 53) + 1;
    let mut recipes = vec![
        Recipe::new(Loss::CrossEntropy),
        recipe.clone().with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1),
        recipe
            .clone()
            .with_clip(Clip::Value(0.1))
            .with_optimizer(Optimizer::rms_prop(), 0.3)
            .with_schedule(LearningRateSchedule::StepDecay { after: 3, every: u64::MAX, factor: 0.97 })
            .with_dropout(Dropout::variational(0.1 + 0.2, 0.0).with_seed(seed)),
        recipe
            .clone()
            .with_clip(Clip::Normalize(1.0))
            .with_optimizer(Optimizer::adam_w(0.01), 1e-3)
            .with_decay_scope(DecayScope::All)
            .with_schedule(LearningRateSchedule::Cosine { warm_up: 10, total: 1000, floor: 0.0 })
            .with_dropout(Dropout::variational(0.0, 0.7).with_weights(0.3).with_seed(u64::MAX)),
    ];
    if config.recurrent_layers().next().unwrap().directions == Directions::Forward {
        let all = [GradientCheckpointing::Sqrt, GradientCheckpointing::Steps(7)];
        recipes.extend(all.map(|checkpointing| recipe.clone().with_gradient_checkpointing(checkpointing)));
    }
    if config.recurrent_layers().count() > 1 {
        recipes.push(recipe.clone().with_dropout(Dropout::between_layers(0.5).with_seed(seed)));
        recipes.push(recipe.with_dropout(Dropout::variational(0.1, 0.2).with_outputs(0.3).with_seed(seed)));
    }
    recipes.into_iter().map(|recipe| with_head_losses(recipe, config)).collect()
}

#[test]
fn every_kind_of_configuration_and_recipe_survives() {
    for config in configs() {
        for (at, recipe) in recipes(&config).into_iter().enumerate() {
            let model = Model::new(config.clone()).unwrap();
            let moments = vec![flat(model.layout(), 1.0); recipe.optimizer.moment_count()];
            // Nothing, all but the first, or the last, which may be a learned initial state.
            let names: Vec<String> = model.layout().parameters().iter().map(|p| p.name.clone()).collect();
            let frozen = [&[], &names[1..], &names[names.len() - 1..]][at % 3].to_vec();
            let values = (1..=config.state_len(2)).map(|i| 1.0 / i as f32).collect();
            let state = Some(State::new(model.config(), 2, values).unwrap());
            let loss_scale = [None, Some([1.0 / 256.0, 1999.0]), Some([16_777_216.0, 0.0])][at % 3].map(scaling);
            let mut training = Training::new(recipe);
            (training.frozen, training.moments, training.state, training.loss_scale) =
                (frozen, moments, state, loss_scale);
            let mut checkpoint = Checkpoint::from(model);
            checkpoint.training = Some(training);
            assert_same(&Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap(), &checkpoint);
        }
    }
}

fn scaling([factor, finite_steps]: [f32; 2]) -> LossScaling {
    LossScaling::new(factor, finite_steps)
}

#[test]
fn the_pair_of_format_2_is_a_loss_scale() {
    let old: LossScaling = serde_json::from_str("[65536.0,3.0]").unwrap();
    assert_eq!(old, scaling([65536.0, 3.0]));
}

#[test]
fn a_scale_that_no_training_gets_to_is_refused() {
    let with = |loss_scale: [f32; 2]| {
        let mut checkpoint = checkpoint();
        training(&mut checkpoint).loss_scale = Some(scaling(loss_scale));
        checkpoint.to_bytes()
    };
    for loss_scale in [
        [0.0, 0.0],
        [-2.0, 0.0],
        [3.0, 0.0],
        [1.0 / 512.0, 0.0],
        [33_554_432.0, 0.0],
        [f32::NAN, 0.0],
        [f32::INFINITY, 0.0],
        [1.0, -1.0],
        [1.0, 0.5],
        [1.0, 2000.0],
        [1.0, f32::NAN],
    ] {
        let error = with(loss_scale).unwrap_err();
        assert!(error.to_string().contains("power of two"), "{loss_scale:?}: {error}");
    }
    // The same in a file.
    let mut bytes = with([65536.0, 3.0]).unwrap();
    assert!(Checkpoint::from_bytes(&bytes).is_ok());
    let (old, new) = (b"65536.0,", b"65537.0,");
    let at = bytes.windows(old.len()).position(|bytes| bytes == old).unwrap();
    bytes[at..at + old.len()].copy_from_slice(new);
    let error = Checkpoint::from_bytes(&bytes).unwrap_err();
    assert!(error.to_string().contains("power of two"), "{error}");
}

#[test]
fn the_file_is_plain_safetensors_under_pytorchs_names() {
    let bytes = checkpoint().to_bytes().unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
    assert_eq!(tensors.len(), 3 * 6 + 1);
    assert_eq!(shape("weight_ih_l0"), [3, 4]);
    assert_eq!(shape("moments.1.bias_hh_l0"), [3]);
    assert_eq!(shape("weight"), [2, 3]);
    assert_eq!(shape("state.h.0"), [2, 3]);
    let weight = tensors.tensor("weight").unwrap();
    let values: Vec<u8> = model().parameter("weight").unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(weight.data(), values);
}

#[test]
fn the_metadata_is_one_key_and_stays_readable() {
    let (header, _) = apart(&Checkpoint::from(model()).to_bytes().unwrap());
    let header: Value = serde_json::from_str(&header).unwrap();
    let metadata = header["__metadata__"].as_object().unwrap();
    assert_eq!(metadata.len(), 1, "more than one key has the order of a hash map");
    // Files that are out there are read by these names: changing one needs a new format number.
    let expected = concat!(
        r#"{"format":4,"config":{"input":{"tokens":4},"layers":[{"recurrent":{"cell":{"elman":"tanh"},"hidden":3,"#,
        r#""directions":"forward","bias":true,"learned_initial_state":false,"forget_bias":null,"#,
        r#""residual":false}}],"outputs":2,"#,
        r#""tied":false,"init":"uniform","seed":18446744073709551615},"training":null,"notes":{}}"#
    );
    assert_eq!(metadata["recurrent"], expected);
}

/// `checkpoints/format_2.safetensors` was saved by a version that wrote format 2, after three steps on this batch; the
/// loss is what that version measured in the fourth.
#[test]
fn a_training_saved_in_format_2_goes_on() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints/format_2.safetensors"));
    let bytes = bytes.unwrap();
    let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
    let config = checkpoint.model.config();
    assert_eq!(config.recurrent_layers().next().unwrap().directions, Directions::Bidirectional);
    assert!(config.recurrent_layers().next().unwrap().learned_initial_state);
    let mut trainer = Trainer::resume(&Device::cpu(), &checkpoint).unwrap();
    let recipe = trainer.recipe();
    assert_eq!(recipe.decay_scope, DecayScope::All);
    assert_eq!(recipe.gradient_checkpointing, GradientCheckpointing::None);
    let batch = Batch::tokens(BatchShape { steps: 3, batch_size: 2 }, vec![0, 1, 2, 3, 4, 0], Vec::new());
    trainer.step(&batch.with_targets(Targets::Classes(vec![0, 2]))).unwrap();
    assert_eq!(trainer.metrics().unwrap()[0].loss, 1.051971435546875);

    let (header, _) = apart(&checkpoint.to_bytes().unwrap());
    for old in [r#"\"format\":2"#, "learnt_start", r#"\"both\""#, r#"\"decay\""#, r#"\"checkpointing\""#] {
        assert!(apart(&bytes).0.contains(old), "{old}");
        assert!(!header.contains(old), "{old}");
    }
}

/// The same of format 3, of a network of two layers with a learned initial state, whose windows carry on.
#[test]
fn a_training_saved_in_format_3_goes_on() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints/format_3.safetensors"));
    let checkpoint = Checkpoint::from_bytes(&bytes.unwrap()).unwrap();
    let expected = Config::lstm(InputKind::Tokens(5), 3, 4).with_layers(2).with_learned_initial_state(true);
    assert_eq!(*checkpoint.model.config(), expected.with_forget_bias(1.0).with_seed(3));
    let state = checkpoint.training.as_ref().unwrap().state.as_ref().unwrap();
    let c = [2.1880574, -1.4408599, 0.33556175, 2.0865264, -1.4029186, 0.34568667];
    assert_eq!(state.c(1), Some(&c[..]));
    // As it is written today, too.
    for checkpoint in [Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap(), checkpoint] {
        let mut trainer = Trainer::resume(&Device::cpu(), &checkpoint).unwrap();
        let (inputs, targets) = (vec![0, 1, 2, 3, 4, 0], vec![1, 2, 3, 0, 1, 2]);
        let batch = Batch::tokens(BatchShape { steps: 3, batch_size: 2 }, inputs, targets);
        trainer.step(&batch.with_start(Start::Carry)).unwrap();
        assert_eq!(trainer.metrics().unwrap()[0].loss, 1.337587833404541);
    }
}

#[test]
fn the_bytes_depend_on_the_checkpoint_alone() {
    let first = checkpoint().to_bytes().unwrap();
    for _ in 0..20 {
        assert_eq!(checkpoint().to_bytes().unwrap(), first);
    }
}

#[test]
fn awkward_rates_survive_bit_for_bit() {
    // Numbers that a parser without exact rounding misses by a unit in the last place, the least of f32, in which the
    // GPU takes them, and the most that may be given.
    for rate in [51.248_178_376_413_39, 2.638_344_616_030_823_5e-25, 1.3e-38, Recipe::MAX_RATE, 0.1 + 0.2] {
        let mut saved = checkpoint();
        training(&mut saved).recipe.learning_rate = rate;
        let mut loaded = Checkpoint::from_bytes(&saved.to_bytes().unwrap()).unwrap();
        assert_eq!(training(&mut loaded).recipe.learning_rate.to_bits(), rate.to_bits(), "{rate:e}");
    }
}

proptest! {
    #[test]
    fn any_rate_survives_bit_for_bit(exponent in -37.0..37.0, beta in 0.0..0.9999) {
        let rate = 10f64.powf(exponent);
        let mut saved = checkpoint();
        let epsilon = rate.recip();
        let optimizer = Optimizer::Adam { beta1: beta, beta2: 1.0 - beta / 2.0 - 1e-7, epsilon, weight_decay: -0.0 };
        let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(rate));
        let recipe = recipe.with_optimizer(optimizer, rate.min(Recipe::MAX_RATE));
        training(&mut saved).recipe = recipe.clone();
        let mut loaded = Checkpoint::from_bytes(&saved.to_bytes().unwrap()).unwrap();
        // Debug prints the shortest number that reads back the same, and the sign of zero.
        prop_assert_eq!(format!("{:?}", training(&mut loaded).recipe), format!("{recipe:?}"));
    }
}
