//! The example `image_patches` from outside: what it learns, and what it answers to damaged files.
//!
//! The contract: a run ends in a test event with a share of what is right, and a bad file in one message that names
//! file and byte. `cargo test` builds the example.

use std::{fs, io::Write, path::Path, process::Output};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::support::{self, events, refused};

const IMAGES: &str = "t10k-images-idx3-ubyte";
const LABELS: &str = "t10k-labels-idx1-ubyte.gz";

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("image_patches", folder, args)
}

fn last(output: &Output) -> Value {
    events(output).pop().unwrap()
}

/// Images of 8 × 8 of which each quarter is bright where its bit of the label is 1: what a shift of two pixels leaves.
fn images(count: usize) -> Vec<u8> {
    let mut file = [0x0000_0803, count as u32, 8, 8].map(u32::to_be_bytes).concat();
    for at in 0..count {
        let bright = |i: usize| ((at % 10) >> (i / 32 * 2 + i / 4 % 2)) & 1 == 1;
        file.extend((0..64).map(|i| if bright(i) { 200 + (at % 50) as u8 } else { (at % 30) as u8 }));
    }
    file
}

fn labels(count: usize) -> Vec<u8> {
    let mut file = [0x0000_0801, count as u32].map(u32::to_be_bytes).concat();
    file.extend((0..count).map(|at| (at % 10) as u8));
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn images_in_the_format_of_mnist_are_learned_by_rows_and_by_patches_and_then_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(IMAGES), images(600)).unwrap();
    fs::write(folder.path().join(LABELS), gzip(&labels(600))).unwrap();
    for patch in ["rows", "4"] {
        let short = ["--data", ".", "--hidden", "24", "--epochs", "8", "--batch-size", "16", "--patch", patch];
        let test = last(&run(folder.path(), &short));
        assert_eq!((test["event"].as_str(), test["images"].as_u64()), (Some("test"), Some(60)));
        assert!(test["accuracy"].as_f64().unwrap() > 0.6, "{patch}: {test}");
    }
    let picture = fs::read_to_string(folder.path().join("out/image_patches.svg")).unwrap();
    assert!(picture.contains("confusion on the test part"));
    // It was trained on patches, and reads patches without being told.
    let prediction = last(&run(folder.path(), &["--predict", IMAGES]));
    assert_eq!((prediction["event"].as_str(), prediction["image"].as_u64()), (Some("prediction"), Some(600)));
    assert!(prediction["label"].as_u64().unwrap() < 10);

    let mut other = images(3);
    other[8..16].copy_from_slice(&[4u32, 16].map(u32::to_be_bytes).concat());
    fs::write(folder.path().join("other"), other).unwrap();
    let other = run(folder.path(), &["--predict", "other"]);
    refused(&other, "images of 4 × 16, but the network has learned 8 × 8");
}

#[test]
fn letters_are_classes_by_their_labels() {
    // As EMNIST has them: by gzip, labelled from 1; `scripts/file_fixtures.py` wrote them.
    let letters = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/idx");
    let folder = tempfile::tempdir().unwrap();
    let short = ["--data", letters, "--hidden", "24", "--epochs", "12", "--batch-size", "8", "--layers", "1"];
    let test = last(&run(folder.path(), &short));
    assert!(test["accuracy"].as_f64().unwrap() > 0.6, "{test}");
    let images = format!("{letters}/emnist-letters-train-images-idx3-ubyte.gz");
    let all = events(&run(folder.path(), &["--predict", &images]));
    let said: Vec<u64> = all.iter().filter_map(|event| event["label"].as_u64()).collect();
    let right = said.iter().zip(0..).filter(|(label, at)| **label == 1 + 2 * (at % 13)).count();
    assert!(said.len() == 260 && right > 156, "{right} of {}", said.len());
}

#[test]
fn files_are_found_by_the_names_that_tools_give_them() {
    for (images_name, labels_name, more) in [
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", &[][..]),
        // An archive unpacked into folders of the files' names, and what a system keeps of it.
        (
            "train-images-idx3-ubyte/train-images-idx3-ubyte",
            "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
            &["._train-images-idx3-ubyte"],
        ),
        // Those to test are left alone, in whatever order the names are.
        (
            "emnist-balanced-train-images-idx3-ubyte.gz",
            "emnist-balanced-train-labels-idx1-ubyte.gz",
            &["emnist-balanced-test-images-idx3-ubyte.gz", "emnist-balanced-test-labels-idx1-ubyte.gz"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let file = folder.path().join("data").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        };
        // Packed or not, whatever the name says.
        write(images_name, &gzip(&images(100)));
        write(labels_name, &labels(100));
        more.iter().for_each(|name| write(name, b"not to be read"));
        let test = last(&run(folder.path(), &["--data", "data", "--hidden", "4", "--epochs", "1"]));
        assert_eq!(test["images"].as_u64(), Some(10), "{images_name}: {test}");
    }
    let folder = tempfile::tempdir().unwrap();
    let name = |set: &str, what: &str| folder.path().join(format!("{set}-train-{what}-ubyte"));
    fs::write(name("letters", "images-idx3"), images(100)).unwrap();
    refused(&run(folder.path(), &["--data", "."]), "expected letters-train-labels-idx1-ubyte");
    fs::write(name("digits", "images-idx3"), images(100)).unwrap();
    fs::write(name("digits", "labels-idx1"), labels(100)).unwrap();
    refused(&run(folder.path(), &["--data", "."]), "several data sets, digits-train-images, letters-train-images");
    refused(&run(folder.path(), &["--data", "/"]), "has no file …images-idx3-ubyte");
}

#[test]
fn a_damaged_file_is_named_with_its_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (good, names) = (images(200), gzip(&labels(200)));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = good.clone();
        change(&mut file);
        file
    };
    // 64 MiB behind a header that says 12,800 bytes: it is not unpacked to be counted.
    let bomb = gzip(&[&good[..], &vec![0; 64 << 20]].concat());
    for (pixels, labels, expected) in [
        (with(&|f| f.truncate(1000)), names.clone(), "984 bytes from byte 16 on, expected 12800"),
        (with(&|f| f.truncate(9)), names.clone(), "ends at byte 9, inside its header"),
        (with(&|f| f[3] = 1), names.clone(), "bytes 0 to 3 are 0x00000801, expected 0x00000803"),
        (with(&|f| f[4..16].fill(255)), names.clone(), "more than there can be"),
        (with(&|f| f[8..12].fill(0)), names.clone(), "it is empty: its header says [200, 0, 8]"),
        (good.clone(), gzip(&labels(199)), "has 200 images, but"),
        (bomb, names.clone(), "more than the 12800 bytes from byte 16 on that its header says, [200, 8, 8]"),
        (good.clone(), gzip(&[&labels(200)[..8], &[3; 200]].concat()), "all labels are 3, expected at least two"),
        (good.clone(), names[..40].to_vec(), "cannot be read past byte"),
        (images(50), gzip(&labels(50)), "50 images, expected at least 100"),
    ] {
        fs::write(folder.path().join(IMAGES), pixels).unwrap();
        fs::write(folder.path().join(LABELS), labels).unwrap();
        refused(&run(folder.path(), &["--data", "."]), expected);
    }
    for (args, expected) in
        [(["--data", "no-such"], "no-such"), (["--predict", "no-such"], "train first"), (["--patch", "100"], "100")]
    {
        refused(&run(folder.path(), &args), expected);
    }
}
