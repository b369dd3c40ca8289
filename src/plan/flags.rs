//! What sets single elements of the flat buffers apart in an update: those that are frozen, those without decay, and
//! those of a group, which has a rate and a decay of its own.
//!
//! The contract: the gaps between tensors have no flag and are of no group; a new bit is one more constant here and in
//! `reduce_gradients` and the optimisers' shaders.

use crate::allocate::zeros;
use crate::error::Result;
use crate::model::Layout;
use crate::recipe::{DecayScope, Recipe, numbers};

/// The bit of the tensor `parameter_flags` that takes an element out of the training: it has no part in the gradient or
/// its norm, and neither it nor its moments change.
pub const FROZEN: u32 = 1;

/// The bit of the tensor `parameter_flags` that spares an element the weight decay.
pub const NOT_DECAYED: u32 = 2;

/// The bit of the tensor `parameter_flags` that leaves an element's gradient out of the norm and of the recipe's
/// clipping, as its group clips it by itself.
pub const CLIPPED_APART: u32 = 4;

/// Where the number of an element's group begins in its flags: 0 for none, or from 1 on.
pub const GROUP_SHIFT: u32 = 8;

/// How many settings a group has behind the flags, the bits of an f32 each: the factor on the learning rate, and the
/// weight decay.
pub const GROUP_SETTINGS: usize = 2;

/// How long the tensor `parameter_flags` of a training by this recipe is: the flags of all elements, then the settings
/// of every group.
pub fn flags_len(recipe: &Recipe, layout: &Layout) -> usize {
    layout.buffer_len() + recipe.groups.len() * GROUP_SETTINGS
}

/// [`parameter_flags`] of a training by this recipe: with the groups' numbers, and their settings behind them.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory), and [`Error::Config`](crate::Error::Config) for a group that the
/// network has no parameter of.
pub fn grouped_flags(recipe: &Recipe, layout: &Layout, frozen: &[String]) -> Result<Vec<u32>> {
    let mut flags = parameter_flags(recipe.decay_scope, layout, frozen)?;
    for (parameter, number) in layout.parameters().iter().zip(numbers(&recipe.groups, layout)?) {
        let group = number.checked_sub(1).map(|at| &recipe.groups[at as usize]);
        let apart = if group.is_some_and(|group| group.clip.is_some()) { CLIPPED_APART } else { 0 };
        flags[parameter.range()].iter_mut().for_each(|bits| *bits |= number << GROUP_SHIFT | apart);
    }
    for group in &recipe.groups {
        let decay = group.weight_decay.or(recipe.optimizer.weight_decay()).unwrap_or(0.0);
        flags.extend([group.rate, decay].map(|setting| (setting as f32).to_bits()));
    }
    Ok(flags)
}

/// Returns `[flat]`: the bits [`FROZEN`] and [`NOT_DECAYED`] of every element, as a training plan's tensor
/// `parameter_flags` holds them, where the parameters named in `frozen` are not trained.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn parameter_flags(scope: DecayScope, layout: &Layout, frozen: &[String]) -> Result<Vec<u32>> {
    let mut parameter_flags = zeros(layout.buffer_len(), "marking the parameters that are trained")?;
    for parameter in layout.parameters() {
        // A norm's gain is called a weight, too, but is a vector.
        let name = parameter.name.rsplit('.').next().unwrap_or_default();
        let is_weight = name.starts_with("weight") && parameter.shape.len() == 2;
        let decays = scope == DecayScope::All || is_weight;
        let decay = if decays { 0 } else { NOT_DECAYED };
        let update = if frozen.contains(&parameter.name) { FROZEN } else { 0 };
        parameter_flags[parameter.range()].fill(decay | update);
    }
    Ok(parameter_flags)
}
