//! What led to a step that diverged: the losses and norms before it, which tensor is the first that is not finite, and
//! how large the numbers are that it was given.
//!
//! The contract: it is read from what the last step has left on the device, so a training that does not diverge pays
//! nothing for it, and where that step was finite again nothing is named.

use super::Trainer;
use crate::error::{Divergence, Largest, NotFinite, Result};
use crate::model::{Layout, StatePart, StateShape};
use crate::plan::{DType, MetricsRow, Tensor};

impl Trainer {
    /// What led to a divergence, where the last step has these metrics.
    pub(super) async fn divergence(&mut self, last: MetricsRow) -> Result<Divergence> {
        let losses = self.recent.iter().map(|metrics| metrics.loss).collect();
        let norms = self.recent.iter().map(|metrics| metrics.grad_norm).collect();
        let mut seen = Divergence { losses, norms, ..Divergence::default() };
        if last.updates != 1.0 {
            seen.first = self.first_not_finite(last.loss).await?.map(|first| (self.steps, first));
            seen.largest = self.largest().await?;
        }
        Ok(seen)
    }

    /// What an evaluation saw whose loss is not finite.
    pub(super) async fn broken_evaluation(&mut self, largest: Option<Largest>) -> Result<Divergence> {
        let first = self.first_parameter().await?.map(|first| (self.steps, first));
        Ok(Divergence { first, largest, ..Divergence::default() })
    }

    /// The largest number that the last window was given, where it is large.
    async fn largest(&mut self) -> Result<Option<Largest>> {
        let Some(last) = self.last.clone() else { return Ok(None) };
        let mut largest = None;
        let named = self.config().read_outs().map(|read_out| read_out.argument("targets").to_string());
        let losses = std::iter::once(Some(last.loss())).chain(last.tensors.heads.iter().map(|head| head.loss));
        let targets = named.zip(losses).filter_map(|(argument, loss)| Some((argument, loss?.targets)));
        let columns = self.config().columns.iter().zip(&last.tensors.columns);
        let columns = columns.map(|(column, to)| (format!("inputs of column `{}`", column.name), to.input));
        let all = std::iter::once(("inputs".to_owned(), last.tensors.inputs)).chain(columns).chain(targets);
        let all: Vec<_> = all.collect();
        for (argument, tensor) in all {
            let Tensor { dtype, shape, .. } = self.session.executor.plan(last.id).get(tensor).clone();
            if dtype == DType::F32 {
                let values = self.session.executor.read(last.id, tensor).await?;
                largest = Largest::or(largest, Largest::of(argument, &values, &shape));
            }
        }
        Ok(largest)
    }

    async fn first_parameter(&mut self) -> Result<Option<NotFinite>> {
        let values = self.session.read_shared(self.session.shared().parameters).await?;
        Ok(broken(&self.layout, &values).next().map(NotFinite::Parameter))
    }

    /// In the order in which a step computes: parameters, states from the first layer up, the loss, gradients back
    /// down.
    async fn first_not_finite(&mut self, loss: f32) -> Result<Option<NotFinite>> {
        if let Some(parameter) = self.first_parameter().await? {
            return Ok(Some(parameter));
        }
        let Some(last) = self.last.clone() else { return Ok(None) };
        // As the window has left it.
        let state = self.session.executor.read(last.id, last.tensors.state).await?;
        let shape = StateShape::new(self.session.config());
        let is_broken = |part: &&StatePart| state[part.range(last.batch)].iter().any(|value| !value.is_finite());
        if let Some(layer) = shape.parts().iter().filter(is_broken).map(|part| part.layer).min() {
            return Ok(Some(NotFinite::State { layer }));
        }
        if !loss.is_finite() {
            return Ok(Some(NotFinite::Loss));
        }
        let values = self.flat_gradients(&last).await?;
        // The layout goes up from the first layer, the gradient comes down to it.
        Ok(broken(&self.layout, &values).last().map(NotFinite::Gradient))
    }
}

/// The parameters among whose values one is not finite.
fn broken<'a>(layout: &'a Layout, values: &'a [f32]) -> impl Iterator<Item = String> + 'a {
    let is_broken = |range: std::ops::Range<usize>| values[range].iter().any(|value| !value.is_finite());
    layout.parameters().iter().filter(move |p| is_broken(p.range())).map(|p| p.name.clone())
}
