// The LSTM cell with peepholes, gates i, f, g, o: i and f see w_ci·c_(t-1) and w_cf·c_(t-1), o sees w_co·c_t;
// c = f·c_(t-1) + i·g, h = o·tanh(c).
//
// in-out  gates      [T, B, D·4·H]: x; forwards the activated gates, backwards the gradient of x take its place
// in-out  saved      c [T+D, B, D·H], slots as in the history; backwards the gradient of c_(t-1) takes c_t's place
// in-out  peepholes  [3·D·H] w_ci, w_cf and w_co, read; behind them rows [T·B, 3·D·H + 1]: backwards what each step
//                    adds to their gradients, and a 1

const GATES: u32 = 4u;
const PASSES_H: bool = false;

@group(0) @binding(7) var<storage, read_write> saved: array<f32>;
@group(0) @binding(8) var<storage, read_write> peepholes: array<f32>;

/// Which of the D·H units of both directions it is.
fn column_of(at: UnitIndex) -> u32 {
    return at.unit % (params.directions * at.hidden);
}

/// What stands before the unit's peephole of number k.
fn peephole(at: UnitIndex, k: u32) -> f32 {
    return peepholes[k * params.directions * at.hidden + column_of(at)];
}

fn cell_forward(variant: u32, at: UnitIndex, x: array<f32, GATES>, r: array<f32, GATES>, h_before: f32) -> f32 {
    // At a step that does not count c = c_(t-1), and backwards its gradient goes where it came from.
    let c_before = saved[at.before];
    let i = select(0.0, gate_of(x[0] + r[0] + peephole(at, 0u) * c_before), at.counts);
    let f = select(1.0, gate_of(x[1] + r[1] + peephole(at, 1u) * c_before), at.counts);
    let g = select(0.0, safe_tanh(x[2] + r[2]), at.counts);
    var c = f * c_before + i * g;
    if at.counts {
        c = clipped(c);
    }
    let o = select(0.0, gate_of(x[3] + r[3] + peephole(at, 2u) * c), at.counts);
    gates[at.gate] = Stored(i);
    gates[at.gate + at.hidden] = Stored(f);
    gates[at.gate + 2u * at.hidden] = Stored(g);
    gates[at.gate + 3u * at.hidden] = Stored(o);
    saved[at.now] = next_c(at, c_before, c);
    return o * safe_tanh(c);
}

fn cell_backward(variant: u32, at: UnitIndex, dh: f32) -> Gradient {
    let i = f32(gates[at.gate]);
    let f = f32(gates[at.gate + at.hidden]);
    let g = f32(gates[at.gate + 2u * at.hidden]);
    let o = f32(gates[at.gate + 3u * at.hidden]);
    let c_before = saved[at.before];
    var c = saved[at.now];
    if is_c_held(at) {
        c = clipped(f * c_before + i * g);
    }
    let tanh_c = safe_tanh(c);
    let d_o = through_gate(dh * tanh_c, o);
    var dc = dh * o * (1.0 - tanh_c * tanh_c) + d_o * peephole(at, 2u);
    if !at.is_last {
        dc += of_made_c(at, saved[at.next]);
    }
    if at.counts && is_clipped(c) {
        dc = 0.0;
    }
    let gradient = array<f32, GATES>(
        through_gate(dc * g, i),
        through_gate(dc * c_before, f),
        dc * i * (1.0 - g * g),
        d_o,
    );
    gates[at.gate] = Stored(gradient[0]);
    gates[at.gate + at.hidden] = Stored(gradient[1]);
    gates[at.gate + 2u * at.hidden] = Stored(gradient[2]);
    gates[at.gate + 3u * at.hidden] = Stored(gradient[3]);
    var dc_before = dc * f + gradient[0] * peephole(at, 0u) + gradient[1] * peephole(at, 1u);
    if is_c_held(at) && !at.is_last {
        dc_before += held_c(at) * saved[at.next];
    }
    saved[at.now] = select(dc_before, 0.0, at.is_reset);
    if at.is_reset {
        saved[at.start_gradient] += dc_before;
    }

    let width = params.directions * at.hidden;
    let row = 3u * width + at.unit / width * (3u * width + 1u);
    let column = row + column_of(at);
    peepholes[column] = gradient[0] * c_before;
    peepholes[column + width] = gradient[1] * c_before;
    peepholes[column + 2u * width] = d_o * c;
    // Of one thread, as nobody else reads or writes it.
    if column == row {
        peepholes[row + 3u * width] = 1.0;
    }
    return Gradient(gradient, 0.0);
}

fn recurrent_gradient(i: u32) -> f32 {
    return f32(gates[i]);
}
