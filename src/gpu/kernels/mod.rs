//! The kernels: what Rust must know of each shader in `shaders/`, and the lowering of a plan to a list of commands.
//!
//! The contract: a kernel is data and lowering is data, without a wgpu type; `tests/plans/border.rs` holds every kernel
//! against its WGSL, and every lowered plan against the plan's own count of dispatches.

mod activation;
mod ctc;
mod drivers;
mod dropout;
mod gather;
mod gradient_norms;
mod group;
mod join;
mod launch;
mod loss;
mod mark;
mod matmul;
mod normalize;
mod optimizer;
mod pool;
mod recurrence;
mod resets;
mod state;
mod sum;
mod transpose;
mod update;

pub(super) use mark::mark;

use std::sync::LazyLock;

use crate::error::{Error, Result};
pub use crate::plan::Access;
use crate::plan::{Cut, Op, Plan, Record, TensorId, View};

/// The most bytes that a dispatch's parameters have: one step of the alignment of a uniform's dynamic offset.
pub const MAX_PARAMS_BYTES: usize = 256;

/// The most workgroups along one dimension of a grid, by WebGPU's default limits.
pub const MAX_GRID: u32 = 65_535;

/// A shader and all that a pipeline, a bind group and a dispatch of it need.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// The name: its shader's, for a recurrence followed by the cell's.
    pub name: &'static str,
    /// The WGSL, in pieces to be put together, but for the aliases: [`Kernel::wgsl`] has all of it.
    pub source: &'static [&'static str],
    /// The storage buffers, those of bindings 1, 2, … of group 0. Binding 0 is the uniform of the parameters.
    pub bindings: &'static [Binding],
    /// Threads of a workgroup, where no constant says otherwise.
    pub workgroup: [u32; 3],
    /// The constants that each dispatch sets: `override`s of the shader.
    pub constants: &'static [&'static str],
    /// The fields of the parameters.
    pub params: &'static [Field],
    /// Bytes of the parameters.
    pub params_size: usize,
    /// Whether its workgroup is one subgroup, of [`Tile::LANES`](crate::plan::Tile::LANES) lanes.
    pub lanes: bool,
}

/// The entry point of every shader.
pub const ENTRY: &str = "main";

/// What [`launch::params`] says of a struct of parameters.
trait Parameters {
    const FIELDS: &'static [Field];
    const SIZE: usize;
}

impl Kernel {
    /// A kernel with the parameters `P`, of 256 threads and without constants.
    const fn new<P: Parameters>(
        name: &'static str,
        source: &'static [&'static str],
        bindings: &'static [Binding],
    ) -> Self {
        Kernel {
            name,
            source,
            bindings,
            workgroup: [256, 1, 1],
            constants: &[],
            params: P::FIELDS,
            params_size: P::SIZE,
            lanes: false,
        }
    }

    /// The same of lanes.
    const fn lanes(self) -> Self {
        Kernel { lanes: true, ..self }
    }

    /// The same with other threads.
    const fn workgroup(self, workgroup: [u32; 3]) -> Self {
        Kernel { workgroup, ..self }
    }

    /// The same with constants that each dispatch sets.
    const fn constants(self, constants: &'static [&'static str]) -> Self {
        Kernel { constants, ..self }
    }

    /// What the shader calls the elements of those buffers that may be f16, each once, in the order of the
    /// bindings.
    pub fn aliases(&self) -> Vec<&'static str> {
        let mut aliases = Vec::new();
        for alias in self.bindings.iter().filter_map(|binding| binding.alias) {
            if !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        aliases
    }

    /// The WGSL, with these of its aliases being f16 and the others f32.
    pub fn wgsl(&self, f16_aliases: &[&str]) -> String {
        let enable = if f16_aliases.is_empty() { "" } else { "enable f16;\n" };
        let aliases = self.aliases().into_iter().map(|alias| {
            let element = if f16_aliases.contains(&alias) { "f16" } else { "f32" };
            format!("alias {alias} = {element};\n")
        });
        let aliases: String = aliases.collect();
        [enable, &aliases, &self.source.concat()].concat()
    }
}

/// A storage buffer of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its name in the shader.
    pub name: &'static str,
    /// What the shader may do with it: [`Access::Read`] or [`Access::ReadWrite`].
    pub access: Access,
    /// What the shader calls its elements, where they may be f32 or f16: a line before the shader says which.
    pub alias: Option<&'static str>,
    /// The record that it holds, or an array of.
    pub record: Option<Record>,
}

/// A field of a kernel's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, the same in Rust and in WGSL.
    pub name: &'static str,
    /// Where it starts, in bytes.
    pub offset: usize,
    /// `u32` or `f32`.
    pub ty: &'static str,
}

/// One dispatch of a kernel.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The values of the kernel's constants; with others it is another pipeline.
    pub constants: Vec<u32>,
    /// Those of the kernel's aliases that are f16; with others it is another pipeline.
    pub f16_aliases: Vec<&'static str>,
    /// The tensors, whole, in the order of the kernel's bindings.
    pub tensors: Vec<TensorId>,
    /// The bytes of the parameters, at most [`MAX_PARAMS_BYTES`].
    pub params: Vec<u8>,
    /// How many workgroups there are; the grid may have more.
    pub workgroups: u64,
    /// Workgroups, at most [`MAX_GRID`] along each dimension.
    pub grid: [u32; 3],
}

impl Dispatch {
    /// Bytes of memory that a workgroup shares, where a tile decides; any other kernel keeps to WebGPU's default
    /// limits.
    pub fn workgroup_bytes(&self) -> u64 {
        self.constant(drivers::FLOATS).map_or(0, |floats| 4 * u64::from(floats))
    }

    /// Checks that workgroups of a device may share so many bytes and have so many threads. wgpu lets one of too much
    /// memory through to the driver, which refuses it, or does not and computes anything.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check_workgroup(&self, bytes: u32, threads: u32) -> Result<()> {
        let asked = [self.workgroup_bytes(), self.constant(drivers::THREADS).map_or(0, u64::from)];
        let limits = [
            ("bytes", "the adapter's max_compute_workgroup_storage_size", bytes),
            ("threads", "the adapter's max_compute_invocations_per_workgroup", threads),
        ];
        for (asked, (unit, limit, allowed)) in asked.into_iter().zip(limits) {
            if asked > u64::from(allowed) {
                let what = format!("a workgroup of {} ({unit})", self.kernel.name);
                return Err(Error::Limit { what, limit, asked, allowed: allowed.into() });
            }
        }
        Ok(())
    }

    /// The value of one of the kernel's constants.
    fn constant(&self, name: &str) -> Option<u32> {
        let mut named = self.kernel.constants.iter().zip(&self.constants);
        named.find_map(|(constant, value)| (*constant == name).then_some(*value))
    }
}

/// What an executor does, in order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Runs a kernel.
    Dispatch(Dispatch),
    /// Copies between two tensors.
    Copy {
        /// Read.
        from: View,
        /// Written.
        to: View,
    },
    /// Sets a whole tensor to zero.
    Zero {
        /// Written.
        tensor: TensorId,
    },
}

/// Every kernel, those of the recurrence once for every cell.
pub fn all() -> &'static [&'static Kernel] {
    static ALL: LazyLock<Vec<&Kernel>> = LazyLock::new(|| {
        let mut all = vec![
            &matmul::MATMUL,
            &matmul::MATMUL_LANES,
            &transpose::TRANSPOSE,
            &gather::GATHER,
            &gather::GATHER_GRADIENT,
            &dropout::DROPOUT,
            &state::COPY,
            &state::REMAINING_LENGTHS,
            &state::ACCUMULATE,
            &dropout::MASK_SLICES,
            &join::JOIN,
            &join::JOIN_GRADIENT,
            &state::INITIAL_STATE,
            &state::INITIAL_STATE_GRADIENT,
            &resets::START_STATE,
            &resets::STATES_BEFORE,
            &gradient_norms::GRADIENT_NORMS,
            &pool::POOL,
            &pool::POOL_GRADIENT,
            &sum::SUM,
            &mark::MARK,
            &normalize::NORMALIZE,
            &normalize::NORMALIZE_GRADIENT,
            &normalize::NORMALIZE_WEIGHT_GRADIENT,
            &activation::ACTIVATE,
            &activation::ACTIVATE_GRADIENT,
            &ctc::LOG_SUMS,
            &ctc::CTC_STATES,
            &ctc::CTC_GRADIENT,
            &update::REDUCE_GRADIENTS,
            &update::REDUCE_GRADIENTS_SEGMENT,
            &group::GROUP_NORM,
            &group::SCALE_GROUP,
            &update::STEP_METRICS,
            &update::UPDATE_LOSS_SCALE,
            &update::AVERAGE_PARAMETERS,
        ];
        all.extend(optimizer::KERNELS);
        all.extend(loss::kernels());
        all.extend(drivers::kernels());
        all
    });
    &ALL
}

/// The commands that run a plan, each operation's in turn.
///
/// # Errors
/// [`Error::Limit`] for a size that 32-bit numbers or a grid cannot hold;
/// [`Error::Shape`] or [`Error::Config`] for an operation whose tensors do
/// not fit together, which none that [`Plan::new`] makes is.
pub fn lower(plan: &Plan) -> Result<Vec<Command>> {
    let mut commands = Vec::new();
    for stage in plan.stages() {
        launch::all_known(plan, &stage.op)?;
        let cut = stage.op.cut(plan);
        for command in operation(plan, &stage.op, cut)? {
            match command {
                Command::Dispatch(dispatch) if cut.shares > 1 => {
                    commands.extend(dispatch.shared(cut.shares)?.into_iter().map(Command::Dispatch));
                }
                command => commands.push(command),
            }
        }
    }
    Ok(commands)
}

/// The commands of one operation, each with all of its workgroups.
fn operation(plan: &Plan, op: &Op, cut: Cut) -> Result<Vec<Command>> {
    let one = |command: Command| vec![command];
    match op {
        Op::Copy(op) => state::copy(plan, op).map(one),
        Op::Zero(op) => Ok(one(Command::Zero { tensor: op.tensor })),
        Op::Accumulate(op) => state::accumulate(plan, op).map(one),
        Op::MaskSlices(op) => dropout::mask_slices(plan, op).map(one),
        Op::Join(op) => join::join(plan, op).map(one),
        Op::JoinGradient(op) => join::join_gradient(plan, op).map(one),
        Op::InitialState(op) => state::initial_state(plan, op).map(one),
        Op::RemainingLengths(op) => state::remaining_lengths(plan, op).map(one),
        Op::Dropout(op) => dropout::dropout(plan, op).map(one),
        Op::Gather(op) => gather::gather(plan, op).map(one),
        Op::Activate(op) => activation::activate(plan, op).map(one),
        Op::ActivateGradient(op) => activation::activate_gradient(plan, op).map(one),
        Op::Normalize(op) => normalize::normalize(plan, op).map(one),
        Op::NormalizeGradient(op) => normalize::normalize_gradient(plan, op).map(one),
        Op::NormalizeWeightGradient(op) => normalize::normalize_weight_gradient(plan, op, cut),
        Op::Transpose(op) => transpose::transpose(plan, op).map(one),
        Op::MatMul(op) => matmul::matmul(plan, op, cut),
        Op::Forward(op) => recurrence::forward(plan, op, cut),
        Op::Backward(op) => recurrence::backward(plan, op, cut),
        Op::GradientNorms(op) => gradient_norms::gradient_norms(plan, op, cut),
        Op::Pool(op) => pool::pool(plan, op, cut),
        Op::PoolGradient(op) => pool::pool_gradient(plan, op).map(one),
        Op::InitialStateGradient(op) => state::initial_state_gradient(plan, op, cut),
        Op::StartState(op) => resets::start_state(plan, op).map(one),
        Op::StatesBefore(op) => resets::states_before(plan, op).map(one),
        Op::LossGradient(op) => loss::loss(plan, op).map(one),
        Op::LogSums(op) => ctc::log_sums(plan, op).map(one),
        Op::CtcStates(op) => ctc::ctc_states(plan, op, cut),
        Op::CtcGradient(op) => ctc::ctc_gradient(plan, op).map(one),
        Op::WeightGradient(op) => matmul::weight_gradient(plan, op, cut),
        Op::GatherGradient(op) => gather::gather_gradient(plan, op, cut),
        Op::Sum(op) => sum::sum(plan, op).map(one),
        Op::ReduceGradients(op) => update::reduce_gradients(plan, op).map(one),
        Op::GroupNorm(op) => group::group_norm(plan, op).map(one),
        Op::ScaleGroup(op) => group::scale_group(plan, op).map(one),
        Op::StepMetrics(op) => update::step_metrics(plan, op).map(one),
        Op::Update(op) => optimizer::update(plan, op).map(one),
        Op::AverageParameters(op) => update::average_parameters(plan, op).map(one),
        Op::UpdateLossScale(op) => update::update_loss_scale(plan, op).map(one),
    }
}
