//! Drawing the parameters of a fresh network, all from one seed, in f64, in the order of the layout.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};

use super::{
    ALLOCATING,
    config::{Config, Init},
    parameters::Layout,
};
use crate::allocate::zeros;
use crate::error::Result;

/// The flat values of a fresh network.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub(super) fn draw(config: &Config, layout: &Layout) -> Result<Vec<f32>> {
    let mut rng = ChaCha12Rng::seed_from_u64(config.seed);
    let mut values = zeros(layout.buffer_len(), ALLOCATING)?;
    for parameter in layout.parameters() {
        let out = &mut values[parameter.range()];
        let recurrent = parameter.name.starts_with("weight_hh");
        if matches!(parameter.name.as_str(), "h_0" | "c_0") {
            // A learned state starts where one that is not learned stays.
            continue;
        }
        match (config.init, parameter.shape.as_slice()) {
            (Init::Uniform, _) => {
                // What a unit of the read-out sums over are the outputs of both directions.
                let fan = if matches!(parameter.name.as_str(), "weight" | "bias") {
                    config.output_width()
                } else {
                    config.hidden
                };
                uniform(&mut rng, 1.0 / (fan as f64).sqrt(), out);
            }
            // One square block a gate.
            (Init::Orthogonal, &[_, n]) if recurrent => {
                out.chunks_mut(n * n).try_for_each(|u| orthogonal(&mut rng, n, u))?;
            }
            (Init::Identity, &[_, n]) if recurrent => out.chunks_mut(n * n).for_each(|u| identity(n, u)),
            (_, &[rows, cols]) => {
                // The fans of one gate's matrix, not of the stack of them.
                let rows = if parameter.name == "weight" { rows } else { rows / config.cell.gates() };
                uniform(&mut rng, (6.0 / (rows + cols) as f64).sqrt(), out);
            }
            _ => {}
        }
        if let (Some(sum), Some(gate)) = (config.forget_bias, config.cell.forget_gate())
            && parameter.name.starts_with("bias_")
        {
            let value = if parameter.name.starts_with("bias_ih") { sum as f32 } else { 0.0 };
            out[gate * config.hidden..(gate + 1) * config.hidden].fill(value);
        }
    }
    Ok(values)
}

fn uniform(rng: &mut ChaCha12Rng, bound: f64, out: &mut [f32]) {
    for value in out {
        *value = rng.random_range(-bound..=bound) as f32;
    }
}

fn identity(n: usize, out: &mut [f32]) {
    for i in 0..n {
        out[i * n + i] = 1.0;
    }
}

/// A random orthogonal matrix: rows of Gaussian noise, made orthonormal by Gram–Schmidt, done twice for accuracy.
fn orthogonal(rng: &mut ChaCha12Rng, n: usize, out: &mut [f32]) -> Result<()> {
    let mut q: Vec<f64> = zeros(n * n, "drawing an orthogonal matrix")?;
    let mut found = 0;
    while found < n {
        let (done, rest) = q.split_at_mut(found * n);
        let row = &mut rest[..n];
        row.fill_with(|| gaussian(rng));
        for _ in 0..2 {
            for done in done.chunks_exact(n) {
                let along: f64 = done.iter().zip(&*row).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(done).for_each(|(r, d)| *r -= along * d);
            }
        }
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A row that lies in the span of those before it is drawn again.
        if norm > 1e-6 {
            row.iter_mut().for_each(|v| *v /= norm);
            found += 1;
        }
    }
    for (value, drawn) in out.iter_mut().zip(&q) {
        *value = *drawn as f32;
    }
    Ok(())
}

/// A standard normal number by the method of Box and Muller.
fn gaussian(rng: &mut ChaCha12Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
