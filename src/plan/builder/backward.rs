//! Back-propagation through time, from the gradient of the outputs to that of every parameter, and the update.

use super::layer::{Done, Link, Part, Segment, Site};
use super::loss::RowLoss;
use super::{AVERAGE, Builder, ForwardTensors, LossTensors, MOMENTS, TrainingTensors};
use crate::error::Result;
use crate::model::modules;
use crate::plan::{
    AverageParameters, CopyView, DType, GradientSegment, GroupNorm, Lifetime, METRICS_SLOTS, MetricsRow, NormPartial,
    Op, Phase, ReduceGradients, ScaleGroup, StepMetrics, TensorId, Update, UpdateLossScale, UpdatedTable, View,
    ZeroTensor, flags_len,
};
use crate::recipe::{Clip, Recipe};

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
        let lazy = self.updated_rows.is_some();
        let flat = if lazy { self.layout.dense_len() } else { self.layout.buffer_len() };
        let rows = self.segment * self.batch;
        let slices = self.config.recurrent_layers().map(|l| self.target.slices(rows, (l.gates(), l.hidden), flat));
        let cut = slices.max().unwrap_or(1);
        // Kept, because the gaps between parameters are nobody's and stay zero.
        let slices = self.real("gradient_slices", &[cut, flat], Lifetime::Scratch)?;
        let gradients = self.real("gradients", &[flat], Lifetime::Shared)?;
        let parameter_flags =
            self.plan.tensor("parameter_flags", &[flags_len(recipe, self.layout)], DType::U32, Lifetime::Shared)?;
        let tables = self.updated_tables()?;
        let reductions = self.reductions((slices, gradients), &tables, (parameter_flags, step_params), recipe)?;
        if recipe.trace {
            let shape = [self.directions_below(self.config.layers.len()), self.steps];
            self.trace = Some(self.real("trace", &shape, Lifetime::Scratch)?);
        }
        if recipe.input_gradients {
            self.open_read_gradients()?;
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
            let input_tape = self.input_tape(first, steps * self.batch);
            let has_table = self.config.columns.iter().any(|column| column.embedding.is_some());
            let base = base.as_ref().filter(|_| has_table || input_tape.is_some());
            if forward.states.is_some() && (forward.pool.is_some() || is_learned) {
                // Not every segment has a gradient of every parameter.
                self.push(Op::Zero(ZeroTensor { tensor: slices }));
            }
            let inputs = |builder: &Self| {
                let (tape, x) = (input_tape.as_ref()?, forward.shared.dense?);
                let (offset, rows) = (x.offset + first * builder.batch * x.cols, steps * builder.batch);
                let (draw, period) = (builder.draw(Site::Inputs), builder.batch);
                Some(Link { tape, rows: View { offset, rows, ..x }, draw, period })
            };
            let segment = Segment { first, is_last, slices, step_params };
            self.read_out_gradient(forward, layers, segment)?;
            for (at, layer) in layers.iter().enumerate().rev() {
                let below = at.checked_sub(1).map(|below| &layers[below]).or(base);
                self.head_rows(&forward.shared.heads, (at, layer.rows), &*layer.tape, segment)?;
                let below = below.filter(|below| below.tape.hands_on().is_none());
                let period = self.rows;
                let below = below.map(|Done { tape, handed, draw, .. }| Link {
                    tape: &**tape,
                    rows: *handed,
                    draw: *draw,
                    period,
                });
                let below = below.or_else(|| if at == 0 { inputs(self) } else { None });
                layer.tape.backward(self, segment, below)?;
            }
            if let Some(base) = base {
                if has_table {
                    base.tape.backward(self, segment, None)?;
                }
                if let Some(inputs) = inputs(self) {
                    // The columns stand behind the numbers.
                    let d = base.tape.gradient(self)?.columns(0, inputs.rows.cols);
                    // What is dropped is so side by side, where what was read gives way to it.
                    let to = if inputs.draw.is_some() { inputs.rows } else { inputs.tape.gradient(self)? };
                    self.push(Op::Copy(CopyView { from: d, to }));
                    if inputs.draw.is_some() {
                        self.hand_down(to, inputs, first)?;
                    }
                }
            }
            if first == 0 {
                self.phase = Phase::Update;
            }
            for reduction in &reductions {
                let segment = reduction.segment.map(|segment| GradientSegment { adds: !is_last, ..segment });
                self.push(Op::ReduceGradients(ReduceGradients { segment, ..reduction.clone() }));
            }
        }
        let partials = reductions.first().map(|reduction| (reduction.partials, recipe.clip));
        self.measure(losses, partials)?;
        self.clip_groups(recipe, &reductions)?;
        let mut moments = Vec::new();
        let flat = self.layout.buffer_len();
        for (name, count) in MOMENTS.iter().zip(recipe.optimizer.record().moments) {
            moments.push(self.real(name, &[count * flat], Lifetime::Shared)?);
        }
        let average = match recipe.average {
            Some(_) => Some(self.real(AVERAGE, &[flat], Lifetime::Shared)?),
            None => None,
        };
        let (keys, loss_scale, segment, trace) = (self.keys, self.loss_scale, self.segment, self.trace);
        let rows_by_token = self.rows_by_token;
        let moments_by_place = [moments.first().copied(), moments.get(1).copied()];
        let training = TrainingTensors {
            gradients,
            parameter_flags,
            moments: moments_by_place,
            average,
            rows_by_token,
            segment,
            keys,
            trace,
            read_gradients: self.read_gradients,
            loss_scale,
        };
        let update = Update {
            optimizer: recipe.optimizer,
            clip: recipe.clip,
            step_params,
            metrics,
            gradients,
            rows: None,
            parameter_flags,
            parameters: self.parameters,
            moments,
        };
        for UpdatedTable { rows, gradients } in tables {
            self.push(Op::Update(Update { gradients, rows: Some(rows), ..update.clone() }));
        }
        self.push(Op::Update(update));
        if let Some(average) = average {
            let parameters = self.parameters;
            self.push(Op::AverageParameters(AverageParameters { step_params, parameters, average }));
        }
        if let Some(loss_scale) = loss_scale {
            self.push(Op::UpdateLossScale(UpdateLossScale { loss_scale, step_params, metrics }));
        }
        Ok(training)
    }

    /// Clips what groups clip by themselves.
    fn clip_groups(&mut self, recipe: &Recipe, reductions: &[ReduceGradients]) -> Result<()> {
        for (group, clip) in (1..).zip(recipe.groups.iter().map(|group| group.clip)) {
            let Some(clip) = clip.filter(|clip| *clip != Clip::None) else { continue };
            let [ReduceGradients { partials, step_params, .. }, ..] = *reductions else { continue };
            let metrics = if matches!(clip, Clip::Value(_)) {
                None
            } else {
                let shape = self.plan.get(partials).shape.clone();
                let partials = self.scratch("norm_partials_of_groups", &shape, DType::F32)?;
                for &ReduceGradients { gradients, parameter_flags, first_flag, first_block, .. } in reductions {
                    let op = GroupNorm { group, gradients, parameter_flags, first_flag, partials, first_block };
                    self.push(Op::GroupNorm(op));
                }
                let shape = [METRICS_SLOTS, MetricsRow::LEN];
                let metrics = self.real(&format!("metrics_of_group_{group}"), &shape, Lifetime::Scratch)?;
                let (row_loss, partials, table) = (None, Some(partials), 0);
                self.push(Op::StepMetrics(StepMetrics { row_loss, partials, clip, step_params, metrics, table }));
                Some(metrics)
            };
            for &ReduceGradients { gradients, parameter_flags, first_flag, .. } in reductions {
                let op = ScaleGroup { group, clip, gradients, parameter_flags, first_flag, step_params, metrics };
                self.push(Op::ScaleGroup(op));
            }
        }
        Ok(())
    }

    /// How the slices of a window's gradient, and of those of tables that are updated by rows, are combined: of the
    /// first of its segments, if the window is cut into such.
    fn reductions(
        &mut self,
        (slices, gradients): (TensorId, TensorId),
        tables: &[UpdatedTable],
        (parameter_flags, step_params): (TensorId, TensorId),
        recipe: &Recipe,
    ) -> Result<Vec<ReduceGradients>> {
        let mut parts = vec![(slices, gradients, 0, "gradients_excess".to_owned())];
        for table in tables {
            let slices = self.slices_of_rows(table)?;
            let excess = format!("{}_excess", self.plan.get(slices).name);
            parts.push((slices, table.gradients, table.rows.offset, excess));
        }
        let blocks = |builder: &Self, gradients| ReduceGradients::blocks(builder.plan.get(gradients).len());
        let all = parts.iter().map(|(_, gradients, ..)| blocks(self, *gradients)).sum();
        let partials = self.real("norm_partials", &[all, NormPartial::LEN], Lifetime::Transient)?;
        let (loss_scale, mut reductions, mut first_block) = (self.loss_scale, Vec::new(), 0);
        for (slices, gradients, first_flag, excess) in parts {
            // Kept, because segments add to it.
            let segment = if self.segment < self.steps {
                let excess = self.real(&excess, &[self.plan.get(gradients).len()], Lifetime::Scratch)?;
                Some(GradientSegment { excess, adds: false })
            } else {
                None
            };
            reductions.push(ReduceGradients {
                slices,
                loss_scale,
                step_params,
                parameter_flags,
                clips_apart: recipe.groups.iter().any(|group| group.clip.is_some()),
                first_flag,
                gradients,
                segment,
                partials,
                first_block,
            });
            first_block += blocks(self, gradients);
        }
        Ok(reductions)
    }
}
