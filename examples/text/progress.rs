//! How far a run has come: the course of its losses and the epochs that are done, kept in the checkpoint's notes.
//!
//! The contract: nothing here depends on when a run was interrupted, so that a resumed run reports what an
//! uninterrupted one does.

use recurrent::train::Metrics;
use serde::{Deserialize, Serialize};

/// A point of the training loss is the mean over this many steps, fewer at the end of an epoch.
const INTERVAL: u64 = 20;

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    pub step: u64,
    pub nats: f64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs that are done, their validation included.
    pub epochs: u64,
    pub train: Vec<Point>,
    pub validation: Vec<Point>,
    /// Loss and norm of the steps since the last point.
    recent: Vec<(f64, f64)>,
    /// The sum of the losses of this epoch up to the last point.
    epoch_sum: f64,
}

/// The means over the steps since the point before.
pub struct Means {
    pub step: u64,
    pub nats: f64,
    pub norm: f64,
}

impl Progress {
    /// Whether a point ends after `step`, where an epoch has `epoch` steps: every so many, and with the epoch.
    pub fn is_point(step: u64, epoch: u64) -> bool {
        (step % epoch).is_multiple_of(INTERVAL)
    }

    /// The least validation loss, the first where several are equal.
    pub fn best(&self) -> Option<Point> {
        self.validation.iter().copied().reduce(|best, point| if point.nats < best.nats { point } else { best })
    }

    /// How many validations there were since the best.
    pub fn since_best(&self) -> usize {
        let best = self.best().map_or(0, |best| best.step);
        self.validation.iter().filter(|point| point.step > best).count()
    }

    /// Takes in what steps reported and returns the points that they complete.
    pub fn record(&mut self, metrics: &[Metrics], epoch: u64) -> Vec<Means> {
        let mut completed = Vec::new();
        for m in metrics {
            self.recent.push((m.loss, m.grad_norm));
            if Self::is_point(m.step, epoch) {
                completed.push(self.complete(m.step));
            }
        }
        completed
    }

    fn complete(&mut self, step: u64) -> Means {
        let count = self.recent.len() as f64;
        let (nats, norm) = self.recent.drain(..).fold((0.0, 0.0), |sum, m| (sum.0 + m.0, sum.1 + m.1));
        self.epoch_sum += nats;
        let means = Means { step, nats: nats / count, norm: norm / count };
        self.train.push(Point { step, nats: means.nats });
        means
    }

    /// Ends an epoch of `epoch` steps and returns the mean training loss over it.
    pub fn end_epoch(&mut self, epoch: u64, validation: Option<f64>) -> f64 {
        self.epochs += 1;
        let step = self.epochs * epoch;
        self.validation.extend(validation.map(|nats| Point { step, nats }));
        std::mem::take(&mut self.epoch_sum) / epoch as f64
    }
}
