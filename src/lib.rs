//! Recurrent neural networks on any GPU: trained by back-propagation through time in WGSL compute shaders through
//! [`wgpu`], without CUDA, Python or a framework; on the CPU where there is no GPU.
//!
//! Build a model, train it, keep it, and let it speak:
//!
//! ```
//! use recurrent::data::{Alphabet, Windows};
//! use recurrent::{BatchShape, Config, Device, InputKind, Loss, Model, Recipe, StreamingPredictor, Trainer, sample};
//!
//! let text = "the quick brown fox jumps over the lazy dog. ".repeat(20);
//! let alphabet = Alphabet::from_text(&text)?;
//! let windows = Windows::new(alphabet.encode(&text)?, BatchShape { steps: 10, batch_size: 4 })?;
//!
//! let device = Device::best(); // a hardware GPU, else the CPU
//! let model = Model::new(Config::elman(InputKind::Tokens(alphabet.len()), 32, alphabet.len()))?;
//! let mut trainer = Trainer::new(&device, &model, Recipe::new(Loss::CrossEntropy))?;
//! for window in windows.iter().cycle().take(60) {
//!     trainer.step(&window)?; // truncated BPTT: the state is carried on the device
//! }
//! let losses = trainer.metrics()?; // waits for the device, which a step does not
//! assert!(losses.last().unwrap().loss < losses[0].loss);
//!
//! let path = std::env::temp_dir().join("fox.safetensors"); // PyTorch reads it too
//! trainer.model()?.save(&path)?;
//! let mut stream = StreamingPredictor::new(&device, &Model::load(&path)?, 1)?;
//! let mut token = alphabet.encode("t")?[0];
//! for _ in 0..20 {
//!     let outputs = stream.step_tokens(&[token])?;
//!     token = sample(outputs, 0.0, 0.0)?; // temperature 0: the likeliest
//!     print!("{}", alphabet.decode(&[token]));
//! }
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), recurrent::Error>(())
//! ```
//!
//! Run programs with `--release`, or with `opt-level = 2` for `[profile.dev.package."*"]` in their Cargo.toml: without
//! optimisation the CPU executor is some fifty times slower.
//!
//! # What a network may be
//!
//! [`Config`] says it: a list of [layers](Layer), each with its cell, size, [directions](Config::with_directions),
//! biases and [initial state](Config::with_learned_initial_state), and whether there is a label at every step or, above
//! a [pool](Config::pool), for each sequence. [`Recipe`] says how it is trained, [`Dropout`] and clipping included.
//! Sequences of unequal length come as [`Sequences`] with lengths, from [`Batch::pad`] or from [`data::Buckets`].
//! [`Fit`] trains whole epochs and keeps the network of the best evaluation, [`Trainer`] takes steps.
//! [`StreamingPredictor`] runs a causal network step by step, [`Predictor`] any network over whole sequences;
//! [`Model::import`] and [`Model::from_keras`] bring weights from elsewhere.
//!
//! # Unfold, truncate, batch, clip, forget
//!
//! A recurrent network reads one step after another: `h_t = tanh(W·x_t + U·h_(t-1) + b)`, and V reads its label from h.
//!
//! * **Unfold.** Over T steps it is a deep network whose layers share W and U, so the gradient of a loss is that of
//!   every step summed: back-propagation through time (Werbos 1990). [`Trainer::step`] does it for one window of T
//!   steps.
//! * **Truncate.** A sequence without an end is cut into windows of a few steps. [`data::Start::Carry`] lets the state
//!   go on from one to the next, while the gradient ends at the border: [`data::Windows`] cuts a text so.
//! * **Batch.** B sequences side by side make every product a matrix product. [`Batch::pad`] and [`data::Buckets`] put
//!   sequences of unequal length into one.
//! * **Clip.** Back through k steps the gradient is multiplied by k Jacobians: it vanishes or explodes (Bengio, Simard
//!   & Frasconi 1994). [`Recipe::with_trace`] measures which, and [`Trainer::trace`](Trainer::trace_async) says it;
//!   [`Clip`] holds what explodes (Pascanu, Mikolov & Bengio 2013).
//! * **Forget.** Against what vanishes there are gates: [`Config::lstm`] (Hochreiter & Schmidhuber 1997; Gers,
//!   Schmidhuber & Cummins 2000) and [`Config::gru`] (Cho et al. 2014) choose what to keep and what to forget.
//!
//! # Where to start
//!
//! | question | chapter |
//! |---|---|
//! | Which networks can be said, and how? | [`guide::networks`] |
//! | How does my data get in? | [`guide::data`] |
//! | How good is a trained network? | [`guide::metrics`] |
//! | How do long sequences, unequal lengths and large batches fit? | [`guide::long_sequences`] |
//! | How is a whole training run? Which optimisers, rates, groups and averages are there? | [`guide::training`] |
//! | Which GPU is taken, and why? | [`guide::devices`] |
//! | Does it get smaller in half precision? | [`guide::half_precision`] |
//! | How do weights travel from and to PyTorch and Keras? | [`guide::pytorch_and_keras`] |
//! | What can go wrong? | [`guide::errors`] |
//! | How fast is it, and where does the time go? | [`guide::performance`] |
//! | How does it run in an audio callback? | [`guide::real_time`] |
//! | How does it work inside? | [`guide::how_it_works`] |
//! | What can it not do? | [`guide::limits`] |
//! | What do T, B, `[T, B, ·]` and "logits" mean here? | [`guide::vocabulary`] |
//!
//! Every fallible call returns [`Error`]; nothing panics on data, on a file or on what a driver does. Calls that wait
//! for the GPU have an `_async` form; the form without it blocks the thread, and does not exist on wasm32.
//! [`Trainer::step`] submits work and returns.

mod allocate;
pub mod checkpoint;
mod clock;
mod cpu;
pub mod ctc;
pub mod data;
pub mod device;
pub mod error;
mod executor;
pub mod fit;
pub mod formats;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod guide;
pub mod metrics;
pub mod model;
mod plan;
pub mod predict;
pub mod realtime;
pub mod recipe;
mod session;
pub mod stream;
pub mod train;
#[cfg(not(target_arch = "wasm32"))]
mod wait;

pub use checkpoint::Checkpoint;
pub use data::{Batch, HeadTargets, InputColumn, Inputs, Sequences, Start, Targets};
pub use device::Device;
pub use error::{Divergence, Error, Largest, NotFinite, Result};
pub use fit::Fit;
pub use model::{
    Activation, BatchShape, Cell, Column, Config, Dense, Directions, DropoutLayer, Embedding, GateActivation, Head,
    Init, InputKind, Join, Layer, LayerNorm, Layout, Model, Pool, Recurrent, Reset, State, Zoneout,
};
pub use predict::{Prediction, Predictor};
pub use realtime::RealTimePredictor;
pub use recipe::{
    Clip, DecayScope, Dropout, EmbeddingUpdate, GradientCheckpointing, Group, HeadLoss, LearningRateSchedule, Loss,
    Optimizer, Precision, Recipe,
};
pub use session::PlanCacheStats;
pub use stream::{StreamingPredictor, sample};
pub use train::{
    EarlyStopping, LayerTrace, Metrics, OutputGradients, Outputs, ParameterTrace, Phase, Plateau, Profile, ProfileRow,
    TensorStats, TimingSource, Trace, Trainer,
};
#[cfg(feature = "gpu")]
pub use wgpu;

/// The engine room: plans, the operations in them, and the two executors. Contributors and the tests of this crate use
/// it; it may change with any version.
#[doc(hidden)]
pub mod internals {
    /// Plans and their operations.
    pub mod plan {
        pub use crate::plan::*;
    }
    /// The CPU executor.
    pub mod cpu {
        pub use crate::cpu::*;
    }
    /// The GPU executor and its kernels.
    #[cfg(feature = "gpu")]
    pub mod gpu {
        pub use crate::gpu::executor::Executor;
        /// What Rust knows of each shader.
        pub mod kernels {
            pub use crate::gpu::kernels::*;
        }
    }
}

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
