//! A network that reads sequences of any length.
//!
//! The contract: a network that reads forwards alone does so a chunk of steps after the other, with the state carried
//! between them on the device, so that neither plans nor memory grow with T; what comes of it is bit for bit what one
//! plan over all T steps gives. A network that has to know all steps, as it reads from their end or pools them, has one
//! plan for each T.

use std::sync::Arc;

use super::{Carried, Session};
use crate::data::{Span, Start};
use crate::device::DeviceSlice;
use crate::error::Result;
use crate::executor::Readback;
use crate::model::{BatchShape, Layer, Pool, Rows};
use crate::plan::{Purpose, WindowForm};

/// How many chunks a device is given before it is waited for: each is held in the driver's memory until it is done.
const MAX_AHEAD: usize = 64;

/// What a network made of some sequences. Kept from call to call for its memory.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// `[R, O]` of the network's own read-out, or the rows of a layer that is observed.
    pub own: Vec<f32>,
    /// `[R, O]` of each head.
    pub heads: Vec<Vec<f32>>,
    /// Chunk by chunk what all of them made of it, where there are heads.
    chunks: Vec<f32>,
}

/// Where what is read out goes.
enum To<'a> {
    Host(&'a mut Outputs),
    Device(&'a DeviceSlice),
}

impl Session {
    /// Makes the plan of a number of steps ready, so that it need not be made later; it holds the state until another
    /// has run.
    pub async fn prepare_reading(&mut self, steps: usize, batch: usize) -> Result<()> {
        let steps = steps.min(self.chunk(&Purpose::Infer, batch, false).unwrap_or(steps));
        let made = self.prepared(&Purpose::Infer, WindowForm::new(steps, batch)).await?;
        if let Carried::Nowhere = self.carried {
            self.carried = Carried::Device(made);
        }
        Ok(())
    }

    /// Reads sequences that were checked, from the state that `start` names, and puts what is read out in the place of
    /// `out`; or, where `purpose` is to observe a layer, its rows.
    pub async fn read(
        &mut self,
        purpose: Purpose<'_>,
        sequences: Span<'_>,
        start: &Start,
        out: &mut Outputs,
    ) -> Result<()> {
        self.read_to(purpose, sequences, start, To::Host(out)).await
    }

    /// The same, of which the network's own read-out is left in numbers of the application's; it does not wait.
    pub async fn read_into(&mut self, sequences: Span<'_>, start: &Start, out: &DeviceSlice) -> Result<()> {
        let Span { steps, batch_size, .. } = sequences;
        let read_out = self.config.read_out();
        let expected = read_out.rows.count(BatchShape { steps, batch_size }) * read_out.outputs;
        out.check_writable(&read_out.argument("outputs").to_string(), expected)?;
        self.executor.check_room(out)?;
        self.read_to(Purpose::Infer, sequences, start, To::Device(out)).await
    }

    async fn read_to(&mut self, purpose: Purpose<'_>, sequences: Span<'_>, start: &Start, out: To<'_>) -> Result<()> {
        let Span { steps, batch_size, resets, .. } = sequences;
        let form = |steps| WindowForm { resets: !resets.is_empty(), ..WindowForm::new(steps, batch_size) };
        let chunk = self.chunk(&purpose, batch_size, sequences.lengths.is_some()).unwrap_or(steps);
        let (config, shape) = (&self.config, BatchShape { steps, batch_size });
        // Each chunk's are read where any has a row for each step; of the others the last are those that stay.
        let (every_step, expected, has_heads) = match purpose {
            Purpose::Observe(layer) => {
                let rows = config.rows_of(layer + 1);
                (rows == Rows::Steps, rows.count(shape) * config.widths()[layer + 1], false)
            }
            _ => {
                let expected = config.read_outs().map(|of_one| of_one.rows.count(shape) * of_one.outputs).sum();
                (config.read_outs().any(|of_one| of_one.rows == Rows::Steps), expected, !config.heads.is_empty())
            }
        };
        let mut readback = Readback::new(expected);
        let mut none = Outputs::default();
        let (out, slice) = match out {
            To::Host(out) => (out, None),
            To::Device(slice) => (&mut none, Some(slice)),
        };
        let to = if has_heads { &mut out.chunks } else { &mut out.own };
        if *start != Start::Carry {
            // Nobody will want it again.
            self.carried = Carried::Nowhere;
        }
        // Both before anything is run, so that a plan which cannot be made leaves the state as it was.
        let whole = if steps >= chunk { Some(self.prepared(&purpose, form(chunk)).await?) } else { None };
        let rest = match steps % chunk {
            0 => None,
            rest => Some(self.prepared(&purpose, form(rest)).await?),
        };
        to.clear();
        for (number, first) in (0..steps).step_by(chunk).enumerate() {
            let part = sequences.part(first, chunk.min(steps - first));
            let Some(plan) = (if part.steps == chunk { &whole } else { &rest }) else { continue };
            let carried = std::mem::take(&mut self.carried);
            let fed = self.feed(plan, &part, if first == 0 { start } else { &Start::Carry }, &carried);
            self.carried = carried;
            fed?;
            if let Some(slice) = slice {
                self.executor.run(plan.id)?;
                let read_out = self.config.read_out();
                let row = batch_size * read_out.outputs;
                let (from, count) =
                    if read_out.rows == Rows::Steps { (first * row, part.steps * row) } else { (0, row) };
                // Of a pool the last chunk's are those that stay.
                if read_out.rows == Rows::Steps || first + chunk >= steps {
                    let to = slice.part(from..from + count);
                    self.executor.read_slice(plan.id, plan.tensors.outputs, 0..count, &to)?;
                }
            } else if every_step || first + chunk >= steps {
                self.executor.run_and_read((plan.id, plan.tensors.outputs), &mut readback, to).await?;
            } else {
                self.executor.run(plan.id)?;
            }
            self.carried = Carried::Device(Arc::clone(plan));
            if number % MAX_AHEAD == MAX_AHEAD - 1 {
                self.executor.idle().await?;
            }
        }
        self.executor.finish(&mut readback, to).await?;
        if has_heads && slice.is_none() {
            let begin = if every_step { 0 } else { (steps - 1) / chunk * chunk };
            self.take_apart(sequences, (begin, chunk), out);
        }
        Ok(())
    }

    /// From what all read-outs made of one chunk after another, from step `begin` on, to what each made of all.
    fn take_apart(
        &self,
        sequences: Span<'_>,
        (begin, chunk): (usize, usize),
        Outputs { own, heads, chunks }: &mut Outputs,
    ) {
        let Span { steps, batch_size, .. } = sequences;
        heads.resize_with(self.config.heads.len(), Vec::new);
        let mut rest = chunks.as_slice();
        for first in (begin..steps).step_by(chunk) {
            let shape = BatchShape { steps: chunk.min(steps - first), batch_size };
            for (read_out, to) in self.config.read_outs().zip(std::iter::once(&mut *own).chain(heads.iter_mut())) {
                let (of_chunk, after) = rest.split_at(read_out.rows.count(shape) * read_out.outputs);
                if first == begin || read_out.rows == Rows::Sequences {
                    to.clear();
                }
                to.extend_from_slice(of_chunk);
                rest = after;
            }
        }
    }

    /// How many steps one plan reads at most; `None` where it has to read all.
    fn chunk(&self, purpose: &Purpose<'_>, batch: usize, has_lengths: bool) -> Option<usize> {
        let is_run = |pool: &usize| !matches!(purpose, Purpose::Observe(layer) if layer < pool);
        let is_whole = match self.config.pool_at().filter(is_run).map(|at| self.config.layers.split_at(at)) {
            None => false,
            // A recurrence holds the last state of a sequence that has ended; the last of other rows may lie in any
            // chunk.
            Some(([.., below], [Layer::Pool(Pool::Last), ..])) => has_lengths && !below.holds_state(),
            Some(_) => true,
        };
        (self.config.is_causal() && !is_whole).then(|| self.device.target().chunk(&self.config, batch))
    }
}
