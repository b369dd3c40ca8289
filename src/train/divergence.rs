//! What led to a step that diverged: the losses and norms before it, and which tensor is the first that is not finite.
//!
//! The contract: it is read from what the last step has left on the device, so a training that does not diverge pays nothing
//! for it, and where that step was finite again nothing is named.

use super::Trainer;
use crate::error::{Divergence, NotFinite, Result};
use crate::gpu::Wait;
use crate::model::Layout;

impl Trainer {
    /// What led to a divergence, where the last step has these metrics.
    pub(super) async fn divergence(&mut self, last: [f32; 4], wait: Wait) -> Result<Divergence> {
        let [losses, norms] = [0, 1].map(|of| self.recent.iter().map(|metrics| metrics[of]).collect());
        let [loss, .., finite] = last;
        let first = if finite == 1.0 { None } else { self.first_not_finite(loss, wait).await? };
        Ok(Divergence { losses, norms, first: first.map(|first| (self.steps, first)) })
    }

    /// In the order in which a step computes: parameters, states from the first layer up, the loss, gradients back down.
    async fn first_not_finite(&mut self, loss: f32, wait: Wait) -> Result<Option<NotFinite>> {
        let (id, tensors) = self.shared;
        let values = self.executor.read(id, tensors.parameters, wait).await?;
        if let Some(name) = broken(&self.layout, &values).next() {
            return Ok(Some(NotFinite::Parameter(name)));
        }
        let Some((training, last)) = self.last.clone().and_then(|last| Some((last.tensors.training?, last))) else {
            return Ok(None);
        };
        // `[S, L, B, D·H]`, as the window has left it.
        let state = self.executor.read(last.id, last.tensors.state, wait).await?;
        let layer = state.len() / self.config.cell.states() / self.config.layers;
        let first = (0..self.config.layers).find(|l| {
            let mut of_layer = state.chunks_exact(layer).skip(*l).step_by(self.config.layers);
            of_layer.any(|values| !values.iter().all(|value| value.is_finite()))
        });
        if let Some(layer) = first {
            return Ok(Some(NotFinite::State { layer }));
        }
        if !loss.is_finite() {
            return Ok(Some(NotFinite::Loss));
        }
        let values = self.executor.read(last.id, training.gradients, wait).await?;
        // The layout goes up from the first layer, the gradient comes down to it.
        Ok(broken(&self.layout, &values).last().map(NotFinite::Gradient))
    }
}

/// The parameters among whose values one is not finite.
fn broken<'a>(layout: &'a Layout, values: &'a [f32]) -> impl Iterator<Item = String> + 'a {
    let is_broken = |range: std::ops::Range<usize>| values[range].iter().any(|value| !value.is_finite());
    layout.parameters().iter().filter(move |p| is_broken(p.range())).map(|p| p.name.clone())
}
