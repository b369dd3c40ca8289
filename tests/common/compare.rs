//! The comparator that all numerical tests go through, and every tolerance that they use.
//!
//! It fails on what is not finite on either side, on lengths that differ and on nothing to compare;
//! `tests/gradients/comparator.rs` plants each of these faults.

/// How far apart two numbers may be.
///
/// Element i is right where |got − want| ≤ `relative` · max(|want|, scale), and scale is `floor` times the largest
/// |want| of the whole slice, or `least` where that is larger. So with a floor of 1 the error is measured against the
/// largest element, which is what rounding in a sum of terms of that size leaves behind; with a floor of 0 every
/// element has to be right in itself, and a zero has to be zero. With a least scale of 0 a slice of zeros is equal to
/// nothing but zeros.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// The error allowed, relative to the scale.
    pub relative: f64,
    /// Elements smaller than this part of the largest are measured against this part of the largest.
    pub floor: f64,
    /// The size of the terms that the elements are sums or differences of, where that is known.
    pub least: f64,
}

/// The same numbers: copies, zeros, and what a skipped update leaves.
pub const EXACT: Tolerance = Tolerance { relative: 0.0, floor: 0.0, least: 0.0 };

/// f64 against PyTorch's f64: the order of sums differs, nothing else, and no sum here has more than 50 terms. A wrong
/// factor of any kind is off by far more than this.
pub const F64: Tolerance = Tolerance { relative: 1e-11, floor: 1e-3, least: 0.0 };

/// f64 against the plain oracle in f64: the order of sums differs, nothing else. Some results are differences of terms
/// of about 1 that cancel, as the loss of a single class is. Of 60,000 random networks all are within this, and not all
/// within a tenth of it.
pub const ORACLE: Tolerance = Tolerance { relative: 1e-11, floor: 1e-3, least: 1e-3 };

/// Metrics in f64 against scikit-learn's: means of at most 60 terms, in another order; a mean error is a difference of
/// terms of about 1.
pub const METRICS: Tolerance = Tolerance { relative: 1e-12, floor: 0.0, least: 0.1 };

/// f64 gradients against central differences of four points 1e-4 apart: rounding of the loss, about 1, leaves 1e-16 /
/// 1e-4, the fifth derivative less; gradients that vanish on their way back are as small as 4e-6.
pub const DIFFERENCES: Tolerance = Tolerance { relative: 1e-6, floor: 0.5, least: 0.0 };

/// A network in f32, a dozen steps long, against f64: some hundred roundings of 6e-8, which a recurrence may amplify
/// ten times over, measured against the largest element of a tensor, as small ones are differences of large terms.
pub const F32_NETWORK: Tolerance = Tolerance { relative: 1e-5, floor: 1.0, least: 0.0 };

/// Parameters in f32 after three updates: rounding in storage, a unit or two of 6e-8 an update. Tighter than a weight
/// decay of 2e-5 an update, so that leaving it out shows.
pub const F32_PARAMETERS: Tolerance = Tolerance { relative: 1e-6, floor: 1.0, least: 0.0 };

/// One rounding to f32, 2⁻²⁴, and one more for the reader's.
pub const F32_ROUNDING: Tolerance = Tolerance { relative: 1.2e-7, floor: 0.0, least: 0.0 };

/// A few roundings, divisions, roots and exponentials in f32: WebGPU lets a division and a root be off by 2.5 units of
/// 6e-8, and an exponential by 3 + 2·|x|; then a difference that may be small, hence the floor.
pub const F32_POINTWISE: Tolerance = Tolerance { relative: 3e-6, floor: 1.0, least: 0.0 };

/// A sum of up to a thousand terms in ±1 in f32, whose roundings partly cancel.
pub const F32_SUM: Tolerance = Tolerance { relative: 3e-6, floor: 1.0, least: 1.0 };

/// A recurrence over a few steps in f32, whose tanh drivers may get wrong by 1e-5 where it is not near zero.
pub const F32_RECURRENCE: Tolerance = Tolerance { relative: 1e-5, floor: 1.0, least: 0.0 };

/// Three steps of one gradient summed over its rows at once and in parts, in f32: each sum of some dozens of terms is
/// rounded at other places, by 6e-8 of its largest terms, which may be several times the sum; measured below 6e-7.
pub const ACCUMULATED: Tolerance = Tolerance { relative: 3e-6, floor: 1.0, least: 0.0 };

/// A step of an optimiser, seen as the difference of weights in f32: these are below 1, so their rounding is below
/// 6e-8, against steps of 1e-3 and more.
pub const F32_STEP: Tolerance = Tolerance { relative: 2e-4, floor: 1.0, least: 0.0 };

/// One rounding to f16: half of its last digit, 2⁻¹² of a number, or a whole one of a driver that cuts; below 6·10⁻⁵
/// digits are fewer.
pub const F16_ROUNDING: Tolerance = Tolerance { relative: 4.9e-4, floor: 1e-3, least: 0.0 };

/// A recurrence over a few steps whose gates, h and gradients are rounded to f16, 5e-4 at each, which the steps after
/// it may add up; measured below 1.2e-3.
pub const F16_RECURRENCE: Tolerance = Tolerance { relative: 3e-3, floor: 1.0, least: 0.0 };

/// A network of which everything large is rounded to f16, a dozen steps long, against f64: parameters, inputs of every
/// product and gradients are off by 5e-4 of theirs, which a recurrence may amplify ten times over; measured below 3e-3.
pub const F16_NETWORK: Tolerance = Tolerance { relative: 5e-3, floor: 1.0, least: 0.0 };

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
    let largest = want.iter().fold(0.0f64, |max, v| max.max(v.abs()));
    let scale = tolerance.least.max(tolerance.floor * largest);
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
