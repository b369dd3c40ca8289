//! What is left out at random.
//!
//! The contract: rates and a seed, from which every executor draws the same masks.

use serde::{Deserialize, Serialize};

/// What is left out at random in training, each with a probability p, while what is kept is multiplied by 1 / (1 − p).
///
/// Masks are a function of the seed, the step and the position, the same on every executor, so a training repeats and
/// resumes exactly. Evaluation and inference drop nothing.
///
/// ```
/// use recurrent::{Dropout, Loss, Recipe};
/// // A tenth of the inputs and of the hidden state, the same ones at all steps; a fifth between the layers.
/// let dropout = Dropout::variational(0.1, 0.1).with_outputs(0.2).with_seed(7);
/// let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(dropout);
/// # assert_eq!(recipe.dropout, dropout);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Of what a layer hands to the next, every element by itself, as PyTorch's `dropout` (Srivastava et al. 2014).
    pub outputs: f64,
    /// Of what the first layer reads, with one mask for all steps of a window; a token is dropped as a whole (Gal &
    /// Ghahramani 2016).
    pub inputs: f64,
    /// Of h_(t-1) where it is multiplied with U, with one mask for all steps of a window (Gal & Ghahramani 2016).
    pub hidden: f64,
    /// Of the elements of U, with one mask for all steps of a window: DropConnect (Wan et al. 2013) of recurrent
    /// weights, the weight drop of an AWD-LSTM (Merity, Keskar & Socher 2018).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weights: f64,
    /// Where the drawing starts.
    pub seed: u64,
}

impl Dropout {
    /// Nothing is left out.
    pub const NONE: Dropout = Dropout { outputs: 0.0, inputs: 0.0, hidden: 0.0, weights: 0.0, seed: 0 };

    /// Between layers, with this probability.
    pub fn between_layers(p: f64) -> Self {
        Dropout { outputs: p, ..Self::NONE }
    }

    /// Variational: on inputs and on the hidden state, with these probabilities.
    pub fn variational(inputs: f64, hidden: f64) -> Self {
        Dropout { inputs, hidden, ..Self::NONE }
    }

    /// The same, and between layers with this probability.
    pub fn with_outputs(self, p: f64) -> Self {
        Dropout { outputs: p, ..self }
    }

    /// The same, and of the elements of U with this probability.
    ///
    /// ```
    /// use recurrent::Dropout;
    /// let awd = Dropout::variational(0.4, 0.0).with_outputs(0.25).with_weights(0.5);
    /// # assert_eq!((awd.weights, awd.inputs), (0.5, 0.4));
    /// ```
    pub fn with_weights(self, p: f64) -> Self {
        Dropout { weights: p, ..self }
    }

    /// Whether anything is left out.
    pub(crate) fn is_none(&self) -> bool {
        [self.outputs, self.inputs, self.hidden, self.weights] == [0.0; 4]
    }

    /// The same, drawn from another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Dropout { seed, ..self }
    }
}

/// What a file leaves out.
fn is_zero(v: &f64) -> bool {
    *v == 0.0
}
