//! Tables that tokens have rows of: what a plan does for each row that is read it does once for each token where these
//! are fewer, and what only some rows are updated of costs the same however many there are.
//!
//! The contract: which it is shows in nothing but the cost.

use crate::common::compare::{F32_SUM, check_close};
use crate::common::executor::{Execute, gpu};
use crate::common::network::{Inputs, Network, Window, random_parameters, step_into};
use crate::common::random::Random;
use recurrent::internals::cpu;
use recurrent::internals::plan::{Bounds, Plan, Purpose, Target, Work};
use recurrent::{
    Activation, Config, Dropout, Embedding, EmbeddingUpdate, GradientCheckpointing, InputKind, Layout, Loss, Optimizer,
    Precision, Recipe, Recurrent,
};

/// A large GPU, whose tensors may be of any size that 32-bit indices reach, and one that is software.
const LARGE: Target = Target { binding_bytes: u64::MAX, ..Target::webgpu() };
const SOFTWARE: Target = Target { software: true, workgroups: 2, bounds: Bounds::SOFTWARE, ..LARGE };
const HALF: Target = Target { has_f16: true, precision: Precision::F16, ..LARGE };

/// Everything that a step of training costs, counted: FLOP, bytes that are moved, iterations and dispatches;
/// bytes that are uploaded, and that the plan alone takes.
fn counted(config: &Config, purpose: Purpose<'_>, [steps, batch]: [usize; 2], target: &Target) -> [u64; 6] {
    let (plan, _) = Plan::new(config, purpose, steps, batch, target).unwrap();
    let mut all = [0; 6];
    for stage in plan.stages() {
        let Work { flops, bytes } = stage.op.cost(&plan).work();
        all[0] += flops;
        all[1] += bytes;
        all[2] += stage.op.iterations(&plan);
        all[3] += stage.op.dispatches(&plan) as u64;
    }
    (all[4], all[5]) = (plan.bytes().inputs, plan.bytes().scratch);
    all
}

#[test]
fn a_step_that_updates_the_rows_that_occur_costs_the_same_whatever_the_vocabulary() {
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam_w(0.1), 1e-3);
    let lazy = recipe.clone().with_embedding_update(EmbeddingUpdate::Lazy);
    let segments = GradientCheckpointing::Steps(7);
    let of = |[tokens, kinds]: [usize; 2]| {
        let config = Config::new(InputKind::Tokens(tokens)).token_column("kind", kinds, 8).embedding(64);
        config.layer(Recurrent::lstm(32)).outputs(10)
    };
    let (small, large) = (of([1 << 10, 1 << 11]), of([300_000, 200_000]));
    for target in [Target::cpu(), LARGE, SOFTWARE, HALF] {
        for recipe in [lazy.clone(), lazy.clone().with_gradient_checkpointing(segments)] {
            for purpose in [Purpose::Train(&recipe), Purpose::TrainPart(&recipe, 1000)] {
                let [few, many] = [&small, &large].map(|config| counted(config, purpose, [35, 20], &target));
                assert_eq!(few, many, "{purpose:?} {target:?}");
            }
        }
        // Which shows where it does grow.
        let [few, many] = [&small, &large].map(|config| counted(config, Purpose::Train(&recipe), [35, 20], &target));
        let grown = few.iter().zip(&many).filter(|(few, many)| **many > 2 * **few).count();
        assert!(grown >= 4, "{few:?} {many:?} {target:?}");
    }
}

/// Letters, each of which has a row of a table.
fn letters(tokens: usize) -> Config {
    Config::new(InputKind::Tokens(tokens)).embedding(64).layer(Recurrent::lstm(128)).outputs(5)
}

/// Whether the layer above the embedding makes what it makes of a row once for each token.
fn is_by_token(config: &Config, purpose: Purpose<'_>, steps: usize, target: &Target) -> bool {
    let (plan, _) = Plan::new(config, purpose, steps, 20, target).unwrap();
    let [product, rows] = ["product_of_table", "embedding_l0"].map(|name| plan.find(name).is_some());
    assert_ne!(product, rows, "{config:?} {purpose:?}");
    product
}

#[test]
fn what_is_made_of_a_row_is_made_once_for_each_token_where_these_are_few() {
    let recipe = Recipe::new(Loss::CrossEntropy);
    let dropout = recipe.clone().with_dropout(Dropout::variational(0.1, 0.0));
    let lazy = recipe.clone().with_embedding_update(EmbeddingUpdate::Lazy);
    let train = Purpose::Train(&recipe);
    for target in [Target::cpu(), LARGE, HALF] {
        for purpose in [Purpose::Infer, Purpose::Evaluate(&recipe), train] {
            assert!(is_by_token(&letters(65), purpose, 50, &target), "{purpose:?}");
            // Neither of more tokens than there are rows nor of few rows.
            assert!(!is_by_token(&letters(10_000), purpose, 50, &target), "{purpose:?}");
            assert!(!is_by_token(&letters(65), purpose, 1, &target), "{purpose:?}");
        }
        // Somebody else wants the rows, or other rows than the table's.
        let layers =
            |layer: Embedding| Config::new(InputKind::Tokens(65)).layer(layer).layer(Recurrent::lstm(64)).outputs(65);
        let plain = layers(Embedding::new(64));
        let residual =
            Config::new(InputKind::Tokens(65)).embedding(64).layer(Recurrent::lstm(64).residual()).outputs(2);
        let normed =
            Config::new(InputKind::Tokens(65)).embedding(64).layer_norm().layer(Recurrent::lstm(64)).outputs(2);
        let column = Config::new(InputKind::Tokens(65)).dense_column("shape", 2).embedding(64);
        for config in [residual, normed, column.layer(Recurrent::lstm(64)).outputs(2)] {
            assert!(!is_by_token(&config, Purpose::Infer, 50, &target), "{config:?}");
        }
        // Of a training its gradient has to be the whole of the table's.
        let padded = layers(Embedding::new(64).with_padding(3));
        assert!(is_by_token(&padded, Purpose::Infer, 50, &target));
        for (config, purpose) in [
            (&padded, train),
            (&plain.clone().tied(), train),
            (&plain, Purpose::Train(&dropout)),
            (&plain, Purpose::Train(&lazy)),
        ] {
            assert!(!is_by_token(config, purpose, 50, &target), "{config:?} {purpose:?}");
        }
    }
}

#[test]
fn once_for_each_token_is_less_work() {
    let recipe = Recipe::new(Loss::CrossEntropy);
    let rows = Config::new(InputKind::Tokens(65)).layer(Embedding::new(64).with_padding(3));
    let rows = rows.layer(Recurrent::lstm(128)).outputs(5);
    for target in [Target::cpu(), LARGE] {
        let [by_token, by_row] =
            [&letters(65), &rows].map(|config| counted(config, Purpose::Train(&recipe), [50, 50], &target));
        // Of 2500 rows of a product of 64 numbers to 512, and of both gradients, all but 65.
        let saved = 6 * 64 * 512 * (2500 - 65) - 2500 * 512;
        let less = by_row[0] - by_token[0];
        assert!(less.abs_diff(saved) < saved / 50, "{less} of {saved}");
        assert!(by_token[1] < by_row[1], "{by_token:?} {by_row:?}");
    }
}

/// The outputs of a network, whose table is padded or not, and all gradients.
fn results<E: Execute>(executor: E, target: Target, padding: Option<usize>, dense: bool) -> [Vec<f64>; 2] {
    let embedding = padding.map_or(Embedding::new(6), |token| Embedding::new(6).with_padding(token));
    let config = Config::new(InputKind::Tokens(5)).layer(embedding);
    let config = if dense { config.dense(9, Activation::Tanh) } else { config };
    let config = config.layer(Recurrent::gru(7).bidirectional()).outputs(3);
    let parameters = random_parameters(&mut Random::new(1), &Layout::new(&config).unwrap(), 0.9);
    let mut window = Window::random(&mut Random::new(2), &config, true, 40, 3).with_lengths(&config, vec![40, 1, 33]);
    if let Inputs::Tokens(tokens) = &mut window.inputs {
        // Of what is padding there is nothing.
        tokens.iter_mut().for_each(|token| *token %= 4);
    }
    let mut network = Network::new(executor, &config, target);
    let infer = network.prepare(Purpose::Infer, 40, 3);
    network.write(&infer, infer.at.parameters, &parameters);
    network.run(&infer, &window, step_into(0));
    let outputs = network.outputs(&infer, &window);
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let train = network.prepare(Purpose::Train(&recipe), 40, 3);
    assert_eq!(train.plan.find("product_of_table").is_some(), padding.is_none());
    network.write(&train, train.at.parameters, &parameters);
    network.run(&train, &window, step_into(0));
    [outputs, network.gradients(&train)]
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn by_token_or_by_row_outputs_and_gradients_are_the_same() {
    for dense in [false, true] {
        let on_cpu = |padding| results(cpu::Executor::<f32>::new(), Target::cpu(), padding, dense);
        let on_gpu = |padding| results(gpu(), gpu().gpu().target(), padding, dense);
        for [by_token, by_row] in [[None, Some(4)].map(on_cpu), [None, Some(4)].map(on_gpu)] {
            // To the last bit, so that a sequence may be read in parts of any size.
            assert_eq!(by_token[0], by_row[0]);
            check_close("gradients", &by_token[1], &by_row[1], F32_SUM).unwrap();
        }
    }
}
