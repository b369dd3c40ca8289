// The LSTM of coupled gates, f, g, o: c = f·c_(t-1) + (1 - f)·g, h = o·tanh(c).
//
// in-out  gates  [T, B, D·3·H]: x; forwards the activated gates, backwards the gradient of x take its place
// in-out  saved  c [T+D, B, D·H], slots as in the history; backwards the gradient of c_(t-1) takes c_t's place

const GATES: u32 = 3u;
const PASSES_H: bool = false;

@group(0) @binding(7) var<storage, read_write> saved: array<f32>;

fn cell_forward(variant: u32, at: UnitIndex, x: array<f32, GATES>, r: array<f32, GATES>, h_before: f32) -> f32 {
    // At a step that does not count c = c_(t-1), and backwards its gradient goes where it came from.
    let f = select(1.0, gate_of(x[0] + r[0]), at.counts);
    let g = select(0.0, safe_tanh(x[1] + r[1]), at.counts);
    let o = select(0.0, gate_of(x[2] + r[2]), at.counts);
    var c = f * saved[at.before] + (1.0 - f) * g;
    if at.counts {
        c = clipped(c);
    }
    gates[at.gate] = Stored(f);
    gates[at.gate + at.hidden] = Stored(g);
    gates[at.gate + 2u * at.hidden] = Stored(o);
    saved[at.now] = next_c(at, saved[at.before], c);
    return o * safe_tanh(c);
}

fn cell_backward(variant: u32, at: UnitIndex, dh: f32) -> Gradient {
    let f = f32(gates[at.gate]);
    let g = f32(gates[at.gate + at.hidden]);
    let o = f32(gates[at.gate + 2u * at.hidden]);
    var c = saved[at.now];
    if is_c_held(at) {
        c = clipped(f * saved[at.before] + (1.0 - f) * g);
    }
    let tanh_c = safe_tanh(c);
    let d_o = through_gate(dh * tanh_c, o);
    var dc = dh * o * (1.0 - tanh_c * tanh_c);
    if !at.is_last {
        dc += of_made_c(at, saved[at.next]);
    }
    if at.counts && is_clipped(c) {
        dc = 0.0;
    }
    let gradient = array<f32, GATES>(
        through_gate(dc * (saved[at.before] - g), f),
        dc * (1.0 - f) * (1.0 - g * g),
        d_o,
    );
    gates[at.gate] = Stored(gradient[0]);
    gates[at.gate + at.hidden] = Stored(gradient[1]);
    gates[at.gate + 2u * at.hidden] = Stored(gradient[2]);
    var dc_before = dc * f;
    if is_c_held(at) && !at.is_last {
        dc_before += held_c(at) * saved[at.next];
    }
    saved[at.now] = select(dc_before, 0.0, at.is_reset);
    if at.is_reset {
        saved[at.start_gradient] += dc_before;
    }
    return Gradient(gradient, 0.0);
}

fn recurrent_gradient(i: u32) -> f32 {
    return f32(gates[i]);
}
