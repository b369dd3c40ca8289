//! The loss of data that is not trained on.
//!
//! The contract: an evaluation changes neither weights nor the state that the training carries, and waits for the
//! device once for many windows.

use std::borrow::Borrow;
use std::sync::Arc;

use super::Trainer;
use super::feed::{nothing_counts, upload};
use crate::data::Batch;
use crate::error::{Error, Largest, Result};
use crate::plan::{METRICS_SLOTS, MetricsRow, Purpose, StepParams};
use crate::session::{CachedPlan, Carried};

impl Trainer {
    /// The mean loss over all positions of `batches` that count; of one batch, `[&batch]`. Neither the weights nor the
    /// carried state of the training change.
    ///
    /// # Errors
    /// Same as [`Trainer::step_async`]; [`Error::Data`] without any batch and where no position of any batch counts;
    /// [`Error::LossNotFinite`].
    pub async fn evaluate_async<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        let mut carried = Carried::Nowhere;
        // Windows of one plan whose losses are still on the device: how many positions of each count.
        let mut waiting: Vec<f64> = Vec::new();
        let mut last: Option<Arc<CachedPlan>> = None;
        let (mut largest, mut labels) = (None, 0);
        for batch in batches {
            let batch = batch.borrow();
            batch.check(self.session.config(), self.recipe.loss)?;
            let (steps, size) = (batch.sequences.steps, batch.sequences.batch_size);
            let prepared = self.session.prepared(&Purpose::Evaluate(self.recipe.loss), steps, size).await?;
            if let Some(last) = last.filter(|last| last.id != prepared.id || waiting.len() == METRICS_SLOTS) {
                sum += self.collect(&last, &waiting).await?;
                waiting.clear();
            }
            let counting = batch.count(self.session.config());
            let (metrics_row, positions) = (waiting.len() as f64, counting as f64);
            let step_params = StepParams { metrics_row, positions, ..StepParams::default() };
            upload(&mut self.session, &prepared, batch, (&carried, step_params), &mut self.rows_by_token)?;
            self.session.executor.run(prepared.id)?;
            carried = Carried::Device(Arc::clone(&prepared));
            waiting.push(counting as f64);
            count += counting as f64;
            labels += batch.valid(self.session.config());
            largest = Largest::or(largest, batch.largest(self.session.config()));
            last = Some(prepared);
        }
        let Some(last) = last else {
            return Err(Error::Data("there is no batch to evaluate".to_owned()));
        };
        if count == 0.0 {
            return Err(nothing_counts(labels));
        }
        sum += self.collect(&last, &waiting).await?;
        let loss = sum / count;
        if loss.is_finite() {
            Ok(loss)
        } else {
            let seen = Box::new(self.broken_evaluation(largest).await?);
            Err(Error::LossNotFinite { steps: self.steps, seen })
        }
    }

    /// Σ loss · count over the windows of an evaluation's plan; a window without a label has no loss.
    async fn collect(&mut self, prepared: &CachedPlan, counts: &[f64]) -> Result<f64> {
        let rows = self.session.executor.read(prepared.id, prepared.loss().metrics).await?;
        let losses = rows.chunks_exact(MetricsRow::LEN).map(|row| f64::from(MetricsRow::of(row).loss));
        Ok(losses.zip(counts).filter(|(_, count)| **count > 0.0).map(|(loss, count)| loss * count).sum())
    }
}
