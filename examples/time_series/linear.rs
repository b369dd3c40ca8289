//! The linear autoregression: what a network has to beat, and what it starts from.
//!
//! The contract: it is fitted on the windows of the training part alone, one set of coefficients for every step ahead.

use anyhow::{Result, ensure};
use recurrent::data::{Series, Split};
use serde::{Deserialize, Serialize};

/// Of the squares of a window's numbers, what is added to the diagonal so that they can be told apart.
const RIDGE: f64 = 1e-6;

/// `forecast[h] = c[h, 0] + Σ_i c[h, 1 + i]·past[i]`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    coefficients: Vec<Vec<f64>>,
}

impl Linear {
    /// Least squares by the normal equations.
    pub fn fit(series: &Series<f32>) -> Result<Self> {
        let origins = series.origins(Split::Train);
        let size = 1 + series.past(origins.start).len();
        ensure!(
            origins.len() > size,
            "{} windows to learn from are too few for a linear autoregression with {size} coefficients: expected more \
            values or a smaller --window",
            origins.len()
        );
        let mut products = vec![0.0; size * size];
        let mut sides = vec![vec![0.0; size]; series.future(origins.start).len()];
        for origin in origins {
            let row: Vec<f64> = row(series.past(origin)).collect();
            for (i, x) in row.iter().enumerate() {
                products[i * size..][..size].iter_mut().zip(&row).for_each(|(sum, y)| *sum += x * y);
            }
            for (side, y) in sides.iter_mut().zip(series.future(origin)) {
                side.iter_mut().zip(&row).for_each(|(sum, x)| *sum += x * f64::from(*y));
            }
        }
        let trace: f64 = (0..size).map(|i| products[i * size + i]).sum();
        (0..size).for_each(|i| products[i * size + i] += RIDGE * trace / size as f64);
        cholesky(&mut products, size);
        sides.iter_mut().for_each(|side| solve(&products, side));
        Ok(Linear { coefficients: sides })
    }

    /// `[horizon]` after a window.
    pub fn forecast(&self, past: &[f32]) -> Vec<f32> {
        let one = |c: &Vec<f64>| c.iter().zip(row(past)).map(|(c, x)| c * x).sum::<f64>() as f32;
        self.coefficients.iter().map(one).collect()
    }
}

fn row(past: &[f32]) -> impl Iterator<Item = f64> {
    std::iter::once(1.0).chain(past.iter().map(|x| f64::from(*x)))
}

/// A = L·Lᵀ in place, A being symmetric and, by its ridge, positive.
fn cholesky(a: &mut [f64], size: usize) {
    for i in 0..size {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| a[i * size + k] * a[j * size + k]).sum();
            let rest = a[i * size + j] - dot;
            a[i * size + j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / a[j * size + j] };
        }
    }
}

/// L·Lᵀ·x = b, x in b's place.
fn solve(l: &[f64], b: &mut [f64]) {
    let size = b.len();
    for i in 0..size {
        let dot: f64 = (0..i).map(|k| l[i * size + k] * b[k]).sum();
        b[i] = (b[i] - dot) / l[i * size + i];
    }
    for i in (0..size).rev() {
        let dot: f64 = (i + 1..size).map(|k| l[k * size + i] * b[k]).sum();
        b[i] = (b[i] - dot) / l[i * size + i];
    }
}
