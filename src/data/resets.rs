//! Sequences that begin anew within a window.
//!
//! The contract: what passes the check is ascending, and of steps that sequences have; of a network that pools whole
//! sequences there are none.

use super::{Batch, Sequences};
use crate::error::{Error, Result};
use crate::model::Config;

impl Sequences {
    /// The same, in which other sequences begin within the window: before each step of a sequence that is named here,
    /// (step, sequence) counted from 0, the state goes back to the network's initial state, and no gradient crosses it.
    /// What is read before it and what is read from it on are as two windows; a direction from the last step to the
    /// first begins anew behind it.
    ///
    /// ```
    /// use recurrent::{BatchShape, Config, Device, InputKind, Model, Predictor, Sequences};
    /// let model = Model::new(Config::gru(InputKind::Dense(1), 4, 1))?;
    /// let sequences = |x: &[f32]| Sequences::dense(BatchShape { steps: x.len(), batch_size: 1 }, x.to_vec());
    /// let mut predictor = Predictor::new(&Device::cpu(), &model)?;
    /// let both = predictor.run(&sequences(&[0.1, 0.2, 0.3, 0.4]).with_resets([(2, 0)]))?.outputs;
    /// let [first, second] = [&[0.1, 0.2], &[0.3, 0.4]].map(|x| predictor.run(&sequences(x)).map(|p| p.outputs));
    /// assert_eq!(both, [first?, second?].concat());
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn with_resets(self, resets: impl Into<Vec<(usize, usize)>>) -> Self {
        let mut resets = resets.into();
        resets.sort_unstable();
        resets.dedup();
        Sequences { resets, ..self }
    }

    /// Checks that each is of a step that is there, in order, and that the network is of steps.
    pub(super) fn check_resets(&self, config: &Config) -> Result<()> {
        if !self.resets.is_empty() && config.pool_at().is_some() {
            return Err(Error::Data(
                "the sequences have resets, but the network pools each of them as a whole; expected none, and what \
                 begins within a sequence as one of its own"
                    .to_owned(),
            ));
        }
        let is_there = |(step, b): (usize, usize)| b < self.batch_size && step < self.length(b);
        if let Some((at, (step, b))) = self.resets.iter().enumerate().find(|(_, reset)| !is_there(**reset)) {
            let sequences = self.batch_size;
            let expected = match b < &sequences {
                true => format!("a step before the {} of that sequence", self.length(*b)),
                false => format!("a sequence before the {sequences} of the batch"),
            };
            return Err(Error::Data(format!("resets[{at}] is step {step} of sequence {b}, expected {expected}")));
        }
        match self.resets.windows(2).position(|pair| pair[0] >= pair[1]) {
            None => Ok(()),
            Some(at) => Err(Error::Data(format!(
                "resets[{}] is {:?}, expected one after {:?}: Sequences::with_resets sorts them",
                at + 1,
                self.resets[at + 1],
                self.resets[at]
            ))),
        }
    }
}

impl Batch {
    /// The same, in which the state of a sequence goes back to the network's initial state before a step, (step,
    /// sequence) each: [`Sequences::with_resets`].
    pub fn with_resets(self, resets: impl Into<Vec<(usize, usize)>>) -> Self {
        Batch { sequences: self.sequences.with_resets(resets), ..self }
    }
}
