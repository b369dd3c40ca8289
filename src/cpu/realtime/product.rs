//! The products of a step with one sequence, and what a layer makes of their sums before these leave the registers.
//!
//! The contract: the weights of a layer lie in the order in which a step reads them, and each is read once; a sum is
//! over the columns in their order, in one chain of additions or in two, as the layer's size says and nothing else.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::units::{Settings, TINY, Unit, Units};
use crate::model::int8;

/// Vectors of units that are worked on at a time, at most: sums enough that none waits for another. More of them would
/// be more code for the same speed.
const fn most_groups(sums: usize) -> usize {
    if sums == 1 { 4 } else { 2 }
}

/// A sum of a unit: which rows of W and of U it is over, counted in gates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    pub x: Option<usize>,
    pub h: Option<usize>,
}

/// The matrices that a product's weights come from, as a model has them: W `[G·N, I]`, U `[G·N, H]`, biases `[G·N]` and
/// peepholes `[N]`, each of which may be missing.
#[derive(Clone, Copy, Default)]
pub(super) struct Matrices<'a> {
    pub w: &'a [f32],
    pub u: &'a [f32],
    pub biases: [&'a [f32]; 2],
    pub peepholes: Option<[&'a [f32]; 3]>,
}

/// The products of a layer over a step's input and over its state.
#[derive(Clone, Debug)]
pub(super) struct Product {
    /// I, the columns of W.
    pub inputs: usize,
    /// The columns of U.
    pub operand: usize,
    /// Vectors of units.
    groups: usize,
    /// How many of them are worked on at a time.
    height: usize,
    pub settings: Settings,
    /// `[bias, columns of W, columns of U, peepholes]` of every so many groups; of int8 weights a scale for each row of
    /// W and U in place of the columns.
    weights: Aligned,
    /// The columns of W and of U of every so many groups, of int8 weights.
    bytes: Vec<i8>,
}

/// Numbers that begin at a cache line, so that no vector of them lies in two, and fill the last.
#[derive(Clone, Debug)]
pub(super) struct Aligned(Vec<Line>);

/// A cache line, as long as the longest vector.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Aligned {
    /// So many zeros, filled up.
    pub fn zeros(len: usize) -> Self {
        Aligned(vec![Line([0.0; 16]); Self::filled_up(len) / 16])
    }

    /// As many numbers as whole lines have.
    pub fn filled_up(len: usize) -> usize {
        len.next_multiple_of(16)
    }

    #[inline(always)]
    pub fn get(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    #[inline(always)]
    pub fn get_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// A row that a product is over: columns from `first` on.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub first: usize,
    pub x: &'a [f32],
}

/// A step of a product whose units are of a kind.
struct Step<'a, U, const A: usize, const X: usize, const R: usize> {
    product: &'a Product,
    source: Source<'a>,
    place: Place<'a>,
    unit: PhantomData<U>,
}

impl<U: Unit, const A: usize, const X: usize, const R: usize> WithSimd for Step<'_, U, A, X, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.product.blocks::<S, U, A, X, R>(simd, self.source, self.place);
    }
}

/// What a step reads and writes of a layer's state, each a multiple of a vector or nothing.
pub(super) struct Place<'a> {
    /// What the product with U is over.
    pub operand: &'a [f32],
    /// h of the step before.
    pub before: &'a [f32],
    pub c: &'a mut [f32],
    /// Where h goes.
    pub h: &'a mut [f32],
}

impl Product {
    /// Packs the weights of so many units for vectors of so many lanes.
    pub fn pack(
        (lanes, is_int8): (usize, bool),
        (units, inputs, operand): (usize, usize, usize),
        sums: &[Sum],
        settings: Settings,
        Matrices { w, u, biases, peepholes }: Matrices<'_>,
    ) -> Self {
        let groups = units.div_ceil(lanes);
        let height = groups.div_ceil(groups.div_ceil(most_groups(sums.len())));
        let gates_x: Vec<usize> = sums.iter().filter_map(|sum| sum.x).collect();
        let gates_h: Vec<usize> = sums.iter().filter_map(|sum| sum.h).collect();
        let columns = [(w, inputs, &gates_x), (u, operand, &gates_h)];
        let of_columns = |columns: usize| if is_int8 { columns.min(1) } else { columns };
        let vectors = columns.map(|(_, columns, gates)| of_columns(columns) * gates.len());
        let vectors = sums.len() + vectors.iter().sum::<usize>() + 3 * usize::from(peepholes.is_some());
        let scales = columns.map(|(matrix, columns, _)| -> Vec<f32> {
            if is_int8 && columns > 0 { matrix.chunks_exact(columns).map(int8::scale).collect() } else { Vec::new() }
        });
        let mut weights = Aligned::zeros(groups * vectors * lanes);
        let mut room = weights.get_mut().chunks_exact_mut(lanes);
        let mut bytes = Vec::new();
        let mut put = |group: usize, of: &dyn Fn(usize) -> f32| {
            for (unit, out) in (group * lanes..units).zip(room.next().into_iter().flatten()) {
                let value = of(unit);
                *out = if value.abs() < TINY { 0.0 } else { value };
            }
        };
        let bias = |number: usize, gate: Option<usize>, unit: usize| {
            gate.and_then(|gate| biases[number].get(gate * units + unit)).copied().unwrap_or(0.0)
        };
        for first in (0..groups).step_by(height) {
            let block = first..groups.min(first + height);
            for group in block.clone() {
                for sum in sums {
                    put(group, &|unit| bias(0, sum.x, unit) + bias(1, sum.h, unit));
                }
            }
            for ((matrix, columns, gates), scales) in columns.iter().zip(&scales) {
                let row = |gate: usize, unit: usize| gate * units + unit;
                let rows = || block.clone().flat_map(|group| gates.iter().map(move |gate| (group, *gate)));
                if is_int8 && *columns > 0 {
                    rows().for_each(|(group, gate)| put(group, &|unit| scales[row(gate, unit)]));
                }
                for column in 0..*columns {
                    let of = |row: usize| matrix[row * columns + column];
                    for (group, gate) in rows() {
                        if !is_int8 {
                            put(group, &|unit| of(row(gate, unit)));
                            continue;
                        }
                        bytes.extend((group * lanes..(group + 1) * lanes).map(|unit| {
                            if unit < units {
                                let row = row(gate, unit);
                                int8::nearest(of(row), scales[row])
                            } else {
                                0
                            }
                        }));
                    }
                }
            }
            for group in block {
                for peephole in peepholes.into_iter().flatten() {
                    put(group, &|unit| peephole[unit]);
                }
            }
        }
        Product { inputs, operand, groups, height, settings, weights, bytes }
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> usize {
        size_of_val(self.weights.get()) + self.bytes.len()
    }

    /// One step: A sums a unit, of which W·x is added to the last X and U·h to the first R.
    #[inline(always)]
    pub fn step<S: Simd, U: Unit, const A: usize, const X: usize, const R: usize>(
        &self,
        simd: S,
        source: Source<'_>,
        place: Place<'_>,
    ) {
        // A function of its own for each kind of unit.
        simd.vectorize(Step::<U, A, X, R> { product: self, source, place, unit: PhantomData });
    }

    #[inline(always)]
    fn blocks<S: Simd, U: Unit, const A: usize, const X: usize, const R: usize>(
        &self,
        simd: S,
        source: Source<'_>,
        place: Place<'_>,
    ) {
        let (mut weights, mut bytes) = (S::as_simd_f32s(self.weights.get()).0, self.bytes.as_slice());
        let (mut before, mut c) = (S::as_simd_f32s(place.before).0, S::as_mut_simd_f32s(place.c).0);
        let mut h = S::as_mut_simd_f32s(place.h).0;
        let mut left = self.groups;
        macro_rules! block {
            ($groups:literal) => {
                self.block::<S, U, A, X, R, $groups>(
                    simd,
                    &mut weights,
                    &mut bytes,
                    source,
                    place.operand,
                    &mut before,
                    &mut c,
                    &mut h,
                )
            };
        }
        while left > 0 {
            let groups = self.height.min(left);
            match groups {
                1 => block!(1),
                2 => block!(2),
                3 if most_groups(A) > 2 => block!(3),
                _ if most_groups(A) > 2 => block!(4),
                _ => return,
            }
            left -= groups;
        }
    }

    /// One step of G vectors of units.
    #[allow(clippy::needless_range_loop, reason = "with iterators over the sums the compiler keeps them in memory")]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be kept in memory")]
    #[inline(always)]
    fn block<'a, S: Simd, U: Unit, const A: usize, const X: usize, const R: usize, const G: usize>(
        &self,
        simd: S,
        weights: &mut &'a [S::f32s],
        bytes: &mut &'a [i8],
        Source { first, x }: Source<'_>,
        operand: &[f32],
        before: &mut &'a [S::f32s],
        c: &mut &'a mut [S::f32s],
        h: &mut &'a mut [S::f32s],
    ) {
        let zero = simd.splat_f32s(0.0);
        let Some(biases) = take(weights, A * G).as_chunks::<A>().0.first_chunk::<G>() else { return };
        let columns = first..first.saturating_add(x.len());
        let mut sums = *biases;
        if self.bytes.is_empty() {
            let of_x = take(weights, X * G * self.inputs).as_chunks::<X>().0.as_chunks::<G>().0;
            sums = add::<S, A, X, G>(simd, sums, A - X, of_x.get(columns).unwrap_or_default(), x);
            let of_h = take(weights, R * G * self.operand).as_chunks::<R>().0.as_chunks::<G>().0;
            sums = add::<S, A, R, G>(simd, sums, 0, of_h, operand);
        } else {
            let Some(scales) = take(weights, X * G).as_chunks::<X>().0.first_chunk::<G>() else { return };
            let of_x = take(bytes, X * G * S::F32_LANES * self.inputs);
            let bytes_of = |column: usize| column.saturating_mul(X * G * S::F32_LANES);
            let of_x = of_x.get(bytes_of(columns.start)..bytes_of(columns.end)).unwrap_or_default();
            sums = add_scaled::<S, A, X, G>(simd, sums, A - X, scales, of_x, x);
            if self.operand > 0 {
                let Some(scales) = take(weights, R * G).as_chunks::<R>().0.first_chunk::<G>() else { return };
                let of_h = take(bytes, R * G * S::F32_LANES * self.operand);
                sums = add_scaled::<S, A, R, G>(simd, sums, 0, scales, of_h, operand);
            }
        }
        let peepholes = if U::PEEPHOLES { take(weights, 3 * G) } else { &[] };
        let peepholes = peepholes.as_chunks::<3>().0.first_chunk::<G>();
        let before = take(before, G).first_chunk::<G>();
        let (h, c) = (take_mut(h, G).first_chunk_mut::<G>(), if U::HAS_C { take_mut(c, G) } else { &mut [] });
        let (Some(h), mut c) = (h, c.first_chunk_mut::<G>()) else { return };
        for g in 0..G {
            let units = Units {
                before: before.map_or(zero, |before| before[g]),
                c: c.as_ref().map_or(zero, |c| c[g]),
                peepholes: peepholes.map_or([zero; 3], |peepholes| peepholes[g]),
            };
            let [made, next] = U::of(simd, &self.settings, sums[g], units);
            h[g] = made;
            if let Some(c) = &mut c {
                c[g] = next;
            }
        }
    }
}

/// The sums and, added to those from `at` on, the columns times the elements of a row.
#[allow(clippy::needless_range_loop, reason = "with iterators over the sums the compiler keeps them in memory")]
#[inline(always)]
fn add<S: Simd, const A: usize, const N: usize, const G: usize>(
    simd: S,
    mut sums: [[S::f32s; A]; G],
    at: usize,
    columns: &[[[S::f32s; N]; G]],
    row: &[f32],
) -> [[S::f32s; A]; G] {
    // Few sums would wait for one another: they are summed in two chains.
    if N * G >= 8 {
        for (column, x) in columns.iter().zip(row) {
            let x = simd.splat_f32s(*x);
            for g in 0..G {
                for n in 0..N {
                    sums[g][at + n] = simd.mul_add_e_f32s(x, column[g][n], sums[g][at + n]);
                }
            }
        }
        return sums;
    }
    let (pairs, last) = columns.as_chunks::<2>();
    let (row_pairs, row_last) = row.as_chunks::<2>();
    let mut second = [[simd.splat_f32s(0.0); N]; G];
    for (column, x) in last.iter().zip(row_last) {
        let x = simd.splat_f32s(*x);
        for g in 0..G {
            for n in 0..N {
                second[g][n] = simd.mul_f32s(x, column[g][n]);
            }
        }
    }
    for ([one, other], [x, y]) in pairs.iter().zip(row_pairs) {
        let (x, y) = (simd.splat_f32s(*x), simd.splat_f32s(*y));
        for g in 0..G {
            for n in 0..N {
                sums[g][at + n] = simd.mul_add_e_f32s(x, one[g][n], sums[g][at + n]);
                second[g][n] = simd.mul_add_e_f32s(y, other[g][n], second[g][n]);
            }
        }
    }
    for g in 0..G {
        for n in 0..N {
            sums[g][at + n] = simd.add_f32s(sums[g][at + n], second[g][n]);
        }
    }
    sums
}

/// The same of columns of bytes, whose sums are multiplied by the scales of their rows before they are added.
#[allow(clippy::needless_range_loop, reason = "with iterators over the sums the compiler keeps them in memory")]
#[inline(always)]
fn add_scaled<S: Simd, const A: usize, const N: usize, const G: usize>(
    simd: S,
    mut sums: [[S::f32s; A]; G],
    at: usize,
    scales: &[[S::f32s; N]; G],
    columns: &[i8],
    row: &[f32],
) -> [[S::f32s; A]; G] {
    let zero = simd.splat_f32s(0.0);
    let mut own = [[zero; N]; G];
    for (column, x) in columns.chunks_exact(N * G * S::F32_LANES).zip(row) {
        let x = simd.splat_f32s(*x);
        for g in 0..G {
            for n in 0..N {
                let from = (g * N + n) * S::F32_LANES;
                own[g][n] = simd.mul_add_e_f32s(x, widened(simd, &column[from..from + S::F32_LANES]), own[g][n]);
            }
        }
    }
    for g in 0..G {
        for n in 0..N {
            sums[g][at + n] = simd.mul_add_e_f32s(scales[g][n], own[g][n], sums[g][at + n]);
        }
    }
    sums
}

/// Bytes as a vector of f32.
#[inline(always)]
fn widened<S: Simd>(_: S, bytes: &[i8]) -> S::f32s {
    let mut values = [0.0; 16];
    for (value, byte) in values.iter_mut().zip(bytes) {
        *value = f32::from(*byte);
    }
    S::as_simd_f32s(&values).0[0]
}

/// Takes so many of the first, or all where there are fewer.
#[inline(always)]
fn take<'a, V>(from: &mut &'a [V], count: usize) -> &'a [V] {
    let (taken, rest) = from.split_at_checked(count).unwrap_or((from, &[]));
    *from = rest;
    taken
}

/// The same of what is written.
#[inline(always)]
fn take_mut<'a, V>(from: &mut &'a mut [V], count: usize) -> &'a mut [V] {
    let all = std::mem::take(from);
    let count = count.min(all.len());
    let (taken, rest) = all.split_at_mut(count);
    *from = rest;
    taken
}
