//! The forms of a [`Trainer`]'s calls that keep the thread while they wait.
//!
//! The contract: each does what its `_async` form does; there are none on wasm32, where no thread may be kept.

use std::borrow::Borrow;

use super::{Metrics, Profile, Trace, Trainer};
use crate::blocking::block_on;
use crate::checkpoint::{Checkpoint, State};
use crate::data::Batch;
use crate::device::Device;
use crate::error::Result;
use crate::gpu::Wait;
use crate::model::Model;
use crate::plan::Recipe;

impl Trainer {
    /// [`Trainer::new_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn new(device: &Device, model: &Model, recipe: Recipe) -> Result<Self> {
        block_on(Self::new_async(device, model, recipe))
    }

    /// [`Trainer::resume_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn resume(device: &Device, checkpoint: &Checkpoint) -> Result<Self> {
        block_on(Self::resume_async(device, checkpoint))
    }

    /// [`Trainer::prepare_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn prepare(&mut self, steps: usize, batch: usize) -> Result<()> {
        block_on(self.prepare_waiting(steps, batch, Wait::Block))
    }

    /// [`Trainer::step_async`], which waits only where that says.
    ///
    /// # Errors
    /// As there.
    pub fn step(&mut self, batch: &Batch) -> Result<()> {
        block_on(self.step_waiting(std::slice::from_ref(batch), Wait::Block, None))
    }

    /// [`Trainer::step_accumulated_async`], which waits only where that says.
    ///
    /// # Errors
    /// As there.
    pub fn step_accumulated(&mut self, batches: &[Batch]) -> Result<()> {
        block_on(self.step_waiting(batches, Wait::Block, None))
    }

    /// [`Trainer::profile_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn profile(&mut self, batch: &Batch) -> Result<Profile> {
        block_on(self.profile_waiting(batch, Wait::Block))
    }

    /// [`Trainer::metrics_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn metrics(&mut self) -> Result<Vec<Metrics>> {
        block_on(self.metrics_waiting(Wait::Block))
    }

    /// [`Trainer::loss_scale_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn loss_scale(&mut self) -> Result<f64> {
        block_on(self.loss_scale_waiting(Wait::Block))
    }

    /// [`Trainer::trace_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn trace(&mut self) -> Result<Trace> {
        block_on(self.trace_waiting(Wait::Block))
    }

    /// [`Trainer::evaluate_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn evaluate<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<f64> {
        block_on(self.evaluate_waiting(batches, Wait::Block))
    }

    /// [`Trainer::model_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn model(&mut self) -> Result<Model> {
        block_on(self.model_waiting(Wait::Block))
    }

    /// [`Trainer::state_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn state(&mut self) -> Result<Option<State>> {
        block_on(self.state_waiting(Wait::Block))
    }

    /// [`Trainer::checkpoint_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        block_on(self.checkpoint_waiting(Wait::Block))
    }
}
