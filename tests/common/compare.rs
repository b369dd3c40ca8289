//! The comparator that all numerical tests go through, and every tolerance that they use.
//!
//! It fails on what is not finite on either side, on lengths that differ and on nothing to compare; `tests/comparator.rs`
//! plants each of these faults.

/// How far apart two numbers may be.
///
/// Element i is right where |got − want| ≤ `relative` · max(|want|, scale), and scale is `floor` times the largest
/// |want| of the whole slice. So with a floor of 1 the error is measured against the largest element, which is what
/// rounding in a sum of terms of that size leaves behind; with a floor of 0 every element has to be right in itself,
/// and a zero has to be zero. A slice of zeros is equal to nothing but zeros.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// The error allowed, relative to the scale.
    pub relative: f64,
    /// Elements smaller than this part of the largest are measured against this part of the largest.
    pub floor: f64,
}

/// The same numbers: copies, zeros, and what a skipped update leaves.
pub const EXACT: Tolerance = Tolerance { relative: 0.0, floor: 0.0 };

/// f64 against PyTorch's f64: the order of sums differs, nothing else, and no sum here has more than 50 terms. A wrong
/// factor of any kind is off by far more than this.
pub const F64: Tolerance = Tolerance { relative: 1e-11, floor: 1e-3 };

/// f64 gradients against central differences of four points 1e-4 apart: rounding of the loss, about 1, leaves 1e-16 / 1e-4,
/// the fifth derivative less; gradients that vanish on their way back are as small as 4e-6.
pub const DIFFERENCES: Tolerance = Tolerance { relative: 1e-6, floor: 0.5 };

/// A network in f32, a dozen steps long, against f64: some hundred roundings of 6e-8, which a recurrence may amplify ten
/// times over, measured against the largest element of a tensor, as small ones are differences of large terms.
pub const F32_NETWORK: Tolerance = Tolerance { relative: 1e-5, floor: 1.0 };

/// Parameters in f32 after three updates: rounding in storage, a unit or two of 6e-8 an update. Tighter than a weight decay
/// of 2e-5 an update, so that leaving it out shows.
pub const F32_PARAMETERS: Tolerance = Tolerance { relative: 1e-6, floor: 1.0 };

/// Panics where `got` and `want` differ; see [`check_close`].
#[track_caller]
pub fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: Tolerance) {
    if let Err(message) = check_close(what, got, want, tolerance) {
        panic!("{message}");
    }
}

/// Whether all of `got` is within `tolerance` of `want`; if not, a line that names the worst element.
pub fn check_close(what: &str, got: &[f64], want: &[f64], tolerance: Tolerance) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} elements, expected {}", got.len(), want.len()));
    }
    if want.is_empty() {
        return Err(format!("{what}: nothing to compare"));
    }
    for (side, values) in [("got", got), ("want", want)] {
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(format!("{what}: {side}[{at}] is {} (got {}, want {})", values[at], got[at], want[at]));
        }
    }
    let scale = tolerance.floor * want.iter().fold(0.0f64, |max, v| max.max(v.abs()));
    // Two equal numbers are close even where the scale is 0.
    let error = |i: usize| {
        let difference = (got[i] - want[i]).abs();
        if difference == 0.0 { 0.0 } else { difference / want[i].abs().max(scale) }
    };
    let within = |&i: &usize| error(i) <= tolerance.relative;
    let wrong = (0..want.len()).filter(|i| !within(i)).count();
    if wrong == 0 {
        return Ok(());
    }
    let worst = (0..want.len()).max_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0);
    Err(format!(
        "{what}: {wrong} of {} elements are off; the worst, {worst}: got {:e}, want {:e}, error {:.2e}, allowed {:e} \
         relative to max(|want|, {scale:.2e})",
        want.len(),
        got[worst],
        want[worst],
        error(worst),
        tolerance.relative,
    ))
}
