//! Freezing: parameters that a training leaves as they are.
//!
//! The contract: what is frozen counts neither in the gradient's norm nor in clipping, and neither it nor its moments
//! change by a bit; the rest is trained as if the frozen parameters were constants of the model.

use super::Trainer;
use crate::error::{Error, Result};
use crate::plan::grouped_flags;
use crate::recipe::{matching, numbers};

impl Trainer {
    /// Leaves parameters as they are from the next step on: no gradient, no weight decay, no update.
    ///
    /// A name is one of [`Layout`](crate::Layout)'s, or the beginning of some with a `*` behind it: `weight_ih_l0` is
    /// that tensor, `weight` the read-out's, `weight*` all weights, `*` everything. What was frozen before stays so.
    ///
    /// The optimiser keeps the moments of what is frozen, and goes on counting steps. So what Adam never moved before
    /// its [`Trainer::unfreeze`] in a long training makes larger steps than a new training's would be: with the usual β
    /// up to seven times the rate, and three times still after a hundred. Lower the rate where that matters, or make a
    /// new trainer of [`Trainer::model`].
    ///
    /// # Errors
    /// [`Error::Config`] for a name that no parameter has, and where nothing would be left to train; nothing is changed
    /// then. [`Error::DeviceLost`].
    pub fn freeze<N: AsRef<str>>(&mut self, names: &[N]) -> Result<()> {
        self.set_frozen(names, true)
    }

    /// Trains parameters again that [`Trainer::freeze`] left as they are; the names are as there.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that no parameter has, and [`Error::DeviceLost`].
    pub fn unfreeze<N: AsRef<str>>(&mut self, names: &[N]) -> Result<()> {
        self.set_frozen(names, false)
    }

    /// The names of the parameters that are not trained, in the order of the layout.
    pub fn frozen(&self) -> &[String] {
        &self.frozen
    }

    fn set_frozen<N: AsRef<str>>(&mut self, names: &[N], freeze: bool) -> Result<()> {
        let mut frozen: Vec<bool> =
            self.layout.parameters().iter().map(|parameter| self.frozen.contains(&parameter.name)).collect();
        for name in names {
            matching(&self.layout, name.as_ref())?.into_iter().for_each(|at| frozen[at] = freeze);
        }
        self.freeze_exactly(&frozen)
    }

    /// Freezes the parameters of the recipe's groups that are to be, and no others.
    pub(super) fn freeze_groups(&mut self) -> Result<()> {
        let groups = &self.recipe.groups;
        let numbers = numbers(groups, &self.layout)?;
        let is_frozen = |number: &u32| number.checked_sub(1).is_some_and(|at| groups[at as usize].frozen);
        let frozen: Vec<bool> = numbers.iter().map(is_frozen).collect();
        self.freeze_exactly(&frozen)
    }

    /// Freezes the parameters of these names and no others.
    pub(super) fn freeze_named(&mut self, names: &[String]) -> Result<()> {
        let mut frozen = vec![false; self.layout.parameters().len()];
        for name in names {
            matching(&self.layout, name)?.into_iter().for_each(|at| frozen[at] = true);
        }
        self.freeze_exactly(&frozen)
    }

    fn freeze_exactly(&mut self, frozen: &[bool]) -> Result<()> {
        if frozen.iter().all(|frozen| *frozen) {
            return Err(Error::Config("all parameters would be frozen, expected at least one to train".to_owned()));
        }
        let names = self.layout.parameters().iter().zip(frozen).filter(|(_, frozen)| **frozen);
        let names = names.map(|(parameter, _)| parameter.name.clone()).collect();
        let before = std::mem::replace(&mut self.frozen, names);
        self.write_parameter_flags().inspect_err(|_| self.frozen = before)
    }

    /// Tells the device what is frozen, what decays, and what is of which group.
    fn write_parameter_flags(&mut self) -> Result<()> {
        let Some(tensor) = self.session.shared().parameter_flags else { unreachable!("a training has these flags") };
        let flags = grouped_flags(&self.recipe, &self.layout, &self.frozen)?;
        self.session.write_shared_ids(tensor, &flags)
    }
}
