//! The loss of data that is not trained on.
//!
//! The contract: an evaluation changes neither weights nor the state that the training carries, and waits for the
//! device once for many windows.

use std::borrow::Borrow;
use std::sync::Arc;

use super::Trainer;
use super::feed::{check, divisors, form_of, nothing_counts, upload};
use super::metrics::{HeadMetrics, table_row, tables};
use crate::data::Batch;
use crate::error::{Error, Largest, Result};
use crate::model::Head;
use crate::plan::{METRICS_SLOTS, Purpose, StepParams};
use crate::session::{CachedPlan, Carried};

/// The mean of a read-out's loss over windows, as it is added up.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    /// Σ loss · divisor.
    sum: f64,
    /// Σ divisor: of a mean over positions, how many count.
    divisor: f64,
}

/// Windows of one plan whose losses are still on the device.
#[derive(Default)]
struct Waiting {
    plan: Option<Arc<CachedPlan>>,
    windows: usize,
    /// What the losses of each window were divided by, for each read-out.
    divisors: Vec<f64>,
}

impl Trainer {
    /// The mean loss over all positions of `batches` that count; of one batch, `[&batch]`. Neither the weights nor the
    /// carried state of the training change. Where the network has heads, that of its own read-out and of each head,
    /// times its weight, added up.
    ///
    /// # Errors
    /// Same as [`Trainer::step_async`]; [`Error::Data`] without any batch and where no position of any batch counts;
    /// [`Error::LossNotFinite`].
    pub async fn evaluate_async<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<f64> {
        let means = self.means(batches).await?;
        let weights = self.config().read_outs().map(|read_out| self.recipe.weight(read_out.name));
        // What counts nowhere has no loss.
        let counted = means.iter().zip(weights).filter(|(mean, _)| mean.divisor > 0.0);
        Ok(counted.map(|(mean, weight)| weight * mean.sum / mean.divisor).sum())
    }

    /// The mean losses that [`Trainer::evaluate_async`] adds up, each by itself: of the network's own read-out, called
    /// `outputs`, and of each head. One none of whose positions counts is left out.
    ///
    /// # Errors
    /// Same as [`Trainer::evaluate_async`].
    pub async fn evaluate_heads_async<I: IntoIterator<Item: Borrow<Batch>>>(
        &mut self,
        batches: I,
    ) -> Result<Vec<HeadMetrics>> {
        let means = self.means(batches).await?;
        let counted = self.config().read_outs().zip(means).filter(|(_, mean)| mean.divisor > 0.0);
        let metrics = counted.map(|(read_out, mean)| HeadMetrics {
            name: read_out.name.unwrap_or(Head::OWN).to_owned(),
            loss: mean.sum / mean.divisor,
        });
        Ok(metrics.collect())
    }

    /// Those of each read-out.
    async fn means<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<Vec<Mean>> {
        if self.recipe.is_external() {
            return Err(Error::Config(
                "a loss of the recipe is the caller's (Loss::External), which an evaluation cannot compute; expected \
                 Predictor::run, and his own loss of what it returns"
                    .to_owned(),
            ));
        }
        let mut means = vec![Mean::default(); self.config().read_outs().count()];
        let mut carried = Carried::Nowhere;
        let mut waiting = Waiting::default();
        let (mut largest, mut labels) = (None, 0);
        for batch in batches {
            let batch = batch.borrow();
            check(&mut self.session, batch, &self.recipe)?;
            let form = form_of(batch, self.session.config());
            let prepared = self.session.prepared(&Purpose::Evaluate(&self.recipe), form).await?;
            let is_other = waiting.plan.as_ref().is_some_and(|plan| plan.id != prepared.id);
            if is_other || waiting.windows == METRICS_SLOTS {
                self.collect(&mut waiting, &mut means).await?;
            }
            let metrics_row = waiting.windows as f64;
            waiting.divisors.extend(divisors(batch, self.session.config(), &self.recipe));
            let divisors = &waiting.divisors[waiting.windows * means.len()..];
            let step_params = StepParams { metrics_row, ..StepParams::default() };
            upload(
                &mut self.session,
                &prepared,
                batch,
                &self.recipe,
                (&carried, step_params, divisors),
                &mut self.token_rows,
            )?;
            self.session.executor.run(prepared.id)?;
            carried = Carried::Device(Arc::clone(&prepared));
            waiting.windows += 1;
            labels += batch.valid(self.session.config());
            largest = Largest::or(largest, batch.largest(self.session.config()));
            waiting.plan = Some(prepared);
        }
        if waiting.plan.is_none() {
            return Err(Error::Data("there is no batch to evaluate".to_owned()));
        }
        self.collect(&mut waiting, &mut means).await?;
        if means.iter().all(|mean| mean.divisor == 0.0) {
            return Err(nothing_counts(labels));
        }
        if means.iter().all(|mean| mean.sum.is_finite()) {
            Ok(means)
        } else {
            let seen = Box::new(self.broken_evaluation(largest).await?);
            Err(Error::LossNotFinite { steps: self.steps, seen })
        }
    }

    /// Adds up the losses of windows of an evaluation's plan, and forgets them; a window without a label has no loss.
    async fn collect(&mut self, waiting: &mut Waiting, means: &mut [Mean]) -> Result<()> {
        let Some(plan) = waiting.plan.take() else { return Ok(()) };
        let rows = self.session.executor.read(plan.id, plan.loss().metrics).await?;
        // Of several losses the first table is their sum.
        let of_each = tables(&rows).skip(usize::from(means.len() > 1));
        let each = means.len();
        for (at, (mean, table)) in means.iter_mut().zip(of_each).enumerate() {
            for (window, divisor) in waiting.divisors.iter().skip(at).step_by(each).enumerate() {
                if *divisor > 0.0 {
                    mean.sum += f64::from(table_row(table, window).loss) * divisor;
                    mean.divisor += divisor;
                }
            }
        }
        waiting.windows = 0;
        waiting.divisors.clear();
        Ok(())
    }
}
