//! The gradient of what the network reads: of its numbers, and of the state before the first step.
//!
//! The contract: to the layers it is the gradient of a layer below them, and it is made where a recipe asks for it
//! alone.

use super::layer::{Link, Segment, Tape};
use super::{Builder, ReadGradients};
use crate::error::Result;
use crate::model::InputKind;
use crate::plan::{CopyView, DType, Lifetime, Op, TensorId, View};

/// The numbers that a segment reads.
pub(super) struct InputTape {
    /// `[T·B, I]`: their gradient.
    gradient: View,
}

impl Tape for InputTape {
    fn gradient(&self, _: &mut Builder<'_>) -> Result<View> {
        Ok(self.gradient)
    }

    fn backward(&self, _: &mut Builder<'_>, _: Segment, _: Option<Link<'_>>) -> Result<()> {
        Ok(())
    }
}

impl Builder<'_> {
    /// The tensors of these gradients.
    pub(super) fn open_read_gradients(&mut self) -> Result<()> {
        let inputs = match self.config.input {
            InputKind::Tokens(_) => None,
            InputKind::Dense(size) => Some(self.real("input_gradient", &[self.rows, size], Lifetime::Scratch)?),
        };
        let states = self.state_shape.width().saturating_mul(self.batch);
        let state = match states {
            0 => None,
            len => Some(self.plan.tensor("start_gradient", &[len], DType::F32, Lifetime::Scratch)?),
        };
        self.read_gradients = ReadGradients { inputs, state };
        Ok(())
    }

    /// What goes back to so many rows of the inputs from step `first` on, where that is wanted.
    pub(super) fn input_tape(&self, first: usize, rows: usize) -> Option<InputTape> {
        let (tensor, InputKind::Dense(size)) = (self.read_gradients.inputs?, self.config.input) else { return None };
        Some(InputTape { gradient: View::new(tensor, first * self.batch * size, rows, size) })
    }

    /// The gradient of a layer's state before the first step, of each direction where a tensor has it: the tensor, its
    /// width and the slot of every direction.
    pub(super) fn start_gradient(
        &mut self,
        layer: usize,
        kind: usize,
        (from, width): (TensorId, usize),
        slots: &[usize],
    ) {
        let Some(to) = self.read_gradients.state else { return };
        let (batch, of_one) = (self.batch, width / slots.len());
        let to = View::new(to, self.state_offset(layer, kind), batch, width);
        for (direction, slot) in slots.iter().enumerate() {
            let from = View::new(from, slot * batch * width, batch, width).columns(direction * of_one, of_one);
            self.push(Op::Copy(CopyView { from, to: to.columns(direction * of_one, of_one) }));
        }
    }
}
