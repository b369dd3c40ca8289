//! Steps on the CPU allocate nothing once the first have made room: counted by the allocator of this test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Counter;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::heads::{with_head_losses, with_heads};
use common::lists::lazy_if_it_can_be;
use common::whole::{self, rng};
use recurrent::recipe::Average;
use recurrent::{
    Batch, BatchShape, Cell, Clip, Config, Device, Dropout, Group, InputKind, Inputs, Loss, Model, Optimizer, Pool,
    RealTimePredictor, Recipe, Recurrent, Reset, Sequences, StreamingPredictor, Targets, Trainer,
};

const BATCH: usize = 3;

thread_local! {
    static ALLOCATIONS: Counter<u64> = const { Counter::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// The result of a future that never waits: on the CPU none does.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the CPU makes nobody wait"),
    }
}

fn configs() -> Vec<Config> {
    let tokens = Config::elman(InputKind::Tokens(5), 21, 5).with_seed(1);
    let dense = Config::elman(InputKind::Dense(4), 21, 2).with_seed(2);
    let deep = Config::lstm(InputKind::Tokens(5), 16, 5).with_layers(2);
    let before = Config::gru(InputKind::Dense(4), 16, 3).with_cell(Cell::Gru(Reset::BeforeProduct));
    let list = deep.clone().dense(9, recurrent::Activation::Gelu);
    let headed = with_heads(list.clone());
    let embedded = Config::new(InputKind::Tokens(50)).embedding(6).layer(Recurrent::gru(9)).outputs(5);
    vec![tokens, dense, list, headed, embedded, deep, Config::gru(InputKind::Dense(4), 16, 3), before]
}

/// At sizes that one thread computes: where several do, they need a list of who computes what.
#[test]
fn a_step_of_a_stream_allocates_nothing_after_the_first() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0, "the counter must count");
    let wide = Config::elman(InputKind::Tokens(65), 256, 65);
    for (config, batch) in configs().into_iter().map(|config| (config, BATCH)).chain([(wide, 1)]) {
        let mut stream = StreamingPredictor::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), batch).unwrap();
        let one = whole::batch(&mut rng(7), &config, Loss::MeanSquared, 1, batch).sequences.inputs;
        let state = stream.state().unwrap();
        let mut round = || {
            match &one {
                Inputs::Tokens(ids) => now(stream.step_tokens_async(ids)).map(drop).unwrap(),
                Inputs::Dense(x) => now(stream.step_async(x)).map(drop).unwrap(),
                _ => panic!("another kind"),
            }
            stream.set_state(&state).unwrap();
            now(stream.sequence_async(1, &one)).unwrap();
            stream.reset().unwrap();
        };
        assert!(allocations(&mut round) > 0, "the first steps make room");
        assert_eq!(allocations(|| (0..20).for_each(|_| round())), 0, "{config:?}");
        let blocking = allocations(|| {
            for _ in 0..20 {
                match &one {
                    Inputs::Tokens(ids) => stream.step_tokens(ids).map(drop).unwrap(),
                    Inputs::Dense(x) => stream.step(x).map(drop).unwrap(),
                    _ => panic!("another kind"),
                }
            }
        });
        assert_eq!(blocking, 0, "the forms that wait, {config:?}");
    }
}

/// Of all that a compiled network can be asked in a callback, refusals included, and from its first step on.
#[test]
fn a_step_in_real_time_allocates_nothing() {
    for config in configs().into_iter().filter(|config| config.heads.is_empty()) {
        let model = Model::new(config.clone()).unwrap();
        let mut predictor = RealTimePredictor::new(&model).unwrap();
        let (state, mut y) = (predictor.state().unwrap(), vec![0.0; 40 * config.outputs]);
        let x = whole::batch(&mut rng(7), &config, Loss::MeanSquared, 40, 1).sequences.inputs;
        let outputs = config.outputs;
        let allocated = allocations(|| {
            match &x {
                Inputs::Tokens(ids) => {
                    ids.iter().for_each(|id| predictor.step_token(*id, &mut y[..outputs]).unwrap());
                    assert!(predictor.step_token(1 << 20, &mut y[..outputs]).is_err());
                }
                Inputs::Dense(x) => {
                    predictor.step(&x[..4], &mut y[..outputs]).unwrap();
                    predictor.block(x, &mut y).unwrap();
                    assert!(predictor.step(&x[..3], &mut y[..outputs]).is_err());
                    assert!(predictor.block(&[f32::NAN; 160], &mut y).is_err());
                }
                _ => panic!("another kind"),
            }
            predictor.reset();
            predictor.set_state(&state).unwrap();
        });
        assert_eq!(allocated, 0, "{config:?}");
    }
}

/// Sizes as above; the metrics of so few steps are not read in between.
#[test]
fn a_step_of_training_allocates_nothing_after_the_first() {
    let mut dropout = Dropout::NONE;
    (dropout.inputs, dropout.hidden) = (0.1, 0.1);
    for config in configs() {
        for (optimizer, clip) in [
            (Optimizer::adam(), Clip::Norm(1.0)),
            (Optimizer::sgd(0.9), Clip::Value(0.5)),
            (Optimizer::ams_grad(0.1), Clip::None),
        ] {
            for read_out in [None, Some(Pool::Last)] {
                let config = config.clone().with_pool(read_out);
                let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, 1e-3).with_clip(clip);
                let recipe = if optimizer.moment_count() == 3 {
                    // With all there is to an update.
                    recipe
                        .with_group(Group::new("*").with_rate(0.5).with_clip(Clip::Norm(1.0)))
                        .with_averaged_weights(Average::ema(0.9))
                } else {
                    recipe
                };
                let recipe = lazy_if_it_can_be(with_head_losses(recipe.with_dropout(dropout), &config), &config);
                let mut trainer = Trainer::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), recipe).unwrap();
                let batch = whole::batch(&mut rng(7), &config, Loss::CrossEntropy, 6, BATCH);
                let mut step = || now(trainer.step_async(&batch)).unwrap();
                assert!(allocations(&mut step) > 0, "the first step makes room");
                assert_eq!(allocations(|| (0..20).for_each(|_| step())), 0, "{config:?}");
                assert_eq!(
                    allocations(|| (0..20).for_each(|_| trainer.step(&batch).unwrap())),
                    0,
                    "waiting, {config:?}"
                );
                trainer.metrics().unwrap();
            }
        }
    }
}

/// Whatever the labels are, as long as there is room for them in the plan of the first.
#[test]
fn a_step_on_label_sequences_allocates_nothing_after_the_first() {
    let config = Config::gru(InputKind::Tokens(5), 16, 5);
    let shape = BatchShape { steps: 6, batch_size: BATCH };
    let batch = |labels: [&[u32]; BATCH]| {
        let targets = Targets::Sequences(labels.map(<[u32]>::to_vec).to_vec());
        Batch::new(Sequences::tokens(shape, vec![3; 6 * BATCH]), targets).with_lengths(vec![6, 3, 5])
    };
    let batches = [batch([&[1, 2, 2], &[4], &[]]), batch([&[4, 3, 2, 1, 4, 3], &[], &[1, 1]]), batch([&[], &[], &[2]])];
    for loss in [Loss::ctc(), Loss::Ctc { blank: 0, zero_infeasible: true }] {
        let mut trainer =
            Trainer::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), Recipe::new(loss)).unwrap();
        let mut round = || batches.iter().for_each(|batch| now(trainer.step_async(batch)).unwrap());
        assert!(allocations(&mut round) > 0, "the first steps make room");
        assert_eq!(allocations(|| (0..20).for_each(|_| round())), 0);
        trainer.metrics().unwrap();
    }
}
