// Functions that every kernel may use; appended to its source.

/// tanh, exactly ±1 beyond ±15, where some drivers' own overflows to NaN. A NaN stays NaN, so that divergence shows.
fn safe_tanh(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let magnitude = bits & 0x7fffffffu;
    let sign = bitcast<f32>((bits & 0x80000000u) | 0x3f800000u);
    // Drivers subtract exponentials, which near 0 leaves few digits: there the series is as exact as f32 is.
    let x2 = x * x;
    let near_zero = x * (1.0 + x2 * (-1.0 / 3.0 + x2 * (2.0 / 15.0 + x2 * (-17.0 / 315.0))));
    var value = select(tanh(clamp(x, -15.0, 15.0)), near_zero, x2 < 0.04);
    // 0x41700000 is 15.
    value = select(value, sign, magnitude > 0x41700000u);
    return select(value, x, magnitude > 0x7f800000u);
}

/// 1 / (1 + e^-x), by way of tanh, which cannot overflow.
fn sigmoid(x: f32) -> f32 {
    return 0.5 + 0.5 * safe_tanh(0.5 * x);
}

/// Whether x is neither infinite nor NaN, by its exponent: drivers may assume away what a comparison would tell.
fn is_finite_bits(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

/// a / b for |a| <= b. Drivers divide by a reciprocal, which is flushed to zero for the largest b: those are brought
/// down by their exponent, as a factor of both would be cancelled by a driver (NVIDIA's does).
fn ratio(a: f32, b: f32) -> f32 {
    let large = b > 0x1p+64f && is_finite_bits(b);
    let divisor = bitcast<f32>(bitcast<u32>(b) - select(0u, 64u << 23u, large));
    return (a / divisor) * select(1.0, 0x1p-64f, large);
}

/// Where slice s of `length` things begins: ⌊length·s / slices⌋, with no product that overflows.
fn slice_start(length: u32, s: u32, slices: u32) -> u32 {
    return (length / slices) * s + (length % slices) * s / slices;
}

/// The number of a workgroup in a linear grid that is spread over x and y, of which a dispatch may be a part: the one
/// that starts at first_workgroup, the last of every kernel's parameters.
fn linear(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return params.first_workgroup + workgroup.x + workgroup.y * grid.x;
}
