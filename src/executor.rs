//! The one switch between the two executors.
//!
//! The contract: both replay the same plans, and every call does the same on either; where one has to wait, the other
//! is ready at once.

use std::ops::Range;

use crate::clock::Timed;
use crate::cpu;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
#[cfg(feature = "gpu")]
pub(crate) use crate::gpu::executor::Readback;
#[cfg(feature = "gpu")]
pub use crate::gpu::slice::DeviceSlice;
use crate::plan::{Part, Plan, PlanId, TensorId};

/// Either executor.
#[derive(Debug)]
pub(crate) enum Executor {
    Cpu(cpu::Executor<f32>),
    #[cfg(feature = "gpu")]
    Gpu(gpu::executor::Executor),
}

impl Executor {
    pub async fn prepare(&mut self, plan: Plan) -> Result<PlanId> {
        match self {
            Executor::Cpu(cpu) => cpu.prepare(plan),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.prepare_async(plan).await,
        }
    }

    /// Frees a plan and what is its own.
    pub fn free(&mut self, id: PlanId) {
        match self {
            Executor::Cpu(cpu) => cpu.free(id),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.free(id),
        }
    }

    /// Bytes that are allocated for a plan, but for what it shares with others.
    pub fn needs(&self, plan: &Plan) -> u64 {
        match self {
            Executor::Cpu(_) => cpu::Executor::<f32>::needs(plan),
            #[cfg(feature = "gpu")]
            Executor::Gpu(_) => gpu::executor::Executor::needs(plan),
        }
    }

    pub fn plan(&self, id: PlanId) -> &Plan {
        match self {
            Executor::Cpu(cpu) => cpu.plan(id),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.plan(id),
        }
    }

    pub fn write(&mut self, plan: PlanId, tensor: TensorId, values: impl ExactSizeIterator<Item = f64>) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => cpu.write(plan, tensor, values),
            #[cfg(feature = "gpu")]
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
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.write_each_id(plan, tensor, ids),
        }
    }

    pub fn run(&mut self, plan: PlanId) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.run(plan);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.run(plan),
        }
    }

    /// Runs a part of a plan.
    pub fn run_part(&mut self, plan: PlanId, part: Part) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.run_part(plan, part);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.run_part(plan, part),
        }
    }

    /// Checks that numbers of the application's can be copied.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "there are none without a GPU"))]
    pub fn check_slice(&mut self, from: &DeviceSlice) -> Result<()> {
        match self {
            Executor::Cpu(_) => Err(on_cpu()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.check_slice(from),
        }
    }

    /// Checks that numbers of the application's can be written.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "there are none without a GPU"))]
    pub fn check_room(&mut self, to: &DeviceSlice) -> Result<()> {
        match self {
            Executor::Cpu(_) => Err(on_cpu()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.check_room(to),
        }
    }

    /// Copies numbers of the application's to an input before the plan's next run.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "there are none without a GPU"))]
    pub fn write_slice(&mut self, plan: PlanId, tensor: TensorId, from: &DeviceSlice) -> Result<()> {
        match self {
            Executor::Cpu(_) => Err(on_cpu()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.write_slice(plan, tensor, from),
        }
    }

    /// Copies part of a tensor to as many numbers of the application's.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "there are none without a GPU"))]
    pub fn read_slice(&mut self, plan: PlanId, tensor: TensorId, range: Range<usize>, to: &DeviceSlice) -> Result<()> {
        match self {
            Executor::Cpu(_) => Err(on_cpu()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.read_slice(plan, tensor, range, to),
        }
    }

    /// [`Executor::run`], each operation timed; it waits for the device.
    pub async fn run_timed(&mut self, plan: PlanId) -> Result<Timed> {
        match self {
            Executor::Cpu(cpu) => cpu.run_timed(plan),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.run_timed(plan).await,
        }
    }

    pub fn copy(&mut self, from: (PlanId, TensorId), to: (PlanId, TensorId)) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.copy(from, to);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.copy(from, to),
        }
    }

    pub fn zero(&mut self, plan: PlanId, tensor: TensorId) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.zero(plan, tensor);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.zero(plan, tensor),
        }
    }

    /// Reads part of a tensor into `out`, which keeps its memory from call to call.
    pub async fn read_into(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        range: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                out.clear();
                out.extend_from_slice(&cpu.read(plan, tensor)[range]);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.read_into(plan, tensor, range, out).await,
        }
    }

    pub async fn read(&mut self, plan: PlanId, tensor: TensorId) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        let len = self.plan(plan).get(tensor).len();
        self.read_into(plan, tensor, 0..len, &mut out).await?;
        Ok(out)
    }

    /// [`Executor::run`], and one of the plan's tensors of real numbers appended to `out`, on a GPU when
    /// [`Executor::finish`] waits for it.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "only a GPU has to be waited for"))]
    pub async fn run_and_read(
        &mut self,
        (plan, tensor): (PlanId, TensorId),
        readback: &mut Readback,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        match self {
            Executor::Cpu(cpu) => {
                cpu.run(plan);
                out.extend_from_slice(cpu.read(plan, tensor));
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.run_and_read((plan, tensor), readback, out).await,
        }
    }

    /// Waits for all that [`Executor::run_and_read`] has still to append.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "only a GPU has to be waited for"))]
    pub async fn finish(&mut self, readback: &mut Readback, out: &mut Vec<f32>) -> Result<()> {
        match self {
            Executor::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.finish(readback, out).await,
        }
    }

    /// Waits until all that was begun is done.
    pub async fn idle(&mut self) -> Result<()> {
        match self {
            Executor::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.idle().await,
        }
    }
}

fn on_cpu() -> Error {
    Error::Data("numbers lie in a buffer on a GPU, but the network runs on the CPU".to_owned())
}

/// Numbers of the application's on a GPU, of which there are none without the feature `gpu`.
///
/// ```
/// use recurrent::device::DeviceSlice;
/// fn bytes(slice: &DeviceSlice) -> usize {
///     slice.len() * 4
/// }
/// # let _ = bytes;
/// ```
#[cfg(not(feature = "gpu"))]
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSlice(std::convert::Infallible);

#[cfg(not(feature = "gpu"))]
impl DeviceSlice {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self.0 {}
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn part(&self, _range: Range<usize>) -> Self {
        match self.0 {}
    }

    pub(crate) fn check_readable(&self, _argument: &str) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn check_writable(&self, _argument: &str, _expected: usize) -> Result<()> {
        match self.0 {}
    }
}

/// The results of several runs on their way from the device.
#[cfg(not(feature = "gpu"))]
pub(crate) struct Readback;

#[cfg(not(feature = "gpu"))]
impl Readback {
    /// One for so many elements in all.
    pub fn new(_elements: usize) -> Self {
        Readback
    }
}
