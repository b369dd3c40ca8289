//! A training step timed operation by operation, as a table.
//!
//! The contract: the step trains as any other, and its result is that of [`Trainer::step_async`] bit for bit; every
//! operation of its plan is in exactly one row. An ordinary step is not timed and pays nothing for this.

use std::fmt;

use serde::Serialize;

use super::Trainer;
use super::feed::form_of;
use crate::clock::{Timed, TimingSource};
use crate::data::Batch;
use crate::error::Result;
use crate::plan::{Phase, Plan, Purpose};

/// Where the time of one training step went, from [`Trainer::profile_async`].
///
/// It is the time of the device's work: what the host does before it, the upload of the inputs included, is not in it.
///
/// ```
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// let model = Model::new(Config::gru(InputKind::Tokens(3), 8, 3))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy))?;
/// let window = Batch::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 1], vec![1, 2]);
/// trainer.step(&window)?;
/// println!("{}", trainer.profile(&window)?); // a table, the costliest operation first
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// The device's name, as [`Device::name`](crate::Device::name) has it.
    pub device: String,
    /// By what it was timed.
    pub clock: TimingSource,
    /// T of the window.
    pub steps: usize,
    /// B of the window.
    pub batch: usize,
    /// Microseconds from the beginning of the first operation to the end of the last: at least the sum of the rows.
    pub micros: f64,
    /// What took longest first; operations of one phase, of one kind and on the same tensors are one row.
    pub rows: Vec<ProfileRow>,
}

/// One operation of a step, or several of a kind that work on the same tensors.
///
/// ```
/// use recurrent::{Phase, Profile};
/// /// The part of a step that goes into the backward pass.
/// fn backward(profile: &Profile) -> f64 {
///     profile.rows.iter().filter(|row| row.phase == Phase::Backward).map(|row| row.share).sum()
/// }
/// # let _ = backward;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ProfileRow {
    /// The part of the step.
    pub phase: Phase,
    /// The operation: `matmul`, `lstm forward by steps`, `adam`.
    pub op: String,
    /// What it works on, by the names of the plan's tensors, the written one first: `gates_l0 ← x, parameters`.
    pub tensors: String,
    /// How many of the plan's operations these are.
    pub operations: usize,
    /// How many dispatches a GPU needs for them: 0 for a copy of bytes.
    pub dispatches: usize,
    /// Microseconds, of all of them together.
    pub micros: f64,
    /// Floating-point operations, computed from the tensor shapes as [`Cost`](crate::plan::Cost) says.
    pub flops: u64,
    /// Bytes read and written, computed likewise.
    pub bytes: u64,
    /// GFLOP/s; 0 if the measured time is 0.
    pub gflops_per_second: f64,
    /// Thousand millions of bytes a second; 0 where the clock saw no time.
    pub gigabytes_per_second: f64,
    /// The part of [`Profile::micros`], from 0 to 1.
    pub share: f64,
}

impl Trainer {
    /// One step of training, as [`Trainer::step_async`] does it, timed operation by operation. It waits for the device,
    /// and for all steps before it.
    ///
    /// On a GPU the clock is the GPU's own where it has timestamps (wgpu's `TIMESTAMP_QUERY`, which
    /// [`Gpu::new_async`](crate::gpu::Gpu::new_async) asks for); else each operation is submitted alone and waited for,
    /// which [`Profile::clock`] says. The first steps of a process are slower than those after them: train a few first.
    /// Operations are kept apart to be timed, so the whole takes somewhat longer than an ordinary step.
    ///
    /// # Errors
    /// Same as [`Trainer::step_async`] and [`Trainer::metrics_async`], but for a divergence, which shows there;
    /// [`Error::Config`](crate::Error::Config) on wasm32 where the device has no timestamps.
    pub async fn profile_async(&mut self, batch: &Batch) -> Result<Profile> {
        let mut timed = None;
        self.step_windows(std::slice::from_ref(batch), Some(&mut timed)).await?;
        let (steps, size) = (batch.sequences.steps, batch.sequences.batch_size);
        let form = form_of(batch, self.session.config());
        let prepared = self.session.prepared(&Purpose::Train(&self.recipe), form).await?;
        let Some(timed) = timed else { unreachable!("a step runs its window") };
        let rows = rows(self.session.executor.plan(prepared.id), &timed);
        Ok(Profile {
            device: self.session.device().name(),
            clock: timed.clock,
            steps,
            batch: size,
            micros: timed.total,
            rows,
        })
    }
}

fn rows(plan: &Plan, timed: &Timed) -> Vec<ProfileRow> {
    let mut rows: Vec<ProfileRow> = Vec::new();
    for (stage, micros) in plan.stages().iter().zip(&timed.each) {
        let (phase, cost, dispatches) = (stage.phase, stage.op.cost(plan), stage.op.dispatches(plan));
        let same = |row: &&mut ProfileRow| row.phase == phase && row.op == cost.op && row.tensors == cost.tensors;
        if let Some(row) = rows.iter_mut().find(same) {
            row.operations += 1;
            row.dispatches += dispatches;
            row.micros += micros;
            row.flops += cost.flops;
            row.bytes += cost.bytes;
            continue;
        }
        rows.push(ProfileRow {
            phase,
            op: cost.op,
            tensors: cost.tensors,
            operations: 1,
            dispatches,
            micros: *micros,
            flops: cost.flops,
            bytes: cost.bytes,
            gflops_per_second: 0.0,
            gigabytes_per_second: 0.0,
            share: 0.0,
        });
    }
    for row in &mut rows {
        // A thousand a microsecond are a thousand millions a second.
        let rate = |count: u64| if row.micros > 0.0 { count as f64 / row.micros / 1000.0 } else { 0.0 };
        (row.gflops_per_second, row.gigabytes_per_second) = (rate(row.flops), rate(row.bytes));
        row.share = if timed.total > 0.0 { row.micros / timed.total } else { 0.0 };
    }
    rows.sort_by(|a, b| b.micros.total_cmp(&a.micros));
    rows
}

impl fmt::Display for Profile {
    /// A table, its columns aligned.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Profile { device, clock, steps, batch, micros, rows } = self;
        writeln!(f, "{device}, {clock}: one training step, T {steps}, B {batch}, {micros:.1} µs")?;
        let head = ["phase", "operation", "tensors", "dispatches", "µs", "GFLOP/s", "GB/s", "share"];
        let cells = rows.iter().map(|row| {
            [
                format!("{:?}", row.phase).to_lowercase(),
                row.op.clone(),
                row.tensors.clone(),
                row.dispatches.to_string(),
                format!("{:.1}", row.micros),
                format!("{:.2}", row.gflops_per_second),
                format!("{:.2}", row.gigabytes_per_second),
                format!("{:.1} %", 100.0 * row.share),
            ]
        });
        let table: Vec<[String; 8]> = [head.map(str::to_owned)].into_iter().chain(cells).collect();
        let mut widths = [0; 8];
        for row in &table {
            widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
        }
        for row in &table {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                // Words from the left, numbers to the right.
                line += &if column < 3 { format!("{gap}{cell:<width$}") } else { format!("{gap}{cell:>width$}") };
            }
            writeln!(f, "{line}")?;
        }
        let rest = micros - rows.iter().map(|row| row.micros).sum::<f64>();
        write!(f, "between operations: {:.1} µs", rest.max(0.0))
    }
}
