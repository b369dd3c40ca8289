//! From plans to dispatches: every plan lowers to what it counts, within the limits that every adapter has.
//!
//! The contract: no GPU is needed; plans are of every kind, and what no kernel can do is an error.

use std::collections::BTreeSet;

use crate::common::heads::with_heads;
use crate::common::lists::with_dense;
use crate::common::losses;
use crate::common::network::{evaluation, for_heads, training};
use recurrent::internals::gpu::kernels::{Access, Command, Dispatch, MAX_GRID, MAX_PARAMS_BYTES, all, lower};
use recurrent::internals::plan::{
    BackwardRecurrence, CopyView, DType, Hold, Op, Phase, Plan, Projection, Purpose, Recurrence, RecurrenceMode,
    Target, Tile, WindowForm, ZeroTensor,
};
use recurrent::recipe::{Average, Clip, Dropout, GradientCheckpointing, Group, Loss, Optimizer, Precision, Recipe};
use recurrent::{
    Activation, Cell, Config, Directions, EmbeddingUpdate, Error, GateActivation, InputKind, Join, Pool, Recurrent,
    Reset,
};

use super::border::{CELLS, MAX_INVOCATIONS, MAX_WORKGROUP_BYTES, parse_variant, workgroup_bytes};

/// A software adapter of default limits.
const SOFTWARE: Target = Target { software: true, workgroups: 2, ..Target::webgpu() };

/// One whose subgroups have eight lanes.
const LANES: Target = Target { lanes: true, ..SOFTWARE };

/// The target in half precision.
fn half(target: Target) -> Target {
    Target { has_f16: true, precision: Precision::F16, ..target }
}

/// Plans of every kind: inputs, read-outs, activations, losses, optimisers, clips, targets and window sizes.
pub fn for_every_plan(mut check: impl FnMut(&str, &Plan)) {
    // More losses than one workgroup adds up.
    let long = Config::elman(InputKind::Tokens(1), 1, 1);
    let (plan, _) =
        Plan::new(&long, Purpose::Evaluate(&Recipe::new(Loss::CrossEntropy)), 70, 1000, &Target::webgpu()).unwrap();
    check("a batch of 1000", &plan);
    let checkpointed = Recipe::new(Loss::CrossEntropy).with_gradient_checkpointing(GradientCheckpointing::Sqrt);
    let (plan, _) = Plan::new(&long, Purpose::Train(&checkpointed), 70, 3, &Target::webgpu()).unwrap();
    check("a window in segments", &plan);
    // Every loss, its numbers weighed and not.
    for (loss, outputs) in losses::all(3).into_iter().chain([(Loss::External, 3), (Loss::ctc(), 3)]) {
        let config = Config::gru(InputKind::Dense(2), 5, outputs);
        for (purpose, elementwise) in [(evaluation(loss.clone()), false), (training(Recipe::new(loss.clone())), true)] {
            for target in [Target::cpu(), Target::webgpu(), SOFTWARE, half(Target::webgpu())] {
                let labels = if loss == Loss::ctc() { 5 } else { 0 };
                let form = WindowForm { elementwise, labels, ..WindowForm::new(7, 4) };
                let (plan, _) = Plan::of_form(&config, purpose, form, &target).unwrap();
                check(&format!("{purpose:?} {form:?} {target:?}"), &plan);
            }
        }
    }
    // Sequences that begin anew within the window.
    for cell in [Cell::Lstm, Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)] {
        for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
            let config = Config::of_cell(cell, InputKind::Dense(2), 9, 3).with_layers(2).with_directions(directions);
            let config = config.with_learned_initial_state(cell == Cell::Lstm);
            let causal = [&checkpointed].into_iter().filter(|_| directions == Directions::Forward);
            let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(Dropout::variational(0.1, 0.2));
            let purposes =
                causal.chain([&recipe]).map(Purpose::Train).chain([Purpose::Infer, Purpose::Evaluate(&recipe)]);
            for purpose in purposes {
                for (steps, target) in [(7, Target::cpu()), (7, Target::webgpu()), (200, SOFTWARE), (7, half(SOFTWARE))]
                {
                    let form = WindowForm { resets: true, ..WindowForm::new(steps, 4) };
                    let (plan, _) = Plan::of_form(&config, purpose, form, &target).unwrap();
                    check(&format!("{purpose:?} {form:?} {target:?}"), &plan);
                }
            }
        }
    }
    let adam = Recipe::new(Loss::CrossEntropy);
    let recipes = [
        adam.clone(),
        adam.clone().with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1),
        adam.clone().with_clip(Clip::Value(1.0)).with_optimizer(Optimizer::rms_prop(), 0.1).with_trace(),
        adam.clone().with_clip(Clip::Normalize(1.0)).with_optimizer(Optimizer::adam_w(0.1), 0.1),
        Recipe::new(Loss::MeanSquared).with_optimizer(Optimizer::sgd(0.9), 0.1),
        adam.with_dropout(Dropout::variational(0.1, 0.2).with_weights(0.3)),
    ];
    // Tables that are updated by rows, a column's among them.
    let tables = Config::new(InputKind::Tokens(70)).token_column("kind", 9, 5).embedding(7);
    let tables = tables.layer(Recurrent::lstm(9)).outputs(3);
    let lazy = recipes.clone().map(|recipe| recipe.with_embedding_update(EmbeddingUpdate::Lazy));
    let segments = checkpointed.clone().with_embedding_update(EmbeddingUpdate::Lazy);
    for recipe in lazy.iter().chain([&segments]) {
        for purpose in [Purpose::Train(recipe), Purpose::TrainPart(recipe, 1 << 20)] {
            for (steps, batch) in [(1, 1), (3, 2), (50, 32)] {
                for target in [Target::cpu(), Target::webgpu(), SOFTWARE, half(Target::webgpu())] {
                    let (plan, _) = Plan::new(&tables, purpose, steps, batch, &target).unwrap();
                    check(&format!("{purpose:?} T={steps} B={batch} {target:?}"), &plan);
                }
            }
        }
    }
    // What an update may have: other rules, groups, and a mean of the parameters after it.
    for optimizer in [
        Optimizer::nesterov(0.9),
        Optimizer::adagrad(),
        Optimizer::ams_grad(0.1),
        Optimizer::r_adam(0.1),
        Optimizer::lion(0.1),
    ] {
        let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, 0.1);
        let recipe =
            recipe.with_group(Group::new("embedding*").with_rate(0.5)).with_averaged_weights(Average::ema(0.9));
        let recipe = recipe.with_group(Group::new("lstm.bias*").with_clip(Clip::Norm(1.0)));
        let recipe = recipe.with_group(Group::new("column*").with_clip(Clip::Value(1.0)));
        let lazy = recipe.clone().with_embedding_update(EmbeddingUpdate::Lazy);
        for recipe in [&recipe, &lazy] {
            for target in [Target::cpu(), Target::webgpu(), SOFTWARE, half(Target::webgpu())] {
                let (plan, _) = Plan::new(&tables, Purpose::Train(recipe), 3, 2, &target).unwrap();
                check(&format!("{recipe:?} {target:?}"), &plan);
            }
        }
    }
    let mut purposes =
        vec![Purpose::Infer, Purpose::Observe(0), evaluation(Loss::CrossEntropy), evaluation(Loss::MeanSquared)];
    purposes.extend(recipes.map(training));
    for input in [InputKind::Tokens(1), InputKind::Tokens(65), InputKind::Dense(1), InputKind::Dense(7)] {
        for (hidden, outputs) in [(1, 1), (33, 3), (128, 65), (1030, 2)] {
            for (number, cell) in CELLS.into_iter().enumerate() {
                for read_out in [None, Some(Pool::Last), Some(Pool::First), Some(Pool::Mean), Some(Pool::Max)] {
                    // Every option somewhere, not every combination of them.
                    let config = Config::of_cell(cell, input, hidden, outputs)
                        .with_layers(1 + number % 2)
                        .with_directions(if outputs == 3 { Directions::Bidirectional } else { Directions::Forward })
                        .with_bias(outputs != 65)
                        .with_learned_initial_state(outputs > 2)
                        .with_pool(read_out);
                    let gated = hidden == 128 && !matches!(cell, Cell::Elman(_));
                    let gate = if gated { GateActivation::HardSigmoid } else { GateActivation::Sigmoid };
                    let config = config.with_gate_activation(gate);
                    let clips = hidden == 33 && cell.states() > 1;
                    let config = if clips { config.with_cell_clip(0.5) } else { config };
                    // In plans of both schedules, with dropout and without.
                    let config = match (hidden, outputs) {
                        (128, _) => config.with_zoneout(0.1, if cell.states() > 1 { 0.5 } else { 0.0 }),
                        (33, _) if cell.states() > 1 && number % 2 == 0 => config.with_zoneout(0.0, 0.3),
                        _ => config,
                    };
                    let projects =
                        matches!(hidden, 33 | 128) && cell == Cell::Cifg || hidden == 1030 && cell == Cell::Lstm;
                    let config = if projects { config.with_projection(hidden / 2 + 1) } else { config };
                    let joins = [Join::Concat, Join::Sum, Join::Mean, Join::Product];
                    let config = config.with_join(if outputs == 3 { joins[number % 4] } else { Join::Concat });
                    let config = if hidden == 33 { with_heads(with_dense(config)) } else { config };
                    for purpose in purposes.iter().map(|purpose| for_heads(*purpose, &config)) {
                        for (steps, batch) in [(1, 1), (3, 2), (4, 1), (16, 33), (50, 32), (130, 1)] {
                            let software = if steps == 16 { LANES } else { SOFTWARE };
                            for target in [Target::cpu(), Target::webgpu(), software, half(Target::webgpu())] {
                                let (plan, _) = Plan::new(&config, purpose, steps, batch, &target).unwrap();
                                check(&format!("{config:?} {purpose:?} T={steps} B={batch} {target:?}"), &plan);
                            }
                        }
                    }
                }
            }
        }
    }
}

fn check_dispatch(what: &str, plan: &Plan, dispatch: &Dispatch) {
    let Dispatch { kernel, constants, f16_aliases, tensors, params, workgroups, grid } = dispatch;
    let what = format!("{what}: {}", kernel.name);
    assert!(all().iter().any(|k| std::ptr::eq(*k, *kernel)), "{what} is not among all kernels");
    assert_eq!(params.len(), kernel.params_size, "{what}: parameters");
    assert!(params.len() <= MAX_PARAMS_BYTES, "{what}: parameters");
    assert_eq!(tensors.len(), kernel.bindings.len(), "{what}: tensors");
    assert_eq!(constants.len(), kernel.constants.len(), "{what}: constants");
    assert!(grid.iter().all(|n| (1..=MAX_GRID).contains(n)), "{what}: grid {grid:?}");
    let [x, y, _] = grid.map(u64::from);
    assert!((1..=x * y).contains(workgroups), "{what}: grid {grid:?} of {workgroups} workgroups");
    for (tensor, binding) in tensors.iter().zip(kernel.bindings) {
        let uses = tensors.iter().filter(|t| *t == tensor).count();
        let name = &plan.get(*tensor).name;
        assert!(binding.access == Access::Read || uses == 1, "{what}: `{name}` is bound {uses} times and written");
        let is_half = plan.get(*tensor).dtype == DType::F16;
        let as_half = binding.alias.is_some_and(|alias| f16_aliases.contains(&alias));
        assert_eq!(is_half, as_half, "{what}: `{name}`");
    }
}

#[test]
fn every_plan_lowers_to_as_many_dispatches_as_it_counts() {
    let mut used = BTreeSet::new();
    for_every_plan(|what, plan| {
        let mut commands = lower(plan).unwrap().into_iter();
        // Operation by operation, so that no surplus of one hides a lack of another.
        for stage in plan.stages() {
            match stage.op {
                Op::Copy(CopyView { from, to }) if stage.op.dispatches(plan) == 0 => {
                    let same = |c: &Command| matches!(c, Command::Copy { from: f, to: t } if (*f, *t) == (from, to));
                    assert!(commands.next().as_ref().is_some_and(same), "{what}: copy");
                }
                Op::Zero(ZeroTensor { tensor }) => {
                    let same = |c: &Command| matches!(c, Command::Zero { tensor: t } if *t == tensor);
                    assert!(commands.next().as_ref().is_some_and(same), "{what}: zero");
                }
                _ => {
                    let mut kernels = Vec::new();
                    for _ in 0..stage.op.dispatches(plan) {
                        let Some(Command::Dispatch(dispatch)) = commands.next() else {
                            panic!("{what}: a dispatch is missing of {:?}", stage.op);
                        };
                        check_dispatch(what, plan, &dispatch);
                        kernels.push(dispatch.kernel.name);
                    }
                    used.extend(kernels.iter().copied());
                    kernels.dedup();
                    assert_eq!(kernels.len(), 1, "{what}: one operation, several kernels");
                }
            }
        }
        assert!(commands.next().is_none(), "{what}: more commands than operations");
    });
    // The executor's own, no plan's.
    used.insert("mark");
    let declared: BTreeSet<_> = all().iter().map(|k| k.name).collect();
    assert_eq!(used, declared, "kernels that no plan uses");
}

#[test]
fn every_pipeline_of_a_plan_keeps_to_the_default_limits() {
    let mut seen = BTreeSet::new();
    for_every_plan(|what, plan| {
        for command in lower(plan).unwrap() {
            let Command::Dispatch(dispatch) = command else { continue };
            let Dispatch { kernel, constants, f16_aliases, .. } = &dispatch;
            if !constants.is_empty() && seen.insert((kernel.name, constants.clone(), f16_aliases.clone())) {
                let (_, module) = parse_variant(kernel, f16_aliases, constants).unwrap();
                let bytes = workgroup_bytes(&module);
                let said = dispatch.workgroup_bytes();
                assert!(
                    [0, bytes.into()].contains(&said),
                    "{what}: {} {constants:?}: {bytes}, not {said}",
                    kernel.name
                );
                assert!(bytes <= MAX_WORKGROUP_BYTES, "{what}: {} {constants:?}: {bytes} bytes", kernel.name);
                let threads: u32 = module.entry_points[0].workgroup_size.iter().product();
                assert!(threads <= MAX_INVOCATIONS, "{what}: {} {constants:?}: {threads} threads", kernel.name);
            }
        }
    });
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn a_tile_takes_no_more_memory_than_its_target_has() {
    let mut most = 0;
    // WebGPU's, DX12's and Vulkan's as adapters have it.
    for workgroup_bytes in [16 << 10, 32 << 10, 48 << 10] {
        for base in [Target::webgpu(), SOFTWARE, half(Target::webgpu())] {
            let target = Target { workgroup_bytes, ..base };
            for cell in CELLS {
                for (hidden, batch) in [(1, 1), (33, 300), (64, 5), (128, 1), (128, 2000), (256, 300), (1030, 33)] {
                    let config = Config::of_cell(cell, InputKind::Dense(3), hidden, 2);
                    let purpose = Purpose::Train(&Recipe::new(Loss::MeanSquared));
                    let (plan, _) = Plan::new(&config, purpose, 5, batch, &target).unwrap();
                    for command in lower(&plan).unwrap() {
                        let Command::Dispatch(dispatch) = command else { continue };
                        dispatch.check_workgroup(workgroup_bytes, MAX_INVOCATIONS).unwrap();
                        most = most.max(dispatch.workgroup_bytes());
                    }
                }
            }
        }
    }
    assert!(most > 16 << 10, "no tile of {most} bytes takes what a target has more than the least");
}

#[test]
fn a_tile_that_no_kernel_has_is_an_error() {
    let config = Config::elman(InputKind::Dense(2), 5, 3);
    let purpose = Purpose::Train(&Recipe::new(Loss::MeanSquared));
    for steps in [3, 4] {
        let (plan, _) = Plan::new(&config, purpose, steps, 2, &Target::webgpu()).unwrap();
        let lowered = |change: &dyn Fn(&mut Tile), backward: bool| {
            let mut changed = Plan::empty();
            plan.tensors().iter().for_each(|t| {
                changed.tensor(&t.name, &t.shape, t.dtype, t.lifetime).unwrap();
            });
            for stage in plan.stages() {
                let mut op = stage.op.clone();
                match &mut op {
                    Op::Forward(recurrence) if !backward => change(&mut recurrence.tile),
                    Op::Backward(BackwardRecurrence { recurrence, .. }) if backward => change(&mut recurrence.tile),
                    _ => {}
                }
                changed.push(stage.phase, op);
            }
            lower(&changed)
        };
        for backward in [false, true] {
            assert!(lowered(&|tile| tile.sequences = Tile::MAX_SEQUENCES, backward).is_ok());
            let wrong: [&dyn Fn(&mut Tile); 7] = [
                &|tile| tile.sequences = 0,
                &|tile| tile.sequences = Tile::MAX_SEQUENCES + 1,
                &|tile| tile.units = 0,
                &|tile| tile.units = Tile::MAX_UNITS + 1,
                &|tile| tile.split = 0,
                &|tile| tile.split = tile.threads - 1,
                &|tile| tile.threads = 0,
            ];
            for change in wrong {
                assert!(matches!(lowered(change, backward), Err(Error::Config(_))));
            }
        }
    }
}

#[test]
fn steps_are_walked_forwards_and_then_backwards() {
    let config = Config::elman(InputKind::Dense(2), 5, 3);
    let purpose = Purpose::Train(&Recipe::new(Loss::MeanSquared));
    let (plan, _) = Plan::new(&config, purpose, 3, 2, &Target::webgpu()).unwrap();
    let steps_of = |name: &str| -> Vec<u32> {
        let commands = lower(&plan).unwrap();
        let t = commands.iter().filter_map(|c| match c {
            Command::Dispatch(d) if d.kernel.name == name => {
                let at = d.kernel.params.iter().find(|f| f.name == "step").unwrap().offset;
                Some(u32::from_ne_bytes(d.params[at..at + 4].try_into().unwrap()))
            }
            _ => None,
        });
        t.collect()
    };
    assert_eq!(steps_of("step_forward_elman"), [0, 1, 2]);
    assert_eq!(steps_of("step_backward_elman"), [2, 1, 0]);
}

#[test]
fn an_operation_whose_views_do_not_fit_is_an_error() {
    let config = Config::elman(InputKind::Dense(2), 5, 3);
    let (plan, outputs) = Plan::new(&config, Purpose::Infer, 3, 2, &Target::webgpu()).unwrap();
    let good = plan.stages().iter().find_map(|s| if let Op::MatMul(m) = &s.op { Some(m.clone()) } else { None });
    let good = good.unwrap();

    let lowered = |change: &dyn Fn(&mut recurrent::internals::plan::MatMul)| {
        let (mut plan, mut op) = (plan.clone(), good.clone());
        change(&mut op);
        plan.push(Phase::Forward, Op::MatMul(op));
        lower(&plan)
    };
    assert!(lowered(&|_| {}).is_ok());
    assert!(matches!(lowered(&|op| op.b.cols += 1), Err(Error::Shape { .. })));
    assert!(matches!(lowered(&|op| op.out.rows = 1), Err(Error::Shape { .. })));
    assert!(matches!(lowered(&|op| op.out.offset = usize::MAX), Err(Error::Config(_))));
    assert!(matches!(lowered(&|op| op.out.offset += 1), Err(Error::Config(_))));
    // Read and written in one dispatch.
    assert!(matches!(lowered(&|op| op.b.tensor = op.out.tensor), Err(Error::Config(_))));
    assert_ne!(good.out.tensor, outputs.parameters);
}

#[test]
fn a_projection_that_does_not_fit_its_recurrence_is_an_error() {
    let config = Config::lstm(InputKind::Dense(2), 5, 3).with_projection(3);
    let (plan, _) = Plan::new(&config, Purpose::Infer, 4, 2, &Target::webgpu()).unwrap();
    let good = plan.stages().iter().find_map(|s| if let Op::Forward(r) = &s.op { Some(r.clone()) } else { None });
    let good = good.unwrap();
    // Of sizes for which a whole sequence would be one dispatch without: here two a step.
    assert_eq!(Op::Forward(good.clone()).dispatches(&plan), 2 * 4);
    let lowered = |change: &dyn Fn(&mut Recurrence, &mut Projection)| {
        let (mut plan, mut op) = (plan.clone(), good.clone());
        let mut projection = op.projection.unwrap();
        change(&mut op, &mut projection);
        op.projection = Some(projection);
        plan.push(Phase::Forward, Op::Forward(op));
        lower(&plan)
    };
    assert!(lowered(&|_, _| {}).is_ok());
    assert!(matches!(lowered(&|_, p| p.size = 2), Err(Error::Shape { .. })));
    assert!(matches!(lowered(&|_, p| p.weight.cols -= 1), Err(Error::Shape { .. })));
    assert!(matches!(lowered(&|_, p| p.projected.rows -= 1), Err(Error::Shape { .. })));
    // Among the slots of h, beyond the tensor's end, and in another tensor.
    assert!(matches!(lowered(&|_, p| p.projected.offset -= 1), Err(Error::Config(_))));
    assert!(matches!(lowered(&|_, p| p.projected.offset += 1), Err(Error::Config(_))));
    assert!(matches!(lowered(&|op, p| p.projected.tensor = op.gates), Err(Error::Config(_))));
    // Of a cell without c, and over a whole sequence.
    assert!(matches!(lowered(&|op, _| op.cell = Cell::Elman(Activation::Tanh)), Err(Error::Config(_))));
    assert!(matches!(lowered(&|op, _| op.schedule = RecurrenceMode::WholeSequence), Err(Error::Config(_))));
}

#[test]
fn a_projection_whose_zoneout_does_not_fit_is_an_error() {
    let config = Config::lstm(InputKind::Dense(2), 5, 3).with_projection(3).with_zoneout(0.1, 0.2);
    let recipe = Recipe::new(Loss::CrossEntropy);
    let (plan, _) = Plan::new(&config, Purpose::Train(&recipe), 4, 2, &Target::webgpu()).unwrap();
    let good = plan.stages().iter().find_map(|s| if let Op::Backward(r) = &s.op { Some(r.clone()) } else { None });
    let good = good.unwrap();
    let lowered = |change: &dyn Fn(&mut BackwardRecurrence)| {
        let (mut plan, mut op) = (plan.clone(), good.clone());
        change(&mut op);
        plan.push(Phase::Backward, Op::Backward(op));
        lower(&plan)
    };
    assert!(lowered(&|_| {}).is_ok());
    // What goes to W_hr is missing, is there though nothing is kept, and lies among the slots.
    assert!(matches!(lowered(&|op| op.projected = None), Err(Error::Config(_))));
    assert!(matches!(lowered(&|op| op.recurrence.zoneout[0] = Hold::None), Err(Error::Config(_))));
    assert!(matches!(lowered(&|op| op.projected.as_mut().unwrap().offset -= 1), Err(Error::Config(_))));
    // The draws of h are as wide as h, and those of c as c.
    assert!(matches!(lowered(&|op| op.recurrence.zoneout.swap(0, 1)), Err(Error::Shape { .. })));
}
