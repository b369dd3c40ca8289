//! The heads of networks that tests draw: what each is held against and by which loss, for plans and for whole runs.
//!
//! The contract: the losses and weights of a network's heads follow from its configuration alone.

use recurrent::{Config, Head, Layer, Loss, Recipe};

/// What a loss compares with.
#[derive(Clone, Debug)]
pub enum Targets {
    /// `[R]`.
    Classes(Vec<u32>),
    /// `[R, O]`.
    Values(Vec<f64>),
}

/// What a head is held against.
#[derive(Clone, Debug)]
pub struct HeadLabels {
    /// `[R]` or `[R, O]`.
    pub targets: Targets,
    /// `[R]` zeros and ones.
    pub mask: Vec<f64>,
}

/// The loss of each head of a network, in turn the one and the other, and its weight.
pub fn head_losses(config: &Config) -> impl Iterator<Item = (&Head, Loss, f64)> {
    let losses = [(Loss::MeanSquared, 0.75), (Loss::CrossEntropy, 1.5)].into_iter().cycle();
    config.heads.iter().zip(losses).map(|(head, (loss, weight))| (head, loss, weight))
}

/// The same recipe with these.
pub fn with_head_losses(recipe: Recipe, config: &Config) -> Recipe {
    head_losses(config).fold(recipe, |recipe, (head, loss, weight)| recipe.with_head(&head.name, loss, weight))
}

/// How many labels a head has.
pub fn head_label_count(config: &Config, head: &Head, steps: usize, batch: usize) -> usize {
    if is_of_steps(config, head.reads) { steps * batch } else { batch }
}

/// Whether above so many layers there is a row for each step.
pub fn is_of_steps(config: &Config, layers: usize) -> bool {
    !config.layers[..layers].iter().any(|layer| matches!(layer, Layer::Pool(_)))
}

/// The same network with a head on its first layer and one on its last.
pub fn with_heads(config: Config) -> Config {
    let mut config = config.head("below", 2).head("above", 3);
    config.heads[0].reads = 1;
    config
}
