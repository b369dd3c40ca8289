//! From the outputs of a network that was trained by [`Loss::Ctc`](crate::Loss::Ctc) to what they say: the likeliest
//! labels, and which step says which label of a known sequence.
//!
//! The contract: logits are `[T, O]` of one sequence, as [`rows_of`] takes them out of a prediction, and no
//! probabilities; they are normalised here. All of it runs on the CPU in f64; equal inputs give equal answers.
//!
//! ```
//! use recurrent::{Config, Device, InputKind, Model, Predictor, Sequences, BatchShape, ctc};
//! let model = Model::new(Config::gru(InputKind::Dense(2), 8, 4))?;
//! let sequences = Sequences::dense(BatchShape { steps: 5, batch_size: 2 }, vec![0.5; 20]).with_lengths(vec![5, 3]);
//! let answer = Predictor::new(&Device::cpu(), &model)?.run(&sequences)?;
//! let second = ctc::rows_of(&answer.outputs, sequences.shape(), 4, (1, 3))?;
//! let labels = ctc::greedy(&second, 4, 0)?;
//! let (best, log_probability) = &ctc::prefix_beam(&second, 4, 0, 8)?[0];
//! assert!(*log_probability <= 0.0 && best.len() <= 3);
//! # let _ = labels;
//! # Ok::<(), recurrent::Error>(())
//! ```

mod align;
mod beam;
mod rows;

pub use align::{Alignment, align};
pub use beam::prefix_beam;
pub use rows::{greedy, rows_of};
