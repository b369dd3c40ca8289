//! The loss of proximal policy optimisation (Schulman et al. 2017, equations 7 and 9) and its gradient.
//!
//! The contract: the means are over the steps that count; the gradients of all others are 0.

use recurrent::train::{OutputGradients, Outputs};

use crate::{
    player::{ACTIONS, VALUE, log_probabilities},
    rollout::Rollout,
};

/// How far a probability may move from what it was when the action was drawn: ε.
const CLIP: f64 = 0.2;
/// What the actions' entropy is worth.
const ENTROPY: f64 = 0.003;

/// Of the rows of a rollout that a network has read again, in the order of its outputs: the loss of the policy and that
/// of the values, each with its gradient.
pub fn loss(outputs: &Outputs, rollout: &Rollout, rows: &[usize]) -> OutputGradients {
    let counted = rows.iter().filter(|row| rollout.counts[**row]).count().max(1) as f64;
    let values = outputs.head(VALUE).unwrap_or(&[]);
    let (mut policy_loss, mut value_loss) = (0.0, 0.0);
    let mut policy = vec![0.0; outputs.outputs.len()];
    let mut value = vec![0.0; values.len()];
    for (at, row) in rows.iter().copied().enumerate().filter(|(_, row)| rollout.counts[*row]) {
        let (logits, action) = (&outputs.outputs[at * ACTIONS..(at + 1) * ACTIONS], rollout.actions[row]);
        let (logs, advantage) = (log_probabilities(logits), rollout.advantages[row]);
        let probabilities = logs.map(f64::exp);
        let ratio = (logs[action] - rollout.log_probabilities[row]).exp();
        let clipped = ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * advantage;
        let entropy = -logs.iter().zip(probabilities).map(|(log, p)| log * p).sum::<f64>();
        policy_loss -= (ratio * advantage).min(clipped) + ENTROPY * entropy;
        // Where the clipped one is less, it does not depend on the network.
        let pull = if ratio * advantage <= clipped { ratio * advantage } else { 0.0 };
        for (j, gradient) in policy[at * ACTIONS..(at + 1) * ACTIONS].iter_mut().enumerate() {
            let is_action = f64::from(u8::from(j == action));
            let of_entropy = -probabilities[j] * (logs[j] + entropy);
            *gradient = (-(pull * (is_action - probabilities[j]) + ENTROPY * of_entropy) / counted) as f32;
        }
        let error = f64::from(values[at]) - rollout.returns[row];
        value_loss += error * error / 2.0;
        value[at] = (error / counted) as f32;
    }
    OutputGradients::new(policy_loss / counted, policy).with_head(VALUE, value_loss / counted, value)
}
