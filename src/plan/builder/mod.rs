//! From a configuration to a plan: the forward pass, the loss, back-propagation through time, clipping and the update.
//!
//! The contract: what a purpose does not need has no tensor. Training keeps all T steps of every layer, or with
//! checkpoints those of one segment; inference and evaluation of a causal network keep a bounded number of steps,
//! however many there are.

mod backward;
mod columns;
mod ctc;
mod dense;
mod dropout;
mod embedding;
mod forward;
mod inputs;
mod join;
mod layer;
mod loss;
mod norm;
mod pool;
mod read_out;
mod recurrent;
mod resets;
mod residual;
mod tables;
mod tensors;

use super::{
    CopyView, DType, DropoutDraw, Lifetime, LossScale, MatMul, Op, Phase, Plan, ProductTile, Purpose, Target, TensorId,
    View, WindowForm, flags_len,
};
use crate::error::Result;
use crate::model::{Config, Layer, Layout, StateShape};
use crate::recipe::{Dropout, Precision, Recipe};
use columns::ColumnPlan;
use embedding::InputRows;
use layer::{Done, OpenLayer, Site};
use loss::metrics_shape;
use pool::PoolLayer;
pub(crate) use tensors::SharedTensors;
pub use tensors::{
    ColumnTensors, HeadTensors, LossTensors, PlanTensors, ReadGradients, TokenTensors, TrainingTensors, UpdatedTable,
};

/// The sizes of a window, named once.
struct Builder<'a> {
    plan: Plan,
    config: &'a Config,
    layout: &'a Layout,
    target: &'a Target,
    /// How many layers are run: all, unless one below is observed.
    depth: usize,
    steps: usize,
    batch: usize,
    /// How many steps are kept for the backward pass at a time; T, unless this is a training with checkpoints.
    segment: usize,
    /// T·B.
    rows: usize,
    /// Whether the numbers that a position is compared with are weighed each by itself.
    elementwise: bool,
    /// Whether sequences may begin anew within the window.
    resets: bool,
    /// L: for how many labels of a sequence there is room.
    labels: usize,
    /// Which states the network has.
    state_shape: StateShape,
    is_training: bool,
    /// `[B]`, or with resets `[T+2, B]`: how many steps of each sequence are valid, and which begin anew at each.
    lengths: TensorId,
    /// θ, as the optimiser keeps them.
    parameters: TensorId,
    /// θ, as all products read them.
    rounded: TensorId,
    /// What the elements of large tensors are.
    storage_dtype: DType,
    /// `[3]`: how the gradient is scaled, of a training in half precision.
    loss_scale: Option<TensorId>,
    /// Disabled unless this is a training.
    dropout: Dropout,
    keys: Option<TensorId>,
    /// `[ΣD, T]`, of a training that traces its gradient.
    trace: Option<TensorId>,
    /// Of a training that goes back to what it reads.
    read_gradients: ReadGradients,
    /// `[1]`: whether sequences start from the learned initial state.
    fresh: Option<TensorId>,
    /// Of a training that reads tokens.
    rows_by_token: Option<TokenTensors>,
    /// The most rows of a table that a step reads, where it updates no others.
    updated_rows: Option<usize>,
    columns: Vec<ColumnPlan<'a>>,
    /// What operations are pushed to.
    phase: Phase,
}

pub(super) fn build(
    config: &Config,
    layout: &Layout,
    purpose: Purpose<'_>,
    form: WindowForm,
    target: &Target,
) -> Result<(Plan, PlanTensors)> {
    let WindowForm { steps, batch, elementwise, resets, labels } = form;
    let mut plan = Plan::empty().within(target.bounds);
    let storage_dtype = storage_dtype(target);
    let (training, rows) = match purpose {
        Purpose::Train(recipe) => (Some(recipe), steps.saturating_mul(batch)),
        Purpose::TrainPart(recipe, rows) => (Some(recipe), rows),
        Purpose::Infer | Purpose::Observe(_) | Purpose::Evaluate(_) => (None, 0),
    };
    // Of few different sizes, as all windows of a training share the gradients.
    let updated_rows =
        training.filter(|recipe| recipe.is_lazy()).map(|_| rows.checked_next_power_of_two().unwrap_or(rows));
    // Inference has them in one precision; else they are rounded once a run.
    let dtype = if matches!(purpose, Purpose::Infer | Purpose::Observe(_)) { storage_dtype } else { DType::F32 };
    let parameters = plan.tensor(parameters_of(dtype), &[layout.buffer_len()], dtype, Lifetime::Shared)?;
    let rounded = if dtype == storage_dtype {
        parameters
    } else {
        let rounded = plan.tensor("rounded_parameters", &[layout.buffer_len()], storage_dtype, Lifetime::Shared)?;
        // Tables of which few rows are read are rounded as they are read.
        let len = if updated_rows.is_some() { layout.dense_len() } else { layout.buffer_len() };
        let [from, to] = [parameters, rounded].map(|tensor| View::new(tensor, 0, 1, len));
        plan.push(Phase::Forward, Op::Copy(CopyView { from, to }));
        rounded
    };
    let is_training = training.is_some();
    let loss_scale = if is_training && storage_dtype == DType::F16 {
        Some(plan.tensor("loss_scale", &[LossScale::LEN], DType::F32, Lifetime::Shared)?)
    } else {
        None
    };
    let (dropout, segment) = training
        .map_or((Dropout::NONE, steps), |recipe| (recipe.dropout, recipe.gradient_checkpointing.segment(steps)));
    let depth = if let Purpose::Observe(layer) = purpose { layer + 1 } else { config.layers.len() };
    let mut builder = Builder {
        plan,
        config,
        layout,
        target,
        depth,
        steps,
        batch,
        segment,
        rows: steps.saturating_mul(batch),
        elementwise,
        resets,
        labels,
        state_shape: StateShape::new(config),
        is_training,
        lengths: parameters,
        parameters,
        rounded,
        storage_dtype,
        loss_scale,
        dropout,
        keys: None,
        trace: None,
        read_gradients: ReadGradients::default(),
        fresh: None,
        rows_by_token: None,
        updated_rows,
        columns: Vec::new(),
        phase: Phase::Forward,
    };
    let outputs = builder.build(purpose)?;
    if !target.parallel {
        builder.plan.keep_all();
    }
    builder.plan.check_limits(target)?;
    Ok((builder.plan, outputs))
}

impl<'a> Builder<'a> {
    fn layout(&self) -> &'a Layout {
        self.layout
    }

    fn build(&mut self, purpose: Purpose<'_>) -> Result<PlanTensors> {
        let forward = self.forward(purpose)?;
        let heads = forward.shared.heads.iter().map(|head| HeadTensors { outputs: head.outputs, loss: None });
        let mut all = PlanTensors {
            parameters: self.parameters,
            inputs: forward.inputs,
            columns: Vec::new(),
            lengths: forward.lengths,
            fresh: self.fresh,
            outputs: forward.outputs.tensor,
            heads: heads.collect(),
            state: forward.state,
            loss: None,
            training: None,
        };
        match purpose {
            Purpose::Infer | Purpose::Observe(_) => {}
            Purpose::Evaluate(recipe) => {
                let losses = self.losses(recipe, &forward, false)?;
                self.measure(&losses, None)?;
                all.take(&losses);
            }
            Purpose::Train(recipe) | Purpose::TrainPart(recipe, _) => {
                let losses = self.losses(recipe, &forward, true)?;
                all.training = Some(self.train(&forward, recipe, &losses)?);
                all.take(&losses);
            }
        }
        all.columns = self.columns.iter().map(|column| column.tensors).collect();
        Ok(all)
    }

    fn push(&mut self, mut op: Op) {
        match &mut op {
            Op::MatMul(op) if self.target.lanes && op.suits_lanes() => op.tile = ProductTile::Lanes,
            Op::WeightGradient(op) if self.target.lanes && op.suits_lanes(&self.plan) => op.tile = ProductTile::Lanes,
            _ => {}
        }
        self.plan.push(self.phase, op);
    }

    /// A product. One that is cut along its sum into several dispatches goes on where the one before ended, in 32 bits:
    /// what is kept in fewer is rounded after the last.
    fn product(&mut self, op: MatMul) -> Result<()> {
        let out = op.out;
        let is_half = self.plan.get(out.tensor).dtype == DType::F16;
        if !is_half || Op::MatMul(op.clone()).cut(&self.plan).parts == 1 {
            self.push(Op::MatMul(op));
            return Ok(());
        }
        let sums = self.scratch(&format!("sums_{}_{}", out.rows, out.cols), &[out.rows, out.cols], DType::F32)?;
        let sums = View::new(sums, 0, out.rows, out.cols);
        self.push(Op::MatMul(MatMul { out: sums, ..op }));
        self.push(Op::Copy(CopyView { from: sums, to: out }));
        Ok(())
    }

    fn real(&mut self, name: &str, shape: &[usize], lifetime: Lifetime) -> Result<TensorId> {
        self.plan.tensor(name, shape, DType::F32, lifetime)
    }

    fn id(&mut self, name: &str, shape: &[usize]) -> Result<TensorId> {
        self.plan.tensor(name, shape, DType::U32, Lifetime::Input)
    }

    /// Where a state of a layer of the network starts in the state of all sequences.
    fn state_offset(&self, layer: usize, kind: usize) -> usize {
        let part = self.state_shape.find(layer, kind);
        debug_assert!(part.is_some(), "no state {kind} of layer {layer}");
        part.map_or(0, |part| part.before * self.batch)
    }

    /// ΣD of the recurrent layers below one.
    fn directions_below(&self, layer: usize) -> usize {
        let parts = self.state_shape.parts().iter();
        parts.filter(|part| part.kind == 0 && part.layer < layer).map(|part| part.directions).sum()
    }

    /// A tensor that something before may have made already; where that has another shape, one of its own.
    fn scratch(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<TensorId> {
        match self.plan.find(name) {
            None => self.plan.tensor(name, shape, dtype, Lifetime::Transient),
            Some(known) if self.plan.get(known).shape == shape => Ok(known),
            Some(_) => {
                let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
                self.scratch(&format!("{name}_{}", sizes.join("x")), shape, dtype)
            }
        }
    }

    /// How dropout draws at a place, if it does there.
    fn draw(&self, site: Site) -> Option<DropoutDraw> {
        let Dropout { inputs, outputs, hidden, weights, .. } = self.dropout;
        let recurrent = |layer: usize| self.config.layers[..layer].iter().filter(|l| l.is_recurrent()).count();
        let dropout = |layer: usize| self.config.layers[..layer].iter().filter(|l| l.is_dropout()).count();
        let (site, rate) = match site {
            Site::Inputs => (0, inputs),
            Site::Column(at) => {
                let layers = self.config.layers.len();
                (1 + 2 * recurrent(layers) + dropout(layers) + at, inputs)
            }
            Site::Outputs(layer) => (1 + 2 * recurrent(layer), outputs),
            // Whatever its rate, it is a copy of what it reads.
            Site::Layer(layer, rate) => {
                let site = 1 + 2 * recurrent(self.config.layers.len()) + dropout(layer);
                return self.keys.map(|keys| DropoutDraw { keys, site, rate });
            }
            Site::Hidden(layer) => (2 + 2 * recurrent(layer), hidden),
            // Behind all others, which keep their keys.
            Site::Weights(layer) => {
                let all = self.config.layers.len();
                let before = 1 + 2 * recurrent(all) + dropout(all) + self.config.columns.len();
                (before + recurrent(layer), weights)
            }
            // Behind all others, weights dropped or not.
            Site::Zoneout(layer, kind) => {
                let all = self.config.layers.len();
                let before = 1 + 3 * recurrent(all) + dropout(all) + self.config.columns.len();
                let rate = match &self.config.layers[layer] {
                    Layer::Recurrent(spec) => spec.zoneout.rates()[kind],
                    _ => 0.0,
                };
                (before + 2 * recurrent(layer) + kind, rate)
            }
        };
        self.keys.filter(|_| rate > 0.0).map(|keys| DropoutDraw { keys, site, rate })
    }

    /// Where a parameter starts in the flat buffers, if the network has it.
    fn offset(&self, name: &str) -> Option<usize> {
        self.layout.get(name).map(|p| p.offset)
    }

    /// A parameter as a matrix, a bias as one row; of a layer's, both directions' as one matrix.
    fn parameter(&self, name: &str) -> Option<View> {
        let parameter = self.layout.get(name)?;
        let ways = if self.layout.get(&format!("{name}_reverse")).is_some() { 2 } else { 1 };
        Some(match *parameter.shape.as_slice() {
            [rows, cols] => View::new(self.rounded, parameter.offset, ways * rows, cols),
            _ => View::new(self.rounded, parameter.offset, 1, ways * parameter.len()),
        })
    }

    /// A weight, which every network of its layout has.
    fn weight(&self, name: &str) -> View {
        let weight = self.parameter(name);
        debug_assert!(weight.is_some(), "no parameter {name}");
        weight.unwrap_or_else(|| View::new(self.rounded, 0, 0, 0))
    }
}

/// What the elements of large tensors are.
fn storage_dtype(target: &Target) -> DType {
    match target.precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
    }
}

/// The name of all parameters: those that an inference reads in half precision are not those that a training keeps.
fn parameters_of(dtype: DType) -> &'static str {
    if dtype == DType::F16 { "inference_parameters" } else { "parameters" }
}

/// The tensors that all plans of a training share, or those of an inference where there is no recipe, and no
/// operations: for an executor to hold them before any window.
pub(super) fn shared(
    config: &Config,
    layout: &Layout,
    recipe: Option<&Recipe>,
    target: &Target,
) -> Result<(Plan, SharedTensors)> {
    let mut plan = Plan::empty().within(target.bounds);
    let mut shared = |name: &str, shape: &[usize], dtype| plan.tensor(name, shape, dtype, Lifetime::Shared);
    let dtype = if recipe.is_some() { DType::F32 } else { storage_dtype(target) };
    let parameters = shared(parameters_of(dtype), &[layout.buffer_len()], dtype)?;
    let mut all = SharedTensors {
        parameters,
        moments: [None; 2],
        average: None,
        metrics: None,
        parameter_flags: None,
        loss_scale: None,
    };
    if let Some(recipe) = recipe {
        for ((slot, name), count) in all.moments.iter_mut().zip(MOMENTS).zip(recipe.optimizer.record().moments) {
            *slot = Some(shared(name, &[count * layout.buffer_len()], DType::F32)?);
        }
        if recipe.average.is_some() {
            all.average = Some(shared(AVERAGE, &[layout.buffer_len()], DType::F32)?);
        }
        all.metrics = Some(shared("metrics", &metrics_shape(config), DType::F32)?);
        all.parameter_flags = Some(shared("parameter_flags", &[flags_len(recipe, layout)], DType::U32)?);
        if storage_dtype(target) == DType::F16 {
            all.loss_scale = Some(shared("loss_scale", &[LossScale::LEN], DType::F32)?);
        }
    }
    plan.check_limits(target)?;
    Ok((plan, all))
}

/// The optimiser's moments, by name.
const MOMENTS: [&str; 2] = ["first_moment", "second_moment"];
/// The mean of the parameters, by name.
const AVERAGE: &str = "averaged_parameters";

/// What the forward pass leaves for the passes after it.
struct ForwardTensors {
    inputs: TensorId,
    lengths: TensorId,
    state: TensorId,
    outputs: View,
    shared: SharedByChunks,
    pool: Option<PoolLayer>,
    /// What the segments start from that are gone over again, where there are any: of all but the last the whole state.
    states: Option<TensorId>,
    /// Of the last chunk.
    layers: Vec<Done>,
    base: Option<Done>,
    /// Those above the pool.
    tail: Vec<Done>,
}

/// A head of a window.
struct HeadPlan {
    name: String,
    /// What its parameters' names begin with.
    prefix: String,
    /// Which layer it reads.
    layer: usize,
    /// `[R, O]`.
    outputs: View,
}

/// What all chunks of a window share.
struct SharedByChunks {
    /// Those that read steps.
    layers: Vec<Box<dyn OpenLayer>>,
    inputs: TensorId,
    /// What the first layer reads where columns stand beside numbers.
    base: Option<InputRows>,
    /// `[T·B, I]`: what the first layer reads, unless that is tokens.
    dense: Option<View>,
    lengths: TensorId,
    /// `[B]`: lengths from a later chunk on.
    left: Option<TensorId>,
    heads: Vec<HeadPlan>,
}
