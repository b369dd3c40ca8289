//! The read-out: a linear function of the rows of the last layer.

use super::Builder;
use super::ForwardTensors;
use super::layer::{Below, Done, Link, Segment, Tape};
use crate::error::Result;
use crate::plan::{MatMul, ProductTile, View};

impl Builder<'_> {
    pub(super) fn read_out(&mut self, a: View, out: View) -> Result<()> {
        let (weight, bias) = self.layout().read_out();
        let (b, bias) = (self.weight(weight), self.parameter(bias));
        let tile = ProductTile::of(self.target, [out.rows, out.cols]);
        self.product(MatMul { a, transpose_a: false, b, transpose_b: true, bias, out, tile })
    }

    /// V and its bias, and the gradient of the rows of the top layer that reads steps, by way of what stands above a
    /// pool. The outputs are now their gradient.
    pub(super) fn read_out_gradient(
        &mut self,
        forward: &ForwardTensors,
        layers: &[Done],
        segment: Segment,
    ) -> Result<()> {
        let Some(top) = layers.last() else { return Ok(()) };
        let Some(pool) = &forward.pool else {
            let offset = forward.outputs.offset + segment.first * self.batch * forward.outputs.cols;
            let d = View { offset, rows: top.rows.rows, ..forward.outputs };
            return self.of_read_out(d, top.rows, &*top.tape, segment);
        };
        // What is read once is gone back over once, with the last steps.
        if segment.is_last {
            let (d, pooled, tail) = (forward.outputs, pool.rows(self, top), &forward.tail);
            let tape = pool.tape(top);
            match tail.last() {
                None => self.of_read_out(d, pooled, &tape, segment)?,
                Some(last) => self.of_read_out(d, last.rows, &*last.tape, segment)?,
            }
            for (at, layer) in tail.iter().enumerate().rev() {
                let below = match at.checked_sub(1) {
                    Some(below) => Link { tape: &*tail[below].tape, rows: tail[below].handed, draw: tail[below].draw },
                    None => Link { tape: &tape, rows: pooled, draw: None },
                };
                layer.tape.backward(self, segment, Some(below))?;
            }
        }
        pool.backward(self, segment, top, segment.is_last)
    }

    /// From the gradient `d` of the outputs to V's, its bias's and that of the rows that were read.
    fn of_read_out(&mut self, d: View, rows: View, tape: &dyn Tape, segment: Segment) -> Result<()> {
        let (name, bias) = self.layout().read_out();
        let (weight, bias) = (self.weight(name).offset, self.offset(bias));
        self.weight_gradient(d, Below::Rows(rows), (weight, bias), segment)?;
        let out = tape.gradient(self)?;
        self.input_gradient(d, name, out)
    }
}
