//! Threads of the CPU executor: their number changes no bit of any result, and where the system refuses to make any,
//! one does all of the work.
//!
//! The contract: trainings and operations run in pools of one to 64 threads and are compared to the last bit; refusals
//! are the system's own, in a child process that may start no thread.

use crate::common::heads::with_head_losses;
use crate::common::whole::{self, assert_same, rng};
use rand::RngExt;
use recurrent::internals::cpu;
use recurrent::internals::plan::{DType, Lifetime, Op, Phase, Plan, ProductTile, View, WeightGradient};
use recurrent::{
    Activation, Batch, Cell, Config, Device, Directions, Dropout, GradientCheckpointing, InputKind, Join, Loss, Model,
    Pool, Predictor, Recipe, Recurrent, Reset, StreamingPredictor, Trainer,
};

/// Primes, powers of two, and more than the batch or the matrix has rows.
const THREADS: [usize; 7] = [2, 3, 5, 6, 7, 16, 64];

fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Two steps of a training, an evaluation and an inference: every bit of all of them.
fn training(config: &Config, recipe: Recipe, batch: &Batch) -> (Vec<u8>, Vec<f32>) {
    let device = Device::cpu();
    let mut trainer = Trainer::new(&device, &Model::new(config.clone()).unwrap(), recipe).unwrap();
    trainer.step(batch).unwrap();
    trainer.step(batch).unwrap();
    let mut numbers = Vec::new();
    for metrics in trainer.metrics().unwrap() {
        numbers.extend([metrics.loss as f32, metrics.grad_norm as f32, metrics.clip_scale as f32]);
    }
    numbers.push(trainer.evaluate([batch.clone()]).unwrap() as f32);
    let model = trainer.model().unwrap();
    numbers.extend_from_slice(model.values());
    numbers.extend(Predictor::new(&device, &model).unwrap().run(&batch.sequences).unwrap().outputs);
    (whole::bytes(&mut trainer), numbers)
}

/// A training on one thread and on others.
fn check(what: &str, config: &Config, recipe: Recipe, batch: &Batch, threads: &[usize]) {
    let (alone, numbers) = on(1, || training(config, recipe.clone(), batch));
    for &threads in threads {
        let (bytes, others) = on(threads, || training(config, recipe.clone(), batch));
        assert_same(&format!("{what} on {threads} threads"), &others, &numbers);
        assert!(bytes == alone, "{what} on {threads} threads: another checkpoint");
    }
}

#[test]
fn a_training_is_the_same_on_any_number_of_threads() {
    // One with which 1 and 2 threads gave different bits, and one for 6 and 7.
    let elman = Config::elman(InputKind::Dense(64), 128, 64).with_seed(1);
    let batch = whole::batch(&mut rng(1), &elman, Loss::CrossEntropy, 50, 32);
    check("elman", &elman, Recipe::new(Loss::CrossEntropy), &batch, &THREADS);
    let gru = Config::gru(InputKind::Tokens(64), 96, 64).with_layers(2).with_seed(2);
    let batch = whole::batch(&mut rng(2), &gru, Loss::CrossEntropy, 20, 16);
    check("gru", &gru, Recipe::new(Loss::CrossEntropy), &batch, &[6, 7]);
}

#[test]
fn a_training_of_any_kind_is_the_same_on_any_number_of_threads() {
    let mut random = rng(3);
    let before = Cell::Gru(Reset::BeforeProduct);
    for (at, cell) in
        [Cell::Elman(Activation::Tanh), Cell::Lstm, Cell::Gru(Reset::AfterProduct), before].into_iter().enumerate()
    {
        for read_out in [None, Some(Pool::Last), Some(Pool::Mean)] {
            let mut size = |below: usize| random.random_range(1..below);
            let input = if at % 2 == 0 { InputKind::Dense(size(150)) } else { InputKind::Tokens(1 + size(300)) };
            let loss = if at < 2 { Loss::CrossEntropy } else { Loss::MeanSquared };
            let config = Config::of_cell(cell, input, 16 + size(100), 1 + size(80)).with_pool(read_out);
            let (steps, sequences) = (10 + size(20), 2 + size(40));
            let mut config = config.with_layers(1 + at % 2).with_seed(at as u64);
            if at < 3 {
                config = config.with_directions(Directions::Bidirectional);
            }
            let mut recipe = Recipe::new(loss.clone());
            if read_out == Some(Pool::Last) {
                let mut dropout = Dropout::NONE;
                (dropout.inputs, dropout.hidden) = (0.1, 0.1);
                recipe = recipe.with_dropout(dropout);
            } else if config.recurrent_layers().next().unwrap().directions != Directions::Bidirectional {
                recipe = recipe.with_gradient_checkpointing(GradientCheckpointing::Sqrt);
            }
            let batch = whole::batch(&mut random, &config, loss, steps, sequences);
            check(&format!("{config:?}, T {steps}, B {sequences}"), &config, recipe, &batch, &[2, 3, 7, 64]);
        }
    }
}

#[test]
fn a_list_of_layers_is_the_same_on_any_number_of_threads() {
    let config = Config::new(InputKind::Tokens(50))
        .token_column("kind", 9, 20)
        .dense_column("shape", 4)
        .embedding(40)
        .layer_norm()
        .layer(Recurrent::gru(64).residual())
        .head("tag", 5)
        .layer(Recurrent::lstm(40).bidirectional().with_join(Join::Product))
        .dense(40, Activation::Gelu)
        .pool(Pool::Max)
        .outputs(3);
    let recipe = with_head_losses(Recipe::new(Loss::CrossEntropy), &config);
    let batch = whole::batch(&mut rng(4), &config, Loss::CrossEntropy, 60, 40);
    check("list", &config, recipe, &batch, &THREADS);
}

/// Many rows by few columns, so that a thread's share is one row of the result, or few rows by many.
#[test]
fn a_weights_gradient_is_the_same_on_any_number_of_threads() {
    let mut random = rng(4);
    let drawn = [(7, 300, 3000), (64, 1, 20_000), (1, 64, 20_000), (2, 515, 1200), (67, 130, 700), (513, 3, 257)];
    for (m, n, rows) in drawn.into_iter().chain((0..6).map(|_| {
        let mut size = |below: usize| random.random_range(1..below);
        (size(140), size(140), size(2500))
    })) {
        let mut plan = Plan::empty();
        let mut tensor = |name, shape: &[usize]| plan.tensor(name, shape, DType::F32, Lifetime::Scratch).unwrap();
        let (d, x, slices) = (tensor("d", &[rows, m]), tensor("x", &[rows, n]), tensor("slices", &[1, m * n + m]));
        plan.push(
            Phase::Backward,
            Op::WeightGradient(WeightGradient {
                d: View::new(d, 0, rows, m),
                x: View::new(x, 0, rows, n),
                slices,
                weight: 0,
                bias: Some(m * n),
                tile: ProductTile::Small,
            }),
        );
        let [of_d, of_x] = [m, n].map(|columns| whole::reals(&mut rng(5), rows * columns, 1.0));
        let run = || {
            let mut executor = cpu::Executor::<f32>::new();
            let id = executor.prepare(plan.clone()).unwrap();
            executor.write(id, d, of_d.iter().map(|v| f64::from(*v))).unwrap();
            executor.write(id, x, of_x.iter().map(|v| f64::from(*v))).unwrap();
            executor.run(id);
            executor.read(id, slices).to_vec()
        };
        let alone = on(1, run);
        for threads in THREADS {
            assert_same(&format!("{m}×{n} of {rows} rows on {threads} threads"), &on(threads, run), &alone);
        }
    }
}

/// A stream and a training that are large enough to be shared among threads.
fn all_of_it() -> Vec<u8> {
    let device = Device::cpu();
    let config = Config::lstm(InputKind::Dense(32), 64, 48).with_seed(7);
    let batch = whole::batch(&mut rng(7), &config, Loss::CrossEntropy, 30, 16);
    let model = Model::new(config).unwrap();
    let mut stream = StreamingPredictor::new(&device, &model, 16).unwrap();
    stream.sequence(30, &batch.sequences.inputs).unwrap();
    let mut trainer = Trainer::new(&device, &model, Recipe::new(Loss::CrossEntropy)).unwrap();
    trainer.step(&batch).unwrap();
    trainer.metrics().unwrap();
    whole::bytes(&mut trainer)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn threads_now() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }

    /// The child is this test again, as a user who may start no thread, on its own or after rayon's pool was asked for
    /// in vain.
    #[test]
    fn where_the_system_makes_no_thread_one_does_all_of_the_work() {
        if let Some(folder) = whole::child_task() {
            if folder.ends_with("after_rayon") {
                rayon::ThreadPoolBuilder::new().build_global().expect_err("no thread for rayon");
            }
            let refused = std::thread::Builder::new().spawn(|| ()).is_err();
            let name = Device::cpu().name();
            std::fs::write(format!("{folder}/{refused} {name}"), all_of_it()).unwrap();
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        // Another user may not be allowed to enter the folders above the test's own program.
        let program = root.path().join("child");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        [root.path(), &program].into_iter().for_each(open);
        // The limit does not hold for root, so a user without any other process takes its place.
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let as_user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
        let limited = |program: &Path| {
            let mut command = Command::new("prlimit");
            command.arg("--nproc=1").args(as_user.iter().filter(|_| is_root)).arg(program);
            command
        };
        if !limited(Path::new("true")).status().is_ok_and(|status| status.success()) {
            // libtest captures what macros print, not this.
            writeln!(std::io::stderr(), "SKIPPED: prlimit and setpriv cannot limit a process here").unwrap();
            return;
        }
        for name in ["fresh", "after_rayon"] {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            open(&folder);
            let test = "threads::system::where_the_system_makes_no_thread_one_does_all_of_the_work";
            let mut child = limited(&program);
            child.args([test, "--exact", "--test-threads=1"]).env("RECURRENT_TEST_CHILD", &folder);
            let output = child.output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
            let left =
                std::fs::read(folder.join("true CPU (1 thread)")).expect("threads were refused, and one was enough");
            assert!(left == all_of_it(), "{name}: one thread gave other bits");
        }
    }

    #[test]
    fn what_is_one_task_asks_for_no_thread() {
        if whole::child_task().is_none() {
            let set = [("RAYON_NUM_THREADS", Some("3"))];
            return whole::run_child("threads::system::what_is_one_task_asks_for_no_thread", "count", &set);
        }
        let (before, device) = (threads_now(), Device::cpu());
        // Wide enough to be shared, were there more than one sequence.
        let config = Config::lstm(InputKind::Dense(300), 400, 300).with_layers(2);
        let mut stream = StreamingPredictor::new(&device, &Model::new(config).unwrap(), 1).unwrap();
        (0..3).for_each(|_| drop(stream.step(&[0.5; 300]).unwrap().to_vec()));
        let config = Config::gru(InputKind::Tokens(20), 24, 20);
        let batch = whole::batch(&mut rng(1), &config, Loss::CrossEntropy, 20, 1);
        let mut dropout = Dropout::NONE;
        (dropout.inputs, dropout.hidden) = (0.1, 0.1);
        let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(dropout);
        let mut trainer = Trainer::new(&device, &Model::new(config).unwrap(), recipe).unwrap();
        trainer.step(&batch).unwrap();
        trainer.evaluate([batch]).unwrap();
        assert_eq!(threads_now(), before);
        all_of_it();
        assert_eq!(threads_now(), before + 3, "work for several has to be shared");
        assert_eq!(device.name(), "CPU (3 threads)");
    }
}
