//! What a network is compared with: keys that are struck each by itself, whatever the others do.
//!
//! The contract: what they know is counted in the pieces to learn; a key that never sounded there is not impossible.

use recurrent_examples::readers::midi::{KEYS, Piece};

/// Each key's probability, by whether it has just sounded; without that both are the same.
pub struct Keys {
    sounds: [[f64; KEYS]; 2],
}

impl Keys {
    /// Counts how often each key sounds.
    pub fn frequencies(pieces: &[&Piece]) -> Self {
        let [after_none, after_some] = counts(pieces);
        let both: [[f64; 2]; KEYS] =
            std::array::from_fn(|key| [0, 1].map(|what| after_none[key][what] + after_some[key][what]));
        Keys { sounds: [probabilities(&both), probabilities(&both)] }
    }

    /// Returns the logits of the keys after a step in which none sounded.
    pub fn log_odds(&self) -> Vec<f32> {
        self.sounds[0].iter().map(|p| (p / (1.0 - p)).ln() as f32).collect()
    }

    /// Counts how often each key sounds on, and how often it begins.
    pub fn held(pieces: &[&Piece]) -> Self {
        Keys { sounds: counts(pieces).map(|counts| probabilities(&counts)) }
    }

    /// Returns the negative logarithm of the probability of a piece, a step.
    pub fn nll(&self, pieces: &[&Piece]) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for piece in pieces {
            for (before, step) in std::iter::once(&0).chain(&piece.steps).zip(&piece.steps) {
                sum -= (0..KEYS)
                    .map(|key| {
                        let probability = self.sounds[(before >> key & 1) as usize][key];
                        if step >> key & 1 == 1 { probability.ln() } else { (1.0 - probability).ln() }
                    })
                    .sum::<f64>();
                count += 1;
            }
        }
        sum / f64::from(count)
    }
}

/// Of each key how often it does not sound and how often it does: where it did not sound before, and where it did.
fn counts(pieces: &[&Piece]) -> [[[f64; 2]; KEYS]; 2] {
    let mut counts = [[[0.0; 2]; KEYS]; 2];
    for piece in pieces {
        for (before, step) in std::iter::once(&0).chain(&piece.steps).zip(&piece.steps) {
            for key in 0..KEYS {
                counts[(before >> key & 1) as usize][key][(step >> key & 1) as usize] += 1.0;
            }
        }
    }
    counts
}

/// As if each had been seen half a time more (Krichevsky & Trofimov 1981).
fn probabilities(counts: &[[f64; 2]; KEYS]) -> [f64; KEYS] {
    counts.map(|[silent, sounds]| (sounds + 0.5) / (silent + sounds + 1.0))
}
