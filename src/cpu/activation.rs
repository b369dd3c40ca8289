//! The functions around a dense layer's sums; their twin is `shaders/activation.wgsl`.

use super::{real::Real, tensors::Tensors, threads};
use crate::model::Activation;
use crate::plan::{Activate, ActivateGradient};

/// Elements that are worth a thread's while.
const ELEMENTS_PER_TASK: usize = 1 << 13;

pub(super) fn activate<T: Real>(Activate { activation, x }: &Activate, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(x.tensor);
    threads::for_each(tensor[x.range()].chunks_mut(ELEMENTS_PER_TASK), |values| apply(*activation, values));
    memory.put(x.tensor, tensor);
}

fn apply<T: Real>(activation: Activation, values: &mut [T]) {
    match activation {
        Activation::Tanh => T::tanh_slice(values),
        // Not max(x, 0): that turns NaN into 0 and hides a divergence.
        Activation::Relu => values.iter_mut().for_each(|x| *x = if *x <= T::zero() { T::zero() } else { *x }),
        Activation::Sigmoid => T::sigmoid_slice(values),
        Activation::Gelu => values.iter_mut().for_each(|x| *x = *x * normal(*x)),
        Activation::Softplus => values.iter_mut().for_each(|x| *x = softplus(*x)),
        Activation::Identity => {}
    }
}

/// Those of the functions that are no vectors of a product.
pub(super) fn apply_without_vectors(activation: Activation, values: &mut [f32]) {
    if matches!(activation, Activation::Gelu | Activation::Softplus) {
        apply(activation, values);
    }
}

/// Φ(x), by way of f64: erfc loses no digits below 0.
fn normal<T: Real>(x: T) -> T {
    T::from_f64(0.5 * libm::erfc(-x.as_f64() * std::f64::consts::FRAC_1_SQRT_2))
}

/// ln(1 + eˣ) without overflow; a NaN stays one.
fn softplus<T: Real>(x: T) -> T {
    (if x > T::zero() { x } else { T::zero() }) + (-x.abs()).exp().ln_1p()
}

pub(super) fn activate_gradient<T: Real>(op: &ActivateGradient, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.d.tensor);
    let kept = memory.view(&op.kept).chunks(ELEMENTS_PER_TASK);
    let tasks = tensor[op.d.range()].chunks_mut(ELEMENTS_PER_TASK).zip(kept);
    threads::for_each(tasks, |(d, kept)| {
        for (d, kept) in d.iter_mut().zip(kept) {
            *d = *d * slope(op.activation, *kept);
        }
    });
    memory.put(op.d.tensor, tensor);
}

/// f′, from f's value or, of gelu and softplus, from what f is of.
fn slope<T: Real>(activation: Activation, kept: T) -> T {
    let one = T::one();
    match activation {
        Activation::Tanh => one - kept * kept,
        Activation::Relu => {
            if kept > T::zero() {
                one
            } else {
                T::zero()
            }
        }
        Activation::Sigmoid => kept * (one - kept),
        Activation::Gelu => {
            let x = kept.as_f64();
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            // At ±∞ the density is 0 and the product no number.
            normal(kept) + if density == 0.0 { T::zero() } else { T::from_f64(x * density) }
        }
        Activation::Softplus => {
            let e = (-kept.abs()).exp();
            (if kept < T::zero() { e } else { one }) / (one + e)
        }
        Activation::Identity => one,
    }
}
