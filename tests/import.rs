//! Parameters in files of other programs: read under their names and in their types, written so that they come back bit
//! for bit, and refused with every reason at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::HashMap;
use std::fs;

use half::{bf16, f16};
use recurrent::checkpoint::Names;
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
    let bits = |model: &Model| model.flat().iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    assert!(a.config() == b.config() && bits(a) == bits(b), "{:?}: other values", a.config());
}

#[track_caller]
fn assert_refused<T>(result: Result<T>, words: &[&str]) {
    let Err(error) = result else { panic!("nothing was wrong; it should have said {words:?}") };
    assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
    let text = error.to_string();
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
            for directions in [Directions::Forward, Directions::Bidirectional] {
                for (bias, learned_initial_state) in [(true, true), (true, false), (false, true), (false, false)] {
                    configs.push(
                        Config::new(cell, InputKind::Tokens(5), 3, 2)
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
fn numbers_of_16_bits_are_read_exactly() {
    // The largest and the smallest of each type, and the smallest that is not subnormal.
    for bits in [0x0000u16, 0x8000, 0x3c00, 0xbc01, 0x7bff, 0xfbff, 0x0001, 0x8001, 0x0400] {
        let mut given = f32s(&model());
        *find(&mut given, "bias") =
            Tensor { name: "bias".into(), dtype: Dtype::F16, shape: vec![2], bytes: [bits.to_le_bytes(); 2].concat() };
        let read = Model::import_bytes(&file(&given), config(), &Names::new()).unwrap();
        // 2^-24 times the fraction, with a leading one where the exponent is not 0.
        let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
        let size = match exponent {
            0 => fraction * 2f32.powi(-24),
            e => (1024.0 + fraction) * 2f32.powi(i32::from(e) - 25),
        };
        let want = if bits >> 15 == 1 { -size } else { size };
        assert_eq!(
            read.parameter("bias").unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [want.to_bits(); 2]
        );
    }
    for bits in [0x0000u16, 0x8000, 0x3f80, 0xbf81, 0x7f7f, 0xff7f, 0x0001, 0x8001, 0x0080] {
        let mut given = f32s(&model());
        *find(&mut given, "bias") =
            Tensor { name: "bias".into(), dtype: Dtype::BF16, shape: vec![2], bytes: [bits.to_le_bytes(); 2].concat() };
        let read = Model::import_bytes(&file(&given), config(), &Names::new()).unwrap();
        // The upper half of an f32.
        let want = u32::from(bits) << 16;
        assert_eq!(read.parameter("bias").unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [want; 2]);
    }
}

#[test]
fn every_type_of_real_numbers_is_read_in_every_tensor() {
    let drawn = Model::new(Config::lstm(InputKind::Dense(4), 3, 2).with_layers(2).with_seed(7)).unwrap();
    let import = |given: &[Tensor]| Model::import_bytes(&file(given), drawn.config().clone(), &Names::new()).unwrap();
    let rounded = |round: fn(f32) -> f32| {
        let values: Vec<Vec<f32>> = drawn.tensors().map(|t| t.2.iter().map(|v| round(*v)).collect()).collect();
        let tensors = drawn.tensors().zip(&values).map(|((name, shape, _), v)| (name, shape, v.as_slice()));
        Model::from_tensors(drawn.config().clone(), tensors).unwrap()
    };
    assert_same(&import(&tensors(&drawn, Dtype::F64, |v| f64::from(v).to_le_bytes())), &drawn);
    let half = tensors(&drawn, Dtype::F16, |v| f16::from_f32(v).to_le_bytes());
    assert_same(&import(&half), &rounded(|v| f16::from_f32(v).to_f32()));
    let brain = tensors(&drawn, Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes());
    assert_same(&import(&brain), &rounded(|v| bf16::from_f32(v).to_f32()));
    // A type for every tensor.
    let mut mixed = half;
    mixed[1] = brain[1].clone();
    assert_eq!(import(&mixed).parameter(&mixed[1].name), import(&brain).parameter(&brain[1].name));
}

/// The model's file in which the read-out's bias is two numbers of f64.
fn with_f64_bias(values: [f64; 2]) -> Vec<u8> {
    let mut given = f32s(&model());
    *find(&mut given, "bias") = Tensor {
        name: "bias".into(),
        dtype: Dtype::F64,
        shape: vec![2],
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    file(&given)
}

#[test]
fn a_number_of_64_bits_is_rounded_to_the_nearest() {
    let largest = f64::from(f32::MAX);
    // Half a unit in the last place of f32's largest is as far as a number may be above it.
    let above = largest + 2f64.powi(102);
    for (given, want) in [
        ([0.1, -1.0 / 3.0], [0.1f32, -1.0 / 3.0]),
        ([1e-60, -1e-60], [0.0, -0.0]),
        ([above, -above], [f32::MAX, f32::MIN]),
    ] {
        let read = Model::import_bytes(&with_f64_bias(given), config(), &Names::new()).unwrap();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(read.parameter("bias").unwrap()), bits(&want));
    }
}

#[test]
fn a_number_that_f32_cannot_hold_is_named_with_its_place() {
    for (given, words) in [
        ([0.0, 1e39], "tensor `bias` holds 1e39 at element 1, which f32 cannot hold"),
        ([-1e300, 0.0], "tensor `bias` holds -1e300 at element 0, which f32 cannot hold"),
        ([0.0, f64::NAN], "tensor `bias` holds NaN at element 1"),
        ([f64::NEG_INFINITY, 0.0], "tensor `bias` holds -inf at element 0"),
    ] {
        assert_refused(Model::import_bytes(&with_f64_bias(given), config(), &Names::new()), &[words]);
    }
    for (dtype, bytes) in [
        (Dtype::F16, 0x7c00u16.to_le_bytes().to_vec()),
        (Dtype::BF16, 0x7f80u16.to_le_bytes().to_vec()),
        (Dtype::F32, f32::INFINITY.to_le_bytes().to_vec()),
    ] {
        let mut given = f32s(&model());
        *find(&mut given, "weight_hh_l0") = Tensor {
            name: "weight_hh_l0".into(),
            dtype,
            shape: vec![3, 3],
            bytes: [vec![0; bytes.len() * 8], bytes].concat(),
        };
        let given = Model::import_bytes(&file(&given), config(), &Names::new());
        assert_refused(given, &["tensor `weight_hh_l0` holds inf at element 8"]);
    }
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
fn a_prefix_that_is_not_the_files_shows_both_names() {
    let bytes = model().export_bytes(&nested()).unwrap();
    assert_refused(
        Model::import_bytes(&bytes, config(), &Names::new().recurrent("rnn.").read_out("head.")),
        &["lacks the tensors rnn.bias_hh_l0, ", "unknown tensors encoder.rnn.bias_hh_l0, ", "encoder.rnn.weight_ih_l0"],
    );
}

#[test]
fn a_part_is_taken_out_of_a_larger_file_when_that_is_asked_for() {
    let mut given = f32s(&model());
    for tensor in &mut given {
        tensor
            .name
            .insert_str(0, if matches!(tensor.name.as_str(), "weight" | "bias") { "head." } else { "encoder.rnn." });
    }
    let own = given.len();
    // Of a type that no parameter has, and of numbers that none may have.
    let other = |name: &str, dtype, bytes: Vec<u8>| Tensor { name: name.into(), dtype, shape: vec![1], bytes };
    given.push(other("encoder.other.weight", Dtype::F32, f32::NAN.to_le_bytes().to_vec()));
    given.push(other("weight", Dtype::I64, vec![0; 8]));
    let bytes = file(&given);
    assert_refused(Model::import_bytes(&bytes, config(), &nested()), &["unknown tensors encoder.other.weight, weight"]);
    assert_same(&Model::import_bytes(&bytes, config(), &nested().ignore_others()).unwrap(), &model());
    // What is asked for has to be there all the same.
    let bytes = file(&[&given[..own - 1], &given[own..]].concat());
    let missing = format!("lacks the tensors {}", given[own - 1].name);
    let error = Model::import_bytes(&bytes, config(), &nested().ignore_others());
    assert_refused(error, &[&missing]);
}

#[test]
fn a_single_tensor_goes_by_another_name() {
    let names = Names::new().rename("weight", "classifier.W");
    let mut given = f32s(&model());
    find(&mut given, "weight").name = "classifier.W".into();
    assert_same(&Model::import_bytes(&file(&given), config(), &names).unwrap(), &model());
    // Two may change places.
    let swapped = Names::new().rename("bias_ih_l0", "bias_hh_l0").rename("bias_hh_l0", "bias_ih_l0");
    let other = Model::import_bytes(&model().export_bytes(&Names::new()).unwrap(), config(), &swapped).unwrap();
    assert_eq!(other.parameter("bias_ih_l0"), model().parameter("bias_hh_l0"));
    assert_ne!(other.parameter("bias_ih_l0"), model().parameter("bias_ih_l0"));
}

#[test]
fn names_that_the_model_cannot_have_are_refused_on_both_ways() {
    for (names, words) in [
        (Names::new().rename("weight_ih_l1", "a").rename("h_0", "b"), "has no parameters h_0, weight_ih_l1 to rename"),
        (Names::new().rename("bias", "weight"), "the parameters `weight` and `bias` have one name: weight"),
        (
            Names::new().recurrent("rnn.").rename("weight", "rnn.bias_hh_l0"),
            "the parameters `bias_hh_l0` and `weight` have one name: rnn.bias_hh_l0",
        ),
        (Names::new().rename("bias", "__metadata__"), "`bias` cannot have the name __metadata__"),
    ] {
        let bytes = file(&f32s(&model()));
        assert_refused(Model::import_bytes(&bytes, config(), &names.clone().ignore_others()), &["<memory>", words]);
        assert_refused(model().export_bytes(&names), &["<memory>", words]);
    }
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
                        assert!(model.flat().iter().all(|v| v.is_finite()));
                    }
                    Err(error) => {
                        refused += 1;
                        assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
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

/// The file of a network with another's tensors beside it, under `rnn.` and `head.`, for whoever asks for a part of it.
fn larger_file(config: Config) -> (Vec<u8>, Names) {
    let names = Names::new().recurrent("rnn.").read_out("head.");
    let mut given = f32s(&Model::new(config).unwrap());
    for tensor in &mut given {
        let prefix = if matches!(tensor.name.as_str(), "weight" | "bias") { "head." } else { "rnn." };
        tensor.name.insert_str(0, prefix);
    }
    let other = f32s(&Model::new(self::config().with_layers(3)).unwrap());
    given.extend(other.into_iter().map(|t| Tensor { name: format!("other.{}", t.name), ..t }));
    (file(&given), names.ignore_others())
}

/// A part of a network is another network: what its configuration leaves over is never taken for a stranger's.
#[test]
fn a_network_is_taken_whole_or_not_at_all() {
    let gru = || Config::gru(InputKind::Dense(4), 3, 2);
    let both = || gru().with_directions(Directions::Bidirectional).with_layers(2);
    for (whole, part, words) in [
        (
            gru().with_layers(2),
            gru(),
            "unknown tensors rnn.bias_hh_l1, rnn.bias_ih_l1, rnn.weight_hh_l1, rnn.weight_ih_l1; the tensors under the \
             prefix `rnn.` fit a configuration with `layers` 2 (given: 1)",
        ),
        (
            gru(),
            gru().with_bias(false),
            "unknown tensors rnn.bias_hh_l0, rnn.bias_ih_l0; the tensors under the prefix `rnn.` \
             fit a configuration with `bias` true (given: false)",
        ),
        (
            gru().with_learned_initial_state(true),
            gru(),
            "unknown tensors rnn.h_0; the tensors under the prefix `rnn.` fit a \
             configuration with `learned_initial_state` true (given: false)",
        ),
        (
            both(),
            gru().with_bias(false),
            "fit a configuration with `layers` 2 (given: 1), `directions` Bidirectional (given: Forward), \
             `bias` true (given: false)",
        ),
        // The other way round tensors are missing, and the advice is the same.
        (gru(), both(), "fit a configuration with `layers` 1 (given: 2), `directions` Forward (given: Bidirectional)"),
    ] {
        let (bytes, names) = larger_file(whole.clone());
        assert_refused(Model::import_bytes(&bytes, part, &names), &[words]);
        assert_eq!(Model::import_bytes(&bytes, whole.clone(), &names).unwrap(), Model::new(whole).unwrap());
    }
}

/// An LSTM with `proj_size` has other shapes too, but not in a layer whose projection is as wide as its state.
#[test]
fn projections_are_no_stranger_s() {
    let model = Model::new(Config::lstm(InputKind::Dense(4), 3, 2)).unwrap();
    let mut given = f32s(&model);
    given.push(Tensor { name: "weight_hr_l0".into(), dtype: Dtype::F32, shape: vec![3, 3], bytes: vec![0; 36] });
    let names = Names::new().ignore_others();
    let words = ["unknown tensors weight_hr_l0", "LSTM with projections (weight_hr_l0, `proj_size`)"];
    assert_refused(Model::import_bytes(&file(&given), model.config().clone(), &names), &words);
    // Names that only begin like one of the family are a stranger's.
    for name in ["weight_hh_l", "weight_hh_lx", "weight_hh_l+1", "weight_hh_l1_raw", "weight_hz_l1", "_l1", "h_1"] {
        given.last_mut().unwrap().name = name.into();
        assert_same(&Model::import_bytes(&file(&given), model.config().clone(), &names).unwrap(), &model);
    }
}

#[test]
fn a_read_out_without_a_bias_is_read_where_the_caller_says_so() {
    let mut given = f32s(&model());
    find(&mut given, "bias").bytes = vec![0; 8];
    let with_zeros = Model::import_bytes(&file(&given), config(), &Names::new()).unwrap();
    let own = given.len();
    given.retain(|t| t.name != "bias");
    assert_eq!(given.len(), own - 1);
    let bytes = file(&given);
    let says = ["lacks the tensors bias; `Names::without_read_out_bias` reads"];
    assert_refused(Model::import_bytes(&bytes, config(), &Names::new()), &says);
    let without = Names::new().without_read_out_bias();
    let read = Model::import_bytes(&bytes, config(), &without).unwrap();
    assert_same(&read, &with_zeros);
    assert_eq!(SafeTensors::deserialize(&read.export_bytes(&without).unwrap()).unwrap().len(), given.len());

    // A bias that is there all the same is the network's own, and so is one that would be lost.
    for names in [without.clone(), without.clone().ignore_others()] {
        let bytes = file(&f32s(&model()));
        assert_refused(Model::import_bytes(&bytes, config(), &names), &["unknown tensors bias"]);
        assert_refused(model().export_bytes(&names), &["bias of the read-out", "not zero"]);
    }
    let renamed = without.rename("bias", "b");
    assert_refused(Model::import_bytes(&bytes, config(), &renamed), &["no bias of the read-out"]);
}
