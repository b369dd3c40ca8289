//! Files of other formats that are taken for safetensors files: each is refused with the words that say what it is.
//!
//! `scripts/container_fixtures.py` wrote them, with the tools that such files come from.

use std::fs;
use std::path::Path;

use recurrent::formats::Names;
use recurrent::{Checkpoint, Model};

use super::{assert_says, config};

/// What a file is and what to do, in part.
const FILES: [(&str, [&str; 2]); 13] = [
    ("torch.pt", ["is a file of torch.save", "`safetensors.torch.save_file`"]),
    ("torch_old.pt", ["is a file of torch.save", "`state_dict()`"]),
    ("model.keras", ["is a Keras model", "`Model::from_keras`"]),
    ("weights.h5", ["is an HDF5 file", "`Model::from_keras`"]),
    ("weights.npz", ["is an archive of NumPy's", "`safetensors.numpy.save_file`"]),
    ("weights.npy", ["is an array of NumPy's", "`safetensors.numpy.save_file`"]),
    ("pytorch.onnx", ["is an ONNX model", "another order"]),
    ("bare.onnx", ["is an ONNX model", "another order"]),
    ("weights_2.pkl", ["is a pickle", "runs what it says"]),
    ("weights_4.pkl", ["is a pickle", "runs what it says"]),
    ("weights_5.pkl", ["is a pickle", "runs what it says"]),
    ("weights.safetensors.gz", ["is compressed by gzip", "unpack it"]),
    ("weights.zip", ["is a ZIP archive", "unpack it"]),
];

#[test]
fn a_file_of_another_format_is_named_with_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/containers");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), FILES.len());
    for (name, [what, advice]) in FILES {
        let path = folder.join(name);
        let words = [name, what, "not a safetensors file", advice];
        assert_says(&Checkpoint::load(&path).unwrap_err(), &words);
        assert_says(&Model::import(&path, config(), &Names::new().ignore_others()).unwrap_err(), &words);
        // Its first bytes say so, however little is there beside them.
        let bytes = fs::read(&path).unwrap();
        let head = &bytes[..bytes.len().min(60)];
        assert_says(&Checkpoint::from_bytes(head).unwrap_err(), &[what, advice]);
    }
}

#[test]
fn what_servers_hand_out_in_place_of_a_file_is_named() {
    for (bytes, what) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n"[..],
            "a pointer of Git LFS",
        ),
        (b"<!DOCTYPE html>\n<html><head>", "an HTML page"),
        (br#"{"metadata": {"total_size": 1}, "weight_map": {}}"#, "is JSON"),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "a ZIP archive"),
    ] {
        assert_says(&Checkpoint::from_bytes(bytes).unwrap_err(), &[what, "not a safetensors file"]);
    }
}

/// The length of a header may begin as another format does: what is a safetensors file otherwise is damaged, not
/// another.
#[test]
fn a_damaged_safetensors_file_is_not_taken_for_another_format() {
    for length in [0x28_8b1fu64, 0x95_0480, 0x7d_0280, 0x12_0e08] {
        let bytes = [&length.to_le_bytes()[..], b"{\"a\":"].concat();
        assert_says(&Checkpoint::from_bytes(&bytes).unwrap_err(), &["is truncated", &format!("takes {length} bytes")]);
    }
}
