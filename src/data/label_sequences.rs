//! Targets that are sequences of labels: the rules that they are held to, and how a device is told of them.
//!
//! The contract: what passes can be said in the steps that there are, unless the loss lets it be; what does not count
//! is neither looked at nor handed on.

use super::labels::Labels;
use super::{Batch, Targets};
use crate::error::{Error, Result};
use crate::model::{Config, ReadOut, Rows};
use crate::recipe::{Recipe, TargetKind};

/// The fewest labels that a plan has room for.
const FEWEST: usize = 32;

/// For how many labels a plan has room whose longest target has so many, so that few plans are made.
fn room(longest: usize) -> usize {
    longest.max(FEWEST).checked_next_power_of_two().unwrap_or(longest)
}

/// For how many labels windows of a recipe have room that nothing else is known of; 0 where no loss is of sequences.
pub(crate) fn room_of(recipe: &Recipe, config: &Config) -> usize {
    let mut losses = config.read_outs().filter_map(|read_out| recipe.loss_of(read_out.name));
    if losses.any(|loss| loss.targets() == TargetKind::Sequences) { FEWEST } else { 0 }
}

/// How many steps it takes to say labels: one each, and a blank between two that are equal.
fn steps_for(labels: &[u32]) -> usize {
    labels.len() + labels.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

impl Targets {
    /// The same read-out, with the rows that these targets have.
    pub(super) fn positions<'a>(&self, read_out: ReadOut<'a>) -> ReadOut<'a> {
        match self {
            Targets::Sequences(_) => ReadOut { rows: Rows::Sequences, ..read_out },
            _ => read_out,
        }
    }
}

impl Batch {
    /// The same read-out, with the rows that its targets have.
    pub(crate) fn positions<'a>(&self, read_out: ReadOut<'a>) -> ReadOut<'a> {
        self.labels(read_out).map_or(read_out, |labels| labels.targets.positions(read_out))
    }

    /// Whether target `r`, if it is a sequence of labels, can be said in the steps of its sequence.
    pub(super) fn can_say(&self, targets: &Targets, r: usize) -> bool {
        let Targets::Sequences(sequences) = targets else { return true };
        sequences.get(r).is_none_or(|labels| steps_for(labels) <= self.sequences.length(r))
    }

    /// For how many labels of a sequence there has to be room; 0 where no targets are sequences.
    pub(crate) fn room_for_labels(&self, config: &Config) -> usize {
        let of_one = |read_out| {
            let labels = self.labels(read_out)?;
            let Targets::Sequences(sequences) = labels.targets else { return None };
            let counted = sequences.iter().enumerate();
            let counted = counted.filter(|(b, _)| self.is_told(labels, sequences.len(), *b));
            Some(room(counted.map(|(_, labels)| labels.len()).max().unwrap_or(0)))
        };
        config.read_outs().filter_map(of_one).max().unwrap_or(0)
    }

    /// Whether the device is told of sequence `b`: it counts, and its steps can say it.
    fn is_told(&self, labels: Labels<'_>, rows: usize, b: usize) -> bool {
        labels.weight(rows, 1, (b, 0)) > 0.0 && self.can_say(labels.targets, b)
    }

    /// Puts into `out` what a device is told, `[B, 1 + 2·L]` with room for so many labels: of each sequence how many
    /// it has, these, and their places, those of a smaller label first and of equal ones in their order.
    pub(crate) fn write_sequences(&self, labels: Labels<'_>, room: usize, out: &mut Vec<u32>) {
        let Targets::Sequences(sequences) = labels.targets else { return };
        out.clear();
        out.resize(sequences.len() * (1 + 2 * room), 0);
        for (b, (ids, row)) in sequences.iter().zip(out.chunks_exact_mut(1 + 2 * room)).enumerate() {
            if !self.is_told(labels, sequences.len(), b) {
                continue;
            }
            let (count, rest) = row.split_at_mut(1);
            let (to, places) = rest.split_at_mut(room);
            count[0] = ids.len() as u32;
            to[..ids.len()].copy_from_slice(ids);
            let places = &mut places[..ids.len()];
            (0..).zip(&mut *places).for_each(|(at, place)| *place = at);
            places.sort_unstable_by_key(|place| (ids[*place as usize], *place));
        }
    }

    /// Checks targets that are sequences of labels, with this blank.
    pub(super) fn check_sequences(
        &self,
        labels: Labels<'_>,
        sequences: &[Vec<u32>],
        read_out: ReadOut<'_>,
        (blank, zero_infeasible): (u32, bool),
    ) -> Result<()> {
        let (argument, size) = (read_out.argument("targets"), self.sequences.batch_size);
        if sequences.len() != size {
            return Err(Error::shape(&argument.to_string(), &[size], &[sequences.len()]));
        }
        check_one_each(labels, read_out, self.sequences.steps, size)?;
        super::labels::check_weighing(labels, (size, None), |what| read_out.argument(what).to_string())?;
        for (b, ids) in sequences.iter().enumerate().filter(|(b, _)| labels.weight(size, 1, (*b, 0)) > 0.0) {
            check_ids(ids, (read_out.outputs, blank), |at| format!("{argument}[{b}][{at}] (sequence {b})"))?;
            let (needed, steps) = (steps_for(ids), self.sequences.length(b));
            if needed > steps && !zero_infeasible {
                return Err(Error::Data(format!(
                    "{argument}[{b}] (sequence {b}) has {} labels, which take {needed} steps, equal ones side by side \
                     having a blank between them, but the sequence has {steps}; expected no more, or a loss with \
                     zero_infeasible",
                    ids.len()
                )));
            }
        }
        Ok(())
    }
}

/// Checks that mask and weights are of sequences, not of their steps.
fn check_one_each(labels: Labels<'_>, read_out: ReadOut<'_>, steps: usize, size: usize) -> Result<()> {
    let lengths = [("mask", labels.loss_mask.map(<[bool]>::len)), ("weights", labels.loss_weights.map(<[f32]>::len))];
    match lengths.into_iter().find(|(_, len)| steps > 1 && *len == steps.checked_mul(size)) {
        Some((what, Some(len))) => Err(Error::Data(format!(
            "the {} has one for every step ({len}), but the loss (ctc) is of whole sequences; expected {size}, one for \
             each",
            read_out.argument(what)
        ))),
        _ => Ok(()),
    }
}

/// Checks that ids are outputs and none is the blank.
fn check_ids(ids: &[u32], (outputs, blank): (usize, u32), place: impl Fn(usize) -> String) -> Result<()> {
    let is_wrong = |id: &u32| *id as usize >= outputs || *id == blank;
    match ids.iter().position(is_wrong) {
        Some(at) if ids[at] == blank => {
            Err(Error::Data(format!("{} is id {blank}, which is the blank of the loss", place(at))))
        }
        Some(at) => Err(super::id_out_of_range(ids[at], outputs, "outputs", &place(at))),
        None => Ok(()),
    }
}
