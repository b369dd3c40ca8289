//! From sound to what a network reads: frames of log-mel energies, a spectrogram on the scale of hearing.
//!
//! The contract: a frame is 25 ms, one begins every 10 ms, and there is at least one; no frame holds what is not
//! finite.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use realfft::{RealFftPlanner, RealToComplex};
use recurrent_examples::readers::sound::RATE;

/// Bands of a frame.
pub const BANDS: usize = 40;
/// Samples of a frame, between two frames, and of the Fourier transform.
const FRAME: usize = 200;
const HOP: usize = 80;
const TRANSFORM: usize = 256;
/// Frames of a word at most: 1.2 s; what comes later is silence in all words but a few.
pub const MOST: usize = 120;
/// What counts as silence.
const FLOOR: f32 = 1e-6;

pub struct Frames {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// For each band its first bin and its weights.
    bands: Vec<(usize, Vec<f32>)>,
}

impl Frames {
    pub fn new() -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(TRANSFORM);
        let turn = std::f32::consts::TAU / FRAME as f32;
        let window = (0..FRAME).map(|at| 0.5 - 0.5 * (turn * at as f32).cos()).collect();
        // O'Shaughnessy's formula for the mel scale.
        let mel = |hertz: f32| 2595.0 * (1.0 + hertz / 700.0).log10();
        let hertz = |mel: f32| 700.0 * (10f32.powf(mel / 2595.0) - 1.0);
        let top = mel(RATE as f32 / 2.0);
        let edge = |at: usize| hertz(top * at as f32 / (BANDS + 1) as f32) * TRANSFORM as f32 / RATE as f32;
        let band = |at: usize| {
            let [low, middle, high] = [edge(at), edge(at + 1), edge(at + 2)];
            let bins = (low.floor() as usize)..=(high.ceil() as usize).min(TRANSFORM / 2);
            let first = *bins.start();
            // Narrow bands may lie between two bins: a triangle of at least one bin to each side catches one.
            let weight = |bin: usize| {
                let bin = bin as f32;
                let up = (bin - middle) / (middle - low).max(1.0) + 1.0;
                let down = (middle - bin) / (high - middle).max(1.0) + 1.0;
                up.min(down).max(0.0)
            };
            (first, bins.map(weight).collect())
        };
        Frames { transform, window, bands: (0..BANDS).map(band).collect() }
    }

    /// `[T, 40]`: ln of the energy in every band, less its mean over the word, so that it does not matter how loud it
    /// is. Of `most` frames at most.
    pub fn of(&self, samples: &[f32], most: usize) -> Result<Vec<f32>> {
        let count = (samples.len().saturating_sub(FRAME) / HOP + 1).min(most);
        let (mut buffer, mut spectrum) = (self.transform.make_input_vec(), self.transform.make_output_vec());
        let mut frames = Vec::with_capacity(count * BANDS);
        for frame in 0..count {
            buffer.fill(0.0);
            for ((value, sample), window) in buffer.iter_mut().zip(&samples[frame * HOP..]).zip(&self.window) {
                *value = sample * window;
            }
            self.transform.process(&mut buffer, &mut spectrum).map_err(|error| anyhow!("{error}"))?;
            for (first, weights) in &self.bands {
                let energy: f32 =
                    spectrum[*first..].iter().zip(weights).map(|(bin, weight)| bin.norm_sqr() * weight).sum();
                frames.push((energy + FLOOR).ln());
            }
        }
        let mean = frames.iter().sum::<f32>() / frames.len() as f32;
        frames.iter_mut().for_each(|value| *value -= mean);
        Ok(frames)
    }
}
