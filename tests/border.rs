//! The border between Rust and WGSL: every kernel is what its shader says, and every plan lowers to what it counts.
//!
//! The contract: no GPU is needed, and the comparison itself is shown to fail on planted faults.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy takes a test's helpers for the crate's code")]

use std::collections::BTreeSet;

use naga::valid::Capabilities;
use naga::{AddressSpace, Literal, Module, ScalarKind, ShaderStage, StorageAccess, TypeInner};
use recurrent::gpu::kernels::{
    Access, Binding, Command, Dispatch, Field, Kernel, MAX_GRID, MAX_PARAMS_BYTES, all, lower,
};
use recurrent::plan::{
    Clip, DType, Dropout, FROZEN, GradientCheckpointing, Loss, NOT_DECAYED, Op, Optimizer, Phase, Plan, Precision,
    Purpose, Recipe, Record, ReduceGradients, Target, Tile,
};
use recurrent::{Activation, Cell, Config, Directions, Error, InputKind, ReadOut, Reset};

/// WebGPU's default limits, which every adapter has.
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;
const MAX_INVOCATIONS: u32 = 256;
const MAX_STORAGE_BUFFERS: usize = 8;

fn parse(kernel: &Kernel) -> Result<Module, String> {
    parse_and_set(kernel, &[]).map(|(module, _)| module)
}

/// The shader in 32 bits, and what is left of it where its first constants have these values.
fn parse_and_set(kernel: &Kernel, constants: &[u32]) -> Result<(Module, Module), String> {
    parse_variant(kernel, &[], constants)
}

/// Parses the variant in which these aliases are f16.
fn parse_variant(kernel: &Kernel, f16_aliases: &[&str], constants: &[u32]) -> Result<(Module, Module), String> {
    let source = kernel.wgsl(f16_aliases);
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string(&source))?;
    let flags = naga::valid::ValidationFlags::all();
    let capabilities = if f16_aliases.is_empty() { Capabilities::empty() } else { Capabilities::SHADER_FLOAT16 };
    let info = naga::valid::Validator::new(flags, capabilities)
        .validate(&module)
        .map_err(|e| format!("{}: {}", kernel.name, e.emit_to_string(&source)))?;
    let values = kernel.constants.iter().zip(constants).map(|(name, value)| (name.to_string(), f64::from(*value)));
    let values = values.collect::<naga::back::PipelineConstants>();
    let (set, _) = naga::back::pipeline_constants::process_overrides(&module, &info, None, &values)
        .map_err(|e| format!("{}: {e}", kernel.name))?;
    let set = set.into_owned();
    Ok((module, set))
}

/// Holds what Rust says of a kernel against its shader; the error is the first difference.
fn compare(kernel: &Kernel) -> Result<(), String> {
    let (module, set) = parse_and_set(kernel, &[])?;
    let same = |what: &str, rust: &dyn std::fmt::Debug, wgsl: &dyn std::fmt::Debug| {
        let (rust, wgsl) = (format!("{rust:?}"), format!("{wgsl:?}"));
        if rust == wgsl { Ok(()) } else { Err(format!("{}: {what} is {rust} in Rust, {wgsl} in WGSL", kernel.name)) }
    };

    same("the number of entry points", &1, &module.entry_points.len())?;
    let entry = &module.entry_points[0];
    same("the stage", &ShaderStage::Compute, &entry.stage)?;
    same("the entry point", &kernel.entry, &entry.name)?;
    same("the workgroup", &kernel.workgroup, &set.entry_points[0].workgroup_size)?;
    let constants: Vec<_> = module.overrides.iter().filter_map(|(_, o)| o.name.as_deref()).collect();
    same("the list of constants", &kernel.constants, &constants)?;

    let mut bindings = Vec::new();
    let mut uniform = None;
    for (_, global) in module.global_variables.iter() {
        let name = global.name.clone().unwrap_or_default();
        let Some(at) = &global.binding else { continue };
        same("the group", &0, &at.group)?;
        match global.space {
            AddressSpace::Uniform => uniform = Some((at.binding, global.ty)),
            AddressSpace::Storage { access } => bindings.push((at.binding, name, access)),
            space => return Err(format!("{}: {name} is bound in {space:?}", kernel.name)),
        }
    }
    bindings.sort_by_key(|b| b.0);
    let declared: Vec<_> = (1u32..)
        .zip(kernel.bindings)
        .map(|(index, Binding { name, access, .. })| {
            let access = match access {
                Access::Read => StorageAccess::LOAD,
                Access::ReadWrite => StorageAccess::LOAD | StorageAccess::STORE,
            };
            (index, name.to_string(), access)
        })
        .collect();
    same("the list of bindings", &declared, &bindings)?;

    let (index, ty) = uniform.ok_or_else(|| format!("{}: no uniform", kernel.name))?;
    same("the uniform's binding", &0, &index)?;
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return Err(format!("{}: the uniform is not a struct", kernel.name));
    };
    let mut fields = Vec::new();
    for member in members {
        let ty = match module.types[member.ty].inner {
            TypeInner::Scalar(s) if (s.kind, s.width) == (ScalarKind::Uint, 4) => "u32",
            TypeInner::Scalar(s) if (s.kind, s.width) == (ScalarKind::Float, 4) => "f32",
            ref other => return Err(format!("{}: a parameter is {other:?}", kernel.name)),
        };
        fields.push((member.name.clone().unwrap_or_default(), member.offset as usize, ty));
    }
    let declared: Vec<_> =
        kernel.params.iter().map(|Field { name, offset, ty }| (name.to_string(), *offset, *ty)).collect();
    same("the list of parameters", &declared, &fields)?;
    same("the size of the parameters", &kernel.params_size, &(*span as usize))
}

/// Every choice of a kernel's aliases to be f16.
fn variants(kernel: &Kernel) -> Vec<Vec<&'static str>> {
    let aliases = kernel.aliases();
    let chosen =
        |number: usize| (0..aliases.len()).filter(|bit| number >> bit & 1 == 1).map(|bit| aliases[bit]).collect();
    (0..1 << aliases.len()).map(chosen).collect()
}

/// Holds a record, or an array of them, against the one that Rust names: its name, and its members in order, all f32.
fn compare_record(
    kernel: &Kernel,
    module: &naga::Module,
    ty: naga::Handle<naga::Type>,
    record: Record,
) -> Result<(), String> {
    let ty = match module.types[ty].inner {
        TypeInner::Array { base, .. } => base,
        _ => ty,
    };
    let TypeInner::Struct { members, .. } = &module.types[ty].inner else {
        return Err(format!("{}: `{}` is not a struct", kernel.name, record.name));
    };
    let name = module.types[ty].name.as_deref().unwrap_or_default();
    let names: Vec<_> = members.iter().filter_map(|member| member.name.as_deref()).collect();
    if (name, names.as_slice()) != (record.name, record.members) {
        let (wgsl, rust) = (format!("{name} {names:?}"), format!("{} {:?}", record.name, record.members));
        return Err(format!("{}: the record is {rust} in Rust, {wgsl} in WGSL", kernel.name));
    }
    for (at, member) in members.iter().enumerate() {
        let f32 = naga::Scalar { kind: ScalarKind::Float, width: 4 };
        let is_f32 = module.types[member.ty].inner == TypeInner::Scalar(f32);
        if !is_f32 || member.offset as usize != 4 * at {
            return Err(format!("{}: member {at} of {name} is no f32 at byte {}", kernel.name, 4 * at));
        }
    }
    Ok(())
}

/// Holds the elements of a variant's buffers against the aliases that Rust names; the error is the first difference.
fn compare_elements(kernel: &Kernel, f16_aliases: &[&str]) -> Result<(), String> {
    let (module, _) = parse_variant(kernel, f16_aliases, &[])?;
    for (_, global) in module.global_variables.iter() {
        let name = global.name.as_deref().unwrap_or_default();
        let Some(binding) = kernel.bindings.iter().find(|binding| binding.name == name) else { continue };
        if let Some(record) = binding.record {
            compare_record(kernel, &module, global.ty, record)?;
            continue;
        }
        let TypeInner::Array { base, .. } = module.types[global.ty].inner else {
            return Err(format!("{}: `{name}` is no array", kernel.name));
        };
        let want = if binding.alias.is_some_and(|alias| f16_aliases.contains(&alias)) { 2 } else { 4 };
        match module.types[base].inner {
            TypeInner::Scalar(scalar) if u32::from(scalar.width) == want => {}
            ref other => return Err(format!("{}: `{name}` of {other:?}, expected {want} bytes", kernel.name)),
        }
    }
    Ok(())
}

/// Bytes of workgroup memory, as WGSL lays it out.
fn workgroup_bytes(module: &Module) -> u32 {
    let workgroup = module.global_variables.iter().filter(|(_, g)| g.space == AddressSpace::WorkGroup);
    workgroup.map(|(_, g)| module.types[g.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum()
}

#[test]
fn every_kernel_is_what_its_shader_says() {
    for kernel in all() {
        compare(kernel).unwrap();
    }
}

#[test]
fn every_variant_of_a_kernel_has_the_elements_that_rust_says() {
    let mut seen = 0;
    for kernel in all() {
        for f16_aliases in variants(kernel) {
            compare_elements(kernel, &f16_aliases).unwrap();
            seen += 1;
        }
    }
    assert!(seen > all().len() + 8 + 20, "products in all 8 variants and the recurrences in 2: {seen} in all");
}

#[test]
fn a_planted_fault_in_the_elements_is_seen() {
    let wrong = |kernel: Kernel| {
        let message = variants(&kernel).iter().find_map(|f16_aliases| compare_elements(&kernel, f16_aliases).err());
        message.expect("a planted fault was not seen")
    };
    // A buffer that Rust takes to be of 32 bits, and one that it takes to be of another kind than the shader does.
    wrong(Kernel { bindings: bindings(|b| b[3].alias = None), ..sound() });
    let message = wrong(Kernel { bindings: bindings(|b| b[0].alias = Some("B")), ..sound() });
    assert!(message.contains("A"), "{message}");
    let lstm = **all().iter().find(|k| k.name == "step_forward_lstm").unwrap();
    let mut of_lstm = lstm.bindings.to_vec();
    of_lstm[6].alias = of_lstm[3].alias;
    let message = wrong(Kernel { bindings: of_lstm.leak(), ..lstm });
    assert!(message.contains("`saved`"), "{message}");
}

#[test]
fn a_planted_fault_in_a_record_is_seen() {
    for kernel in all().iter().filter(|kernel| kernel.bindings.iter().any(|binding| binding.record.is_some())) {
        assert_eq!(compare_elements(kernel, &[]), Ok(()), "{}", kernel.name);
        for record in kernel.bindings.iter().filter_map(|binding| binding.record) {
            for pair in 0..record.members.len() - 1 {
                // Two neighbours change places in the shader, or one has another name.
                let lines = |names: &[&str]| names.iter().map(|name| format!("    {name}: f32,\n")).collect::<String>();
                let mut members = record.members.to_vec();
                members.swap(pair, pair + 1);
                let mut renamed = record.members.to_vec();
                renamed[pair] = "other";
                for faulty in [members, renamed] {
                    let change = |piece: &&str| piece.replacen(&lines(record.members), &lines(&faulty), 1);
                    let pieces: Vec<&'static str> =
                        kernel.source.iter().map(change).map(|piece| &*piece.leak()).collect();
                    assert_ne!(kernel.source.concat(), pieces.concat(), "{}", kernel.name);
                    let swapped = Kernel { source: pieces.leak(), ..**kernel };
                    let outcome = compare_elements(&swapped, &[]);
                    assert!(outcome.is_err(), "{}: {} with {faulty:?}", kernel.name, record.name);
                }
            }
        }
    }
}

#[test]
fn every_kernel_has_a_name_of_its_own() {
    let mut names: Vec<_> = all().iter().map(|k| k.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().len());
}

#[test]
fn every_shader_file_belongs_to_a_kernel() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(all().iter().any(|k| k.source.contains(&text.as_str())), "{} is not used", path.display());
    }
}

#[test]
fn every_kernel_keeps_to_the_default_limits() {
    for kernel in all() {
        let bytes = workgroup_bytes(&parse_and_set(kernel, &[]).unwrap().1);
        assert!(bytes <= MAX_WORKGROUP_BYTES, "{}: {bytes} bytes of workgroup memory", kernel.name);
        assert!(kernel.workgroup.iter().product::<u32>() <= MAX_INVOCATIONS, "{}: invocations", kernel.name);
        assert!(kernel.bindings.len() <= MAX_STORAGE_BUFFERS, "{}: storage buffers", kernel.name);
        assert!(kernel.params_size <= MAX_PARAMS_BYTES, "{}: parameters", kernel.name);
    }
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
                    let config = Config::new(cell, InputKind::Dense(3), hidden, 2);
                    let purpose = Purpose::Train(Recipe::new(Loss::MeanSquared));
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
fn a_planted_fault_in_the_constants_is_seen() {
    let tiled = **all().iter().find(|k| k.name == "sequence_forward_lstm").unwrap();
    assert_eq!(compare(&tiled), Ok(()));
    for constants in
        [&["THREADS", "SEQUENCES", "UNITS", "SPLIT"][..], &[], &["THREADS", "SEQUENCES", "UNITS", "SPLIT", "X"]]
    {
        fails(Kernel { constants, ..tiled }, "the list of constants");
    }
    fails(Kernel { constants: &["THREADS"], ..sound() }, "the list of constants");
}

#[test]
fn constants_that_rust_shares_have_its_values() {
    let constant = |kernel: &Kernel, name: &str| {
        let module = parse(kernel).unwrap();
        let found = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(name)).map(|(_, c)| c.init);
        match module.global_expressions[found.unwrap()] {
            naga::Expression::Literal(Literal::U32(value)) => value as usize,
            ref other => panic!("{}: {name} is {other:?}", kernel.name),
        }
    };
    let named = |name: &str| *all().iter().find(|k| k.name == name).unwrap();
    assert_eq!(constant(named("reduce_gradients"), "BLOCK"), ReduceGradients::BLOCK);
    for kernel in ["reduce_gradients", "sgd", "rms_prop", "adam"] {
        assert_eq!(constant(named(kernel), "FROZEN"), FROZEN as usize, "{kernel}");
    }
    assert_eq!(constant(named("adam"), "NOT_DECAYED"), NOT_DECAYED as usize);
    for cell in CELLS {
        for driver in ["step_forward", "step_backward", "sequence_forward", "sequence_backward"] {
            let kernel = named(&format!("{driver}_{}", cell.name()));
            assert_eq!(constant(kernel, "MAX_SEQUENCES"), Tile::MAX_SEQUENCES as usize);
            assert_eq!(constant(kernel, "MAX_UNITS"), Tile::MAX_UNITS as usize);
        }
    }
    // What is over h_(t-1), by the plan's own count of products.
    let (after, before) = (named("step_forward_gru"), named("step_forward_gru_before"));
    assert!(after.source.iter().any(|piece| piece.contains("const FIRST_GATES: u32 = GATES;")));
    assert!(!before.source.iter().any(|piece| piece.contains("const FIRST_GATES: u32 = GATES;")));
    assert_eq!(constant(before, "FIRST_GATES"), 2, "r and z");
    for cell in CELLS {
        for driver in ["step_forward", "step_backward", "sequence_forward", "sequence_backward"] {
            assert_eq!(constant(named(&format!("{driver}_{}", cell.name())), "GATES"), cell.gates());
        }
    }
}

const CELLS: [Cell; 5] = [
    Cell::Elman(Activation::Tanh),
    Cell::Elman(Activation::Relu),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
];

#[test]
fn the_guide_s_cell_is_one_that_every_driver_takes() {
    let guide = include_str!("../CONTRIBUTING.md");
    let block = guide.split("```wgsl").nth(1).unwrap().split("```").next().unwrap();
    for driver in ["step_forward", "step_backward", "sequence_forward", "sequence_backward"] {
        // One that keeps nothing, as the guide's does.
        let elman = **all().iter().find(|k| k.name == format!("{driver}_elman")).unwrap();
        let mut source = elman.source.to_vec();
        source[1] = block;
        let kernel = Kernel { source: source.leak(), ..elman };
        assert_eq!(compare(&kernel), Ok(()), "{driver}");
        assert_eq!(compare_elements(&kernel, &["Stored"]), Ok(()), "{driver}");
    }
}

/// The kernel that the faults are planted in.
fn sound() -> Kernel {
    let kernel = **all().iter().find(|k| k.name == "matmul").unwrap();
    assert_eq!(compare(&kernel), Ok(()));
    kernel
}

fn fails(fault: Kernel, word: &str) {
    let message = compare(&fault).expect_err("a planted fault was not seen");
    assert!(message.contains(word), "{message}");
}

fn fields(change: impl Fn(&mut Vec<Field>)) -> &'static [Field] {
    let mut fields = sound().params.to_vec();
    change(&mut fields);
    fields.leak()
}

fn bindings(change: impl Fn(&mut Vec<Binding>)) -> &'static [Binding] {
    let mut bindings = sound().bindings.to_vec();
    change(&mut bindings);
    bindings.leak()
}

#[test]
fn a_planted_fault_in_the_parameters_is_seen() {
    for params in [
        fields(|f| f[3].offset += 4),
        fields(|f| f[3].name = "elsewhere"),
        fields(|f| f[3].ty = "f32"),
        fields(|f| f.swap(0, 1)),
        fields(|f| f.truncate(15)),
        fields(|f| f.clear()),
    ] {
        fails(Kernel { params, ..sound() }, "the list of parameters");
    }
    fails(Kernel { params_size: sound().params_size + 4, ..sound() }, "the size of the parameters");
}

#[test]
fn a_planted_fault_in_the_bindings_is_seen() {
    for bindings in [
        bindings(|b| b[0].access = Access::ReadWrite),
        bindings(|b| b[3].access = Access::Read),
        bindings(|b| b[1].name = "elsewhere"),
        bindings(|b| b.swap(0, 1)),
        bindings(|b| b.retain(|binding| binding.name != "bias")),
    ] {
        fails(Kernel { bindings, ..sound() }, "the list of bindings");
    }
}

#[test]
fn a_planted_fault_in_the_entry_or_the_source_is_seen() {
    fails(Kernel { workgroup: [128, 1, 1], ..sound() }, "the workgroup");
    fails(Kernel { workgroup: [1, 64, 1], ..sound() }, "the workgroup");
    fails(Kernel { entry: "start", ..sound() }, "the entry point");
    fails(Kernel { source: &["@compute @workgroup_size(1) fn main() { x = 1; }"], ..sound() }, "x");
    let unbound = ["@compute @workgroup_size(64) fn main() {}"];
    fails(Kernel { source: unbound.to_vec().leak(), constants: &[], ..sound() }, "the list of bindings");
}

/// A software adapter of default limits.
const SOFTWARE: Target = Target { software: true, workgroups: 2, ..Target::webgpu() };

/// The target in half precision.
fn half(target: Target) -> Target {
    Target { has_f16: true, precision: Precision::F16, ..target }
}

/// Plans of every kind: inputs, read-outs, activations, losses, optimisers, clips, targets and window sizes.
fn for_every_plan(mut check: impl FnMut(&str, &Plan)) {
    // More losses than one workgroup adds up.
    let long = Config::elman(InputKind::Tokens(1), 1, 1);
    let (plan, _) = Plan::new(&long, Purpose::Evaluate(Loss::CrossEntropy), 70, 1000, &Target::webgpu()).unwrap();
    check("a batch of 1000", &plan);
    let checkpointed = Recipe::new(Loss::CrossEntropy).with_gradient_checkpointing(GradientCheckpointing::Sqrt);
    let (plan, _) = Plan::new(&long, Purpose::Train(checkpointed), 70, 3, &Target::webgpu()).unwrap();
    check("a window in segments", &plan);
    let adam = Recipe::new(Loss::CrossEntropy);
    let recipes = [
        adam,
        adam.with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1),
        adam.with_clip(Clip::Value(1.0)).with_optimizer(Optimizer::rms_prop(), 0.1).with_trace(),
        adam.with_clip(Clip::Normalize(1.0)).with_optimizer(Optimizer::adam_w(0.1), 0.1),
        Recipe::new(Loss::MeanSquared).with_optimizer(Optimizer::sgd(0.9), 0.1),
        adam.with_dropout(Dropout::variational(0.1, 0.2)),
    ];
    let mut purposes =
        vec![Purpose::Infer, Purpose::Evaluate(Loss::CrossEntropy), Purpose::Evaluate(Loss::MeanSquared)];
    purposes.extend(recipes.map(Purpose::Train));
    for input in [InputKind::Tokens(1), InputKind::Tokens(65), InputKind::Dense(1), InputKind::Dense(7)] {
        for (hidden, outputs) in [(1, 1), (33, 3), (128, 65), (1030, 2)] {
            for (number, cell) in CELLS.into_iter().enumerate() {
                for read_out in [ReadOut::EveryStep, ReadOut::Last, ReadOut::Mean] {
                    // Every option somewhere, not every combination of them.
                    let config = Config::new(cell, input, hidden, outputs)
                        .with_layers(1 + number % 2)
                        .with_directions(if outputs == 3 { Directions::Bidirectional } else { Directions::Forward })
                        .with_bias(outputs != 65)
                        .with_learned_initial_state(outputs > 2)
                        .with_read_out(read_out);
                    for purpose in &purposes {
                        for (steps, batch) in [(1, 1), (3, 2), (4, 1), (16, 33), (50, 32), (130, 1)] {
                            for target in [Target::cpu(), Target::webgpu(), SOFTWARE, half(Target::webgpu())] {
                                let (plan, _) = Plan::new(&config, *purpose, steps, batch, &target).unwrap();
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
                Op::Copy { from, to } if stage.op.dispatches(plan) == 0 => {
                    let same = |c: &Command| matches!(c, Command::Copy { from: f, to: t } if (*f, *t) == (from, to));
                    assert!(commands.next().as_ref().is_some_and(same), "{what}: copy");
                }
                Op::Zero { tensor } => {
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
fn a_tile_that_no_kernel_has_is_an_error() {
    let config = Config::elman(InputKind::Dense(2), 5, 3);
    let purpose = Purpose::Train(Recipe::new(Loss::MeanSquared));
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
                    Op::Backward { recurrence, .. } if backward => change(&mut recurrence.tile),
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
    let purpose = Purpose::Train(Recipe::new(Loss::MeanSquared));
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

    let lowered = |change: &dyn Fn(&mut recurrent::plan::MatMul)| {
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
