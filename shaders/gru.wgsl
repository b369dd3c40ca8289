// The GRU cell, gates r, z, n, reset after the product: n = tanh(x_n + r·u_n), h = (1 - z)·n + z·h_(t-1), u = U·h +
// b_U.
//
// in-out  gates  [T, B, D·3·H]: x; forwards the activated gates, backwards the gradient of x take its place
// in-out  saved  [T, B, D·3·H]: u; backwards its gradient takes its place

const GATES: u32 = 3u;
const PASSES_H: bool = true;

@group(0) @binding(7) var<storage, read_write> saved: array<Stored>;

fn cell_forward(variant: u32, at: UnitIndex, x: array<f32, GATES>, u: array<f32, GATES>, h_before: f32) -> f32 {
    let r = gate_of(x[0] + u[0]);
    let z = gate_of(x[1] + u[1]);
    let n = safe_tanh(x[2] + r * u[2]);
    gates[at.gate] = Stored(r);
    gates[at.gate + at.hidden] = Stored(z);
    gates[at.gate + 2u * at.hidden] = Stored(n);
    saved[at.gate] = Stored(u[0]);
    saved[at.gate + at.hidden] = Stored(u[1]);
    saved[at.gate + 2u * at.hidden] = Stored(u[2]);
    return n + z * (h_before - n);
}

fn cell_backward(variant: u32, at: UnitIndex, dh: f32) -> Gradient {
    let r = f32(gates[at.gate]);
    let z = f32(gates[at.gate + at.hidden]);
    let n = f32(gates[at.gate + 2u * at.hidden]);
    let dn = dh * (1.0 - z) * (1.0 - n * n);
    let dr = through_gate(dn * f32(saved[at.gate + 2u * at.hidden]), r);
    let dz = through_gate(dh * (f32(history[at.before]) - n), z);
    gates[at.gate] = Stored(dr);
    gates[at.gate + at.hidden] = Stored(dz);
    gates[at.gate + 2u * at.hidden] = Stored(dn);
    saved[at.gate] = Stored(dr);
    saved[at.gate + at.hidden] = Stored(dz);
    saved[at.gate + 2u * at.hidden] = Stored(dn * r);
    return Gradient(array<f32, GATES>(dr, dz, dn * r), dh * z);
}

fn recurrent_gradient(i: u32) -> f32 {
    return f32(saved[i]);
}
