//! Digits drawn by a machine: a path for each, bent by the hand of a writer and by chance.
//!
//! The contract: the same seed draws the same digits; the writers of the test part have hands of their own.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};

use crate::strokes::{POINTS, Parts, Stroke, boxed};

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

/// Writers of the training part and of the test part, and how often each writes a digit.
const WRITERS: [usize; 2] = [24, 8];
const TIMES: usize = 6;

/// How a writer bends what all write alike.
struct Hand {
    slant: f32,
    turn: f32,
    width: f32,
    /// How far each corner is off, of the writer's own habit.
    habits: Vec<Vec<(f32, f32)>>,
    /// How far it is off by chance.
    shake: f32,
}

pub fn parts(seed: u64) -> Parts {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let [train, test] = WRITERS.map(|writers| {
        let strokes = (0..writers).flat_map(|_| {
            let hand = hand(&mut rng);
            let all = (0..10 * TIMES).map(|at| draw(at % 10, &hand, &mut rng));
            all.collect::<Vec<_>>()
        });
        strokes.collect::<Vec<_>>()
    });
    Parts { train, test }
}

fn between(rng: &mut ChaCha12Rng, most: f32) -> f32 {
    rng.random_range(-most..most)
}

fn hand(rng: &mut ChaCha12Rng) -> Hand {
    Hand {
        slant: between(rng, 0.3),
        turn: between(rng, 0.2),
        width: 0.85 + between(rng, 0.25),
        habits: PATHS
            .iter()
            .map(|path| path.iter().map(|_| (between(rng, 9.0), between(rng, 9.0))).collect())
            .collect(),
        shake: 5.0 + between(rng, 3.0),
    }
}

fn draw(digit: usize, hand: &Hand, rng: &mut ChaCha12Rng) -> Stroke {
    let (sin, cos) = (hand.turn + between(rng, 0.1)).sin_cos();
    let corners = PATHS[digit].iter().zip(&hand.habits[digit]).map(|(&(x, y), &(dx, dy))| {
        let (x, y) = (x + dx + between(rng, hand.shake), y + dy + between(rng, hand.shake));
        let (x, y) = (x * hand.width + hand.slant * y, y);
        (x * cos - y * sin, x * sin + y * cos)
    });
    Stroke { points: boxed(along(&corners.collect::<Vec<_>>())), digit }
}

/// Points at equal distances along a path.
fn along(corners: &[(f32, f32)]) -> [(f32, f32); POINTS] {
    let length = |a: (f32, f32), b: (f32, f32)| (b.0 - a.0).hypot(b.1 - a.1);
    let sides: Vec<f32> = corners.windows(2).map(|side| length(side[0], side[1])).collect();
    let whole: f32 = sides.iter().sum();
    let mut points = [(0.0, 0.0); POINTS];
    for (at, point) in points.iter_mut().enumerate() {
        let mut left = whole * at as f32 / (POINTS - 1) as f32;
        *point = corners[corners.len() - 1];
        for (side, &length) in corners.windows(2).zip(&sides) {
            if left <= length {
                let part = left / length.max(1e-6);
                *point = (side[0].0 + part * (side[1].0 - side[0].0), side[0].1 + part * (side[1].1 - side[0].1));
                break;
            }
            left -= length;
        }
    }
    points
}
