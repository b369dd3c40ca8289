//! Where a network runs: a GPU, or the CPU where there is none. The one switch between the two executors.

use std::ops::Range;

use crate::clock::Timed;
use crate::cpu;
use crate::data::{Inputs, Sequences, Start};
use crate::error::{Error, Result};
use crate::gpu::{self, Gpu, Select, Wait};
use crate::plan::{Outputs, Plan, PlanId, Precision, Target, TensorId};

/// A GPU or the CPU. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Device {
    kind: Kind,
    precision: Precision,
}

#[derive(Clone, Debug)]
enum Kind {
    Cpu,
    Gpu(Gpu),
}

impl Device {
    /// A hardware GPU if there is one, else the CPU; a log line says which.
    ///
    /// A software adapter (llvmpipe, SwiftShader, WARP) is slower than the CPU executor, so it is taken only where
    /// `WGPU_ADAPTER_NAME` names it.
    pub async fn best_async() -> Device {
        match Gpu::new_async(&Select::Hardware).await {
            Ok(gpu) => {
                let device = Device::from_gpu(gpu);
                log::info!("using {}", device.name());
                device
            }
            Err(error) => {
                // To find none is usual; that one was named or did not open is not.
                let usual = matches!(error, Error::NoAdapter { .. }) && std::env::var_os("WGPU_ADAPTER_NAME").is_none();
                let level = if usual { log::Level::Info } else { log::Level::Warn };
                log::log!(level, "using {}: {error}", Device::cpu().name());
                Device::cpu()
            }
        }
    }

    /// The best GPU there is, a software one if there is no other.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none at all.
    pub async fn gpu_async() -> Result<Device> {
        Gpu::new_async(&Select::Any).await.map(Device::from_gpu)
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
            (_, Some(which)) if !which.is_empty() => {
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
            _ => Err(Error::Config(format!(
                "there is no device `{text}`, expected best, cpu, gpu, gpu:INDEX or gpu:NAME"
            ))),
        }
    }

    /// The CPU executor, in f32, on as many threads as rayon has, or on the calling thread where the system refuses to make
    /// threads. Results are the same bits on any number of threads.
    pub fn cpu() -> Device {
        Device { kind: Kind::Cpu, precision: Precision::F32 }
    }

    /// A GPU that is already open, perhaps the application's own.
    pub fn from_gpu(gpu: Gpu) -> Device {
        Device { kind: Kind::Gpu(gpu), precision: Precision::F32 }
    }

    /// The same, computing in another precision; devices are opened in [`Precision::F32`].
    ///
    /// It is the device's, and neither a recipe's nor a model's: a model is trained, evaluated and run on it alike, and what
    /// is kept of both, always in 32 bits, can go on in another precision elsewhere.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for [`Precision::F16`] on the CPU, and on a GPU without numbers of 16 bits (wgpu's `SHADER_F16`).
    pub fn with_precision(self, precision: Precision) -> Result<Device> {
        match (precision, &self.kind) {
            (Precision::F32, _) => {}
            (Precision::F16, Kind::Gpu(gpu)) => gpu.check_f16()?,
            (Precision::F16, Kind::Cpu) => {
                let (what, missing) = ("half precision", "numbers of 16 bits: that takes a GPU");
                return Err(Error::Unsupported { device: self.name(), what, missing });
            }
        }
        Ok(Device { precision, ..self })
    }

    /// In how many bits it stores what is large.
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
            Kind::Gpu(gpu) => format!("{} ({})", gpu.adapter().name, gpu.adapter().backend),
        }
    }

    /// Whether it is a GPU, be it a software one.
    pub fn is_gpu(&self) -> bool {
        matches!(self.kind, Kind::Gpu(_))
    }

    /// The GPU, unless it is the CPU: its adapter, and what [`gpu::Executor`] runs on.
    pub fn as_gpu(&self) -> Option<&Gpu> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu(gpu) => Some(gpu),
        }
    }

    /// What plans for it are shaped by.
    pub fn target(&self) -> Target {
        let target = match &self.kind {
            Kind::Cpu => Target::cpu(),
            Kind::Gpu(gpu) => gpu.target(),
        };
        Target { precision: self.precision, ..target }
    }

    pub(crate) fn executor(&self) -> Executor {
        match &self.kind {
            Kind::Cpu => Executor::Cpu(cpu::Executor::new()),
            Kind::Gpu(gpu) => Executor::Gpu(gpu::Executor::new(gpu.clone())),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Device {
    /// [`Device::best_async`], waiting.
    pub fn best() -> Device {
        crate::blocking::block_on(Self::best_async())
    }

    /// [`Device::gpu_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn gpu() -> Result<Device> {
        crate::blocking::block_on(Self::gpu_async())
    }

    /// [`Device::parse_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str) -> Result<Device> {
        crate::blocking::block_on(Self::parse_async(text))
    }
}

/// Either executor.
#[derive(Debug)]
pub(crate) enum Executor {
    Cpu(cpu::Executor<f32>),
    Gpu(gpu::Executor),
}

impl Executor {
    pub async fn prepare(&mut self, plan: Plan) -> Result<PlanId> {
        match self {
            Executor::Cpu(cpu) => cpu.prepare(plan),
            Executor::Gpu(gpu) => gpu.prepare_async(plan).await,
        }
    }

    pub fn plan(&self, id: PlanId) -> &Plan {
        match self {
            Executor::Cpu(cpu) => cpu.plan(id),
            Executor::Gpu(gpu) => gpu.plan(id),
        }
    }

    pub fn write(&mut self, plan: PlanId, tensor: TensorId, values: impl ExactSizeIterator<Item = f64>) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => cpu.write(plan, tensor, values),
            Executor::Gpu(gpu) => gpu.write(plan, tensor, values),
        }
    }

    pub fn write_f32(&mut self, plan: PlanId, tensor: TensorId, values: &[f32]) -> Result<()> {
        self.write(plan, tensor, values.iter().map(|v| f64::from(*v)))
    }

    pub fn write_ids(&mut self, plan: PlanId, tensor: TensorId, ids: &[u32]) -> Result<()> {
        self.write_each_id(plan, tensor, ids.iter().copied())
    }

    pub fn write_each_id(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        ids: impl ExactSizeIterator<Item = u32>,
    ) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => cpu.write_each_id(plan, tensor, ids),
            Executor::Gpu(gpu) => gpu.write_each_id(plan, tensor, ids),
        }
    }

    /// Writes all that a network is to read, but for a state that is carried or given.
    pub fn write_sequences(&mut self, plan: PlanId, to: &Outputs, sequences: &Sequences) -> Result<()> {
        self.write_each_id(plan, to.lengths, (0..sequences.size).map(|b| sequences.length(b) as u32))?;
        if let Some(fresh) = to.fresh {
            let is_fresh = sequences.start == Start::Zero;
            self.write(plan, fresh, std::iter::once(f64::from(u8::from(is_fresh))))?;
        }
        match &sequences.inputs {
            Inputs::Tokens(tokens) => self.write_ids(plan, to.inputs, tokens),
            Inputs::Dense(x) if sequences.lengths.is_none() => self.write_f32(plan, to.inputs, x),
            // Padding is multiplied with W before it is left out, and finite numbers may be too large for that.
            Inputs::Dense(x) => {
                let row = (x.len() / (sequences.steps * sequences.size)).max(1);
                let valid = |at: usize| sequences.length(at / row % sequences.size) > at / row / sequences.size;
                let values = x.iter().enumerate().map(|(at, v)| if valid(at) { f64::from(*v) } else { 0.0 });
                self.write(plan, to.inputs, values)
            }
        }
    }

    pub fn run(&mut self, plan: PlanId) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.run(plan);
                Ok(())
            }
            Executor::Gpu(gpu) => gpu.run(plan),
        }
    }

    /// [`Executor::run`], each operation timed; it waits for the device.
    pub async fn run_timed(&mut self, plan: PlanId, wait: Wait) -> Result<Timed> {
        match self {
            Executor::Cpu(cpu) => cpu.run_timed(plan),
            Executor::Gpu(gpu) => gpu.run_timed(plan, wait).await,
        }
    }

    pub fn copy(&mut self, from: (PlanId, TensorId), to: (PlanId, TensorId)) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.copy(from, to);
                Ok(())
            }
            Executor::Gpu(gpu) => gpu.copy(from, to),
        }
    }

    pub fn zero(&mut self, plan: PlanId, tensor: TensorId) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.zero(plan, tensor);
                Ok(())
            }
            Executor::Gpu(gpu) => gpu.zero(plan, tensor),
        }
    }

    /// Reads part of a tensor into `out`, which keeps its memory from call to call.
    pub async fn read_into(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        range: Range<usize>,
        wait: Wait,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                out.clear();
                out.extend_from_slice(&cpu.read(plan, tensor)[range]);
                Ok(())
            }
            Executor::Gpu(gpu) => gpu.read_into(plan, tensor, range, wait, out).await,
        }
    }

    pub async fn read(&mut self, plan: PlanId, tensor: TensorId, wait: Wait) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        let len = self.plan(plan).get(tensor).len();
        self.read_into(plan, tensor, 0..len, wait, &mut out).await?;
        Ok(out)
    }
}
