//! Waiting for the device, and reading the results of many runs back at once.
//!
//! The contract: copies are queued behind the runs whose results they are and waited for together, in buffers of at
//! most 16 MiB, or one tensor; what a dropped call has queued is lost with it, and nothing else.

use super::Executor;
use crate::error::{Error, Result};
use crate::gpu::progress::BYTES;
use crate::gpu::wait::{map, scoped};
use crate::plan::{Part, PlanId, TensorId};

/// The most bytes that are copied before they are waited for, unless one tensor is larger.
const MAX_STAGED: u64 = 16 << 20;

const DOING: &str = "reading tensors back";

/// Tensors that are on their way to the host.
pub(crate) struct Readback {
    /// Bytes that are still to be copied, as far as is known.
    expected: u64,
    staging: Option<wgpu::Buffer>,
    /// Bytes that were copied.
    staged: u64,
    /// How many submissions the last copy is behind.
    submitted: u32,
}

impl Readback {
    /// Of tensors that have so many numbers together.
    pub fn new(expected: usize) -> Self {
        Readback { expected: expected as u64 * 4, staging: None, staged: 0, submitted: 0 }
    }
}

impl Executor {
    /// [`Executor::run`], and a copy of one of the plan's tensors of real numbers behind it in the same submission.
    /// Where there is no more room for it, all that were queued before are waited for first and appended to `out`.
    ///
    /// # Errors
    /// Same as [`Executor::run`], for this and all earlier calls that did not wait.
    pub(crate) async fn run_and_read(
        &mut self,
        (plan, tensor): (PlanId, TensorId),
        readback: &mut Readback,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let size = self.plans[plan].places[tensor.0].size;
        if readback.staging.as_ref().is_none_or(|staging| readback.staged + size + BYTES > staging.size()) {
            self.finish(readback, out).await?;
            // The count of what was done comes behind it.
            let size = readback.expected.min(MAX_STAGED).max(size) + BYTES;
            readback.staging = Some(self.staging(size).await?);
        }
        let Some(staging) = &readback.staging else { return Ok(()) };
        let end = readback.staged + size;
        let submitted = &mut readback.submitted;
        self.run_and_copy((plan, Part::All), |prepared, progress, encoder| {
            let place = &prepared.places[tensor.0];
            encoder.copy_buffer_to_buffer(&place.buffer, place.offset, staging, end - size, size);
            *submitted = progress.map_or(0, |progress| progress.copy(encoder, staging, end));
        })?;
        readback.staged = end;
        readback.expected = readback.expected.saturating_sub(size);
        Ok(())
    }

    /// Waits for all that was queued and appends it to `out`.
    ///
    /// # Errors
    /// Same as [`Executor::run_and_read`].
    pub(crate) async fn finish(&mut self, readback: &mut Readback, out: &mut Vec<f32>) -> Result<()> {
        let Some(staging) = readback.staging.take() else { return Ok(()) };
        let bytes = std::mem::take(&mut readback.staged);
        self.until(&staging, bytes + BYTES).await?;
        let all_done;
        {
            let view = staging.get_mapped_range(0..bytes + BYTES).map_err(|error| Error::gpu(DOING, error))?;
            let (view, done) = view.split_at(bytes as usize);
            let done = bytemuck::pod_read_unaligned(done);
            all_done = self.progress.as_mut().map_or(Ok(()), |progress| progress.check(done, readback.submitted));
            out.extend(view.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
        staging.unmap();
        self.staging = Some(staging);
        all_done
    }

    /// Waits until the device has done all that it was given, and has given back the memory of what was freed.
    ///
    /// # Errors
    /// Same as [`Executor::run_and_read`].
    pub(crate) async fn idle(&mut self) -> Result<()> {
        self.gpu.alive()?;
        let (staging, gpu) = (self.staging(4).await?, &self.gpu);
        let ((), caught) = scoped(gpu.device(), DOING, || {
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            // Whoever waits for the buffer waits for what was written to it.
            encoder.clear_buffer(&staging, 0, Some(4));
            gpu.queue().submit([encoder.finish()]);
        });
        self.settle(caught)?;
        self.until(&staging, 4).await?;
        staging.unmap();
        self.staging = Some(staging);
        Ok(())
    }

    /// Waits until a buffer that was written can be read by the host, and for the outcome of all calls before.
    async fn until(&mut self, staging: &wgpu::Buffer, bytes: u64) -> Result<()> {
        self.settled().await?;
        let gpu = &self.gpu;
        map(gpu.device(), staging, bytes).await.map_err(|error| gpu.explain(error))
    }

    /// A buffer of at least so many bytes that the host can read.
    async fn staging(&mut self, size: u64) -> Result<wgpu::Buffer> {
        if let Some(staging) = self.staging.take().filter(|staging| staging.size() >= size) {
            return Ok(staging);
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("staging"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let (staging, caught) = scoped(self.gpu.device(), DOING, || self.gpu.device().create_buffer(&descriptor));
        caught.wait().await.map(|()| staging)
    }
}
