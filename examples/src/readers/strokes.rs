//! Strokes of a pen, in the format of the UCI's pen-based digits, and as a network reads them.
//!
//! The contract: a line is 16 numbers from 0 to 100 (x and y of 8 points) and the digit; what is not is an error with
//! file and line.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{Inputs, Targets, data::Example};

use super::records::{Record, records};

/// Points of a stroke.
pub const POINTS: usize = 8;
/// What is read at a point: where it is, and the way from the point before.
pub const FEATURES: usize = 4;

/// A digit as a pen wrote it.
#[derive(Clone)]
pub struct Stroke {
    /// 0 to 100, y upwards.
    pub points: [(f32, f32); POINTS],
    /// What is written, 0 to 9.
    pub digit: usize,
}

/// The strokes to learn, and those of other writers to test with.
pub struct Parts {
    /// Those to learn.
    pub train: Vec<Stroke>,
    /// Those of other writers.
    pub test: Vec<Stroke>,
}

impl Stroke {
    /// Returns what a network reads, `[8, 4]`: x, y, dx, dy in about −1 to 1.
    pub fn inputs(&self) -> Inputs {
        let mut before = self.points[0];
        let mut values = Vec::with_capacity(POINTS * FEATURES);
        for &(x, y) in &self.points {
            values.extend([x / 50.0 - 1.0, y / 50.0 - 1.0, (x - before.0) / 50.0, (y - before.1) / 50.0]);
            before = (x, y);
        }
        Inputs::Dense(values)
    }

    /// Returns the same as another hand might have written it: slanted, turned and stretched by chance, in the box
    /// again.
    pub fn bent(&self, rng: &mut ChaCha12Rng) -> Stroke {
        let mut chance = |most: f32| rng.random_range(-most..most);
        let (slant, turn, width) = (chance(0.25), chance(0.15), chance(0.15).exp());
        let (sin, cos) = turn.sin_cos();
        let points = self.points.map(|(x, y)| {
            let (x, y) = (x * width + slant * y + chance(2.0), y + chance(2.0));
            (x * cos - y * sin, x * sin + y * cos)
        });
        Stroke { points: boxed(points), digit: self.digit }
    }

    /// Returns what is learned: the digit of these points.
    pub fn example(&self) -> Example {
        Example::new(self.inputs(), Targets::Classes(vec![self.digit as u32]))
    }
}

/// Fits points into a box of 100 by 100, their proportions kept, as the tablet of the real data has it.
pub fn boxed(points: [(f32, f32); POINTS]) -> [(f32, f32); POINTS] {
    let least = points.iter().fold((f32::MAX, f32::MAX), |least, p| (least.0.min(p.0), least.1.min(p.1)));
    let most = points.iter().fold((f32::MIN, f32::MIN), |most, p| (most.0.max(p.0), most.1.max(p.1)));
    let scale = 100.0 / (most.0 - least.0).max(most.1 - least.1).max(1e-6);
    points.map(|(x, y)| (((x - least.0) * scale).round(), ((y - least.1) * scale).round()))
}

/// Reads `pendigits.tra` and `pendigits.tes` of a folder.
pub fn read_folder(folder: &Path) -> Result<Parts> {
    ensure!(folder.is_dir(), "{} is no folder, expected one with pendigits.tra and pendigits.tes", folder.display());
    let [train, test] = ["pendigits.tra", "pendigits.tes"].map(|name| read(&folder.join(name)));
    Ok(Parts { train: train?, test: test? })
}

/// Reads the strokes of one file.
pub fn read(path: &Path) -> Result<Vec<Stroke>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let records = records(&bytes, &mut csv::ReaderBuilder::new()).with_context(|| path.display().to_string())?;
    let parse = |(line, record): &Record| parse(record).with_context(|| format!("{}, line {line}", path.display()));
    let strokes = records.iter().map(parse).collect::<Result<Vec<_>>>()?;
    ensure!(!strokes.is_empty(), "{} has no strokes", path.display());
    Ok(strokes)
}

fn parse(record: &[String]) -> Result<Stroke> {
    let fields = 2 * POINTS + 1;
    ensure!(record.len() == fields, "{} numbers, expected {fields}: 8 points and the digit", record.len());
    let mut numbers = [0; 2 * POINTS + 1];
    for (at, (number, field)) in numbers.iter_mut().zip(record).enumerate() {
        let most = if at == 2 * POINTS { 9 } else { 100 };
        *number = match field.parse::<u8>() {
            Ok(n) if n <= most => n,
            _ => bail!("number {} is {field:?}, expected a whole number from 0 to {most}", at + 1),
        };
    }
    let mut points = [(0.0, 0.0); POINTS];
    for (point, xy) in points.iter_mut().zip(numbers.chunks_exact(2)) {
        *point = (xy[0].into(), xy[1].into());
    }
    Ok(Stroke { points, digit: numbers[2 * POINTS].into() })
}
