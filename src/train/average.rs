//! The mean of the parameters over the steps: as a model, evaluated, and kept in checkpoints.
//!
//! The contract: neither reading nor evaluating it touches what is trained.

use std::borrow::Borrow;

use super::Trainer;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::{Optimizer, Recipe};

impl Trainer {
    /// The model of the mean of the parameters, which
    /// [`Recipe::with_averaged_weights`](crate::Recipe::with_averaged_weights) asks for; before the first step that
    /// counts, the model as it is now.
    ///
    /// # Errors
    /// [`Error::Config`] where the recipe asks for none, and as [`Trainer::model_async`].
    pub async fn averaged_model_async(&mut self) -> Result<Model> {
        let Some(average) = self.recipe.average else {
            return Err(Error::Config(
                "no mean of the parameters is kept, expected a recipe with Recipe::with_averaged_weights".to_owned(),
            ));
        };
        match self.session.shared().average.filter(|_| average.has_begun(self.steps)) {
            None => self.model_async().await,
            Some(tensor) => {
                let values = self.session.read_shared(tensor).await?;
                Ok(Model::from_flat(self.config().clone(), self.layout.clone(), values))
            }
        }
    }

    /// [`Trainer::evaluate_async`] of the averaged model. The first call makes room on the device for a second copy of
    /// the parameters and for plans of its own, which later calls use again.
    ///
    /// # Errors
    /// As [`Trainer::averaged_model_async`] and [`Trainer::evaluate_async`].
    pub async fn evaluate_averaged_async<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<f64> {
        let model = self.averaged_model_async().await?;
        match &mut self.of_average {
            Some(other) => {
                let tensor = other.session.shared().parameters;
                other.session.write_shared(tensor, model.values())?;
            }
            None => {
                // What an evaluation needs of the recipe, with as few moments as there can be.
                let optimizer = Optimizer::sgd(0.0);
                let recipe = Recipe { optimizer, groups: Vec::new(), average: None, ..self.recipe.clone() };
                self.of_average = Some(Box::new(Trainer::new_async(self.device(), &model, recipe).await?));
            }
        }
        let Some(other) = &mut self.of_average else { unreachable!("it was just made") };
        // For what an error says.
        other.steps = self.steps;
        other.evaluate_async(batches).await
    }

    /// What a checkpoint keeps of it.
    pub(super) async fn read_average(&mut self) -> Result<Option<Vec<f32>>> {
        match self.session.shared().average {
            Some(tensor) => Ok(Some(self.session.read_shared(tensor).await?)),
            None => Ok(None),
        }
    }

    /// Takes up what a checkpoint kept.
    pub(super) fn write_average(&mut self, values: Option<&[f32]>) -> Result<()> {
        match (self.session.shared().average, values) {
            (Some(tensor), Some(values)) => self.session.write_shared(tensor, values),
            (None, None) => Ok(()),
            (expected, given) => {
                let [expected, given] = [expected.is_some(), given.is_some()].map(usize::from);
                Err(Error::shape("the means of the parameters", &[expected], &[given]))
            }
        }
    }
}
