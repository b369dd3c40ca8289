//! What a training step or an evaluation reads from the host beside its sequences: targets, mask, parameters of the
//! step, and the rows of each token.
//!
//! The contract: nothing here waits for the device.

use crate::data::{Batch, Inputs, Targets, of_network};
use crate::error::{Error, Result};
use crate::model::Config;
use crate::plan::{StepParams, WindowForm};
use crate::recipe::Recipe;
use crate::session::{CachedPlan, Carried, Session};

/// The error of a step or an evaluation none of whose labels counts.
pub(super) fn nothing_counts(labels: usize) -> Error {
    Error::Data(format!("the mask leaves none of the {labels} positions to learn from"))
}

/// The form of a window.
pub(super) fn form_of(batch: &Batch, config: &Config) -> WindowForm {
    let (steps, size) = (batch.sequences.steps, batch.sequences.batch_size);
    let resets = !batch.sequences.resets.is_empty();
    let (elementwise, labels) = (batch.is_elementwise(config), batch.room_for_labels(config));
    WindowForm { elementwise, resets, labels, ..WindowForm::new(steps, size) }
}

/// Checks a batch of a training or an evaluation, before anything is written.
pub(super) fn check(session: &mut Session, batch: &Batch, recipe: &Recipe) -> Result<()> {
    batch.check(session.config(), recipe)?;
    session.check_lent(batch.sequences.inputs.borrowed(), &batch.sequences.columns)?;
    let targets = std::iter::once(&batch.targets).chain(batch.heads.iter().map(|head| &head.targets));
    for targets in targets {
        if let Targets::OnDevice(slice) = targets {
            session.executor.check_slice(slice)?;
        }
    }
    Ok(())
}

/// What the sum of the losses of a window is divided by, for each read-out.
pub(super) fn divisors(batch: &Batch, config: &Config, recipe: &Recipe) -> impl Iterator<Item = f64> {
    config
        .read_outs()
        .map(|read_out| recipe.loss_of(read_out.name).map_or(0.0, |loss| batch.divisor(read_out, loss, recipe.divisor)))
}

/// What weights are multiplied by, and what the sum of losses is divided by: where there is nothing to divide by, the
/// weights are 0 and the sum stays what it then is.
pub(super) fn dividing(divisor: f64) -> (f64, f64) {
    if divisor == 0.0 { (0.0, 1.0) } else { (1.0, divisor) }
}

/// Writes everything that one run on a window reads; `divisors` are what the losses of its step are divided by.
pub(super) fn upload(
    session: &mut Session,
    plan: &CachedPlan,
    batch: &Batch,
    recipe: &Recipe,
    (carried, step_params, divisors): (&Carried, StepParams<f64>, &[f64]),
    rows: &mut TokenRows,
) -> Result<()> {
    session.feed(plan, &batch.sequences.span(), &batch.sequences.start, carried)?;
    let id = plan.id;
    let (config, executor) = session.config_and_executor();
    if let Some(training) = plan.tensors.training {
        let sequences = &batch.sequences;
        let part = training.segment * sequences.batch_size;
        let columns = of_network(&sequences.columns, config).zip(&plan.tensors.columns);
        let columns = columns.map(|((column, inputs), to)| (column.input.size(), inputs, to.rows_by_token));
        let own = (config.input.size(), &sequences.inputs, training.rows_by_token);
        for (at, (vocabulary, inputs, to)) in std::iter::once(own).chain(columns).enumerate() {
            let (Some(to), Inputs::Tokens(tokens)) = (to, inputs) else { continue };
            match to.updated {
                None => rows.sorted.sort(tokens.iter().copied().map(Some), part, vocabulary),
                Some(table) => {
                    let len = executor.plan(id).get(table.rows.ids).len();
                    let ids = rows.occurring.get(at).map_or(&[][..], Vec::as_slice);
                    let padded = (0..len).map(|at| ids.get(at).copied().unwrap_or(u32::MAX));
                    executor.write_each_id(id, table.rows.ids, padded)?;
                    let place = |(row, token): (usize, &u32)| {
                        // What lies behind the end of a sequence has no gradient.
                        let counts = row / sequences.batch_size < sequences.length(row % sequences.batch_size);
                        ids.binary_search(token).ok().filter(|_| counts).map(|number| number as u32)
                    };
                    rows.sorted.sort(tokens.iter().enumerate().map(place), part, len);
                }
            }
            executor.write_ids(id, to.order, &rows.sorted.order)?;
            executor.write_ids(id, to.starts, &rows.sorted.starts)?;
        }
    }
    let losses = std::iter::once(plan.loss()).chain(plan.tensors.heads.iter().filter_map(|head| head.loss));
    for ((read_out, to), divisor) in config.read_outs().zip(losses).zip(divisors) {
        let labels = batch.labels(read_out);
        match labels.map(|labels| labels.targets) {
            Some(Targets::Classes(classes)) => executor.write_ids(id, to.targets, classes)?,
            Some(Targets::Values(values)) => executor.write_f32(id, to.targets, values)?,
            Some(Targets::OnDevice(values)) => executor.write_slice(id, to.targets, values)?,
            Some(Targets::Sequences(_)) => {
                let len = executor.plan(id).get(to.targets).len();
                let room = (len / batch.sequences.batch_size - 1) / 2;
                labels.into_iter().for_each(|labels| batch.write_sequences(labels, room, &mut rows.sequences));
                executor.write_ids(id, to.targets, &rows.sequences)?;
            }
            // A loss of the caller's, whose gradient comes later.
            Some(Targets::None) => {}
            None => unreachable!("a batch that was checked"),
        }
        let Some(loss) = recipe.loss_of(read_out.name) else { unreachable!("a recipe that was checked") };
        let positions = batch.positions(read_out).rows.count(batch.sequences.shape());
        let numbers = executor.plan(id).get(to.loss_weights).len() / positions;
        let (scale, divisor) = dividing(*divisor);
        let weights = batch.weights(read_out, loss, numbers);
        executor.write(id, to.loss_weights, weights.map(|weight| scale * weight))?;
        if let Some(settings) = to.settings {
            let count = executor.plan(id).get(settings).len();
            executor.write(id, settings, (0..count).map(|at| loss.setting(at)))?;
        }
        let step_params = StepParams { divisor, ..step_params };
        executor.write(id, to.step_params, step_params.elements().into_iter())?;
    }
    Ok(())
}

/// What a training is told of tokens, and of labels. Kept from step to step for its memory.
#[derive(Debug, Default)]
pub(super) struct TokenRows {
    /// Of a training that updates no others, the rows of tables that a step reads: of the network's inputs, and of each
    /// column. Ascending; none of what has no table.
    pub occurring: Vec<Vec<u32>>,
    /// The same of the last step that was taken, whose gradients are on the device.
    pub updated: Vec<Vec<u32>>,
    sorted: RowsByToken,
    /// What the device is told of targets that are sequences of labels.
    sequences: Vec<u32>,
}

impl TokenRows {
    /// Takes note that the step was taken.
    pub fn end_step(&mut self) {
        self.updated.clone_from(&self.occurring);
    }

    /// Finds those of all windows of a step, but for the padding's.
    pub fn find_occurring(&mut self, config: &Config, batches: &[Batch]) {
        let tables = std::iter::once(config.embedding_of_inputs())
            .chain(config.columns.iter().map(|column| column.embedding.as_ref()));
        self.occurring.resize(1 + config.columns.len(), Vec::new());
        for (at, (ids, table)) in self.occurring.iter_mut().zip(tables).enumerate() {
            ids.clear();
            let Some(table) = table else { continue };
            for Batch { sequences, .. } in batches {
                let inputs = match at.checked_sub(1) {
                    None => Some(&sequences.inputs),
                    Some(column) => of_network(&sequences.columns, config).nth(column).map(|(_, inputs)| inputs),
                };
                let Some(Inputs::Tokens(tokens)) = inputs else { continue };
                let steps = tokens.chunks(sequences.batch_size).enumerate();
                ids.extend(steps.flat_map(|(t, row)| {
                    let valid = row.iter().enumerate().filter(move |(b, _)| t < sequences.length(*b));
                    valid.map(|(_, token)| *token)
                }));
            }
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| Some(*id as usize) != table.padding);
        }
    }
}

/// The rows of each token in every part of a window: `order[starts[p, v]..starts[p, v + 1]]` are those of v in part p,
/// counted from the first of the part.
#[derive(Debug, Default)]
struct RowsByToken {
    order: Vec<u32>,
    starts: Vec<u32>,
    next: Vec<u32>,
    /// Of each row the group that it belongs to, if to any.
    groups: Vec<Option<u32>>,
}

impl RowsByToken {
    /// By counting, in parts of `part` rows, each of which belongs to one of `count` groups or to none.
    fn sort(&mut self, of_rows: impl Iterator<Item = Option<u32>>, part: usize, count: usize) {
        let RowsByToken { order, starts, next, groups } = self;
        groups.clear();
        groups.extend(of_rows);
        order.clear();
        order.resize(groups.len(), 0);
        starts.clear();
        let mut before = 0;
        for groups in groups.chunks(part) {
            let first = starts.len();
            starts.resize(first + count + 1, 0);
            let starts = &mut starts[first..];
            starts[0] = before;
            for group in groups.iter().flatten() {
                starts[*group as usize + 1] += 1;
            }
            for v in 0..count {
                starts[v + 1] += starts[v];
            }
            before = starts[count];
            next.clear();
            next.extend_from_slice(starts);
            for (row, group) in (0..).zip(groups) {
                let Some(group) = group else { continue };
                let place = &mut next[*group as usize];
                order[*place as usize] = row;
                *place += 1;
            }
        }
    }
}
