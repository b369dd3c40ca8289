//! What steps were like: losses, norms and clipping, and the loss scale of half precision.
//!
//! The contract: metrics stay on the device until they are asked for, and a step that was not finite is an error of the
//! call that reads its metrics.

use serde::Serialize;

use super::Trainer;
use crate::error::{Error, Result};
use crate::plan::{LossScale, METRICS_SLOTS, MetricsRow};
use crate::recipe::Precision;

/// Maximum number of consecutive skipped updates in half precision: after as many halvings the loss scale is at the
/// least.
const MAX_SKIPPED: usize = 24;

/// Number of recent steps included in a divergence report.
const RECENT: usize = 8;

/// What a step was like.
///
/// ```
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// let model = Model::new(Config::elman(InputKind::Tokens(3), 8, 3))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy))?;
/// let window = Batch::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 1], vec![1, 2]);
/// trainer.step(&window)?;
/// trainer.step(&window)?;
/// for metrics in trainer.metrics()? {
///     println!("step {}: loss {:.3}, gradient {:.3}", metrics.step, metrics.loss, metrics.grad_norm);
/// }
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The step, counted from 1.
    pub step: u64,
    /// The mean loss over the positions that count: nats for cross-entropy.
    pub loss: f64,
    /// The global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The factor that clipping put on the gradient: below 1 where its norm was clipped. With
    /// [`Clip::Value`](crate::Clip::Value), the factor on the largest element.
    pub clip_scale: f64,
    /// Whether the step changed the weights. In half precision it does not where the scaled gradient overflowed
    /// f16; the norm is then that of the rest, and the loss scale is halved. See [`Trainer::loss_scale_async`].
    pub updated: bool,
}

/// How many steps there were whose metrics were read, and how many of them were clipped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClipCount {
    pub clipped: u64,
    pub steps: u64,
}

impl Trainer {
    /// Reads the metrics of all steps that were not read yet from the device.
    pub(super) async fn drain(&mut self) -> Result<()> {
        let unread = self.steps - self.read;
        let Some(tensor) = self.session.shared().metrics else { unreachable!("a training has metrics") };
        if unread > 0 {
            let rows = self.session.read_shared(tensor).await?;
            for step in self.read..self.steps {
                let first = (step % METRICS_SLOTS as u64) as usize * MetricsRow::LEN;
                let row = MetricsRow::of(&rows[first..first + MetricsRow::LEN]);
                self.metrics.push(row);
                self.clipped.clipped += u64::from(row.clip_scale < 1.0);
                self.clipped.steps += 1;
            }
            self.read = self.steps;
        }
        Ok(())
    }

    /// The metrics of every step since the last call, oldest first. This is the call that waits for the device.
    ///
    /// In half precision a step whose gradient is not finite, though its loss is, is not yet a divergence: it changed
    /// no weight, and the gradient is scaled down. More than 24 consecutive ones are a divergence.
    ///
    /// # Errors
    /// [`Error::Diverged`] with the first step whose loss or gradient was not finite, as said; such a step changed no
    /// weight, and the metrics of this call's other steps are dropped with it. [`Error::DeviceLost`].
    pub async fn metrics_async(&mut self) -> Result<Vec<Metrics>> {
        self.drain().await?;
        let first = self.steps - self.metrics.len() as u64 + 1;
        let rows = std::mem::take(&mut self.metrics);
        let last = rows.last().copied().unwrap_or_default();
        let may_skip = if self.session.device().precision() == Precision::F16 { MAX_SKIPPED } else { 0 };
        let mut read = Vec::with_capacity(rows.len());
        for (step, MetricsRow { loss, grad_norm, clip_scale, updates }) in (first..).zip(rows) {
            let updated = updates == 1.0;
            self.skipped = if updated { 0 } else { self.skipped + 1 };
            if !loss.is_finite() || self.skipped > may_skip {
                self.skipped = 0;
                let what = if loss.is_finite() { "the gradient" } else { "the loss" };
                let seen = Box::new(self.divergence(last).await?);
                // The steps after it are dropped: what comes next does not follow these.
                self.recent.clear();
                return Err(Error::Diverged { step, what, seen });
            }
            let [loss, grad_norm, clip_scale] = [loss, grad_norm, clip_scale].map(f64::from);
            let metrics = Metrics { step, loss, grad_norm, clip_scale, updated };
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(metrics);
            read.push(metrics);
        }
        Ok(read)
    }

    /// Returns the loss scale: the factor on the gradient of the next step's loss on its way through f16 tensors; 1 in
    /// [`Precision::F32`](crate::Precision).
    ///
    /// It starts at 65536, is halved by a step whose scaled gradient is not finite, down to 1/256, and doubled after
    /// 2000 consecutive steps whose gradient is, up to 2²⁴. It is divided out before the gradient is measured and
    /// clipped.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`].
    pub async fn loss_scale_async(&mut self) -> Result<f64> {
        Ok(self.read_loss_scale().await?.map_or(1.0, |scale| scale.factor.into()))
    }

    /// Sets the loss scale, where there is one.
    pub(super) fn write_loss_scale(&mut self, scale: LossScale) -> Result<()> {
        match self.session.shared().loss_scale {
            Some(tensor) => self.session.write_shared(tensor, &scale.elements()),
            None => Ok(()),
        }
    }

    /// Reads the loss scale, where there is one.
    pub(super) async fn read_loss_scale(&mut self) -> Result<Option<LossScale>> {
        match self.session.shared().loss_scale {
            Some(tensor) => Ok(Some(LossScale::of(&self.session.read_shared(tensor).await?))),
            None => Ok(None),
        }
    }
}
