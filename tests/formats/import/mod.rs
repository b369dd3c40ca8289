//! Parameters in files of other programs: read under their names and in their types, written so that they come back bit
//! for bit, and refused with every reason at once.

mod lists;
mod names;
mod numbers;

use std::collections::HashMap;
use std::fs;

use crate::common::whole;
use recurrent::formats::Names;
use recurrent::{Activation, Cell, Checkpoint, Config, Directions, Error, InputKind, Layout, Model, Reset, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

/// I = 4, H = 3, O = 2.
fn config() -> Config {
    Config::elman(InputKind::Dense(4), 3, 2)
}

fn model() -> Model {
    Model::new(config()).unwrap()
}

/// The names that a module with the layers some levels down has.
fn nested() -> Names {
    Names::new().recurrent("encoder.rnn.").read_out("head.")
}

/// A tensor of a file: its name, type, shape and bytes.
#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The file that another program would write of these tensors, without any metadata.
fn file(tensors: &[Tensor]) -> Vec<u8> {
    let views = tensors.iter().map(|t| (&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// A model's parameters as tensors of a type whose numbers `bytes` writes.
fn tensors<const N: usize>(model: &Model, dtype: Dtype, bytes: fn(f32) -> [u8; N]) -> Vec<Tensor> {
    let tensor = |(name, shape, values): (&str, &[usize], &[f32])| Tensor {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
        bytes: values.iter().flat_map(|v| bytes(*v)).collect(),
    };
    model.tensors().map(tensor).collect()
}

fn f32s(model: &Model) -> Vec<Tensor> {
    tensors(model, Dtype::F32, f32::to_le_bytes)
}

fn find<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    tensors.iter_mut().find(|t| t.name == name).unwrap()
}

/// `==` would take −0 for 0.
#[track_caller]
fn assert_same(a: &Model, b: &Model) {
    let bits = |model: &Model| model.values().iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    assert!(a.config() == b.config() && bits(a) == bits(b), "{:?}: other values", a.config());
}

#[track_caller]
fn assert_refused<T>(result: Result<T>, words: &[&str]) {
    let Err(error) = result else { panic!("nothing was wrong; it should have said {words:?}") };
    assert!(matches!(error, Error::Checkpoint { .. } | Error::File { .. }), "{error:?}");
    let text = whole::said(&error);
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

/// Every kind of network there is, in all sizes that have tensors of their own.
fn every_config() -> Vec<Config> {
    let mut configs = Vec::new();
    for cell in
        [Cell::Elman(Activation::Tanh), Cell::Elman(Activation::Relu), Cell::Lstm, Cell::Gru(Reset::AfterProduct)]
    {
        for layers in [1, 3] {
            for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
                for (bias, learned_initial_state) in [(true, true), (true, false), (false, true), (false, false)] {
                    configs.push(
                        Config::of_cell(cell, InputKind::Tokens(5), 3, 2)
                            .with_layers(layers)
                            .with_directions(directions)
                            .with_bias(bias)
                            .with_learned_initial_state(learned_initial_state),
                    );
                }
            }
        }
    }
    configs
}

/// Distinct values everywhere, with those that a careless reader would change.
fn awkward(config: Config) -> Model {
    let layout = Layout::new(&config).unwrap();
    let values: Vec<Vec<f32>> = layout
        .parameters()
        .iter()
        .enumerate()
        .map(|(k, p)| {
            let awkward = [-0.0, f32::from_bits(1), f32::MAX];
            let rest = (0..).map(|i| (1.0 + i as f32 / 7.0) * (k as f32 - 2.5));
            awkward.into_iter().take(p.len() - 1).chain(rest).take(p.len()).collect()
        })
        .collect();
    let tensors = layout.parameters().iter().zip(&values);
    Model::from_tensors(config, tensors.map(|(p, v)| (p.name.as_str(), p.shape.as_slice(), v.as_slice()))).unwrap()
}

#[test]
fn what_is_exported_is_imported_bit_for_bit() {
    let names = nested().rename("bias", "out.b");
    for config in every_config() {
        let model = awkward(config.clone());
        for names in [&Names::new(), &names] {
            let bytes = model.export_bytes(names).unwrap();
            assert_same(&Model::import_bytes(&bytes, config.clone(), names).unwrap(), &model);
            assert_eq!(model.export_bytes(names).unwrap(), bytes);
        }
    }
}

#[test]
fn a_file_has_exactly_the_parameters_under_the_names_given() {
    let names = nested().rename("bias", "out.b").rename("h_0", "start");
    let model = Model::new(config().with_learned_initial_state(true)).unwrap();
    let bytes = model.export_bytes(&names).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata(), &Some(HashMap::from([("format".to_owned(), "pt".to_owned())])));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut found: Vec<(&str, Vec<usize>)> = file.iter().map(|(name, t)| (name, t.shape().to_vec())).collect();
    found.sort();
    let expected: [(&str, &[usize]); 7] = [
        ("encoder.rnn.bias_hh_l0", &[3]),
        ("encoder.rnn.bias_ih_l0", &[3]),
        ("encoder.rnn.weight_hh_l0", &[3, 3]),
        ("encoder.rnn.weight_ih_l0", &[3, 4]),
        ("head.weight", &[2, 3]),
        ("out.b", &[2]),
        ("start", &[1, 3]),
    ];
    assert_eq!(found, expected.map(|(name, shape)| (name, shape.to_vec())));
    assert!(file.iter().all(|(_, t)| t.dtype() == Dtype::F32));
    // A prefix is for a learned state as for the rest.
    let bytes = model.export_bytes(&nested()).unwrap();
    assert!(SafeTensors::deserialize(&bytes).unwrap().tensor("encoder.rnn.h_0").is_ok());
}

#[test]
fn a_file_without_metadata_is_imported() {
    assert_same(&Model::import_bytes(&file(&f32s(&model())), config(), &Names::new()).unwrap(), &model());
}

#[test]
fn everything_that_is_wrong_with_the_tensors_is_in_one_message() {
    let mut given = f32s(&model());
    given.retain(|t| t.name != "bias_ih_l0");
    find(&mut given, "bias").name = "bias_l0".into();
    find(&mut given, "weight_hh_l0").shape = vec![9];
    find(&mut given, "weight_ih_l0").shape = vec![4, 3];
    let weight = find(&mut given, "weight");
    (weight.dtype, weight.shape) = (Dtype::I64, vec![3]);
    assert_refused(
        Model::import_bytes(&file(&given), config(), &Names::new()),
        &["<memory>: lacks the tensors bias, bias_ih_l0; holds the unknown tensors bias_l0; \
           tensor `weight` is of type I64, expected F32 or F64 or F16 or BF16; \
           tensor `weight` has shape [3], expected [2, 3]; \
           tensor `weight_hh_l0` has shape [9], expected [3, 3]; \
           tensor `weight_ih_l0` has shape [4, 3], expected [3, 4]"],
    );
}

#[test]
fn a_configuration_of_no_network_is_that_kind_of_error() {
    let bytes = file(&f32s(&model()));
    let none = Config::elman(InputKind::Dense(4), 0, 2);
    assert!(matches!(Model::import_bytes(&bytes, none, &Names::new()), Err(Error::Config(_))));
    let vast = Config::elman(InputKind::Dense(4), 3, 1 << 40);
    assert!(matches!(Model::import_bytes(&bytes, vast, &Names::new()), Err(Error::Limit { .. })));
    // 2 GB of weights: refused by the file before they are allocated.
    let large = Config::elman(InputKind::Dense(170_000_000), 3, 2);
    let words = "tensor `weight_ih_l0` has shape [3, 4], expected [3, 170000000]";
    assert_refused(Model::import_bytes(&bytes, large, &Names::new()), &[words]);
}

#[test]
fn damaged_bytes_are_refused_or_give_a_finite_model() {
    let mut bytes = model().export_bytes(&nested()).unwrap();
    for length in 0..bytes.len() {
        assert_refused(Model::import_bytes(&bytes[..length], config(), &nested()), &["is truncated"]);
    }
    assert_refused(Model::import_bytes(b"PK\x03\x04 and so on", config(), &nested()), &["not a safetensors file"]);
    let (mut refused, mut loaded) = (0, 0);
    for at in 0..bytes.len() {
        let good = bytes[at];
        for bad in (0..8).map(|bit| good ^ (1 << bit)).chain([0, b'"', b'0', 0xff]).filter(|bad| *bad != good) {
            bytes[at] = bad;
            for names in [nested(), nested().ignore_others()] {
                match Model::import_bytes(&bytes, config(), &names) {
                    Ok(model) => {
                        loaded += 1;
                        assert!(model.values().iter().all(|v| v.is_finite()));
                    }
                    Err(error) => {
                        refused += 1;
                        assert!(matches!(error, Error::Checkpoint { .. } | Error::File { .. }), "{error:?}");
                    }
                }
            }
        }
        bytes[at] = good;
    }
    assert!(refused > 1000 && loaded > 1000, "{refused} refused, {loaded} loaded");
}

#[test]
fn a_name_that_appears_twice_is_refused() {
    let bytes = file(&f32s(&model()));
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header = std::str::from_utf8(header).unwrap();
    let info = serde_json::from_str::<Value>(header).unwrap()["bias"].to_string();
    let twice = format!("{{\"bias\":{info},{}", &header[1..]);
    let spoilt = [&(twice.len() as u64).to_le_bytes(), twice.as_bytes(), data].concat();
    assert_refused(Model::import_bytes(&spoilt, config(), &Names::new()), &["key `bias` appears twice"]);
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let says = path.display().to_string();
    fs::write(&path, "old").unwrap();
    assert_refused(model().export(&path, &Names::new().rename("bias", "weight")), &[&says, "one name: weight"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    model().export(&path, &nested()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), model().export_bytes(&nested()).unwrap());
    assert_same(&Model::import(&path, config(), &nested()).unwrap(), &model());
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    assert_refused(Model::import(&path, config(), &Names::new()), &[&says, "lacks the tensors"]);
    assert_refused(model().export(folder.path(), &Names::new()), &["is a folder"]);
    assert_refused(Model::import(folder.path(), config(), &Names::new()), &["is a folder"]);
    assert_refused(Model::import("no/such/file", config(), &Names::new()), &["no/such/file", "cannot be read"]);
}

#[test]
fn a_checkpoint_is_read_as_any_other_file_and_an_export_is_no_checkpoint() {
    let bytes = Checkpoint::from(model()).to_bytes().unwrap();
    assert_same(&Model::import_bytes(&bytes, config(), &Names::new()).unwrap(), &model());
    assert_refused(
        Checkpoint::from_bytes(&model().export_bytes(&Names::new()).unwrap()),
        &["without the metadata `recurrent`"],
    );
}
