// Appended to a cell whose recurrent sums are all over h_(t-1), so that nothing happens between products.

/// How many gates' sums are those of the first product.
const FIRST_GATES: u32 = GATES;

fn cell_operand(variant: u32, at: UnitIndex, x: array<f32, GATES>, r: array<f32, GATES>, h_before: f32) -> f32 {
    return 0.0;
}

fn cell_operand_backward(variant: u32, at: UnitIndex, d_operand: f32) -> Gradient {
    return Gradient();
}

fn operand_at(i: u32) -> f32 {
    return 0.0;
}
