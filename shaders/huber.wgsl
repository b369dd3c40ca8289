// huber: e = d² / 2 with d = y − target, or δ·(|d| − δ / 2) beyond δ; ∂e/∂y = d within ±δ; appended to elements.wgsl.
// loss_settings: δ.

const PARAMETERS: u32 = 1u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let difference = y[0] - expected;
    let bound = loss_settings[0];
    let near = 0.5 * difference * difference;
    let far = bound * (abs(difference) - 0.5 * bound);
    let slope = clamp(difference, -bound, bound);
    return Element(select(far, near, abs(difference) <= bound), array<f32, PARAMETERS>(slope));
}
