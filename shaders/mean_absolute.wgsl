// mean_absolute: e = |y − target|, ∂e/∂y = ±1, or 0 where they are equal; appended to elements.wgsl.

const PARAMETERS: u32 = 1u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let difference = y[0] - expected;
    return Element(abs(difference), array<f32, PARAMETERS>(sign(difference)));
}
