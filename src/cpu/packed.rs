//! Products with matrices that are multiplied by over and over: packed once into panels, because every step of a
//! recurrence reads all of U, and a product that packs it anew spends a good part of its time on that.
//!
//! The contract: every element of a product is summed in the order of k, whatever the rows beside it, so a batch that
//! is cut differently gives the same bits. [`plain`] says what a product is; the vectorised one is held against it.

use pulp::{Simd, WithSimd};

use super::matrix::{Matrix, Out};
use super::real::{MAX_RUN, Real};
use super::stripes;
use super::vectorized::vectorized;

/// `[K, N]` as ⌈N / W⌉ panels `[K, W]`, the last with columns to spare. W is [`super::real::Kernels::panel`].
#[derive(Clone, Copy)]
pub struct Panels<'a, T> {
    pub k: usize,
    pub n: usize,
    pub values: &'a [T],
}

/// What a product's sums begin with.
#[derive(Clone, Copy)]
pub enum Begin<'a, T> {
    Zero,
    /// Zero, with every run of [`MAX_RUN`] terms summed on its own and then added to the result: for long sums. f64,
    /// which is accurate enough without, sums one term after another.
    InRuns,
    /// What is in the output.
    There,
    /// `[N]`, the same for every row.
    Row(&'a [T]),
}

/// `out = begin + a·b`; a `[rows, K]` with its rows contiguous, out `[rows, N]`.
pub struct Product<'a, T> {
    pub rows: usize,
    pub a: Matrix<'a, T>,
    pub b: Panels<'a, T>,
    pub begin: Begin<'a, T>,
    pub out: Out<'a, T>,
}

/// `out = aᵀ·b`, summed [`Begin::InRuns`]; a `[K, M]` with contiguous rows, out `[M, N]`.
pub struct TransposedProduct<'a, T> {
    pub m: usize,
    pub a: Matrix<'a, T>,
    pub b: Panels<'a, T>,
    pub out: Out<'a, T>,
    /// Room for packing a, [`TransposedProduct::room`] of it.
    pub stripes: &'a mut [T],
}

impl<T> TransposedProduct<'_, T> {
    /// Returns how many numbers a `[K, M]` is when packed.
    pub fn room(k: usize, m: usize) -> usize {
        stripes::room(k, m)
    }
}

impl<'a, T: Real> Panels<'a, T> {
    /// Panels that were packed.
    pub fn new((k, n): (usize, usize), values: &'a [T]) -> Self {
        Panels { k, n, values }
    }

    /// How many numbers the panels of `[k, n]` are.
    pub fn len((k, n): (usize, usize)) -> usize {
        k * n.next_multiple_of(T::panel())
    }

    /// Packs `[k, n]`, whose rows or columns are contiguous, into `room`, which has [`Panels::len`] numbers.
    pub fn pack(sizes: (usize, usize), b: Matrix<'_, T>, room: &mut [T]) {
        // As arrays: a copy of a few numbers whose count is not known is a call.
        match T::panel() {
            8 => pack::<T, 8>(sizes, b, room),
            16 => pack::<T, 16>(sizes, b, room),
            32 => pack::<T, 32>(sizes, b, room),
            width => unreachable!("no panel of {width} columns"),
        }
    }

    /// A row of the matrix.
    pub fn copy_row(&self, row: usize, out: &mut [T]) {
        let width = T::panel();
        for (p, out) in out.chunks_mut(width).enumerate() {
            out.copy_from_slice(&self.panel(p)[row * width..][..out.len()]);
        }
    }

    fn panel(&self, number: usize) -> &'a [T] {
        let length = self.k * T::panel();
        &self.values[number * length..(number + 1) * length]
    }
}

/// Rows of a matrix with contiguous columns that are packed at a time, so that neither what is read nor what is written
/// leaves the first-level cache half used.
const PACKED_ROWS: usize = 16;

fn pack<T: Real, const WIDTH: usize>((k, n): (usize, usize), b: Matrix<'_, T>, room: &mut [T]) {
    let panels = room.as_chunks_mut::<WIDTH>().0;
    if b.col == 1 {
        // Row by row, as the memory is read ahead so.
        vectorized!(|| {
            for row in 0..k {
                let (whole, rest) = b.values[row * b.row..][..n].as_chunks();
                let mut rows = panels[row..].iter_mut().step_by(k);
                whole.iter().zip(&mut rows).for_each(|(values, out)| *out = *values);
                if let (Some(out), false) = (rows.next(), rest.is_empty()) {
                    out[..rest.len()].copy_from_slice(rest);
                }
            }
        });
        return;
    }
    debug_assert_eq!(b.row, 1, "neither rows nor columns are contiguous");
    for (p, panel) in panels.chunks_exact_mut(k.max(1)).enumerate() {
        let columns = p * WIDTH..n.min((p + 1) * WIDTH);
        for (part, out) in panel.chunks_mut(PACKED_ROWS).enumerate() {
            for (j, column) in columns.clone().enumerate() {
                let column = &b.values[column * b.col + part * PACKED_ROWS..];
                out.iter_mut().zip(column).for_each(|(out, value)| out[j] = *value);
            }
        }
    }
}

/// A product as plain loops.
pub(super) fn plain<T: Real>(Product { rows, a, b, begin, out }: Product<'_, T>) {
    let width = T::panel();
    for (row, out) in out.values.chunks_mut(out.row).take(rows).enumerate() {
        let a = &a.values[row * a.row..][..b.k];
        for (p, out) in out[..b.n].chunks_mut(width).enumerate() {
            match begin {
                Begin::Zero | Begin::InRuns => out.fill(T::zero()),
                Begin::There => {}
                Begin::Row(first) => out.copy_from_slice(&first[p * width..][..out.len()]),
            }
            for (a, b) in a.iter().zip(b.panel(p).chunks_exact(width)) {
                out.iter_mut().zip(b).for_each(|(sum, b)| *sum += *a * *b);
            }
        }
    }
}

/// A transposed product as plain loops.
pub(super) fn plain_transposed<T: Real>(TransposedProduct { m, a, b, out, .. }: TransposedProduct<'_, T>) {
    let width = T::panel();
    for (column, out) in out.values.chunks_mut(out.row).take(m).enumerate() {
        for (p, out) in out[..b.n].chunks_mut(width).enumerate() {
            out.fill(T::zero());
            for (a, b) in a.values.chunks(a.row).zip(b.panel(p).chunks_exact(width)) {
                out.iter_mut().zip(b).for_each(|(sum, b)| *sum += a[column] * *b);
            }
        }
    }
}

/// Vectors in a row of a panel.
const VECTORS: usize = 2;
/// The numbers in the longest vectors there are.
const MAX_LANES: usize = 16;

/// The numbers in a row of a panel for vectors of that length.
pub(super) const fn width(lanes: usize) -> usize {
    VECTORS * lanes
}

/// The most rows of a block: so many sums fill 32 registers and leave room for a row of a panel and an element of `a`.
pub(super) const TALLEST: usize = 12;

/// Returns the largest number of rows that a block can have with these registers, and how many each block gets so that
/// all are about equally tall.
fn heights<S: Simd>(rows: usize) -> (usize, usize) {
    let tallest = if S::REGISTER_COUNT >= 32 { TALLEST } else { TALLEST / 2 };
    (tallest, rows.div_ceil(rows.div_ceil(tallest).max(1)).max(1))
}

impl WithSimd for Product<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.by_blocks::<S, false>(simd);
    }
}

/// Packs `a` into stripes first.
impl WithSimd for TransposedProduct<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let TransposedProduct { m, a, b, out, stripes } = self;
        let (_, height) = heights::<S>(m);
        let a = stripes::pack((b.k, m), a, height, stripes);
        Product { rows: m, a, b, begin: Begin::InRuns, out }.by_blocks::<S, true>(simd);
    }
}

/// A product with the widest vectors that the machine has: a block of rows by one or several panels is summed in
/// registers.
impl Product<'_, f32> {
    /// With STRIPES, `a` is as [`stripes::pack`] returns it.
    #[inline(always)]
    fn by_blocks<S: Simd, const STRIPES: bool>(self, simd: S) {
        let Product { rows, a, b, begin, out } = self;
        let (tallest, height) = heights::<S>(rows);
        let width = width(S::F32_LANES);
        let whole = b.n / width;
        let mut panel = 0;
        while panel < whole {
            // Few rows alone would wait for one another's sums: they take several panels at a time.
            let group = match (whole - panel, tallest / height) {
                (4.., 4..) => 4,
                (2.., 2..) => 2,
                _ => 1,
            };
            for row in (0..rows).step_by(height) {
                let out = Out { values: &mut out.values[row * out.row + panel * width..], row: out.row };
                let mut block = Block { a: a.from(row, 0), b, panel, begin: begin.from(panel * width), out };
                block.of_size::<S, STRIPES>(simd, height.min(rows - row), group);
            }
            panel += group;
        }
        // The last columns, fewer than a panel's, where they have room for all of it.
        let columns = whole * width..b.n;
        if !columns.is_empty() {
            let mut room = [0.0; TALLEST * VECTORS * MAX_LANES];
            for row in (0..rows).step_by(height) {
                let height = height.min(rows - row);
                for (r, room) in room.chunks_exact_mut(width).enumerate().take(height) {
                    match begin {
                        Begin::Zero | Begin::InRuns => {}
                        Begin::There => {
                            room[..columns.len()].copy_from_slice(&out.values[(row + r) * out.row..][columns.clone()]);
                        }
                        Begin::Row(first) => room[..columns.len()].copy_from_slice(&first[columns.clone()]),
                    }
                }
                let begin = if matches!(begin, Begin::Row(_)) { Begin::There } else { begin };
                let out_room = Out { values: &mut room, row: width };
                let mut block = Block { a: a.from(row, 0), b, panel: whole, begin, out: out_room };
                block.of_size::<S, STRIPES>(simd, height, 1);
                for (r, room) in room.chunks_exact(width).enumerate().take(height) {
                    out.values[(row + r) * out.row..][columns.clone()].copy_from_slice(&room[..columns.len()]);
                }
            }
        }
    }
}

impl<'a, T> Begin<'a, T> {
    fn from(self, column: usize) -> Self {
        if let Begin::Row(row) = self { Begin::Row(&row[column..]) } else { self }
    }
}

/// Some rows of a product, from panel `panel` on; `begin` and `out` start at its first column.
struct Block<'a> {
    a: Matrix<'a, f32>,
    b: Panels<'a, f32>,
    panel: usize,
    begin: Begin<'a, f32>,
    out: Out<'a, f32>,
}

impl Block<'_> {
    #[inline(always)]
    fn of_size<S: Simd, const STRIPES: bool>(&mut self, simd: S, rows: usize, panels: usize) {
        macro_rules! sized {
            ($($panels:literal: $($rows:literal)*;)*) => {
                match (panels, rows) {
                    $($(($panels, $rows) => simd.vectorize(RegisterBlock::<'_, '_, $rows, $panels, STRIPES>(self)),)*)*
                    _ => unreachable!("no block of {rows} rows and {panels} panels"),
                }
            };
        }
        sized!(1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6; 4: 1 2 3;);
    }
}

/// A block of ROWS by PANELS. By reference: a copy would be made by vector loads of what was just stored in parts,
/// which wait for every store before them, those of the block before into memory that is in no cache included.
struct RegisterBlock<'b, 'a, const ROWS: usize, const PANELS: usize, const STRIPES: bool>(&'b mut Block<'a>);

impl<const ROWS: usize, const PANELS: usize, const STRIPES: bool> WithSimd
    for RegisterBlock<'_, '_, ROWS, PANELS, STRIPES>
{
    type Output = ();

    // No closures either: over vectors they do not inherit the vector instructions of the function around them, and
    // what one captures is copied to memory.
    #[allow(
        clippy::needless_range_loop,
        clippy::manual_memcpy,
        reason = "with iterators over the sums the compiler keeps them in memory and not in registers"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Block { a, b, panel, begin, ref mut out } = *self.0;
        let (width, k) = (width(S::F32_LANES), b.k);
        let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; ROWS]; PANELS];
        for p in 0..PANELS {
            for r in 0..ROWS {
                let first = match begin {
                    Begin::Zero | Begin::InRuns => continue,
                    Begin::There => &out.values[r * out.row + p * width..][..width],
                    Begin::Row(row) => &row[p * width..][..width],
                };
                let first = S::as_simd_f32s(first).0;
                for v in 0..VECTORS {
                    sums[p][r][v] = first[v];
                }
            }
        }
        let all_of_stripe: &[[f32; ROWS]] = if STRIPES { &a.values.as_chunks().0[..k] } else { &[] };
        let in_runs = matches!(begin, Begin::InRuns);
        let mut from = 0;
        loop {
            let terms = if in_runs { MAX_RUN.min(k - from) } else { k };
            let mut stripe = all_of_stripe;
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            if STRIPES {
                stripe = &stripe[from..][..terms];
            } else {
                for r in 0..ROWS {
                    rows[r] = &a.values[r * a.row + from..][..terms];
                }
            }
            let mut panels: [&[[S::f32s; VECTORS]]; PANELS] = [&[]; PANELS];
            for p in 0..PANELS {
                let of_all = S::as_simd_f32s(&b.values[(panel + p) * k * width..][..k * width]).0;
                panels[p] = &of_all.as_chunks().0[from..][..terms];
            }
            for k in 0..terms {
                for p in 0..PANELS {
                    let b = panels[p][k];
                    for r in 0..ROWS {
                        let a = simd.splat_f32s(if STRIPES { stripe[k][r] } else { rows[r][k] });
                        for v in 0..VECTORS {
                            sums[p][r][v] = simd.mul_add_e_f32s(a, b[v], sums[p][r][v]);
                        }
                    }
                }
            }
            for p in 0..PANELS {
                for r in 0..ROWS {
                    let out = S::as_mut_simd_f32s(&mut out.values[r * out.row + p * width..][..width]).0;
                    for v in 0..VECTORS {
                        out[v] = if from == 0 { sums[p][r][v] } else { simd.add_f32s(out[v], sums[p][r][v]) };
                        sums[p][r][v] = simd.splat_f32s(0.0);
                    }
                }
            }
            from += terms;
            if from == k {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::real::Kernels;

    fn numbers(len: usize, seed: u32) -> Vec<f32> {
        (0..len as u32).map(|i| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed)) >> 8) as f32 / 8e6 - 1.0).collect()
    }

    /// The vectorised product, with rows further apart than they are long, against plain loops in f64.
    fn check(rows: usize, n: usize, k: usize, transposed: bool) {
        let (a_row, out_row) = (k + 3, n + 5);
        let (a, b) = (numbers(rows * a_row, 1), numbers(k * n, 2));
        let matrix = if transposed { Matrix::new(&b, k).transposed(true) } else { Matrix::new(&b, n) };
        let at = |k: usize, n: usize| f64::from(b[k * matrix.row + n * matrix.col]);
        let first = numbers(n, 3);
        let mut room = vec![f32::NAN; Panels::<f32>::len((k, n))];
        Panels::pack((k, n), matrix, &mut room);
        let panels = Panels::new((k, n), &room);
        for begin in [Begin::Zero, Begin::InRuns, Begin::There, Begin::Row(&first)] {
            let there = numbers(rows * out_row, 4);
            let run = |multiply: fn(Product<'_, f32>)| {
                let mut out = there.clone();
                let (a, to) = (Matrix::new(&a, a_row), Out { values: &mut out, row: out_row });
                multiply(Product { rows, a, b: panels, begin, out: to });
                out
            };
            let (fast, slow) = (run(f32::multiply), run(plain));
            for row in 0..rows {
                for j in 0..out_row {
                    let i = row * out_row + j;
                    let exact = if j < n {
                        let begun = match begin {
                            Begin::Zero | Begin::InRuns => 0.0,
                            Begin::There => f64::from(there[i]),
                            Begin::Row(first) => f64::from(first[j]),
                        };
                        (0..k).map(|k| f64::from(a[row * a_row + k]) * at(k, j)).sum::<f64>() + begun
                    } else {
                        f64::from(there[i])
                    };
                    // Each of K sums rounds twice, at a size of at most 1.3·(K + 1).
                    let allowed = 1.3 * f64::from(f32::EPSILON) * (k * (k + 1)) as f64;
                    for (of, value) in [("vectors", fast[i]), ("loops", slow[i])] {
                        let error = (f64::from(value) - exact).abs();
                        assert!(error <= allowed, "{of}, {rows}×{n}×{k} at [{row}, {j}]: {value}, not {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_every_block_and_every_remainder_are_those_of_plain_loops() {
        let width = f32::panel();
        for rows in 1..=27 {
            for panels in [0, 1, 2, 3, 5, 6] {
                for n in [panels * width, panels * width + 1, (panels + 1) * width - 1] {
                    if n > 0 {
                        check(rows, n, 3, rows % 2 == 0);
                    }
                }
            }
        }
        for k in [1, 2, 17, 64, 65, 97] {
            check(13, 2 * width + 5, k, true);
            check(5, 4 * width, k, false);
        }
    }

    #[test]
    fn transposed_products_of_every_block_are_those_of_plain_loops() {
        let width = f32::panel();
        for (m, n, k) in (1..=27).flat_map(|m| [1, 31, 32, 33, 97].map(|k| (m, m * width / 3 + 1, k))) {
            let (a_row, out_row) = (m + 3, n + 5);
            let (a, b) = (numbers(k * a_row, 1), numbers(k * n, 2));
            let mut panels = vec![f32::NAN; Panels::<f32>::len((k, n))];
            Panels::pack((k, n), Matrix::new(&b, n), &mut panels);
            for multiply in [f32::multiply_transposed, plain_transposed] {
                let (mut values, mut room) =
                    (vec![f32::NAN; m * out_row], vec![f32::NAN; TransposedProduct::<f32>::room(k, m)]);
                let out = Out { values: &mut values, row: out_row };
                let (a, b_panels) = (Matrix::new(&a, a_row), Panels::new((k, n), &panels));
                multiply(TransposedProduct { m, a, b: b_panels, out, stripes: &mut room });
                for (i, row) in values.chunks_exact(out_row).enumerate() {
                    for (j, value) in row.iter().enumerate() {
                        let terms =
                            (0..k).map(|k| f64::from(a.values[k * a_row + i]) * f64::from(b[k * n + j.min(n - 1)]));
                        let error = (f64::from(*value) - terms.sum::<f64>()).abs();
                        let allowed = 1.3 * f64::from(f32::EPSILON) * (k * (k + 1)) as f64;
                        let is_right = if j < n { error <= allowed } else { value.is_nan() };
                        assert!(is_right, "{m}×{n}×{k} at [{i}, {j}]: {value}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_same_whatever_stands_beside_it() {
        let (n, k) = (3 * f32::panel() + 7, 50);
        let (a, b) = (numbers(40 * k, 1), numbers(k * n, 2));
        let mut room = vec![0.0; Panels::<f32>::len((k, n))];
        Panels::pack((k, n), Matrix::new(&b, n), &mut room);
        let panels = Panels::new((k, n), &room);
        let mut all = vec![0.0; 40 * n];
        let out = Out { values: &mut all, row: n };
        f32::multiply(Product { rows: 40, a: Matrix::new(&a, k), b: panels, begin: Begin::Zero, out });
        for (row, beside) in all.chunks_exact(n).enumerate() {
            let mut alone = vec![0.0; n];
            let (a, out) = (Matrix::new(&a[row * k..], k), Out { values: &mut alone, row: n });
            f32::multiply(Product { rows: 1, a, b: panels, begin: Begin::Zero, out });
            assert_eq!(alone, beside, "row {row}");
        }
    }
}
