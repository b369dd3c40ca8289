//! Images of digits that a machine writes, as large as MNIST's.
//!
//! The contract: the same seed gives the same images; the last are of writers who drew none of the first.

use rand::{SeedableRng, rngs::ChaCha12Rng};
use recurrent_examples::{readers::idx::Images, writer::Writer};

const SIDE: usize = 28;
/// Writers, and how often each writes a digit.
const WRITERS: usize = 40;
const TIMES: usize = 5;
/// Half the width of the pen in pixels, and over how many pixels its ink fades.
const PEN: f32 = 1.1;

pub fn images(seed: u64) -> (Images, Vec<u8>) {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..WRITERS {
        let writer = Writer::new(&mut rng);
        for digit in (0..TIMES).flat_map(|_| 0..10) {
            pixels.push(drawn(&writer.write(digit, &mut rng)));
            labels.push(digit as u8);
        }
    }
    (Images { height: SIDE, width: SIDE, pixels }, labels)
}

/// A path as ink, in a box of 20 × 20 amid the image.
fn drawn(corners: &[(f32, f32)]) -> Vec<u8> {
    let bound =
        |of: fn(&(f32, f32)) -> f32, pick: fn(f32, f32) -> f32| corners.iter().map(of).reduce(pick).unwrap_or(0.0);
    let (left, right) = (bound(|p| p.0, f32::min), bound(|p| p.0, f32::max));
    let (low, high) = (bound(|p| p.1, f32::min), bound(|p| p.1, f32::max));
    let scale = 20.0 / (right - left).max(high - low).max(1e-6);
    let middle = (SIDE as f32 - 1.0) / 2.0;
    let place =
        |p: &(f32, f32)| (middle + (p.0 - (left + right) / 2.0) * scale, middle - (p.1 - (low + high) / 2.0) * scale);
    let path: Vec<(f32, f32)> = corners.iter().map(place).collect();
    let ink = |at: usize| {
        let pixel = ((at % SIDE) as f32, (at / SIDE) as f32);
        let nearest = path.windows(2).map(|side| distance(pixel, side[0], side[1])).fold(f32::MAX, f32::min);
        (255.0 * (PEN + 0.5 - nearest).clamp(0.0, 1.0)) as u8
    };
    (0..SIDE * SIDE).map(ink).collect()
}

/// From a point to a line between two others.
fn distance(p: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (along, to) = ((b.0 - a.0, b.1 - a.1), (p.0 - a.0, p.1 - a.1));
    let length = along.0 * along.0 + along.1 * along.1;
    let part = ((to.0 * along.0 + to.1 * along.1) / length.max(1e-6)).clamp(0.0, 1.0);
    (to.0 - part * along.0).hypot(to.1 - part * along.1)
}
