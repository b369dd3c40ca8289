//! Images and labels in the IDX format of MNIST and EMNIST, packed by gzip or not.
//!
//! The contract: a file that is damaged, cut short or of another kind is an error with its name and the byte; at most
//! one byte more is unpacked than its header announces.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;

/// Images of one size.
pub struct Images {
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// Of each image its pixels by rows, 0 to 255.
    pub pixels: Vec<Vec<u8>>,
}

/// What the file's magic number says: unsigned bytes, of so many dimensions.
const BYTES: u32 = 8 << 8;
/// What a packed file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads the images of a file.
pub fn images(path: &Path) -> Result<Images> {
    let (shape, bytes) = read::<3>(path)?;
    let [_, height, width] = shape;
    let pixels = bytes.chunks_exact(height * width).map(<[u8]>::to_vec).collect();
    Ok(Images { height, width, pixels })
}

/// Reads the images of a folder and their labels: the pair of files to learn, under the names that MNIST, EMNIST,
/// Kaggle or 7-zip give them.
pub fn folder(path: &Path) -> Result<(Images, Vec<u8>)> {
    let files = files(path)?;
    let (images_of, labels_of) = (named(&files, "images", 3), named(&files, "labels", 1));
    let is_test = |set: &str| set.contains("t10k") || set.contains("test");
    let mut sets: Vec<&str> = images_of.keys().copied().filter(|set| !is_test(set)).collect();
    if sets.is_empty() {
        sets = images_of.keys().copied().collect();
    }
    ensure!(
        sets.len() <= 1,
        "{} has images of several data sets, {}: put those to learn in a folder of their own",
        path.display(),
        sets.iter().map(|set| format!("{set}images")).collect::<Vec<_>>().join(", ")
    );
    let named = |set: &str, what: &str| format!("{set}{what}-ubyte, whether with a point before idx, .gz or not");
    let set = *sets.first().with_context(|| format!("{} has no file {}", path.display(), named("…", "images-idx3")))?;
    let images_file = images_of[set];
    let labels_file = labels_of.get(set).with_context(|| {
        format!("{} has no labels beside it: expected {}", images_file.display(), named(set, "labels-idx1"))
    })?;
    let (images, (_, labels)) = (images(images_file)?, read::<1>(labels_file)?);
    ensure!(
        images.pixels.len() == labels.len(),
        "{} has {} images, but {} has {} labels",
        images_file.display(),
        images.pixels.len(),
        labels_file.display(),
        labels.len()
    );
    Ok((images, labels))
}

/// Lists the files of a folder, and those of the folders in it that are named like an IDX file, as some archives have
/// them.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read the folder {}", path.display());
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(cannot)? {
        let entry = entry.with_context(cannot)?.path();
        if entry.is_dir() && entry.to_string_lossy().ends_with("ubyte") {
            let inside = entry.read_dir().with_context(cannot)?.map(|entry| Ok(entry.with_context(cannot)?.path()));
            files.extend(inside.collect::<Result<Vec<_>>>()?);
        } else {
            files.push(entry);
        }
    }
    // Folders list their files in any order.
    files.sort();
    Ok(files)
}

/// Returns the files of a kind by what precedes it in their names: `train-images-idx3-ubyte` by `train-`.
fn named<'a>(files: &'a [PathBuf], what: &str, dimensions: u32) -> BTreeMap<&'a str, &'a Path> {
    let ends = ["-", "."].map(|point| format!("{what}{point}idx{dimensions}-ubyte"));
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.strip_suffix(".gz").unwrap_or(name);
        // Hidden files hold what a system notes about others.
        if let (Some(set), false) = (ends.iter().find_map(|end| name.strip_suffix(end.as_str())), name.starts_with('.'))
        {
            found.entry(set).or_insert(file.as_path());
        }
    }
    found
}

fn read<const N: usize>(path: &Path) -> Result<([usize; N], Vec<u8>)> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = BufReader::new(File::open(path).with_context(cannot)?);
    // Not by its name: browsers unpack a file and keep its name.
    let is_packed = file.fill_buf().with_context(cannot)?.starts_with(&GZIP);
    let mut file: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    parse(&mut file).with_context(|| path.display().to_string())
}

fn parse<const N: usize>(file: &mut dyn Read) -> Result<([usize; N], Vec<u8>)> {
    let start = 4 * (N + 1);
    let header = up_to(file, start as u64, 0)?;
    let number = |at: usize| -> Result<u32> {
        let word = header.get(4 * at..).and_then(|rest| rest.first_chunk::<4>());
        Ok(u32::from_be_bytes(*word.with_context(|| format!("ends at byte {}, inside its header", header.len()))?))
    };
    let magic = number(0)?;
    let expected = BYTES | N as u32;
    ensure!(
        magic == expected,
        "bytes 0 to 3 are {magic:#010x}, expected {expected:#010x}: IDX of bytes, {N} dimensions"
    );
    let mut shape = [0; N];
    for (at, size) in shape.iter_mut().enumerate() {
        *size = number(at + 1)? as usize;
    }
    let asked = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let asked = asked.with_context(|| format!("bytes 4 to {} say {shape:?}, more than there can be", start - 1))?;
    ensure!(asked > 0, "it is empty: its header says {shape:?}");
    let bytes = up_to(file, (asked as u64).saturating_add(1), start)?;
    let held = bytes.len();
    ensure!(held <= asked, "more than the {asked} bytes from byte {start} on that its header says, {shape:?}");
    ensure!(held == asked, "{held} bytes from byte {start} on, expected {asked} as its header says {shape:?}");
    Ok((shape, bytes))
}

/// Reads at most `most` bytes of a file of which `before` were read already.
fn up_to(file: &mut dyn Read, most: u64, before: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(most).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot be read past byte {}", before + bytes.len()))?;
    Ok(bytes)
}
