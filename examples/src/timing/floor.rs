//! The floor of a device: what its executor reaches in one large product and in one large copy, and the time that a
//! piece of work takes at the least if it does as well.
//!
//! The contract: both are measured through the executor that the work is timed on, and the best of the repeats counts.

use std::time::Instant;

use anyhow::Result;
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::Device;
use recurrent::internals::cpu;
use recurrent::internals::gpu;
use recurrent::internals::plan::{CopyView, DType, Lifetime, MatMul, Op, Phase, Plan, ProductTile, TensorId, View};

/// N of the products of N×N matrices; the largest are left out where one would take longer than there is time.
const PRODUCTS: [usize; 5] = [256, 512, 1024, 2048, 4096];
/// Elements of a tensor that is copied: 64 MiB.
const COPIED: usize = 16 << 20;
/// Copies in one run, there and back: on a GPU one alone takes no longer than its submission.
const COPIES: usize = 8;
/// Repeats of which the best is taken, however long they take.
const FEWEST: usize = 3;
/// Repeats after which there is no better one.
const MOST: usize = 50;

/// What a device reaches at its best.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// Of a product, a multiplication and an addition being two.
    pub gflops: f64,
    /// The N at which it was reached.
    pub size: usize,
    /// GB/s of a copy, what is read and what is written both counted.
    pub bandwidth: f64,
}

impl Floor {
    /// Measures a device, each size and the copy for `seconds` or until there are three repeats.
    pub fn measure(device: &Device, seconds: f64) -> Result<Self> {
        let (mut gflops, mut size) = (0.0, 0);
        for n in PRODUCTS {
            let (plan, filled, sign) = product(n)?;
            let best = fastest(device, plan, &filled, sign, seconds)?;
            let reached = 2.0 * (n as f64).powi(3) / best / 1e9;
            if reached > gflops {
                (gflops, size) = (reached, n);
            }
            // The next size is eight times the work.
            if 8.0 * best > seconds {
                break;
            }
        }
        let (plan, filled, sign) = copy()?;
        let best = fastest(device, plan, &filled, sign, seconds)?;
        let bandwidth = 2.0 * (4 * COPIED * COPIES) as f64 / best / 1e9;
        Ok(Floor { gflops, size, bandwidth })
    }

    /// Returns the milliseconds that so much work takes at the least: its products or its traffic, whichever takes
    /// longer.
    pub fn ms(&self, flop: f64, bytes: f64) -> f64 {
        (flop / self.gflops).max(bytes / self.bandwidth) / 1e6
    }
}

/// A plan, what is to be filled with numbers, and one element that is known once all is done.
type Measured = (Plan, Vec<TensorId>, TensorId);

/// A product of N×N matrices, the second transposed as W is.
fn product(n: usize) -> Result<Measured> {
    let mut plan = Plan::empty();
    let mut matrix = |name| plan.tensor(name, &[n, n], DType::F32, Lifetime::Scratch);
    let (a, b, out) = (matrix("a")?, matrix("b")?, matrix("out")?);
    let [view_a, view_b, view_out] = [a, b, out].map(|tensor| View::new(tensor, 0, n, n));
    let tile = ProductTile::Large;
    let op = MatMul { a: view_a, transpose_a: false, b: view_b, transpose_b: true, bias: None, out: view_out, tile };
    plan.push(Phase::Forward, Op::MatMul(op));
    let sign = sign(&mut plan, out)?;
    Ok((plan, vec![a, b], sign))
}

fn copy() -> Result<Measured> {
    let mut plan = Plan::empty();
    let a = plan.tensor("a", &[COPIED], DType::F32, Lifetime::Scratch)?;
    let b = plan.tensor("b", &[COPIED], DType::F32, Lifetime::Scratch)?;
    let [view_a, view_b] = [a, b].map(|tensor| View::new(tensor, 0, 1, COPIED));
    for turn in 0..COPIES {
        let (from, to) = if turn % 2 == 0 { (view_a, view_b) } else { (view_b, view_a) };
        plan.push(Phase::Forward, Op::Copy(CopyView { from, to }));
    }
    let sign = sign(&mut plan, a)?;
    Ok((plan, vec![a, b], sign))
}

/// The first element of what is computed last: to read it is to wait for all of it.
fn sign(plan: &mut Plan, last: TensorId) -> Result<TensorId> {
    let sign = plan.tensor("sign", &[1], DType::F32, Lifetime::Scratch)?;
    plan.push(Phase::Forward, Op::Copy(CopyView { from: View::new(last, 0, 1, 1), to: View::new(sign, 0, 1, 1) }));
    Ok(sign)
}

/// Seconds of a plan's fastest run.
fn fastest(device: &Device, plan: Plan, filled: &[TensorId], sign: TensorId, seconds: f64) -> Result<f64> {
    let mut rng = ChaCha12Rng::seed_from_u64(0);
    // Not zeros, which a driver may keep compressed and a processor multiplies at less power.
    let few: Vec<f64> = (0..1021).map(|_| rng.random_range(-1.0..1.0)).collect();
    let sizes: Vec<usize> = filled.iter().map(|tensor| plan.get(*tensor).len()).collect();
    let filled = filled.iter().zip(sizes).map(|(tensor, len)| (*tensor, (0..len).map(|at| few[at % few.len()])));
    match device.as_gpu() {
        None => {
            let mut executor = cpu::Executor::<f32>::new();
            let plan = executor.prepare(plan)?;
            for (tensor, values) in filled {
                executor.write(plan, tensor, values)?;
            }
            best(seconds, || {
                executor.run(plan);
                Ok(())
            })
        }
        Some(gpu) => {
            let mut executor = gpu::Executor::new(gpu.clone());
            let plan = executor.prepare(plan)?;
            for (tensor, values) in filled {
                executor.write(plan, tensor, values)?;
            }
            best(seconds, || {
                executor.run(plan)?;
                Ok(executor.read(plan, sign).map(drop)?)
            })
        }
    }
}

/// Seconds of the fastest repeat; the first is not counted.
fn best(seconds: f64, mut repeat: impl FnMut() -> Result<()>) -> Result<f64> {
    repeat()?;
    let begin = Instant::now();
    let (mut best, mut repeats) = (f64::INFINITY, 0);
    while repeats < FEWEST || (repeats < MOST && begin.elapsed().as_secs_f64() < seconds) {
        let start = Instant::now();
        repeat()?;
        best = best.min(start.elapsed().as_secs_f64());
        repeats += 1;
    }
    Ok(best)
}
