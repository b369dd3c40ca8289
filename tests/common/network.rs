//! A network on any executor: a window of data goes in, the tensors that a test asks for come out.
//!
//! It fills what the plan names as inputs and knows no arithmetic, but for two products with U that no plan leaves behind:
//! the gradient of the initial state, and what goes into an activation.

use recurrent::plan::{Outputs, Plan, PlanId, Purpose, Target, TensorId};
use recurrent::{Cell, Config, Input, Layout, ReadOut};

use super::{executor::Execute, random::Random};

/// What a network reads.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// `[T, B]`.
    Tokens(Vec<u32>),
    /// `[T, B, I]`.
    Dense(Vec<f64>),
}

/// What a loss compares with.
#[derive(Clone, Debug)]
pub enum Targets {
    /// `[R]`.
    Classes(Vec<u32>),
    /// `[R, O]`.
    Values(Vec<f64>),
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
    /// What the outputs are held against.
    pub targets: Targets,
    /// `[R]` zeros and ones.
    pub mask: Vec<f64>,
    /// `[S, L, B, H]`, before the first step.
    pub state: Vec<f64>,
}

impl Window {
    /// Random data for a network; `classes` where the loss is the cross entropy.
    pub fn random(random: &mut Random, config: &Config, classes: bool, steps: usize, batch: usize) -> Self {
        let labels = if config.read_out == ReadOut::EveryStep { steps * batch } else { batch };
        Window {
            steps,
            batch,
            inputs: match config.input {
                Input::Tokens(symbols) => Inputs::Tokens(random.ids(steps * batch, symbols)),
                Input::Dense(size) => Inputs::Dense(random.reals(steps * batch * size, 1.0)),
                _ => unreachable!("an input that the tests do not know"),
            },
            targets: if classes {
                Targets::Classes(random.ids(labels, config.outputs))
            } else {
                Targets::Values(random.reals(labels * config.outputs, 1.0))
            },
            mask: random.mask(labels),
            state: random.reals(config.state(batch).iter().product(), 1.0),
        }
    }
}

/// Random parameters, flat; the gaps between tensors are zero.
pub fn random_parameters(random: &mut Random, layout: &Layout, bound: f64) -> Vec<f64> {
    let mut flat = vec![0.0; layout.len()];
    for parameter in layout.parameters() {
        flat[parameter.range()].copy_from_slice(&random.reals(parameter.len(), bound));
    }
    flat
}

/// A prepared plan and what is where in it.
pub struct Prepared {
    /// The executor's name of it.
    pub id: PlanId,
    /// The plan itself.
    pub plan: Plan,
    /// Its inputs and outputs.
    pub at: Outputs,
}

/// One row of the metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    pub loss: f64,
    pub norm: f64,
    pub scale: f64,
    pub finite: f64,
}

/// An executor that holds one network.
pub struct Network<E: Execute> {
    pub executor: E,
    pub config: Config,
    pub layout: Layout,
    pub target: Target,
}

impl<E: Execute> Network<E> {
    /// A network whose parameters are not written yet.
    pub fn new(executor: E, config: &Config, target: Target) -> Self {
        let layout = Layout::new(config).expect("a configuration of a network");
        Network { executor, config: config.clone(), layout, target }
    }

    /// Plans and allocates a run over windows of that size.
    pub fn prepare(&mut self, purpose: Purpose, steps: usize, batch: usize) -> Prepared {
        let (plan, at) = Plan::new(&self.config, purpose, steps, batch, &self.target).expect("a plan");
        Prepared { id: self.executor.prepare(plan.clone()), plan, at }
    }

    /// Writes a tensor of a plan.
    pub fn write(&mut self, prepared: &Prepared, tensor: TensorId, values: &[f64]) {
        self.executor.write(prepared.id, tensor, values);
    }

    /// Writes all of a window's data, then runs the plan. `hyper` is learning rate, 1 − β₁ᵗ, 1 − β₂ᵗ and slot.
    pub fn run(&mut self, prepared: &Prepared, window: &Window, hyper: [f64; 4]) {
        let Prepared { id, plan, at } = prepared;
        let executor = &mut self.executor;
        executor.write(*id, at.state, &window.state);
        match &window.inputs {
            Inputs::Tokens(tokens) => executor.write_ids(*id, at.inputs, tokens),
            Inputs::Dense(x) => executor.write(*id, at.inputs, x),
        }
        if let Some(loss) = at.loss {
            match &window.targets {
                Targets::Classes(classes) => executor.write_ids(*id, loss.targets, classes),
                Targets::Values(values) => executor.write(*id, loss.targets, values),
            }
            executor.write(*id, loss.mask, &window.mask);
            executor.write(*id, loss.count, &[window.mask.iter().sum()]);
            executor.write(*id, loss.hyper, &hyper);
        }
        if let (Some((order, starts)), Inputs::Tokens(tokens)) = (at.training.and_then(|t| t.by_token), &window.inputs)
        {
            let (by_token, first) = sort_by_token(tokens, plan.get(starts).len() - 1);
            executor.write_ids(*id, order, &by_token);
            executor.write_ids(*id, starts, &first);
        }
        executor.run(*id);
    }

    /// Reads a tensor of a plan.
    pub fn read(&mut self, prepared: &Prepared, tensor: TensorId) -> Vec<f64> {
        self.executor.read(prepared.id, tensor)
    }

    /// The row of the metrics at `slot`.
    pub fn metrics(&mut self, prepared: &Prepared, slot: usize) -> Metrics {
        let at = prepared.at.loss.expect("a plan with a loss").metrics;
        let row = &self.read(prepared, at)[slot * 4..][..4];
        Metrics { loss: row[0], norm: row[1], scale: row[2], finite: row[3] }
    }

    /// `[T, B, H]`: what goes into an Elman cell's activation, of one layer.
    pub fn pre_activations(&mut self, window: &Window, parameters: &[f64]) -> Vec<f64> {
        let infer = self.prepare(Purpose::Infer, window.steps, window.batch);
        self.write(&infer, infer.at.parameters, parameters);
        self.run(&infer, window, [0.0; 4]);
        let [gates, history] =
            ["gates_l0", "history_l0"].map(|name| infer.plan.find(name).expect("a tensor of the plan"));
        let (gates, history) = (self.read(&infer, gates), self.read(&infer, history));
        let of = |name: &str| &parameters[self.layout.get(name).expect("a parameter").range()];
        sum_of_inputs(&gates, &history, of("weight_hh_l0"), of("bias_hh_l0"))
    }

    /// `[S, L, B, H]`: the gradient of the initial state after a training run. Of h_0 it is that of the first step's
    /// U·h_0 + b_U times U, and for a GRU z of the direct path; of c_0 the run itself leaves it behind.
    pub fn state_gradient(&mut self, prepared: &Prepared, window: &Window, parameters: &[f64]) -> Vec<f64> {
        let (batch, hidden, layers) = (window.batch, self.config.hidden, self.config.layers);
        let mut gradient = Vec::new();
        for layer in 0..layers {
            let u = self.layout.get(&format!("weight_hh_l{layer}")).expect("U").clone();
            let (rows, u) = (u.shape[0], &parameters[u.range()]);
            let of_sum = prepared.plan.find(&format!("recurrent_l{layer}"));
            let of_sum = of_sum.or_else(|| prepared.plan.find(&format!("gates_l{layer}"))).expect("a gradient of U·h");
            let of_sum = self.read(prepared, of_sum);
            gradient.extend((0..batch * hidden).map(|at| {
                let (b, h) = (at / hidden, at % hidden);
                (0..rows).map(|row| of_sum[b * rows + row] * u[row * hidden + h]).sum::<f64>()
            }));
        }
        for layer in 0..layers {
            if let Some(cells) = prepared.plan.find(&format!("cells_l{layer}")) {
                gradient.extend_from_slice(&self.read(prepared, cells)[batch * hidden..][..batch * hidden]);
            }
        }
        if self.config.cell == Cell::Gru {
            let dh: Vec<Vec<f64>> = (0..layers)
                .map(|layer| if layer + 1 == layers { "upstream".to_owned() } else { format!("upstream_l{layer}") })
                .map(|name| self.read(prepared, prepared.plan.find(&name).expect("the gradients of h")))
                .collect();
            let infer = self.prepare(Purpose::Infer, window.steps, batch);
            self.write(&infer, infer.at.parameters, parameters);
            self.run(&infer, window, [0.0; 4]);
            for (layer, dh) in dh.iter().enumerate() {
                let gates = infer.plan.find(&format!("gates_l{layer}")).expect("the gates");
                let gates = self.read(&infer, gates);
                for at in 0..batch * hidden {
                    let z = gates[at / hidden * 3 * hidden + hidden + at % hidden];
                    gradient[layer * batch * hidden + at] += dh[at] * z;
                }
            }
        }
        gradient
    }
}

/// W·x_t + b_W + U·h_(t-1) + b_U for all T, from the tensors of a run; one gate.
fn sum_of_inputs(gates: &[f64], history: &[f64], u: &[f64], b: &[f64]) -> Vec<f64> {
    let hidden = b.len();
    let recurrent =
        |row: usize, j: usize| -> f64 { (0..hidden).map(|k| history[row * hidden + k] * u[j * hidden + k]).sum() };
    (0..gates.len()).map(|at| gates[at] + b[at % hidden] + recurrent(at / hidden, at % hidden)).collect()
}

/// How many slices the weight gradients of a training plan are cut into.
pub fn slices(plan: &Plan) -> usize {
    plan.find("gradient_slices").map_or(0, |id| plan.get(id).shape[0])
}

/// Rows sorted by token, and where each token's begin: as the gather gradient reads them.
pub fn sort_by_token(tokens: &[u32], symbols: usize) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..tokens.len() as u32).collect();
    order.sort_by_key(|&row| tokens[row as usize]);
    let starts = (0..=symbols).map(|v| tokens.iter().filter(|&&t| (t as usize) < v).count() as u32).collect();
    (order, starts)
}
