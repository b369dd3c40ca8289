//! Weights in eight bits: the scale of a row and the nearest multiples of it.
//!
//! The contract: a row is taken for multiples of its largest magnitude over 127, from −127 to 127, so that no number of
//! it moves by more than half of that; a row of zeros stays.

/// The scale of a row: its largest magnitude over 127.
pub(crate) fn scale(row: &[f32]) -> f32 {
    row.iter().fold(0.0f32, |largest, w| largest.max(w.abs())) / 127.0
}

/// The multiple of the scale that is nearest to a number of its row.
pub(crate) fn nearest(w: f32, scale: f32) -> i8 {
    if scale == 0.0 { 0 } else { (w / scale).round_ties_even() as i8 }
}

/// A row in the place of its numbers as eight bits say them.
pub(crate) fn round(row: &mut [f32]) {
    let scale = scale(row);
    row.iter_mut().for_each(|w| *w = f32::from(nearest(*w, scale)) * scale);
}
