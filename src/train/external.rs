//! Losses of the caller's own: he reads the outputs and gives their gradient.
//!
//! The contract: between the two nothing is computed again, so that there is one forward pass, with one drawing of its
//! dropout; a step with a gradient that a loss of the crate's would have had is that loss's step, bit for bit.

use std::sync::Arc;

use super::Trainer;
use super::feed::{check, dividing, form_of};
use crate::data::Batch;
use crate::device::DeviceSlice;
use crate::error::{Error, Result};
use crate::model::Rows;
use crate::plan::{METRICS_SLOTS, Part, Purpose, StepParams, View};
use crate::recipe::Loss;
use crate::session::{CachedPlan, Carried, check_start};

/// What a network that is trained made of a window: the outputs of [`Trainer::forward_async`].
///
/// ```
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Sequences, Targets, Trainer};
/// let model = Model::new(Config::gru(InputKind::Dense(1), 4, 2))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::External))?;
/// let sequences = Sequences::dense(BatchShape { steps: 3, batch_size: 1 }, vec![0.1, 0.2, 0.3]);
/// let outputs = trainer.forward(&Batch::new(sequences, Targets::None))?;
/// assert_eq!(outputs.outputs.len(), 3 * 2);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outputs {
    /// `[R, O]` of the network's own read-out, zeros behind the end of a sequence. Before any softmax.
    pub outputs: Vec<f32>,
    /// The same of each head, by name, in the network's order.
    pub heads: Vec<(String, Vec<f32>)>,
}

impl Outputs {
    /// Returns those of the head of that name.
    pub fn head(&self, name: &str) -> Option<&[f32]> {
        self.heads.iter().find(|(of_head, _)| of_head == name).map(|(_, outputs)| &outputs[..])
    }
}

/// What a caller's loss makes of [`Outputs`].
///
/// ```
/// use recurrent::train::OutputGradients;
/// // Half the square of two outputs, and of a head's one.
/// let (outputs, value) = ([0.5, -1.0], [2.0]);
/// let gradients = OutputGradients::new(0.625, outputs.to_vec()).with_head("value", 2.0, value.to_vec());
/// assert_eq!(gradients.loss, 0.625);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct OutputGradients {
    /// The loss, for the metrics.
    pub loss: f64,
    /// ∂loss/∂outputs, `[R, O]`; empty where the loss of the network's own read-out is not the caller's. What lies
    /// behind the end of a sequence is not looked at.
    pub outputs: Vec<f32>,
    /// The same gradient on the device, in the place of `outputs`.
    pub on_device: Option<DeviceSlice>,
    /// Name, loss and gradient of each head whose loss is the caller's. The recipe's weight of the head is put on both.
    pub heads: Vec<(String, f64, Vec<f32>)>,
}

impl OutputGradients {
    /// The loss of the network's own read-out, and its gradient.
    pub fn new(loss: f64, outputs: Vec<f32>) -> Self {
        OutputGradients { loss, outputs, on_device: None, heads: Vec::new() }
    }

    /// The loss of the network's own read-out, and its gradient on the device: nobody looks at it, and what lies behind
    /// the end of a sequence is finite.
    ///
    /// ```
    /// use recurrent::{Batch, OutputGradients, Trainer, device::DeviceSlice};
    /// /// One step by a loss that the application's own shader computes.
    /// fn step(
    ///     trainer: &mut Trainer,
    ///     batch: &Batch,
    ///     (outputs, gradient): (&DeviceSlice, DeviceSlice),
    ///     shade: fn(),
    /// ) -> recurrent::Result<()> {
    ///     trainer.forward_into(batch, outputs)?;
    ///     shade(); // submits what makes of one buffer the other
    ///     trainer.backward(OutputGradients::on_device(0.0, gradient))
    /// }
    /// # let _ = step;
    /// ```
    pub fn on_device(loss: f64, outputs: DeviceSlice) -> Self {
        OutputGradients { loss, on_device: Some(outputs), ..Self::default() }
    }

    /// The same, and those of a head.
    pub fn with_head(mut self, name: impl Into<String>, loss: f64, outputs: Vec<f32>) -> Self {
        self.heads.push((name.into(), loss, outputs));
        self
    }

    /// Those of a read-out, if they are there.
    fn of(&self, head: Option<&str>) -> Option<(f64, &[f32])> {
        match head {
            None => Some((self.loss, &self.outputs)),
            Some(name) => {
                let found = self.heads.iter().find(|(of_head, ..)| of_head == name);
                found.map(|(_, loss, outputs)| (*loss, &outputs[..]))
            }
        }
    }
}

impl From<(f64, Vec<f32>)> for OutputGradients {
    fn from((loss, outputs): (f64, Vec<f32>)) -> Self {
        OutputGradients::new(loss, outputs)
    }
}

/// How far a step is whose loss is the caller's.
#[derive(Debug, Default)]
pub(super) struct InParts {
    /// The window that was read and whose gradient is waited for.
    forward: Option<Forward>,
    /// How many windows of the step have their gradient.
    done: usize,
}

/// A window that was read.
#[derive(Clone, Debug)]
struct Forward {
    plan: Arc<CachedPlan>,
    lengths: Option<Vec<usize>>,
}

impl Forward {
    /// Whether row `r` of a read-out is no padding.
    fn is_valid(&self, rows: Rows, r: usize) -> bool {
        let (step, sequence) = (r / self.plan.batch, r % self.plan.batch);
        rows == Rows::Sequences || self.lengths.as_ref().is_none_or(|lengths| step < lengths[sequence])
    }
}

impl Trainer {
    /// Reads a window whose loss, or whose heads' losses, are the caller's ([`Loss::External`]), as a step of training
    /// does, with its dropout, and returns what the network made of it. It waits for the device.
    ///
    /// The state goes on with it. [`Trainer::backward_async`] or [`Trainer::accumulate_async`] follows; another forward
    /// pass, and a step of another kind, forget that one.
    ///
    /// # Errors
    /// [`Error::Config`] where no loss of the recipe is the caller's, else as [`Trainer::step_async`].
    pub async fn forward_async(&mut self, batch: &Batch) -> Result<Outputs> {
        let forward = self.go_forward(batch, None).await?;
        let outputs = self.outputs(batch, &forward).await?;
        self.in_parts.forward = Some(forward);
        Ok(outputs)
    }

    /// [`Trainer::forward_async`], which leaves the outputs of the network's own read-out in numbers on the device,
    /// `[R, O]`; what is behind the end of a sequence may be anything. It does not wait.
    ///
    /// # Errors
    /// Same as [`Trainer::forward_async`]; [`Error::Shape`] for another number of numbers, [`Error::Data`] for a buffer
    /// that cannot be written to or a network on the CPU.
    pub async fn forward_into_async(&mut self, batch: &Batch, outputs: &DeviceSlice) -> Result<()> {
        let forward = self.go_forward(batch, Some(outputs)).await?;
        let (id, tensor) = (forward.plan.id, forward.plan.tensors.outputs);
        self.session.executor.read_slice(id, tensor, 0..outputs.len(), outputs)?;
        self.in_parts.forward = Some(forward);
        Ok(())
    }

    /// The forward pass, whose outputs are to be left there, if that is said.
    async fn go_forward(&mut self, batch: &Batch, outputs: Option<&DeviceSlice>) -> Result<Forward> {
        if !self.recipe.is_external() {
            return Err(Error::Config(
                "no loss of the recipe is the caller's; expected Loss::External, or Trainer::step".to_owned(),
            ));
        }
        self.in_parts.forward = None;
        check(&mut self.session, batch, &self.recipe)?;
        if let Some(outputs) = outputs {
            let read_out = self.session.config().read_out();
            let len = read_out.rows.count(batch.sequences.shape()) * read_out.outputs;
            outputs.check_writable(&read_out.argument("outputs").to_string(), len)?;
            self.session.executor.check_room(outputs)?;
        }
        check_start(&batch.sequences.start, batch.sequences.batch_size, self.session.carried.batch_size())?;
        let form = form_of(batch, self.session.config());
        let prepared = self.session.prepared(&Purpose::Train(&self.recipe), form).await?;
        self.find_divisors(std::slice::from_ref(batch));
        if self.steps - self.read == METRICS_SLOTS as u64 {
            self.drain().await?;
        }
        if self.recipe.is_lazy() {
            self.token_rows.find_occurring(self.session.config(), std::slice::from_ref(batch));
        }
        let step_params = self.step_params(self.in_parts.done, false);
        self.load(self.in_parts.done, batch, &prepared, step_params)?;
        self.session.executor.run_part(prepared.id, Part::Forward)?;
        self.session.carried = Carried::Device(Arc::clone(&prepared));
        Ok(Forward { plan: prepared, lengths: batch.sequences.lengths.clone() })
    }

    /// Ends a step with the gradient of the outputs that [`Trainer::forward_async`] returned: from there to every
    /// parameter, and the update. It does not wait for the device.
    ///
    /// # Errors
    /// [`Error::Data`] without a forward pass before it, for a loss or a gradient that is not finite, and for a head
    /// that is not the network's, is missing or has a loss of the crate's; [`Error::Shape`] for a gradient of another
    /// length; [`Error::DeviceLost`]. The forward pass is then as it was: another gradient may follow.
    pub async fn backward_async(&mut self, gradients: impl Into<OutputGradients>) -> Result<()> {
        self.go_back(&gradients.into(), true)?;
        self.in_parts = InParts::default();
        self.steps += 1;
        Ok(())
    }

    /// Goes back as [`Trainer::backward_async`] does, and keeps the gradient for the windows of the step that follow;
    /// the gradients of all are added up. Their losses are, too.
    ///
    /// # Errors
    /// Same as [`Trainer::backward_async`]; [`Error::Config`] where tables are updated by the rows that occur: which
    /// these are has to be known before the first.
    pub async fn accumulate_async(&mut self, gradients: impl Into<OutputGradients>) -> Result<()> {
        if self.recipe.is_lazy() {
            return Err(Error::Config(
                "a step in parts whose losses are the caller's updates all rows of a table, but the recipe says \
                 EmbeddingUpdate::Lazy; expected EmbeddingUpdate::Exact"
                    .to_owned(),
            ));
        }
        self.go_back(&gradients.into(), false)?;
        self.in_parts.forward = None;
        self.in_parts.done += 1;
        Ok(())
    }

    /// One step of training with the caller's loss: reads a window, asks `loss` for the loss of the outputs and its
    /// gradient, and goes back.
    ///
    /// # Errors
    /// Same as [`Trainer::forward_async`] and [`Trainer::backward_async`].
    pub async fn step_with_async<G: Into<OutputGradients>>(
        &mut self,
        batch: &Batch,
        loss: impl FnOnce(&Outputs) -> G,
    ) -> Result<()> {
        let outputs = self.forward_async(batch).await?;
        self.backward_async(loss(&outputs)).await
    }

    fn go_back(&mut self, gradients: &OutputGradients, is_last: bool) -> Result<()> {
        let Some(forward) = self.in_parts.forward.clone() else {
            return Err(Error::Data(
                "there are gradients but no outputs; expected a forward pass before them".to_owned(),
            ));
        };
        self.check_gradients(gradients, &forward)?;
        if let Some(slice) = &gradients.on_device {
            self.session.executor.check_slice(slice)?;
        }
        let prepared = forward.plan;
        let step_params = self.step_params(self.in_parts.done, is_last);
        let (config, executor) = self.session.config_and_executor();
        let heads = prepared.tensors.heads.iter().filter_map(|head| head.loss);
        let losses = std::iter::once(prepared.loss()).chain(heads);
        for ((read_out, to), divisor) in config.read_outs().zip(losses).zip(&self.divisors) {
            if self.recipe.loss_of(read_out.name) == Some(&Loss::External) {
                let (Some((loss, values)), Some(settings)) = (gradients.of(read_out.name), to.settings) else {
                    continue;
                };
                match gradients.on_device.as_ref().filter(|_| read_out.name.is_none()) {
                    Some(slice) => executor.write_slice(prepared.id, to.targets, slice)?,
                    None => executor.write_f32(prepared.id, to.targets, values)?,
                }
                executor.write(prepared.id, settings, std::iter::once(loss))?;
            }
            let step_params = StepParams { divisor: dividing(*divisor).1, ..step_params };
            executor.write(prepared.id, to.step_params, step_params.elements().into_iter())?;
        }
        executor.run_part(prepared.id, Part::Rest)?;
        self.token_rows.end_step();
        self.last = Some(prepared);
        Ok(())
    }

    /// Checks a caller's losses and gradients of the outputs that a forward pass left.
    fn check_gradients(&self, gradients: &OutputGradients, forward: &Forward) -> Result<()> {
        let (prepared, config) = (&forward.plan, self.session.config());
        for (at, (name, ..)) in gradients.heads.iter().enumerate() {
            if !config.heads.iter().any(|head| head.name == *name) {
                let known: Vec<&str> = config.heads.iter().map(|head| head.name.as_str()).collect();
                return Err(Error::Data(format!(
                    "there is a gradient of head `{name}`, but the network's heads are {known:?}"
                )));
            }
            if gradients.heads[..at].iter().any(|(other, ..)| other == name) {
                return Err(Error::Data(format!("there are two gradients of head `{name}`, expected one")));
            }
        }
        let losses = std::iter::once(prepared.loss()).chain(prepared.tensors.heads.iter().filter_map(|head| head.loss));
        for (read_out, to) in config.read_outs().zip(losses) {
            let is_external = self.recipe.loss_of(read_out.name) == Some(&Loss::External);
            let argument = read_out.argument("gradient");
            match (gradients.of(read_out.name), is_external) {
                (None, false) => {}
                (Some((_, [])), false) if read_out.name.is_none() && gradients.on_device.is_none() => {}
                (Some(_), false) => {
                    return Err(Error::Data(format!(
                        "there is the {argument}, but the recipe has a loss of it; expected none, or Loss::External"
                    )));
                }
                (None, true) => return Err(Error::Data(format!("the {argument} is missing"))),
                (Some((loss, values)), true) => {
                    let plan = self.session.executor.plan(prepared.id);
                    let shape = &plan.get(to.targets).shape;
                    if !(loss as f32).is_finite() {
                        let of = read_out.argument("loss");
                        return Err(Error::Data(format!("{of} is {loss}, expected a finite number")));
                    }
                    if let Some(slice) = gradients.on_device.as_ref().filter(|_| read_out.name.is_none()) {
                        let argument = argument.to_string();
                        if !values.is_empty() {
                            return Err(Error::Data(format!("the {argument} is there twice, expected it once")));
                        }
                        if slice.len() != shape.iter().product::<usize>() {
                            return Err(Error::shape(&argument, shape, &[slice.len()]));
                        }
                        slice.check_readable(&argument)?;
                        continue;
                    }
                    if values.len() != shape.iter().product::<usize>() {
                        return Err(Error::shape(&argument.to_string(), shape, &[values.len()]));
                    }
                    let valid = |at: usize| forward.is_valid(read_out.rows, at / read_out.outputs);
                    let wrong = values.iter().enumerate().find(|(at, value)| !value.is_finite() && valid(*at));
                    if let Some((at, value)) = wrong {
                        return Err(Error::Data(format!("{argument}[{at}] is {value}, expected a finite number")));
                    }
                }
            }
        }
        Ok(())
    }

    /// What the forward pass left, with zeros behind the end of a sequence.
    async fn outputs(&mut self, batch: &Batch, forward: &Forward) -> Result<Outputs> {
        let prepared = &forward.plan;
        let all = self.session.executor.read(prepared.id, prepared.tensors.outputs).await?;
        let config = self.session.config();
        let mut heads = prepared.tensors.heads.iter().map(|head| head.outputs);
        let mut rest = Vec::new();
        for read_out in config.read_outs() {
            let rows = read_out.rows.count(batch.sequences.shape());
            let own = View::new(prepared.tensors.outputs, 0, rows, read_out.outputs);
            let view = if read_out.name.is_none() { own } else { heads.next().unwrap_or(own) };
            let mut values = all[view.range()].to_vec();
            for (r, row) in values.chunks_exact_mut(read_out.outputs).enumerate() {
                if !forward.is_valid(read_out.rows, r) {
                    row.fill(0.0);
                }
            }
            rest.push((read_out.name.unwrap_or_default().to_owned(), values));
        }
        let (_, outputs) = rest.remove(0);
        Ok(Outputs { outputs, heads: rest })
    }
}
