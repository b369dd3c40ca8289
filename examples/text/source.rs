//! The text that is learnt when none is given: the source of this crate, embedded.
//!
//! The contract: every file of `src/` and `shaders/` is in the list; a test holds it against the folders.

macro_rules! embed {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),*]
    };
}

/// Path and text of each file.
pub const FILES: &[(&str, &str)] = embed![
    "shaders/adam.wgsl"
    "shaders/clip.wgsl"
    "shaders/combine.wgsl"
    "shaders/cross_entropy.wgsl"
    "shaders/elman.wgsl"
    "shaders/gather.wgsl"
    "shaders/gather_gradient.wgsl"
    "shaders/gru.wgsl"
    "shaders/lstm.wgsl"
    "shaders/math.wgsl"
    "shaders/matmul.wgsl"
    "shaders/mean_squared.wgsl"
    "shaders/measure.wgsl"
    "shaders/place.wgsl"
    "shaders/reduce.wgsl"
    "shaders/rms_prop.wgsl"
    "shaders/sequence_backward.wgsl"
    "shaders/sequence_forward.wgsl"
    "shaders/sgd.wgsl"
    "shaders/step_backward.wgsl"
    "shaders/step_forward.wgsl"
    "shaders/transpose.wgsl"
    "src/checkpoint/decode.rs"
    "src/checkpoint/file.rs"
    "src/checkpoint/mod.rs"
    "src/checkpoint/strict.rs"
    "src/cpu/cells/elman.rs"
    "src/cpu/cells/gru.rs"
    "src/cpu/cells/lstm.rs"
    "src/cpu/cells/mod.rs"
    "src/cpu/executor.rs"
    "src/cpu/gather.rs"
    "src/cpu/loss.rs"
    "src/cpu/matmul.rs"
    "src/cpu/memory.rs"
    "src/cpu/mod.rs"
    "src/cpu/real.rs"
    "src/cpu/recurrence.rs"
    "src/cpu/steps.rs"
    "src/cpu/update.rs"
    "src/data/mod.rs"
    "src/data/text.rs"
    "src/data/windows.rs"
    "src/device.rs"
    "src/error.rs"
    "src/gpu/adapter.rs"
    "src/gpu/context.rs"
    "src/gpu/executor.rs"
    "src/gpu/kernels/gather.rs"
    "src/gpu/kernels/launch.rs"
    "src/gpu/kernels/loss.rs"
    "src/gpu/kernels/matmul.rs"
    "src/gpu/kernels/mod.rs"
    "src/gpu/kernels/recurrence.rs"
    "src/gpu/kernels/transpose.rs"
    "src/gpu/kernels/update.rs"
    "src/gpu/mod.rs"
    "src/gpu/wait.rs"
    "src/lib.rs"
    "src/model/cells/elman.rs"
    "src/model/cells/gru.rs"
    "src/model/cells/lstm.rs"
    "src/model/cells/mod.rs"
    "src/model/config.rs"
    "src/model/init.rs"
    "src/model/mod.rs"
    "src/model/parameters.rs"
    "src/plan/build.rs"
    "src/plan/mod.rs"
    "src/plan/op.rs"
    "src/plan/recipe.rs"
    "src/plan/target.rs"
    "src/plan/tensor.rs"
    "src/stream.rs"
    "src/train.rs"
];

/// All files in one text, each under its path.
pub fn text() -> String {
    FILES.iter().map(|(path, text)| format!("// {path}\n\n{text}\n")).collect()
}
