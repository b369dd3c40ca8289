//! An image as a sequence: a network reads it row by row, or patch by patch, and says which label it has.
//!
//! The contract: the last tenth of the images is the test part, of which nothing is learned; what is wrong with a file
//! is said with its name and the byte.
//!
//! ```text
//! cargo run --release --example image_patches
//! cargo run --release --example image_patches -- --data FOLDER --patch 7   # IDX, as MNIST and EMNIST, .gz too
//! cargo run --release --example image_patches -- --predict IMAGES-FILE
//! ```

mod drawing;
mod synthetic;

use std::{collections::BTreeSet, path::Path, process::ExitCode, str::FromStr};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{
    Directions, InputKind, Inputs, Loss, Model, Pool, Targets,
    data::{Example, patches},
};
use recurrent_examples::{
    batches, classes, device, fit,
    options::{self, Options},
    program,
    readers::idx::{self, Images},
    report::Report,
    shuffle, svg,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

const DEFAULTS: &[(&str, &str)] = &[
    ("checkpoint", "out/image_patches.safetensors"),
    ("plot", "out/image_patches.svg"),
    ("cell", "gru"),
    ("layers", "2"),
    ("hidden", "96"),
    ("epochs", "20"),
    ("patience", "6"),
    ("batch_size", "64"),
    ("learning_rate", "0.004"),
    ("dropout", "0.2"),
];

/// Of this many images one is for the test, and of as many of the rest one tells when to stop.
const HELD: usize = 10;
/// By how many pixels an image is shifted, at most, while it is learned.
const SHIFT: i32 = 2;

/// Reads images as sequences of rows or patches; the classes are the labels that there are.
///
/// Without --data it learns digits that it draws itself.
#[derive(Parser)]
#[command(name = "image_patches", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// `rows`, or K for patches of K × K pixels
    #[arg(long, value_name = "rows|K", default_value = "rows")]
    patch: Patch,
}

/// How an image is cut; kept with the network that learned it so.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Patch {
    Rows,
    Square(usize),
}

impl FromStr for Patch {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text, text.parse()) {
            ("rows", _) => Ok(Patch::Rows),
            (_, Ok(side)) if side > 0 => Ok(Patch::Square(side)),
            _ => Err("expected `rows` or a number of pixels".to_owned()),
        }
    }
}

/// What is kept beside a network.
#[derive(Serialize, Deserialize)]
struct Prepared {
    cut: Cut,
    /// The label of each class.
    labels: Vec<u8>,
}

/// What a network must be given to read an image as it learned to.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cut {
    patch: Patch,
    height: usize,
    width: usize,
}

impl Cut {
    fn size(self) -> (usize, usize) {
        match self.patch {
            Patch::Rows => (1, self.width),
            Patch::Square(side) => (side, side),
        }
    }

    /// `[T, I]`, ink 1 and paper 0; shifted right and down by so many pixels.
    fn read(self, pixels: &[u8], (right, down): (i32, i32)) -> Result<Inputs> {
        let (height, width) = (self.height as i32, self.width as i32);
        let at = |place: i32| {
            let (y, x) = (place / width - down, place % width - right);
            let inside = (0..height).contains(&y) && (0..width).contains(&x);
            if inside { f32::from(pixels[(y * width + x) as usize]) / 255.0 } else { 0.0 }
        };
        let shifted: Vec<f32> = (0..height * width).map(at).collect();
        Ok(Inputs::Dense(patches(&shifted, (self.height, self.width), self.size())?))
    }
}

fn main() -> ExitCode {
    program::main(|| {
        let Cli { options, patch } = options::parse(DEFAULTS);
        let report = Report::new(options.json);
        match &options.predict {
            Some(file) => predict(file, &options, &report).map(|()| ExitCode::SUCCESS),
            None => train(patch, &options, report),
        }
    })
}

fn train(patch: Patch, options: &Options, mut report: Report) -> Result<ExitCode> {
    let (images, labels) = match &options.data {
        Some(folder) => idx::folder(folder)?,
        None => synthetic::images(options.seed),
    };
    let cut = Cut { patch, height: images.height, width: images.width };
    let count = labels.len();
    let known: Vec<u8> = labels.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let classes: Vec<usize> = labels.iter().filter_map(|label| known.binary_search(label).ok()).collect();
    let name = options.name("drawn digits");
    ensure!(count >= HELD * HELD, "{name}: {count} images, expected at least {}", HELD * HELD);
    ensure!(known.len() > 1, "{name}: all labels are {}, expected at least two to tell apart", known[0]);
    let test: Vec<usize> = (count - count / HELD..count).collect();
    let order = shuffle::shuffled(&(0..count - test.len()).collect::<Vec<_>>(), shuffle::rng(options.seed, u64::MAX));
    let (held, kept) = order.split_at(order.len() / HELD);
    let example = |at: usize, shift| -> Result<Example> {
        let targets = Targets::Classes(vec![classes[at] as u32]);
        Ok(Example::new(cut.read(&images.pixels[at], shift)?, targets))
    };
    let all = (0..count).map(|at| example(at, (0, 0))).collect::<Result<Vec<_>>>()?;
    options.prepare(&[])?;
    let device = device::open(&options.device, &report)?;
    let config = options
        .config(InputKind::Dense(cut.size().0 * cut.size().1), known.len())
        .with_directions(Directions::Bidirectional);
    let config = config.pool(Pool::Mean);
    let model = Model::new(config.clone())?;
    report.line(&format!(
        "{name}: {} labels; {} images to learn, {} to tell when to stop, the last {} to test; {} steps each",
        known.len(),
        kept.len(),
        held.len(),
        test.len(),
        images.pixels[0].len() / config.input.size()
    ))?;

    let held = batches::batches(&all, held, 256, &config)?;
    let epoch = |number| {
        let mut rng = shuffle::rng(options.seed, number);
        let order = shuffle::shuffled(kept, shuffle::rng(options.seed, number));
        let shifted = order.iter().map(|&at| example(at, shift(&mut rng))).collect::<Result<Vec<_>>>()?;
        batches::batches(&shifted, &(0..shifted.len()).collect::<Vec<_>>(), options.batch_size, &config)
    };
    let prepared = Prepared { cut, labels: known };
    let notes = Some(options::notes("image_patches", &prepared)?);
    let (best, history) = fit::fit((&device, &model, Loss::CrossEntropy), epoch, &held, options, &mut report, notes)?;
    if let Some(code) = history.stopped {
        return Ok(fit::interrupted(code, options));
    }

    let inputs: Vec<Inputs> = test.iter().map(|&at| all[at].inputs.clone()).collect();
    let said = classes::judged(&device, &best, &inputs)?;
    let pairs = test.iter().map(|&at| classes[at]).zip(said.iter().copied());
    let confusion = classes::confusion(&prepared.labels, pairs)?;
    let label = |class: usize| usize::from(prepared.labels[class]);
    let judged = test.iter().zip(said).map(|(&at, said)| (at, label(classes[at]), label(said))).collect();
    svg::write(&options.plot, (1180, 760), &format!("image_patches: {name}"), |area| {
        drawing::draw(area, &history, &confusion, &images, judged)
    })?;
    classes::tell(&confusion, "images", &history, options, &report)?;
    Ok(ExitCode::SUCCESS)
}

fn shift(rng: &mut ChaCha12Rng) -> (i32, i32) {
    (rng.random_range(-SHIFT..=SHIFT), rng.random_range(-SHIFT..=SHIFT))
}

/// What a trained network says of each image of a file.
fn predict(file: &Path, options: &Options, report: &Report) -> Result<()> {
    let (model, Prepared { cut, labels }): (_, Prepared) = options.load("image_patches")?;
    ensure!(labels.len() == model.config().outputs, "the checkpoint's note names {} labels", labels.len());
    let Images { height, width, pixels } = idx::images(file)?;
    ensure!(
        (height, width) == (cut.height, cut.width),
        "{}: images of {height} × {width}, but the network has learned {} × {}",
        file.display(),
        cut.height,
        cut.width
    );
    let device = device::open(&options.device, report)?;
    let inputs = pixels.iter().map(|image| cut.read(image, (0, 0))).collect::<Result<Vec<_>>>();
    let inputs = inputs.context("the checkpoint's note cannot be right")?;
    for (at, said) in (1..).zip(classes::probabilities(&device, &model, &inputs)?) {
        let class = classes::likeliest(&said);
        let (label, probability) = (labels[class], said[class]);
        report.event(&json!({ "event": "prediction", "image": at, "label": label, "probability": probability }))?;
        report.line(&format!("image {at}: label {label} ({:.1} %)", probability * 100.0))?;
    }
    Ok(())
}
