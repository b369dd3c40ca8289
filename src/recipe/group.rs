//! Groups of parameters, each with a learning rate, a weight decay and more of its own.
//!
//! The contract: a group is data, which a checkpoint stores with the recipe; of which group a parameter is follows from
//! its name, and a group of which no parameter would be is an error.

use serde::{Deserialize, Serialize};

use super::{Clip, Optimizer, Recipe, at_most};
use crate::error::{Error, Result};
use crate::model::Layout;

/// Parameters that are trained otherwise than the rest.
///
/// ```
/// use recurrent::{Config, Device, Group, InputKind, Loss, Model, Optimizer, Recipe, Recurrent, Trainer};
/// let config = Config::new(InputKind::Tokens(50)).embedding(8).layer(Recurrent::lstm(16)).outputs(50);
/// let recipe = Recipe::new(Loss::CrossEntropy)
///     .with_optimizer(Optimizer::adam_w(0.01), 1e-3)
///     .with_group(Group::new("embedding.*").with_rate(0.1).with_weight_decay(0.0))
///     .with_group(Group::new("lstm.bias*").and("head.0.bias").with_frozen());
/// let trainer = Trainer::new(&Device::cpu(), &Model::new(config)?, recipe)?;
/// assert_eq!(trainer.frozen(), ["lstm.bias_ih_l0", "lstm.bias_hh_l0", "head.0.bias"]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Names of parameters, or the beginnings of some with a `*` behind, as [`Trainer::freeze`](crate::Trainer::freeze)
    /// takes them.
    pub parameters: Vec<String>,
    /// What the learning rate is multiplied by: above 0, at most [`Group::MAX_RATE`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub rate: f64,
    /// What takes the place of the optimiser's weight decay, for those that [`DecayScope`](crate::DecayScope) lets
    /// decay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// What is done to their gradient in place of what the recipe does to that of the others: a norm is then that of
    /// these alone, and they have no part in the norm of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Whether they are frozen from the first step on, until somebody
    /// [unfreezes](crate::Trainer::unfreeze) them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
}

impl Group {
    /// The most groups of a recipe.
    pub const MAX: usize = 16;
    /// The largest factor on the learning rate.
    pub const MAX_RATE: f64 = 1e6;

    /// The parameters of this name or, with a `*` behind it, of names that begin so; nothing about them is other than
    /// of the rest yet.
    pub fn new(parameters: impl Into<String>) -> Self {
        Group { parameters: vec![parameters.into()], rate: 1.0, weight_decay: None, clip: None, frozen: false }
    }

    /// The same with more parameters.
    pub fn and(mut self, parameters: impl Into<String>) -> Self {
        self.parameters.push(parameters.into());
        self
    }

    /// The same with a factor on the learning rate.
    pub fn with_rate(self, rate: f64) -> Self {
        Group { rate, ..self }
    }

    /// The same with a weight decay in place of the optimiser's.
    pub fn with_weight_decay(self, weight_decay: f64) -> Self {
        Group { weight_decay: Some(weight_decay), ..self }
    }

    /// The same with clipping by itself. The metrics tell of the gradient of the others, and a
    /// [trace](crate::Trainer::trace_async) of these parameters' gradient as it was clipped.
    pub fn with_clip(self, clip: Clip) -> Self {
        Group { clip: Some(clip), ..self }
    }

    /// The same, frozen from the first step on.
    pub fn with_frozen(self) -> Self {
        Group { frozen: true, ..self }
    }

    /// How errors call it.
    fn name(&self) -> String {
        format!("the group `{}`", self.parameters.join("`, `"))
    }
}

fn one() -> f64 {
    1.0
}

fn is_one(v: &f64) -> bool {
    *v == 1.0
}

/// Checks the groups' settings, at this optimiser and full learning rate.
pub(super) fn check(groups: &[Group], optimizer: Optimizer, learning_rate: f64) -> Result<()> {
    if groups.len() > Group::MAX {
        return Err(Error::Config(format!(
            "the recipe has {} groups of parameters, expected at most {}",
            groups.len(),
            Group::MAX
        )));
    }
    for group in groups {
        let name = group.name();
        at_most(&format!("the rate of {name}"), group.rate, Group::MAX_RATE)?;
        let rate = group.rate * learning_rate;
        at_most(&format!("the learning rate of {name}"), rate, Recipe::MAX_RATE)?;
        group.clip.map_or(Ok(()), |clip| clip.check(&format!("the clipping bound of {name}")))?;
        match (group.weight_decay, optimizer.weight_decay()) {
            (Some(decay), None) if decay != 0.0 => {
                return Err(Error::Config(format!(
                    "{name} has a weight decay of {decay:e}, but {} has none; expected 0, or an optimiser that decays \
                    (Adam, AMSGrad, RAdam, Lion)",
                    optimizer.record().name
                )));
            }
            (own, general) => {
                let decay = own.or(general).unwrap_or(0.0);
                super::optimizer::check_decay(&format!("the weight decay of {name}"), decay, rate)?;
            }
        }
    }
    Ok(())
}

/// Returns for each parameter of a layout the number of its group, counted from 1, or 0 where it is of none.
///
/// # Errors
/// [`Error::Config`] for a name that no parameter has, and for a group of which none is, as groups before it have them
/// all.
pub(crate) fn numbers(groups: &[Group], layout: &Layout) -> Result<Vec<u32>> {
    let mut numbers = vec![0; layout.parameters().len()];
    for (group, number) in groups.iter().zip(1..) {
        let mut is_empty = true;
        for name in &group.parameters {
            for at in matching(layout, name)? {
                if numbers[at] == 0 {
                    numbers[at] = number;
                }
                is_empty &= numbers[at] != number;
            }
        }
        if is_empty {
            return Err(Error::Config(format!(
                "{} has no parameter that is not in a group before it, expected at least one",
                group.name()
            )));
        }
    }
    Ok(numbers)
}

/// Returns the place of every parameter that `name` is or, with a `*`, begins.
///
/// # Errors
/// [`Error::Config`] where there is none.
pub(crate) fn matching(layout: &Layout, name: &str) -> Result<Vec<usize>> {
    let matches = |parameter: &str| match name.strip_suffix('*') {
        Some(prefix) => parameter.starts_with(prefix),
        None => parameter == name,
    };
    let parameters = layout.parameters().iter().enumerate();
    let found: Vec<usize> = parameters.filter(|(_, parameter)| matches(&parameter.name)).map(|(at, _)| at).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let there: Vec<&str> = layout.parameters().iter().map(|parameter| parameter.name.as_str()).collect();
    Err(Error::Config(format!("the model has no parameter `{name}`; there are {}", there.join(", "))))
}
