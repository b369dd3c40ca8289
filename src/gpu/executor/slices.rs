//! Copies between tensors and the application's buffers.
//!
//! The contract: what is copied to a tensor is there before the next run of its plan, behind what the host has written;
//! what is copied from one is what the last run has left.

use std::ops::Range;

use super::{BufferSlice, Encoded, Executor};
use crate::error::Result;
use crate::gpu::slice::{DeviceSlice, NUMBER};
use crate::gpu::wait::scoped;
use crate::plan::{PlanId, TensorId};

const DOING: &str = "copying from a buffer of the application's";

impl Executor {
    /// Checks that numbers can be copied at all, by the first of them: of a buffer that is another device's, mapped or
    /// destroyed wgpu says so, and nothing has changed yet.
    ///
    /// # Errors
    /// Same as [`Executor::run`].
    pub(crate) fn check_slice(&mut self, from: &DeviceSlice) -> Result<()> {
        self.gpu.alive()?;
        let (gpu, (buffer, offset, size)) = (&self.gpu, from.bytes());
        let staging = self.staging.take();
        let (staging, caught) = scoped(gpu.device(), DOING, || {
            let staging = staging.unwrap_or_else(|| {
                gpu.device().create_buffer(&wgpu::BufferDescriptor {
                    label: Some("staging"),
                    size: NUMBER,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            });
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, size.min(NUMBER));
            gpu.queue().submit([encoder.finish()]);
            staging
        });
        self.staging = Some(staging);
        self.settle(caught)
    }

    /// The same of numbers that are to be written: the first of them becomes 0.
    ///
    /// # Errors
    /// Same as [`Executor::run`].
    pub(crate) fn check_room(&mut self, to: &DeviceSlice) -> Result<()> {
        self.gpu.alive()?;
        let (gpu, (buffer, offset, size)) = (&self.gpu, to.bytes());
        let ((), caught) = scoped(gpu.device(), "writing to a buffer of the application's", || {
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.clear_buffer(buffer, offset, Some(size.min(NUMBER)));
            gpu.queue().submit([encoder.finish()]);
        });
        self.settle(caught)
    }

    /// Copies numbers to an input with the next run.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where the length is another one.
    pub(crate) fn write_slice(&mut self, plan: PlanId, tensor: TensorId, from: &DeviceSlice) -> Result<()> {
        if self.plan(plan).get(tensor).len() != from.len() {
            return Err(self.refused(plan, tensor, from.len()));
        }
        let prepared = &mut self.plans[plan];
        let to = prepared.places[tensor.0].clone();
        let (buffer, offset, size) = from.bytes();
        let from = BufferSlice { buffer: buffer.clone(), offset, size };
        prepared.copied.retain(|(to, _)| *to != tensor);
        prepared.copied.push((tensor, Encoded::Copy { from, to: BufferSlice { size, ..to } }));
        Ok(())
    }

    /// Copies part of a tensor of f32 to as many numbers.
    ///
    /// # Errors
    /// Same as [`Executor::run`].
    pub(crate) fn read_slice(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        range: Range<usize>,
        to: &DeviceSlice,
    ) -> Result<()> {
        let place = &self.plans[plan].places[tensor.0];
        let (buffer, offset, size) = to.bytes();
        let from = BufferSlice { offset: place.offset + range.start as u64 * NUMBER, size, ..place.clone() };
        let to = BufferSlice { buffer: buffer.clone(), offset, size };
        self.submit(&[Encoded::Copy { from, to }], "copying to a buffer of the application's")
    }
}
