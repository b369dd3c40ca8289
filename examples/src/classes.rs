//! Classification: what a network says of examples, and the confusion matrix of it.
//!
//! The contract: rows of the matrix are what is true, columns what was said, and every example counts once; the last
//! that is said is the test's result.

use std::fmt;

use anyhow::Result;
use recurrent::{Device, Inputs, Model, Predictor, Sequences};
use serde_json::json;

use crate::{fit::History, options::Options, report::Report};

/// Sequences that are judged side by side.
const BATCH: usize = 256;

/// Returns the probabilities of the classes, a list for each sequence, of a network that is read out once.
pub fn probabilities(device: &Device, model: &Model, inputs: &[Inputs]) -> Result<Vec<Vec<f64>>> {
    let mut predictor = Predictor::new(device, model)?;
    let mut all = Vec::with_capacity(inputs.len());
    for chunk in inputs.chunks(BATCH) {
        let prediction = predictor.run(&Sequences::pad(chunk, model.config())?)?;
        all.extend(prediction.outputs.chunks_exact(model.config().outputs).map(softmax));
    }
    Ok(all)
}

/// Returns the likeliest class of each sequence.
pub fn judged(device: &Device, model: &Model, inputs: &[Inputs]) -> Result<Vec<usize>> {
    Ok(probabilities(device, model, inputs)?.iter().map(|p| likeliest(p)).collect())
}

/// Says how the test of a training ended, of so many of `what`: "images".
pub fn tell(confusion: &Confusion, what: &str, history: &History, options: &Options, report: &Report) -> Result<()> {
    let (accuracy, total, seconds) = (confusion.accuracy(), confusion.total(), history.seconds);
    report.line(&format!("\n{confusion}\n"))?;
    report.line(&format!(
        "test: {:.2} % of {total} {what} are told rightly, after {seconds:.0} s of training; saved in {}, drawn in {}",
        accuracy * 100.0,
        options.checkpoint.display(),
        options.plot.display()
    ))?;
    report.event(&json!({ "event": "test", "accuracy": accuracy, (what): total, "seconds": seconds }))
}

/// Returns the likeliest class.
pub fn likeliest(probabilities: &[f64]) -> usize {
    let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

/// How often each class was taken for each.
pub struct Confusion {
    /// What the classes are called.
    pub names: Vec<String>,
    /// `[is, said]`.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Counts pairs of what is true and what was said.
    pub fn new(
        names: impl IntoIterator<Item = impl ToString>,
        pairs: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
        let mut counts = vec![vec![0; names.len()]; names.len()];
        for (is, said) in pairs {
            counts[is][said] += 1;
        }
        Confusion { names, counts }
    }

    /// Returns how many examples were judged.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Returns how many of them rightly.
    pub fn right(&self) -> usize {
        (0..self.counts.len()).map(|class| self.counts[class][class]).sum()
    }

    /// Returns the share that was right.
    pub fn accuracy(&self) -> f64 {
        self.right() as f64 / self.total() as f64
    }
}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and counts of four characters have room in any case.
        let longest = self.names.iter().map(|name| name.chars().count()).fold(4, usize::max);
        let (width, first) = (longest + 1, 9.max(longest));
        write!(f, "{:>first$}", "is \\ said")?;
        self.names.iter().try_for_each(|name| write!(f, "{name:>width$}"))?;
        for (name, row) in self.names.iter().zip(&self.counts) {
            write!(f, "\n{name:>first$}")?;
            for count in row {
                if *count == 0 { write!(f, "{:>width$}", "·")? } else { write!(f, "{count:>width$}")? }
            }
        }
        Ok(())
    }
}

/// Returns the probabilities that a network's outputs, of one row, stand for.
pub fn softmax(outputs: &[f32]) -> Vec<f64> {
    let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = outputs.iter().map(|x| f64::from(x - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}
