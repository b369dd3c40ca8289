//! Networks made of Keras' arrays: they compute what Keras computed, and each number of both directions is in its
//! place.
//!
//! `scripts/keras_fixtures.py` made the files and documents their tensors; a file or a tensor that is missing fails the
//! test. Its `--check-export target/tmp/export` lets Keras compute with the arrays that are written here.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use recurrent::{
    Activation, BatchShape, Cell, Config, Dense, Device, Directions, Embedding, Error, GateActivation, InputKind, Join,
    Model, Pool, Predictor, Recurrent, Reset, Result, Sequences,
};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::common::compare::{F32_NETWORK, assert_close};

const CAUSAL: [&str; 9] = [
    "simple_rnn_tanh",
    "simple_rnn_relu_l2",
    "lstm",
    "lstm_l2_last",
    "lstm_no_bias",
    "gru",
    "gru_l2_last",
    "gru_no_bias",
    "gru_before",
];

const BIDIRECTIONAL: [&str; 4] =
    ["simple_rnn_bidirectional", "lstm_bidirectional_l2", "gru_bidirectional_l2_last", "gru_before_bidirectional_l2"];

/// Models of layers that read from the end alone.
const BACKWARDS: [&str; 2] = ["gru_backwards_l2", "lstm_backwards_last"];

/// Models of two directions that are joined.
const JOINED: [&str; 4] = ["gru_sum_l2", "lstm_sum_last", "lstm_ave_l2_last", "simple_rnn_mul"];

/// Models whose gates are made of straight lines.
const HARD: [&str; 3] = ["lstm_hard_l2", "gru_hard_bidirectional", "gru_before_hard_last"];

/// Models of layers that differ.
const LISTS: [&str; 3] = ["list_words", "list_sensors", "list_mean"];

/// One file of Keras' numbers.
struct Fixture {
    case: Value,
    weights: Vec<(Vec<usize>, Vec<f32>)>,
    x: Vec<f32>,
    y: Vec<f64>,
}

impl Fixture {
    fn load(name: &str) -> Self {
        let bytes = std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let case = serde_json::from_str(&header.metadata().as_ref().unwrap()["case"]).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let real = |name: &str| -> (Vec<usize>, Vec<f64>) {
            let tensor = file.tensor(name).unwrap();
            assert_eq!(tensor.dtype(), Dtype::F64, "{name}");
            let values = tensor.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
            (tensor.shape().to_vec(), values)
        };
        let narrow = |(shape, values): (Vec<usize>, Vec<f64>)| (shape, values.iter().map(|v| *v as f32).collect());
        // All but x and y.
        let weights = (0..file.len() - 2).map(|k| narrow(real(&format!("weights.{k:02}")))).collect();
        Fixture { case, weights, x: narrow(real("x")).1, y: real("y").1 }
    }

    fn size(&self, letter: &str) -> usize {
        self.case[letter].as_u64().unwrap() as usize
    }

    fn config(&self) -> Config {
        if !self.case["config"].is_null() {
            return serde_json::from_value(self.case["config"].clone()).unwrap();
        }
        let cell = match (self.case["cell"].as_str().unwrap(), self.case["activation"].as_str().unwrap()) {
            ("elman", "tanh") => Cell::Elman(Activation::Tanh),
            ("elman", "relu") => Cell::Elman(Activation::Relu),
            ("lstm", "") => Cell::Lstm,
            ("gru", "") if self.case["reset"] == "before" => Cell::Gru(Reset::BeforeProduct),
            ("gru", "") => Cell::Gru(Reset::AfterProduct),
            other => panic!("{other:?}"),
        };
        let directions = match (self.case["bidirectional"].as_bool().unwrap(), self.case["backwards"] == true) {
            (true, _) => Directions::Bidirectional,
            (false, true) => Directions::Reverse,
            (false, false) => Directions::Forward,
        };
        let read_out = if self.case["readout"] == "every" { None } else { Some(Pool::Last) };
        let join = match self.case["merge"].as_str() {
            None => Join::Concat,
            Some("sum") => Join::Sum,
            Some("ave") => Join::Mean,
            Some("mul") => Join::Product,
            other => panic!("{other:?}"),
        };
        Config::of_cell(cell, InputKind::Dense(self.size("I")), self.size("H"), self.size("O"))
            .with_layers(self.size("L"))
            .with_directions(directions)
            .with_join(join)
            .with_gate_activation(match self.case["gates"].as_str() {
                None => GateActivation::Sigmoid,
                Some("hard_sigmoid") => GateActivation::HardSigmoid,
                other => panic!("{other:?}"),
            })
            .with_bias(self.case["bias"].as_bool().unwrap())
            .with_pool(read_out)
    }

    fn convert(&self, config: Config) -> Result<Model> {
        Model::from_keras(config, self.weights.iter().map(|(shape, values)| (shape.as_slice(), values.as_slice())))
    }

    /// The model, or the words of what is wrong.
    fn refused(&self) -> (Error, String) {
        let error = self.convert(self.config()).unwrap_err();
        let text = error.to_string();
        (error, text)
    }
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "keras"].iter().collect()
}

#[test]
fn a_converted_network_computes_what_keras_did() {
    for name in CAUSAL.into_iter().chain(BIDIRECTIONAL).chain(BACKWARDS).chain(JOINED).chain(HARD).chain(LISTS) {
        let fixture = Fixture::load(name);
        let model = fixture.convert(fixture.config()).unwrap();
        let mut predictor = Predictor::new(&Device::cpu(), &model).unwrap();
        let shape = BatchShape { steps: fixture.size("T"), batch_size: fixture.size("B") };
        let sequences = match model.config().input {
            InputKind::Tokens(_) => Sequences::tokens(shape, fixture.x.iter().map(|id| *id as u32).collect()),
            _ => Sequences::dense(shape, fixture.x.clone()),
        };
        let outputs = predictor.run(&sequences).unwrap().outputs;
        let outputs: Vec<f64> = outputs.iter().map(|v| f64::from(*v)).collect();
        assert_close(name, &outputs, &fixture.y, F32_NETWORK);
    }
}

/// Keras' names of the gates against this crate's, in both orders.
fn gates(cell: Cell) -> (&'static [&'static str], &'static [&'static str]) {
    match cell {
        Cell::Lstm => (&["i", "f", "c", "o"], &["i", "f", "c", "o"]),
        Cell::Gru(_) => (&["z", "r", "h"], &["r", "z", "h"]),
        _ => (&["h"], &["h"]),
    }
}

#[test]
fn every_number_of_both_directions_is_in_its_place() {
    for name in BIDIRECTIONAL {
        let fixture = Fixture::load(name);
        let config = fixture.config();
        let model = fixture.convert(config.clone()).unwrap();
        let (hidden, outputs) = (config.recurrent_layers().next().unwrap().hidden, config.outputs);
        let (theirs, ours) = gates(config.recurrent_layers().next().unwrap().cell);
        let mut arrays = fixture.weights.iter().map(|(_, values)| values);
        let mut checked = 0;
        for layer in 0..config.recurrent_layers().count() {
            for way in ["", "_reverse"] {
                let of = |name: &str| model.parameter(&format!("{name}_l{layer}{way}")).unwrap();
                // Unit j of a gate: a row here, a column there.
                for (array, parameter) in [(arrays.next(), of("weight_ih")), (arrays.next(), of("weight_hh"))] {
                    let (array, rows) = (array.unwrap(), theirs.len() * hidden);
                    let columns = array.len() / rows;
                    for (gate, j, i) in every(theirs.len(), hidden, columns) {
                        let row = ours.iter().position(|g| *g == theirs[gate]).unwrap() * hidden + j;
                        assert_eq!(
                            parameter[row * columns + i],
                            array[i * rows + gate * hidden + j],
                            "{name} layer {layer}{way}"
                        );
                        checked += 1;
                    }
                }
                let bias = arrays.next().unwrap();
                for (gate, j, _) in every(theirs.len(), hidden, 1) {
                    let (row, at) =
                        (ours.iter().position(|g| *g == theirs[gate]).unwrap() * hidden + j, gate * hidden + j);
                    let recurrent = bias.get(theirs.len() * hidden + at).copied().unwrap_or(0.0);
                    assert_eq!([of("bias_ih")[row], of("bias_hh")[row]], [bias[at], recurrent], "{name}");
                    checked += 2;
                }
            }
        }
        let (kernel, weight) = (arrays.next().unwrap(), model.parameter("weight").unwrap());
        for (_, o, i) in every(1, outputs, 2 * hidden) {
            assert_eq!(weight[o * 2 * hidden + i], kernel[i * outputs + o], "{name}");
            checked += 1;
        }
        assert_eq!(model.parameter("bias").unwrap(), arrays.next().unwrap());
        assert_eq!(checked + outputs, model.layout().parameter_count(), "{name}: some numbers were not looked at");
    }
}

fn every(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

#[test]
fn what_keras_has_no_array_for_is_zero() {
    let gru = Fixture::load("gru_no_bias");
    assert!(gru.convert(gru.config()).unwrap().parameter("bias").unwrap().iter().all(|v| *v == 0.0));
    let lstm = Fixture::load("lstm");
    let model = lstm.convert(lstm.config().with_learned_initial_state(true)).unwrap();
    for name in ["bias_hh_l0", "h_0", "c_0"] {
        assert!(model.parameter(name).unwrap().iter().all(|v| *v == 0.0), "{name}");
    }
}

type Arrays = Vec<(Vec<usize>, Vec<f32>)>;

/// `==` would take −0 for 0.
fn bits(arrays: &Arrays) -> Vec<(&[usize], Vec<u32>)> {
    arrays.iter().map(|(shape, values)| (shape.as_slice(), values.iter().map(|v| v.to_bits()).collect())).collect()
}

fn read(config: &Config, arrays: &Arrays) -> Model {
    Model::from_keras(config.clone(), arrays.iter().map(|(shape, values)| (&shape[..], &values[..]))).unwrap()
}

/// Writes arrays, and what else there is, to where Keras looks for them.
fn hand_over(name: &str, arrays: &Arrays, others: &[(&str, Vec<usize>, Vec<f32>)], case: Option<Value>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export").join("keras");
    fs::create_dir_all(&folder).unwrap();
    let arrays = arrays.iter().enumerate().map(|(k, (shape, values))| (format!("weights.{k:02}"), shape, values));
    let others = others.iter().map(|(name, shape, values)| (String::from(*name), shape, values));
    let tensors: Vec<(String, &Vec<usize>, Vec<u8>)> = arrays
        .chain(others)
        .map(|(name, shape, v)| (name, shape, v.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, shape, v)| (name, TensorView::new(Dtype::F32, shape.to_vec(), v).unwrap()));
    let metadata = case.map(|case| HashMap::from([("case".to_owned(), case.to_string())]));
    fs::write(folder.join(format!("{name}.safetensors")), safetensors::serialize(views, metadata).unwrap()).unwrap();
}

#[test]
fn what_keras_made_goes_back_as_it_came() {
    for name in CAUSAL.into_iter().chain(BIDIRECTIONAL).chain(LISTS) {
        let fixture = Fixture::load(name);
        let mut want = fixture.weights.clone();
        if name == "gru_no_bias" {
            // The Dense layer's.
            want.push((vec![3], vec![0.0; 3]));
        }
        let got = fixture.convert(fixture.config()).unwrap().to_keras().unwrap();
        assert_eq!(bits(&got), bits(&want), "{name}");
        hand_over(name, &got, &[], None);
    }
}

/// Networks whose two biases Keras adds up, and of a GRU that is reset after the product has both of.
#[test]
fn a_network_with_two_biases_computes_the_same_in_keras() {
    let (steps, batch_size) = (5, 3);
    let layer = |cell: Cell| Recurrent::new(cell, 4);
    let before = layer(Cell::Gru(Reset::BeforeProduct));
    let dense = InputKind::Dense(4);
    for (name, config) in [
        ("folded_elman", Config::new(dense).layer(layer(Cell::Elman(Activation::Relu))).outputs(3)),
        (
            "folded_lstm",
            Config::new(dense).layer(layer(Cell::Lstm).bidirectional()).layer(layer(Cell::Lstm)).outputs(3),
        ),
        (
            "folded_gru_before",
            Config::new(dense).layer(before).layer(before.bidirectional()).pool(Pool::Mean).outputs(3),
        ),
        ("folded_gru", Config::new(dense).layer(Recurrent::gru(3)).layer(before).outputs(3)),
        (
            "folded_words",
            Config::new(InputKind::Tokens(4))
                .layer(Embedding::new(5).with_padding(1))
                .layer(Recurrent::elman(3).bidirectional())
                .dropout(0.4)
                .layer(Recurrent::lstm(4).with_bias(false))
                .layer_norm()
                .pool(Pool::Max)
                .layer(Dense::new(6, Activation::Sigmoid).with_bias(false))
                .outputs(3),
        ),
    ] {
        let model = Model::new(config.clone().with_seed(5)).unwrap();
        let folded: Vec<f32> =
            model.tensors().filter(|(name, ..)| name.contains("bias_hh")).flat_map(|(_, _, v)| v).copied().collect();
        assert!(!folded.is_empty() && folded.iter().all(|value| *value != 0.0), "{name}: nothing to fold");
        let shape = BatchShape { steps, batch_size };
        let ids: Vec<u32> = (0..steps * batch_size).map(|k| (k * k % 4) as u32).collect();
        let x: Vec<f32> = (0..steps * batch_size * 4).map(|k| (k as f32 * 0.7).sin()).collect();
        let (sequences, x) = match config.input {
            InputKind::Tokens(_) => {
                let x = ids.iter().map(|id| *id as f32).collect();
                (Sequences::tokens(shape, ids), ("x", vec![steps, batch_size], x))
            }
            _ => (Sequences::dense(shape, x.clone()), ("x", vec![steps, batch_size, 4], x)),
        };
        let run = |model: &Model| Predictor::new(&Device::cpu(), model).unwrap().run(&sequences).unwrap().outputs;
        let (arrays, y) = (model.to_keras().unwrap(), run(&model));
        let real = |y: Vec<f32>| y.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        assert_close(name, &real(run(&read(&config, &arrays))), &real(y.clone()), F32_NETWORK);

        let every = config.pooling().is_none();
        let y_shape = if every { vec![steps, batch_size, 3] } else { vec![batch_size, 3] };
        let case =
            json!({"config": config, "readout": if every { "every" } else { "last" }, "T": steps, "I": 4, "O": 3});
        hand_over(name, &arrays, &[x, ("y", y_shape, y)], Some(case));
    }
}

#[test]
fn what_needs_no_folding_comes_back_bit_for_bit() {
    let dense = InputKind::Dense(3);
    for config in [
        Config::elman(dense, 4, 2).with_layers(2),
        Config::lstm(dense, 4, 2).with_directions(Directions::Bidirectional),
        Config::gru(dense, 4, 2).with_cell(Cell::Gru(Reset::BeforeProduct)).with_learned_initial_state(true),
        Config::new(dense)
            .layer(Recurrent::gru(3))
            .dense(4, Activation::Tanh)
            .layer(Recurrent::lstm(4).residual())
            .layer(Recurrent::gru(5).with_bias(false).residual())
            .layer(Dense::new(3, Activation::Tanh).residual())
            .outputs(1),
    ] {
        let mut model = Model::new(config.clone()).unwrap();
        let names: Vec<String> = model.layout().parameters().iter().map(|p| p.name.clone()).collect();
        for name in names {
            let len = model.parameter(&name).unwrap().len();
            if name.contains("bias_hh") && !name.starts_with("gru.") {
                model.set_parameter(&name, &vec![0.0; len]).unwrap();
            } else if name.contains("bias_ih") {
                let awkward = [-0.0, f32::from_bits(1), f32::MAX].into_iter().chain((0..).map(|k| k as f32 / 7.0));
                model.set_parameter(&name, &awkward.take(len).collect::<Vec<_>>()).unwrap();
            }
        }
        let arrays = model.to_keras().unwrap();
        let again = read(&config, &arrays);
        let of = |model: &Model| model.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(of(&again), of(&model), "{config:?}");
        assert_eq!(bits(&again.to_keras().unwrap()), bits(&arrays));
    }
}

#[test]
fn what_keras_cannot_have_is_not_written() {
    let start = Config::lstm(InputKind::Dense(3), 2, 1).with_layers(2).with_learned_initial_state(true);
    let mut model = Model::new(start).unwrap();
    model.to_keras().unwrap();
    model.set_parameter("c_0", &[0.0, 0.0, -0.5, 0.0]).unwrap();
    let mut large =
        Model::new(Config::lstm(InputKind::Dense(3), 1, 1).with_directions(Directions::Bidirectional)).unwrap();
    for name in ["bias_ih_l0_reverse", "bias_hh_l0_reverse"] {
        large.set_parameter(name, &[0.0, 2e38, 0.0, 0.0]).unwrap();
    }
    for (model, words) in [
        (
            model,
            "the learned initial state `c_0` holds -0.5 at element 2, expected zeros: no Keras layer learns one"
                .to_owned(),
        ),
        (
            large,
            format!(
                "`bias` of Keras layer 0, backward is the sum of two biases, {0} and, of `bias_hh_l0_reverse`, {0} at \
                 element 1, which f32 cannot hold",
                2e38f32
            ),
        ),
    ] {
        let error = model.to_keras().unwrap_err();
        assert!(matches!(error, Error::Data(_)), "{error:?}");
        assert_eq!(error.to_string(), words);
    }
    let zoneout = Config::lstm(InputKind::Dense(3), 2, 1).with_zoneout(0.1, 0.5);
    let error = Model::new(zoneout).unwrap().to_keras().unwrap_err();
    let words = "layer 0 has a zoneout of h 0.1 and c 0.5, which no Keras layer has";
    assert!(matches!(&error, Error::Config(what) if what.contains(words)), "{error:?}");
    let peepholes = Config::new(InputKind::Dense(3)).layer(Recurrent::peephole_lstm(2)).outputs(1);
    let error = Model::new(peepholes).unwrap().to_keras().unwrap_err();
    let words = "Keras has no layer of the cell peephole_lstm";
    assert!(matches!(&error, Error::Config(what) if what.contains(words)), "{error:?}");
    let beside = Config::gru(InputKind::Dense(3), 2, 1).dense_column("more", 2);
    let error = Model::new(beside).unwrap().to_keras().unwrap_err();
    assert!(matches!(&error, Error::Config(what) if what.contains("a column `more`")), "{error:?}");
    let headed = Config::gru(InputKind::Dense(3), 2, 1).head("tag", 2);
    let error = Model::new(headed.clone()).unwrap().to_keras().unwrap_err();
    assert!(matches!(&error, Error::Config(what) if what.contains("a head `tag`")), "{error:?}");
    assert!(Model::from_keras(headed, []).is_err());
    let projected = Config::lstm(InputKind::Dense(3), 4, 1).with_projection(2);
    let error = Model::new(projected.clone()).unwrap().to_keras().unwrap_err();
    let words = "h of layer 0 is projected to 2 numbers, which no Keras layer does";
    assert!(matches!(&error, Error::Config(what) if what == words), "{error:?}");
    assert!(Model::from_keras(projected, []).unwrap_err().to_string().contains(words));
    let tied = Config::new(InputKind::Tokens(3)).embedding(2).layer(Recurrent::gru(2)).outputs(3).tied();
    let error = Model::new(tied).unwrap().to_keras().unwrap_err();
    assert!(matches!(&error, Error::Config(what) if what.contains("tied to the embedding")), "{error:?}");
}

#[test]
fn an_array_of_another_shape_is_named_with_its_layer_and_both_shapes() {
    for (name, at, words) in [
        ("lstm_l2_last", 0, "`kernel` of Keras layer 0 has shape [24, 4], expected [4, 24]"),
        ("lstm_l2_last", 4, "`recurrent_kernel` of Keras layer 1 has shape [24, 6], expected [6, 24]"),
        ("gru", 2, "`bias` (of reset_after=True) of Keras layer 0 has shape [18, 2], expected [2, 18]"),
        ("lstm_bidirectional_l2", 9, "`kernel` of Keras layer 1, backward has shape [24, 12], expected [12, 24]"),
        ("gru", 3, "`kernel` of the Keras Dense layer has shape [3, 6], expected [6, 3]"),
    ] {
        let mut fixture = Fixture::load(name);
        // The same number of values.
        fixture.weights[at].0.reverse();
        let (error, text) = fixture.refused();
        assert!(matches!(error, Error::Shape { .. }), "{error:?}");
        assert_eq!(text, words);
    }
    // A GRU with reset_after=False, which is another cell.
    let mut gru = Fixture::load("gru");
    gru.weights[2] = (vec![18], vec![0.0; 18]);
    assert_eq!(gru.refused().1, "`bias` (of reset_after=True) of Keras layer 0 has shape [18], expected [2, 18]");
    let mut lstm = Fixture::load("lstm");
    lstm.weights[2].1.pop();
    assert_eq!(lstm.refused().1, "`bias` of Keras layer 0 has shape [23], expected [24]");
}

#[test]
fn another_number_of_arrays_is_refused() {
    let mut fixture = Fixture::load("gru_bidirectional_l2_last");
    fixture.weights.truncate(12);
    let (error, text) = fixture.refused();
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    for words in ["12 Keras arrays", "expected 14", "bias, forward and then backward, for each of 2 layers"] {
        assert!(text.contains(words), "{text}");
    }
    let mut fixture = Fixture::load("lstm_no_bias");
    fixture.weights.extend(Fixture::load("lstm_no_bias").weights);
    assert!(
        fixture.refused().1.contains("kernel and recurrent_kernel for each of 1 layers"),
        "{}",
        fixture.refused().1
    );
    // The layers' biases left out are not taken for the Dense layer's.
    let fixture = Fixture::load("lstm_no_bias");
    let error = fixture.convert(fixture.config().with_bias(true)).unwrap_err();
    assert_eq!(error.to_string(), "`bias` of Keras layer 0 has shape [6, 3], expected [24]");
}

#[test]
fn a_number_that_is_not_finite_is_named_with_its_place() {
    let mut fixture = Fixture::load("lstm_bidirectional_l2");
    fixture.weights[4].1[7] = f32::NAN;
    let (error, text) = fixture.refused();
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    assert_eq!(text, "`recurrent_kernel` of Keras layer 0, backward holds NaN at element 7");
}

#[test]
fn every_fixture_is_tested() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut named = [&CAUSAL[..], &BIDIRECTIONAL[..], &BACKWARDS[..], &JOINED[..], &HARD[..], &LISTS[..]].concat();
    files.sort();
    named.sort();
    assert_eq!(files, named);
}
