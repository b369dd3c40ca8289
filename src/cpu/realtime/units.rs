//! What the sums of a unit become, in vectors of units: the cells' and the dense layers' functions, one step at a time.
//!
//! The contract: nothing is kept but the states, so every function is written for inference alone; `cells` has those
//! that training needs, which these are held against.

use pulp::Simd;

use super::functions::{between, sigmoid, tanh};
use crate::model::{Activation, GateActivation, Recurrent};

/// What a layer's functions depend on beside their sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The slope of gates that are straight lines; else they are σ.
    slope: Option<f32>,
    /// What c is cut off at.
    clip: Option<f32>,
    /// How much of h and of c is kept of the step before.
    held: [f32; 2],
    /// The function around the sums of an Elman cell or a dense layer.
    activation: Activation,
}

impl Settings {
    /// Those of a recurrent layer.
    pub fn of(layer: &Recurrent, activation: Activation) -> Self {
        let gates: GateActivation = layer.gate_activation;
        Settings {
            slope: gates.slope().map(|slope| slope as f32),
            clip: layer.cell_clip.map(|bound| bound as f32),
            held: layer.zoneout.rates().map(|rate| rate as f32),
            activation,
        }
    }

    /// Those of a linear function of a row and the function around it.
    pub fn of_dense(activation: Activation) -> Self {
        Settings { slope: None, clip: None, held: [0.0; 2], activation }
    }

    /// The same, h not being kept: where it is projected, that is done to what the projection makes.
    pub fn without_hold_of_h(self) -> Self {
        Settings { held: [0.0, self.held[1]], ..self }
    }

    /// Of a projection: h is kept, and no function is around it.
    pub fn of_projection(self) -> Self {
        Settings { held: [self.held[0], 0.0], ..Self::of_dense(Activation::Identity) }
    }
}

/// A vector of units before and after a step.
#[derive(Clone, Copy)]
pub(super) struct Units<V> {
    /// h of the step before; 0 of a layer without a state.
    pub before: V,
    /// c, where the cell has one; between two products z.
    pub c: V,
    /// w_ci, w_cf and w_co, of a cell with peepholes.
    pub peepholes: [V; 3],
}

/// h and c.
pub(super) type Two<S> = [<S as Simd>::f32s; 2];

/// The function of a layer's units: from A sums a unit to h, and to c or what a second product needs.
pub(super) trait Unit {
    /// Whether it has a second state, or hands one number a unit on to its second product.
    const HAS_C: bool;
    /// Whether it has peepholes.
    const PEEPHOLES: bool = false;

    /// Returns h and c.
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S>;
}

/// A sum of x and h, and a function around it: an Elman cell, a dense layer, a projection.
pub(super) struct Plain;

impl Unit for Plain {
    const HAS_C: bool = false;

    #[inline(always)]
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S> {
        let made = match settings.activation {
            Activation::Tanh => tanh(simd, sums[0]),
            Activation::Sigmoid => sigmoid(simd, sums[0]),
            Activation::Relu => {
                let zero = simd.splat_f32s(0.0);
                simd.select_f32s(simd.less_than_f32s(sums[0], zero), zero, sums[0])
            }
            // The two of which there are no vectors are taken of whole rows, behind this.
            Activation::Identity | Activation::Gelu | Activation::Softplus => sums[0],
        };
        [hold(simd, settings.held[0], units.before, made), units.c]
    }
}

/// An LSTM: i, f, g, o.
pub(super) struct Lstm;

impl Unit for Lstm {
    const HAS_C: bool = true;

    #[inline(always)]
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S> {
        let (i, f) = (gate(simd, settings, sums[0]), gate(simd, settings, sums[1]));
        let (g, o) = (tanh(simd, sums[2]), gate(simd, settings, sums[3]));
        let c = simd.mul_add_e_f32s(f, units.c, simd.mul_f32s(i, g));
        of_cell(simd, settings, c, o, units)
    }
}

/// An LSTM whose gates see c.
pub(super) struct PeepholeLstm;

impl Unit for PeepholeLstm {
    const HAS_C: bool = true;
    const PEEPHOLES: bool = true;

    #[inline(always)]
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S> {
        let [w_i, w_f, w_o] = units.peepholes;
        let i = gate(simd, settings, simd.mul_add_e_f32s(w_i, units.c, sums[0]));
        let f = gate(simd, settings, simd.mul_add_e_f32s(w_f, units.c, sums[1]));
        let g = tanh(simd, sums[2]);
        let c = clip(simd, settings, simd.mul_add_e_f32s(f, units.c, simd.mul_f32s(i, g)));
        let o = gate(simd, settings, simd.mul_add_e_f32s(w_o, c, sums[3]));
        of_cell(simd, settings, c, o, units)
    }
}

/// An LSTM of coupled gates: f, g, o.
pub(super) struct Cifg;

impl Unit for Cifg {
    const HAS_C: bool = true;

    #[inline(always)]
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S> {
        let f = gate(simd, settings, sums[0]);
        let (g, o) = (tanh(simd, sums[1]), gate(simd, settings, sums[2]));
        let c = simd.mul_add_e_f32s(f, simd.sub_f32s(units.c, g), g);
        of_cell(simd, settings, c, o, units)
    }
}

/// A GRU that is reset after the product: U·h_(t-1) + b_U of n, then r and z, and W·x_t + b_W of n.
pub(super) struct Gru;

impl Unit for Gru {
    const HAS_C: bool = false;

    #[inline(always)]
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S> {
        let (r, z) = (gate(simd, settings, sums[1]), gate(simd, settings, sums[2]));
        let n = tanh(simd, simd.mul_add_e_f32s(r, sums[0], sums[3]));
        let h = simd.mul_add_e_f32s(z, simd.sub_f32s(units.before, n), n);
        [hold(simd, settings.held[0], units.before, h), units.c]
    }
}

/// The gates of a GRU that is reset before the product, r and z: h is what the second product is over, c is z.
pub(super) struct ResetGates;

impl Unit for ResetGates {
    const HAS_C: bool = true;

    #[inline(always)]
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S> {
        let (r, z) = (gate(simd, settings, sums[0]), gate(simd, settings, sums[1]));
        [simd.mul_f32s(r, units.before), z]
    }
}

/// What such a GRU makes of its second product, n.
pub(super) struct Candidate;

impl Unit for Candidate {
    const HAS_C: bool = true;

    #[inline(always)]
    fn of<S: Simd, const A: usize>(simd: S, settings: &Settings, sums: [S::f32s; A], units: Units<S::f32s>) -> Two<S> {
        let n = tanh(simd, sums[0]);
        let h = simd.mul_add_e_f32s(units.c, simd.sub_f32s(units.before, n), n);
        [hold(simd, settings.held[0], units.before, h), units.c]
    }
}

/// h and c of what c is before it is cut off and held.
#[inline(always)]
fn of_cell<S: Simd>(simd: S, settings: &Settings, c: S::f32s, o: S::f32s, units: Units<S::f32s>) -> [S::f32s; 2] {
    let c = clip(simd, settings, c);
    let h = simd.mul_f32s(o, tanh(simd, c));
    [hold(simd, settings.held[0], units.before, h), hold(simd, settings.held[1], units.c, c)]
}

#[inline(always)]
fn gate<S: Simd>(simd: S, settings: &Settings, sum: S::f32s) -> S::f32s {
    let Some(slope) = settings.slope else { return sigmoid(simd, sum) };
    between(simd, 0.0, simd.mul_add_e_f32s(sum, simd.splat_f32s(slope), simd.splat_f32s(0.5)), 1.0)
}

#[inline(always)]
fn clip<S: Simd>(simd: S, settings: &Settings, c: S::f32s) -> S::f32s {
    let Some(bound) = settings.clip else { return c };
    between(simd, -bound, c, bound)
}

#[inline(always)]
fn hold<S: Simd>(simd: S, part: f32, before: S::f32s, now: S::f32s) -> S::f32s {
    if part == 0.0 {
        return now;
    }
    simd.mul_add_e_f32s(simd.splat_f32s(part), simd.sub_f32s(before, now), now)
}

/// Below this a state, an input or a weight is taken for 0: products of it are subnormal, which take some processors a
/// hundred times as long.
pub(super) const TINY: f32 = 1e-25;
