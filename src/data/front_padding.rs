//! Batches whose sequences stand at the end of their steps, with padding in front.
//!
//! The contract: what was valid is moved to the first steps, in its order, and what was padding behind it; nothing else
//! changes.

use super::beside::on_device;
use super::{Batch, HeadTargets, InputColumn, Inputs, Sequences, Targets};
use crate::error::{Error, Result};
use crate::model::{Config, ReadOut, Rows};

impl Sequences {
    /// The same of sequences that stand at the end of their T steps, each of so many `[B]`, with padding in front of
    /// them, as Keras' `pad_sequences` leaves them: moved to the first steps, with these lengths.
    ///
    /// ```
    /// use recurrent::{BatchShape, Inputs, Sequences};
    /// // (1, 2, 3) and (4), padded in front with 0.
    /// let padded = Sequences::tokens(BatchShape { steps: 3, batch_size: 2 }, vec![1, 0, 2, 0, 3, 4]);
    /// let lengths = padded.lengths_behind(0).expect("tokens");
    /// let sequences = padded.with_front_padding(lengths)?;
    /// assert_eq!(sequences.inputs, Inputs::Tokens(vec![1, 4, 2, 0, 3, 0]));
    /// assert_eq!(sequences.lengths, Some(vec![3, 1]));
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of lengths, [`Error::Data`] for a length of 0 or of more than T, for inputs
    /// that are no whole number of steps, and for sequences that have lengths or resets already.
    pub fn with_front_padding(self, lengths: Vec<usize>) -> Result<Self> {
        let Sequences { steps, batch_size, .. } = self;
        if let Some(given) = &self.lengths {
            return Err(Error::Data(format!(
                "the sequences have lengths {given:?} already, so their padding is behind them; expected none"
            )));
        }
        if !self.resets.is_empty() {
            return Err(Error::Data(
                "the sequences have resets, which are counted from the first step; expected none before the padding is \
                 moved"
                    .to_owned(),
            ));
        }
        if lengths.len() != batch_size {
            return Err(Error::shape("lengths", &[batch_size], &[lengths.len()]));
        }
        if let Some((b, length)) = lengths.iter().enumerate().find(|(_, length)| !(1..=steps).contains(*length)) {
            return Err(Error::Data(format!("lengths[{b}] is {length}, expected 1 to the {steps} steps of the batch")));
        }
        let inputs = moved_inputs(&self.inputs, "inputs", (steps, &lengths))?;
        let columns = self.columns.iter().map(|column| {
            let argument = format!("column `{}`", column.name);
            Ok(InputColumn::new(&column.name, moved_inputs(&column.inputs, &argument, (steps, &lengths))?))
        });
        let columns = columns.collect::<Result<_>>()?;
        let lengths = lengths.iter().any(|length| *length < steps).then_some(lengths);
        Ok(Sequences { inputs, columns, lengths, ..self })
    }

    /// Returns how many steps of each sequence are left where this id stands in front of it, at least the last one;
    /// `None` of inputs that are no tokens.
    pub fn lengths_behind(&self, padding: u32) -> Option<Vec<usize>> {
        let Inputs::Tokens(ids) = &self.inputs else { return None };
        let is_padding = |t: usize, b: usize| ids.get(t * self.batch_size + b) == Some(&padding);
        let length = |b: usize| self.steps - (0..self.steps).take_while(|t| is_padding(*t, b)).count();
        Some((0..self.batch_size).map(|b| length(b).max(1)).collect())
    }
}

impl Batch {
    /// The same of sequences that stand at the end of their T steps, each of so many `[B]`, with padding in front of
    /// them: inputs, columns and, of read-outs at every step, targets, masks and weights are moved to the first steps.
    ///
    /// # Errors
    /// Same as [`Sequences::with_front_padding`]; [`Error::Data`] for targets, a mask or weights that are no whole
    /// number of positions.
    pub fn with_front_padding(self, lengths: Vec<usize>, config: &Config) -> Result<Self> {
        let steps = self.sequences.steps;
        let sequences = self.sequences.with_front_padding(lengths.clone())?;
        let moved = |head: HeadTargets, read_out: ReadOut<'_>| match read_out.rows {
            Rows::Sequences => Ok(head),
            Rows::Steps => moved_labels(head, read_out, (steps, &lengths)),
        };
        let Batch { targets, loss_mask, loss_weights, heads, .. } = self;
        let own = HeadTargets { name: String::new(), targets, loss_mask, loss_weights };
        let HeadTargets { targets, loss_mask, loss_weights, .. } = moved(own, config.read_out())?;
        let heads = heads.into_iter().map(|head| {
            let name = head.name.clone();
            // A head that is not the network's is for the batch's check to name.
            match config.read_outs().find(|read_out| read_out.name == Some(&name)) {
                Some(read_out) => moved(head, read_out),
                None => Ok(head),
            }
        });
        let heads = heads.collect::<Result<_>>()?;
        Ok(Batch { sequences, targets, loss_mask, loss_weights, heads })
    }
}

fn moved_labels(head: HeadTargets, read_out: ReadOut<'_>, by: (usize, &[usize])) -> Result<HeadTargets> {
    let HeadTargets { name, targets, loss_mask, loss_weights } = head;
    let argument = read_out.argument("targets").to_string();
    let targets = match targets {
        Targets::Classes(ids) => Targets::Classes(moved(&ids, &argument, by)?),
        Targets::Values(values) => Targets::Values(moved(&values, &argument, by)?),
        Targets::OnDevice(_) => return Err(on_device(&argument)),
        // They are of all steps together, and so are mask and weights.
        Targets::Sequences(_) | Targets::None => return Ok(HeadTargets { name, targets, loss_mask, loss_weights }),
    };
    let loss_mask = loss_mask.map(|mask| moved(&mask, &read_out.argument("mask").to_string(), by)).transpose()?;
    let loss_weights =
        loss_weights.map(|weights| moved(&weights, &read_out.argument("weights").to_string(), by)).transpose()?;
    Ok(HeadTargets { name, targets, loss_mask, loss_weights })
}

fn moved_inputs(inputs: &Inputs, argument: &str, by: (usize, &[usize])) -> Result<Inputs> {
    Ok(match inputs {
        Inputs::Tokens(ids) => Inputs::Tokens(moved(ids, argument, by)?),
        Inputs::Dense(x) => Inputs::Dense(moved(x, argument, by)?),
        Inputs::OnDevice(_) => return Err(on_device(argument)),
    })
}

/// `[T, B, ·]` with the last steps of each sequence as its first.
fn moved<V: Copy>(values: &[V], argument: &str, (steps, lengths): (usize, &[usize])) -> Result<Vec<V>> {
    let rows = steps.checked_mul(lengths.len()).filter(|rows| *rows > 0 && values.len().is_multiple_of(*rows));
    let Some(rows) = rows else {
        return Err(Error::Data(format!(
            "{argument} has {} elements, expected a multiple of the {steps} × {} steps of the batch",
            values.len(),
            lengths.len()
        )));
    };
    let (width, size) = (values.len() / rows, lengths.len());
    let from = |row: usize| {
        let (t, b) = (row / size, row % size);
        // Padding follows, as it stood.
        (t + steps - lengths[b]) % steps * size + b
    };
    Ok((0..rows).flat_map(|row| values[from(row) * width..][..width].iter().copied()).collect())
}
