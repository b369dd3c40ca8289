//! A network on any executor: a window of data goes in, the tensors that a test asks for come out.
//!
//! It fills what the plan names as inputs and knows no arithmetic, but for a product with U that no plan leaves behind:
//! what goes into an activation.

use std::collections::BTreeSet;

use recurrent::internals::plan::{
    MetricsRow, Plan, PlanId, PlanTensors, Purpose, StepParams, Target, TensorId, TokenTensors, UpdatedTable,
};
use recurrent::{BatchShape, Config, Directions, Embedding, InputKind, Layer, Layout, Loss, Recipe};

use super::executor::Execute;
use super::heads::{HeadLabels, Targets, head_label_count, head_losses, is_of_steps, with_head_losses};
use super::random::Random;
use super::states::states;

/// What a network reads.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// `[T, B]`.
    Tokens(Vec<u32>),
    /// `[T, B, I]`.
    Dense(Vec<f64>),
}

impl Inputs {
    /// Random data of so many rows.
    fn random(random: &mut Random, input: InputKind, rows: usize) -> Self {
        match input {
            InputKind::Tokens(tokens) => Inputs::Tokens(random.ids(rows, tokens)),
            InputKind::Dense(size) => Inputs::Dense(random.reals(rows * size, 1.0)),
            _ => unreachable!("an input that the tests do not know"),
        }
    }
}

/// One window of data.
#[derive(Clone, Debug)]
pub struct Window {
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// What is read.
    pub inputs: Inputs,
    /// Of each column, in the network's order.
    pub columns: Vec<Inputs>,
    /// What the outputs are held against.
    pub targets: Targets,
    /// `[R]` zeros and ones.
    pub mask: Vec<f64>,
    /// What the outputs of each head are held against.
    pub heads: Vec<HeadLabels>,
    /// `[B]`: how many steps of each sequence are valid.
    pub lengths: Vec<u32>,
    /// Before the first step: h `[B, D·H]` of all recurrent layers, then c of those that have one.
    pub state: Vec<f64>,
    /// Whether a learned initial state takes that state's place.
    pub fresh: bool,
}

impl Window {
    /// Random data for a network, all sequences of one length; `classes` where the loss is the cross entropy.
    pub fn random(random: &mut Random, config: &Config, classes: bool, steps: usize, batch: usize) -> Self {
        let labels = config.label_count(BatchShape { steps, batch_size: batch });
        Window {
            steps,
            batch,
            inputs: Inputs::random(random, config.input, steps * batch),
            columns: config.columns.iter().map(|c| Inputs::random(random, c.input, steps * batch)).collect(),
            targets: if classes {
                Targets::Classes(random.ids(labels, config.outputs))
            } else {
                Targets::Values(random.reals(labels * config.outputs, 1.0))
            },
            mask: random.mask(labels),
            lengths: vec![steps as u32; batch],
            state: random.reals(config.state_len(batch), 1.0),
            fresh: false,
            heads: head_losses(config)
                .map(|(head, loss, _)| {
                    let labels = head_label_count(config, head, steps, batch);
                    let targets = match loss {
                        Loss::CrossEntropy => Targets::Classes(random.ids(labels, head.outputs)),
                        _ => Targets::Values(random.reals(labels * head.outputs, 1.0)),
                    };
                    HeadLabels { targets, mask: random.mask(labels) }
                })
                .collect(),
        }
    }

    /// The same with sequences of these lengths; what lies behind them does not count.
    pub fn with_lengths(mut self, config: &Config, lengths: Vec<u32>) -> Self {
        let batch = self.batch;
        let heads = self.heads.iter_mut().zip(&config.heads).map(|(labels, head)| (&mut labels.mask, head.reads));
        for (mask, layers) in std::iter::once((&mut self.mask, config.layers.len())).chain(heads) {
            if is_of_steps(config, layers) {
                let valid = |r: usize| r / batch < lengths[r % batch] as usize;
                (0..mask.len()).filter(|&r| !valid(r)).for_each(|r| mask[r] = 0.0);
                if mask.iter().all(|m| *m == 0.0) {
                    mask[0] = 1.0;
                }
            }
        }
        Window { lengths, ..self }
    }
}

/// Random parameters, flat; the gaps between tensors are zero.
pub fn random_parameters(random: &mut Random, layout: &Layout, bound: f64) -> Vec<f64> {
    let mut flat = vec![0.0; layout.buffer_len()];
    for parameter in layout.parameters() {
        flat[parameter.range()].copy_from_slice(&random.reals(parameter.len(), bound));
    }
    flat
}

/// A training by a recipe, which is kept for the rest of the test.
pub fn training(recipe: Recipe) -> Purpose<'static> {
    Purpose::Train(Box::leak(Box::new(recipe)))
}

/// An evaluation of a loss, in the same way.
pub fn evaluation(loss: Loss) -> Purpose<'static> {
    Purpose::Evaluate(Box::leak(Box::new(Recipe::new(loss))))
}

/// The same, with the losses of a network's heads.
pub fn for_heads(purpose: Purpose<'_>, config: &Config) -> Purpose<'static> {
    let kept = |recipe: &Recipe| -> &'static Recipe { Box::leak(Box::new(with_head_losses(recipe.clone(), config))) };
    match purpose {
        Purpose::Infer => Purpose::Infer,
        Purpose::Observe(layer) => Purpose::Observe(layer),
        Purpose::Evaluate(recipe) => Purpose::Evaluate(kept(recipe)),
        Purpose::Train(recipe) => Purpose::Train(kept(recipe)),
        Purpose::TrainPart(recipe, rows) => Purpose::TrainPart(kept(recipe), rows),
    }
}

/// A prepared plan and what is where in it.
pub struct Prepared {
    /// The executor's name of it.
    pub id: PlanId,
    /// The plan itself.
    pub plan: Plan,
    /// Its inputs and outputs.
    pub at: PlanTensors,
}

/// A step of one window at a learning rate of 0, whose metrics go into this row.
pub fn step_into(metrics_row: usize) -> StepParams<f64> {
    let corrections = StepParams { first_correction: 1.0, second_correction: 1.0, ..StepParams::default() };
    StepParams { metrics_row: metrics_row as f64, ..corrections }
}

/// An executor that holds one network.
pub struct Network<E: Execute> {
    pub executor: E,
    pub config: Config,
    pub layout: Layout,
    pub target: Target,
    /// The tables of which the last run updated some rows, and which these were.
    updated: Vec<(UpdatedTable, Vec<u32>)>,
}

impl<E: Execute> Network<E> {
    /// A network whose parameters are not written yet.
    pub fn new(executor: E, config: &Config, target: Target) -> Self {
        let layout = Layout::new(config).expect("a configuration of a network");
        Network { executor, config: config.clone(), layout, target, updated: Vec::new() }
    }

    /// Plans and allocates a run over windows of that size.
    pub fn prepare(&mut self, purpose: Purpose<'_>, steps: usize, batch: usize) -> Prepared {
        let (plan, at) = Plan::new(&self.config, purpose, steps, batch, &self.target).expect("a plan");
        Prepared { id: self.executor.prepare(plan.clone()), plan, at }
    }

    /// The same with memory of its own for every tensor, so that all of them can be read after a run.
    pub fn prepare_kept(&mut self, purpose: Purpose<'_>, steps: usize, batch: usize) -> Prepared {
        let (mut plan, at) = Plan::new(&self.config, purpose, steps, batch, &self.target).expect("a plan");
        plan.keep_all();
        Prepared { id: self.executor.prepare(plan.clone()), plan, at }
    }

    /// Writes a tensor of a plan.
    pub fn write(&mut self, prepared: &Prepared, tensor: TensorId, values: &[f64]) {
        self.executor.write(prepared.id, tensor, values);
    }

    /// Writes all of a window's data, then runs the plan. The number of positions is the window's.
    pub fn run(&mut self, prepared: &Prepared, window: &Window, step_params: StepParams<f64>) {
        let Prepared { id, plan, at } = prepared;
        let executor = &mut self.executor;
        executor.write(*id, at.state, &window.state);
        executor.write_ids(*id, at.lengths, &window.lengths);
        if let Some(fresh) = at.fresh {
            executor.write(*id, fresh, &[f64::from(u8::from(window.fresh))]);
        } else if window.fresh {
            // Of an inference the host writes the learned state, too.
            let parameters = executor.read(*id, at.parameters);
            let mut state = window.state.clone();
            for part in states(&self.config) {
                if let Some(learned) = part.learned(&self.layout) {
                    let place = &mut state[part.before * window.batch..][..part.width() * window.batch];
                    place.copy_from_slice(&parameters[learned].repeat(window.batch));
                }
            }
            executor.write(*id, at.state, &state);
        }
        if let Some(keys) = at.training.and_then(|training| training.keys) {
            let len = plan.get(keys).len() as u32;
            executor.write_ids(*id, keys, &(0..len).map(|i| i.wrapping_mul(0x9e37_79b9)).collect::<Vec<_>>());
        }
        let rows = at.training.and_then(|training| training.rows_by_token);
        let padding = |table: Option<&Embedding>| table.and_then(|table| table.padding).map(|token| token as u32);
        let own = match self.config.layers.first() {
            Some(Layer::Embedding(table)) => Some(table),
            _ => None,
        };
        let main = (&window.inputs, at.inputs, rows, padding(own));
        let columns = window.columns.iter().zip(&at.columns).zip(&self.config.columns);
        let columns =
            columns.map(|((of, to), column)| (of, to.input, to.rows_by_token, padding(column.embedding.as_ref())));
        let segment = at.training.map(|training| training.segment * window.batch);
        let mut all_updated = Vec::new();
        for (inputs, to, rows, padding) in std::iter::once(main).chain(columns) {
            match inputs {
                Inputs::Tokens(tokens) => executor.write_ids(*id, to, tokens),
                Inputs::Dense(x) => executor.write(*id, to, x),
            }
            if let (Some(rows), Some(part), Inputs::Tokens(tokens)) = (rows, segment, inputs) {
                let TokenTensors { order, starts, updated } = rows;
                let groups = plan.get(starts).shape[1] - 1;
                let mut tokens = tokens.clone();
                if let Some(table) = updated {
                    // Of the rows that are wanted, ascending, each token is the number of its own; neither the
                    // padding's is one of them nor what lies behind the end of a sequence.
                    let counts = |row: usize, token: u32| {
                        Some(token) != padding && row / window.batch < window.lengths[row % window.batch] as usize
                    };
                    let rows = tokens.iter().copied().enumerate();
                    let wanted: BTreeSet<u32> = rows.filter(|(row, token)| counts(*row, *token)).map(|r| r.1).collect();
                    let ids: Vec<u32> = wanted.into_iter().collect();
                    for (row, token) in tokens.iter_mut().enumerate() {
                        let number = ids.binary_search(token).ok().filter(|_| counts(row, *token));
                        *token = number.unwrap_or(groups) as u32;
                    }
                    let padded: Vec<u32> = (0..groups).map(|at| ids.get(at).copied().unwrap_or(u32::MAX)).collect();
                    executor.write_ids(*id, table.rows.ids, &padded);
                    all_updated.push((table, ids));
                }
                let (mut rows_by_token, mut first) = (Vec::new(), Vec::new());
                for tokens in tokens.chunks(part) {
                    let (rows, firsts) = sort_by_token(tokens, groups);
                    first.extend(firsts.iter().map(|first| rows_by_token.len() as u32 + first));
                    rows_by_token.extend(rows);
                }
                executor.write_ids(*id, order, &rows_by_token);
                executor.write_ids(*id, starts, &first);
            }
        }
        let own = at.loss.map(|loss| (loss, &window.targets, &window.mask, 1.0));
        let heads = at.heads.iter().zip(&window.heads).zip(head_losses(&self.config));
        let heads = heads
            .filter_map(|((head, labels), (_, _, weight))| Some((head.loss?, &labels.targets, &labels.mask, weight)));
        for (loss, targets, mask, weight) in own.into_iter().chain(heads) {
            match targets {
                Targets::Classes(classes) => executor.write_ids(*id, loss.targets, classes),
                Targets::Values(values) => executor.write(*id, loss.targets, values),
            }
            executor.write(*id, loss.loss_weights, mask);
            let step_params = StepParams { divisor: mask.iter().sum::<f64>() / weight, ..step_params };
            executor.write(*id, loss.step_params, &step_params.elements());
        }
        executor.run(*id);
        self.updated = all_updated;
    }

    /// The gradient that the last run of a training left, as the layout places it.
    pub fn gradients(&mut self, prepared: &Prepared) -> Vec<f64> {
        let mut flat = self.read(prepared, prepared.at.training.expect("a training").gradients);
        flat.resize(self.layout.buffer_len(), 0.0);
        for (UpdatedTable { rows, gradients }, ids) in self.updated.clone() {
            let values = self.read(prepared, gradients);
            for (id, row) in ids.iter().zip(values.chunks_exact(rows.width)) {
                flat[rows.offset + *id as usize * rows.width..][..rows.width].copy_from_slice(row);
            }
            let rest = &values[ids.len() * rows.width..];
            assert!(rest.iter().all(|value| *value == 0.0), "a gradient of rows that there are not");
        }
        flat
    }

    /// Reads a tensor of a plan.
    pub fn read(&mut self, prepared: &Prepared, tensor: TensorId) -> Vec<f64> {
        self.executor.read(prepared.id, tensor)
    }

    /// The outputs of an inference or an evaluation, the network's own and then each head's; zeros behind the end of a
    /// sequence, where what comes out means nothing.
    pub fn outputs(&mut self, prepared: &Prepared, window: &Window) -> Vec<f64> {
        let mut all = self.read(prepared, prepared.at.outputs);
        let mut rest = all.as_mut_slice();
        let own = (self.config.layers.len(), self.config.outputs);
        let heads = self.config.heads.iter().map(|head| (head.reads, head.outputs));
        for (layers, outputs) in std::iter::once(own).chain(heads) {
            let every_step = is_of_steps(&self.config, layers);
            let labels = if every_step { window.steps * window.batch } else { window.batch };
            let (of_one, after) = rest.split_at_mut(labels * outputs);
            for (row, outputs) in of_one.chunks_exact_mut(outputs).enumerate() {
                if every_step && row / window.batch >= window.lengths[row % window.batch] as usize {
                    outputs.fill(0.0);
                }
            }
            rest = after;
        }
        assert!(rest.is_empty(), "outputs of a read-out that there is not");
        all
    }

    /// The row of the metrics at `slot`.
    pub fn metrics(&mut self, prepared: &Prepared, slot: usize) -> MetricsRow<f64> {
        let at = prepared.at.loss.expect("a plan with a loss").metrics;
        MetricsRow::of(&self.read(prepared, at)[slot * MetricsRow::LEN..][..MetricsRow::LEN])
    }

    /// `[T, B, D·H]`: what goes into an Elman cell's activation, of one layer: W·x_t + b_W + U·h_(t-1) + b_U.
    pub fn pre_activations(&mut self, window: &Window, parameters: &[f64]) -> Vec<f64> {
        let infer = self.prepare_kept(Purpose::Infer, window.steps, window.batch);
        self.write(&infer, infer.at.parameters, parameters);
        self.run(&infer, window, step_into(0));
        let [gates, history] =
            ["gates_l0", "history_l0"].map(|name| infer.plan.find(name).expect("a tensor of the plan"));
        let (gates, history) = (self.read(&infer, gates), self.read(&infer, history));
        let of = |name: &str, direction: usize| {
            let name = format!("{name}{}", ["", "_reverse"][direction]);
            self.layout.get(&name).map(|parameter| &parameters[parameter.range()])
        };
        let spec = self.config.recurrent_layers().next().unwrap();
        let (hidden, width) = (spec.hidden, spec.directions.count() * spec.hidden);
        let sum = |(at, gate): (usize, &f64)| {
            let (row, direction, j) = (at / width, at % width / hidden, at % hidden);
            // In the slot before the step's, or of the reverse direction after it.
            let is_reverse = direction == 1 || spec.directions == Directions::Reverse;
            let h =
                &history[(row + 2 * usize::from(is_reverse) * window.batch) * width + direction * hidden..][..hidden];
            let u = &of("weight_hh_l0", direction).expect("U")[j * hidden..][..hidden];
            let recurrent: f64 = h.iter().zip(u).map(|(h, u)| h * u).sum();
            gate + recurrent + of("bias_hh_l0", direction).map_or(0.0, |bias| bias[j])
        };
        gates.iter().enumerate().map(sum).collect()
    }

    /// The gradient of the initial state, as the state lies, after a training run of a network that learns it all, and
    /// whose plan keeps everything.
    pub fn state_gradient(&mut self, prepared: &Prepared) -> Vec<f64> {
        let batch = prepared.plan.get(prepared.at.lengths).len();
        let steps = prepared.plan.get(prepared.at.inputs).shape[0];
        let mut gradient = Vec::new();
        for part in states(&self.config) {
            assert!(part.spec.learned_initial_state, "only the plan of such a network goes back to the initial state");
            // Of h at its own slot, of c at that of the first step.
            let (name, slots) = [("upstream", [0, steps + 1]), ("cells", [1, steps])][part.kind];
            let (width, hidden) = (part.width(), part.width_of_one());
            let tensor = prepared.plan.find(&format!("{name}_l{}", part.layer)).expect("gradients of a state");
            let values = self.read(prepared, tensor);
            let reverse = usize::from(part.spec.directions == Directions::Reverse);
            let at = |b: usize, j: usize| values[(slots[reverse + j / hidden] * batch + b) * width + j];
            gradient.extend((0..batch * width).map(|i| at(i / width, i % width)));
        }
        gradient
    }
}

/// How many slices the weight gradients of a training plan are cut into.
pub fn slices(plan: &Plan) -> usize {
    plan.find("gradient_slices").map_or(0, |id| plan.get(id).shape[0])
}

/// Rows sorted by token, and where each token's begin: as the gather gradient reads them.
pub fn sort_by_token(tokens: &[u32], vocabulary: usize) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..tokens.len() as u32).collect();
    order.sort_by_key(|&row| tokens[row as usize]);
    let starts = (0..=vocabulary).map(|v| tokens.iter().filter(|&&t| (t as usize) < v).count() as u32).collect();
    (order, starts)
}
