//! Files that are no checkpoints, or were: each is refused with the words that say why.

use std::fs;

use recurrent::Checkpoint;
use recurrent::recipe::Optimizer;
use serde_json::{Value, json};

use super::{apart, assert_says, bits, checkpoint, file, training};

/// The good checkpoint with another header and data.
fn with_header(edit: impl FnOnce(&mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let (header, mut data) = apart(&checkpoint().to_bytes().unwrap());
    let mut header: Value = serde_json::from_str(&header).unwrap();
    edit(&mut header, &mut data);
    file(&header.to_string(), &data)
}

/// The good checkpoint with other metadata of the crate's own.
fn with_metadata(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    with_header(|header, _| {
        let own = &mut header["__metadata__"]["recurrent"];
        let mut value: Value = serde_json::from_str(own.as_str().unwrap()).unwrap();
        edit(&mut value);
        *own = value.to_string().into();
    })
}

/// Where the values of a tensor begin in the data.
fn offset(header: &Value, name: &str) -> usize {
    header[name]["data_offsets"][0].as_u64().unwrap() as usize
}

#[track_caller]
fn assert_refused(bytes: &[u8], words: &[&str]) {
    match Checkpoint::from_bytes(bytes) {
        Ok(_) => panic!("a bad file was loaded; it should have said {words:?}"),
        Err(error) => assert_says(&error, &[&["<memory>"], words].concat()),
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = checkpoint().to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert_refused(&bytes[..length], &["is truncated"]);
    }
    assert_refused(&[&bytes[..], b"x"].concat(), &["not a safetensors file"]);
}

#[test]
fn a_damaged_byte_is_refused_or_gives_a_finite_model() {
    let mut bytes = checkpoint().to_bytes().unwrap();
    let (mut refused, mut loaded) = (0, 0);
    for at in 0..bytes.len() {
        let good = bytes[at];
        for bad in (0..8).map(|bit| good ^ (1 << bit)).chain([0, b'"', b'0', 0xff]).filter(|bad| *bad != good) {
            bytes[at] = bad;
            match Checkpoint::from_bytes(&bytes) {
                Ok(checkpoint) => {
                    loaded += 1;
                    assert!(bits(&checkpoint).into_iter().all(|v| f32::from_bits(v).is_finite()));
                }
                Err(error) => {
                    refused += 1;
                    assert_says(&error, &["<memory>"]);
                }
            }
        }
        bytes[at] = good;
    }
    // A flipped bit of a number is still a number; of a name, it is not that name.
    assert!(refused > 1000 && loaded > 1000, "{refused} refused, {loaded} loaded");
}

#[test]
fn another_kind_of_file_is_refused() {
    assert_refused(b"", &["truncated or not a safetensors file", "0 bytes"]);
    assert_refused(&[0xff; 64], &["not a safetensors file", "18446744073709551615 bytes", "56 are there"]);
    assert_refused(&file("hello", b""), &["not a safetensors file", "header"]);
    assert_refused(&file("[1]", b""), &["not a safetensors file"]);
    assert_refused(&file("{\"a\":", b""), &["not a safetensors file"]);
    assert_refused(&file(&"[".repeat(100_000), b""), &["not a safetensors file", "recursion"]);
    let latin = [&3u64.to_le_bytes()[..], b"{\xff}"].concat();
    assert_refused(&latin, &["not a safetensors file", "utf-8"]);
}

#[test]
fn a_header_longer_than_the_file_is_refused() {
    let mut bytes = checkpoint().to_bytes().unwrap();
    let there = bytes.len() - 8;
    bytes[..8].copy_from_slice(&(there as u64 + 1).to_le_bytes());
    assert_refused(&bytes, &[&format!("takes {} bytes, {there} are there", there + 1)]);
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_refused(&bytes, &["takes 18446744073709551615 bytes"]);
}

#[test]
fn offsets_that_overflow_are_refused() {
    // Tensors whose bytes add up to 2⁶⁴ − 8: with the length field and the header the sum wraps around.
    for sequence in [false, true] {
        let size = 1u64 << 60;
        let infos = (0..16).map(|k| {
            let elements = if k == 15 { size - 8 } else { size };
            let (shape, offsets) = (json!([elements]), json!([k * size, k * size + elements]));
            // Serde reads a struct from a sequence as well.
            let info = if sequence {
                json!(["U8", shape, offsets])
            } else {
                json!({"dtype": "U8", "shape": shape, "data_offsets": offsets})
            };
            (format!("t{k:02}"), info)
        });
        let header = Value::Object(infos.collect());
        assert_refused(&file(&header.to_string(), &[0; 8]), &["`t00`"]);
    }
}

#[test]
fn a_key_that_appears_twice_is_refused_at_any_level() {
    let (header, data) = apart(&checkpoint().to_bytes().unwrap());
    // Good before it is spoilt.
    Checkpoint::from_bytes(&file(&header, &data)).unwrap();
    for (once, twice, key) in [
        (r#""bias":{"#, r#""bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"bias":{"#, "bias"),
        (r#""bias":{"dtype":"F32","#, r#""bias":{"dtype":"F32","dtype":"F32","#, "dtype"),
        (r#"{"__metadata__":{"#, r#"{"__metadata__":{},"__metadata__":{"#, "__metadata__"),
        (r#"{"__metadata__":{"#, r#"{"__metadata__":{"recurrent":"","#, "recurrent"),
        (r#"\"hidden\":3"#, r#"\"hidden\":4,\"hidden\":3"#, "hidden"),
        (r#"\"position\":"#, r#"\"position\":\"1\",\"position\":"#, "position"),
    ] {
        assert!(header.contains(once), "{once}");
        let spoilt = header.replacen(once, twice, 1);
        assert_refused(&file(&spoilt, &data), &[&format!("key `{key}` appears twice")]);
    }
}

#[test]
fn missing_and_unknown_tensors_are_all_listed() {
    let bytes = with_header(|header, _| {
        let header = header.as_object_mut().unwrap();
        for (old, new) in [("bias", "bias_l0"), ("moments.1.weight", "moments.2.weight"), ("state.h.0", "states")] {
            let info = header.remove(old).unwrap();
            header.insert(new.to_owned(), info);
        }
    });
    assert_refused(
        &bytes,
        &["lacks the tensors bias, moments.1.weight;", "unknown tensors bias_l0, moments.2.weight, states"],
    );
}

#[test]
fn a_tensor_of_another_shape_is_reported_with_both() {
    let bytes = with_header(|header, _| header["weight_ih_l0"]["shape"] = json!([4, 3]));
    assert_refused(&bytes, &["`weight_ih_l0`", "[4, 3]", "expected [3, 4]"]);
    let bytes = with_header(|header, _| header["moments.0.weight"]["shape"] = json!([6]));
    assert_refused(&bytes, &["`moments.0.weight`", "[6]", "expected [2, 3]"]);
}

#[test]
fn a_tensor_of_another_type_is_refused() {
    let bytes = with_header(|header, _| header["bias"]["dtype"] = json!("I32"));
    assert_refused(&bytes, &["`bias`", "I32", "expected F32"]);
}

#[test]
fn a_value_that_is_not_finite_is_reported_with_its_place() {
    for (name, bad) in [("weight_hh_l0", f32::NAN), ("moments.1.bias", f32::INFINITY), ("state.h.0", f32::NEG_INFINITY)]
    {
        let bytes = with_header(|header, data| {
            let at = offset(header, name) + 4;
            data[at..at + 4].copy_from_slice(&bad.to_le_bytes());
        });
        assert_refused(&bytes, &[&format!("`{name}` holds {bad} at element 1")]);
    }
}

#[test]
fn a_state_of_another_size_is_refused() {
    for (shape, expected) in [([3, 2], "[3, 3]"), ([6, 1], "[6, 3]"), ([1, 6], "[1, 3]")] {
        let bytes = with_header(|header, _| header["state.h.0"]["shape"] = json!(shape));
        assert_refused(&bytes, &[&format!("`state.h.0` has shape {shape:?}, expected {expected}")]);
    }
    assert_refused(&with_header(|header, _| header["state.h.0"]["shape"] = json!([6])), &["has shape [6]"]);
    let empty = with_header(|header, data| {
        let at = offset(header, "state.h.0");
        data.drain(at..at + 24);
        for (name, info) in header.as_object_mut().unwrap() {
            for end in info.get_mut("data_offsets").and_then(Value::as_array_mut).into_iter().flatten() {
                let after = end.as_u64().unwrap();
                if after > at as u64 && name != "state.h.0" {
                    *end = (after - 24).into();
                }
            }
        }
        header["state.h.0"] = json!({"dtype": "F32", "shape": [0, 3], "data_offsets": [at, at]});
    });
    assert_refused(&empty, &["a state of 0 sequences, expected at least 1"]);
}

#[test]
fn moments_unlike_the_optimisers_are_refused() {
    let bytes = with_metadata(|own| own["training"]["recipe"]["optimizer"] = json!({"sgd": {"momentum": 0.5}}));
    assert_refused(&bytes, &["unknown tensors moments.1.bias"]);
    let bytes = with_metadata(|own| own["training"] = Value::Null);
    assert_refused(&bytes, &["unknown tensors moments.0.bias", "moments.1.weight", "state.h.0"]);
    let mut one = checkpoint();
    training(&mut one).recipe.optimizer = Optimizer::sgd(0.9);
    training(&mut one).moments.pop();
    let (header, data) = apart(&one.to_bytes().unwrap());
    let adam = header.replace(
        r#"{\"sgd\":{\"momentum\":0.9}}"#,
        r#"{\"adam\":{\"beta1\":0.9,\"beta2\":0.9,\"epsilon\":0.1,\"weight_decay\":0.0}}"#,
    );
    assert_refused(&file(&adam, &data), &["lacks the tensors moments.1.bias", "moments.1.weight_ih_l0"]);
}

#[test]
fn a_configuration_without_a_size_is_refused() {
    assert_refused(&with_metadata(|own| own["config"]["input"] = json!({"tokens": 0})), &["inputs (I) is 0"]);
    let hidden = with_metadata(|own| own["config"]["layers"][0]["recurrent"]["hidden"] = json!(0));
    assert_refused(&hidden, &["layer 0 (rnn): the number of hidden units (H) is 0"]);
    assert_refused(&with_metadata(|own| own["config"]["outputs"] = json!(0)), &["outputs (O) is 0"]);
    assert_refused(&with_metadata(|own| own["config"]["layers"] = json!([])), &["recurrent layers (L) is 0"]);
}

#[test]
fn a_configuration_of_sizes_beyond_the_file_is_refused_before_they_are_allocated() {
    assert_refused(
        &with_metadata(|own| own["config"]["layers"][0]["recurrent"]["hidden"] = json!(u64::MAX)),
        &["weight_ih_l0", "32-bit indices"],
    );
    assert_refused(&with_metadata(|own| own["config"]["outputs"] = json!(1u64 << 40)), &["weight", "32-bit indices"]);
    // 2 GB of weights: within the limits, not within the file.
    let bytes = with_metadata(|own| own["config"]["input"]["tokens"] = json!(170_000_000));
    assert_refused(&bytes, &["`moments.0.weight_ih_l0` has shape [3, 4], expected [3, 170000000]"]);
}

#[test]
fn metadata_that_this_version_does_not_know_is_refused() {
    assert_refused(&with_metadata(|own| own["format"] = json!(1)), &["format 1", "reads formats 2 to 4"]);
    let between = |own: &mut Value| own["training"]["recipe"]["dropout"]["outputs"] = json!(0.5);
    assert_refused(&with_metadata(between), &["dropout between layers is 0.5", "one recurrent layer"]);
    // Told apart before the rest is looked at, which may then be anything.
    assert_refused(&with_metadata(|own| *own = json!({"format": 7, "weights": []})), &["format 7"]);
    assert_refused(&with_metadata(|own| own["format"] = json!("one")), &["without the number `format`"]);
    assert_refused(&with_metadata(|own| *own = json!([1])), &["without the number `format`"]);
    assert_refused(&with_metadata(|own| own["config"]["dropout"] = json!(0.5)), &["metadata", "dropout"]);
    for (what, cell) in [("transformer", json!("transformer")), ("expected value", Value::Null)] {
        let other = with_metadata(|own| own["config"]["layers"][0]["recurrent"]["cell"] = cell);
        assert_refused(&other, &["metadata", what]);
    }
    assert_refused(&with_metadata(|own| own["config"]["layers"][0] = json!({"conv": 3})), &["metadata", "conv"]);
    assert_refused(&with_metadata(|own| own["training"]["steps"] = json!(-1)), &["metadata", "-1"]);
    assert_refused(&with_metadata(|own| own["notes"]["position"] = json!(17)), &["metadata", "17"]);
    let bytes = with_header(|header, _| header["__metadata__"]["recurrent"] = json!("hello"));
    assert_refused(&bytes, &["invalid metadata `recurrent`"]);
}

#[test]
fn a_recipe_out_of_range_is_refused() {
    let rate = |rate: Value| with_metadata(|own| own["training"]["recipe"]["learning_rate"] = rate);
    assert_refused(&rate(json!(-0.5)), &["learning rate is -0.5"]);
    assert_refused(&rate(Value::Null), &["metadata", "null"]);
}

#[test]
fn a_safetensors_file_by_others_is_refused_with_what_is_missing() {
    let fixture = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/optimizer_sgd.safetensors")).unwrap();
    assert_refused(&fixture, &["without the metadata `recurrent`", "not by this crate"]);
    let bytes = with_header(|header, _| header["__metadata__"] = json!({"format": "pt"}));
    assert_refused(&bytes, &["without the metadata `recurrent`"]);
    let bytes = with_header(|header, _| drop(header.as_object_mut().unwrap().remove("__metadata__")));
    assert_refused(&bytes, &["without the metadata `recurrent`"]);
}
