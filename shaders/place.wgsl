// What a driver tells a cell, where one unit of one sequence lies at one step, and what it hears of its gradient.

struct Place {
    /// Of gate 0 in [T, B, G·H]; the next gate is `hidden` further on.
    gate: u32,
    /// In [T, B, H], and so of h_(t-1) in the history [T+1, B, H].
    unit: u32,
    /// B·H: from a step to the next in both.
    slot: u32,
    /// H.
    hidden: u32,
    /// Whether this is step 0, and step T - 1.
    is_first: bool,
    is_last: bool,
}

struct Gradient {
    /// Of r.
    r: array<f32, GATES>,
    /// Of h_(t-1) by a path around U; read only of a cell whose PASSES_H is true.
    h_before: f32,
}

fn place(t: u32, steps: u32, row: u32, j: u32, batch: u32, hidden: u32) -> Place {
    let at = t * batch + row;
    return Place(at * GATES * hidden + j, at * hidden + j, batch * hidden, hidden, t == 0u, t + 1u == steps);
}
