//! What steps were like: losses, norms and clipping, and the loss scale of half precision.
//!
//! The contract: metrics stay on the device until they are asked for, and a step that was not finite is an error of the
//! call that reads its metrics.

use serde::Serialize;

use super::Trainer;
use crate::error::{Error, Result};
use crate::model::Head;
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
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The step, counted from 1.
    pub step: u64,
    /// The mean loss over the positions that count: nats for cross-entropy. Where the network has heads, that of its
    /// own read-out and of each head, times its weight, added up.
    pub loss: f64,
    /// The global norm of the gradient before clipping, of all that no [`Group`](crate::Group) clips by itself.
    pub grad_norm: f64,
    /// The factor that clipping put on the gradient: below 1 where its norm was clipped. With
    /// [`Clip::Value`](crate::Clip::Value), the factor on the largest element.
    pub clip_scale: f64,
    /// Whether the step changed the weights. In half precision it does not where the scaled gradient overflowed
    /// f16; the norm is then that of the rest, and the loss scale is halved. See [`Trainer::loss_scale_async`].
    pub updated: bool,
    /// Where the network has heads, the mean loss of its own read-out, called `outputs`, and of each head, by itself; 0
    /// where none of its positions counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadMetrics>,
}

/// The loss of one read-out of a network that has several.
///
/// ```
/// use recurrent::{
///     Batch, BatchShape, Config, Device, HeadTargets, InputKind, Loss, Model, Recipe, Recurrent, Targets, Trainer,
/// };
/// let config = Config::new(InputKind::Tokens(3)).layer(Recurrent::gru(8)).head("value", 1).outputs(3);
/// let recipe = Recipe::new(Loss::CrossEntropy).with_head("value", Loss::MeanSquared, 0.5);
/// let mut trainer = Trainer::new(&Device::cpu(), &Model::new(config)?, recipe)?;
/// let window = Batch::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 1], vec![1, 2]);
/// trainer.step(&window.with_head(HeadTargets::new("value", Targets::Values(vec![0.1, 0.2]))))?;
/// let metrics = &trainer.metrics()?[0];
/// let [own, value] = &metrics.heads[..] else { panic!("two read-outs") };
/// assert_eq!((own.name.as_str(), value.name.as_str()), ("outputs", "value"));
/// assert!((own.loss + 0.5 * value.loss - metrics.loss).abs() < 1e-5);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HeadMetrics {
    /// The head's name, or `outputs` of the network's own read-out.
    pub name: String,
    /// The mean over its positions that count, whatever its weight.
    pub loss: f64,
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
                let (mut tables, slot) = (tables(&rows), (step % METRICS_SLOTS as u64) as usize);
                let Some(row) = tables.next().map(|table| table_row(table, slot)) else { continue };
                self.metrics.push(row);
                self.head_losses.extend(tables.map(|table| table_row(table, slot).loss));
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
        let (rows, head_losses) = (std::mem::take(&mut self.metrics), std::mem::take(&mut self.head_losses));
        let mut head_losses = head_losses.chunks(head_losses.len().div_ceil(rows.len().max(1)).max(1));
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
            let heads = head_losses.next().map_or_else(Vec::new, |losses| self.head_metrics(losses));
            let metrics = Metrics { step, loss, grad_norm, clip_scale, updated, heads };
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(metrics.clone());
            read.push(metrics);
        }
        Ok(read)
    }

    /// From losses times their weights, of the network's own read-out and of each head.
    pub(super) fn head_metrics(&self, losses: &[f32]) -> Vec<HeadMetrics> {
        let metrics = self.session.config().read_outs().zip(losses).map(|(read_out, loss)| {
            let name = read_out.name.unwrap_or(Head::OWN).to_owned();
            HeadMetrics { name, loss: f64::from(*loss) / self.recipe.weight(read_out.name) }
        });
        metrics.collect()
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

/// The tables of metrics: of the sum of all losses and, where there are several, of each.
pub(super) fn tables(rows: &[f32]) -> impl Iterator<Item = &[f32]> {
    rows.chunks_exact(METRICS_SLOTS * MetricsRow::LEN)
}

/// A row of one.
pub(super) fn table_row(table: &[f32], slot: usize) -> MetricsRow {
    MetricsRow::of(&table[slot * MetricsRow::LEN..][..MetricsRow::LEN])
}
