// The functions around a dense layer's sums, by number: 0 tanh, 1 relu, 2 σ, 3 gelu, 4 softplus; any other is the
// identity. Appended to the kernels that apply them; their twin is `cpu/activation.rs`.

/// erf by the quotient of two polynomials that Eigen and XLA use, within 6.5·10⁻⁸; beyond ±4 it is ±1 to that.
fn erf(x: f32) -> f32 {
    let v = clamp(x, -4.0, 4.0);
    let s = v * v;
    var p = -2.72614225801306e-10;
    p = fma(p, s, 2.77068142495902e-08);
    p = fma(p, s, -2.10102402082508e-06);
    p = fma(p, s, -5.69250639462346e-05);
    p = fma(p, s, -7.34990630326855e-04);
    p = fma(p, s, -2.95459980854025e-03);
    p = fma(p, s, -1.60960333262415e-02);
    var q = -1.45660718464996e-05;
    q = fma(q, s, -2.13374055278905e-04);
    q = fma(q, s, -1.68282697438203e-03);
    q = fma(q, s, -7.37332916720468e-03);
    q = fma(q, s, -1.42647390514189e-02);
    return v * p / q;
}

fn activation(kind: u32, x: f32) -> f32 {
    switch kind {
        case 0u: {
            return safe_tanh(x);
        }
        case 1u: {
            // Not max(x, 0): that may turn NaN into 0 and hide a divergence.
            return select(x, 0.0, x <= 0.0);
        }
        case 2u: {
            return sigmoid(x);
        }
        case 3u: {
            // x·Φ(x): Hendrycks & Gimpel, Gaussian Error Linear Units, 2016.
            return x * (0.5 + 0.5 * erf(x * 0.70710678));
        }
        case 4u: {
            // ln(1 + eˣ), without overflow.
            return select(0.0, x, x > 0.0) + log(1.0 + exp(-abs(x)));
        }
        default: {
            return x;
        }
    }
}

/// The slope of a function, from its value or, of gelu and softplus, from what it is of.
fn activation_slope(kind: u32, kept: f32) -> f32 {
    switch kind {
        case 0u: {
            return 1.0 - kept * kept;
        }
        case 1u: {
            return select(0.0, 1.0, kept > 0.0);
        }
        case 2u: {
            return kept * (1.0 - kept);
        }
        case 3u: {
            // Φ(x) + x·φ(x); beyond ±13 the second is 0, and the square might overflow.
            let x = clamp(kept, -13.0, 13.0);
            return 0.5 + 0.5 * erf(kept * 0.70710678) + x * 0.39894228 * exp(-0.5 * x * x);
        }
        case 4u: {
            return sigmoid(kept);
        }
        default: {
            return 1.0;
        }
    }
}
