//! An image as a sequence: a network reads it row by row, or patch by patch, and says which digit it is.
//!
//! The contract: the last tenth of the images is the test part, of which nothing is learnt; what is wrong with a file is
//! said with its name and the byte.
//!
//! ```text
//! cargo run --release --example image_patches
//! cargo run --release --example image_patches -- --data FOLDER --patch 7   # IDX files, as MNIST's, .gz too
//! cargo run --release --example image_patches -- --predict IMAGES-FILE
//! ```

#[path = "../shared/batches.rs"]
mod batches;
#[path = "../shared/classes.rs"]
mod classes;
#[path = "../shared/curves.rs"]
mod curves;
#[path = "../shared/device.rs"]
mod device;
#[path = "../shared/files.rs"]
mod files;
#[path = "../shared/fit.rs"]
mod fit;
#[path = "../shared/gallery.rs"]
mod gallery;
#[path = "../shared/hand.rs"]
mod hand;
#[path = "../shared/matrix.rs"]
mod matrix;
#[path = "../shared/options.rs"]
mod options;
#[path = "../shared/order.rs"]
mod order;
#[path = "../shared/picture.rs"]
mod picture;
#[path = "../shared/program.rs"]
mod program;
#[path = "../shared/report.rs"]
mod report;
#[path = "../shared/signals.rs"]
mod signals;

mod drawing;
mod idx;
mod made_up;

use std::{path::Path, process::ExitCode, str::FromStr};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{
    Directions, Input, Inputs, Loss, Model, ReadOut, Targets,
    data::{Example, patches},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use classes::Confusion;
use idx::Images;
use options::Options;
use report::Report;

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
/// By how many pixels an image is shifted, at most, while it is learnt.
const SHIFT: i32 = 2;

/// Reads images as sequences of rows or patches, one of ten classes.
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

/// How an image is cut; kept with the network that learnt it so.
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

/// What a network must be given to read an image as it learnt to.
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
        None => made_up::images(options.seed),
    };
    let cut = Cut { patch, height: images.height, width: images.width };
    let count = labels.len();
    let name = options.name("drawn digits");
    ensure!(count >= HELD * HELD, "{name}: {count} images, expected at least {}", HELD * HELD);
    let test: Vec<usize> = (count - count / HELD..count).collect();
    let order = order::shuffled(&(0..count - test.len()).collect::<Vec<_>>(), order::chance(options.seed, u64::MAX));
    let (held, kept) = order.split_at(order.len() / HELD);
    let example = |at: usize, shift| -> Result<Example> {
        let targets = Targets::Classes(vec![labels[at] as u32]);
        Ok(Example { inputs: cut.read(&images.pixels[at], shift)?, targets })
    };
    let all = (0..count).map(|at| example(at, (0, 0))).collect::<Result<Vec<_>>>()?;
    options.prepare(&[])?;
    let device = device::open(&options.device, &report)?;
    let config = options.config(Input::Dense(cut.size().0 * cut.size().1), 10).with_directions(Directions::Both);
    let config = config.with_read_out(ReadOut::Mean);
    let model = Model::new(config.clone())?;
    report.line(&format!(
        "{name}: {} images to learn, {} to tell when to stop, the last {} to test; {} steps each",
        kept.len(),
        held.len(),
        test.len(),
        images.pixels[0].len() / config.input.size()
    ))?;

    let held = batches::batches(&all, held, 256, &config)?;
    let epoch = |number| {
        let mut rng = order::chance(options.seed, number);
        let order = order::shuffled(kept, order::chance(options.seed, number));
        let shifted = order.iter().map(|&at| example(at, shift(&mut rng))).collect::<Result<Vec<_>>>()?;
        batches::batches(&shifted, &(0..shifted.len()).collect::<Vec<_>>(), options.batch_size, &config)
    };
    let save = |model: &Model| options.save(model, "image_patches", &cut);
    let (best, course) = fit::fit((&device, &model, Loss::CrossEntropy), epoch, &held, options, &mut report, save)?;
    if let Some(code) = course.stopped {
        return Ok(fit::interrupted(code, options));
    }

    let inputs: Vec<Inputs> = test.iter().map(|&at| all[at].inputs.clone()).collect();
    let said = classes::judged(&device, &best, &inputs)?;
    let confusion = Confusion::new(10, test.iter().map(|&at| labels[at]).zip(said.iter().copied()));
    let judged = test.iter().zip(said).map(|(&at, said)| (at, labels[at], said)).collect();
    picture::write(&options.plot, (1180, 760), &format!("image_patches: {name}"), |area| {
        drawing::draw(area, &course, &confusion, &images, judged)
    })?;
    classes::tell(&confusion, "images", &course, options, &report)?;
    Ok(ExitCode::SUCCESS)
}

fn shift(rng: &mut ChaCha12Rng) -> (i32, i32) {
    (rng.random_range(-SHIFT..=SHIFT), rng.random_range(-SHIFT..=SHIFT))
}

/// What a trained network says of each image of a file.
fn predict(file: &Path, options: &Options, report: &Report) -> Result<()> {
    let (model, cut): (_, Cut) = options.load("image_patches")?;
    let Images { height, width, pixels } = idx::images(file)?;
    ensure!(
        (height, width) == (cut.height, cut.width),
        "{}: images of {height} × {width}, but the network has learnt {} × {}",
        file.display(),
        cut.height,
        cut.width
    );
    let device = device::open(&options.device, report)?;
    let inputs = pixels.iter().map(|image| cut.read(image, (0, 0))).collect::<Result<Vec<_>>>();
    let inputs = inputs.context("the checkpoint's note cannot be right")?;
    for (at, said) in (1..).zip(classes::probabilities(&device, &model, &inputs)?) {
        let digit = classes::likeliest(&said);
        let probability = said[digit];
        report.event(&json!({ "event": "prediction", "image": at, "digit": digit, "probability": probability }))?;
        report.line(&format!("image {at}: a {digit} ({:.1} %)", probability * 100.0))?;
    }
    Ok(())
}
