//! The loss of label sequences by itself: its three operations on any executor, all that they have to write poisoned
//! with NaN.
//!
//! What a device is told of the labels is written down here once more, so that a wrong order of them shows.

use recurrent::internals::plan::{
    Bounds, Ctc, CtcGradient, CtcStates, DType, Lifetime, LogSums, LossScale, Op, Phase, Plan, StepParams, View,
};

use super::executor::Execute;
use super::random::Random;

/// Sequences with their labels.
#[derive(Clone, Debug)]
pub struct Case {
    pub outputs: usize,
    pub blank: usize,
    /// `[T, B, O]`.
    pub y: Vec<f64>,
    pub labels: Vec<Vec<u32>>,
    pub lengths: Vec<u32>,
    pub weights: Vec<f64>,
    pub divisor: f64,
    /// For how many labels there is room.
    pub room: usize,
    /// A factor on the gradient.
    pub scale: Option<f64>,
}

impl Case {
    /// Sequences of up to T steps of so many labels at most; logits are in ±`bound`.
    pub fn random(
        random: &mut Random,
        [steps, batch, outputs]: [usize; 3],
        blank: usize,
        longest: usize,
        bound: f64,
    ) -> Self {
        let y = random.reals(steps * batch * outputs, bound);
        let shorter = random.ids(batch, steps.div_ceil(3));
        let lengths: Vec<u32> =
            (0..batch).map(|b| if b == 0 { steps as u32 } else { steps as u32 - shorter[b] }).collect();
        let labels = lengths.iter().enumerate().map(|(b, length)| {
            let count = if b == 0 { longest } else { random.ids(1, longest + 1)[0] as usize };
            let ids = random.ids(count, (outputs - 1).max(1));
            let mut ids: Vec<u32> = ids.into_iter().map(|id| id + u32::from(id as usize >= blank)).collect();
            if outputs == 1 {
                ids.clear();
            }
            while steps_for(&ids) > *length as usize {
                ids.pop();
            }
            ids
        });
        let labels = labels.collect();
        let weights = random.reals(batch, 0.5).into_iter().map(|w| w + 0.75).collect();
        Case { outputs, blank, y, labels, lengths, weights, divisor: 2.5, room: longest, scale: None }
    }

    pub fn batch(&self) -> usize {
        self.lengths.len()
    }

    pub fn steps(&self) -> usize {
        self.y.len() / self.outputs / self.batch()
    }

    /// `[B, 1 + 2·L]`.
    fn told(&self) -> Vec<u32> {
        let of_one = |labels: &Vec<u32>| {
            let mut places: Vec<u32> = (0..labels.len() as u32).collect();
            places.sort_by_key(|place| labels[*place as usize]);
            let padded = |ids: Vec<u32>| {
                let rest = self.room - ids.len();
                ids.into_iter().chain(vec![u32::MAX; rest])
            };
            let ids = padded(labels.clone()).chain(padded(places));
            [labels.len() as u32].into_iter().chain(ids).collect::<Vec<u32>>()
        };
        self.labels.iter().flat_map(of_one).collect()
    }

    /// Each sequence's part of the loss, and the outputs afterwards: their gradient where it is asked for.
    pub fn run<E: Execute>(&self, mut executor: E, gradient: bool, bounds: Bounds) -> (Vec<f64>, Vec<f64>) {
        let (batch, steps) = (self.batch(), self.steps());
        let mut plan = Plan::empty().within(bounds);
        let mut real = |name: &str, shape: &[usize]| plan.tensor(name, shape, DType::F32, Lifetime::Scratch).unwrap();
        let (before, after) = (3, 5);
        let outputs = real("outputs", &[before + self.y.len() + after]);
        let log_sums = real("log_sums", &[steps * batch]);
        let loss_weights = real("loss_weights", &[batch]);
        let step_params = real("step_params", &[StepParams::LEN]);
        let row_loss = real("row_loss", &[batch]);
        let (ways, slots) = if gradient { (2, steps) } else { (1, steps.min(2)) };
        let states = real("states", &[ways, batch, slots, 2 * self.room + 4]);
        let loss_scale = self.scale.map(|_| real("loss_scale", &[LossScale::LEN]));
        let mut ids = |name: &str, shape: &[usize]| plan.tensor(name, shape, DType::U32, Lifetime::Input).unwrap();
        let labels = ids("labels", &[batch, 1 + 2 * self.room]);
        let lengths = ids("lengths", &[batch]);
        let view = View::new(outputs, before, steps * batch, self.outputs);
        let blank = self.blank;
        let ctc = Ctc { outputs: view, log_sums, labels, lengths, loss_weights, step_params, blank, states };
        plan.push(Phase::Loss, Op::LogSums(LogSums { outputs: view, out: log_sums }));
        plan.push(Phase::Loss, Op::CtcStates(CtcStates { ctc: ctc.clone(), row_loss, gradient }));
        if gradient {
            plan.push(Phase::Loss, Op::CtcGradient(CtcGradient { ctc, loss_scale }));
        }
        let lens = [log_sums, row_loss, states].map(|id| (id, plan.get(id).len()));
        let id = executor.prepare(plan);
        for (tensor, len) in lens {
            executor.write(id, tensor, &vec![f64::NAN; len]);
        }
        let padded: Vec<f64> =
            vec![f64::NAN; before].into_iter().chain(self.y.iter().copied()).chain(vec![f64::NAN; after]).collect();
        executor.write(id, outputs, &padded);
        executor.write(id, loss_weights, &self.weights);
        executor.write(id, step_params, &StepParams { divisor: self.divisor, ..StepParams::default() }.elements());
        if let (Some(tensor), Some(factor)) = (loss_scale, self.scale) {
            executor.write(id, tensor, &LossScale { factor, inverse: factor.recip(), finite_steps: 0.0 }.elements());
        }
        executor.write_ids(id, labels, &self.told());
        executor.write_ids(id, lengths, &self.lengths);
        executor.run(id);
        let all = executor.read(id, outputs);
        let (own, rest) = all[before..].split_at(self.y.len());
        assert!(all[..before].iter().chain(rest).all(|v| v.is_nan()), "beside the outputs something was written");
        (executor.read(id, row_loss), own.to_vec())
    }
}

/// How many steps it takes to say labels.
pub fn steps_for(labels: &[u32]) -> usize {
    labels.len() + labels.windows(2).filter(|pair| pair[0] == pair[1]).count()
}
