//! eˣ, ln, tanh and σ of a slice in the widest vectors that the machine has.
//!
//! The contract: tanh is within 1.34 units in the last place of the exact value for every number there is; above −87,
//! eˣ is within 1.1 and σ, which divides by it, within 2.5; from 1 to 4, ln is within 1.1. Below −87 the absolute error
//! of eˣ and σ is under 1.2·10⁻³⁸, and below −88.4 both are exactly 0, so that a closed gate passes no gradient,
//! however large. A NaN stays a NaN, so that divergence shows.

use pulp::{Arch, Simd, WithSimd};

/// Every element replaced by its tanh.
pub(super) fn tanh(values: &mut [f32]) {
    Arch::new().dispatch(Each(values, Tanh));
}

/// Every element replaced by 1 / (1 + e⁻ˣ).
pub(super) fn sigmoid(values: &mut [f32]) {
    Arch::new().dispatch(Each(values, Sigmoid));
}

/// Replaces every element, none of which may be positive, by eˣ, and by 0 below −87.7.
pub(super) fn exp_of_negative(values: &mut [f32]) {
    Arch::new().dispatch(Each(values, Exp));
}

/// Replaces every element, each from 1 to 4, by its natural logarithm.
pub(super) fn ln_of_few(values: &mut [f32]) {
    Arch::new().dispatch(Each(values, Ln));
}

// Functions and no closures here: a closure does not inherit the vector instructions of the function around it.

trait Function {
    fn of<S: Simd>(simd: S, x: S::f32s) -> S::f32s;
}

struct Each<'a, F>(&'a mut [f32], F);

impl<F: Function> WithSimd for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (whole, rest) = S::as_mut_simd_f32s(self.0);
        for x in whole {
            *x = F::of(simd, *x);
        }
        if !rest.is_empty() {
            let x = simd.partial_load_f32s(rest);
            simd.partial_store_f32s(rest, F::of(simd, x));
        }
    }
}

/// A polynomial by Horner's rule, the highest power's coefficient first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, coefficients: [f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[0]);
    for c in &coefficients[1..] {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(*c));
    }
    sum
}

/// The bound where x is beyond it; a NaN, which is beyond nothing, stays.
#[inline(always)]
fn at_most<S: Simd>(simd: S, x: S::f32s, bound: f32) -> S::f32s {
    let bound = simd.splat_f32s(bound);
    simd.select_f32s(simd.less_than_f32s(bound, x), bound, x)
}

/// eˣ for −88 ≤ x ≤ 89, as 2ⁿ·eʳ with n = round(x / ln 2) (Cody & Waite 1980); eʳ by the minimax polynomial of Cephes'
/// `expf`.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Added to a number below 2²², this leaves its nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with so few bits that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let round = simd.splat_f32s(ROUND);
    let rounded = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), round);
    let n = simd.sub_f32s(rounded, round);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let series =
        polynomial(simd, r, [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
    let e = simd.add_f32s(simd.mul_add_e_f32s(series, simd.mul_f32s(r, r), r), simd.splat_f32s(1.0));
    // 2ⁿ: n plus the exponent's bias, where the exponent is. Of −127 that is 0, and of 128 infinity.
    let biased = simd.add_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(127));
    let power = simd.wrapping_dyn_shl_u32s(biased, simd.splat_u32s(23));
    simd.mul_f32s(e, simd.transmute_f32s_u32s(power))
}

struct Exp;

impl Function for Exp {
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        exp(simd, simd.neg_f32s(at_most(simd, simd.neg_f32s(x), 88.0)))
    }
}

struct Ln;

/// n·ln 2 plus ln of what is left from √½ to √2, which is the minimax polynomial of Cephes' `logf`.
impl Function for Ln {
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        const SQRT_2: f32 = std::f32::consts::SQRT_2;
        // Of n times ln 2 the last digits are added first.
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        let splat = |v: f32| simd.splat_f32s(v);
        let (is_two, is_four) = (simd.less_than_f32s(splat(SQRT_2), x), simd.less_than_f32s(splat(2.0 * SQRT_2), x));
        let n = simd.select_f32s(is_four, splat(2.0), simd.select_f32s(is_two, splat(1.0), splat(0.0)));
        let scale = simd.select_f32s(is_four, splat(0.25), simd.select_f32s(is_two, splat(0.5), splat(1.0)));
        let r = simd.sub_f32s(simd.mul_f32s(x, scale), splat(1.0));
        let coefficients = [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ];
        let square = simd.mul_f32s(r, r);
        let series = simd.mul_f32s(polynomial(simd, r, coefficients), simd.mul_f32s(square, r));
        let series = simd.mul_add_e_f32s(n, splat(LN_2_LOW), series);
        let series = simd.mul_add_e_f32s(square, splat(-0.5), series);
        simd.mul_add_e_f32s(n, splat(LN_2_HIGH), simd.add_f32s(r, series))
    }
}

struct Sigmoid;

/// 1 / (1 + e⁻ˣ).
impl Function for Sigmoid {
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        // Beyond these it is 1 or 0.
        let bounded = at_most(simd, simd.neg_f32s(at_most(simd, x, 87.0)), 89.0);
        let one = simd.splat_f32s(1.0);
        simd.div_f32s(one, simd.add_f32s(one, exp(simd, bounded)))
    }
}

struct Tanh;

/// 1 − 2 / (e²ˣ + 1) where that keeps its digits, else the odd polynomial of Cephes' `tanhf`.
impl Function for Tanh {
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let (one, sign) = (simd.splat_f32s(1.0), simd.splat_u32s(0x8000_0000));
        let bits = simd.transmute_u32s_f32s(x);
        let magnitude = simd.transmute_f32s_u32s(simd.and_u32s(bits, simd.not_u32s(sign)));
        // From here on it is 1.
        let bounded = at_most(simd, magnitude, 10.0);
        let e = simd.add_f32s(exp(simd, simd.add_f32s(bounded, bounded)), one);
        let far = simd.sub_f32s(one, simd.div_f32s(simd.splat_f32s(2.0), e));
        let far = simd.or_u32s(simd.transmute_u32s_f32s(far), simd.and_u32s(bits, sign));
        let square = simd.mul_f32s(x, x);
        let coefficients = [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1];
        let series = polynomial(simd, square, coefficients);
        let near = simd.mul_add_e_f32s(series, simd.mul_f32s(square, x), x);
        let is_near = simd.less_than_f32s(magnitude, simd.splat_f32s(0.625));
        simd.select_f32s(is_near, near, simd.transmute_f32s_u32s(far))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance of `fast` from `exact` in units of the last place that an f32 of that size has.
    fn ulps(fast: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        let unit = f64::from(f32::from_bits(nearest.abs().to_bits() + 1)) - f64::from(nearest.abs());
        (f64::from(fast) - exact).abs() / unit
    }

    /// The largest error over every `step`th positive and negative f32 up to `bound`.
    fn largest_error(bound: f32, step: usize, of: fn(&mut [f32]), exact: fn(f64) -> f64) -> f64 {
        let (mut largest, mut at) = (0.0, 0.0);
        let all: Vec<u32> = (f32::MIN_POSITIVE.to_bits()..bound.to_bits()).step_by(step).collect();
        for bits in all.chunks(1000) {
            for sign in [0, 0x8000_0000] {
                let x: Vec<f32> = bits.iter().map(|bits| f32::from_bits(bits | sign)).collect();
                let mut fast = x.clone();
                of(&mut fast);
                for (x, fast) in x.into_iter().zip(fast) {
                    let error = ulps(fast, exact(f64::from(x)));
                    assert!(error.is_finite(), "{x}: {fast}");
                    if error > largest {
                        (largest, at) = (error, x);
                    }
                }
            }
        }
        println!("{largest} units in the last place at {at}");
        largest
    }

    /// A prime, so that all low bits are met; 1 instead looks at every number there is.
    const STEP: usize = 1009;

    #[test]
    fn errors_are_within_what_is_stated() {
        assert!(largest_error(87.0, STEP, exp_of_negative, f64::exp) <= 1.1);
        assert!(largest_error(100.0, STEP, tanh, f64::tanh) <= 1.34);
        assert!(largest_error(87.0, STEP, sigmoid, |x| 1.0 / (1.0 + (-x).exp())) <= 2.5);
    }

    #[test]
    fn ln_is_within_what_is_stated() {
        let mut largest = 0.0f64;
        let all: Vec<u32> = (1f32.to_bits()..=4f32.to_bits()).step_by(STEP).collect();
        for bits in all.chunks(1000) {
            let x: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let mut fast = x.clone();
            ln_of_few(&mut fast);
            for (x, fast) in x.into_iter().zip(fast) {
                largest = largest.max(ulps(fast, f64::from(x).ln()));
            }
        }
        println!("{largest} units in the last place");
        assert!(largest <= 1.1);
        let mut ends = [1.0, 4.0, f32::NAN];
        ln_of_few(&mut ends);
        assert!(ends[0] == 0.0 && ends[1] == 4f32.ln() && ends[2].is_nan(), "{ends:?}");
    }

    #[test]
    fn the_ends_hold() {
        let mut x = [100.0, 1e30, f32::INFINITY, -100.0, -1e30, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0];
        let mut s = x;
        tanh(&mut x);
        assert_eq!(&x[..6], &[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]);
        assert!(x[6].is_nan() && x[7] == 0.0 && x[8] == 0.0);
        sigmoid(&mut s);
        assert_eq!(&s[..3], &[1.0, 1.0, 1.0]);
        assert_eq!(&s[3..6], &[0.0, 0.0, 0.0]);
        assert!(s[6].is_nan() && s[7] == 0.5);
        let mut e = [-88.0, -100.0, -1e30, f32::NEG_INFINITY, f32::NAN];
        exp_of_negative(&mut e);
        assert!(e[..4] == [0.0; 4] && e[4].is_nan(), "{e:?}");
    }

    #[test]
    fn exp_and_sigmoid_underflow_gradually() {
        let x: Vec<f32> = (0..4000).map(|i| -86.0 - i as f32 * 1e-3).collect();
        for (of, exact) in [
            (sigmoid as fn(&mut [f32]), (|x: f64| 1.0 / (1.0 + (-x).exp())) as fn(f64) -> f64),
            (exp_of_negative, f64::exp),
        ] {
            let mut fast = x.clone();
            of(&mut fast);
            for (x, fast) in x.iter().zip(fast) {
                let (exact, fast) = (exact(f64::from(*x)), f64::from(fast));
                let allowed = if *x > -87.0 { 2.5 * f64::from(f32::EPSILON) * exact } else { 1.2e-38 };
                assert!((fast - exact).abs() <= allowed, "{x}: {fast:e}, not {exact:e}");
            }
        }
    }

    /// σ·(1 − σ) and 1 − tanh² as the cells compute them; exactly 0 once saturated.
    #[test]
    fn derivatives_are_those_of_the_functions() {
        let x: Vec<f32> = (-2000..=2000).map(|i| i as f32 * 0.05).chain([1e30, -1e30, 1e38, -1e38]).collect();
        let (mut s, mut t) = (x.clone(), x.clone());
        sigmoid(&mut s);
        tanh(&mut t);
        for ((x, s), t) in x.into_iter().zip(s).zip(t) {
            let (e, e2) = ((-f64::from(x.abs())).exp(), (-2.0 * f64::from(x.abs())).exp());
            let of_sigmoid = (f64::from(s * (1.0 - s)), e / (1.0 + e).powi(2));
            let of_tanh = (f64::from(1.0 - t * t), 4.0 * e2 / (1.0 + e2).powi(2));
            for (got, exact) in [of_sigmoid, of_tanh] {
                // Near 1 the function is rounded once, and 1 minus it inherits that error.
                assert!((got - exact).abs() <= 4.0 * f64::from(f32::EPSILON), "{x}: {got:e}, not {exact:e}");
                assert!(x.abs() < 89.0 || got == 0.0, "{x}: {got:e}, not 0");
            }
            // Where σ is small, its derivative has full precision.
            let (got, exact) = of_sigmoid;
            assert!(!(-87.0..0.0).contains(&x) || (got / exact - 1.0).abs() <= 1e-6, "{x}: {got:e}, not {exact:e}");
        }
    }

    #[test]
    fn an_element_is_the_same_whatever_stands_beside_it() {
        let x: Vec<f32> = (-40..40).map(|i| i as f32 * 2.3).collect();
        for of in [tanh, sigmoid, |x: &mut [f32]| exp_of_negative(&mut x[..35])] {
            let mut all = x.clone();
            of(&mut all);
            for len in 35..x.len() {
                let mut some = x[..len].to_vec();
                of(&mut some);
                assert_eq!(
                    some.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                    all[..len].iter().map(|v| v.to_bits()).collect::<Vec<_>>()
                );
            }
        }
    }
}
