//! What is expected of a read-out, the network's own or a head's, and the rules that it is held to.
//!
//! The contract: what passes has a label for every row of the read-out, and every label is one that the loss can take.

use std::fmt::Display;

use super::{Batch, Targets, check_len, id_out_of_range, position, wrong_kind};
use crate::error::{Error, Largest, Result};
use crate::model::{BatchShape, Config, ReadOut, Rows};
use crate::recipe::{Divisor, Loss, Recipe, TargetKind};

/// What is expected of a head of the network.
///
/// ```
/// use recurrent::data::HeadTargets;
/// use recurrent::{Batch, BatchShape, Targets};
/// let shape = BatchShape { steps: 2, batch_size: 1 };
/// let next = Batch::tokens(shape, vec![0, 1], vec![1, 2]);
/// // Of a head `value` with one output at every step, of which only the last counts.
/// let value = HeadTargets::new("value", Targets::Values(vec![0.0, 0.7])).with_loss_mask(vec![false, true]);
/// let batch = next.with_head(value);
/// # assert_eq!(batch.heads.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HeadTargets {
    /// The head's.
    pub name: String,
    /// `[R]` class ids or `[R, N]` numbers, R being T·B of a head below a pool, else B; or `[B]` sequences of labels.
    pub targets: Targets,
    /// `[R]`: which positions count in its loss, or `[R, N]`: which of their numbers; `None`: all that are not padding.
    pub loss_mask: Option<Vec<bool>>,
    /// `[R]` or `[R, N]`: how much each of them counts; `None`: all alike.
    pub loss_weights: Option<Vec<f32>>,
}

impl HeadTargets {
    /// What is expected of a head of that name; every position counts.
    pub fn new(name: impl Into<String>, targets: impl Into<Targets>) -> Self {
        HeadTargets { name: name.into(), targets: targets.into(), loss_mask: None, loss_weights: None }
    }

    /// The same, of which only some positions count, `[R]`, or some of their numbers, `[R, N]`.
    pub fn with_loss_mask(self, mask: Vec<bool>) -> Self {
        HeadTargets { loss_mask: Some(mask), ..self }
    }

    /// The same, of which every position counts so much, `[R]`, or every number of one, `[R, N]`.
    pub fn with_loss_weights(self, weights: Vec<f32>) -> Self {
        HeadTargets { loss_weights: Some(weights), ..self }
    }

    pub(super) fn labels(&self) -> Labels<'_> {
        let (loss_mask, loss_weights) = (self.loss_mask.as_deref(), self.loss_weights.as_deref());
        Labels { targets: &self.targets, loss_mask, loss_weights }
    }
}

/// The labels of one read-out.
#[derive(Clone, Copy)]
pub(crate) struct Labels<'a> {
    pub targets: &'a Targets,
    pub loss_mask: Option<&'a [bool]>,
    pub loss_weights: Option<&'a [f32]>,
}

impl Batch {
    /// Whether a network of this configuration can be trained on the batch by this recipe.
    ///
    /// Targets that do not count, as a mask or a weight of 0 or the loss leaves them out or as they are padding, may be
    /// anything.
    ///
    /// # Errors
    /// Same as [`Sequences::check`](crate::Sequences::check); [`Error::Config`] for heads that have no loss in the
    /// recipe, or a loss of none; [`Error::Shape`] for targets, a mask or weights of another length; [`Error::Data`]
    /// for targets of the wrong kind, an id out of range, a number that is not finite or that the loss does not take, a
    /// weight below 0, and for a head without targets or targets without a head. A mask may leave nothing: that a step
    /// or an evaluation has no label at all is seen there.
    pub fn check(&self, config: &Config, recipe: &Recipe) -> Result<()> {
        self.sequences.check(config)?;
        recipe.check_losses(config)?;
        self.check_heads(config)?;
        for read_out in config.read_outs() {
            if let (Some(labels), Some(loss)) = (self.labels(read_out), recipe.loss_of(read_out.name)) {
                self.check_labels(labels, read_out, loss)?;
            }
        }
        Ok(())
    }

    /// Checks that the heads that have targets are the network's.
    fn check_heads(&self, config: &Config) -> Result<()> {
        check_names(&self.heads, config, "the batch")
    }

    /// The labels of a read-out, where there are any.
    pub(crate) fn labels(&self, read_out: ReadOut<'_>) -> Option<Labels<'_>> {
        match read_out.name {
            None => {
                let (loss_mask, loss_weights) = (self.loss_mask.as_deref(), self.loss_weights.as_deref());
                Some(Labels { targets: &self.targets, loss_mask, loss_weights })
            }
            Some(name) => self.heads.iter().find(|head| head.name == name).map(HeadTargets::labels),
        }
    }

    /// How many positions of any read-out are no padding, whatever the mask says.
    pub(crate) fn valid(&self, config: &Config) -> usize {
        let of_one = |read_out: ReadOut<'_>| {
            let read_out = self.positions(read_out);
            let labels = read_out.rows.count(self.sequences.shape());
            (0..labels).filter(|&r| self.is_valid(read_out, r)).count()
        };
        config.read_outs().map(of_one).sum()
    }

    /// The largest number that is read or expected, where it is large.
    pub(crate) fn largest(&self, config: &Config) -> Option<Largest> {
        let targets = config.read_outs().filter_map(|read_out| {
            let Targets::Values(y) = self.labels(read_out)?.targets else { return None };
            let rows = read_out.rows.count(self.sequences.shape());
            Largest::of(read_out.argument("targets"), y, &[rows, y.len() / rows])
        });
        targets.fold(self.sequences.largest(config), |largest, of_one| Largest::or(largest, Some(of_one)))
    }

    /// How many positions of a batch that [`Batch::check`] passes count in the loss of the network's own read-out:
    /// those that are no padding and of which the mask and the weights, if there are any, leave something.
    pub fn count(&self, config: &Config) -> usize {
        self.counting(config.read_out()).filter(|counts| *counts).count()
    }

    /// `[R]`: whether anything of each position of a read-out counts.
    fn counting<'a>(&'a self, read_out: ReadOut<'a>) -> impl Iterator<Item = bool> + 'a {
        let read_out = self.positions(read_out);
        let (labels, rows) = (self.labels(read_out), read_out.rows.count(self.sequences.shape()));
        let numbers = labels.map_or(1, |labels| labels.weighed(rows));
        let is_left = move |r| {
            let weight = |n| labels.map_or(0.0, |labels| labels.weight(rows, numbers, (r, n)));
            (0..numbers).any(|n| weight(n) > 0.0)
        };
        (0..rows).map(move |r| self.is_valid(read_out, r) && is_left(r))
    }

    /// Returns which rows `[R]` count in the loss of the network's own read-out: those that are no padding and of which
    /// the mask and the weights, if there are any, leave something. [`metrics`](crate::metrics) take it as their mask.
    ///
    /// ```
    /// use recurrent::{Batch, BatchShape, Config, InputKind};
    /// let shape = BatchShape { steps: 2, batch_size: 2 };
    /// let batch = Batch::tokens(shape, vec![0; 4], vec![0; 4]).with_lengths(vec![2, 1]);
    /// assert_eq!(batch.counted(&Config::gru(InputKind::Tokens(3), 4, 3)), [true, true, true, false]);
    /// ```
    pub fn counted(&self, config: &Config) -> Vec<bool> {
        self.counting(config.read_out()).collect()
    }

    /// The same of a head, `None` where the network has none of that name.
    ///
    /// ```
    /// use recurrent::{Batch, BatchShape, Config, HeadTargets, InputKind, Pool, Recurrent};
    /// let tagger = Config::new(InputKind::Tokens(3)).layer(Recurrent::gru(4)).head("tags", 2);
    /// let config = tagger.pool(Pool::Last).outputs(5);
    /// let batch = Batch::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 1], vec![4]);
    /// let batch = batch.with_head(HeadTargets::new("tags", vec![0u32, 1]).with_loss_mask(vec![false, true]));
    /// assert_eq!(batch.counted_of_head(&config, "tags"), Some(vec![false, true]));
    /// ```
    pub fn counted_of_head(&self, config: &Config, name: &str) -> Option<Vec<bool>> {
        let head = config.read_outs().find(|read_out| read_out.name == Some(name))?;
        Some(self.counting(head).collect())
    }

    /// Whether the numbers of a position are masked or weighed each by itself, of any read-out.
    pub(crate) fn is_elementwise(&self, config: &Config) -> bool {
        config.read_outs().map(|read_out| self.positions(read_out)).any(|read_out| {
            let rows = read_out.rows.count(self.sequences.shape());
            self.labels(read_out).is_some_and(|labels| labels.weighed(rows) > 1)
        })
    }

    /// `[R]`: what each position of a read-out weighs, or `[R, N]` of its N numbers: 0 of what does not count.
    pub(crate) fn weights<'a>(
        &'a self,
        read_out: ReadOut<'a>,
        loss: &'a Loss,
        numbers: usize,
    ) -> impl ExactSizeIterator<Item = f64> + 'a {
        let read_out = self.positions(read_out);
        let (labels, rows) = (self.labels(read_out), read_out.rows.count(self.sequences.shape()));
        (0..rows * numbers).map(move |at| {
            let (r, n) = (at / numbers, at % numbers);
            match labels {
                Some(labels)
                    if self.is_valid(read_out, r) && !labels.is_ignored(loss, r) && self.can_say(labels.targets, r) =>
                {
                    labels.weight(rows, numbers, (r, n))
                }
                _ => 0.0,
            }
        })
    }

    /// What the sum over the positions of a read-out is divided by; 0 where none counts.
    pub(crate) fn divisor(&self, read_out: ReadOut<'_>, loss: &Loss, divisor: Divisor) -> f64 {
        let Some(labels) = self.labels(read_out) else { return 0.0 };
        if *loss == Loss::External {
            return 1.0;
        }
        let read_out = self.positions(read_out);
        let (rows, size) = (read_out.rows.count(self.sequences.shape()), self.sequences.batch_size);
        let numbers = labels.weighed(rows);
        let of_row = |r: usize, what: fn(f64) -> f64| {
            let counts = self.is_valid(read_out, r) && !labels.is_ignored(loss, r);
            let of_number = |n| what(labels.weight(rows, numbers, (r, n)));
            if counts { (0..numbers).map(of_number).sum::<f64>() / numbers as f64 } else { 0.0 }
        };
        let is_left = |weight: f64| f64::from(u8::from(weight > 0.0));
        match divisor {
            Divisor::Positions => (0..rows).map(|r| of_row(r, is_left)).sum(),
            Divisor::Weights => (0..rows).map(|r| of_row(r, |weight| weight) * labels.class_weight(loss, r)).sum(),
            Divisor::Sequences | Divisor::Batch => {
                let counts = |b: &usize| (*b..rows).step_by(size).any(|r| of_row(r, is_left) > 0.0);
                let sequences = (0..size).filter(counts).count();
                let all = if divisor == Divisor::Batch && sequences > 0 { size } else { sequences };
                all as f64
            }
        }
    }

    /// Whether label `r` is not padding.
    fn is_valid(&self, read_out: ReadOut<'_>, r: usize) -> bool {
        let size = self.sequences.batch_size;
        read_out.rows == Rows::Sequences || r / size < self.sequences.length(r % size)
    }

    fn check_labels(&self, labels: Labels<'_>, read_out: ReadOut<'_>, loss: &Loss) -> Result<()> {
        if let (Targets::Sequences(sequences), Loss::Ctc { blank, zero_infeasible }) = (labels.targets, loss) {
            return self.check_sequences(labels, sequences, read_out, (*blank, *zero_infeasible));
        }
        let (argument, shape) = (read_out.argument("targets"), self.sequences.shape());
        let rows = read_out.rows.count(shape);
        let numbers = loss.numbers(read_out.outputs)?;
        let elementwise = loss.kind().record().elementwise;
        let name = |what| read_out.argument(what).to_string();
        check_weighing(labels, (rows, elementwise.then_some(numbers)), name)?;
        let weighed = labels.weighed(rows);
        let counts = |r: usize, n: usize| {
            let is_left = labels.weight(rows, weighed, (r, if weighed > 1 { n } else { 0 })) > 0.0;
            is_left && self.is_valid(read_out, r) && !labels.is_ignored(loss, r)
        };
        match (labels.targets, loss.targets()) {
            (Targets::None, _) if *loss == Loss::External => match (labels.loss_mask, labels.loss_weights) {
                (None, None) => {}
                _ => {
                    return Err(Error::Data(format!(
                        "{} is the caller's own, but the batch has a mask or weights; expected none: the caller's \
                         gradient says what counts",
                        read_out.argument("loss")
                    )));
                }
            },
            (Targets::Classes(ids), TargetKind::Classes) => {
                check_labels(argument, shape, read_out, None, ids.len())?;
                let counted = ids.iter().enumerate().find(|(r, id)| **id as usize >= read_out.outputs && counts(*r, 0));
                if let Some((r, id)) = counted {
                    let place = match read_out.rows {
                        Rows::Steps => position(argument, r, shape.batch_size),
                        Rows::Sequences => format!("{argument}[{r}] (sequence {r})"),
                    };
                    return Err(id_out_of_range(*id, read_out.outputs, "outputs", &place));
                }
            }
            (Targets::Values(values), TargetKind::Values) if *loss != Loss::External => {
                check_labels(argument, shape, read_out, Some(numbers), values.len())?;
                let [least, most] = loss.range().unwrap_or([f32::MIN, f32::MAX]);
                let is_taken = |value: f32| (least..=most).contains(&value);
                // One that is not taken is looked for only where there is one: a loop that may end at any element is
                // not made of vector instructions.
                if !values.iter().fold(true, |all, value| all & is_taken(*value)) {
                    let is_wrong = |(at, v): &(usize, &f32)| !is_taken(**v) && counts(*at / numbers, *at % numbers);
                    if let Some((at, value)) = values.iter().enumerate().find(is_wrong) {
                        let expected = match loss.range() {
                            None => "a finite number".to_owned(),
                            Some([least, f32::MAX]) => format!("a finite number of at least {least}"),
                            Some([least, most]) => format!("a number from {least} to {most}"),
                        };
                        return Err(Error::Data(format!("{argument}[{at}] is {value}, expected {expected}")));
                    }
                }
            }
            (Targets::OnDevice(values), TargetKind::Values) if *loss != Loss::External => {
                check_labels(argument, shape, read_out, Some(numbers), values.len())?;
                values.check_readable(&argument.to_string())?;
            }
            (given, _) => {
                let loss_name = read_out.argument("loss");
                let needs = match loss.targets() {
                    _ if *loss == Loss::External => "no targets: it is the caller's own",
                    TargetKind::Classes => "classes as targets",
                    TargetKind::Values => "real numbers as targets",
                    TargetKind::Sequences => "sequences of labels as targets",
                };
                return Err(wrong_kind(
                    &format!("{loss_name} needs {needs}"),
                    &format!("the batch has {}", given.kind()),
                ));
            }
        }
        Ok(())
    }
}

impl Labels<'_> {
    /// How many numbers of each of the positions are masked or weighed: 1 where the whole position is.
    pub(super) fn weighed(self, rows: usize) -> usize {
        let longest = self.loss_mask.map_or(0, <[bool]>::len).max(self.loss_weights.map_or(0, <[f32]>::len));
        (longest / rows.max(1)).max(1)
    }

    /// What number `n` of `numbers` of a position weighs.
    pub(super) fn weight(self, rows: usize, numbers: usize, (r, n): (usize, usize)) -> f64 {
        let place = |len: usize| if len == rows { r } else { r * numbers + n };
        let is_left = self.loss_mask.is_none_or(|mask| mask.get(place(mask.len())) == Some(&true));
        let weight =
            self.loss_weights.map_or(1.0, |weights| weights.get(place(weights.len())).copied().map_or(0.0, f64::from));
        if is_left { weight } else { 0.0 }
    }

    fn is_ignored(self, loss: &Loss, r: usize) -> bool {
        matches!(self.targets, Targets::Classes(ids) if ids.get(r).is_some_and(|id| loss.ignores(*id)))
    }

    fn class_weight(self, loss: &Loss, r: usize) -> f64 {
        match self.targets {
            Targets::Classes(ids) => ids.get(r).map_or(1.0, |id| loss.class_weight(*id)),
            _ => 1.0,
        }
    }
}

/// Checks mask and weights of so many rows, and so many numbers a row where each may be weighed; an error calls them as
/// `name` says.
pub(super) fn check_weighing(
    Labels { loss_mask, loss_weights, .. }: Labels<'_>,
    (rows, numbers): (usize, Option<usize>),
    name: impl Fn(&'static str) -> String,
) -> Result<()> {
    let lengths = [("mask", loss_mask.map(<[bool]>::len)), ("weights", loss_weights.map(<[f32]>::len))];
    for (what, len) in lengths {
        let Some(len) = len.filter(|len| *len != rows) else { continue };
        match numbers {
            Some(numbers) if rows.checked_mul(numbers) == Some(len) => {}
            Some(numbers) if numbers > 1 && len > rows => check_len(name(what), &[rows, numbers], len)?,
            _ => check_len(name(what), &[rows], len)?,
        }
    }
    let is_weight = |weight: &f32| (0.0..=f32::MAX).contains(weight);
    match loss_weights.and_then(|weights| weights.iter().enumerate().find(|(_, weight)| !is_weight(weight))) {
        None => Ok(()),
        Some((at, weight)) => {
            Err(Error::Data(format!("{}[{at}] is {weight}, expected a finite number of at least 0", name("weights"))))
        }
    }
}

/// Checks that the heads that have targets are the network's, each once.
pub(super) fn check_names(heads: &[HeadTargets], config: &Config, what: &str) -> Result<()> {
    for (at, HeadTargets { name, .. }) in heads.iter().enumerate() {
        if heads[..at].iter().any(|other| other.name == *name) {
            return Err(Error::Data(format!("{what} has two lists of targets of head `{name}`, expected one")));
        }
        if !config.heads.iter().any(|head| head.name == *name) {
            let known: Vec<&str> = config.heads.iter().map(|head| head.name.as_str()).collect();
            return Err(Error::Data(format!(
                "{what} has targets of a head `{name}`, but the network's heads are {known:?}"
            )));
        }
    }
    match config.heads.iter().find(|head| heads.iter().all(|given| given.name != head.name)) {
        None => Ok(()),
        Some(head) => Err(Error::Data(format!(
            "the network has a head `{}`, but {what} has no targets of it; expected them by `with_head`, and a mask \
             where none counts",
            head.name
        ))),
    }
}

/// Checks the number of labels, each of `width` numbers or an id; where it is that of another read-out, the error says
/// which the model has.
pub(super) fn check_labels(
    argument: impl Display,
    shape: BatchShape,
    read_out: ReadOut<'_>,
    width: Option<usize>,
    given: usize,
) -> Result<()> {
    let (labels, each) = (read_out.rows.count(shape), width.unwrap_or(1));
    if labels.checked_mul(each) == Some(given) {
        return Ok(());
    }
    let every_step = read_out.rows == Rows::Steps;
    let other = if every_step { Rows::Sequences } else { Rows::Steps }.count(shape);
    let expected: Vec<usize> = [labels].into_iter().chain(width).collect();
    let network = if read_out.name.is_none() { "the network" } else { "what it reads" };
    let argument = match (other.saturating_mul(each) == given, every_step) {
        (true, true) => format!("{argument} (one for every step, as {network} has no pool)"),
        (true, false) => format!("{argument} (one for each sequence, as {network} has a pool)"),
        (false, _) => argument.to_string(),
    };
    Err(Error::shape(&argument, &expected, &[given]))
}
