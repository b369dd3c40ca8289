//! Plans that are kept: any number of sizes in a bounded heap, none that is in use goes, and memory that runs out is
//! survived.
//!
//! The allocator of this test counts what is alive, and refuses large pieces beyond what a test allows; its tests run
//! one after the other, as they share it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::whole::{self, assert_same, bytes, rng};
use recurrent::gpu::Gpu;
use recurrent::internals::cpu::Executor as OnCpu;
use recurrent::internals::gpu::Executor as OnGpu;
use recurrent::internals::gpu::kernels::{Command, lower};
use recurrent::internals::plan::{CopyView, DType, Lifetime, Phase, Plan, PlanId, Purpose};
use recurrent::{
    BatchShape, Cell, Config, Device, Directions, Dropout, Error, InputKind, Loss, Model, Pool, Predictor, Recipe,
    Reset, Sequences, Start, StreamingPredictor, Trainer,
};

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// What may be alive before a large piece is refused.
static ALLOWED: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Smaller pieces are never refused: those who ask for them have no way to be told.
const LARGE: usize = 1 << 16;

/// The system's allocator, counting.
struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call goes to the system's allocator unchanged, or is refused as the trait allows.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alive = ALIVE.fetch_add(layout.size(), SeqCst) + layout.size();
        if layout.size() >= LARGE && alive > ALLOWED.load(SeqCst) {
            ALIVE.fetch_sub(layout.size(), SeqCst);
            return std::ptr::null_mut();
        }
        PEAK.fetch_max(alive, SeqCst);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// This test alone, from now on.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most that was alive while `work` ran, beyond what was before it.
fn heap(work: impl FnOnce()) -> usize {
    let before = ALIVE.load(SeqCst);
    PEAK.store(before, SeqCst);
    work();
    PEAK.load(SeqCst) - before
}

const LIMIT: u64 = 1 << 20;
/// Pieces beside plans: inputs, outputs, what threads and drivers keep; of a GPU a tenth of a MiB for each pipeline.
const BESIDE: usize = 5 << 20;

/// 100 numbers of steps by 100 batches, each size once, in no order.
fn sizes() -> impl Iterator<Item = (usize, usize)> {
    // 7919 has no factor in common with 10,000.
    (0..10_000).map(|at| at * 7919 % 10_000).map(|at| (at / 100 + 1, at % 100 + 1))
}

fn small(cell: Cell) -> Config {
    Config::of_cell(cell, InputKind::Tokens(3), 2, 2).with_seed(1)
}

#[test]
fn ten_thousand_sizes_fit_a_bounded_heap() {
    let _alone = alone();
    let device = Device::cpu().with_plan_cache_bytes(LIMIT);
    let both = Model::new(small(Cell::Lstm).with_directions(Directions::Bidirectional)).unwrap();
    let mut predictor = Predictor::new(&device, &both).unwrap();
    let mut trainer = Trainer::new(&device, &both, Recipe::new(Loss::CrossEntropy)).unwrap();
    let most = heap(|| {
        for (number, (steps, size)) in sizes().enumerate() {
            // A tenth of them is run too, so that it ends in time.
            if number % 10 == 0 {
                predictor
                    .run(&Sequences::tokens(BatchShape { steps, batch_size: size }, vec![1; steps * size]))
                    .unwrap();
            }
            trainer.prepare(BatchShape { steps, batch_size: size }).unwrap();
            for cache in [predictor.plan_cache(), trainer.plan_cache()] {
                assert!(cache.bytes <= LIMIT || cache.plans == 1, "{cache:?}");
                assert_eq!(cache.made - cache.freed, cache.plans as u64);
            }
        }
    });
    assert_eq!(trainer.plan_cache().made, 10_000);
    // Of either, and the largest plan beyond the bound while it is the only one.
    assert!(most < 3 * LIMIT as usize + BESIDE, "{most} bytes");
}

/// On a device of its own, whose buffers are counted.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
#[cfg_attr(target_vendor = "apple", ignore = "Metal does not say what it has allocated")]
fn ten_thousand_sizes_fit_a_bounded_heap_on_a_gpu() {
    let _alone = alone();
    let (own, queue) = whole::open(|_| ());
    let device = Device::from_gpu(Gpu::from_wgpu(own.clone(), queue).unwrap()).with_plan_cache_bytes(LIMIT);
    let both =
        Model::new(Config::elman(InputKind::Tokens(3), 2, 2).with_directions(Directions::Bidirectional)).unwrap();
    let mut trainer = Trainer::new(&device, &both, Recipe::new(Loss::CrossEntropy)).unwrap();
    let allocated = || own.generate_allocator_report().map_or(0, |report| report.total_allocated_bytes);
    let counters = || own.get_internal_counters().hal;
    let (mut on_device, mut pipelines) = (0, Vec::new());
    let most = heap(|| {
        for (number, (steps, size)) in sizes().enumerate() {
            trainer.prepare(BatchShape { steps, batch_size: size }).unwrap();
            if number % 100 == 0 {
                on_device = on_device.max(allocated());
                pipelines.push(counters().compute_pipelines.read());
            }
        }
    });
    let cache = trainer.plan_cache();
    assert_eq!((cache.made, cache.made - cache.freed), (10_000, cache.plans as u64));
    assert!(on_device <= 3 * LIMIT, "{on_device} bytes on the device");
    assert!(most < 3 * LIMIT as usize + BESIDE, "{most} bytes");
    // Pipelines are the device's and not a plan's: one for each kernel and tile.
    assert!(pipelines.iter().all(|count| *count < 50), "{pipelines:?}");
}

/// On a device of its own, whose shaders and pipelines are counted.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_plan_compiles_what_it_uses_and_each_kernel_once() {
    let _alone = alone();
    let (own, queue) = whole::open(|_| ());
    let gpu = Gpu::from_wgpu(own.clone(), queue).unwrap();
    let target = gpu.target();
    let counted = || {
        let hal = own.get_internal_counters().hal;
        [hal.shader_modules.read(), hal.compute_pipelines.read()].map(|count| usize::try_from(count).unwrap())
    };
    let before = counted();
    let mut executor = OnGpu::new(gpu);
    let config = Config::lstm(InputKind::Dense(8), 16, 4).with_layers(2);
    let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(Dropout::between_layers(0.5));
    let (train, evaluate) = (Purpose::Train(&recipe), Purpose::Evaluate(&recipe));
    // The executor's own.
    let mark = ("mark", Vec::new());
    let (mut shaders, mut pipelines) = (BTreeSet::from([mark.clone()]), BTreeSet::from([(mark, Vec::new())]));
    let mut shared = false;
    let infer = Purpose::Infer;
    // Of one sequence and of three the tiles differ, and neither is shared among lanes.
    let windows = [(train, 3, 6), (train, 3, 6), (evaluate, 3, 6), (infer, 50, 1), (infer, 50, 3)];
    for (purpose, steps, batch) in windows {
        let (plan, _) = Plan::new(&config, purpose, steps, batch, &target).unwrap();
        for command in lower(&plan).unwrap() {
            let Command::Dispatch(dispatch) = command else { continue };
            let shader = (dispatch.kernel.name, dispatch.f16_aliases);
            let is_known = !shaders.insert(shader.clone());
            shared |= pipelines.insert((shader, dispatch.constants)) && is_known;
        }
        executor.prepare(plan).unwrap();
        let made = counted();
        assert_eq!([made[0] - before[0], made[1] - before[1]], [shaders.len(), pipelines.len()], "{purpose:?}");
    }
    assert!(shared, "no shader has two pipelines");
}

fn any_length_has_the_same_few_plans(device: &Device) {
    let _alone = alone();
    let config = Config::lstm(InputKind::Dense(3), 6, 2).with_layers(2).with_learned_initial_state(true).with_seed(2);
    for read_out in [None, Some(Pool::Last)] {
        let config = config.clone().with_pool(read_out);
        let model = Model::new(config.clone()).unwrap();
        let mut predictor = Predictor::new(device, &model).unwrap();
        let mut stream = StreamingPredictor::new(device, &model, 1).unwrap();
        let most = heap(|| {
            for number in 0..if device.is_gpu() { 50 } else { 300 } {
                let steps = number * 7919 % 2000 + 1;
                let x = whole::reals(&mut rng(number as u64), steps * 3, 1.0);
                let got = predictor.run(&Sequences::dense(BatchShape { steps, batch_size: 1 }, x.clone())).unwrap();
                if number % 10 == 0 {
                    stream.reset().unwrap();
                    let outputs = stream.sequence(steps, &recurrent::Inputs::Dense(x)).unwrap().to_vec();
                    assert_same("a stream's outputs", &outputs, &got.outputs);
                }
            }
        });
        for cache in [predictor.plan_cache(), stream.plan_cache()] {
            // One for 128 steps and one for each rest.
            assert!(cache.plans <= 128 && cache.made <= 128 && cache.freed == 0, "{cache:?}");
        }
        assert!(most < 32 << 20, "{most} bytes");
    }
}

/// A plan over all steps, run by an executor: what chunks have to give bit for bit.
fn chunks_are_the_whole_to_the_last_bit(device: &Device) {
    let _alone = alone();
    let cells = [Cell::Lstm, Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)];
    for (cell, learned) in cells.into_iter().zip([true, false, true]) {
        for (read_out, (steps, size)) in [(None, (259, 8)), (Some(Pool::Last), (300, 1))] {
            let config =
                Config::of_cell(cell, InputKind::Dense(3), 17, 4).with_layers(2).with_learned_initial_state(learned);
            let config = config.with_pool(read_out).with_seed(7);
            let model = Model::new(config.clone()).unwrap();
            let x = whole::reals(&mut rng(3), steps * size * 3, 1.0);
            let (plan, tensors) = Plan::new(&config, Purpose::Infer, steps, size, &device.target()).unwrap();
            let feed = |write: &mut dyn FnMut(recurrent::internals::plan::TensorId, &[f32])| {
                write(tensors.parameters, model.values());
                write(tensors.inputs, &x);
                if let Some(fresh) = tensors.fresh {
                    write(fresh, &[1.0]);
                }
            };
            let lengths = vec![steps as u32; size];
            let (outputs, state) = match device.as_gpu() {
                None => {
                    let mut executor = OnCpu::<f32>::new();
                    let id = executor.prepare(plan).unwrap();
                    feed(&mut |t, values| executor.write(id, t, values.iter().map(|v| f64::from(*v))).unwrap());
                    executor.write_ids(id, tensors.lengths, &lengths).unwrap();
                    executor.run(id);
                    (executor.read(id, tensors.outputs).to_vec(), executor.read(id, tensors.state).to_vec())
                }
                Some(gpu) => {
                    let mut executor = OnGpu::new(gpu.clone());
                    let id = executor.prepare(plan).unwrap();
                    feed(&mut |t, values| executor.write(id, t, values.iter().map(|v| f64::from(*v))).unwrap());
                    executor.write_ids(id, tensors.lengths, &lengths).unwrap();
                    executor.run(id).unwrap();
                    (executor.read(id, tensors.outputs).unwrap(), executor.read(id, tensors.state).unwrap())
                }
            };
            let got = Predictor::new(device, &model)
                .unwrap()
                .run(&Sequences::dense(BatchShape { steps, batch_size: size }, x))
                .unwrap();
            assert_same(&format!("{cell:?} {read_out:?} outputs"), &got.outputs, &outputs);
            assert_same(&format!("{cell:?} {read_out:?} state"), got.state.values(), &state);
        }
    }
}

/// Windows of many sizes that carry on, several in a step, evaluations between and what is asked of the last step: with
/// no room for plans it is all as with room for every one.
fn what_is_in_use_never_goes(device: &Device) {
    let _alone = alone();
    let config = Config::lstm(InputKind::Tokens(5), 6, 5).with_layers(2).with_seed(3);
    let model = Model::new(config.clone()).unwrap();
    let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(Dropout::variational(0.1, 0.1)).with_trace();
    let run = |limit: u64| {
        let device = device.clone().with_plan_cache_bytes(limit);
        let window = |steps: usize, size: usize, start: Start| {
            let batch = whole::batch(&mut rng(steps as u64), &config, Loss::CrossEntropy, steps, size);
            batch.with_start(start)
        };
        let mut trainer = Trainer::new(&device, &model, recipe.clone()).unwrap();
        let mut said = Vec::new();
        for size in [2, 3] {
            trainer.step(&window(4, size, Start::Initial)).unwrap();
            for steps in [1, 7, 2] {
                trainer.step(&window(steps, size, Start::Carry)).unwrap();
                let held = [window(3, 1, Start::Initial), window(5, 1, Start::Carry), window(3, 1, Start::Carry)];
                said.push(trainer.evaluate(held).unwrap());
                trainer.step(&window(steps, size, Start::Carry)).unwrap();
                let windows = [9, 3, 9, 5].map(|steps| window(steps, size, Start::Carry));
                trainer.step_accumulated(&windows).unwrap();
                let trace = trainer.trace().unwrap();
                said.extend(trace.layers.iter().flat_map(|layer| layer.norms.clone()));
                assert_eq!(trainer.state().unwrap().unwrap().batch_size(), size);
            }
        }
        said.extend(trainer.metrics().unwrap().iter().map(|metrics| metrics.loss));
        let mut stream = StreamingPredictor::new(&device, &model, 2).unwrap();
        for steps in [1, 3, 1, 200, 2, 130, 1] {
            let ids = whole::ids(&mut rng(9), steps * 2, 5);
            let outputs = stream.sequence(steps, &recurrent::Inputs::Tokens(ids)).unwrap();
            said.extend(outputs.iter().map(|y| f64::from(*y)));
        }
        (bytes(&mut trainer), said, trainer.plan_cache(), stream.plan_cache())
    };
    let (kept, said, room, _) = run(u64::MAX);
    assert_eq!((room.freed, room.made), (0, room.plans as u64), "{room:?}");
    let (got, got_said, none, stream) = run(0);
    assert!(got == kept, "without room for plans the training is another");
    assert_eq!(got_said, said);
    // Those of the last step and of the evaluation after it at most.
    assert!(none.made > room.made && none.plans <= 4 && none.limit == 0, "{none:?}");
    assert!(stream.plans <= 2 && stream.freed > 0, "{stream:?}");
}

whole::on_both!(any_length_has_the_same_few_plans, chunks_are_the_whole_to_the_last_bit, what_is_in_use_never_goes);

/// Whatever is freed, an id never finds another plan.
#[test]
fn ids_are_given_once_and_shared_tensors_stay() {
    let _alone = alone();
    let plan = |own: usize| {
        let mut plan = Plan::empty();
        let shared = plan.tensor("shared", &[4], DType::F32, Lifetime::Shared).unwrap();
        let own = plan.tensor("own", &[own], DType::F32, Lifetime::Scratch).unwrap();
        (plan, shared, own)
    };
    let mut executor = OnCpu::<f32>::new();
    let mut seen: Vec<PlanId> = Vec::new();
    for round in 0..100 {
        let (plan, shared, own) = plan(round + 1);
        let id = executor.prepare(plan).unwrap();
        assert!(!seen.contains(&id));
        assert_eq!(executor.read(id, own), vec![0.0; round + 1], "made anew, and zeroed");
        let values = executor.read(id, shared).to_vec();
        assert_eq!(values, [round as f32; 4], "as the plan before has left it");
        executor.write(id, shared, [f64::from(round as u32 + 1); 4].into_iter()).unwrap();
        executor.write(id, own, vec![9.0; round + 1].into_iter()).unwrap();
        executor.free(id);
        executor.free(id);
        seen.push(id);
    }
}

/// A plan whose last tensor is another than an earlier plan shares, behind a large one of its own.
fn unfit() -> Plan {
    let mut plan = Plan::empty();
    plan.tensor("large", &[1 << 20], DType::F32, Lifetime::Scratch).unwrap();
    plan.tensor("new", &[1 << 20], DType::F32, Lifetime::Shared).unwrap();
    plan.tensor("shared", &[5], DType::F32, Lifetime::Shared).unwrap();
    plan
}

fn fit(len: usize) -> Plan {
    let mut plan = Plan::empty();
    plan.tensor("shared", &[len], DType::F32, Lifetime::Shared).unwrap();
    plan
}

#[test]
fn a_plan_that_fails_leaves_nothing() {
    let _alone = alone();
    let mut executor = OnCpu::<f32>::new();
    executor.prepare(fit(4)).unwrap();
    let before = ALIVE.load(SeqCst);
    for _ in 0..10 {
        assert!(matches!(executor.prepare(unfit()), Err(Error::Shape { .. })));
    }
    // Of 80 MiB; threads of the tests before may still be about.
    let stay = ALIVE.load(SeqCst).saturating_sub(before);
    assert!(stay < LARGE, "{stay} bytes stay");
    // Nor is the tensor found that it would have shared.
    let mut plan = Plan::empty();
    let new = plan.tensor("new", &[3], DType::F32, Lifetime::Shared).unwrap();
    let id = executor.prepare(plan).unwrap();
    assert_eq!(executor.read(id, new).len(), 3);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
#[cfg_attr(target_vendor = "apple", ignore = "Metal does not say what it has allocated")]
fn a_plan_that_fails_leaves_nothing_on_a_gpu() {
    let _alone = alone();
    let (own, queue) = whole::open(|_| ());
    let mut executor = OnGpu::new(Gpu::from_wgpu(own.clone(), queue).unwrap());
    executor.prepare(fit(4)).unwrap();
    let allocated = || own.generate_allocator_report().map_or(0, |report| report.total_allocated_bytes);
    let wait = || own.poll(recurrent::wgpu::PollType::wait_indefinitely()).unwrap();
    wait();
    let before = allocated();
    for _ in 0..10 {
        assert!(matches!(executor.prepare(unfit()), Err(Error::Shape { .. })));
    }
    wait();
    assert_eq!(allocated(), before);
    let mut plan = Plan::empty();
    plan.tensor("new", &[3], DType::F32, Lifetime::Shared).unwrap();
    executor.prepare(plan).unwrap();
    // And what was prepared goes when it is freed.
    let mut plan = Plan::empty();
    let [a, b] = ["a", "b"].map(|name| plan.tensor(name, &[1 << 20], DType::F32, Lifetime::Scratch).unwrap());
    let [from, to] = [a, b].map(|tensor| recurrent::internals::plan::View::new(tensor, 0, 1, 1 << 20));
    plan.push(Phase::Forward, recurrent::internals::plan::Op::Copy(CopyView { from, to }));
    let before = allocated();
    let id = executor.prepare(plan).unwrap();
    executor.run(id).unwrap();
    executor.read(id, b).unwrap();
    assert!(allocated() >= before + (8 << 20));
    executor.free(id);
    wait();
    assert!(allocated() <= before);
}

/// Halving the batch until it fits ends where a trainer does that never asked for more.
#[test]
fn memory_that_runs_out_is_survived() {
    let _alone = alone();
    let config = Config::lstm(InputKind::Dense(4), 32, 4).with_seed(1);
    let model = Model::new(config.clone()).unwrap();
    let step = |trainer: &mut Trainer, size: usize| {
        trainer.step(&whole::batch(&mut rng(1), &config, Loss::MeanSquared, 20, size))
    };
    let new = || Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::MeanSquared)).unwrap();
    let largest = |trainer: &mut Trainer| {
        let mut size = 1 << 14;
        loop {
            match trainer.prepare(BatchShape { steps: 20, batch_size: size }) {
                Ok(()) => return size,
                Err(Error::OutOfMemory(_)) => size /= 2,
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    let allow = |bytes: usize| ALLOWED.store(ALIVE.load(SeqCst).saturating_add(bytes), SeqCst);
    allow(48 << 20);
    let mut halving = new();
    let found = largest(&mut halving);
    assert!((64..1 << 14).contains(&found), "{found}");
    assert!(halving.prepare(BatchShape { steps: 20, batch_size: 2 * found }).is_err());
    // It trains there, and sizes that were kept go where a new one has no room beside them.
    for size in [found, found / 2 + 1, found, found - 1, 3] {
        halving
            .prepare(BatchShape { steps: 20, batch_size: size })
            .unwrap_or_else(|error| panic!("B {size} after B {found}: {error}"));
    }
    assert!(halving.plan_cache().freed > 0, "{:?}", halving.plan_cache());
    drop(halving);
    allow(48 << 20);
    assert_eq!(largest(&mut new()), found, "as one that never asked for more");
    allow(usize::MAX);
    step(&mut new(), 3).unwrap();
}
