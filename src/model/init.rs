//! Drawing the parameters of a fresh network, all from one seed, in f64, in the order of the layout.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};

use super::{
    ALLOCATING,
    config::{Config, Init},
    layers::Draw,
    modules::parameter_groups,
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
    let draws = parameter_groups(config).into_iter().flat_map(|group| vec![group.draw; group.names.len()]);
    for (parameter, asked) in layout.parameters().iter().zip(draws) {
        let draw = match asked {
            Draw::Padded { width, tied: true, .. } => Draw::Weight { blocks: 1, fan: width },
            Draw::Padded { tied: false, .. } => Draw::Normal,
            other => other,
        };
        let out = &mut values[parameter.range()];
        let is_uniform = config.init == Init::Uniform;
        match (draw, parameter.shape.as_slice()) {
            // A learned state starts where one that is not learned stays.
            (Draw::Zero, _) => {}
            (Draw::One, _) => out.fill(1.0),
            (Draw::Weight { fan, .. } | Draw::Recurrent { fan } | Draw::Bias { fan } | Draw::Forget { fan, .. }, _)
                if is_uniform =>
            {
                uniform(&mut rng, 1.0 / (fan as f64).sqrt(), out)
            }
            // As PyTorch draws a table, and otherwise as Keras does.
            (Draw::Normal, _) if is_uniform => out.fill_with(|| gaussian(&mut rng) as f32),
            (Draw::Normal, _) => uniform(&mut rng, 0.05, out),
            // One block a gate.
            (Draw::Recurrent { fan }, &[_, n]) if config.init == Init::Orthogonal => {
                out.chunks_mut(fan * n).try_for_each(|u| orthogonal(&mut rng, [fan, n], u))?;
            }
            (Draw::Recurrent { fan }, &[_, n]) if config.init == Init::Identity => {
                out.chunks_mut(fan * n).for_each(|u| identity(n, u));
            }
            // The fans of one gate's matrix, not of the stack of them.
            (Draw::Weight { blocks, .. }, &[rows, cols]) => {
                uniform(&mut rng, (6.0 / (rows / blocks + cols) as f64).sqrt(), out);
            }
            (Draw::Recurrent { fan }, &[_, n]) => uniform(&mut rng, (6.0 / (fan + n) as f64).sqrt(), out),
            _ => {}
        }
        if let Draw::Forget { fan, start, value } = draw {
            out[start..start + fan].fill(value);
        }
        if let Draw::Padded { row, width, .. } = asked {
            out[row * width..(row + 1) * width].fill(0.0);
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

/// A random orthogonal matrix, square or of more rows than columns: vectors of Gaussian noise, made orthonormal by
/// Gram–Schmidt, done twice for accuracy, which are its rows if it is square, else its columns.
fn orthogonal(rng: &mut ChaCha12Rng, [rows, n]: [usize; 2], out: &mut [f32]) -> Result<()> {
    let mut q: Vec<f64> = zeros(n * rows, "drawing an orthogonal matrix")?;
    let mut found = 0;
    while found < n {
        let (done, rest) = q.split_at_mut(found * rows);
        let row = &mut rest[..rows];
        row.fill_with(|| gaussian(rng));
        for _ in 0..2 {
            for done in done.chunks_exact(rows) {
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
    for (at, drawn) in q.iter().enumerate() {
        let to = if rows == n { at } else { at % rows * n + at / rows };
        out[to] = *drawn as f32;
    }
    Ok(())
}

/// A standard normal number by the method of Box and Muller.
fn gaussian(rng: &mut ChaCha12Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
