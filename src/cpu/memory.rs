//! The buffers of one plan as its operations see them: any number read while one or two are taken out and written.

use super::real::Real;
use crate::plan::{Plan, TensorId, View};

/// The values of one tensor.
#[derive(Debug)]
pub(super) enum Buffer<T> {
    Real(Vec<T>),
    Id(Vec<u32>),
}

impl<T> Buffer<T> {
    pub fn len(&self) -> usize {
        match self {
            Buffer::Real(values) => values.len(),
            Buffer::Id(ids) => ids.len(),
        }
    }
}

/// A plan's tensors, by id.
pub(super) struct Memory<'a, T> {
    pub plan: &'a Plan,
    pub buffers: &'a mut [Buffer<T>],
    /// Which buffer a tensor is.
    pub slots: &'a [usize],
    /// Room for an operation's intermediate results; grows once, then is kept.
    pub scratch: &'a mut Vec<T>,
    /// Room for matrices that are packed; likewise.
    pub packed: &'a mut Vec<T>,
}

impl<T: Real> Memory<'_, T> {
    pub fn real(&self, id: TensorId) -> &[T] {
        match &self.buffers[self.slots[id.0]] {
            Buffer::Real(values) => values,
            Buffer::Id(_) => unreachable!("a plan reads ids as numbers"),
        }
    }

    pub fn ids(&self, id: TensorId) -> &[u32] {
        match &self.buffers[self.slots[id.0]] {
            Buffer::Id(values) => values,
            Buffer::Real(_) => unreachable!("a plan reads numbers as ids"),
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

    /// Takes a tensor out to be written while others are read; [`Memory::put`] brings it back.
    pub fn take(&mut self, id: TensorId) -> Vec<T> {
        match &mut self.buffers[self.slots[id.0]] {
            Buffer::Real(values) => std::mem::take(values),
            Buffer::Id(_) => unreachable!("a plan writes numbers to ids"),
        }
    }

    /// [`Memory::take`] for ids.
    pub fn take_ids(&mut self, id: TensorId) -> Vec<u32> {
        match &mut self.buffers[self.slots[id.0]] {
            Buffer::Id(values) => std::mem::take(values),
            Buffer::Real(_) => unreachable!("a plan writes ids to numbers"),
        }
    }

    pub fn put_ids(&mut self, id: TensorId, values: Vec<u32>) {
        self.buffers[self.slots[id.0]] = Buffer::Id(values);
    }

    pub fn put(&mut self, id: TensorId, values: Vec<T>) {
        self.buffers[self.slots[id.0]] = Buffer::Real(values);
    }
}
