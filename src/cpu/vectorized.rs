//! Loops that the compiler makes vector instructions of, in the widest vectors that the machine has.
//!
//! The contract: what is computed, and in which order, is what the loop says.

use pulp::{Simd, WithSimd};

/// Loops that write to what is around them. Called as what such a closure is, `FnMut`: called as `FnOnce`, as [`pulp`]
/// would, it hides behind a function that is compiled for any machine.
pub(super) struct Loops<F>(pub F);

impl<F: FnMut()> WithSimd for Loops<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _simd: S) {
        (self.0)();
    }
}

/// Runs `vectorized!(|| loops)`. They have to be inlined where the machine's instructions are chosen, which the
/// compiler does not do unasked if they are long.
macro_rules! vectorized {
    (|| $loops:expr) => {
        ::pulp::Arch::new().dispatch(crate::cpu::vectorized::Loops(
            #[inline(always)]
            || $loops,
        ))
    };
}

pub(super) use vectorized;
