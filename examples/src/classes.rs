//! Classification: what a network says of examples, and the confusion matrix of it.
//!
//! The contract: every example counts once; the last that is said is the test's result.

use anyhow::Result;
use recurrent::{Device, Inputs, Model, Predictor, Sequences, metrics::ConfusionMatrix};
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
pub fn tell(
    confusion: &ConfusionMatrix,
    what: &str,
    history: &History,
    options: &Options,
    report: &Report,
) -> Result<()> {
    let (accuracy, total, seconds) = (confusion.accuracy().unwrap_or(f64::NAN), confusion.count(), history.seconds);
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

/// Counts pairs of what is true and what was said, by the places of the classes among the names.
pub fn confusion(
    names: impl IntoIterator<Item = impl ToString>,
    pairs: impl IntoIterator<Item = (usize, usize)>,
) -> Result<ConfusionMatrix> {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let mut confusion = ConfusionMatrix::new(names.len())?.with_names(names)?;
    let (is, said): (Vec<u32>, Vec<u32>) = pairs.into_iter().map(|(is, said)| (is as u32, said as u32)).unzip();
    confusion.add(&is, &said, None)?;
    Ok(confusion)
}

/// Returns the probabilities that a network's outputs, of one row, stand for.
pub fn softmax(outputs: &[f32]) -> Vec<f64> {
    let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = outputs.iter().map(|x| f64::from(x - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}
