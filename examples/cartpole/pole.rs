//! A pole hinged to a cart on a track, which is pushed to the left or to the right at every step (Barto, Sutton &
//! Anderson 1983), with the constants of Gymnasium's `CartPole-v1`.
//!
//! The contract: what is observed is the position and the angle alone, so that how fast both change has to be
//! remembered; an episode is over where the pole leans too far or the cart leaves the track, and cut off after
//! [`LONGEST`] steps.

use rand::{RngExt, rngs::ChaCha12Rng};

/// Steps of an episode, at most; a step has a reward of 1.
pub const LONGEST: usize = 500;
/// Numbers that are observed.
pub const OBSERVED: usize = 2;
/// Where the track ends, in metres from its middle.
pub const TRACK: f64 = 2.4;
/// How far the pole may lean, in radians: 12°.
pub const LEAN: f64 = 12.0 * std::f64::consts::PI / 180.0;

/// m/s².
const GRAVITY: f64 = 9.8;
/// kg.
const CART: f64 = 1.0;
/// kg.
const POLE: f64 = 0.1;
/// From the hinge to the middle of the pole, m.
const HALF_LENGTH: f64 = 0.5;
/// N.
const FORCE: f64 = 10.0;
/// Between two pushes, s.
const TIME: f64 = 0.02;
/// Each of the four numbers begins within this of 0.
const BEGIN: f64 = 0.05;

/// What a push leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next step.
    Step,
    /// The end: the pole leans too far, or the cart has left the track.
    Fall,
    /// The end of the time, though the pole stands.
    CutOff,
}

/// One episode.
pub struct Pole {
    position: f64,
    speed: f64,
    angle: f64,
    angular_speed: f64,
    steps: usize,
}

impl Pole {
    /// Begins an episode, nearly upright and nearly at rest.
    pub fn new(rng: &mut ChaCha12Rng) -> Self {
        let [position, speed, angle, angular_speed] = [(); 4].map(|()| rng.random_range(-BEGIN..=BEGIN));
        Pole { position, speed, angle, angular_speed, steps: 0 }
    }

    /// Returns the position in metres and the angle in radians.
    pub fn place(&self) -> (f64, f64) {
        (self.position, self.angle)
    }

    /// Returns what is observed: position and angle, each as a part of what it may be.
    pub fn observed(&self) -> [f32; OBSERVED] {
        [(self.position / TRACK) as f32, (self.angle / LEAN) as f32]
    }

    /// Returns how many pushes it has had, which is the reward so far.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Pushes the cart for one step, by Euler's method: places move by the speeds before the push.
    pub fn push(&mut self, right: bool) -> After {
        let force = if right { FORCE } else { -FORCE };
        let (sin, cos) = self.angle.sin_cos();
        let all = CART + POLE;
        let pushed = (force + POLE * HALF_LENGTH * self.angular_speed.powi(2) * sin) / all;
        let angular = (GRAVITY * sin - cos * pushed) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cos * cos / all));
        let linear = pushed - POLE * HALF_LENGTH * angular * cos / all;
        self.position += TIME * self.speed;
        self.speed += TIME * linear;
        self.angle += TIME * self.angular_speed;
        self.angular_speed += TIME * angular;
        self.steps += 1;
        if self.position.abs() > TRACK || self.angle.abs() > LEAN {
            After::Fall
        } else if self.steps == LONGEST {
            After::CutOff
        } else {
            After::Step
        }
    }
}
