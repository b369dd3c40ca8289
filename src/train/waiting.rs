//! The forms of a [`Trainer`]'s calls that keep the thread while they wait.
//!
//! The contract: each does what its `_async` form does; there are none on wasm32, where no thread may be kept.

use std::borrow::Borrow;

use super::{HeadMetrics, Metrics, Profile, Trace, Trainer};
use crate::checkpoint::Checkpoint;
use crate::data::Batch;
use crate::device::Device;
use crate::error::Result;
use crate::model::{BatchShape, Model, State};
use crate::recipe::Recipe;
use crate::wait::block_on;

impl Trainer {
    /// Blocks until [`Trainer::new_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::new_async`].
    pub fn new(device: &Device, model: &Model, recipe: Recipe) -> Result<Self> {
        block_on(Self::new_async(device, model, recipe))
    }

    /// Blocks until [`Trainer::resume_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::resume_async`].
    pub fn resume(device: &Device, checkpoint: &Checkpoint) -> Result<Self> {
        block_on(Self::resume_async(device, checkpoint))
    }

    /// Blocks until [`Trainer::prepare_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::prepare_async`].
    pub fn prepare(&mut self, shape: BatchShape) -> Result<()> {
        block_on(self.prepare_async(shape))
    }

    /// [`Trainer::step_async`], which waits only where that says.
    ///
    /// # Errors
    /// Same as [`Trainer::step_async`].
    pub fn step(&mut self, batch: &Batch) -> Result<()> {
        block_on(self.step_async(batch))
    }

    /// [`Trainer::step_accumulated_async`], which waits only where that says.
    ///
    /// # Errors
    /// Same as [`Trainer::step_accumulated_async`].
    pub fn step_accumulated(&mut self, batches: &[Batch]) -> Result<()> {
        block_on(self.step_accumulated_async(batches))
    }

    /// Blocks until [`Trainer::profile_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::profile_async`].
    pub fn profile(&mut self, batch: &Batch) -> Result<Profile> {
        block_on(self.profile_async(batch))
    }

    /// Blocks until [`Trainer::metrics_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::metrics_async`].
    pub fn metrics(&mut self) -> Result<Vec<Metrics>> {
        block_on(self.metrics_async())
    }

    /// Blocks until [`Trainer::loss_scale_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::loss_scale_async`].
    pub fn loss_scale(&mut self) -> Result<f64> {
        block_on(self.loss_scale_async())
    }

    /// Blocks until [`Trainer::trace_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::trace_async`].
    pub fn trace(&mut self) -> Result<Trace> {
        block_on(self.trace_async())
    }

    /// Blocks until [`Trainer::evaluate_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::evaluate_async`].
    pub fn evaluate<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<f64> {
        block_on(self.evaluate_async(batches))
    }

    /// Blocks until [`Trainer::evaluate_heads_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::evaluate_heads_async`].
    pub fn evaluate_heads<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<Vec<HeadMetrics>> {
        block_on(self.evaluate_heads_async(batches))
    }

    /// Blocks until [`Trainer::model_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`].
    pub fn model(&mut self) -> Result<Model> {
        block_on(self.model_async())
    }

    /// Blocks until [`Trainer::state_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::state_async`].
    pub fn state(&mut self) -> Result<Option<State>> {
        block_on(self.state_async())
    }

    /// Blocks until [`Trainer::checkpoint_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::checkpoint_async`].
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        block_on(self.checkpoint_async())
    }
}
