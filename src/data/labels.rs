//! What is expected of a read-out, the network's own or a head's, and the rules that it is held to.
//!
//! The contract: what passes has a label for every row of the read-out, and every label is one that the loss can take.

use std::fmt::Display;

use super::{Batch, Targets, check_finite, check_ids, check_len, position, wrong_kind};
use crate::error::{Error, Largest, Result};
use crate::model::{BatchShape, Config, ReadOut, Rows};
use crate::recipe::{Loss, Recipe, TargetKind};

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
    /// `[R]` class ids or `[R, O]` numbers, R being T·B of a head below a pool, else B.
    pub targets: Targets,
    /// `[R]`: which positions count in its loss; `None`: all that are not padding.
    pub loss_mask: Option<Vec<bool>>,
}

impl HeadTargets {
    /// What is expected of a head of that name; every position counts.
    pub fn new(name: impl Into<String>, targets: impl Into<Targets>) -> Self {
        HeadTargets { name: name.into(), targets: targets.into(), loss_mask: None }
    }

    /// The same, of which only some positions count: `[R]`.
    pub fn with_loss_mask(self, mask: Vec<bool>) -> Self {
        HeadTargets { loss_mask: Some(mask), ..self }
    }
}

/// The labels of one read-out.
#[derive(Clone, Copy)]
pub(crate) struct Labels<'a> {
    pub targets: &'a Targets,
    pub loss_mask: Option<&'a [bool]>,
}

impl Batch {
    /// Whether a network of this configuration can be trained on the batch by this recipe.
    ///
    /// Targets that the mask leaves out, and those of padding, are held to the same rules: executors read them too.
    ///
    /// # Errors
    /// Same as [`Sequences::check`](crate::Sequences::check); [`Error::Config`] for heads that have no loss in the
    /// recipe, or a loss of none; [`Error::Shape`] for targets or a mask of another length; [`Error::Data`] for targets
    /// of the wrong kind, an id out of range or a number that is not finite, and for a head without targets or targets
    /// without a head. A mask may leave nothing: that a step or an evaluation has no label at all is seen there.
    pub fn check(&self, config: &Config, recipe: &Recipe) -> Result<()> {
        self.sequences.check(config)?;
        recipe.check_heads(config)?;
        self.check_heads(config)?;
        for read_out in config.read_outs() {
            let loss = read_out.name.map_or(Some(recipe.loss), |name| recipe.head(name).map(|head| head.loss));
            if let (Some(labels), Some(loss)) = (self.labels(read_out), loss) {
                labels.check(read_out, self.sequences.shape(), loss)?;
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
            None => Some(Labels { targets: &self.targets, loss_mask: self.loss_mask.as_deref() }),
            Some(name) => {
                let head = self.heads.iter().find(|head| head.name == name)?;
                Some(Labels { targets: &head.targets, loss_mask: head.loss_mask.as_deref() })
            }
        }
    }

    /// How many positions of any read-out are no padding, whatever the mask says.
    pub(crate) fn valid(&self, config: &Config) -> usize {
        let of_one = |read_out: ReadOut<'_>| {
            let labels = read_out.rows.count(self.sequences.shape());
            (0..labels).filter(|&r| self.is_valid(read_out, r)).count()
        };
        config.read_outs().map(of_one).sum()
    }

    /// The largest number that is read or expected, where it is large.
    pub(crate) fn largest(&self, config: &Config) -> Option<Largest> {
        let targets = config.read_outs().filter_map(|read_out| {
            let Targets::Values(y) = self.labels(read_out)?.targets else { return None };
            let shape = [read_out.rows.count(self.sequences.shape()), read_out.outputs];
            Largest::of(read_out.argument("targets"), y, &shape)
        });
        targets.fold(self.sequences.largest(config), |largest, of_one| Largest::or(largest, Some(of_one)))
    }

    /// How many positions of a batch that [`Batch::check`] passes count in the loss of the network's own read-out:
    /// those that are no padding and that the mask, if there is one, leaves.
    pub fn count(&self, config: &Config) -> usize {
        self.count_of(config.read_out())
    }

    /// The same of any read-out.
    pub(crate) fn count_of(&self, read_out: ReadOut<'_>) -> usize {
        self.counting(read_out).filter(|counts| *counts).count()
    }

    /// `[R]`: whether each position of a read-out counts.
    pub(crate) fn counting<'a>(&'a self, read_out: ReadOut<'a>) -> impl ExactSizeIterator<Item = bool> + 'a {
        let mask = self.labels(read_out).and_then(|labels| labels.loss_mask);
        let left = move |r| mask.is_none_or(|mask| mask.get(r) == Some(&true));
        let labels = read_out.rows.count(self.sequences.shape());
        (0..labels).map(move |r| left(r) && self.is_valid(read_out, r))
    }

    /// Whether label `r` is not padding.
    fn is_valid(&self, read_out: ReadOut<'_>, r: usize) -> bool {
        let size = self.sequences.batch_size;
        read_out.rows == Rows::Sequences || r / size < self.sequences.length(r % size)
    }
}

impl Labels<'_> {
    fn check(self, read_out: ReadOut<'_>, shape: BatchShape, loss: Loss) -> Result<()> {
        let (targets, labels) = (read_out.argument("targets"), read_out.rows.count(shape));
        match (self.targets, loss.targets()) {
            (Targets::Classes(ids), TargetKind::Classes) => {
                check_labels(targets, shape, read_out, None, ids.len())?;
                check_ids(ids, read_out.outputs, "outputs", |r| match read_out.rows {
                    Rows::Steps => position(targets, r, shape.batch_size),
                    Rows::Sequences => format!("{targets}[{r}] (sequence {r})"),
                })?;
            }
            (Targets::Values(values), TargetKind::Values) => {
                check_labels(targets, shape, read_out, Some(read_out.outputs), values.len())?;
                check_finite(targets, values)?;
            }
            (given, _) => {
                let loss = read_out.argument("loss");
                let (needs, has) = match given {
                    Targets::Classes(_) => ("real numbers as targets", "classes"),
                    Targets::Values(_) => ("classes as targets", "real numbers"),
                };
                return Err(wrong_kind(&format!("{loss} needs {needs}"), &format!("the batch has {has}")));
            }
        }
        self.loss_mask.map_or(Ok(()), |mask| check_len(read_out.argument("mask"), &[labels], mask.len()))
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
