//! The picture of a run: losses, confusion, and spectrograms of words with what was heard.
//!
//! The contract: mistakes come first, as they say most; what is right is blue, what is wrong red.

use plotters::prelude::*;

use crate::{
    classes::Confusion,
    curves,
    fit::Course,
    frames::BANDS,
    matrix,
    picture::{Area, Drawn, FONT, HELD, INK},
    sound::Recording,
};

const RIGHT: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);
/// Words in a row, and rows.
const SHOWN: (usize, usize) = (9, 2);
/// Bands drawn as one, and shades.
const MERGED: usize = 2;
const SHADES: f32 = 8.0;

/// A word, its scaled frames, and what was heard.
pub type Heard<'a> = (&'a Recording, &'a [f32], usize);

pub fn draw(area: &Area, course: &Course, confusion: &Confusion, test: Vec<Heard>) -> Drawn {
    let height = area.dim_in_pixel().1 as i32;
    let (above, below) = area.split_vertically(height - 230);
    let (left, right) = above.split_horizontally(640);
    curves::curves(&left, course)?;
    matrix::matrix(&right, confusion)?;
    let (mut shown, others): (Vec<_>, Vec<_>) = test.into_iter().partition(|(word, _, said)| word.digit != *said);
    let wanted = SHOWN.0 * SHOWN.1;
    shown.truncate(wanted / 2);
    let every = (others.len() / wanted).max(1);
    shown.extend(others.into_iter().step_by(every).take(wanted - shown.len()));
    for (cell, (word, frames, said)) in below.split_evenly((SHOWN.1, SHOWN.0)).iter().zip(shown) {
        let is_right = word.digit == said;
        let text = if is_right { word.name.clone() } else { format!("{said}? {}", word.name) };
        cell.draw_text(&text, &(FONT, 13).into_font().color(if is_right { &RIGHT } else { &HELD }), (6, 2))?;
        spectrogram(cell, frames)?;
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
