//! Gradients for the caller: of every parameter by its name, and of what was read.
//!
//! The contract: they are those of the last step, before clipping but for what groups clip by themselves;
//! reading them waits for the device and changes nothing.

use super::Trainer;
use crate::device::DeviceSlice;
use crate::error::{Error, Result};
use crate::model::{Layout, State};
use crate::plan::UpdatedTable;
use crate::session::CachedPlan;

/// The gradient of every parameter, by its name: from [`Trainer::gradients_async`].
///
/// ```
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// let model = Model::new(Config::elman(InputKind::Tokens(3), 8, 3))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy))?;
/// trainer.step(&Batch::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 1], vec![1, 2]))?;
/// let gradients = trainer.gradients()?;
/// assert_eq!(gradients.get("weight_hh_l0").map(<[f32]>::len), Some(8 * 8));
/// for (name, gradient) in gradients.iter() {
///     println!("{name}: {} numbers", gradient.len());
/// }
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    layout: Layout,
    values: Vec<f32>,
}

impl Gradients {
    /// Returns that of a parameter, in the parameter's shape, or `None` where the model has none of that name.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.layout.get(name).map(|parameter| &self.values[parameter.range()])
    }

    /// Returns all of them with the names of their parameters, in the layout's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f32])> {
        let parameters = self.layout.parameters().iter();
        parameters.map(|parameter| (parameter.name.as_str(), &self.values[parameter.range()]))
    }

    /// Returns where each lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// The gradient of what the last window read: from [`Trainer::input_gradients_async`].
///
/// ```
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Targets, Trainer};
/// let model = Model::new(Config::gru(InputKind::Dense(2), 4, 1))?;
/// let recipe = Recipe::new(Loss::MeanSquared).with_input_gradients();
/// let mut trainer = Trainer::new(&Device::cpu(), &model, recipe)?;
/// let shape = BatchShape { steps: 3, batch_size: 1 };
/// trainer.step(&Batch::dense(shape, vec![0.1; 6], Targets::Values(vec![0.5; 3])))?;
/// let read = trainer.input_gradients()?;
/// assert_eq!(read.inputs.map(|inputs| inputs.len()), Some(6));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InputGradients {
    /// `[T, B, I]`, zeros behind the end of a sequence; `None` of a network that reads tokens.
    pub inputs: Option<Vec<f32>>,
    /// That of the state before the first step, in its shape.
    pub state: State,
}

impl Trainer {
    /// Returns the gradient of the last step's loss, before clipping; zero of what is frozen. That of a
    /// [group](crate::Group::with_clip) that is clipped by itself is as it was clipped.
    ///
    /// # Errors
    /// [`Error::Data`] before the first step, [`Error::DeviceLost`].
    pub async fn gradients_async(&mut self) -> Result<Gradients> {
        let Some(last) = self.last.clone() else { return Err(no_step()) };
        let values = self.flat_gradients(&last).await?;
        Ok(Gradients { layout: self.layout.clone(), values })
    }

    /// Leaves the gradient of the last step's loss in numbers on the device, that of [`Trainer::gradients_async`]:
    /// [`Layout::buffer_len`] numbers, each parameter in its [range](crate::model::Parameter::range), and what is
    /// between them 0. It does not wait.
    ///
    /// # Errors
    /// [`Error::Data`] before the first step, for a buffer that cannot be written to and for a network on the CPU,
    /// [`Error::Config`] where tables are updated by the rows that occur, [`Error::Shape`] for another number of
    /// numbers, [`Error::DeviceLost`].
    pub fn gradients_into(&mut self, gradients: &DeviceSlice) -> Result<()> {
        let Some(last) = self.last.clone() else { return Err(no_step()) };
        if self.recipe.is_lazy() {
            return Err(Error::Config(
                "the gradients of tables are those of the rows that occur (EmbeddingUpdate::Lazy), which only \
                 Trainer::gradients puts together; expected EmbeddingUpdate::Exact"
                    .to_owned(),
            ));
        }
        let Some(training) = last.tensors.training else { unreachable!("a window that trained") };
        let len = self.layout.buffer_len();
        gradients.check_writable("gradients", len)?;
        self.session.executor.read_slice(last.id, training.gradients, 0..len, gradients)
    }

    /// Returns the gradient of the loss of the last window, of a step of several by its own part of it, in what it
    /// read, of a recipe that asks for it ([`Recipe::with_input_gradients`](crate::Recipe::with_input_gradients)).
    ///
    /// # Errors
    /// [`Error::Config`] for a recipe that does not, [`Error::Data`] before the first step, [`Error::DeviceLost`].
    pub async fn input_gradients_async(&mut self) -> Result<InputGradients> {
        if !self.recipe.input_gradients {
            return Err(Error::Config(
                "the recipe does not ask for the gradients of inputs; expected Recipe::with_input_gradients".to_owned(),
            ));
        }
        let Some(last) = self.last.clone() else { return Err(no_step()) };
        let Some(training) = last.tensors.training else { unreachable!("a window that trained") };
        let mut read = [None, None];
        for (values, tensor) in read.iter_mut().zip([training.read_gradients.inputs, training.read_gradients.state]) {
            if let Some(tensor) = tensor {
                *values = Some(self.session.executor.read(last.id, tensor).await?);
            }
        }
        let [inputs, state] = read;
        Ok(InputGradients { inputs, state: State::of(self.session.config(), last.batch, state.unwrap_or_default()) })
    }

    /// The gradient that the last window left, as the layout places it: zero in the rows of tables that no step reads.
    pub(super) async fn flat_gradients(&mut self, last: &CachedPlan) -> Result<Vec<f32>> {
        let Some(training) = last.tensors.training else { unreachable!("a window that trained") };
        let mut flat = self.session.executor.read(last.id, training.gradients).await?;
        let columns = last.tensors.columns.iter().map(|column| column.rows_by_token);
        for (at, tokens) in std::iter::once(training.rows_by_token).chain(columns).enumerate() {
            let Some(UpdatedTable { rows, gradients }) = tokens.and_then(|tokens| tokens.updated) else { continue };
            let values = self.session.executor.read(last.id, gradients).await?;
            flat.resize(self.layout.buffer_len(), 0.0);
            let ids = self.token_rows.updated.get(at).map_or(&[][..], Vec::as_slice);
            for (id, row) in ids.iter().zip(values.chunks_exact(rows.width)) {
                flat[rows.offset + *id as usize * rows.width..][..rows.width].copy_from_slice(row);
            }
        }
        Ok(flat)
    }
}

fn no_step() -> Error {
    Error::Data("there was no step yet, so there is no gradient".to_owned())
}
