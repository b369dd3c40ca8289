//! A wgpu device and queue, ours or the application's, with the pipelines made on it so far.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::adapter::{self, Adapter, Select};
use super::kernels::{self, Kernel};
use super::pipelines::Pipelines;
use super::wait::{Probe, lock};
use crate::error::{Error, Result};
use crate::plan::{Bounds, Target, Tile};

/// A GPU to run on. Cheap to clone; clones share the device and its compiled kernels.
///
/// ```
/// use recurrent::Device;
/// use recurrent::gpu::Gpu;
/// // The application's own device and queue: a game's, say.
/// fn lend(device: recurrent::wgpu::Device, queue: recurrent::wgpu::Queue) -> recurrent::Result<Device> {
///     Ok(Device::from_gpu(Gpu::from_wgpu(device, queue)?))
/// }
/// # let _ = lend;
/// ```
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter: Adapter,
    pipelines: Pipelines,
    /// Why the device was lost, once that is known.
    lost: Arc<Mutex<Option<String>>>,
    /// By which a device of the application's own is asked whether it is lost, as wgpu tells only its callback.
    probe: Option<Probe>,
    /// After how many submissions one is to end early, and after how many commands.
    #[cfg(test)]
    fault: Mutex<Option<(usize, usize)>>,
}

/// Storage buffers are bound from multiples of this many bytes, and parameters too: WebGPU's default, which every
/// adapter meets.
pub(super) const ALIGNMENT: u64 = 256;

/// What is asked for wherever there is it; nothing needs it.
const WANTED: wgpu::Features =
    wgpu::Features::SHADER_F16.union(wgpu::Features::TIMESTAMP_QUERY).union(wgpu::Features::SUBGROUP);

impl Gpu {
    /// Opens the adapter that `select` asks for, with all the memory it offers, and 16-bit floats and
    /// timestamps where it has them.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the list of those there are; [`Error::Gpu`] where the driver refuses a device.
    pub async fn new_async(select: &Select) -> Result<Self> {
        let adapter = adapter::find(select).await?;
        let offered = adapter.limits();
        let limits = wgpu::Limits {
            max_buffer_size: offered.max_buffer_size,
            max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
            max_compute_workgroup_storage_size: offered.max_compute_workgroup_storage_size,
            ..wgpu::Limits::default()
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("recurrent"),
            required_limits: limits.or_worse_values_from(&offered),
            required_features: adapter.features() & WANTED,
            ..Default::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|error| Error::gpu("opening the device", error))?;
        let gpu = Gpu::of(device, queue, None);
        let lost = Arc::clone(&gpu.inner.lost);
        gpu.inner.device.set_device_lost_callback(move |reason, message| {
            *lock(&lost) = Some(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        Ok(gpu)
    }

    /// Blocks until [`Gpu::new_async`] is done.
    ///
    /// # Errors
    /// Same as [`Gpu::new_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(select: &Select) -> Result<Self> {
        crate::wait::block_on(Self::new_async(select))
    }

    /// Runs on the application's own device and queue, in half precision if the device was opened with wgpu's
    /// `SHADER_F16`, and with the sums of [`Gpu::new_async`], which on llvmpipe take a third of the time, if it was
    /// opened with `SUBGROUP` where the adapter has it. Its callbacks for errors and for device loss stay the
    /// application's; errors of this crate's work are caught apart and returned. wgpu tells only that callback of a
    /// loss, so here every call asks the device whether it is still there.
    ///
    /// # Errors
    /// [`Error::Limit`] for a device that was opened with smaller limits than the kernels need: WebGPU's default limits
    /// of compute shaders suffice. How large buffers may be decides how large models may be, which is seen when these
    /// come.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        check_limits(&device.limits())?;
        let probe = Probe::new(&device);
        Ok(Self::of(device, queue, Some(probe)))
    }

    fn of(device: wgpu::Device, queue: wgpu::Queue, probe: Option<Probe>) -> Self {
        let adapter = Adapter::new(0, &device.adapter_info(), &device.limits());
        let inner = Inner {
            device,
            queue,
            adapter,
            pipelines: Pipelines::default(),
            lost: Arc::default(),
            probe,
            #[cfg(test)]
            fault: Mutex::default(),
        };
        Gpu { inner: Arc::new(inner) }
    }

    /// The adapter, with the limits that this device was opened with; its index is 0.
    pub fn adapter(&self) -> &Adapter {
        &self.inner.adapter
    }

    /// What plans for this device are shaped by.
    #[doc(hidden)]
    pub fn target(&self) -> Target {
        let adapter = &self.inner.adapter;
        let hardware = Target::webgpu();
        let bounds = if adapter.is_software { Bounds::SOFTWARE } else { Bounds::HARDWARE };
        Target {
            binding_bytes: adapter.max_binding_bytes.min(adapter.max_buffer_bytes),
            parallel: true,
            workgroup_bytes: adapter.workgroup_bytes,
            software: adapter.is_software,
            lanes: adapter.is_software && self.has_lanes(),
            workgroups: if adapter.is_software { threads() } else { hardware.workgroups },
            has_f16: self.has_f16(),
            bounds,
            ..hardware
        }
    }

    /// Returns an error unless the device was opened with `SHADER_F16`.
    pub(crate) fn check_f16(&self) -> Result<()> {
        if self.has_f16() {
            return Ok(());
        }
        Err(Error::Unsupported {
            device: format!("{} ({})", self.adapter().name, self.adapter().backend),
            what: "half precision",
            missing: "16-bit floats (wgpu's SHADER_F16)",
        })
    }

    fn has_f16(&self) -> bool {
        self.inner.device.features().contains(wgpu::Features::SHADER_F16)
    }

    /// Returns an error if the kernel is one of lanes that the device has not.
    pub(super) fn check_lanes(&self, kernel: &Kernel) -> Result<()> {
        if !kernel.lanes || self.has_lanes() {
            return Ok(());
        }
        Err(Error::Unsupported {
            device: format!("{} ({})", self.adapter().name, self.adapter().backend),
            what: kernel.name,
            missing: "subgroups that always have eight lanes (wgpu's SUBGROUP)",
        })
    }

    /// Whether every subgroup has as many lanes as the kernels of lanes are written for.
    fn has_lanes(&self) -> bool {
        let info = self.inner.device.adapter_info();
        self.inner.device.features().contains(wgpu::Features::SUBGROUP)
            && [info.subgroup_min_size, info.subgroup_max_size] == [Tile::LANES; 2]
    }

    /// Lets the submission after `before` others end after `kept` commands, as where the system stops the next.
    #[cfg(test)]
    pub(super) fn leave_out(&self, before: usize, kept: usize) {
        *lock(&self.inner.fault) = Some((before, kept));
    }

    /// How many commands of this submission are kept, if it is the one to end early.
    #[cfg(test)]
    pub(super) fn next_fault(&self) -> Option<usize> {
        let mut fault = lock(&self.inner.fault);
        match *fault {
            Some((0, kept)) => {
                *fault = None;
                Some(kept)
            }
            Some((before, kept)) => {
                *fault = Some((before - 1, kept));
                None
            }
            None => None,
        }
    }

    /// The device, to make buffers on that networks read and write:
    /// [`DeviceSlice`](crate::device::DeviceSlice).
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The queue that all work of the networks on this device is submitted to.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// The error of a lost device, once it is lost.
    pub(super) fn alive(&self) -> Result<()> {
        if self.inner.probe.as_ref().is_some_and(|probe| probe.is_lost(&self.inner.device)) {
            self.lose("the application's device is gone");
        }
        lock(&self.inner.lost).as_ref().map_or(Ok(()), |reason| Err(Error::DeviceLost(reason.clone())))
    }

    /// What an error of waiting means: after the first that says that the device is lost, every call says so.
    pub(super) fn explain(&self, error: Error) -> Error {
        if let Error::DeviceLost(reason) = &error {
            self.lose(reason);
        }
        self.alive().err().unwrap_or(error)
    }

    /// Takes note of a loss, unless there was one before.
    fn lose(&self, reason: &str) {
        lock(&self.inner.lost).get_or_insert_with(|| reason.to_owned());
    }

    /// What is compiled for this device.
    pub(super) fn pipelines(&self) -> &Pipelines {
        &self.inner.pipelines
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("adapter", &self.inner.adapter).finish_non_exhaustive()
    }
}

/// Checks that every kernel runs on a device with these limits.
fn check_limits(limits: &wgpu::Limits) -> Result<()> {
    let bindings = kernels::all().iter().map(|kernel| kernel.bindings.len()).max().unwrap_or(0) as u32;
    let default = wgpu::Limits::default();
    let at_least = [
        ("max_bind_groups", limits.max_bind_groups, 1),
        ("max_bindings_per_bind_group", limits.max_bindings_per_bind_group, 1 + bindings),
        ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage, bindings),
        ("max_uniform_buffers_per_shader_stage", limits.max_uniform_buffers_per_shader_stage, 1),
        ("max_dynamic_uniform_buffers_per_pipeline_layout", limits.max_dynamic_uniform_buffers_per_pipeline_layout, 1),
        (
            "max_compute_workgroup_storage_size",
            limits.max_compute_workgroup_storage_size,
            default.max_compute_workgroup_storage_size,
        ),
        (
            "max_compute_invocations_per_workgroup",
            limits.max_compute_invocations_per_workgroup,
            default.max_compute_invocations_per_workgroup,
        ),
        ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x, default.max_compute_workgroup_size_x),
        ("max_compute_workgroup_size_y", limits.max_compute_workgroup_size_y, default.max_compute_workgroup_size_y),
        ("max_compute_workgroup_size_z", limits.max_compute_workgroup_size_z, 1),
        ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension, kernels::MAX_GRID),
    ];
    let widths =
        ("max_uniform_buffer_binding_size", limits.max_uniform_buffer_binding_size, kernels::MAX_PARAMS_BYTES as u64);
    let at_least = at_least.map(|(limit, allowed, asked)| (limit, u64::from(allowed), u64::from(asked)));
    for (limit, allowed, asked) in at_least.into_iter().chain([widths]) {
        if allowed < asked {
            return Err(Error::Limit { what: "a kernel".to_owned(), limit, asked, allowed });
        }
    }
    // Of these smaller is better.
    let at_most = [
        ("min_uniform_buffer_offset_alignment", limits.min_uniform_buffer_offset_alignment),
        ("min_storage_buffer_offset_alignment", limits.min_storage_buffer_offset_alignment),
    ];
    for (limit, given) in at_most {
        if u64::from(given) > ALIGNMENT {
            let what = "a buffer's offset (as bytes that divide it)".to_owned();
            return Err(Error::Limit { what, limit, asked: given.into(), allowed: ALIGNMENT });
        }
    }
    Ok(())
}

/// How many threads a software adapter has.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
