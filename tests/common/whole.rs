//! What the whole-run tests share: devices, seeded batches, comparators, and running a test again in a new process.
//!
//! A comparator fails on NaN and on lengths that differ; a GPU that is not there fails the test that asked for it.
#![allow(unused_macros, unused_imports, reason = "every test program uses a part")]

use std::process::Command;
use std::sync::OnceLock;

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
#[cfg(feature = "gpu")]
use recurrent::wgpu;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Checkpoint, Config, Device, HeadTargets, InputKind, Inputs, Loss, Model, Pool,
    Sequences, Start, Targets, Trainer,
};

use super::heads::{head_label_count, head_losses};

/// What an error says, with what its sources say.
pub fn said(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Checks that it is an error that says all of these.
#[track_caller]
pub fn refuses<T: std::fmt::Debug>(result: recurrent::Result<T>, words: &[&str]) {
    let what = said(&result.expect_err("it was taken"));
    assert!(words.iter().all(|word| what.contains(word)), "{what}: not all of {words:?}");
}

/// Declares each function `fn name(device: &Device)` as two tests, `cpu::name` and `gpu::name`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod cpu {
            $(#[test]
            fn $name() {
                super::$name(&recurrent::Device::cpu());
            })*
        }

        mod gpu {
            $(#[test]
            #[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
            fn $name() {
                super::$name(&crate::common::whole::gpu());
            })*
        }
    };
}
pub(crate) use on_both;

/// The best adapter there is, software ones included; a program's tests share it and its compiled kernels.
pub fn gpu() -> Device {
    static GPU: OnceLock<Device> = OnceLock::new();
    let open = || {
        Device::gpu().unwrap_or_else(|error| {
            panic!(
                "this test needs a GPU: {error}. `scripts/test.sh` runs the tests on a software adapter; with \
                 RECURRENT_ADAPTER=none the tests that need one are ignored"
            )
        })
    };
    GPU.get_or_init(open).clone()
}

/// A model, a window, and one whose loss is finite and whose gradient is not: h = relu(x) and y = h/1000, so with x =
/// 1e21 the loss is 1e36, but the gradient of V is 2·1e18·1e21.
pub fn overflowing() -> (Model, [Batch; 2]) {
    let config = Config::elman(InputKind::Dense(1), 1, 1).with_cell(Cell::Elman(Activation::Relu));
    let given: [(&str, &[usize], &[f32]); 6] = [
        ("weight_ih_l0", &[1, 1], &[1.0]),
        ("weight_hh_l0", &[1, 1], &[0.0]),
        ("bias_ih_l0", &[1], &[0.0]),
        ("bias_hh_l0", &[1], &[0.0]),
        ("weight", &[1, 1], &[1e-3]),
        ("bias", &[1], &[0.0]),
    ];
    let window = |x| Batch::dense(BatchShape { steps: 1, batch_size: 1 }, vec![x], Targets::Values(vec![0.5]));
    (Model::from_tensors(config, given).unwrap(), [window(1.0), window(1e21)])
}

/// A seeded source of random numbers.
pub fn rng(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

/// `count` ids below `below`.
pub fn ids(rng: &mut ChaCha12Rng, count: usize, below: usize) -> Vec<u32> {
    (0..count).map(|_| rng.random_range(0..below as u32)).collect()
}

/// `count` numbers in ±`bound`.
pub fn reals(rng: &mut ChaCha12Rng, count: usize, bound: f32) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
}

/// A batch of random data that fits the network and the loss, and its heads and theirs, from a state of zeros.
pub fn batch(rng: &mut ChaCha12Rng, config: &Config, loss: Loss, steps: usize, size: usize) -> Batch {
    let labels = config.label_count(BatchShape { steps, batch_size: size });
    let inputs = match config.input {
        InputKind::Dense(features) => Inputs::Dense(reals(rng, steps * size * features, 1.0)),
        _ => Inputs::Tokens(ids(rng, steps * size, config.input.size())),
    };
    let targets = match loss {
        Loss::MeanSquared => Targets::Values(reals(rng, labels * config.outputs, 1.0)),
        _ => Targets::Classes(ids(rng, labels, config.outputs)),
    };
    let sequences = Sequences::new(BatchShape { steps, batch_size: size }, inputs);
    let sequences = config.columns.iter().fold(sequences, |sequences, column| {
        let inputs = match column.input {
            InputKind::Dense(features) => Inputs::Dense(reals(rng, steps * size * features, 1.0)),
            _ => Inputs::Tokens(ids(rng, steps * size, column.input.size())),
        };
        sequences.with_column(&column.name, inputs)
    });
    let batch = Batch::new(sequences, targets);
    head_losses(config).fold(batch, |batch, (head, loss, _)| {
        let labels = head_label_count(config, head, steps, size);
        let targets = match loss {
            Loss::CrossEntropy => Targets::Classes(ids(rng, labels, head.outputs)),
            _ => Targets::Values(reals(rng, labels * head.outputs, 1.0)),
        };
        batch.with_head(HeadTargets::new(&head.name, targets))
    })
}

/// The steps `range` of a batch that is read out at every step, as a window that carries on unless it is the first.
pub fn part(whole: &Batch, config: &Config, range: std::ops::Range<usize>) -> Batch {
    assert_eq!(config.pooling(), None, "only such a batch can be cut");
    let Sequences { batch_size: size, inputs, lengths, start, .. } = &whole.sequences;
    assert_eq!(*lengths, None, "only such a batch can be cut");
    let rows = |width: usize| range.start * size * width..range.end * size * width;
    let inputs = match inputs {
        Inputs::Tokens(ids) => Inputs::Tokens(ids[rows(1)].to_vec()),
        Inputs::Dense(x) => Inputs::Dense(x[rows(config.input.size())].to_vec()),
        _ => panic!("another kind"),
    };
    let targets = match &whole.targets {
        Targets::Classes(ids) => Targets::Classes(ids[rows(1)].to_vec()),
        Targets::Values(y) => Targets::Values(y[rows(config.outputs)].to_vec()),
        _ => panic!("another kind"),
    };
    let mask = whole.loss_mask.as_ref().map(|mask| mask[rows(1)].to_vec());
    let start = if range.start == 0 { start.clone() } else { Start::Carry };
    let sequences = Sequences::new(BatchShape { steps: range.len(), batch_size: *size }, inputs).with_start(start);
    let mut batch = Batch::new(sequences, targets);
    batch.loss_mask = mask;
    batch
}

/// All that a training is, as bytes: equal bytes are equal weights, moments, state, recipe and step, bit for bit.
#[track_caller]
pub fn bytes(trainer: &mut Trainer) -> Vec<u8> {
    trainer.checkpoint().and_then(|checkpoint: Checkpoint| checkpoint.to_bytes()).expect("a checkpoint")
}

/// The same numbers, bit for bit.
#[track_caller]
pub fn assert_same(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    assert!(!want.is_empty(), "{what}: nothing to compare");
    let differ = |(g, w): (&f32, &f32)| g.to_bits() != w.to_bits();
    if let Some(at) = got.iter().zip(want).position(differ) {
        panic!("{what}: element {at} is {:e}, expected {:e} to the last bit", got[at], want[at]);
    }
}

/// Numbers that differ by at most `tolerance` times the largest of `want`.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    assert!(!want.is_empty(), "{what}: nothing to compare");
    assert!(got.iter().chain(want).all(|v| v.is_finite()), "{what}: not finite");
    let allowed = tolerance * want.iter().fold(0.0, |max: f32, v| max.max(v.abs()));
    let off = |at: &usize| (got[*at] - want[*at]).abs();
    let worst = (0..want.len()).max_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0);
    assert!(
        off(&worst) <= allowed,
        "{what}: element {worst} is {:e}, expected {:e} within {allowed:e}",
        got[worst],
        want[worst]
    );
}

/// The environment variable that tells a test that it is its own child process, and what to do there.
const CHILD: &str = "RECURRENT_TEST_CHILD";

/// What this process is to do, if a test started it as its child.
pub fn child_task() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Runs the test of this name again, alone, in a new process that [`child_task`] tells what to do, and requires it to
/// have run and passed. `environment` sets variables, or removes those without a value.
#[track_caller]
pub fn run_child(test: &str, task: &str, environment: &[(&str, Option<&str>)]) {
    let mut command = Command::new(std::env::current_exe().expect("the test's own program"));
    command.args([test, "--exact", "--nocapture", "--include-ignored"]).env(CHILD, task);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().expect("a child process");
    let [printed, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success() && printed.contains("1 passed"), "the child of {test}:\n{printed}\n{errors}");
}

/// A device and a queue of the test's own on the adapter of [`gpu`], with wgpu's default limits but for what `change`
/// does to them, and of features those of subgroups alone, where the adapter has them: sums are made by these.
#[cfg(feature = "gpu")]
pub fn open(change: impl FnOnce(&mut wgpu::Limits)) -> (wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle().with_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let wanted = gpu().name();
    let adapter = adapters.iter().find(|adapter| wanted.starts_with(&format!("{} (", adapter.get_info().name)));
    let adapter = adapter.expect("the adapter of the crate's own device");
    let mut required_limits = wgpu::Limits::default();
    change(&mut required_limits);
    let required_features = adapter.features() & wgpu::Features::SUBGROUP;
    let descriptor = wgpu::DeviceDescriptor { required_limits, required_features, ..Default::default() };
    pollster::block_on(adapter.request_device(&descriptor)).expect("a device")
}
