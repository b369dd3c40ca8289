//! Records that the host and the device share: a few numbers of a tensor, each with a name that is the same in Rust and
//! in WGSL (`shaders/records.wgsl`).
//!
//! The contract: a record is its members in order, each one element of the tensor; `tests/plans/border.rs` compares
//! names and order with the shader's `struct`.

/// A struct of numbers of one kind, and what it is as elements of a tensor.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name<T = f32> { $($(#[$member_doc])* pub $member: T),* }

        impl $name {
            /// The members' names, in order.
            pub const MEMBERS: &'static [&'static str] = &[$(stringify!($member)),*];
            /// The number of elements.
            pub const LEN: usize = Self::MEMBERS.len();
            /// What a shader says of it.
            pub const RECORD: Record = Record { name: stringify!($name), members: Self::MEMBERS };
        }

        impl<T: Copy> $name<T> {
            /// Returns the record whose elements these are.
            ///
            /// # Panics
            /// Unless there are [`LEN`](Self::LEN) of them.
            pub fn of(elements: &[T]) -> Self {
                let [$($member),*] = *elements else {
                    unreachable!("{} elements for {}", elements.len(), stringify!($name));
                };
                $name { $($member),* }
            }

            /// Returns its elements.
            pub fn elements(&self) -> [T; $name::LEN] {
                [$(self.$member),*]
            }

            /// Returns the same record in another kind of number.
            pub fn map<U>(self, mut convert: impl FnMut(T) -> U) -> $name<U> {
                $name { $($member: convert(self.$member)),* }
            }
        }
    };
}

/// The name of a record and those of its members, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name of the struct.
    pub name: &'static str,
    /// The names of its members.
    pub members: &'static [&'static str],
}

record! {
    /// What the host tells the device of a step, before every run that has a loss. Of a step over several windows all
    /// but the first accumulate (add to the gradient and the loss that are there) and all but the last have more
    /// windows to come, so that they update nothing.
    StepParams {
        /// η, the learning rate.
        learning_rate,
        /// 1 − β₁ᵗ, the correction of Adam's first moment.
        first_correction,
        /// 1 − β₂ᵗ, the correction of Adam's second moment; of RAdam what its step is multiplied by, or 0.
        second_correction,
        /// How far the mean of the parameters is drawn to them, 0 where the step averages nothing.
        average_weight,
        /// The row of the metrics that the step writes.
        metrics_row,
        /// 1 where the window is added to those before it, else 0.
        accumulate,
        /// 1 where the step has more windows to come, else 0.
        more_windows,
        /// What the sum of the positions' losses is divided by: for their mean, how many count.
        divisor,
    }
}

record! {
    /// What a step leaves of itself: a row of the tensor of metrics.
    MetricsRow {
        /// The mean loss.
        loss,
        /// The global norm of the gradient before clipping.
        grad_norm,
        /// The factor that clipping puts on the gradient; with `Clip::Value` the one on its largest element.
        clip_scale,
        /// 1 where loss and gradient are finite and the step has no more windows to come, so that it updates; else 0.
        updates,
    }
}

record! {
    /// Dynamic loss loss_scale (Micikevicius et al. 2018, section 3.2). All factors are powers of two.
    LossScale {
        /// The factor on the gradient of the loss.
        factor,
        /// 1 / factor, by which the gradients of the parameters are multiplied.
        inverse,
        /// The number of consecutive finite steps since the factor last changed.
        finite_steps,
    }
}

record! {
    /// A block's part of a norm, which overflows only where the norm itself does.
    NormPartial {
        /// The largest magnitude of the block's finite elements.
        largest,
        /// Σ (g / largest)² over them; 0 where `largest` is 0.
        squares,
        /// 1 where all elements of the block are finite, else 0.
        is_finite,
    }
}
