//! The buffers of one plan as its operations see them: any number read while one or two are taken out and written.

use super::matrix::Matrix;
use super::packed::Panels;
use super::real::Real;
use super::threads;
use crate::plan::{Plan, TensorId, View};

/// The values of one tensor.
#[derive(Debug)]
pub(super) enum Buffer<T> {
    /// Numbers, and how often they were written.
    Real(Vec<T>, u64),
    Id(Vec<u32>),
}

impl<T> Buffer<T> {
    pub fn len(&self) -> usize {
        match self {
            Buffer::Real(values, _) => values.len(),
            Buffer::Id(ids) => ids.len(),
        }
    }

    /// The numbers, to be written.
    pub fn real_mut(&mut self) -> Option<&mut Vec<T>> {
        match self {
            Buffer::Real(values, written) => {
                *written += 1;
                Some(values)
            }
            Buffer::Id(_) => None,
        }
    }
}

/// A plan's tensors, by id.
pub(super) struct Tensors<'a, T> {
    pub plan: &'a Plan,
    pub buffers: &'a mut [Buffer<T>],
    /// Which buffer a tensor is.
    pub slots: &'a [usize],
    /// Room for an operation's intermediate results, of any of the plans.
    pub scratch: &'a mut Vec<T>,
    /// Room for the f64 totals of long sums, kept likewise.
    pub totals: &'a mut Vec<f64>,
    /// The matrices that products multiply by, packed; again only once they were written.
    pub packs: &'a mut Vec<Pack<T>>,
}

/// A matrix in a buffer, as panels.
#[derive(Debug)]
pub(super) struct Pack<T> {
    of: Source,
    /// How often the buffer had been written.
    written: u64,
    values: Vec<T>,
}

impl<T> Pack<T> {
    /// Which buffer the matrix is in.
    pub fn buffer(&self) -> usize {
        self.of.buffer
    }
}

/// `[K, N]`, its first element and the distances between rows and between columns.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    buffer: usize,
    offset: usize,
    sizes: (usize, usize),
    row: usize,
    col: usize,
}

/// Numbers that are worth a thread's while to pack.
const NUMBERS_PER_TASK: usize = 1 << 15;

/// [`Panels::pack`] whose panels the threads share, so many at the most.
fn pack_panels<T: Real>((k, n): (usize, usize), matrix: Matrix<'_, T>, room: &mut [T], most: usize) {
    let width = T::panel();
    let share = n.div_ceil(width).div_ceil(threads::shares((room.len() / NUMBERS_PER_TASK).min(most)));
    let shares = room.chunks_mut((share * width * k).max(1)).enumerate();
    threads::for_each(shares, |(number, room)| {
        let first = number * share * width;
        Panels::pack((k, n.min(first + share * width) - first), matrix.from(0, first), room);
    });
}

impl<T: Real> Tensors<'_, T> {
    pub fn real(&self, id: TensorId) -> &[T] {
        match &self.buffers[self.slots[id.0]] {
            Buffer::Real(values, _) => values,
            Buffer::Id(_) => unreachable!("a plan reads ids as numbers"),
        }
    }

    pub fn ids(&self, id: TensorId) -> &[u32] {
        match &self.buffers[self.slots[id.0]] {
            Buffer::Id(values) => values,
            Buffer::Real(..) => unreachable!("a plan reads numbers as ids"),
        }
    }

    /// The two dimensions of a tensor that has two.
    pub fn matrix(&self, id: TensorId) -> (usize, usize) {
        let shape = &self.plan.get(id).shape;
        (shape[0], shape[1])
    }

    pub fn view(&self, view: &View) -> &[T] {
        &self.real(view.tensor)[view.range()]
    }

    /// A matrix `[K, N]` as panels, by its number for [`Tensors::panels`]: the rows of a view, or the columns if
    /// transposed. As many threads take part as there are rows to be multiplied by it, so that a stream of one sequence
    /// asks for none.
    pub fn pack(&mut self, view: &View, transpose: bool, multiplied: usize) -> usize {
        let buffer = self.slots[view.tensor.0];
        let (sizes, row, col) =
            if transpose { ((view.cols, view.rows), 1, view.stride) } else { ((view.rows, view.cols), view.stride, 1) };
        let of = Source { buffer, offset: view.offset, sizes, row, col };
        let Buffer::Real(values, written) = &self.buffers[buffer] else { unreachable!("a plan multiplies by ids") };
        let number = self.packs.iter().position(|pack| pack.of == of).unwrap_or(self.packs.len());
        if number == self.packs.len() {
            let values = vec![T::zero(); Panels::<T>::len(sizes)];
            self.packs.push(Pack { of, written: u64::MAX, values });
        }
        let pack = &mut self.packs[number];
        if pack.written != *written {
            pack.written = *written;
            let matrix = Matrix { values: &values[view.offset..], row, col };
            pack_panels(sizes, matrix, &mut pack.values, multiplied);
        }
        number
    }

    pub fn panels(&self, number: usize) -> Panels<'_, T> {
        let Pack { of, values, .. } = &self.packs[number];
        Panels::new(of.sizes, values)
    }

    /// Takes a tensor out to be written while others are read; [`Tensors::put`] brings it back.
    pub fn take(&mut self, id: TensorId) -> Vec<T> {
        match self.buffers[self.slots[id.0]].real_mut() {
            Some(values) => std::mem::take(values),
            None => unreachable!("a plan writes numbers to ids"),
        }
    }

    /// [`Tensors::take`] for ids.
    pub fn take_ids(&mut self, id: TensorId) -> Vec<u32> {
        match &mut self.buffers[self.slots[id.0]] {
            Buffer::Id(values) => std::mem::take(values),
            Buffer::Real(..) => unreachable!("a plan writes ids to numbers"),
        }
    }

    pub fn put_ids(&mut self, id: TensorId, values: Vec<u32>) {
        self.buffers[self.slots[id.0]] = Buffer::Id(values);
    }

    pub fn put(&mut self, id: TensorId, values: Vec<T>) {
        if let Some(taken) = self.buffers[self.slots[id.0]].real_mut() {
            *taken = values;
        }
    }
}
