// Sums that carry what rounding took from them (Kahan 1965): of any number of terms, as exact as of a few.
// The kernel has `zero` among its parameters, and it is 0: a compiler that knew so would take (a + b) - a for b.

struct Sum {
    total: f32,
    /// By how much the total is too large.
    excess: f32,
}

/// A sum and a term.
fn plus(sum: Sum, term: f32) -> Sum {
    let exact = term - sum.excess;
    let total = opaque(sum.total + exact);
    let excess = opaque(total - sum.total) - exact;
    // An infinite total has none.
    return Sum(total, select(0.0, excess, is_finite_bits(total)));
}

/// x, of which no compiler knows what it was made of.
fn opaque(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ params.zero);
}

/// Four sums side by side.
struct Sums {
    total: vec4<f32>,
    excess: vec4<f32>,
}

fn plus4(sums: Sums, terms: vec4<f32>) -> Sums {
    let exact = terms - sums.excess;
    let total = opaque4(sums.total + exact);
    return Sums(total, opaque4(total - sums.total) - exact);
}

fn opaque4(x: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4(params.zero));
}
