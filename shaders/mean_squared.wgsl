// mean_squared: e = (y − target)², ∂e/∂y = 2·(y − target); appended to elements.wgsl.

const PARAMETERS: u32 = 1u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let difference = y[0] - expected;
    return Element(difference * difference, array<f32, PARAMETERS>(2.0 * difference));
}
