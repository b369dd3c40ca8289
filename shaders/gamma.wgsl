// ln Γ(x + h) − ln Γ(x) and its slope in x, for x > 0 and h >= 0, as differences that lose no digits where both terms
// are large; by Stirling's series from 8 on, below it by recurrence. Appended to the losses that need them; the twin is
// cpu/loss/gamma.rs.

struct Rises {
    ln_gamma: f32,
    digamma: f32,
}

fn gamma_rises(x: f32, h: f32) -> Rises {
    var a = x;
    var below = Rises(0.0, 0.0);
    let shifts = select(0u, 8u, x < 8.0);
    for (var i = 0u; i < shifts; i += 1u) {
        below.ln_gamma += log1p(h / a);
        below.digamma += h / a / (a + h);
        a += 1.0;
    }
    let b = a + h;
    let rise = log1p(h / a);
    let ln_gamma = (a - 0.5) * rise + h * (log(b) - 1.0) + (of_stirling(b) - of_stirling(a)) - below.ln_gamma;
    return Rises(ln_gamma, rise + (of_digamma(b) - of_digamma(a)) + below.digamma);
}

/// ln Γ(a) but for (a − ½)·ln a − a + ½·ln 2π.
fn of_stirling(a: f32) -> f32 {
    let square = 1.0 / a / a;
    return (1.0 / 12.0 + square * (-1.0 / 360.0 + square * (1.0 / 1260.0))) / a;
}

/// ψ(a) but for ln a.
fn of_digamma(a: f32) -> f32 {
    let square = 1.0 / a / a;
    return -0.5 / a - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square * (1.0 / 252.0)));
}
