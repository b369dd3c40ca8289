//! The kernels that are compiled for one device, whichever plans ask for them.
//!
//! The contract: a kernel's shader is made once for each choice of what is f16 in it, and a pipeline once for each
//! choice of its constants; shaders that are missing are made side by side, and what a driver says of one is an error.

use std::collections::HashMap;
use std::sync::Mutex;

use super::kernels::{self, Access, Dispatch, Kernel};
use super::wait::{Caught, lock, scoped};
use crate::error::{Error, Result};

/// What is being done where one of these fails.
const DOING: &str = "compiling a kernel";

/// A kernel compiled for this device.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// A kernel's name, and which of its aliases are f16.
type ShaderKey = (&'static str, Vec<&'static str>);

/// What all pipelines of one shader have in common, and those made so far, by their constants.
struct Shader {
    module: wgpu::ShaderModule,
    bindings: wgpu::BindGroupLayout,
    layout: wgpu::PipelineLayout,
    pipelines: HashMap<Vec<u32>, wgpu::ComputePipeline>,
}

/// All that a device has compiled.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<ShaderKey, Shader>>);

/// What is missing of one shader.
struct Task<'d> {
    key: ShaderKey,
    kernel: &'static Kernel,
    /// The shader, if there is one.
    known: Option<(wgpu::ShaderModule, wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    constants: Vec<&'d [u32]>,
}

impl Pipelines {
    /// The pipeline of a dispatch that was compiled.
    ///
    /// # Errors
    /// [`Error::Gpu`] where it was not.
    pub fn get(&self, dispatch: &Dispatch) -> Result<Pipeline> {
        let shaders = lock(&self.0);
        let shader = shaders.get(&key(dispatch));
        let found = shader.and_then(|shader| Some((shader.pipelines.get(&dispatch.constants)?, &shader.bindings)));
        match found {
            Some((pipeline, layout)) => Ok(Pipeline { pipeline: pipeline.clone(), layout: layout.clone() }),
            None => Err(Error::gpu(DOING, format!("{} was not asked for", dispatch.kernel.name))),
        }
    }

    /// Compiles what is missing for these dispatches; of what fails nothing is kept.
    ///
    /// # Errors
    /// What the driver says of a kernel.
    pub async fn compile(&self, device: &wgpu::Device, dispatches: impl Iterator<Item = &Dispatch>) -> Result<()> {
        let tasks = self.missing(dispatches);
        let made = side_by_side(&tasks, |task| scoped(device, DOING, || shader(device, task)));
        for (task, (shader, caught)) in tasks.into_iter().zip(made) {
            let caught: Caught = caught;
            caught.wait().await?;
            let mut shaders = lock(&self.0);
            match shaders.get_mut(&task.key) {
                Some(known) => known.pipelines.extend(shader.pipelines),
                None => drop(shaders.insert(task.key, shader)),
            }
        }
        Ok(())
    }

    /// What is missing, shader by shader, those first that take longest.
    fn missing<'d>(&self, dispatches: impl Iterator<Item = &'d Dispatch>) -> Vec<Task<'d>> {
        let shaders = lock(&self.0);
        let mut tasks: Vec<Task<'d>> = Vec::new();
        let mut places: HashMap<ShaderKey, usize> = HashMap::new();
        for dispatch in dispatches {
            let key = key(dispatch);
            let known = shaders.get(&key);
            if known.is_some_and(|shader| shader.pipelines.contains_key(&dispatch.constants)) {
                continue;
            }
            let place = *places.entry(key.clone()).or_insert_with(|| {
                let known = known.map(|s| (s.module.clone(), s.bindings.clone(), s.layout.clone()));
                tasks.push(Task { key, kernel: dispatch.kernel, known, constants: Vec::new() });
                tasks.len() - 1
            });
            if !tasks[place].constants.contains(&dispatch.constants.as_slice()) {
                tasks[place].constants.push(&dispatch.constants);
            }
        }
        let length = |task: &Task<'_>| task.kernel.source.iter().map(|piece| piece.len()).sum::<usize>();
        tasks.sort_by_key(|task| std::cmp::Reverse(length(task) * task.constants.len()));
        tasks
    }
}

fn key(dispatch: &Dispatch) -> ShaderKey {
    (dispatch.kernel.name, dispatch.f16_aliases.clone())
}

/// What work makes of each task, in their order: by as many threads as the machine has, or as it lets start.
#[cfg(not(target_arch = "wasm32"))]
fn side_by_side<T: Sync, R: Send>(tasks: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::with_capacity(tasks.len()));
    let take = || {
        while let Some((number, task)) = tasks.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let result = work(task);
            lock(&made).push((number, result));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let thread = std::thread::Builder::new().name("recurrent: compile".to_owned());
            if thread.spawn_scoped(scope, take).is_err() {
                break;
            }
        }
        take();
    });
    let mut made = made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, result)| result).collect()
}

/// What work makes of each task, one after another: a browser compiles on threads of its own.
#[cfg(target_arch = "wasm32")]
fn side_by_side<T, R>(tasks: &[T], work: impl Fn(&T) -> R) -> Vec<R> {
    tasks.iter().map(work).collect()
}

/// A shader without what wgpu adds to end loops that never would: a counter in every loop, which keeps a driver's
/// compiler from unrolling the innermost ones. On an NVIDIA H200 a recurrence takes 4 to 6 times as long with it.
#[expect(unsafe_code, reason = "wgpu has no safe way to say that all loops end")]
fn module(device: &wgpu::Device, name: &str, wgsl: String) -> wgpu::ShaderModule {
    let mut checks = wgpu::ShaderRuntimeChecks::checked();
    checks.force_loop_bounding = false;
    let source = wgpu::ShaderSource::Wgsl(wgsl.into());
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(name), source };
    // SAFETY: what is left to the caller is that no loop runs for ever, as a compiler may take for granted then. The
    // source is always one of `shaders/`, never a user's, and every loop there is counted: a `for` that an unsigned
    // counter takes to its bound, by a step that is above 0 (tests/plans/loops.rs). Every other check stays, those of
    // indices first, as ids come from outside.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

/// A shader with the pipelines that are missing.
fn shader(device: &wgpu::Device, task: &Task<'_>) -> Shader {
    let kernel = task.kernel;
    let (module, bindings, layout) = task.known.clone().unwrap_or_else(|| {
        let module = module(device, kernel.name, kernel.wgsl(&task.key.1));
        let bindings = bindings(device, kernel);
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name),
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        (module, bindings, layout)
    });
    let pipeline = |constants: &&[u32]| {
        let values = constants.iter().map(|c| f64::from(*c));
        let named: Vec<_> = kernel.constants.iter().copied().zip(values).collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(kernels::ENTRY),
            compilation_options: wgpu::PipelineCompilationOptions {
                // What a kernel reads of workgroup memory without having written it reaches no result.
                zero_initialize_workgroup_memory: false,
                constants: &named,
            },
            cache: None,
        });
        (constants.to_vec(), pipeline)
    };
    let pipelines = task.constants.iter().map(pipeline).collect();
    Shader { module, bindings, layout, pipelines }
}

fn bindings(device: &wgpu::Device, kernel: &Kernel) -> wgpu::BindGroupLayout {
    let uniform = wgpu::BufferBindingType::Uniform;
    let storage = kernel
        .bindings
        .iter()
        .map(|binding| (wgpu::BufferBindingType::Storage { read_only: binding.access == Access::Read }, false, None));
    let size = wgpu::BufferSize::new(kernel.params_size as u64);
    let entries: Vec<_> = std::iter::once((uniform, true, size))
        .chain(storage)
        .zip(0..)
        .map(|((ty, has_dynamic_offset, min_binding_size), binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(kernel.name), entries: &entries })
}
