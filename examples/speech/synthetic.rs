//! Words that a machine speaks: a buzz or a hiss, shaped by the resonances of a mouth that moves.
//!
//! The contract: the same seed speaks the same; the voices of the test part speak none of the words to learn.

use std::f32::consts::TAU;

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent_examples::readers::sound::{Parts, RATE, Recording};

/// A sound: three formants in Hz (Peterson & Barney 1952, rounded), how much of it is hiss, and ms.
type Sound = ([f32; 3], f32, f32);

const I: [f32; 3] = [280., 2250., 2900.];
const E: [f32; 3] = [530., 1850., 2500.];
const A: [f32; 3] = [720., 1150., 2500.];
const O: [f32; 3] = [560., 880., 2400.];
const U: [f32; 3] = [310., 870., 2250.];
const N: [f32; 3] = [280., 1500., 2500.];
const S: [f32; 3] = [2600., 3300., 3700.];
const F: [f32; 3] = [1400., 2500., 3400.];
const R: [f32; 3] = [420., 1250., 1600.];

/// Ten words, after the digits' names.
const WORDS: [&[Sound]; 10] = [
    &[(S, 0.6, 90.), (I, 0., 90.), (R, 0., 70.), (O, 0., 160.)],
    &[(U, 0., 70.), (A, 0., 130.), (N, 0., 110.)],
    &[(F, 1., 30.), (U, 0., 240.)],
    &[(F, 1., 90.), (R, 0., 60.), (I, 0., 200.)],
    &[(F, 1., 100.), (O, 0., 180.), (R, 0., 80.)],
    &[(F, 1., 90.), (A, 0., 120.), (I, 0., 90.), (F, 0.7, 70.)],
    &[(S, 1., 120.), (I, 0., 90.), (S, 1., 130.)],
    &[(S, 1., 110.), (E, 0., 90.), (U, 0.2, 40.), (E, 0., 70.), (N, 0., 90.)],
    &[(E, 0., 110.), (I, 0., 100.), (F, 1., 40.)],
    &[(N, 0., 80.), (A, 0., 120.), (I, 0., 80.), (N, 0., 90.)],
];

/// Voices of the training part and of the test part, and how often each says a word.
const VOICES: [usize; 2] = [18, 6];
const TIMES: usize = 4;

struct Voice {
    /// Hz.
    pitch: f32,
    /// How short the mouth is: formants are multiplied by it.
    mouth: f32,
    speed: f32,
}

pub fn parts(seed: u64) -> Parts {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut number = 0;
    let [train, test] = VOICES.map(|voices| {
        let mut words = Vec::new();
        for _ in 0..voices {
            number += 1;
            let voice = Voice {
                pitch: rng.random_range(90.0..230.0),
                mouth: rng.random_range(0.88..1.14),
                speed: rng.random_range(0.8..1.25),
            };
            for at in 0..10 * TIMES {
                let digit = at % 10;
                let samples = speak(WORDS[digit], &voice, &mut rng);
                words.push(Recording { samples, digit, name: format!("{digit}_voice{number}_{}", at / 10) });
            }
        }
        words
    });
    Parts { train, test }
}

fn speak(word: &[Sound], voice: &Voice, rng: &mut ChaCha12Rng) -> Vec<f32> {
    let rate = RATE as f32;
    let pitch = voice.pitch * rng.random_range(0.93..1.07);
    let loud = rng.random_range(0.2..0.8);
    let mut samples = Vec::new();
    // Two numbers of memory for each resonance.
    let mut memory = [[0.0f32; 2]; 3];
    let mut formants = word[0].0;
    let mut phase = 0.0f32;
    for (target, hiss, milliseconds) in word {
        let length = (milliseconds / voice.speed * rng.random_range(0.85..1.15) * rate / 1000.0) as usize;
        for at in 0..length {
            // The mouth takes a few hundredths of a second to get there.
            for (formant, target) in formants.iter_mut().zip(target) {
                *formant += (target - *formant) * 0.004;
            }
            phase += pitch * (1.0 - 0.15 * at as f32 / length as f32) / rate;
            let buzz = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase = phase.fract();
            let mut sound = buzz * (1.0 - hiss) + hiss * 0.12 * rng.random_range(-1.0..1.0f32);
            let mut out = 0.0;
            for ((formant, held), gain) in formants.iter().zip(&mut memory).zip([1.0, 0.6, 0.35]) {
                let centre = (formant * voice.mouth).min(rate * 0.48);
                let radius = (-std::f32::consts::PI * (60.0 + 0.05 * centre) / rate).exp();
                let next = sound + 2.0 * radius * (TAU * centre / rate).cos() * held[0] - radius * radius * held[1];
                *held = [next, held[0]];
                out += gain * next * (1.0 - radius);
            }
            sound = out * loud + 0.002 * rng.random_range(-1.0..1.0f32);
            samples.push(sound);
        }
    }
    samples
}
