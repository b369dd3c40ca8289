//! A training step and a step of inference, on the GPU against the CPU executor, over a few sizes.
//!
//! The contract: what is timed is what a caller waits for, reading the result included; without an adapter the rows of
//! the GPU are left out, and a line says so.
#![allow(clippy::expect_used, reason = "a bench has nobody to hand an error to")]
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use recurrent::{
    Batch, BatchShape, Config, Device, InputKind, Loss, Model, Precision, Recipe, StreamingPredictor, Trainer,
};

/// T, B and H; tokens and outputs are [`TOKENS`]. By the largest the GPU has enough to do.
const SIZES: [(usize, usize, usize); 3] = [(10, 1, 64), (50, 16, 128), (50, 64, 512)];
/// As many as a text has different characters.
const TOKENS: usize = 96;

/// The CPU executor and, where there is one, the best adapter, software ones included, in either precision.
fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("cpu", Device::cpu())];
    match Device::gpu() {
        Ok(gpu) => {
            println!("gpu is {}", gpu.name());
            match gpu.clone().with_precision(Precision::F16) {
                Ok(half) => devices.push(("gpu f16", half)),
                Err(error) => println!("no rows for half precision: {error}"),
            }
            devices.push(("gpu", gpu));
        }
        Err(error) => println!("no rows for a GPU: {error}"),
    }
    devices
}

fn model(hidden: usize) -> Model {
    Model::new(Config::elman(InputKind::Tokens(TOKENS), hidden, TOKENS)).expect("sizes above zero")
}

/// Ids that no order of the tokens favours: neighbours differ by a prime.
fn ids(len: usize) -> Vec<u32> {
    (0..len).map(|at| (at * 31 % TOKENS) as u32).collect()
}

fn step(criterion: &mut Criterion) {
    let devices = devices();
    training_step(criterion, &devices);
    stream_step(criterion, &devices);
}

fn training_step(criterion: &mut Criterion, devices: &[(&str, Device)]) {
    let mut group = criterion.benchmark_group("training step");
    // Flat: as many repeats in every sample, so that ten steps of a second each suffice on a software adapter.
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for (name, device) in devices {
        for (steps, batch, hidden) in SIZES {
            let recipe = Recipe::new(Loss::CrossEntropy);
            let mut trainer = Trainer::new(device, &model(hidden), recipe).expect("a trainer");
            let ids = ids(steps * batch + 1);
            let window = Batch::tokens(
                BatchShape { steps, batch_size: batch },
                ids[..steps * batch].to_vec(),
                ids[1..].to_vec(),
            );
            group.bench_function(BenchmarkId::new(*name, format!("T{steps} B{batch} H{hidden}")), |bencher| {
                bencher.iter(|| {
                    trainer.step(&window).expect("a step");
                    trainer.metrics().expect("finite losses")
                });
            });
        }
    }
}

fn stream_step(criterion: &mut Criterion, devices: &[(&str, Device)]) {
    let mut group = criterion.benchmark_group("stream step");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (name, device) in devices {
        for (_, batch, hidden) in SIZES {
            let mut stream = StreamingPredictor::new(device, &model(hidden), batch).expect("a stream");
            let ids = ids(batch);
            group.bench_function(BenchmarkId::new(*name, format!("B{batch} H{hidden}")), |bencher| {
                bencher.iter(|| stream.step_tokens(&ids).expect("a step")[0]);
            });
        }
    }
}

criterion_group!(benches, step);
criterion_main!(benches);
