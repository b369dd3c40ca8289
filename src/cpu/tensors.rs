//! The buffers of one plan as its operations see them: any number read while one or two are taken out and written.

use super::matrix::Matrix;
use super::packed::Panels;
use super::real::Real;
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
    /// transposed.
    pub fn pack(&mut self, view: &View, transpose: bool) -> usize {
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
            Panels::pack(sizes, Matrix { values: &values[view.offset..], row, col }, &mut pack.values);
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
