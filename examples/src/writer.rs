//! Digits drawn by a machine: a path for each, bent by the habits of a writer and by chance.
//!
//! The contract: the same numbers drawn give the same digits; a writer keeps the habits from digit to digit.

use rand::{RngExt, rngs::ChaCha12Rng};

/// Corners of the pen's path for each digit, in a box of 100 by 100, y upwards.
const PATHS: [&[(f32, f32)]; 10] = [
    &[(55., 100.), (15., 80.), (0., 45.), (20., 5.), (60., 0.), (95., 35.), (90., 75.), (55., 98.)],
    &[(20., 75.), (55., 100.), (52., 50.), (50., 0.)],
    &[(5., 80.), (40., 100.), (85., 85.), (80., 55.), (30., 20.), (0., 0.), (50., 6.), (100., 2.)],
    &[(10., 92.), (60., 100.), (85., 80.), (45., 55.), (90., 35.), (70., 5.), (5., 5.)],
    &[(45., 100.), (10., 45.), (95., 42.), (70., 75.), (66., 0.)],
    &[(95., 100.), (25., 98.), (15., 58.), (65., 60.), (90., 30.), (55., 0.), (5., 8.)],
    &[(80., 100.), (30., 70.), (5., 25.), (40., 0.), (85., 20.), (60., 48.), (12., 30.)],
    &[(0., 95.), (50., 97.), (100., 98.), (70., 55.), (40., 0.)],
    &[(80., 90.), (25., 95.), (25., 65.), (85., 30.), (50., 0.), (10., 25.), (85., 75.), (60., 100.)],
    &[(85., 80.), (45., 100.), (20., 70.), (60., 52.), (88., 80.), (75., 30.), (50., 0.)],
];

/// How a writer bends what all write alike.
pub struct Writer {
    slant: f32,
    turn: f32,
    width: f32,
    /// How far each corner is off, of the writer's own habit.
    habits: Vec<Vec<(f32, f32)>>,
    /// How far it is off by chance.
    shake: f32,
}

impl Writer {
    /// Draws another writer.
    pub fn new(rng: &mut ChaCha12Rng) -> Self {
        let habits = PATHS.map(|path| path.iter().map(|_| (between(rng, 9.0), between(rng, 9.0))).collect());
        Writer {
            slant: between(rng, 0.3),
            turn: between(rng, 0.2),
            width: 0.85 + between(rng, 0.25),
            habits: habits.into(),
            shake: 5.0 + between(rng, 3.0),
        }
    }

    /// Writes a digit: its corners, about 100 wide and high, y upwards.
    pub fn write(&self, digit: usize, rng: &mut ChaCha12Rng) -> Vec<(f32, f32)> {
        let (sin, cos) = (self.turn + between(rng, 0.1)).sin_cos();
        let corners = PATHS[digit].iter().zip(&self.habits[digit]).map(|(&(x, y), &(dx, dy))| {
            let (x, y) = (x + dx + between(rng, self.shake), y + dy + between(rng, self.shake));
            let (x, y) = (x * self.width + self.slant * y, y);
            (x * cos - y * sin, x * sin + y * cos)
        });
        corners.collect()
    }
}

fn between(rng: &mut ChaCha12Rng, most: f32) -> f32 {
    rng.random_range(-most..most)
}
