//! The border between Rust and WGSL: every kernel is what its shader says.
//!
//! The contract: no GPU is needed, and the comparison itself is shown to fail on planted faults.

use naga::valid::Capabilities;
use naga::{AddressSpace, Literal, Module, ScalarKind, ShaderStage, StorageAccess, TypeInner, VectorSize};
use recurrent::internals::gpu::kernels::{Access, Binding, ENTRY, Field, Kernel, MAX_PARAMS_BYTES, all};
use recurrent::internals::plan::{FROZEN, NOT_DECAYED, ProductTile, Record, ReduceGradients, Tile};
use recurrent::{Activation, Cell, Reset};

/// WebGPU's default limits, which every adapter has.
pub(super) const MAX_WORKGROUP_BYTES: u32 = 16 << 10;
pub(super) const MAX_INVOCATIONS: u32 = 256;
const MAX_STORAGE_BUFFERS: usize = 8;

pub(super) const CELLS: [Cell; 7] = [
    Cell::Elman(Activation::Tanh),
    Cell::Elman(Activation::Relu),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];

const DRIVERS: [&str; 6] =
    ["step_forward", "step_backward", "lanes_forward", "lanes_backward", "sequence_forward", "sequence_backward"];

fn parse(kernel: &Kernel) -> Result<Module, String> {
    parse_and_set(kernel, &[]).map(|(module, _)| module)
}

/// The shader in 32 bits, and what is left of it where its first constants have these values.
fn parse_and_set(kernel: &Kernel, constants: &[u32]) -> Result<(Module, Module), String> {
    parse_variant(kernel, &[], constants)
}

/// Parses the variant in which these aliases are f16.
pub(super) fn parse_variant(
    kernel: &Kernel,
    f16_aliases: &[&str],
    constants: &[u32],
) -> Result<(Module, Module), String> {
    let source = kernel.wgsl(f16_aliases);
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string(&source))?;
    let flags = naga::valid::ValidationFlags::all();
    let capabilities = if f16_aliases.is_empty() { Capabilities::empty() } else { Capabilities::SHADER_FLOAT16 };
    let capabilities = capabilities | if kernel.lanes { Capabilities::SUBGROUP } else { Capabilities::empty() };
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
    same("the entry point", &ENTRY, &entry.name)?;
    same("the workgroup", &kernel.workgroup, &set.entry_points[0].workgroup_size)?;
    // They go by name, and naga lists them in the order of use.
    let mut constants: Vec<_> = module.overrides.iter().filter_map(|(_, o)| o.name.as_deref()).collect();
    constants.sort_unstable();
    let mut in_rust = kernel.constants.to_vec();
    in_rust.sort_unstable();
    same("the list of constants", &in_rust, &constants)?;

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
                Access::Write => panic!("kernels say whether they read, too"),
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
            TypeInner::Scalar(scalar) | TypeInner::Vector { size: VectorSize::Quad, scalar }
                if u32::from(scalar.width) == want => {}
            ref other => return Err(format!("{}: `{name}` of {other:?}, expected {want} bytes", kernel.name)),
        }
    }
    Ok(())
}

/// Bytes of workgroup memory, as WGSL lays it out.
pub(super) fn workgroup_bytes(module: &Module) -> u32 {
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
        for driver in DRIVERS {
            let kernel = named(&format!("{driver}_{}", cell.name()));
            assert_eq!(constant(kernel, "MAX_SEQUENCES"), Tile::MAX_SEQUENCES as usize);
            assert_eq!(constant(kernel, "MAX_UNITS"), Tile::MAX_UNITS as usize);
        }
    }
    for driver in ["lanes_forward", "lanes_backward"] {
        let kernel = named(&format!("{driver}_lstm"));
        assert_eq!(constant(kernel, "LANES"), Tile::LANES as usize);
        assert_eq!(constant(kernel, "MAX_ROWS"), Tile::MAX_ROWS as usize);
    }
    assert_eq!(constant(named("matmul_lanes"), "SIDE"), ProductTile::Lanes.side());
    assert_eq!(named("matmul_lanes").workgroup, [Tile::LANES, 1, 1]);
    // What is over h_(t-1), by the plan's own count of products.
    let (after, before) = (named("step_forward_gru"), named("step_forward_gru_before"));
    assert!(after.source.iter().any(|piece| piece.contains("const FIRST_GATES: u32 = GATES;")));
    assert!(!before.source.iter().any(|piece| piece.contains("const FIRST_GATES: u32 = GATES;")));
    assert_eq!(constant(before, "FIRST_GATES"), 2, "r and z");
    for cell in CELLS {
        for driver in DRIVERS {
            assert_eq!(constant(named(&format!("{driver}_{}", cell.name())), "GATES"), cell.gates());
        }
    }
}

#[test]
fn the_guide_s_cell_is_one_that_every_driver_takes() {
    let guide = include_str!("../../CONTRIBUTING.md");
    let block = guide.split("```wgsl").nth(1).unwrap().split("```").next().unwrap();
    for driver in DRIVERS {
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
    let renamed = ["@compute @workgroup_size(64) fn start() {}"];
    fails(Kernel { source: renamed.to_vec().leak(), constants: &[], ..sound() }, "the entry point");
    fails(Kernel { source: &["@compute @workgroup_size(1) fn main() { x = 1; }"], ..sound() }, "x");
    let unbound = ["@compute @workgroup_size(64) fn main() {}"];
    fails(Kernel { source: unbound.to_vec().leak(), constants: &[], ..sound() }, "the list of bindings");
}
