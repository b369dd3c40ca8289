//! Which adapters there are, and which one is taken.
//!
//! `WGPU_BACKEND`, `WGPU_ADAPTER_NAME` and `WGPU_POWER_PREF` are honoured wherever the caller leaves the choice open.

use std::cmp::Reverse;
use std::fmt;

use crate::error::{Error, Result};

/// An adapter, and those of its limits that decide how large a model may be.
///
/// ```
/// for adapter in recurrent::gpu::adapters() {
///     println!("{adapter}"); // 0: NVIDIA H200 (Vulkan, DiscreteGpu)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adapter {
    /// Its place in the list.
    pub index: usize,
    /// The name the driver gives it.
    pub name: String,
    /// The API it is reached by: Vulkan, Metal, DX12, WebGPU.
    pub backend: String,
    /// Its driver and that one's version, as the driver gives them; empty where it gives none.
    pub driver: String,
    /// What it is: a discrete GPU, an integrated GPU, a virtual GPU, a CPU (software), or unknown.
    pub kind: String,
    /// Whether it computes on the CPU: llvmpipe, SwiftShader, WARP.
    pub is_software: bool,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// The largest part of a buffer that a kernel can see, in bytes: the largest tensor.
    pub max_binding_bytes: u64,
    /// Memory that a workgroup shares, in bytes.
    pub workgroup_bytes: u32,
    /// Threads of a workgroup.
    pub invocations: u32,
}

impl Adapter {
    pub(super) fn new(index: usize, info: &wgpu::AdapterInfo, limits: &wgpu::Limits) -> Self {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "CPU (software)",
            wgpu::DeviceType::Other => "unknown",
        };
        let backend = match info.backend {
            wgpu::Backend::Vulkan => "Vulkan",
            wgpu::Backend::Metal => "Metal",
            wgpu::Backend::Dx12 => "DX12",
            wgpu::Backend::Gl => "OpenGL",
            wgpu::Backend::BrowserWebGpu => "WebGPU",
            wgpu::Backend::Noop => "no-op",
        };
        Adapter {
            index,
            name: info.name.clone(),
            backend: backend.to_owned(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            kind: kind.to_owned(),
            is_software: info.device_type == wgpu::DeviceType::Cpu,
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            invocations: limits.max_compute_invocations_per_workgroup,
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}, {})", self.index, self.name, self.backend, self.kind)
    }
}

/// Which adapter to take.
///
/// ```
/// use recurrent::gpu::{Gpu, Select};
/// match Gpu::new(&Select::Name("radeon".to_owned())) {
///     Ok(gpu) => println!("{}", gpu.adapter()),
///     Err(error) => println!("{error}"), // which adapters there are
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Select {
    /// The fastest by its kind, hardware before software.
    Any,
    /// The fastest by its kind; none if all are software, unless `WGPU_ADAPTER_NAME` names one.
    Hardware,
    /// The one at this place in [`adapters`].
    Index(usize),
    /// The first whose name contains this, whatever the case.
    Name(String),
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Select::Any => write!(f, "any GPU"),
            Select::Hardware => write!(f, "a hardware GPU"),
            Select::Index(index) => write!(f, "GPU number {index}"),
            Select::Name(name) => write!(f, "a GPU named `{name}`"),
        }
    }
}

/// Every adapter of this machine, in the order of their indices.
pub async fn adapters_async() -> Vec<Adapter> {
    let found = enumerate().await;
    found.iter().enumerate().map(|(i, a)| Adapter::new(i, &a.get_info(), &a.limits())).collect()
}

/// Blocks until [`adapters_async`] is done.
///
/// ```
/// let hardware = recurrent::gpu::adapters().into_iter().filter(|adapter| !adapter.is_software).count();
/// # let _ = hardware;
/// ```
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters() -> Vec<Adapter> {
    crate::wait::block_on(adapters_async())
}

async fn enumerate() -> Vec<wgpu::Adapter> {
    let descriptor = wgpu::InstanceDescriptor {
        // The validation layers of the system are for wgpu's own developers; `WGPU_VALIDATION=1` brings them back.
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    let instance = wgpu::Instance::new(descriptor.with_env());
    instance.enumerate_adapters(wgpu::Backends::all()).await
}

/// The adapter that `select` asks for.
pub(super) async fn find(select: &Select) -> Result<wgpu::Adapter> {
    let found = enumerate().await;
    let wanted_name = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let named = |name: &str| {
        let name = name.to_lowercase();
        found.iter().find(|a| a.get_info().name.to_lowercase().contains(&name))
    };
    let chosen = match (select, &wanted_name) {
        (Select::Any | Select::Hardware, Some(name)) => named(name),
        (Select::Any, None) => found.iter().min_by_key(|a| rank(a)),
        (Select::Hardware, None) => found.iter().filter(|a| !is_software(a)).min_by_key(|a| rank(a)),
        (Select::Index(index), _) => found.get(*index),
        (Select::Name(name), _) => named(name),
    };
    chosen.cloned().ok_or_else(|| Error::NoAdapter {
        wanted: match (select, wanted_name) {
            (Select::Any | Select::Hardware, Some(name)) => format!("WGPU_ADAPTER_NAME `{name}`"),
            _ => select.to_string(),
        },
        found: describe(&found),
        hint: HINT,
    })
}

fn describe(found: &[wgpu::Adapter]) -> Vec<String> {
    found.iter().enumerate().map(|(i, a)| Adapter::new(i, &a.get_info(), &a.limits()).to_string()).collect()
}

fn is_software(adapter: &wgpu::Adapter) -> bool {
    adapter.get_info().device_type == wgpu::DeviceType::Cpu
}

/// Smaller is better.
fn rank(adapter: &wgpu::Adapter) -> (u8, Reverse<u64>) {
    let save_power = wgpu::PowerPreference::from_env() == Some(wgpu::PowerPreference::LowPower);
    let kind = match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 1,
        wgpu::DeviceType::IntegratedGpu if save_power => 0,
        wgpu::DeviceType::IntegratedGpu => 2,
        wgpu::DeviceType::VirtualGpu => 3,
        wgpu::DeviceType::Other => 4,
        wgpu::DeviceType::Cpu => 5,
    };
    (kind, Reverse(adapter.limits().max_storage_buffer_binding_size))
}

const HINT: &str = if cfg!(target_os = "linux") {
    "install your GPU's Vulkan driver, or a software one (Debian, Ubuntu: `apt-get install mesa-vulkan-drivers`), or \
    use the CPU"
} else if cfg!(target_os = "windows") {
    "install your GPU's driver (DX12 or Vulkan), or use the CPU"
} else {
    "install your GPU's driver, or use the CPU"
};
