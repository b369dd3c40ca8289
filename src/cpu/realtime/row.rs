//! The other things that are done with a row: a token's of a table, a few outputs, and layer normalisation.
//!
//! The contract: behind the width of a row are zeros up to a whole vector, and stay so.

use pulp::Simd;

use super::product::Aligned;
use crate::model::int8;

/// The rows of tokens, in f32 or in int8.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<f32>,
    bytes: Vec<i8>,
    /// Of each row, where it is one of bytes.
    scales: Vec<f32>,
}

impl Table {
    /// Packs `[V, width]`.
    pub fn pack(is_int8: bool, width: usize, rows: &[f32]) -> Self {
        if !is_int8 {
            return Table { rows: rows.to_vec(), bytes: Vec::new(), scales: Vec::new() };
        }
        let scales: Vec<f32> = rows.chunks_exact(width).map(int8::scale).collect();
        let rows = rows.chunks_exact(width).zip(&scales);
        let bytes = rows.flat_map(|(row, scale)| row.iter().map(|w| int8::nearest(*w, *scale))).collect();
        Table { rows: Vec::new(), bytes, scales }
    }

    /// Bytes of the rows.
    pub fn bytes(&self) -> usize {
        (self.rows.len() + self.scales.len()) * size_of::<f32>() + self.bytes.len()
    }

    #[inline(always)]
    pub fn step(&self, token: usize, width: usize, out: &mut [f32]) {
        let row = token * width..token * width + width;
        match self.scales.get(token) {
            None => {
                let row = self.rows.get(row).unwrap_or_default();
                out.iter_mut().zip(row).for_each(|(out, x)| *out = *x);
            }
            Some(scale) => {
                let row = self.bytes.get(row).unwrap_or_default();
                out.iter_mut().zip(row).for_each(|(out, x)| *out = f32::from(*x) * scale);
            }
        }
    }
}

/// A linear function of a row to so few numbers that each is a product of its own.
#[derive(Debug)]
pub(super) struct ReadOut {
    /// `[O, K]`, each row filled up with zeros.
    weights: Aligned,
    bias: Vec<f32>,
}

impl ReadOut {
    /// Packs W `[O, K]` and b `[O]`; in int8 W is rounded, but as so few rows are no matter of size stays f32.
    pub fn pack(is_int8: bool, width: usize, w: &[f32], bias: &[f32]) -> Self {
        let row = Aligned::filled_up(width);
        let mut weights = Aligned::zeros(bias.len() * row);
        for (out, w) in weights.get_mut().chunks_exact_mut(row).zip(w.chunks_exact(width)) {
            out[..width].copy_from_slice(w);
            if is_int8 {
                int8::round(&mut out[..width]);
            }
        }
        ReadOut { weights, bias: bias.to_vec() }
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> usize {
        (self.weights.get().len() + self.bias.len()) * size_of::<f32>()
    }

    #[inline(always)]
    pub fn step<S: Simd>(&self, simd: S, x: &[f32], out: &mut [f32]) {
        let (weights, x) = (S::as_simd_f32s(self.weights.get()).0, S::as_simd_f32s(x).0);
        let mut weights = weights;
        for (out, bias) in out.iter_mut().zip(&self.bias) {
            // No chunks: to count them is a division.
            let Some((row, rest)) = weights.split_at_checked(x.len()) else { return };
            weights = rest;
            let mut sums = [simd.splat_f32s(0.0); 2];
            let ((pairs, last), (x_pairs, x_last)) = (row.as_chunks::<2>(), x.as_chunks::<2>());
            for (w, x) in pairs.iter().zip(x_pairs) {
                for n in 0..2 {
                    sums[n] = simd.mul_add_e_f32s(w[n], x[n], sums[n]);
                }
            }
            for (w, x) in last.iter().zip(x_last) {
                sums[0] = simd.mul_add_e_f32s(*w, *x, sums[0]);
            }
            *out = bias + simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]));
        }
    }
}

/// Layer normalisation of a row (Ba, Kiros & Hinton 2016).
#[derive(Debug)]
pub(super) struct Normalization {
    gain: Aligned,
    bias: Aligned,
    width: usize,
    epsilon: f32,
}

impl Normalization {
    /// Packs gain and bias.
    pub fn pack(gain: &[f32], bias: &[f32], epsilon: f64) -> Self {
        let width = gain.len();
        let [gain, bias] = [gain, bias].map(|values| {
            let mut row = Aligned::zeros(values.len());
            row.get_mut()[..values.len()].copy_from_slice(values);
            row
        });
        Normalization { width, gain, bias, epsilon: epsilon as f32 }
    }

    /// Bytes of gain and bias.
    pub fn bytes(&self) -> usize {
        (self.gain.get().len() + self.bias.get().len()) * size_of::<f32>()
    }

    #[inline(always)]
    pub fn step<S: Simd>(&self, simd: S, x: &[f32], out: &mut [f32]) {
        let (count, vectors) = (self.width as f32, S::as_simd_f32s(x).0);
        let total = |sum: S::f32s| simd.reduce_sum_f32s(sum);
        let mut sum = simd.splat_f32s(0.0);
        for x in vectors {
            sum = simd.add_f32s(sum, *x);
        }
        let mean = total(sum) / count;
        // Not of the zeros behind the row, whose squares would be counted.
        let mut squares = 0.0;
        for x in x.get(..self.width).unwrap_or_default() {
            squares += (x - mean) * (x - mean);
        }
        let inverse = simd.splat_f32s(1.0 / (squares / count + self.epsilon).sqrt());
        let mean = simd.splat_f32s(mean);
        let (gain, bias) = (S::as_simd_f32s(self.gain.get()).0, S::as_simd_f32s(self.bias.get()).0);
        for (((out, x), gain), bias) in S::as_mut_simd_f32s(out).0.iter_mut().zip(vectors).zip(gain).zip(bias) {
            let normal = simd.mul_f32s(simd.sub_f32s(*x, mean), inverse);
            *out = simd.mul_add_e_f32s(normal, *gain, *bias);
        }
    }
}
