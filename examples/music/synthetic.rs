//! Music that a machine makes up: four voices that sing chords after one another, a grammar of phrases and cadences.
//!
//! The contract: the same seed gives the same pieces; which chord follows, and when a phrase ends, can be heard from
//! what was sung before.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng, seq::IndexedRandom};
use recurrent_examples::readers::midi::{LOWEST, Piece};

const PIECES: usize = 160;
/// Phrases of a piece, and chords of a phrase, its last held twice as long.
const PHRASES: usize = 4;
const CHORDS: usize = 7;
/// Steps of a chord.
const LENGTH: usize = 2;

/// Scale degrees from 0, and which may follow each, the likely ones more than once.
const NEXT: [&[usize]; 7] = [&[3, 3, 4, 4, 5, 1], &[4, 4, 6], &[5, 3], &[4, 4, 1, 0], &[0, 0, 0, 5], &[1, 3, 3], &[0]];
/// Semitones of the major and of the minor scale, which has its leading note.
const SCALES: [[usize; 7]; 2] = [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 11]];
/// Of bass, tenor, alto and soprano the lowest and the highest key, as MIDI counts.
const RANGES: [(usize, usize); 4] = [(40, 57), (48, 65), (55, 72), (60, 79)];
/// How probably a soprano that moves by a third sings the note between.
const PASSING: f64 = 0.6;

/// Makes up pieces.
pub fn pieces(seed: u64) -> Vec<Piece> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let piece = |at: usize| Piece { name: format!("made up, {}", at + 1), steps: piece(&mut rng), outside: 0 };
    (0..PIECES).map(piece).collect()
}

fn piece(rng: &mut ChaCha12Rng) -> Vec<u128> {
    let (tonic, scale) = (rng.random_range(0..12), SCALES[usize::from(rng.random_bool(0.3))]);
    let mut voices: [usize; 4] = RANGES.map(|(low, high)| low.midpoint(high));
    let mut steps = Vec::new();
    for phrase in 0..PHRASES {
        let mut degree = 0;
        for chord in 0..CHORDS {
            degree = match CHORDS - 1 - chord {
                // The first half closes open, the second at home.
                0 => {
                    if phrase % 2 == 0 {
                        4
                    } else {
                        0
                    }
                }
                1 => {
                    if phrase % 2 == 0 {
                        [1, 3][rng.random_range(0..2)]
                    } else {
                        4
                    }
                }
                _ if chord == 0 => 0,
                _ => *NEXT[degree].choose(rng).unwrap_or(&0),
            };
            let tones = [0, 2, 4].map(|third| (tonic + scale[(degree + third) % 7]) % 12);
            let before = voices;
            lead(&mut voices, &tones, rng);
            let sung = voices.iter().fold(0, |keys, key| keys | 1u128 << (key - LOWEST));
            let length = if chord + 1 == CHORDS { 2 * LENGTH } else { LENGTH };
            // The note between two of the soprano's is sung on the way.
            let between = before[3].midpoint(voices[3]);
            let passes = chord > 0 && before[3].abs_diff(voices[3]) == 4 && rng.random_bool(PASSING);
            if let Some(last) = steps.last_mut().filter(|_| passes) {
                *last = *last & !(1 << (before[3] - LOWEST)) | 1 << (between - LOWEST);
            }
            steps.extend(std::iter::repeat_n(sung, length));
        }
    }
    steps
}

/// Leads every voice to a near note of the chord: the bass to its root, one of the others to its third.
fn lead(voices: &mut [usize; 4], tones: &[usize; 3], rng: &mut ChaCha12Rng) {
    let third = rng.random_range(1..4);
    for (voice, (key, (low, high))) in voices.iter_mut().zip(RANGES).enumerate() {
        let fits = |to: &usize| match voice {
            0 => to % 12 == tones[0],
            voice if voice == third => to % 12 == tones[1],
            _ => tones.contains(&(to % 12)),
        };
        let from = *key;
        let nearest = (low..=high).filter(fits).min_by_key(|to| (to.abs_diff(from), *to));
        *key = nearest.unwrap_or(from);
    }
}
