// The GRU cell, gates r, z, n, reset before the product: n = tanh(x_n + U_n·(r·h_(t-1)) + b_Un), h = (1 - z)·n +
// z·h_(t-1).
//
// in-out  gates  [T, B, D·3·H]: x; forwards the activated gates, backwards the gradient of x take its place
// in-out  saved  [T, B, D·H]: r·h_(t-1), what the second product is over

const GATES: u32 = 3u;
/// r and z; n waits for r.
const FIRST_GATES: u32 = 2u;
const PASSES_H: bool = true;

@group(0) @binding(7) var<storage, read_write> saved: array<Stored>;

/// r and z, and what the sums of n are over.
fn cell_operand(variant: u32, at: UnitIndex, x: array<f32, GATES>, u: array<f32, GATES>, h_before: f32) -> f32 {
    let r = gate_of(x[0] + u[0]);
    gates[at.gate] = Stored(r);
    gates[at.gate + at.hidden] = Stored(gate_of(x[1] + u[1]));
    let operand = r * h_before;
    saved[at.unit] = Stored(operand);
    return operand;
}

fn cell_forward(variant: u32, at: UnitIndex, x: array<f32, GATES>, u: array<f32, GATES>, h_before: f32) -> f32 {
    let n = safe_tanh(x[2] + u[2]);
    gates[at.gate + 2u * at.hidden] = Stored(n);
    return n + f32(gates[at.gate + at.hidden]) * (h_before - n);
}

/// z and n; r waits for the operand's gradient.
fn cell_backward(variant: u32, at: UnitIndex, dh: f32) -> Gradient {
    let z = f32(gates[at.gate + at.hidden]);
    let n = f32(gates[at.gate + 2u * at.hidden]);
    let dn = dh * (1.0 - z) * (1.0 - n * n);
    let dz = through_gate(dh * (f32(history[at.before]) - n), z);
    gates[at.gate + at.hidden] = Stored(dz);
    gates[at.gate + 2u * at.hidden] = Stored(dn);
    return Gradient(array<f32, GATES>(0.0, dz, dn), dh * z);
}

fn cell_operand_backward(variant: u32, at: UnitIndex, d_operand: f32) -> Gradient {
    let r = f32(gates[at.gate]);
    let dr = through_gate(d_operand * f32(history[at.before]), r);
    gates[at.gate] = Stored(dr);
    return Gradient(array<f32, GATES>(dr, 0.0, 0.0), d_operand * r);
}

fn recurrent_gradient(i: u32) -> f32 {
    return f32(gates[i]);
}

fn operand_at(i: u32) -> f32 {
    return f32(saved[i]);
}
