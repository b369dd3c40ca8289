//! Networks that are lists of layers, in PyTorch's files: each module under its own prefix or number, and a read-out
//! that is tied to the embedding.
//!
//! The contract: what PyTorch made is read and goes back as it came; `scripts/list_fixtures.py` made the files, and its
//! `--check-export target/tmp/export` lets PyTorch compute with what is written here.

use std::fs;
use std::path::{Path, PathBuf};

use recurrent::formats::Names;
use recurrent::{Activation, Config, Dense, InputKind, Model, Recurrent};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::{Tensor, assert_refused, assert_same, awkward, f32s, file, find};

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", &format!("{name}.safetensors")].iter().collect()
}

/// The networks of a file of many, each with the name that stands before those of its tensors.
fn cases(name: &str) -> Vec<(String, Config)> {
    let bytes = fs::read(fixture(name)).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    assert!(cases.len() > 4);
    let read = |case: Value| {
        (case["name"].as_str().unwrap().to_owned(), serde_json::from_value(case["config"].clone()).unwrap())
    };
    cases.into_iter().map(read).collect()
}

/// The network of one case.
fn import(file: &str, case: &str, config: &Config, names: Names) -> Model {
    let prefix = format!("{case}/");
    let within = names.rename_with(move |name| format!("{prefix}{name}")).ignore_others();
    Model::import(fixture(file), config.clone(), &within).unwrap()
}

fn names_in(bytes: &[u8]) -> Vec<String> {
    let mut names: Vec<String> =
        SafeTensors::deserialize(bytes).unwrap().names().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn what_pytorch_made_of_lists_goes_back_as_it_came() {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export").join("lists");
    fs::create_dir_all(&to).unwrap();
    for (case, config) in cases("lists") {
        let model = import("lists", &case, &config, Names::new());
        let mut bare = model.clone();
        bare.set_parameter("head.0.bias", &vec![0.0; config.outputs]).unwrap();
        for (kind, model, names) in [
            ("", &model, Names::new()),
            (".sequential", &model, Names::sequential()),
            (".no_bias", &bare, Names::new().without_read_out_bias()),
        ] {
            let path = to.join(format!("{case}{kind}.safetensors"));
            model.export(&path, &names).unwrap();
            assert_same(&Model::import(&path, config.clone(), &names).unwrap(), model);
        }
    }
}

#[test]
fn the_modules_of_a_sequential_have_pytorchs_numbers() {
    let bytes = fs::read(fixture("modules/sequential")).unwrap();
    for (case, config) in cases("modules/sequential") {
        let model = import("modules/sequential", &case, &config, Names::sequential());
        assert_same(&import("lists", &case, &config, Names::new()), &model);
        let theirs = names_in(&bytes);
        let theirs: Vec<&str> = theirs.iter().filter_map(|name| name.strip_prefix(&format!("{case}/"))).collect();
        assert_eq!(names_in(&model.export_bytes(&Names::sequential()).unwrap()), theirs, "{case}");
    }
}

#[test]
fn equal_layers_alone_have_numbers_too() {
    let model = Model::new(Config::gru(InputKind::Dense(4), 3, 2).with_layers(2).dropout(0.5)).unwrap();
    let names = Names::sequential().recurrent("net.").read_out("head.");
    let bytes = model.export_bytes(&names).unwrap();
    assert_same(&Model::import_bytes(&bytes, model.config().clone(), &names).unwrap(), &model);
    let found = names_in(&bytes);
    assert!(found.contains(&"net.0.weight_ih_l1".to_owned()) && found.contains(&"head.bias".to_owned()), "{found:?}");
    let bytes = model.export_bytes(&Names::sequential()).unwrap();
    assert!(names_in(&bytes).contains(&"2.weight".to_owned()), "{:?}", names_in(&bytes));
}

/// embedding, lstm, lstm_1, dense, head.0.
fn config() -> Config {
    Config::new(InputKind::Tokens(5))
        .embedding(4)
        .layer(Recurrent::lstm(3))
        .layer(Recurrent::lstm(2))
        .layer(Dense::new(4, Activation::Tanh).with_bias(false))
        .outputs(5)
}

fn model() -> Model {
    Model::new(config()).unwrap()
}

#[test]
fn each_module_goes_by_a_prefix_of_its_own() {
    let names = Names::new()
        .recurrent("net.")
        .module("lstm_1", "decoder.rnn.")
        .module("embedding", "")
        .read_out("out.")
        .rename("dense.weight", "W");
    let bytes = awkward(config()).export_bytes(&names).unwrap();
    assert_same(&Model::import_bytes(&bytes, config(), &names).unwrap(), &awkward(config()));
    let expected = [
        "W",
        "decoder.rnn.bias_hh_l0",
        "decoder.rnn.bias_ih_l0",
        "decoder.rnn.weight_hh_l0",
        "decoder.rnn.weight_ih_l0",
        "net.lstm.bias_hh_l0",
        "net.lstm.bias_ih_l0",
        "net.lstm.weight_hh_l0",
        "net.lstm.weight_ih_l0",
        "out.bias",
        "out.weight",
        "weight",
    ];
    assert_eq!(names_in(&bytes), expected);
}

#[test]
fn a_function_makes_names_of_those_that_prefixes_and_numbers_make() {
    let names = Names::sequential().module("dense", "d.").rename("head.0.bias", "b");
    let names = names.rename_with(|name| name.to_uppercase());
    let bytes = model().export_bytes(&names).unwrap();
    assert_same(&Model::import_bytes(&bytes, config(), &names).unwrap(), &model());
    let found = names_in(&bytes);
    for name in ["0.WEIGHT", "2.BIAS_HH_L0", "D.WEIGHT", "b", "5.WEIGHT"] {
        assert!(found.iter().any(|found| found == name), "no {name} in {found:?}");
    }
    assert_eq!(names.clone(), names);
    assert_ne!(Names::new().rename_with(str::to_uppercase), Names::new().rename_with(str::to_lowercase));
    assert!(format!("{names:?}").contains("rename_with: Some(a function)"), "{names:?}");
}

#[test]
fn a_head_has_its_own_name_or_one_that_is_given() {
    let config = Config::lstm(InputKind::Dense(2), 3, 1).head("tag", 4).token_column("key", 3, 2);
    let model = Model::new(config.clone()).unwrap();
    let given = Names::sequential().recurrent("net.").module("head.tag", "tagger.");
    for (names, expected) in [
        (Names::new(), ["head.0.weight", "head.tag.weight", "column.key.weight"]),
        (Names::sequential(), ["0.weight_hh_l0", "1.weight", "head.tag.weight"]),
        (given, ["net.0.weight_hh_l0", "1.weight", "tagger.bias"]),
    ] {
        let bytes = model.export_bytes(&names).unwrap();
        let found = names_in(&bytes);
        assert!(expected.iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
        assert_same(&Model::import_bytes(&bytes, config.clone(), &names).unwrap(), &model);
    }
}

#[test]
fn names_that_a_list_cannot_have_are_refused_on_both_ways() {
    let alone = Config::gru(InputKind::Dense(4), 3, 2);
    for (config, names, words) in [
        (
            config(),
            Names::new().module("lstm_2", "a.").module("head.0", "b."),
            "has no modules head.0, lstm_2 to give prefixes; it has embedding, lstm, lstm_1, dense and the read-out \
             (`Names::read_out`)",
        ),
        (
            alone,
            Names::new().module("gru", "a."),
            "has no modules gru to give prefixes; it has recurrent layers (`Names::recurrent`) and the read-out",
        ),
        (
            config(),
            Names::new().module("lstm", "a.").module("lstm_1", "a."),
            "`lstm.weight_ih_l0` and `lstm_1.weight_ih_l0` have one name: a.weight_ih_l0",
        ),
        (config(), Names::new().rename_with(|_| "x".to_owned()), "have one name: x"),
        (config(), Names::new().rename_with(|_| "__metadata__".to_owned()), "cannot have the name __metadata__"),
        (config(), Names::new().rename("lstm.h_0", "a"), "has no parameters lstm.h_0 to rename"),
        (config().tied(), Names::new().rename("head.0.weight", "embedding.weight"), "have one name: embedding.weight"),
    ] {
        let model = Model::new(config.clone()).unwrap();
        let bytes = file(&f32s(&model));
        assert_refused(Model::import_bytes(&bytes, config, &names.clone().ignore_others()), &["<memory>", words]);
        assert_refused(model.export_bytes(&names), &["<memory>", words]);
    }
}

/// A part of a module is another network, whichever module it is; and the advice says which it is.
#[test]
fn a_list_is_taken_whole_or_not_at_all() {
    let with = |second: Recurrent, dense: Dense| {
        let config = Config::new(InputKind::Tokens(5)).embedding(4).layer(Recurrent::lstm(3));
        config.layer(second).layer(dense).outputs(5)
    };
    let (gru, dense) = (Recurrent::gru(2), Dense::new(4, Activation::Tanh));
    let under =
        |prefix: &str, fits: &str| format!("the tensors under the prefix `{prefix}` fit a configuration with {fits}");
    for (whole, part, words) in [
        (
            with(gru.bidirectional(), dense),
            with(gru, dense.with_bias(false)),
            [
                "unknown tensors dense.bias, gru.bias_hh_l0_reverse".to_owned(),
                under("gru.", "`directions` Bidirectional (given: Forward)"),
                under("dense.", "`bias` true (given: false)"),
            ],
        ),
        (
            with(gru.with_bias(false), dense.with_bias(false)),
            with(gru, dense),
            [
                "lacks the tensors dense.bias, gru.bias_hh_l0, gru.bias_ih_l0".to_owned(),
                under("gru.", "`bias` false (given: true)"),
                under("dense.", "`bias` false (given: true)"),
            ],
        ),
    ] {
        let model = Model::new(whole.clone()).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let own = Names::new().ignore_others();
        let bytes = model.export_bytes(&own).unwrap();
        assert_refused(Model::import_bytes(&bytes, part.clone(), &own), &words);
        // A function that leaves what stands behind the modules as it is hides nothing.
        let within = own.rename_with(|name| format!("x.{name}"));
        let bytes = model.export_bytes(&within).unwrap();
        assert_refused(Model::import_bytes(&bytes, part, &within), &["the prefix `x.gru.` fit", "`x.dense.` fit"]);
        assert_same(&Model::import_bytes(&bytes, whole, &within).unwrap(), &model);
    }
}

#[test]
fn other_numbers_are_said_beside_the_networks() {
    // A file that has no module for the function.
    let names = Names::sequential().read_out("4.");
    let bytes = model().export_bytes(&names).unwrap();
    assert_refused(
        Model::import_bytes(&bytes, config(), &Names::sequential()),
        &["lacks the tensors 5.bias, 5.weight", "modules have the numbers 0, 1, 2, 3, 4, the network's 0, 1, 2, 3, 5"],
    );
    assert_same(&Model::import_bytes(&bytes, config(), &names).unwrap(), &model());
}

#[test]
fn a_tied_read_out_may_be_there_under_either_name_or_both() {
    let config = config().tied();
    let model = awkward(config.clone());
    let names = Names::new().read_out("decoder.");
    let bytes = model.export_bytes(&names).unwrap();
    assert_eq!(
        names_in(&bytes).iter().filter(|name| name.ends_with("r.weight") || name.ends_with("g.weight")).count(),
        2
    );

    let mut given = f32s(&model);
    find(&mut given, "head.0.bias").name = "decoder.bias".into();
    let both: Vec<Tensor> =
        [given.clone(), vec![Tensor { name: "decoder.weight".into(), ..find(&mut given, "embedding.weight").clone() }]]
            .concat();
    let without = |name: &str| both.iter().filter(|t| t.name != name).cloned().collect::<Vec<_>>();
    for given in [both.clone(), without("decoder.weight"), without("embedding.weight")] {
        for names in [names.clone(), names.clone().ignore_others()] {
            assert_same(&Model::import_bytes(&file(&given), config.clone(), &names).unwrap(), &model);
        }
    }
    let neither: Vec<Tensor> = without("decoder.weight").into_iter().filter(|t| t.name != "embedding.weight").collect();
    assert_refused(
        Model::import_bytes(&file(&neither), config.clone(), &names),
        &["lacks the tensors embedding.weight"],
    );

    // Of a configuration that is not tied the read-out's weight is missing.
    let bytes = file(&without("decoder.weight"));
    let says = ["lacks the tensors decoder.weight; `Config::tied` reads a read-out that is tied to the embedding"];
    assert_refused(Model::import_bytes(&bytes, self::config(), &names), &says);

    // The last of the table's numbers is another one.
    let mut other = both.clone();
    let bytes = &mut find(&mut other, "decoder.weight").bytes;
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&0.25f32.to_le_bytes());
    let last = model.parameter("embedding.weight").unwrap()[5 * 4 - 1];
    assert_refused(
        Model::import_bytes(&file(&other), config.clone(), &names.clone().ignore_others()),
        &[&format!(
            "the tensors `embedding.weight` and `decoder.weight` hold {last} and 0.25 at element 19, expected the \
             same: the read-out is tied"
        )],
    );
    let wrong = find(&mut other, "decoder.weight");
    (wrong.shape, wrong.dtype) = (vec![4, 5], Dtype::I32);
    assert_refused(
        Model::import_bytes(&file(&other), config.clone(), &names),
        &["tensor `decoder.weight` is of type I32", "tensor `decoder.weight` has shape [4, 5], expected [5, 4]"],
    );
    let renamed = names.rename("head.0.weight", "V");
    let bytes = model.export_bytes(&renamed).unwrap();
    assert!(names_in(&bytes).contains(&"V".to_owned()));
    assert_same(&Model::import_bytes(&bytes, config, &renamed).unwrap(), &model);
}
