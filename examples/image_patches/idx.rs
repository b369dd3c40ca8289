//! Images and labels in the IDX format of MNIST, packed by gzip or not.
//!
//! The contract: a file that is damaged, cut short or of another kind is an error with its name and the byte.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

/// Images of one size.
pub struct Images {
    pub height: usize,
    pub width: usize,
    /// Of each image its pixels by rows, 0 to 255.
    pub pixels: Vec<Vec<u8>>,
}

/// What the file's magic number says: unsigned bytes, of so many dimensions.
const BYTES: u32 = 8 << 8;

/// The images of a file.
pub fn images(path: &Path) -> Result<Images> {
    let (shape, bytes) = read::<3>(path)?;
    let [_, height, width] = shape;
    ensure!(height > 0 && width > 0, "{}: images of {height} × {width} pixels", path.display());
    let pixels = bytes.chunks_exact(height * width).map(<[u8]>::to_vec).collect();
    Ok(Images { height, width, pixels })
}

/// The labels of a file, 0 to 9.
pub fn labels(path: &Path) -> Result<Vec<usize>> {
    let (_, bytes) = read::<1>(path)?;
    if let Some(at) = bytes.iter().position(|&label| label > 9) {
        bail!("{}: byte {} is label {}, expected 0 to 9", path.display(), at + 8, bytes[at]);
    }
    Ok(bytes.into_iter().map(usize::from).collect())
}

/// The images of a folder and their labels: the pair of files whose names end as MNIST's do.
pub fn folder(path: &Path) -> Result<(Images, Vec<usize>)> {
    let find = |end: &str| -> Result<PathBuf> {
        let entries = path.read_dir().with_context(|| format!("cannot read the folder {}", path.display()))?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.with_context(|| format!("cannot read the folder {}", path.display()))?.path();
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.trim_end_matches(".gz").ends_with(end) {
                found.push(file);
            }
        }
        found.sort();
        // Of the four files of MNIST those to learn come last in the alphabet: t10k, train.
        found.pop().with_context(|| format!("{} has no file named …{end} or …{end}.gz", path.display()))
    };
    let (images_file, labels_file) = (find("images-idx3-ubyte")?, find("labels-idx1-ubyte")?);
    let (images, labels) = (images(&images_file)?, labels(&labels_file)?);
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

fn read<const N: usize>(path: &Path) -> Result<([usize; N], Vec<u8>)> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut file: Box<dyn Read> = Box::new(BufReader::new(file));
    if path.extension().is_some_and(|end| end == "gz") {
        file = Box::new(MultiGzDecoder::new(file));
    }
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes);
    read.with_context(|| format!("{}: cannot be read past byte {}", path.display(), bytes.len()))?;
    parse(&bytes).with_context(|| path.display().to_string())
}

fn parse<const N: usize>(bytes: &[u8]) -> Result<([usize; N], Vec<u8>)> {
    let number = |at: usize| -> Result<u32> {
        let word = bytes.get(4 * at..).and_then(|rest| rest.first_chunk::<4>());
        Ok(u32::from_be_bytes(*word.with_context(|| format!("ends at byte {}, inside its header", bytes.len()))?))
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
    let start = 4 * (N + 1);
    let asked = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let asked = asked.with_context(|| format!("bytes 4 to {} say {shape:?}, more than there can be", start - 1))?;
    let held = bytes.len() - start;
    ensure!(held == asked, "{held} bytes from byte {start} on, expected {asked} as its header says {shape:?}");
    ensure!(asked > 0, "it is empty: its header says {shape:?}");
    Ok((shape, bytes[start..].to_vec()))
}
