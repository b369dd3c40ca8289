//! Read-outs: linear functions of a layer's rows, the network's own of those of the last layer, and the heads'.
//!
//! The contract: what reads a layer adds its gradient to that of the layer above it, which is there before; and reads
//! the rows before their gradient takes their place.

use super::layer::{Below, Done, Link, Segment, Tape};
use super::{Builder, ForwardTensors, HeadPlan};
use crate::error::Result;
use crate::model::Rows;
use crate::plan::{Accumulate, Op, View};

impl Builder<'_> {
    /// The network's own read-out of the rows `a`.
    pub(super) fn read_out(&mut self, a: View, out: View) -> Result<()> {
        let (weight, bias) = self.layout().read_out();
        self.linear(Below::Rows(a), (weight, bias), out)
    }

    /// Those of all heads of a layer, of its rows from `first` on.
    pub(super) fn read_heads(&mut self, heads: &[HeadPlan], layer: usize, rows: View, first: usize) -> Result<()> {
        if heads.iter().all(|head| head.layer != layer) {
            return Ok(());
        }
        let rows = self.rows_of_heads(layer, rows)?;
        for HeadPlan { prefix, outputs, .. } in heads.iter().filter(|head| head.layer == layer) {
            let out = View { offset: outputs.offset + first * outputs.cols, rows: rows.rows, ..*outputs };
            self.linear(Below::Rows(rows), (&format!("{prefix}weight"), &format!("{prefix}bias")), out)?;
        }
        Ok(())
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
        let heads = &forward.shared.heads;
        for (at, layer) in layers.iter().enumerate() {
            self.head_weights(heads, at, layer.rows, segment)?;
        }
        let Some(pool) = &forward.pool else {
            let offset = forward.outputs.offset + segment.first * self.batch * forward.outputs.cols;
            let d = View { offset, rows: top.rows.rows, ..forward.outputs };
            return self.of_read_out(d, top.rows, &*top.tape, segment);
        };
        // What is read once is gone back over once, with the last steps.
        if segment.is_last {
            let (d, pooled, tail) = (forward.outputs, pool.rows(self, top), &forward.tail);
            let (tape, at_pool) = (pool.tape(top), layers.len());
            self.head_weights(heads, at_pool, pooled, segment)?;
            for (at, layer) in (at_pool + 1..).zip(tail) {
                self.head_weights(heads, at, layer.rows, segment)?;
            }
            match tail.last() {
                None => self.of_read_out(d, pooled, &tape, segment)?,
                Some(last) => self.of_read_out(d, last.rows, &*last.tape, segment)?,
            }
            for (at, layer) in tail.iter().enumerate().rev() {
                self.head_rows(heads, (at_pool + 1 + at, layer.rows), &*layer.tape, segment)?;
                let below = match at.checked_sub(1) {
                    Some(below) => Link {
                        tape: &*tail[below].tape,
                        rows: tail[below].handed,
                        draw: tail[below].draw,
                        period: self.rows,
                    },
                    None => Link { tape: &tape, rows: pooled, draw: None, period: self.rows },
                };
                layer.tape.backward(self, segment, Some(below))?;
            }
            self.head_rows(heads, (at_pool, pooled), &tape, segment)?;
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

    /// The gradients of the weights of all heads of a layer, whose rows these are.
    fn head_weights(&mut self, heads: &[HeadPlan], layer: usize, rows: View, segment: Segment) -> Result<()> {
        if heads.iter().all(|head| head.layer != layer) {
            return Ok(());
        }
        let rows = self.rows_of_heads(layer, rows)?;
        for head in heads.iter().filter(|head| head.layer == layer) {
            let prefix = &head.prefix;
            let weight = self.weight(&format!("{prefix}weight")).offset;
            let bias = self.offset(&format!("{prefix}bias"));
            let d = self.head_gradient(head, rows.rows, segment);
            self.weight_gradient(d, Below::Rows(rows), (weight, bias), segment)?;
        }
        Ok(())
    }

    /// What all heads of a layer add to the gradient of its rows, where that of the layer above them is.
    pub(super) fn head_rows(
        &mut self,
        heads: &[HeadPlan],
        (layer, rows): (usize, View),
        tape: &dyn Tape,
        segment: Segment,
    ) -> Result<()> {
        for head in heads.iter().filter(|head| head.layer == layer) {
            let x = tape.gradient(self)?;
            // Of as many rows as the longest segment has.
            let longest = if self.is_of_steps(head) { self.segment * self.batch } else { self.batch };
            let join = self.join_of_heads(layer);
            let cols = if join.is_some() { rows.cols / 2 } else { rows.cols };
            let mut y = self.upstream("upstream_head", View { cols, ..x }, longest)?;
            let d = self.head_gradient(head, x.rows, segment);
            self.input_gradient(d, &format!("{}weight", head.prefix), y)?;
            if let Some(join) = join {
                let sides = self.beside_pool("upstream_head_sides", rows.rows, rows.cols)?;
                self.join_gradient(join, y, rows, sides);
                y = sides;
            }
            self.push(Op::Accumulate(Accumulate { x, y }));
        }
        Ok(())
    }

    /// The gradient of a head's outputs over a segment.
    fn head_gradient(&self, head: &HeadPlan, rows: usize, segment: Segment) -> View {
        let first = if self.is_of_steps(head) { segment.first * self.batch } else { 0 };
        View { offset: head.outputs.offset + first * head.outputs.cols, rows, ..head.outputs }
    }

    fn is_of_steps(&self, head: &HeadPlan) -> bool {
        self.config.rows_of(head.layer + 1) == Rows::Steps
    }
}
