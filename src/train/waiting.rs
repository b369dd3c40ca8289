//! The forms of a [`Trainer`]'s calls that keep the thread while they wait.
//!
//! The contract: each does what its `_async` form does; there are none on wasm32, where no thread may be kept.

use std::borrow::Borrow;

use super::{Gradients, HeadMetrics, InputGradients, Metrics, OutputGradients, Outputs, Profile, Trace, Trainer};
use crate::checkpoint::Checkpoint;
use crate::data::Batch;
use crate::device::{Device, DeviceSlice};
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

    /// Blocks until [`Trainer::forward_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::forward_async`].
    pub fn forward(&mut self, batch: &Batch) -> Result<Outputs> {
        block_on(self.forward_async(batch))
    }

    /// [`Trainer::forward_into_async`], which does not wait.
    ///
    /// # Errors
    /// Same as [`Trainer::forward_into_async`].
    pub fn forward_into(&mut self, batch: &Batch, outputs: &DeviceSlice) -> Result<()> {
        block_on(self.forward_into_async(batch, outputs))
    }

    /// [`Trainer::backward_async`], which does not wait.
    ///
    /// # Errors
    /// Same as [`Trainer::backward_async`].
    pub fn backward(&mut self, gradients: impl Into<OutputGradients>) -> Result<()> {
        block_on(self.backward_async(gradients))
    }

    /// [`Trainer::accumulate_async`], which does not wait.
    ///
    /// # Errors
    /// Same as [`Trainer::accumulate_async`].
    pub fn accumulate(&mut self, gradients: impl Into<OutputGradients>) -> Result<()> {
        block_on(self.accumulate_async(gradients))
    }

    /// Blocks until [`Trainer::step_with_async`] is done.
    ///
    /// ```
    /// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Sequences, Targets, Trainer};
    /// let model = Model::new(Config::gru(InputKind::Dense(1), 8, 1))?;
    /// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::External))?;
    /// let sequences = Sequences::dense(BatchShape { steps: 2, batch_size: 1 }, vec![0.5, -0.5]);
    /// let batch = Batch::new(sequences, Targets::None);
    /// for _ in 0..20 {
    ///     // Σ y⁴, which no loss of the crate is.
    ///     trainer.step_with(&batch, |outputs| {
    ///         let loss: f64 = outputs.outputs.iter().map(|y| f64::from(y.powi(4))).sum();
    ///         (loss, outputs.outputs.iter().map(|y| 4.0 * y.powi(3)).collect())
    ///     })?;
    /// }
    /// let metrics = trainer.metrics()?;
    /// assert!(metrics[19].loss < metrics[0].loss);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same as [`Trainer::step_with_async`].
    pub fn step_with<G: Into<OutputGradients>>(
        &mut self,
        batch: &Batch,
        loss: impl FnOnce(&Outputs) -> G,
    ) -> Result<()> {
        block_on(self.step_with_async(batch, loss))
    }

    /// Blocks until [`Trainer::gradients_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::gradients_async`].
    pub fn gradients(&mut self) -> Result<Gradients> {
        block_on(self.gradients_async())
    }

    /// Blocks until [`Trainer::input_gradients_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::input_gradients_async`].
    pub fn input_gradients(&mut self) -> Result<InputGradients> {
        block_on(self.input_gradients_async())
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

    /// Blocks until [`Trainer::evaluate_averaged_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::evaluate_averaged_async`].
    pub fn evaluate_averaged<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<f64> {
        block_on(self.evaluate_averaged_async(batches))
    }

    /// Blocks until [`Trainer::averaged_model_async`] is done.
    ///
    /// # Errors
    /// Same as [`Trainer::averaged_model_async`].
    pub fn averaged_model(&mut self) -> Result<Model> {
        block_on(self.averaged_model_async())
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
