//! Back-propagation through time, from the gradient of the outputs to that of every parameter, and the update.

use super::layer::{Link, Part, Segment};
use super::loss::RowLoss;
use super::{Builder, ForwardTensors, LossTensors, MOMENTS, TrainingTensors};
use crate::error::Result;
use crate::model::modules;
use crate::plan::{
    DType, GradientSegment, Lifetime, NormPartial, Op, Phase, ReduceGradients, Update, UpdateLossScale, ZeroTensor,
};
use crate::recipe::Recipe;

impl Builder<'_> {
    pub(super) fn train(
        &mut self,
        forward: &ForwardTensors,
        recipe: &Recipe,
        losses: &[RowLoss],
    ) -> Result<TrainingTensors> {
        let [RowLoss { inputs: LossTensors { step_params, metrics, .. }, .. }, ..] = *losses else {
            unreachable!("a training without a loss")
        };
        self.phase = Phase::Backward;
        let flat = self.layout.buffer_len();
        let rows = self.segment * self.batch;
        let slices = self.config.recurrent_layers().map(|l| self.target.slices(rows, (l.gates(), l.hidden), flat));
        let cut = slices.max().unwrap_or(1);
        // Kept, because the gaps between parameters are nobody's and stay zero.
        let slices = self.real("gradient_slices", &[cut, flat], Lifetime::Scratch)?;
        let gradients = self.real("gradients", &[flat], Lifetime::Shared)?;
        let parameter_flags = self.plan.tensor("parameter_flags", &[flat], DType::U32, Lifetime::Shared)?;
        let partials = self.real(
            "norm_partials",
            &[flat.div_ceil(ReduceGradients::BLOCK), NormPartial::LEN],
            Lifetime::Transient,
        )?;
        // Kept, because segments add to it.
        let excess = match self.segment < self.steps {
            true => Some(self.real("gradients_excess", &[flat], Lifetime::Scratch)?),
            false => None,
        };
        if recipe.trace {
            let shape = [self.directions_below(self.config.layers.len()), self.steps];
            self.trace = Some(self.real("trace", &shape, Lifetime::Scratch)?);
        }
        let is_learned =
            modules(self.config).iter().any(|module| self.offset(&format!("{}h_0", module.prefix)).is_some());
        for first in (0..self.steps).step_by(self.segment).rev() {
            let steps = self.segment.min(self.steps - first);
            let is_last = first + steps == self.steps;
            let recomputed = match forward.states.filter(|_| !is_last) {
                None => None,
                Some(states) => {
                    let len = self.plan.get(forward.state).len();
                    let (state, lengths) = ((states, first / self.segment * len), forward.lengths);
                    Some(self.chunk(&forward.shared, &Part { first, steps, lengths, state, leaves: false })?)
                }
            };
            let (base, layers) = match &recomputed {
                None => (&forward.base, &forward.layers),
                Some((base, layers)) => (base, layers),
            };
            // Without a table nobody wants its gradient.
            let base = base.as_ref().filter(|_| self.config.columns.iter().any(|column| column.embedding.is_some()));
            if forward.states.is_some() && (forward.pool.is_some() || is_learned) {
                // Not every segment has a gradient of every parameter.
                self.push(Op::Zero(ZeroTensor { tensor: slices }));
            }
            let segment = Segment { first, is_last, slices, step_params };
            self.read_out_gradient(forward, layers, segment)?;
            for (at, layer) in layers.iter().enumerate().rev() {
                let below = at.checked_sub(1).map(|below| &layers[below]).or(base);
                self.head_rows(&forward.shared.heads, (at, layer.rows), &*layer.tape, segment)?;
                let below = below.map(|below| Link { tape: &*below.tape, rows: below.handed, draw: below.draw });
                layer.tape.backward(self, segment, below)?;
            }
            if let Some(base) = base {
                base.tape.backward(self, segment, None)?;
            }
            if first == 0 {
                self.phase = Phase::Update;
            }
            let loss_scale = self.loss_scale;
            let combined = excess.map(|excess| GradientSegment { excess, adds: !is_last });
            self.push(Op::ReduceGradients(ReduceGradients {
                slices,
                loss_scale,
                step_params,
                parameter_flags,
                gradients,
                segment: combined,
                partials,
            }));
        }
        self.measure(losses, Some((partials, recipe.clip)))?;
        let mut moments = Vec::new();
        for name in MOMENTS.iter().take(recipe.optimizer.moment_count()) {
            moments.push(self.real(name, &[flat], Lifetime::Shared)?);
        }
        let (keys, loss_scale, segment, trace) = (self.keys, self.loss_scale, self.segment, self.trace);
        let rows_by_token = self.rows_by_token;
        let moments_by_place = [moments.first().copied(), moments.get(1).copied()];
        let training = TrainingTensors {
            gradients,
            parameter_flags,
            moments: moments_by_place,
            rows_by_token,
            segment,
            keys,
            trace,
            loss_scale,
        };
        self.plan.push(
            Phase::Update,
            Op::Update(Update {
                optimizer: recipe.optimizer,
                clip: recipe.clip,
                step_params,
                metrics,
                gradients,
                parameter_flags,
                parameters: self.parameters,
                moments,
            }),
        );
        if let Some(loss_scale) = loss_scale {
            self.plan.push(Phase::Update, Op::UpdateLossScale(UpdateLossScale { loss_scale, step_params, metrics }));
        }
        Ok(training)
    }
}
