//! A network that reads sequences of any length.
//!
//! The contract: a network that reads one way does so a chunk of steps after the other, with the state carried between
//! them on the device, so that neither plans nor memory grow with T; what comes of it is bit for bit what one plan over
//! all T steps gives. A network that has to know all steps, as it reads both ways or pools them, has one plan for each
//! T.

use std::sync::Arc;

use super::{Carried, Session};
use crate::data::{Span, Start};
use crate::error::Result;
use crate::executor::Readback;
use crate::model::{Layer, Pool};
use crate::plan::Purpose;

/// How many chunks a device is given before it is waited for: each is held in the driver's memory until it is done.
const MAX_AHEAD: usize = 64;

impl Session {
    /// Makes the plan of a number of steps ready, so that it need not be made later; it holds the state until another
    /// has run.
    pub async fn prepare_reading(&mut self, steps: usize, batch: usize) -> Result<()> {
        let steps = steps.min(self.chunk(batch, false).unwrap_or(steps));
        let made = self.prepared(&Purpose::Infer, steps, batch).await?;
        if let Carried::Nowhere = self.carried {
            self.carried = Carried::Device(made);
        }
        Ok(())
    }

    /// Reads sequences that were checked, from the state that `start` names, and puts what is read out in the place of
    /// `out`: `[T, B, O]`, or `[B, O]` of a network that is read out once.
    pub async fn read(&mut self, sequences: Span<'_>, start: &Start, out: &mut Vec<f32>) -> Result<()> {
        let Span { steps, batch_size, .. } = sequences;
        let chunk = self.chunk(batch_size, sequences.lengths.is_some()).unwrap_or(steps);
        let every_step = self.config.pooling().is_none();
        let mut readback =
            Readback::new(if every_step { steps * batch_size } else { batch_size } * self.config.outputs);
        if *start != Start::Carry {
            // Nobody will want it again.
            self.carried = Carried::Nowhere;
        }
        // Both before anything is run, so that a plan which cannot be made leaves the state as it was.
        let whole = if steps >= chunk { Some(self.prepared(&Purpose::Infer, chunk, batch_size).await?) } else { None };
        let rest = match steps % chunk {
            0 => None,
            rest => Some(self.prepared(&Purpose::Infer, rest, batch_size).await?),
        };
        out.clear();
        for (number, first) in (0..steps).step_by(chunk).enumerate() {
            let part = sequences.part(first, chunk.min(steps - first));
            let Some(plan) = (if part.steps == chunk { &whole } else { &rest }) else { continue };
            let carried = std::mem::take(&mut self.carried);
            let fed = self.feed(plan, &part, if first == 0 { start } else { &Start::Carry }, &carried);
            self.carried = carried;
            fed?;
            if every_step || first + chunk >= steps {
                self.executor.run_and_read((plan.id, plan.tensors.outputs), &mut readback, out).await?;
            } else {
                self.executor.run(plan.id)?;
            }
            self.carried = Carried::Device(Arc::clone(plan));
            if number % MAX_AHEAD == MAX_AHEAD - 1 {
                self.executor.idle().await?;
            }
        }
        self.executor.finish(&mut readback, out).await
    }

    /// How many steps one plan reads at most; `None` where it has to read all.
    fn chunk(&self, batch: usize, has_lengths: bool) -> Option<usize> {
        let is_whole = match self.config.pool_at().map(|at| self.config.layers.split_at(at)) {
            None => false,
            // A recurrence holds the last state of a sequence that has ended; the last of other rows may lie in any
            // chunk.
            Some(([.., below], [Layer::Pool(Pool::Last), ..])) => has_lengths && !below.holds_state(),
            Some(_) => true,
        };
        (self.config.is_causal() && !is_whole).then(|| self.device.target().chunk(&self.config, batch))
    }
}
