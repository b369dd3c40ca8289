// poisson: e = eʸ − target·y, ∂e/∂y = eʸ − target; appended to elements.wgsl.

const PARAMETERS: u32 = 1u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let mean = exp(y[0]);
    return Element(mean - expected * y[0], array<f32, PARAMETERS>(mean - expected));
}
