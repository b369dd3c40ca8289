//! Files of other formats, known by their first bytes: what they are, and how what they hold gets into a safetensors
//! file.
//!
//! The contract: nothing of such a file is read but its first bytes, and no safetensors file is taken for one.

/// A safetensors file opens with the length of its header, eight bytes.
pub(super) const LENGTH_BYTES: usize = 8;
/// The longest header that is read: names and shapes of some hundred thousand tensors.
pub(super) const HEADER_BYTES: usize = 16 << 20;

/// Formats by how their files begin.
const MAGIC: [(&[u8], &str, &str); 13] = [
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", KERAS),
    (b"\x1f\x8b", "compressed by gzip", UNPACK),
    (b"\xfd7zXZ\0", "compressed by xz", UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", UNPACK),
    (b"BZh", "compressed by bzip2", UNPACK),
    (b"\x93NUMPY", "an array of NumPy's", NUMPY),
    // The first object that torch.save wrote before version 1.6: a number of its own.
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "a file of torch.save", TORCH),
    (b"GGUF", "a GGUF file", "it holds no recurrent network"),
    (b"version https://git-lfs", "a pointer of Git LFS", "`git lfs pull` fetches the file itself"),
    (b"<!DOCTYPE", "an HTML page", DOWNLOAD),
    (b"<!doctype", "an HTML page", DOWNLOAD),
    (b"<html", "an HTML page", DOWNLOAD),
    (b"{", "JSON", "an index of safetensors files, perhaps: what it names are the files to load"),
];

const TORCH: &str = "in Python, `safetensors.torch.save_file` writes the module's `state_dict()` so that \
    `Model::import` reads it";
const KERAS: &str = "`Model::from_keras` takes the arrays that a Keras model's `get_weights()` returns; other arrays \
    can be written by `safetensors.numpy.save_file`";
const NUMPY: &str = "in Python, `safetensors.numpy.save_file` writes the arrays so that `Model::import` reads them";
const PICKLE: &str = "reading one runs what it says, so this crate reads none; in Python, \
    `safetensors.torch.save_file` or `safetensors.numpy.save_file` writes the arrays that it holds";
const ONNX: &str = "its layers have their gates in another order (i, o, f, c and z, r, h): save the weights from the \
    program that the model was made with, by `safetensors.torch.save_file` of its `state_dict()`, say";
const UNPACK: &str = "unpack it first";
const DOWNLOAD: &str = "a download that went wrong, perhaps: it has to be fetched again";

/// What a file is and what to do, where it is not a safetensors file but one of a known format.
pub(super) fn describe(bytes: &[u8]) -> Option<String> {
    let length = bytes.first_chunk::<LENGTH_BYTES>().map(|length| u64::from_le_bytes(*length));
    if bytes.get(LENGTH_BYTES) == Some(&b'{') && length.is_some_and(|length| length <= HEADER_BYTES as u64) {
        return None;
    }
    let known = MAGIC.into_iter().find(|(magic, ..)| bytes.starts_with(magic)).map(|(_, what, advice)| (what, advice));
    let (what, advice) = known.or_else(|| zip(bytes)).or_else(|| pickle(bytes)).or_else(|| onnx(bytes))?;
    Some(format!("is {what}, not a safetensors file: {advice}"))
}

/// What a ZIP archive is of shows in the name of its first member.
fn zip(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const NAME: usize = 30;
    let local = bytes.starts_with(b"PK\x03\x04");
    if !local && !bytes.starts_with(b"PK\x05\x06") {
        return None;
    }
    let length = bytes.get(26..28).map_or(0, |n| usize::from(n[0]) | usize::from(n[1]) << 8);
    let name = bytes.get(NAME..NAME + length).filter(|_| local).unwrap_or_default();
    Some(if name.ends_with(b"/data.pkl") {
        ("a file of torch.save", TORCH)
    } else if [&b"metadata.json"[..], b"config.json", b"model.weights.h5"].contains(&name) {
        ("a Keras model", KERAS)
    } else if name.ends_with(b".npy") {
        ("an archive of NumPy's", NUMPY)
    } else {
        ("a ZIP archive", UNPACK)
    })
}

/// Protocol 2 and later begin with their number; an object, tuple, array or dictionary or, from 4 on, a frame follows.
fn pickle(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let is_pickle =
        matches!(bytes, [0x80, 2..=3, b'}' | b']' | b'(' | b')' | b'c' | 0x8a, ..] | [0x80, 4..=5, 0x95, ..]);
    is_pickle.then_some(("a pickle", PICKLE))
}

/// A message of Protocol Buffers: field 1, the version of the representation, and then the producer or the graph.
fn onnx(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let is_onnx = matches!(bytes, [0x08, 1..=64, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, length, ..] if *length > 0);
    is_onnx.then_some(("an ONNX model", ONNX))
}
