//! The picture of a run, with spectrograms of words, or of strings of them, and what was heard.
//!
//! The contract: time goes to the right and pitch upwards; what was heard wrongly says which recording it is.

use plotters::prelude::*;
use recurrent::metrics::ConfusionMatrix;
use recurrent_examples::{
    confusion_plot::RIGHT,
    curves,
    fit::History,
    gallery::{Judged, gallery},
    svg::{Area, Drawn, FONT, HELD, INK},
};

use crate::{frames::BANDS, strings::Heard};

/// Words in a row, and rows.
const SHOWN: (usize, usize) = (9, 2);
/// Bands drawn as one, and shades.
const MERGED: usize = 2;
const SHADES: f32 = 8.0;

/// The name and the scaled frames of a word.
pub type Word<'a> = (&'a str, &'a [f32]);

pub fn draw(area: &Area, history: &History, confusion: &ConfusionMatrix, judged: Vec<Judged<Word>>) -> Drawn {
    gallery(area, (history, confusion), judged, SHOWN, |cell, ((name, frames), is, said), colour| {
        let text = if is == said { (*name).to_owned() } else { format!("{said}? {name}") };
        cell.draw_text(&text, &(FONT, 13).into_font().color(colour), (6, 2))?;
        spectrogram(cell, frames)
    })
}

/// Strings that are drawn, and the pixels that the losses have above them.
const STRINGS: usize = 5;
const LOSSES: i32 = 220;
/// The pixels beside and above a spectrogram, and below it for letters.
const SIDE: f32 = 6.0;
const LETTERS: i32 = 22;

/// Strings with their letters where they were said, those that were heard wrongly first.
pub fn draw_strings(area: &Area, history: &History, heard: &[Heard]) -> Drawn {
    let (above, below) = area.split_vertically(LOSSES);
    curves::curves(&above, history)?;
    let (wrong, right): (Vec<_>, Vec<_>) = heard.iter().partition(|one| !one.is_right());
    let most = STRINGS / 2;
    let shown = wrong.into_iter().take(most).chain(right);
    for (cell, one) in below.split_evenly((STRINGS, 1)).iter().zip(shown) {
        let (colour, text) = match one.is_right() {
            true => (&RIGHT, one.truth.clone()),
            false => (&HELD, format!("{}: heard as {}", one.truth, one.beam)),
        };
        cell.draw_text(&text, &(FONT, 15).into_font().color(colour), (SIDE as i32, 2))?;
        let (width, height) = cell.dim_in_pixel();
        let (spectra, names) = cell.split_vertically(height as i32 - LETTERS);
        spectrogram(&spectra, &one.frames)?;
        let wide = (width as f32 - 2.0 * SIDE) * BANDS as f32 / one.frames.len() as f32;
        for (letter, span) in one.truth.chars().zip(&one.spans) {
            let [from, to] = [span.start, span.end].map(|frame| (SIDE + frame as f32 * wide) as i32);
            names.draw(&Rectangle::new([(from, 0), (to.max(from + 2) - 2, 3)], colour.filled()))?;
            names.draw_text(&letter.to_string(), &(FONT, 14).into_font().color(&INK), (from, 4))?;
        }
    }
    Ok(())
}

/// Time to the right, pitch upwards, the darker the louder; runs of one shade are one rectangle.
fn spectrogram(area: &Area, frames: &[f32]) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let (bands, steps) = (BANDS / MERGED, frames.len() / BANDS);
    let wide = (width as f32 - 12.0) / steps as f32;
    let high = ((height as usize - 30) / bands).max(1) as i32;
    for band in 0..bands {
        let shade = |step: usize| {
            let first = step * BANDS + band * MERGED;
            let mean = frames[first..first + MERGED].iter().sum::<f32>() / MERGED as f32;
            // From one and a half deviations below the mean to one and a half above.
            (((mean + 1.5) / 3.0).clamp(0.0, 1.0) * SHADES) as usize
        };
        let shades: Vec<usize> = (0..steps).map(shade).collect();
        let bottom = 22 + high * (bands - band) as i32;
        let mut step = 0;
        for run in shades.chunk_by(|a, b| a == b) {
            let [from, to] = [step, step + run.len()].map(|step| 6 + (step as f32 * wide) as i32);
            step += run.len();
            let strength = run[0] as f64 / f64::from(SHADES);
            if strength > 0.0 {
                area.draw(&Rectangle::new([(from, bottom - high), (to, bottom)], INK.mix(strength).filled()))?;
            }
        }
    }
    Ok(())
}
