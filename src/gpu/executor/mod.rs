//! Holds the tensors of any number of plans on the GPU and replays them, each run as one command buffer.
//!
//! Buffers, pipelines and bind groups are made in [`Executor::prepare`], all of them or none, and freed in
//! [`Executor::free`]; a run uploads the plan's inputs in one write and submits. Nothing waits but [`Executor::read`],
//! and a run that is timed. An id of another executor or of a plan that was freed is a panic.

mod prepare;
mod readback;
mod slices;
mod submit;
mod timed;

pub(crate) use readback::Readback;

use std::ops::Range;
use std::task::Poll;

use half::f16;

use super::context::Gpu;
use super::progress::{self, WorkDone};
use super::wait::{Caught, map, scoped};
use crate::error::{Error, Result};
use crate::plan::{DType, Lifetime, Part, Plan, PlanId, PlanTable, TensorId};
use submit::{Encoded, submit};

/// Runs plans on a GPU.
pub struct Executor {
    gpu: Gpu,
    plans: PlanTable<Prepared>,
    /// Buffers that all plans know by name.
    shared: Vec<(String, BufferSlice)>,
    /// How many submissions were done; there from the first plan on.
    progress: Option<WorkDone>,
    /// Where tensors are copied to be read by the host.
    staging: Option<wgpu::Buffer>,
    /// Error scopes whose outcome is not known yet; only a browser has any.
    caught: Vec<Caught>,
}

struct Prepared {
    plan: Plan,
    /// Where each tensor is.
    places: Vec<BufferSlice>,
    /// The host's side of all inputs, and whether it changed since it was uploaded.
    inputs: Vec<u8>,
    changed: bool,
    input_buffer: wgpu::Buffer,
    /// What is to be copied from buffers of the application's before the next run.
    copied: Vec<(TensorId, Encoded)>,
    encoded: Vec<Encoded>,
    /// Where each submission ends.
    submissions: Vec<usize>,
}

impl Prepared {
    /// Brings what a run reads to the device: what the host has written since the last, and behind it what lies in
    /// buffers of the application's.
    fn upload(&mut self, gpu: &Gpu, progress: Option<&mut WorkDone>) {
        if std::mem::take(&mut self.changed) && !self.inputs.is_empty() {
            gpu.queue().write_buffer(&self.input_buffer, 0, &self.inputs);
        }
        if !self.copied.is_empty() {
            let copies: Vec<Encoded> = self.copied.drain(..).map(|(_, copy)| copy).collect();
            submit(gpu, &copies, progress, |_, _| ());
        }
    }
}

/// A part of a buffer, in bytes.
#[derive(Clone)]
struct BufferSlice {
    buffer: wgpu::Buffer,
    offset: u64,
    size: u64,
}

impl Executor {
    /// An executor with no plans.
    pub fn new(gpu: Gpu) -> Self {
        let plans = PlanTable::default();
        Executor { gpu, plans, shared: Vec::new(), progress: None, staging: None, caught: Vec::new() }
    }

    /// The GPU it runs on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Frees a plan and all tensors that are its own, once the device is done with it; those it shares stay, be it with
    /// no plan at all.
    pub fn free(&mut self, id: PlanId) {
        self.plans.remove(id);
        // It may be as large as the largest tensor that was read.
        self.staging = None;
    }

    /// The plan behind an id.
    pub fn plan(&self, id: PlanId) -> &Plan {
        &self.plans[id].plan
    }

    /// Writes a tensor of real numbers, rounded to f32 or, of [`DType::F16`], to f16. An input is uploaded with the
    /// next run, which is where a lost device shows.
    ///
    /// # Errors
    /// [`Error::Shape`] where the length is another one, [`Error::DeviceLost`].
    pub fn write(&mut self, plan: PlanId, tensor: TensorId, values: impl ExactSizeIterator<Item = f64>) -> Result<()> {
        match self.plans[plan].plan.get(tensor).dtype {
            DType::F16 => self.write_bytes(plan, tensor, values.map(|value| f16::from_f64(value).to_le_bytes())),
            DType::F32 => self.write_bytes(plan, tensor, values.map(|value| (value as f32).to_le_bytes())),
            DType::U32 => Err(self.refused(plan, tensor, values.len())),
        }
    }

    /// Writes a tensor of ids.
    ///
    /// # Errors
    /// Same as [`Executor::write`].
    pub fn write_ids(&mut self, plan: PlanId, tensor: TensorId, ids: &[u32]) -> Result<()> {
        self.write_each_id(plan, tensor, ids.iter().copied())
    }

    pub(crate) fn write_each_id(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        ids: impl ExactSizeIterator<Item = u32>,
    ) -> Result<()> {
        match self.plans[plan].plan.get(tensor).dtype {
            DType::U32 => self.write_bytes(plan, tensor, ids.map(u32::to_le_bytes)),
            DType::F32 | DType::F16 => Err(self.refused(plan, tensor, ids.len())),
        }
    }

    /// What is said of as many values where a tensor has another number of them, or others.
    fn refused(&self, plan: PlanId, tensor: TensorId, len: usize) -> Error {
        let declared = self.plan(plan).get(tensor);
        Error::shape(&declared.name, &declared.shape, &[len])
    }

    fn write_bytes<const N: usize>(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        values: impl ExactSizeIterator<Item = [u8; N]>,
    ) -> Result<()> {
        if self.plan(plan).get(tensor).len() != values.len() {
            return Err(self.refused(plan, tensor, values.len()));
        }
        let prepared = &mut self.plans[plan];
        let declared = prepared.plan.get(tensor);
        let place = &prepared.places[tensor.0];
        if declared.lifetime == Lifetime::Input {
            let range = place.offset as usize..(place.offset + place.size) as usize;
            let bytes = &mut prepared.inputs[range];
            bytes.chunks_exact_mut(N).zip(values).for_each(|(bytes, value)| bytes.copy_from_slice(&value));
            prepared.changed = true;
            // What was to be copied there, by a call that failed since, is not wanted any more.
            prepared.copied.retain(|(to, _)| *to != tensor);
            return Ok(());
        }
        self.gpu.alive()?;
        let mut bytes: Vec<u8> = values.flatten().collect();
        // Only whole words are written, and an odd number of halves ends inside of one.
        bytes.resize(place.size as usize, 0);
        let queue = self.gpu.queue();
        let ((), caught) = scoped(self.gpu.device(), "writing a tensor", || {
            queue.write_buffer(&place.buffer, place.offset, &bytes);
        });
        self.settle(caught)
    }

    /// Runs all operations of a plan once: one upload, one command buffer or, where that is more work than the plan's
    /// bounds allow, a few; no waiting.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`], [`Error::Gpu`]; in a browser at the next call that waits.
    pub fn run(&mut self, id: PlanId) -> Result<()> {
        self.run_and_copy((id, Part::All), |_, _, _| ())
    }

    /// [`Executor::run`] of a part of a plan.
    pub(crate) fn run_part(&mut self, id: PlanId, part: Part) -> Result<()> {
        self.run_and_copy((id, part), |_, _, _| ())
    }

    /// [`Executor::run`], with what `copy` adds to the end of the last submission.
    fn run_and_copy(
        &mut self,
        (id, part): (PlanId, Part),
        copy: impl FnOnce(&Prepared, Option<&WorkDone>, &mut wgpu::CommandEncoder),
    ) -> Result<()> {
        self.gpu.alive()?;
        let (gpu, prepared, progress) = (&self.gpu, &mut self.plans[id], &mut self.progress);
        let ((), caught) = scoped(gpu.device(), "running a plan", || {
            prepared.upload(gpu, progress.as_mut());
            let of_part = prepared.plan.submissions_of(part, &prepared.submissions);
            let (before, ends) = (&prepared.submissions[..of_part.start], &prepared.submissions[of_part]);
            let (mut first, mut copy) = (before.last().copied().unwrap_or_default(), Some(copy));
            for (number, &end) in (1..).zip(ends) {
                let commands = &prepared.encoded[first..end];
                let copy = if number == ends.len() { copy.take() } else { None };
                submit(gpu, commands, progress.as_mut(), |progress, encoder| {
                    copy.into_iter().for_each(|copy| copy(prepared, progress, encoder));
                });
                first = end;
            }
        });
        self.settle(caught)
    }

    /// Copies one plan's tensor over another's of the same size.
    ///
    /// # Errors
    /// Same as [`Executor::run`].
    pub(crate) fn copy(&mut self, from: (PlanId, TensorId), to: (PlanId, TensorId)) -> Result<()> {
        let place = |(plan, tensor): (PlanId, TensorId)| &self.plans[plan].places[tensor.0];
        let command = [Encoded::Copy { from: place(from).clone(), to: place(to).clone() }];
        self.submit(&command, "copying a tensor")
    }

    /// Sets a tensor to zero.
    ///
    /// # Errors
    /// Same as [`Executor::run`].
    pub(crate) fn zero(&mut self, plan: PlanId, tensor: TensorId) -> Result<()> {
        let command = [Encoded::Zero(self.plans[plan].places[tensor.0].clone())];
        self.submit(&command, "clearing a tensor")
    }

    fn submit(&mut self, commands: &[Encoded], doing: &'static str) -> Result<()> {
        self.gpu.alive()?;
        let (gpu, progress) = (&self.gpu, &mut self.progress);
        let ((), caught) = scoped(gpu.device(), doing, || submit(gpu, commands, progress.as_mut(), |_, _| ()));
        self.settle(caught)
    }

    /// Reads part of a tensor of real numbers into `out`, which keeps its memory from call to call.
    ///
    /// # Errors
    /// Same as [`Executor::run`], for this and all earlier calls that did not wait.
    pub(crate) async fn read_into(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        range: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        self.settled().await?;
        self.gpu.alive()?;
        let gpu = self.gpu.clone();
        let place = self.plans[plan].places[tensor.0].clone();
        let element = self.plan(plan).get(tensor).dtype;
        // Only whole words are copied, and an odd half starts or ends inside of one.
        let start = range.start as u64 * element.bytes() / 4 * 4;
        let bytes = (range.end as u64 * element.bytes()).next_multiple_of(4) - start;
        // The count of what was done comes behind it.
        let all = bytes + progress::BYTES;
        let ((staging, submitted), caught) = scoped(gpu.device(), "reading a tensor back", || {
            let staging = self.staging.take().filter(|s| s.size() >= all).unwrap_or_else(|| {
                gpu.device().create_buffer(&wgpu::BufferDescriptor {
                    label: Some("staging"),
                    size: all,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            });
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&place.buffer, place.offset + start, &staging, 0, bytes);
            let submitted = self.progress.as_ref().map(|progress| progress.copy(&mut encoder, &staging, bytes));
            gpu.queue().submit([encoder.finish()]);
            (staging, submitted.unwrap_or_default())
        });
        caught.wait().await?;
        map(gpu.device(), &staging, all).await.map_err(|error| gpu.explain(error))?;
        out.clear();
        let all_done;
        {
            let view = staging.get_mapped_range(0..all).map_err(|error| Error::gpu("reading a tensor back", error))?;
            let (view, done) = view.split_at(bytes as usize);
            let done = bytemuck::pod_read_unaligned(done);
            all_done = self.progress.as_mut().map_or(Ok(()), |progress| progress.check(done, submitted));
            match element {
                DType::F16 => {
                    let halves = view.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
                    out.extend(halves.skip(range.start - start as usize / 2).take(range.len()));
                }
                DType::F32 | DType::U32 => {
                    out.extend(view.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
                }
            }
        }
        staging.unmap();
        self.staging = Some(staging);
        all_done
    }

    /// The values of a tensor of real numbers, waiting for all work before it. A transient tensor holds what was last
    /// written to its memory, unless the plan was told to [keep](Plan::keep) it.
    ///
    /// # Errors
    /// Same as [`Executor::run`], for this and all earlier calls that did not wait.
    pub async fn read_async(&mut self, plan: PlanId, tensor: TensorId) -> Result<Vec<f32>> {
        let (len, mut out) = (self.plan(plan).get(tensor).len(), Vec::new());
        self.read_into(plan, tensor, 0..len, &mut out).await?;
        Ok(out)
    }

    /// Blocks until [`Executor::read_async`] is done.
    ///
    /// # Errors
    /// Same as [`Executor::read_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&mut self, plan: PlanId, tensor: TensorId) -> Result<Vec<f32>> {
        let (len, mut out) = (self.plan(plan).get(tensor).len(), Vec::new());
        crate::wait::block_on(self.read_into(plan, tensor, 0..len, &mut out))?;
        Ok(out)
    }

    /// The outcome of all error scopes, once it is known.
    async fn settled(&mut self) -> Result<()> {
        for caught in std::mem::take(&mut self.caught) {
            caught.wait().await.inspect_err(|_| self.told())?;
        }
        Ok(())
    }

    /// After an error of what was submitted, of which the caller hears.
    fn told(&mut self) {
        self.progress.iter_mut().for_each(WorkDone::mark_uncertain);
    }

    /// The outcome of error scopes now, if it is known; else it is kept for the next call that waits.
    fn settle(&mut self, mut caught: Caught) -> Result<()> {
        match caught.now() {
            Poll::Ready(outcome) => outcome.inspect_err(|_| self.told()),
            Poll::Pending => {
                self.caught.push(caught);
                Ok(())
            }
        }
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("gpu", &self.gpu).field("plans", &self.plans.len()).finish_non_exhaustive()
    }
}
