//! Making a plan ready: its buffers, its pipelines and its bind groups.
//!
//! The contract: all of it is made or nothing is kept, and two plans that name one shared tensor have one buffer.

use std::collections::{HashMap, hash_map::Entry};

use super::submit::Encoded;
use super::{BufferSlice, Executor, Prepared};
use crate::error::{Error, Result};
use crate::gpu::context::{ALIGNMENT, Gpu};
use crate::gpu::kernels::{self, Command, Dispatch};
use crate::gpu::pipelines::Pipeline;
use crate::gpu::progress::WorkDone;
use crate::gpu::slots::Slots;
use crate::gpu::wait::scoped;
use crate::plan::{DType, Lifetime, Plan, PlanId, Tensor, TensorId, View};

/// Where a plan's tensors are to be.
struct Allocated {
    places: Vec<BufferSlice>,
    /// Those that no plan has had yet and others will find by their names.
    shared: Vec<(String, BufferSlice)>,
    input_buffer: wgpu::Buffer,
    input_bytes: usize,
}

const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

impl Executor {
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
            self.progress = Some(WorkDone::new(&gpu).await?);
        }
        for command in &commands {
            if let Command::Dispatch(dispatch) = command {
                dispatch.check_workgroup(gpu.adapter().workgroup_bytes, gpu.adapter().invocations)?;
                gpu.check_lanes(dispatch.kernel)?;
            }
        }
        let slots = Slots::new(&commands, gpu.device().limits().max_buffer_size)?;
        let (allocated, caught) = scoped(gpu.device(), "allocating a plan's tensors", || self.allocate(&plan));
        let Allocated { places, shared, input_buffer, input_bytes } = caught.wait().await.and(allocated)?;
        let dispatches = || {
            commands.iter().filter_map(|command| match command {
                Command::Dispatch(dispatch) => Some(dispatch),
                Command::Copy { .. } | Command::Zero { .. } => None,
            })
        };
        gpu.pipelines().compile(gpu.device(), dispatches()).await?;
        let mut pipelines = HashMap::new();
        for dispatch in dispatches() {
            if let Entry::Vacant(place) = pipelines.entry(key(dispatch)) {
                place.insert(gpu.pipelines().get(dispatch)?);
            }
        }
        let (encoded, caught) =
            scoped(gpu.device(), "binding a plan's tensors", || encode(&gpu, &commands, &slots, &places, &pipelines));
        caught.wait().await?;
        let inputs = vec![0; input_bytes];
        let submissions = plan.submissions();
        // Only now, as what could not be made must not be found by the next plan.
        self.shared.extend(shared);
        Ok(self.plans.insert(Prepared {
            plan,
            places,
            inputs,
            changed: true,
            input_buffer,
            copied: Vec::new(),
            encoded,
            submissions,
        }))
    }

    /// Blocks until [`Executor::prepare_async`] is done.
    ///
    /// # Errors
    /// Same as [`Executor::prepare_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn prepare(&mut self, plan: Plan) -> Result<PlanId> {
        crate::wait::block_on(self.prepare_async(plan))
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
