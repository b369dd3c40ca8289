//! What a training step or an evaluation reads from the host beside its sequences: targets, mask, parameters of the
//! step, and the rows of each token.
//!
//! The contract: nothing here waits for the device.

use crate::data::{Batch, Inputs, Targets, of_network};
use crate::error::{Error, Result};
use crate::plan::StepParams;
use crate::session::{CachedPlan, Carried, Session};

/// The error of a step or an evaluation none of whose labels counts.
pub(super) fn nothing_counts(labels: usize) -> Error {
    Error::Data(format!("the mask leaves none of the {labels} positions to learn from"))
}

/// Writes everything that one run on a window reads; `positions` are those of each read-out, divided by its weight.
pub(super) fn upload(
    session: &mut Session,
    plan: &CachedPlan,
    batch: &Batch,
    (carried, step_params, positions): (&Carried, StepParams<f64>, &[f64]),
    rows: &mut RowsByToken,
) -> Result<()> {
    session.feed(plan, &batch.sequences.span(), &batch.sequences.start, carried)?;
    let id = plan.id;
    let (config, executor) = session.config_and_executor();
    let segment = plan.tensors.training.map(|training| training.segment);
    let rows_by_token = plan.tensors.training.and_then(|training| Some((training.rows_by_token?, training.segment)));
    if let (Some(((order, starts), segment)), Inputs::Tokens(tokens)) = (rows_by_token, &batch.sequences.inputs) {
        rows.sort(tokens, segment * batch.sequences.batch_size, config.input.size());
        executor.write_ids(id, order, &rows.order)?;
        executor.write_ids(id, starts, &rows.starts)?;
    }
    for ((column, inputs), to) in of_network(&batch.sequences.columns, config).zip(&plan.tensors.columns) {
        if let (Some((order, starts)), Inputs::Tokens(tokens), Some(segment)) = (to.rows_by_token, inputs, segment) {
            rows.sort(tokens, segment * batch.sequences.batch_size, column.input.size());
            executor.write_ids(id, order, &rows.order)?;
            executor.write_ids(id, starts, &rows.starts)?;
        }
    }
    let losses = std::iter::once(plan.loss()).chain(plan.tensors.heads.iter().filter_map(|head| head.loss));
    for ((read_out, loss), positions) in config.read_outs().zip(losses).zip(positions) {
        match batch.labels(read_out).map(|labels| labels.targets) {
            Some(Targets::Classes(classes)) => executor.write_ids(id, loss.targets, classes)?,
            Some(Targets::Values(values)) => executor.write_f32(id, loss.targets, values)?,
            None => unreachable!("a batch that was checked"),
        }
        executor.write(id, loss.loss_mask, batch.counting(read_out).map(|counts| f64::from(u8::from(counts))))?;
        let step_params = StepParams { positions: *positions, ..step_params };
        executor.write(id, loss.step_params, step_params.elements().into_iter())?;
    }
    Ok(())
}

/// The rows of each token in every part of a window: `order[starts[p, v]..starts[p, v + 1]]` are those of v in part p,
/// counted from the first of the part.
#[derive(Debug, Default)]
pub(super) struct RowsByToken {
    order: Vec<u32>,
    starts: Vec<u32>,
    next: Vec<u32>,
}

impl RowsByToken {
    /// By counting, in parts of `part` rows.
    fn sort(&mut self, tokens: &[u32], part: usize, vocabulary: usize) {
        let RowsByToken { order, starts, next } = self;
        order.clear();
        order.resize(tokens.len(), 0);
        starts.clear();
        let mut before = 0;
        for tokens in tokens.chunks(part) {
            let first = starts.len();
            starts.resize(first + vocabulary + 1, 0);
            let starts = &mut starts[first..];
            starts[0] = before;
            for &token in tokens {
                starts[token as usize + 1] += 1;
            }
            for v in 0..vocabulary {
                starts[v + 1] += starts[v];
            }
            before = starts[vocabulary];
            next.clear();
            next.extend_from_slice(starts);
            for (row, &token) in (0..).zip(tokens) {
                let place = &mut next[token as usize];
                order[*place as usize] = row;
                *place += 1;
            }
        }
    }
}
