//! Holds the tensors of any number of plans on the GPU and replays them, each run as one command buffer.
//!
//! Buffers, pipelines and bind groups are made in [`Executor::prepare`], all of them or none, and freed in
//! [`Executor::free`]; a run uploads the plan's inputs in one write and submits. Nothing waits but [`Executor::read`],
//! and a run that is timed. An id of another executor or of a plan that was freed is a panic.

#[path = "readback.rs"]
mod readback;
#[path = "timed.rs"]
mod timed;

pub(crate) use readback::Readback;

use std::collections::HashMap;
use std::ops::Range;
use std::task::Poll;

use half::f16;

use super::context::{ALIGNMENT, Gpu, Pipeline};
use super::kernels::{self, Command, Dispatch};
use super::progress::{self, Progress};
use super::slots::Slots;
use super::wait::{Caught, Wait, map, scoped};
use crate::error::{Error, Result};
use crate::plan::{DType, Lifetime, Plan, PlanId, PlanTable, Tensor, TensorId, View};

/// Runs plans on a GPU.
pub struct Executor {
    gpu: Gpu,
    plans: PlanTable<Prepared>,
    /// Buffers that all plans know by name.
    shared: Vec<(String, BufferSlice)>,
    /// How many submissions were done; there from the first plan on.
    progress: Option<Progress>,
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
    encoded: Vec<Encoded>,
    /// Where each submission ends.
    submissions: Vec<usize>,
}

/// Where a plan's tensors are to be.
struct Allocated {
    places: Vec<BufferSlice>,
    /// Those that no plan has had yet and others will find by their names.
    shared: Vec<(String, BufferSlice)>,
    input_buffer: wgpu::Buffer,
    input_bytes: usize,
}

/// A part of a buffer, in bytes.
#[derive(Clone)]
struct BufferSlice {
    buffer: wgpu::Buffer,
    offset: u64,
    size: u64,
}

/// A command with everything it needs at hand.
enum Encoded {
    Dispatch { pipeline: wgpu::ComputePipeline, group: wgpu::BindGroup, params: u32, grid: [u32; 3] },
    Copy { from: BufferSlice, to: BufferSlice },
    Zero(BufferSlice),
}

const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

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

    /// Allocates a plan's tensors, zeroed, transient ones in the plan's blocks, and compiles its kernels; tensors it
    /// shares with earlier plans keep their values. A plan that cannot be prepared leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Limit`] for a tensor, a grid or a workgroup beyond the device's limits, [`Error::Unsupported`] for
    /// tensors of [`DType::F16`] on a device that was opened without them, [`Error::OutOfMemory`],
    /// [`Error::DeviceLost`], [`Error::Shape`] where a shared tensor has another length in an earlier plan.
    pub async fn prepare_async(&mut self, plan: Plan) -> Result<PlanId> {
        self.gpu.alive()?;
        plan.check_limits(&self.gpu.target())?;
        if plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16) {
            self.gpu.check_f16()?;
        }
        let commands = kernels::lower(&plan)?;
        let gpu = self.gpu.clone();
        if self.progress.is_none() {
            self.progress = Some(Progress::new(&gpu).await?);
        }
        for command in &commands {
            if let Command::Dispatch(dispatch) = command {
                dispatch.check_workgroup(gpu.adapter().workgroup_bytes, gpu.adapter().invocations)?;
            }
        }
        let slots = Slots::new(&commands, gpu.device().limits().max_buffer_size)?;
        let (allocated, caught) = scoped(gpu.device(), "allocating a plan's tensors", || self.allocate(&plan));
        let Allocated { places, shared, input_buffer, input_bytes } = caught.wait().await.and(allocated)?;
        let mut pipelines = HashMap::new();
        for command in &commands {
            if let Command::Dispatch(dispatch) = command {
                pipelines.insert(key(dispatch), gpu.pipeline(dispatch).await?);
            }
        }
        let (encoded, caught) =
            scoped(gpu.device(), "binding a plan's tensors", || encode(&gpu, &commands, &slots, &places, &pipelines));
        caught.wait().await?;
        let inputs = vec![0; input_bytes];
        let submissions = plan.submissions();
        // Only now, as what could not be made must not be found by the next plan.
        self.shared.extend(shared);
        Ok(self.plans.insert(Prepared { plan, places, inputs, changed: true, input_buffer, encoded, submissions }))
    }

    /// Blocks until [`Executor::prepare_async`] is done.
    ///
    /// # Errors
    /// Same as [`Executor::prepare_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn prepare(&mut self, plan: Plan) -> Result<PlanId> {
        pollster::block_on(self.prepare_async(plan))
    }

    /// Frees a plan and all tensors that are its own, once the device is done with it; those it shares stay, be it with
    /// no plan at all.
    pub fn free(&mut self, id: PlanId) {
        self.plans.remove(id);
        // It may be as large as the largest tensor that was read.
        self.staging = None;
    }

    /// Bytes that are allocated for a plan on the device and on the host, but for tensors that it shares.
    pub(crate) fn needs(plan: &Plan) -> u64 {
        let (bytes, dispatches) =
            (plan.bytes(), plan.stages().iter().map(|stage| stage.op.dispatches(plan)).sum::<usize>());
        // The host has a copy of the inputs.
        bytes.scratch + 2 * bytes.inputs + plan.host_bytes() + (dispatches * size_of::<Encoded>()) as u64
    }

    fn allocate(&self, plan: &Plan) -> Result<Allocated> {
        let device = self.gpu.device();
        let buffer = |label: &str, size: u64| {
            let descriptor =
                wgpu::BufferDescriptor { label: Some(label), size, usage: STORAGE, mapped_at_creation: false };
            device.create_buffer(&descriptor)
        };
        let is_input = |tensor: &&Tensor| tensor.lifetime == Lifetime::Input;
        let end = plan.tensors().iter().filter(is_input).map(|t| t.bytes().next_multiple_of(ALIGNMENT)).sum::<u64>();
        let input_buffer = buffer("inputs", end.max(ALIGNMENT));
        let mut block_of = vec![None; plan.tensors().len()];
        for block in plan.blocks() {
            let Some(largest) = block.first().map(|tensor| plan.get(*tensor)) else { continue };
            let held = buffer(&largest.name, largest.bytes());
            block.iter().for_each(|tensor| block_of[tensor.0] = Some(held.clone()));
        }
        let mut offset = 0;
        let mut places = Vec::with_capacity(plan.tensors().len());
        let mut shared: Vec<(String, BufferSlice)> = Vec::new();
        for (tensor, block) in plan.tensors().iter().zip(block_of) {
            let size = tensor.bytes();
            if let Some(buffer) = block {
                places.push(BufferSlice { buffer, offset: 0, size });
                continue;
            }
            let known = self.shared.iter().chain(&shared).find(|(name, _)| *name == tensor.name);
            let place = match (tensor.lifetime, known) {
                (Lifetime::Input, _) => {
                    let place = BufferSlice { buffer: input_buffer.clone(), offset, size };
                    offset += size.next_multiple_of(ALIGNMENT);
                    place
                }
                (Lifetime::Shared, Some((_, place))) if place.size == size => place.clone(),
                (Lifetime::Shared, Some((_, place))) => {
                    let held = place.size / tensor.dtype.bytes();
                    return Err(Error::shape(&tensor.name, &[held as usize], &tensor.shape));
                }
                _ => BufferSlice { buffer: buffer(&tensor.name, size), offset: 0, size },
            };
            if tensor.lifetime == Lifetime::Shared && known.is_none() {
                shared.push((tensor.name.clone(), place.clone()));
            }
            places.push(place);
        }
        let input_bytes = usize::try_from(offset).map_err(|_| {
            Error::Config(format!("the inputs of a run take {offset} bytes, more than this machine addresses"))
        })?;
        Ok(Allocated { places, shared, input_buffer, input_bytes })
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
        self.run_and_copy(id, |_, _, _| ())
    }

    /// [`Executor::run`], with what `copy` adds to the end of the last submission.
    fn run_and_copy(
        &mut self,
        id: PlanId,
        copy: impl FnOnce(&Prepared, Option<&Progress>, &mut wgpu::CommandEncoder),
    ) -> Result<()> {
        self.gpu.alive()?;
        let (gpu, prepared, progress) = (&self.gpu, &mut self.plans[id], &mut self.progress);
        let ((), caught) = scoped(gpu.device(), "running a plan", || {
            if std::mem::take(&mut prepared.changed) && !prepared.inputs.is_empty() {
                gpu.queue().write_buffer(&prepared.input_buffer, 0, &prepared.inputs);
            }
            let (mut first, mut copy) = (0, Some(copy));
            for (number, &end) in (1..).zip(&prepared.submissions) {
                let commands = &prepared.encoded[first..end];
                let copy = if number == prepared.submissions.len() { copy.take() } else { None };
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
        wait: Wait,
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
        map(gpu.device(), &staging, all, wait).await.map_err(|error| gpu.explain(error))?;
        out.clear();
        let all_done;
        {
            let view = staging.get_mapped_range(0..all).map_err(|error| Error::Gpu {
                doing: "reading a tensor back".to_owned(),
                message: error.to_string(),
            })?;
            let (view, done) = view.split_at(bytes as usize);
            let done = bytemuck::pod_read_unaligned(done);
            all_done = self.progress.as_mut().map_or(Ok(()), |progress| progress.check(done, submitted));
            match element {
                DType::F16 => {
                    let f16_aliases = view.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
                    out.extend(f16_aliases.skip(range.start - start as usize / 2).take(range.len()));
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
        self.read_into(plan, tensor, 0..len, Wait::Yield, &mut out).await?;
        Ok(out)
    }

    /// Blocks until [`Executor::read_async`] is done.
    ///
    /// # Errors
    /// Same as [`Executor::read_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&mut self, plan: PlanId, tensor: TensorId) -> Result<Vec<f32>> {
        let (len, mut out) = (self.plan(plan).get(tensor).len(), Vec::new());
        pollster::block_on(self.read_into(plan, tensor, 0..len, Wait::Block, &mut out))?;
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
        self.progress.iter_mut().for_each(Progress::mark_uncertain);
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

/// A pipeline: its kernel's name, which of its aliases are f16, and its constants.
type PipelineKey<'a> = (&'static str, &'a [&'static str], &'a [u32]);

fn key(dispatch: &Dispatch) -> PipelineKey<'_> {
    (dispatch.kernel.name, &dispatch.f16_aliases, &dispatch.constants)
}

fn encode(
    gpu: &Gpu,
    commands: &[Command],
    slots: &Slots<'_>,
    places: &[BufferSlice],
    pipelines: &HashMap<PipelineKey<'_>, Pipeline>,
) -> Vec<Encoded> {
    let device = gpu.device();
    let uniform = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("parameters of dispatches"),
        size: slots.bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue().write_buffer(&uniform, 0, &slots.bytes);

    // The T dispatches of a recurrence by steps differ in their parameters alone, so they share one bind group.
    let mut groups: HashMap<(PipelineKey<'_>, &[TensorId]), wgpu::BindGroup> = HashMap::new();
    // Halves are not copied so: see `Plan::copies_bytes`.
    const WORD: u64 = 4;
    let part = |view: &View| {
        let place = &places[view.tensor.0];
        BufferSlice {
            buffer: place.buffer.clone(),
            offset: place.offset + view.offset as u64 * WORD,
            size: view.len() as u64 * WORD,
        }
    };
    let mut encoded = Vec::with_capacity(commands.len());
    for command in commands {
        match command {
            Command::Copy { from, to } => encoded.push(Encoded::Copy { from: part(from), to: part(to) }),
            Command::Zero { tensor } => encoded.push(Encoded::Zero(places[tensor.0].clone())),
            Command::Dispatch(dispatch) => {
                let key = key(dispatch);
                let compiled = &pipelines[&key];
                let group = groups.entry((key, dispatch.tensors.as_slice())).or_insert_with(|| {
                    bind(device, &uniform, dispatch.kernel.params_size, &compiled.layout, &dispatch.tensors, places)
                });
                encoded.push(Encoded::Dispatch {
                    pipeline: compiled.pipeline.clone(),
                    group: group.clone(),
                    params: slots.by_params[dispatch.params.as_slice()],
                    grid: dispatch.grid,
                });
            }
        }
    }
    encoded
}

fn bind(
    device: &wgpu::Device,
    uniform: &wgpu::Buffer,
    params_size: usize,
    layout: &wgpu::BindGroupLayout,
    tensors: &[TensorId],
    places: &[BufferSlice],
) -> wgpu::BindGroup {
    let whole = |buffer, offset, size| {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) })
    };
    let storage = tensors.iter().map(|tensor| {
        let place = &places[tensor.0];
        whole(&place.buffer, place.offset, place.size)
    });
    let entries: Vec<_> = std::iter::once(whole(uniform, 0, params_size as u64))
        .chain(storage)
        .zip(0..)
        .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}

/// One submission, counted on the device where there is a count, with what `copy` adds behind the count.
fn submit(
    gpu: &Gpu,
    commands: &[Encoded],
    mut progress: Option<&mut Progress>,
    copy: impl FnOnce(Option<&Progress>, &mut wgpu::CommandEncoder),
) {
    let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    #[cfg(test)]
    if let Some(kept) = gpu.next_fault() {
        // As a device that is stopped in the middle: what follows in the submission is left out, but for the copies.
        record(&mut encoder, &commands[..kept.min(commands.len())], None);
        progress.iter_mut().for_each(|progress| progress.count());
        copy(progress.as_deref(), &mut encoder);
        gpu.queue().submit([encoder.finish()]);
        return;
    }
    record(&mut encoder, commands, progress.as_deref_mut());
    copy(progress.as_deref(), &mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

/// Copies stand between passes, dispatches inside them, the count in the last.
fn record(encoder: &mut wgpu::CommandEncoder, commands: &[Encoded], mut progress: Option<&mut Progress>) {
    let mut rest = commands;
    while let Some(first) = rest.first() {
        match first {
            Encoded::Copy { from, to } => {
                encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, from.size);
                rest = &rest[1..];
            }
            Encoded::Zero(place) => {
                encoder.clear_buffer(&place.buffer, place.offset, Some(place.size));
                rest = &rest[1..];
            }
            Encoded::Dispatch { .. } => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                while let Some(Encoded::Dispatch { pipeline, group, params, grid: [x, y, z] }) = rest.first() {
                    pass.set_pipeline(pipeline);
                    pass.set_bind_group(0, group, &[*params]);
                    pass.dispatch_workgroups(*x, *y, *z);
                    rest = &rest[1..];
                }
                if rest.is_empty()
                    && let Some(progress) = progress.take()
                {
                    progress.mark(&mut pass);
                }
            }
        }
    }
    if let Some(progress) = progress {
        progress.mark(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    }
}
