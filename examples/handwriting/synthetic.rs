//! Strokes of digits that a machine writes, as the tablet of the real data records them.
//!
//! The contract: the same seed gives the same strokes; the writers of the test part have hands of their own.

use rand::{SeedableRng, rngs::ChaCha12Rng};
use recurrent_examples::{
    readers::strokes::{POINTS, Parts, Stroke, boxed},
    writer::Writer,
};

/// Writers of the training part and of the test part, and how often each writes a digit.
const WRITERS: [usize; 2] = [24, 8];
const TIMES: usize = 6;

pub fn parts(seed: u64) -> Parts {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let [train, test] = WRITERS.map(|writers| {
        let mut strokes = Vec::new();
        for _ in 0..writers {
            let writer = Writer::new(&mut rng);
            for digit in (0..TIMES).flat_map(|_| 0..10) {
                strokes.push(Stroke { points: boxed(along(&writer.write(digit, &mut rng))), digit });
            }
        }
        strokes
    });
    Parts { train, test }
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
