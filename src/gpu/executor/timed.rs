//! A run whose operations are timed one by one.
//!
//! The contract: the same commands in the same order as [`Executor::run`], so the same results; only where passes and
//! submissions end is another. It waits for the device, which `run` does not.

use super::submit::{Encoded, record};
use super::{Executor, Prepared};
use crate::clock::{Stopwatch, Timed, TimingSource};
use crate::error::{Error, Result};
use crate::gpu::wait::{map, scoped};
use crate::plan::PlanId;

/// What is being done where one of these fails.
const DOING: &str = "timing a plan's operations";
/// Bytes of one timestamp.
const TIMESTAMP: u64 = wgpu::QUERY_SIZE as u64;

impl Executor {
    /// [`Executor::run`], each operation between two timestamps, or where the device has none submitted alone and
    /// waited for.
    ///
    /// # Errors
    /// Same as [`Executor::read_async`].
    pub(crate) async fn run_timed(&mut self, id: PlanId) -> Result<Timed> {
        self.settled().await?;
        self.gpu.alive()?;
        let has_timestamps = self.gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let timed = if has_timestamps { self.by_timestamps(id).await } else { self.by_submissions(id).await };
        timed.map_err(|error| self.gpu.explain(error))
    }

    async fn by_timestamps(&mut self, id: PlanId) -> Result<Timed> {
        let (gpu, prepared, progress) = (&self.gpu, &mut self.plans[id], &mut self.progress);
        let device = gpu.device();
        let ((), caught) = scoped(device, DOING, || prepared.upload(gpu, progress.as_mut()));
        caught.wait().await?;
        let operations = operations(prepared)?;
        let bytes = 2 * operations.len() as u64 * TIMESTAMP;
        let (staging, caught) = scoped(device, DOING, || {
            let buffer = |label, usage| {
                let size = bytes.max(TIMESTAMP);
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            };
            let resolved = buffer("timestamps", wgpu::BufferUsages::QUERY_RESOLVE.union(wgpu::BufferUsages::COPY_SRC));
            let staging =
                buffer("timestamps read back", wgpu::BufferUsages::MAP_READ.union(wgpu::BufferUsages::COPY_DST));
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let most = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;
            for (number, operations) in operations.chunks(most).enumerate() {
                let count = 2 * operations.len() as u32;
                let set = device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count,
                });
                for (first, commands) in (0..).step_by(2).zip(operations) {
                    between(&mut encoder, &set, first, commands);
                }
                let offset = number as u64 * u64::from(wgpu::QUERY_SET_MAX_QUERIES) * TIMESTAMP;
                encoder.resolve_query_set(&set, 0..count, &resolved, offset);
            }
            encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, bytes);
            record(&mut encoder, &[], progress.as_mut());
            gpu.queue().submit([encoder.finish()]);
            staging
        });
        caught.wait().await?;
        map(device, &staging, bytes).await?;
        let view = staging.get_mapped_range(0..bytes).map_err(|error| Error::gpu(DOING, error))?;
        let ticks: Vec<u64> = view.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        // A timestamp may come before the one before it where a driver has reset its counter: no time is below zero.
        let micros = |first: u64, last: u64| {
            last.saturating_sub(first) as f64 * f64::from(gpu.queue().get_timestamp_period()) / 1000.0
        };
        let each = ticks.chunks_exact(2).map(|pair| micros(pair[0], pair[1])).collect();
        let total = ticks.first().zip(ticks.last()).map_or(0.0, |(first, last)| micros(*first, *last));
        Ok(Timed { clock: TimingSource::Timestamps, each, total })
    }

    async fn by_submissions(&mut self, id: PlanId) -> Result<Timed> {
        let (gpu, prepared, progress) = (&self.gpu, &mut self.plans[id], &mut self.progress);
        let device = gpu.device();
        let (staging, caught) = scoped(device, DOING, || {
            prepared.upload(gpu, progress.as_mut());
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("waited for"),
                size: 4,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        caught.wait().await?;
        let mut each = Vec::new();
        // The first waits for the upload and for all work before it.
        let operations = operations(prepared)?;
        let mut all = None;
        for commands in [&[][..]].into_iter().chain(operations) {
            let stopwatch = Stopwatch::start()?;
            let ((), caught) = scoped(device, DOING, || {
                let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                record(&mut encoder, commands, progress.as_mut());
                // Whoever waits for the buffer waits for what was written to it.
                encoder.clear_buffer(&staging, 0, None);
                gpu.queue().submit([encoder.finish()]);
            });
            caught.wait().await?;
            map(device, &staging, 4).await?;
            staging.unmap();
            match &all {
                None => all = Some(Stopwatch::start()?),
                Some(_) => each.push(stopwatch.elapsed()),
            }
        }
        Ok(Timed { clock: TimingSource::Submissions, each, total: all.map_or(0.0, |all| all.elapsed()) })
    }
}

/// The commands of each operation.
fn operations(prepared: &Prepared) -> Result<Vec<&[Encoded]>> {
    let mut rest = prepared.encoded.as_slice();
    let mut operations = Vec::with_capacity(prepared.plan.stages().len());
    for stage in prepared.plan.stages() {
        // What is no dispatch is one command.
        let count = stage.op.dispatches(&prepared.plan).max(1);
        let Some((commands, after)) = rest.split_at_checked(count) else { break };
        operations.push(commands);
        rest = after;
    }
    if rest.is_empty() && operations.len() == prepared.plan.stages().len() {
        return Ok(operations);
    }
    Err(Error::gpu(DOING, "the plan counts other dispatches than it has"))
}

/// Commands between the timestamps `first` and `first + 1`.
fn between(encoder: &mut wgpu::CommandEncoder, set: &wgpu::QuerySet, first: u32, commands: &[Encoded]) {
    let pass = |encoder: &mut wgpu::CommandEncoder, begins: bool, ends: bool, commands: &[Encoded]| {
        let timestamps = wgpu::ComputePassTimestampWrites {
            query_set: set,
            beginning_of_pass_write_index: begins.then_some(first),
            end_of_pass_write_index: ends.then_some(first + 1),
        };
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(timestamps) };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for command in commands {
            if let Encoded::Dispatch { pipeline, group, params, grid: [x, y, z] } = command {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[*params]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        }
    };
    if commands.iter().all(|command| matches!(command, Encoded::Dispatch { .. })) {
        return pass(encoder, true, true, commands);
    }
    // Copies stand outside of passes; WebGPU has timestamps only at a pass's ends.
    pass(encoder, true, false, &[]);
    record(encoder, commands, None);
    pass(encoder, false, true, &[]);
}
