//! What a plan holds on a GPU: tensors that share memory never live at once and change no result, bytes are those that
//! are allocated, and a run allocates nothing.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use recurrent::gpu::Gpu;
use recurrent::internals::gpu;
use recurrent::internals::gpu::kernels::{self, Command};
use recurrent::internals::plan::{DType, Lifetime, Plan, Purpose, StepParams, Target, TensorId};
use recurrent::recipe::{Dropout, GradientCheckpointing, Loss, Recipe};
use recurrent::{
    Activation, Cell, Config, Device, Directions, InputKind, Layout, Model, Pool, Reset, Start, StreamingPredictor,
    Trainer,
};

use crate::common::executor::{Execute, gpu};
use crate::common::heads::with_heads;
use crate::common::lists::with_dense;
use crate::common::network::{
    Network, Prepared, Window, evaluation, for_heads, random_parameters, step_into, training,
};
use crate::common::random::Random;
use crate::common::whole;

/// A GPU without the workgroup memory for whole sequences: the recurrence goes step by step.
const BY_STEPS: Target = Target { binding_bytes: u64::MAX, workgroup_bytes: 0, ..Target::webgpu() };

/// More than one chunk of an inference.
const STEPS: usize = 130;

const CELLS: [Cell; 4] =
    [Cell::Elman(Activation::Tanh), Cell::Lstm, Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)];

/// Networks of every cell and structure, each option in some of them.
fn configs() -> Vec<Config> {
    let mut all = Vec::new();
    for (number, cell) in CELLS.into_iter().enumerate() {
        for layers in [1, 3] {
            for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
                for (more, read_out) in [None, Some(Pool::Last), Some(Pool::First), Some(Pool::Mean), Some(Pool::Max)]
                    .into_iter()
                    .enumerate()
                {
                    let input = if (number + more) % 2 == 0 { InputKind::Tokens(5) } else { InputKind::Dense(4) };
                    let config = Config::of_cell(cell, input, 5, 3).with_layers(layers).with_directions(directions);
                    let config = config.with_pool(read_out).with_learned_initial_state(more == layers % 3);
                    all.push(if (number + more) % 3 == 1 { with_heads(with_dense(config)) } else { config });
                }
            }
        }
    }
    all
}

fn purposes(config: &Config) -> Vec<Purpose<'static>> {
    let dropout = Dropout::variational(0.2, 0.3)
        .with_weights(0.1)
        .with_outputs(if config.recurrent_layers().count() > 1 { 0.4 } else { 0.0 });
    let recipe = Recipe::new(Loss::CrossEntropy);
    let mut all = vec![
        Purpose::Infer,
        Purpose::Observe(0),
        evaluation(Loss::CrossEntropy),
        training(recipe.clone()),
        training(recipe.clone().with_dropout(dropout)),
    ];
    if config.recurrent_layers().next().unwrap().directions == Directions::Forward {
        let checkpointing = GradientCheckpointing::Steps(2);
        all.push(training(recipe.with_dropout(dropout).with_gradient_checkpointing(checkpointing)));
    }
    all.into_iter().map(|purpose| for_heads(purpose, config)).collect()
}

/// When each tensor is bound, copied or cleared, by the commands that a GPU runs.
fn lives(plan: &Plan) -> HashMap<TensorId, RangeInclusive<usize>> {
    let mut lives: HashMap<TensorId, RangeInclusive<usize>> = HashMap::new();
    for (at, command) in kernels::lower(plan).unwrap().iter().enumerate() {
        let touched = match command {
            Command::Dispatch(dispatch) => dispatch.tensors.clone(),
            Command::Copy { from, to } => vec![from.tensor, to.tensor],
            Command::Zero { tensor } => vec![*tensor],
        };
        for tensor in touched {
            let first = lives.get(&tensor).map_or(at, |life| *life.start());
            lives.insert(tensor, first..=at);
        }
    }
    lives
}

#[test]
fn tensors_that_share_memory_never_live_at_once() {
    let mut sharing = 0;
    for config in configs() {
        for purpose in purposes(&config) {
            for target in [BY_STEPS, Target::webgpu()] {
                let (plan, _) = Plan::new(&config, purpose, STEPS, 2, &target).unwrap();
                let (lives, blocks) = (lives(&plan), plan.blocks());
                let mut seen: Vec<TensorId> = blocks.concat();
                for block in &blocks {
                    sharing += block.len() - 1;
                    for (i, a) in block.iter().enumerate() {
                        assert!(plan.get(*a).len() <= plan.get(block[0]).len(), "{plan}");
                        for b in &block[i + 1..] {
                            let apart = lives[a].end() < lives[b].start() || lives[b].end() < lives[a].start();
                            assert!(apart, "{} and {} in\n{plan}", plan.get(*a).name, plan.get(*b).name);
                        }
                    }
                }
                // Every transient tensor is in one block, and nothing else is in any.
                let is_transient = |id: &TensorId| plan.get(*id).lifetime == Lifetime::Transient;
                assert!(seen.iter().all(is_transient));
                let transient = plan.tensors().iter().filter(|tensor| tensor.lifetime == Lifetime::Transient).count();
                let len = seen.len();
                seen.sort_by_key(|id| plan.get(*id).name.clone());
                seen.dedup();
                assert_eq!((seen.len(), transient), (len, len));
            }
        }
    }
    assert!(sharing > 500, "{sharing} tensors lie where another one does");
}

#[test]
fn a_tensor_that_is_kept_shares_nothing() {
    let config = Config::lstm(InputKind::Dense(4), 5, 3).with_layers(3);
    let train = Purpose::Train(&Recipe::new(Loss::MeanSquared));
    let (mut plan, _) = Plan::new(&config, train, 7, 2, &Target::webgpu()).unwrap();
    let upstream = plan.find("upstream_l0").unwrap();
    let before = plan.bytes();
    assert!(plan.blocks().iter().any(|block| block.len() > 1 && block.contains(&upstream)), "{plan}");
    plan.keep(upstream);
    assert!(!plan.blocks().concat().contains(&upstream));
    plan.keep_all();
    assert!(plan.blocks().is_empty());
    let own: u64 = plan.tensors().iter().filter(|t| t.lifetime == Lifetime::Scratch).map(|tensor| tensor.bytes()).sum();
    assert_eq!(plan.bytes().scratch, own);
    assert!(before.scratch < own);
    // The CPU executor's tensors never share.
    let (plan, _) = Plan::new(&config, train, 7, 2, &Target::cpu()).unwrap();
    assert!(plan.blocks().is_empty());
}

/// Everything that the host may read after a run, from memory that was full of NaN before it.
fn results<E: Execute>(network: &mut Network<E>, prepared: &Prepared, parameters: &[f64], window: &Window) -> Vec<u32> {
    let Prepared { id, plan, at } = prepared;
    for (tensor, id_of) in plan.tensors().iter().map(|tensor| (tensor, plan.find(&tensor.name).unwrap())) {
        match (tensor.lifetime, tensor.dtype) {
            (Lifetime::Transient, DType::F32) => {
                network.executor.write(*id, id_of, &vec![f64::NAN; tensor.len()]);
            }
            (Lifetime::Transient, DType::U32) => network.executor.write_ids(*id, id_of, &vec![u32::MAX; tensor.len()]),
            _ => {}
        }
    }
    network.write(prepared, at.parameters, parameters);
    network.run(
        prepared,
        window,
        StepParams { learning_rate: 0.1, first_correction: 0.5, second_correction: 0.5, ..step_into(0) },
    );
    let mut read = vec![at.state, at.parameters];
    read.extend(at.loss.map(|loss| loss.metrics));
    match at.training {
        Some(training) => {
            read.push(training.gradients);
            read.extend(training.moments.iter().flatten());
        }
        None => read.push(at.outputs),
    }
    let values = read.into_iter().flat_map(|tensor| network.read(prepared, tensor));
    let bits: Vec<u32> = values.map(|value| (value as f32).to_bits()).collect();
    assert!(bits.iter().all(|bits| f32::from_bits(*bits).is_finite()), "something was read before it was written");
    bits
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn sharing_memory_changes_no_bit() {
    for (number, config) in configs().iter().enumerate() {
        // Half of the purposes of every network, in turn.
        for (at, purpose) in purposes(config).into_iter().enumerate().skip(number % 2).step_by(2) {
            let target = if (number / 2 + at / 2) % 2 == 0 { BY_STEPS } else { Target::webgpu() };
            let steps = if matches!(purpose, Purpose::Train(_)) { 5 } else { STEPS };
            let mut random = Random::new(number as u64);
            let parameters = random_parameters(&mut random, &Layout::new(config).unwrap(), 0.7);
            let lengths = vec![steps as u32, steps as u32 - 2];
            let mut window = Window::random(&mut random, config, true, steps, 2).with_lengths(config, lengths);
            window.fresh = config.recurrent_layers().next().unwrap().learned_initial_state;
            let run = |keep: bool| {
                let mut network = Network::new(gpu(), config, target);
                let prepare = if keep { Network::prepare_kept } else { Network::prepare };
                let prepared = prepare(&mut network, purpose, steps, 2);
                // Twice, as a run leaves its own values behind.
                [(); 2].map(|()| results(&mut network, &prepared, &parameters, &window))
            };
            assert!(run(false) == run(true), "{config:?}, {purpose:?}");
        }
    }
}

/// What this crate has allocated on a device: labels and sizes, in their order.
fn allocated(device: &recurrent::wgpu::Device) -> Vec<(String, u64)> {
    let report = device.generate_allocator_report().expect("a driver's allocations");
    let ours = report.allocations.into_iter().filter(|allocation| !allocation.name.starts_with("(wgpu internal)"));
    let mut ours: Vec<_> = ours.map(|allocation| (allocation.name, allocation.size)).collect();
    ours.sort();
    ours
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
#[cfg_attr(target_vendor = "apple", ignore = "Metal does not say what it has allocated")]
fn bytes_are_those_that_are_allocated() {
    for config in
        [Config::lstm(InputKind::Dense(40), 64, 50).with_layers(3), Config::gru(InputKind::Tokens(70), 33, 70)]
    {
        for purpose in [Purpose::Infer, Purpose::Train(&Recipe::new(Loss::CrossEntropy))] {
            for keep in [false, true] {
                let (device, queue) = whole::open(|_| ());
                // What a driver may round the size of a buffer up to, and where inputs start.
                let is_dx12 = device.adapter_info().backend == recurrent::wgpu::Backend::Dx12;
                let alignment = if is_dx12 { 64 << 10 } else { 256 };
                let mut executor = gpu::Executor::new(Gpu::from_wgpu(device.clone(), queue).unwrap());
                let (mut plan, _) = Plan::new(&config, purpose, 20, 8, &BY_STEPS).unwrap();
                if keep {
                    plan.keep_all();
                }
                gpu::Executor::prepare(&mut executor, plan.clone()).unwrap();
                let mut held: HashMap<String, u64> = allocated(&device).into_iter().collect();
                // They are no tensor.
                held.remove("parameters of dispatches").unwrap();
                let bytes = plan.bytes();
                let buffers = held.len() as u64;
                let inputs = plan.tensors().iter().filter(|tensor| tensor.lifetime == Lifetime::Input).count() as u64;
                let of_inputs = held.remove("inputs").unwrap();
                // Each input starts at a multiple, and the buffer of them all may be rounded up once more.
                let most = bytes.inputs + (inputs + 1) * alignment;
                assert!((bytes.inputs..=most).contains(&of_inputs), "{of_inputs} bytes of inputs: {bytes:?}");
                let (told, sum) = (bytes.shared + bytes.scratch, held.values().sum::<u64>());
                assert!((told..=told + buffers * alignment).contains(&sum), "{told} bytes are {sum}: {held:?}");
            }
        }
    }
}

/// How many bind groups, pipelines and what else a device holds beside buffers.
fn alive(device: &recurrent::wgpu::Device) -> Vec<(&'static str, isize)> {
    let hal = device.get_internal_counters().hal;
    assert!(hal.compute_pipelines.read() > 0, "nothing is counted");
    vec![
        ("bind groups", hal.bind_groups.read()),
        ("bind group layouts", hal.bind_group_layouts.read()),
        ("pipelines", hal.compute_pipelines.read()),
        ("pipeline layouts", hal.pipeline_layouts.read()),
        ("shader modules", hal.shader_modules.read()),
        ("textures", hal.textures.read()),
    ]
}

/// A training by steps and a stream, on a device of their own: after the first step of a size nothing is made.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
#[cfg_attr(target_vendor = "apple", ignore = "Metal does not say what it has allocated")]
fn steps_after_the_first_make_nothing_on_the_device() {
    let (device, queue) = whole::open(|_| ());
    let on = Device::from_gpu(Gpu::from_wgpu(device.clone(), queue).unwrap());
    let config = Config::lstm(InputKind::Tokens(5), 9, 5).with_layers(2);
    let model = Model::new(config.clone()).unwrap();
    for checkpointing in [GradientCheckpointing::None, GradientCheckpointing::Sqrt] {
        let recipe = Recipe::new(Loss::CrossEntropy).with_gradient_checkpointing(checkpointing);
        let mut trainer = Trainer::new(&on, &model, recipe).unwrap();
        let mut stream = StreamingPredictor::new(&on, &model, 2).unwrap();
        let mut step = |seed: u64| {
            let batch = whole::batch(&mut whole::rng(seed), &config, Loss::CrossEntropy, 7, 3);
            let mut seen = Vec::new();
            // At once, while what the work is done with is still held.
            let mut look = || seen.push((alive(&device), allocated(&device)));
            trainer.step(&batch).unwrap();
            look();
            trainer.step(&batch.with_start(Start::Carry)).unwrap();
            look();
            trainer.metrics().unwrap();
            look();
            stream.step_tokens(&[0, 1]).unwrap();
            look();
            seen
        };
        // The buffer for reading back is made when it is first needed. With no work on its way nothing else is held.
        step(0);
        device.poll(recurrent::wgpu::PollType::wait_indefinitely()).unwrap();
        let idle = (alive(&device), allocated(&device));
        for seed in 1..5 {
            step(seed).iter().for_each(|seen| assert_eq!(*seen, idle));
        }
    }
}
