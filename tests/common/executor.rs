//! The executors behind one trait, so that one test runs on each of them.
//!
//! Numbers go in and come out as f64, whatever the executor computes in; every failure of a call fails the test.

#[cfg(feature = "gpu")]
use std::sync::OnceLock;

#[cfg(feature = "gpu")]
use recurrent::gpu::{Gpu, Select};
use recurrent::internals::cpu::{self, Real};
#[cfg(feature = "gpu")]
use recurrent::internals::gpu;
use recurrent::internals::plan::{Plan, PlanId, TensorId};

/// What a test needs of an executor.
pub trait Execute {
    /// Allocates a plan's tensors.
    fn prepare(&mut self, plan: Plan) -> PlanId;
    /// Writes a tensor of real numbers.
    fn write(&mut self, plan: PlanId, tensor: TensorId, values: &[f64]);
    /// Writes a tensor of ids.
    fn write_ids(&mut self, plan: PlanId, tensor: TensorId, ids: &[u32]);
    /// Runs a plan once.
    fn run(&mut self, plan: PlanId);
    /// Reads a tensor of real numbers.
    fn read(&mut self, plan: PlanId, tensor: TensorId) -> Vec<f64>;
}

impl<T: Real> Execute for cpu::Executor<T> {
    fn prepare(&mut self, plan: Plan) -> PlanId {
        cpu::Executor::prepare(self, plan).expect("a plan is prepared")
    }

    fn write(&mut self, plan: PlanId, tensor: TensorId, values: &[f64]) {
        cpu::Executor::write(self, plan, tensor, values.iter().copied()).expect("a tensor of numbers is written");
    }

    fn write_ids(&mut self, plan: PlanId, tensor: TensorId, ids: &[u32]) {
        cpu::Executor::write_ids(self, plan, tensor, ids).expect("a tensor of ids is written");
    }

    fn run(&mut self, plan: PlanId) {
        cpu::Executor::run(self, plan);
    }

    fn read(&mut self, plan: PlanId, tensor: TensorId) -> Vec<f64> {
        cpu::Executor::read(self, plan, tensor).iter().map(|v| v.as_f64()).collect()
    }
}

#[cfg(feature = "gpu")]
impl Execute for gpu::Executor {
    fn prepare(&mut self, plan: Plan) -> PlanId {
        gpu::Executor::prepare(self, plan).expect("a plan is prepared")
    }

    fn write(&mut self, plan: PlanId, tensor: TensorId, values: &[f64]) {
        gpu::Executor::write(self, plan, tensor, values.iter().copied()).expect("a tensor of numbers is written");
    }

    fn write_ids(&mut self, plan: PlanId, tensor: TensorId, ids: &[u32]) {
        gpu::Executor::write_ids(self, plan, tensor, ids).expect("a tensor of ids is written");
    }

    fn run(&mut self, plan: PlanId) {
        gpu::Executor::run(self, plan).expect("a plan is run");
    }

    fn read(&mut self, plan: PlanId, tensor: TensorId) -> Vec<f64> {
        gpu::Executor::read(self, plan, tensor).expect("a tensor is read").into_iter().map(f64::from).collect()
    }
}

/// An executor on the adapter that `WGPU_ADAPTER_NAME` names, else on the best there is, software ones included.
///
/// All of a test file's executors share one device, and with it the compiled kernels.
#[cfg(feature = "gpu")]
pub fn gpu() -> gpu::Executor {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    let gpu = GPU.get_or_init(|| {
        Gpu::new(&Select::Any).unwrap_or_else(|error| {
            panic!(
                "this test needs a GPU: {error}. `scripts/test.sh` runs the tests on a software adapter; with \
                 RECURRENT_ADAPTER=none the tests that need one are ignored"
            )
        })
    });
    gpu::Executor::new(gpu.clone())
}

/// Stands where a GPU would in a build that has none; the tests that ask for it are ignored there.
#[cfg(not(feature = "gpu"))]
pub fn gpu() -> cpu::Executor<f32> {
    panic!("this build of the crate has no GPU")
}
