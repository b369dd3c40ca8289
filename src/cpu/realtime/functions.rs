//! tanh and σ for a step that waits for every one of them: short chains of instructions in place of the last digit.
//!
//! The contract: tanh is within 6 units in the last place of the exact value, which is 3.6·10⁻⁷ at most, and exactly
//! ±1 beyond 9; σ is within 1.9·10⁻⁷, exactly 0 below −18 and 1 above 18, and never beyond these, so that a gate that
//! is open keeps a state for ever. A NaN stays a NaN.

use pulp::Simd;

/// From here on tanh is 1, and so is what the quotient below comes to in f32, with fused additions and without.
const END: f32 = 8.999_999;

/// x·P(x²) / Q(x²), the quotient of polynomials of degree 4 whose relative error up to 9.02 is least: 2.1·10⁻⁸, by
/// Lawson's algorithm.
const P: [f32; 5] = [1.331_905e-8, 2.058_346_4e-5, 3.494_033_4e-3, 1.337_971_7e-1, 1.0];
const Q: [f32; 5] = [7.762_01e-7, 3.283_091e-4, 2.587_106_9e-2, 4.671_303_3e-1, 1.0];

/// tanh x.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = between(simd, -END, x, END);
    let square = simd.mul_f32s(x, x);
    let [mut p, mut q] = [P[0], Q[0]].map(|first| simd.splat_f32s(first));
    for n in 1..P.len() {
        p = simd.mul_add_e_f32s(p, square, simd.splat_f32s(P[n]));
        q = simd.mul_add_e_f32s(q, square, simd.splat_f32s(Q[n]));
    }
    simd.div_f32s(simd.mul_f32s(x, p), q)
}

/// 1 / (1 + e⁻ˣ), by way of tanh x/2.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let half = simd.splat_f32s(0.5);
    let y = simd.mul_add_e_f32s(tanh(simd, simd.mul_f32s(x, half)), half, half);
    between(simd, 0.0, y, 1.0)
}

/// x, or the bound that it is beyond; a NaN, which is beyond nothing, stays.
#[inline(always)]
pub(super) fn between<S: Simd>(simd: S, low: f32, x: S::f32s, high: f32) -> S::f32s {
    let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
    if S::IS_SCALAR {
        // Rust's min and max of one number take the bound in a NaN's place; those of vectors take the second number.
        let x = simd.select_f32s(simd.less_than_f32s(high, x), high, x);
        return simd.select_f32s(simd.less_than_f32s(x, low), low, x);
    }
    simd.max_f32s(low, simd.min_f32s(high, x))
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, WithSimd};

    use super::*;

    /// Both of every element, with the widest vectors and without any.
    struct Each<'a>(&'a [f32], [&'a mut [f32]; 2]);

    impl WithSimd for Each<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let [tanhs, sigmoids] = self.1;
            for ((x, t), s) in
                self.0.chunks(S::F32_LANES).zip(tanhs.chunks_mut(S::F32_LANES)).zip(sigmoids.chunks_mut(S::F32_LANES))
            {
                let x = simd.partial_load_f32s(x);
                simd.partial_store_f32s(t, tanh(simd, x));
                simd.partial_store_f32s(s, sigmoid(simd, x));
            }
        }
    }

    fn both(x: &[f32]) -> [[Vec<f32>; 2]; 2] {
        [Arch::new(), Arch::Scalar].map(|arch| {
            let [mut t, mut s] = [vec![0.0; x.len()], vec![0.0; x.len()]];
            arch.dispatch(Each(x, [&mut t, &mut s]));
            [t, s]
        })
    }

    #[test]
    fn errors_are_within_what_is_stated() {
        let bits = (f32::MIN_POSITIVE.to_bits()..40f32.to_bits()).step_by(1009);
        let x: Vec<f32> = bits.flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)]).collect();
        for [tanhs, sigmoids] in both(&x) {
            let (mut in_units, mut of_sigmoid) = (0.0f64, 0.0f64);
            for ((x, t), s) in x.iter().zip(tanhs).zip(sigmoids) {
                let exact = f64::from(*x).tanh();
                let unit =
                    f64::from(f32::from_bits((exact as f32).abs().to_bits() + 1)) - f64::from((exact as f32).abs());
                in_units = in_units.max((f64::from(t) - exact).abs() / unit);
                of_sigmoid = of_sigmoid.max((f64::from(s) - 1.0 / (1.0 + (-f64::from(*x)).exp())).abs());
                assert!((0.0..=1.0).contains(&s), "{x}: {s}");
                assert!(x.abs() <= 9.0 || t.abs() == 1.0, "{x}: {t}");
                assert!(x.abs() <= 18.0 || s == 0.0 || s == 1.0, "{x}: {s}");
            }
            println!("tanh {in_units} units in the last place, σ {of_sigmoid:e}");
            assert!(in_units <= 6.0 && of_sigmoid <= 1.9e-7, "{in_units}, {of_sigmoid}");
        }
    }

    #[test]
    fn the_ends_hold() {
        for [t, s] in both(&[1e30, f32::INFINITY, -1e30, f32::NEG_INFINITY, 0.0, f32::NAN]) {
            assert_eq!((&t[..5], &s[..5]), (&[1.0, 1.0, -1.0, -1.0, 0.0][..], &[1.0, 1.0, 0.0, 0.0, 0.5][..]));
            assert!(t[5].is_nan() && s[5].is_nan(), "{t:?} {s:?}");
        }
    }
}
