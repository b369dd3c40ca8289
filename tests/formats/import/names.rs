//! Names of tensors in files of other programs: under prefixes, renamed, among strangers, and none that is left over.
//!
//! The contract: a network is taken whole or not at all, and a refusal says what would have fitted.

use recurrent::formats::Names;
use recurrent::{Config, Directions, InputKind, Model, Recurrent};
use safetensors::{Dtype, SafeTensors};

use super::{Tensor, assert_refused, assert_same, config, f32s, file, find, model, nested};

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

/// The file of a network with another's tensors beside it, under `rnn.` and `head.`, for whoever asks for a part of it.
fn larger_file(config: Config) -> (Vec<u8>, Names) {
    let names = Names::new().recurrent("rnn.").read_out("head.");
    let mut given = f32s(&Model::new(config).unwrap());
    for tensor in &mut given {
        let prefix = if matches!(tensor.name.as_str(), "weight" | "bias") { "head." } else { "rnn." };
        tensor.name.insert_str(0, prefix);
    }
    let other = f32s(&Model::new(super::config().with_layers(3)).unwrap());
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
        // One direction has the same names whichever it is.
        (
            gru().with_layers(2),
            gru().with_directions(Directions::Reverse),
            "fit a configuration with `layers` 2 (given: 1)",
        ),
        // The other way round tensors are missing, and the advice is the same.
        (gru(), both(), "fit a configuration with `layers` 1 (given: 2), `directions` Forward (given: Bidirectional)"),
    ] {
        let (bytes, names) = larger_file(whole.clone());
        assert_refused(Model::import_bytes(&bytes, part, &names), &[words]);
        assert_eq!(Model::import_bytes(&bytes, whole.clone(), &names).unwrap(), Model::new(whole).unwrap());
    }
}

/// An LSTM with `proj_size` has other shapes too, but one with a projection more is told from one without by its names.
#[test]
fn projections_are_no_stranger_s() {
    let model = Model::new(Config::lstm(InputKind::Dense(4), 3, 2)).unwrap();
    let mut given = f32s(&model);
    given.push(Tensor { name: "weight_hr_l0".into(), dtype: Dtype::F32, shape: vec![3, 3], bytes: vec![0; 36] });
    let names = Names::new().ignore_others();
    let advice = "fit a configuration with `projection` P of weight_hr_l0 [P, H] (given: None)";
    let words = ["unknown tensors weight_hr_l0", advice];
    assert_refused(Model::import_bytes(&file(&given), model.config().clone(), &names), &words);
    let projected = model.config().clone().with_projection(2);
    let words = ["lacks the tensors weight_hr_l0", "fit a configuration with `projection` None (given: 2)"];
    assert_refused(Model::import_bytes(&file(&f32s(&model)), projected, &names), &words);
    // Names that only begin like one of the family are a stranger's.
    for name in ["weight_hh_l", "weight_hh_lx", "weight_hh_l+1", "weight_hh_l1_raw", "weight_hz_l1", "_l1", "h_1"] {
        given.last_mut().unwrap().name = name.into();
        assert_same(&Model::import_bytes(&file(&given), model.config().clone(), &names).unwrap(), &model);
    }
}

/// Nor are peepholes, which neither PyTorch nor the plain LSTM has: its file is not read as the one's, nor this as its.
#[test]
fn peepholes_are_no_stranger_s() {
    let of = |layer: Recurrent| Model::new(Config::new(InputKind::Dense(4)).layer(layer).outputs(2)).unwrap();
    let (plain, peepholes) = (of(Recurrent::lstm(3)), of(Recurrent::peephole_lstm(3)));
    let bytes = peepholes.export_bytes(&Names::new()).unwrap();
    let config = peepholes.config().clone();
    assert_same(&Model::import_bytes(&bytes, config.clone(), &Names::new()).unwrap(), &peepholes);
    let names = Names::new().ignore_others();
    let words = ["unknown tensors weight_cf_l0, weight_ci_l0, weight_co_l0"];
    assert_refused(Model::import_bytes(&bytes, plain.config().clone(), &names), &words);
    let words = ["lacks the tensors weight_cf_l0, weight_ci_l0, weight_co_l0"];
    assert_refused(Model::import_bytes(&plain.export_bytes(&names).unwrap(), config, &names), &words);
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
