//! Where a network runs: a GPU, or the CPU where there is none. The one switch between the two executors.

use std::ops::Range;

use crate::cache;
use crate::clock::Timed;
use crate::cpu;
use crate::data::{InputsRef, Span};
use crate::error::{Error, Result};
pub(crate) use crate::gpu::Readback;
use crate::gpu::{self, Gpu, Select, Wait};
use crate::plan::{Plan, PlanId, PlanTensors, Precision, Target, TensorId};

/// A GPU or the CPU. Cheap to clone.
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

    /// The CPU executor, in f32, on as many threads as rayon has, or on the calling thread where the system refuses to
    /// make threads. Results are the same bits on any number of threads.
    pub fn cpu() -> Device {
        Device { kind: Kind::Cpu, precision: Precision::F32, plan_cache_bytes: None }
    }

    /// A GPU that is already open, perhaps the application's own.
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
        self.plan_cache_bytes.unwrap_or_else(cache::default_limit)
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
    /// Blocks until [`Device::best_async`] is done.
    pub fn best() -> Device {
        crate::blocking::block_on(Self::best_async())
    }

    /// Blocks until [`Device::gpu_async`] is done.
    ///
    /// # Errors
    /// Same as [`Device::gpu_async`].
    pub fn gpu() -> Result<Device> {
        crate::blocking::block_on(Self::gpu_async())
    }

    /// Blocks until [`Device::parse_async`] is done.
    ///
    /// # Errors
    /// Same as [`Device::parse_async`].
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

    /// Frees a plan and what is its own.
    pub fn free(&mut self, id: PlanId) {
        match self {
            Executor::Cpu(cpu) => cpu.free(id),
            Executor::Gpu(gpu) => gpu.free(id),
        }
    }

    /// Bytes that are allocated for a plan, but for what it shares with others.
    pub fn needs(&self, plan: &Plan) -> u64 {
        match self {
            Executor::Cpu(_) => cpu::Executor::<f32>::needs(plan),
            Executor::Gpu(_) => gpu::Executor::needs(plan),
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

    /// Writes all that a network is to read, but for a state that is carried or given; `is_fresh` says whether it
    /// starts from the learned one, if it has one.
    pub fn write_span(&mut self, plan: PlanId, to: &PlanTensors, span: &Span<'_>, is_fresh: bool) -> Result<()> {
        self.write_each_id(plan, to.lengths, (0..span.batch_size).map(|b| span.length(b) as u32))?;
        if let Some(fresh) = to.fresh {
            self.write(plan, fresh, std::iter::once(f64::from(u8::from(is_fresh))))?;
        }
        match span.inputs {
            InputsRef::Tokens(tokens) => self.write_ids(plan, to.inputs, tokens),
            InputsRef::Dense(x) if span.lengths.is_none() => self.write_f32(plan, to.inputs, x),
            // Padding is multiplied with W before it is left out, and finite numbers may be too large for that.
            InputsRef::Dense(x) => {
                let row = (x.len() / (span.steps * span.batch_size)).max(1);
                let valid = |at: usize| span.length(at / row % span.batch_size) > at / row / span.batch_size;
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

    /// [`Executor::run`], and one of the plan's tensors of real numbers appended to `out`, on a GPU when
    /// [`Executor::finish`] waits for it.
    pub async fn run_and_read(
        &mut self,
        (plan, tensor): (PlanId, TensorId),
        readback: &mut Readback,
        wait: Wait,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.run(plan);
                out.extend_from_slice(cpu.read(plan, tensor));
                Ok(())
            }
            Executor::Gpu(gpu) => gpu.run_and_read((plan, tensor), readback, wait, out).await,
        }
    }

    /// Waits for all that [`Executor::run_and_read`] has still to append.
    pub async fn finish(&mut self, readback: &mut Readback, wait: Wait, out: &mut Vec<f32>) -> Result<()> {
        match self {
            Executor::Cpu(_) => Ok(()),
            Executor::Gpu(gpu) => gpu.finish(readback, wait, out).await,
        }
    }

    /// Waits until all that was begun is done.
    pub async fn idle(&mut self, wait: Wait) -> Result<()> {
        match self {
            Executor::Cpu(_) => Ok(()),
            Executor::Gpu(gpu) => gpu.idle(wait).await,
        }
    }
}
