//! What a recurrence needs beside itself where sequences may begin anew within the window.
//!
//! The contract: the state that they begin from is written before every part that reads it, and room for its gradient
//! is emptied before the first segment that adds to it.

use super::Builder;
use crate::error::Result;
use crate::model::Saved;
use crate::plan::{Op, Recurrence, StartState, StatesBefore, TensorId, View};

impl Builder<'_> {
    /// The state that sequences begin anew from, in its slot of a history of a kind of state: layer `number` of what
    /// was learned, or zeros.
    pub(super) fn start_of(
        &mut self,
        recurrence: &Recurrence,
        (kind, history): (usize, TensorId),
        (learned, number): (Option<View>, usize),
    ) {
        let Some(start) = recurrence.resets else { return };
        let learned = learned.map(|all| View { offset: all.offset + number * all.cols, rows: 1, ..all });
        self.start_state(learned, (history, start, recurrence.state_width(kind)));
    }

    /// Room for the gradients of that state: of h among those of h, of c behind c's.
    pub(super) fn no_start_gradients(&mut self, recurrence: &Recurrence, upstream: TensorId) {
        let Some(start) = recurrence.resets else { return };
        self.start_state(None, (upstream, start, recurrence.state_width(0)));
        if let (Saved::State, Some(c)) = (recurrence.cell.saved(), recurrence.saved) {
            self.start_state(None, (c, start + 1, recurrence.state_width(1)));
        }
    }

    fn start_state(&mut self, learned: Option<View>, (tensor, slot, width): (TensorId, usize, usize)) {
        let to = View::new(tensor, slot * self.batch * width, self.batch, width);
        self.push(Op::StartState(StartState { learned, parameters: self.rounded, to }));
    }

    /// `[T, B, D·P]`: h as every step has read it.
    pub(super) fn states_before(&mut self, recurrence: &Recurrence, start: usize) -> Result<TensorId> {
        let Recurrence { history, lengths, directions, reverse, steps, batch, .. } = *recurrence;
        let width = recurrence.state_width(0);
        let tensor = self.scratch("states_before", &[self.segment, batch, width], self.storage_dtype)?;
        let out = View::new(tensor, 0, steps * batch, width);
        self.push(Op::StatesBefore(StatesBefore { history, start, lengths, directions, reverse, steps, out }));
        Ok(tensor)
    }
}
