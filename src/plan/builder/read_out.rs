//! The read-out: a linear function of the rows of the last layer.

use super::layer::{Done, Segment};
use super::{Builder, ForwardTensors};
use crate::error::Result;
use crate::plan::{MatMul, Op, ProductTile, View, WeightGradient};

impl Builder<'_> {
    pub(super) fn read_out(&mut self, a: View, out: View) -> Result<()> {
        let (weight, bias) = self.layout().read_out();
        let (b, bias) = (self.weight(weight), self.parameter(bias));
        let tile = ProductTile::of(self.target, [out.rows, out.cols]);
        self.product(MatMul { a, transpose_a: false, b, transpose_b: true, bias, out, tile })
    }

    /// V and its bias, and the gradient of the top layer's rows. The outputs are now their gradient.
    pub(super) fn read_out_gradient(
        &mut self,
        forward: &ForwardTensors,
        layers: &[Done],
        segment: Segment,
    ) -> Result<()> {
        let Some(top) = layers.last() else { return Ok(()) };
        let (name, bias) = self.layout().read_out();
        let (weight, bias) = (self.weight(name).offset, self.offset(bias));
        let (d, x) = match forward.read {
            None => {
                let offset = forward.outputs.offset + segment.first * self.batch * forward.outputs.cols;
                (View { offset, rows: top.rows.rows, ..forward.outputs }, top.rows)
            }
            Some(read) => (forward.outputs, read),
        };
        // What is read once is gone back over once, with the last steps.
        let reads = segment.is_last || forward.read.is_none();
        if reads {
            let tile = ProductTile::of(self.target, [d.cols, x.cols]);
            let slices = segment.slices;
            self.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
            let out = match &forward.pool {
                Some(pool) => pool.gradient(self, top)?,
                None => top.tape.gradient(self)?,
            };
            self.input_gradient(d, name, out)?;
        }
        match &forward.pool {
            Some(pool) => pool.backward(self, segment, top, reads),
            None => Ok(()),
        }
    }
}
