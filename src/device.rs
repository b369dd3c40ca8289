//! Where a network runs: a GPU, or the CPU where there is none.
//!
//! The contract: a device is a choice and holds no model; what is made on it keeps what it needs of it. Without the
//! feature `gpu` there is the CPU alone, and whoever asks for a GPU gets an error that says so.

use crate::cpu;
use crate::error::{Error, Result};
pub use crate::executor::DeviceSlice;
use crate::executor::Executor;
#[cfg(feature = "gpu")]
use crate::gpu::{self, Gpu, Select};
use crate::plan::Target;
use crate::recipe::Precision;

/// A GPU or the CPU. Cheap to clone.
///
/// ```
/// use recurrent::Device;
/// let device = Device::best(); // a hardware GPU, else the CPU
/// println!("{}", device.name());
/// let named = Device::parse("cpu")?; // as a user would name it on a command line
/// assert!(!named.is_gpu());
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Device {
    kind: Kind,
    precision: Precision,
    /// `None`: the default.
    plan_cache_bytes: Option<u64>,
}

#[derive(Clone, Debug)]
enum Kind {
    Cpu,
    #[cfg(feature = "gpu")]
    Gpu(Gpu),
}

/// The error of a build that has no GPU.
#[cfg(not(feature = "gpu"))]
fn no_gpu(wanted: &str) -> Error {
    let hint = "it lacks the feature `gpu` of the crate `recurrent`";
    Error::NoAdapter { wanted: wanted.to_owned(), found: Vec::new(), hint }
}

impl Device {
    /// A hardware GPU if there is one, else the CPU; a log line says which.
    ///
    /// A software adapter (llvmpipe, SwiftShader, WARP) is slower than the CPU executor, so it is taken only where
    /// `WGPU_ADAPTER_NAME` names it.
    pub async fn best_async() -> Device {
        #[cfg(feature = "gpu")]
        match Gpu::new_async(&Select::Hardware).await {
            Ok(gpu) => {
                let device = Device::from_gpu(gpu);
                log::info!("using {}", device.name());
                return device;
            }
            Err(error) => {
                // To find none is usual; that one was named or did not open is not.
                let usual = matches!(error, Error::NoAdapter { .. }) && std::env::var_os("WGPU_ADAPTER_NAME").is_none();
                let level = if usual { log::Level::Info } else { log::Level::Warn };
                log::log!(level, "using {}: {error}", Device::cpu().name());
            }
        }
        Device::cpu()
    }

    /// The best GPU there is, a software one if there is no other.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none at all.
    pub async fn gpu_async() -> Result<Device> {
        #[cfg(feature = "gpu")]
        return Gpu::new_async(&Select::Any).await.map(Device::from_gpu);
        #[cfg(not(feature = "gpu"))]
        Err(no_gpu("any GPU"))
    }

    /// The device that a user names: `best`, `cpu`, `gpu`, `gpu:INDEX` or `gpu:NAME`, where NAME is part of an
    /// adapter's name in any case.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the list of those there are; [`Error::Config`] for any other text.
    pub async fn parse_async(text: &str) -> Result<Device> {
        match (text, text.strip_prefix("gpu:")) {
            ("best", _) => Ok(Self::best_async().await),
            ("cpu", _) => Ok(Self::cpu()),
            ("gpu", _) => Self::gpu_async().await,
            (_, Some(which)) if !which.is_empty() => Self::named_async(which).await,
            _ => Err(Error::Config(format!(
                "there is no device `{text}`, expected best, cpu, gpu, gpu:INDEX or gpu:NAME"
            ))),
        }
    }

    /// The GPU of that index or, where it is none, of that name.
    #[cfg(feature = "gpu")]
    async fn named_async(which: &str) -> Result<Device> {
        let by_name = Select::Name(which.to_owned());
        let gpu = match which.parse().map(Select::Index) {
            // A number that is no index may still be part of a name: 4090.
            Ok(by_index) => match Gpu::new_async(&by_index).await {
                Err(missing @ Error::NoAdapter { .. }) => Gpu::new_async(&by_name).await.map_err(|_| missing),
                opened => opened,
            },
            Err(_) => Gpu::new_async(&by_name).await,
        };
        gpu.map(Device::from_gpu)
    }

    #[cfg(not(feature = "gpu"))]
    async fn named_async(which: &str) -> Result<Device> {
        Err(no_gpu(&format!("gpu:{which}")))
    }

    /// The CPU executor, in f32, on as many threads as rayon has, or on the calling thread where the system refuses to
    /// make threads. Results are the same bits on any number of threads.
    pub fn cpu() -> Device {
        Device { kind: Kind::Cpu, precision: Precision::F32, plan_cache_bytes: None }
    }

    /// A GPU that is already open, perhaps the application's own.
    #[cfg(feature = "gpu")]
    pub fn from_gpu(gpu: Gpu) -> Device {
        Device { kind: Kind::Gpu(gpu), precision: Precision::F32, plan_cache_bytes: None }
    }

    /// The same, computing in another precision; devices are opened in [`Precision::F32`].
    ///
    /// It is the device's, and neither a recipe's nor a model's: a model is trained, evaluated and run on it alike, and
    /// what is kept of both, always in 32 bits, can go on in another precision elsewhere.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for [`Precision::F16`] on the CPU, and on a GPU without 16-bit floats (wgpu's
    /// `SHADER_F16`).
    pub fn with_precision(self, precision: Precision) -> Result<Device> {
        match (precision, &self.kind) {
            (Precision::F32, _) => {}
            #[cfg(feature = "gpu")]
            (Precision::F16, Kind::Gpu(gpu)) => gpu.check_f16()?,
            (Precision::F16, Kind::Cpu) => {
                let (what, missing) = ("half precision", "16-bit floats: that takes a GPU");
                return Err(Error::Unsupported { device: self.name(), what, missing });
            }
        }
        Ok(Device { precision, ..self })
    }

    /// The same device, on which each [`Trainer`](crate::Trainer), [`Predictor`](crate::Predictor) and
    /// [`StreamingPredictor`](crate::StreamingPredictor) that is made from now on keeps plans of at most so many bytes.
    ///
    /// A plan is what one size of window needs: its tensors and the list of its operations. It is made when that size
    /// first comes and kept for the next time. Where a new one goes beyond the bound, those used longest ago are freed;
    /// one that is in use is not, so that 0 keeps what the last call has used and nothing else. By default an eighth of
    /// the memory of the machine, or of its container, is the bound, on a GPU too, whose memory wgpu does not tell; 256
    /// MiB where the machine does not tell it either. Where a device has no memory left for a plan, all that are not in
    /// use go before that is an error.
    pub fn with_plan_cache_bytes(self, bytes: u64) -> Device {
        Device { plan_cache_bytes: Some(bytes), ..self }
    }

    /// How many bytes of plans are kept, as [`Device::with_plan_cache_bytes`] says.
    pub fn plan_cache_bytes(&self) -> u64 {
        self.plan_cache_bytes.unwrap_or_else(default_plan_cache_bytes)
    }

    /// Returns the storage precision of large tensors.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What it is, in a few words: `NVIDIA H200 (Vulkan)`, `CPU (2 threads)`.
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Cpu => match cpu::threads() {
                1 => "CPU (1 thread)".to_owned(),
                threads => format!("CPU ({threads} threads)"),
            },
            #[cfg(feature = "gpu")]
            Kind::Gpu(gpu) => format!("{} ({})", gpu.adapter().name, gpu.adapter().backend),
        }
    }

    /// Whether it is a GPU, be it a software one.
    pub fn is_gpu(&self) -> bool {
        !matches!(self.kind, Kind::Cpu)
    }

    /// Returns the GPU with its adapter, or `None` for the CPU.
    #[cfg(feature = "gpu")]
    pub fn as_gpu(&self) -> Option<&Gpu> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu(gpu) => Some(gpu),
        }
    }

    /// What plans for it are shaped by.
    #[doc(hidden)]
    pub fn target(&self) -> Target {
        let target = match &self.kind {
            Kind::Cpu => Target::cpu(),
            #[cfg(feature = "gpu")]
            Kind::Gpu(gpu) => gpu.target(),
        };
        Target { precision: self.precision, ..target }
    }

    pub(crate) fn executor(&self) -> Executor {
        match &self.kind {
            Kind::Cpu => Executor::Cpu(cpu::Executor::new()),
            #[cfg(feature = "gpu")]
            Kind::Gpu(gpu) => Executor::Gpu(gpu::executor::Executor::new(gpu.clone())),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Device {
    /// Blocks until [`Device::best_async`] is done.
    pub fn best() -> Device {
        crate::wait::block_on(Self::best_async())
    }

    /// Blocks until [`Device::gpu_async`] is done.
    ///
    /// # Errors
    /// Same as [`Device::gpu_async`].
    pub fn gpu() -> Result<Device> {
        crate::wait::block_on(Self::gpu_async())
    }

    /// Blocks until [`Device::parse_async`] is done.
    ///
    /// # Errors
    /// Same as [`Device::parse_async`].
    pub fn parse(text: &str) -> Result<Device> {
        crate::wait::block_on(Self::parse_async(text))
    }
}

/// What is kept where the user sets no bound: this part of the machine's memory.
const SHARE: u64 = 8;

/// What is kept where the machine does not tell how much memory it has, as in a browser: 256 MiB.
const UNKNOWN: u64 = 256 << 20;

/// How many bytes of plans are kept where the user sets no bound.
fn default_plan_cache_bytes() -> u64 {
    #[cfg(not(target_arch = "wasm32"))]
    let memory = {
        static MEMORY: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        *MEMORY.get_or_init(|| {
            let mut system = sysinfo::System::new();
            system.refresh_memory();
            // A container may have less than its machine.
            let limits = system.cgroup_limits().map(|limits| limits.total_memory).filter(|limit| *limit > 0);
            limits.map_or(system.total_memory(), |limit| limit.min(system.total_memory()))
        })
    };
    #[cfg(target_arch = "wasm32")]
    let memory = 0;
    if memory == 0 { UNKNOWN } else { memory / SHARE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory() {
        assert!(default_plan_cache_bytes() >= 1 << 24, "{}", default_plan_cache_bytes());
    }
}
