// softplus and what it is made of; appended to the losses that need them.

/// ln(1 + x) for x >= 0, to the last digits near 0 too, by what 1 + x is rounded to (Kahan's way). No compiler may see
/// that u − 1 was x, so the kernel has `opaque` (carry.wgsl).
fn log1p(x: f32) -> f32 {
    let u = opaque(1.0 + x);
    let d = opaque(u - 1.0);
    // Where 1 + x is 1 it is x; where x is infinite, so is its logarithm.
    let near = select(log(u) * (x / d), x, d == 0.0);
    return select(near, log(u), x > 1e6);
}

/// ln(1 + eˣ), without overflow.
fn softplus(x: f32) -> f32 {
    return select(0.0, x, x > 0.0) + log1p(exp(-abs(x)));
}

/// 1 / (1 + e^-x).
fn softplus_slope(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}
