//! The comparator of all other tests, held against planted faults. It has to fail on every one of them, and to pass
//! what is within its tolerance.

use crate::common::compare::{EXACT, Tolerance, assert_close, check_close};

const WANT: [f64; 4] = [1.0, -200.0, 0.5, 0.0];
/// One part in a thousand of each element; of the largest, 200, a hundredth is the least scale: 2.
const TOLERANCE: Tolerance = Tolerance { relative: 1e-3, floor: 0.01, least: 0.0 };

/// What the comparator says to `WANT` with one element replaced.
fn with(index: usize, value: f64) -> Result<(), String> {
    let mut got = WANT;
    got[index] = value;
    check_close("planted", &got, &WANT, TOLERANCE)
}

#[test]
fn equal_slices_are_close() {
    assert_close("equal", &WANT, &WANT, EXACT);
    assert_close("zeros", &[0.0, -0.0], &[0.0, 0.0], EXACT);
}

#[test]
fn an_error_within_the_tolerance_passes_and_one_beyond_it_fails() {
    assert!(with(1, -200.199).is_ok());
    assert!(with(1, -200.201).is_err());
    assert!(with(1, 200.0).is_err());
    // Small elements are measured against 2, a hundredth of the largest.
    assert!(with(3, 0.0019).is_ok());
    assert!(with(3, 0.0021).is_err());
    assert!(with(2, 0.5019).is_ok());
    assert!(with(2, 0.4979).is_err());
}

#[test]
fn a_least_scale_holds_where_all_elements_are_small() {
    let of_ones = Tolerance { least: 1.0, ..TOLERANCE };
    assert!(check_close("small", &[0.0009], &[0.0], of_ones).is_ok());
    assert!(check_close("small", &[0.0011], &[0.0], of_ones).is_err());
    assert!(check_close("large", &[1000.9], &[1000.0], of_ones).is_ok());
    assert!(check_close("large", &[1001.1], &[1000.0], of_ones).is_err());
}

#[test]
fn the_message_names_the_worst_element() {
    let got = [1.1, -200.0, 77.25, 0.5];
    let message = check_close("dU", &got, &WANT, TOLERANCE).unwrap_err();
    for part in ["dU", "3 of 4", "worst, 2", "7.725e1", "5e-1"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn nan_fails_on_either_side() {
    for index in 0..WANT.len() {
        assert!(with(index, f64::NAN).is_err());
        let mut want = WANT;
        want[index] = f64::NAN;
        assert!(check_close("want", &WANT, &want, TOLERANCE).is_err());
        assert!(check_close("both", &want, &want, TOLERANCE).is_err());
    }
}

#[test]
fn infinities_fail_even_where_they_are_equal() {
    for infinite in [f64::INFINITY, f64::NEG_INFINITY] {
        assert!(with(1, infinite).is_err());
        assert!(check_close("want", &[1.0], &[infinite], TOLERANCE).is_err());
        assert!(check_close("both", &[infinite], &[infinite], TOLERANCE).is_err());
    }
}

#[test]
fn lengths_that_differ_fail() {
    assert!(check_close("short", &WANT[..3], &WANT, TOLERANCE).is_err());
    assert!(check_close("long", &WANT, &WANT[..3], TOLERANCE).is_err());
    assert!(check_close("none", &[], &WANT, TOLERANCE).is_err());
}

#[test]
fn nothing_to_compare_fails() {
    assert!(check_close("empty", &[], &[], TOLERANCE).is_err());
}

#[test]
fn zeros_are_close_to_zeros_only() {
    assert!(check_close("zeros", &[0.0, 1e-300], &[0.0, 0.0], TOLERANCE).is_err());
    assert!(check_close("almost", &[1.0, 0.0], &[1.0, 1e-300], EXACT).is_err());
}

#[test]
fn an_exact_comparison_sees_the_last_bit() {
    assert!(check_close("one bit", &[1.0 + f64::EPSILON], &[1.0], EXACT).is_err());
}

#[test]
#[should_panic(expected = "planted: 1 of 1 elements")]
fn assert_close_panics_with_the_message() {
    assert_close("planted", &[1.0], &[2.0], TOLERANCE);
}
