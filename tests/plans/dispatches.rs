//! How many dispatches a step takes, counted by hand for some networks and by the structure for all.

use recurrent::internals::plan::{Bounds, Op, Phase, Plan, Purpose, Target};
use recurrent::recipe::{Average, Dropout, Group, Loss, Optimizer, Recipe};
use recurrent::{Cell, Config, Directions, InputKind, Pool, Reset};

use crate::{BY_STEPS, is_whole, of_all_kinds, plan, structures, text, train, train_with};

fn dispatches(plan: &Plan) -> [usize; 4] {
    [Phase::Forward, Phase::Loss, Phase::Backward, Phase::Update].map(|phase| plan.dispatches(phase))
}

#[test]
fn dispatches_of_a_text_model_by_steps() {
    // Forward: gather, 50 steps, read-out. Backward: read-out, dV, 50 steps, dU, dW. Update: combine, measure, update.
    let plan = plan(&text(), train(), 50, 32, &BY_STEPS);
    assert_eq!(dispatches(&plan), [1 + 50 + 1, 1, 2 + 50 + 2, 3]);
}

#[test]
fn dispatches_of_a_text_model_on_the_cpu() {
    // As by steps: what the products read packed is no tensor of the plan.
    let plan = plan(&text(), train(), 50, 32, &Target::cpu());
    assert_eq!(dispatches(&plan), [1 + 50 + 1, 1, 2 + 50 + 2, 3]);
}

#[test]
fn dispatches_of_a_text_model_as_a_whole_sequence() {
    // Forward: gather, U transposed, the sequence, read-out. Backward: read-out, dV, the sequence, dU, dW.
    let plan = plan(&text(), train(), 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&plan), [4, 1, 5, 3]);
}

#[test]
fn dispatches_of_an_lstm_of_two_layers() {
    let config = Config::lstm(InputKind::Tokens(65), 128, 65).with_layers(2);
    // Forward: each layer's product with W and 50 steps, then the read-out. Backward: read-out, dV; each layer's 50
    // steps, dU and dW, and what the layer below hears.
    let steps = plan(&config, train(), 50, 32, &BY_STEPS);
    assert_eq!(dispatches(&steps), [2 * (1 + 50) + 1, 1, 2 + 2 * (50 + 2) + 1, 3]);
    // With U transposed and one dispatch a layer, as 4·128·128 elements of U are few enough.
    let whole = plan(&config, train(), 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&whole), [2 * (1 + 1 + 1) + 1, 1, 2 + 2 * (1 + 2) + 1, 3]);
}

#[test]
fn dispatches_of_both_directions() {
    // By steps as many as of one. Beside that one copy of the reverse direction's final state, and its dU.
    let both = text().with_directions(Directions::Bidirectional);
    assert_eq!(dispatches(&plan(&both, train(), 50, 32, &BY_STEPS)), [1 + 50 + 1 + 1, 1, 2 + 50 + 2 + 1, 3]);
    assert_eq!(dispatches(&plan(&both, train(), 50, 32, &Target::webgpu())), [4 + 1, 1, 5 + 1, 3]);
    // Of an LSTM the copies of h and of c, in every layer.
    let lstm = Config::lstm(InputKind::Tokens(65), 128, 65).with_layers(2).with_directions(Directions::Bidirectional);
    let steps = plan(&lstm, train(), 50, 32, &BY_STEPS);
    assert_eq!(dispatches(&steps), [2 * (1 + 50 + 2) + 1, 1, 2 + 2 * (50 + 2 + 1) + 1, 3]);
    // The last states of two directions lie in two places: they are put side by side, and their gradients back.
    let last = both.pool(Pool::Last);
    assert_eq!(dispatches(&plan(&last, train(), 50, 32, &BY_STEPS)), [53 + 1, 1, 55 + 1, 3]);
}

#[test]
fn dispatches_of_a_reset_before_the_product() {
    // Two products a step, one after the other, and two weight gradients: of r and z, and of n.
    let config = Config::of_cell(Cell::Gru(Reset::BeforeProduct), InputKind::Tokens(65), 128, 65);
    let steps = plan(&config, train(), 50, 32, &BY_STEPS);
    assert_eq!(dispatches(&steps), [1 + 2 * 50 + 1, 1, 2 + 2 * 50 + 2 + 1, 3]);
    assert_eq!(dispatches(&plan(&config, train(), 50, 32, &Target::webgpu())), [4, 1, 2 + 1 + 2 + 1, 3]);
}

#[test]
fn dispatches_of_dropout() {
    let config = Config::lstm(InputKind::Dense(65), 128, 65).with_layers(2);
    let [forward, loss, backward, update] = dispatches(&plan(&config, train(), 50, 32, &BY_STEPS));
    let extra = |config: &Config, dropout: Dropout| {
        let [f, l, b, u] = dispatches(&plan(config, train_with(dropout), 50, 32, &BY_STEPS));
        assert_eq!([l, u], [loss, update]);
        [f - forward, b - backward]
    };
    // A mask between two layers, there and back.
    assert_eq!(extra(&config, Dropout::between_layers(0.5)), [1, 1]);
    // Inputs are masked once, and their gradient is nobody's.
    assert_eq!(extra(&config, Dropout::variational(0.5, 0.0)), [1, 0]);
    // A mask for each layer; backwards the masked history, which dU's sums are over.
    assert_eq!(extra(&config, Dropout::variational(0.0, 0.5)), [2, 2]);
    // U masked once, and its gradient.
    assert_eq!(extra(&config, Dropout::NONE.with_weights(0.5)), [2, 2]);
    assert_eq!(extra(&config, Dropout::NONE), [0, 0]);
    // What is kept is drawn for h and for c of each layer, and backwards it is still there.
    assert_eq!(extra(&config.clone().with_zoneout(0.1, 0.5), Dropout::NONE), [4, 0]);
    assert_eq!(extra(&config.clone().with_zoneout(0.0, 0.5), Dropout::NONE), [2, 0]);
    assert_eq!(extra(&config.clone().with_zoneout(0.0, 0.0), Dropout::NONE), [0, 0]);
    // Tokens are dropped as they are gathered.
    let tokens = dispatches(&plan(&text(), train_with(Dropout::variational(0.5, 0.0)), 50, 32, &BY_STEPS));
    assert_eq!(tokens, dispatches(&plan(&text(), train(), 50, 32, &BY_STEPS)));
    // A rate of 0 draws nothing, whatever the seed.
    let none = plan(&config, train_with(Dropout::variational(0.0, 0.0)), 50, 32, &BY_STEPS);
    assert!(none.stages().iter().all(|stage| !matches!(stage.op, Op::Dropout(_))));
}

#[test]
fn dispatches_of_a_learned_start_and_of_a_mean() {
    // The state's filling; one more product backwards and the sum over the batch.
    let learned = text().with_learned_initial_state(true);
    assert_eq!(dispatches(&plan(&learned, train(), 50, 32, &BY_STEPS)), [52 + 1, 1, 54 + 1 + 1, 3]);
    // Of a whole sequence that product is in its dispatch.
    assert_eq!(dispatches(&plan(&learned, train(), 50, 32, &Target::webgpu())), [4 + 1, 1, 5 + 1, 3]);
    // Of an LSTM two sums.
    let lstm = Config::lstm(InputKind::Tokens(65), 128, 65).with_learned_initial_state(true);
    assert_eq!(dispatches(&plan(&lstm, train(), 50, 32, &BY_STEPS)), [52 + 1, 1, 54 + 1 + 2, 3]);
    let mean = text().pool(Pool::Mean);
    assert_eq!(dispatches(&plan(&mean, train(), 50, 32, &BY_STEPS)), [52 + 1, 1, 54 + 1, 3]);
    assert_eq!(dispatches(&plan(&mean, train(), 50, 32, &Target::webgpu())), [4 + 1, 1, 5 + 1, 3]);
}

#[test]
fn dispatches_without_training() {
    let infer = plan(&text(), Purpose::Infer, 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&infer), [4, 0, 0, 0]);
    let evaluate = plan(&text(), Purpose::Evaluate(&Recipe::new(Loss::CrossEntropy)), 50, 32, &Target::webgpu());
    assert_eq!(dispatches(&evaluate), [4, 1, 0, 1]);
}

#[test]
fn dispatches_are_those_of_the_structure() {
    let dropouts = [Dropout::NONE, of_all_kinds(), Dropout::variational(0.5, 0.5)];
    let mut seen_whole = [0, 0];
    // The largest of them would be cut.
    let unbounded = |target: Target| Target { bounds: Bounds::NONE, ..target };
    for target in [BY_STEPS, Target::webgpu()].map(unbounded) {
        for input in [InputKind::Tokens(7), InputKind::Dense(7)] {
            for (steps, batch, hidden) in [(1, 1, 1), (2, 3, 33), (4, 1, 64), (50, 32, 257)] {
                for config in structures(input, hidden) {
                    for dropout in
                        dropouts.into_iter().filter(|d| config.recurrent_layers().count() > 1 || d.outputs == 0.0)
                    {
                        let plan = plan(&config, train_with(dropout), steps, batch, &target);
                        let whole = is_whole(&plan);
                        seen_whole[usize::from(whole)] += 1;
                        let count = usize::from;
                        let products = 1 + count(
                            config.recurrent_layers().next().unwrap().cell == Cell::Gru(Reset::BeforeProduct),
                        );
                        let states = config.recurrent_layers().next().unwrap().cell.states();
                        let (both, learned) = (
                            config.recurrent_layers().next().unwrap().directions == Directions::Bidirectional,
                            config.recurrent_layers().next().unwrap().learned_initial_state,
                        );
                        // The last state of one that reads forwards is in the last rows as they stand.
                        let forwards = config.recurrent_layers().next().unwrap().directions == Directions::Forward;
                        let pools = match config.pooling() {
                            Some(Pool::Mean) => true,
                            Some(Pool::Last) => !forwards,
                            _ => false,
                        };
                        let (masks, between) = (dropout.hidden > 0.0, count(dropout.outputs > 0.0));
                        let masks_inputs = dropout.inputs > 0.0 && input == InputKind::Dense(7);
                        let (layers, recurrence) =
                            (config.recurrent_layers().count(), if whole { 1 } else { steps * products });

                        // U transposed; its mask; W; the steps; the reverse direction's final states, which of one
                        // sequence lie side by side.
                        let layer =
                            count(whole) + count(masks) + 1 + recurrence + if both && batch > 1 { states } else { 0 };
                        let once = count(learned) + count(masks_inputs) + count(pools) + 1;
                        let forward = once + layers * layer + (layers - 1) * between;
                        // The steps, with that before the first; masked operands; dU by direction and product; the
                        // initial state; dW; peepholes.
                        let layer = recurrence
                            + count(learned && !whole)
                            + if masks { products } else { 0 }
                            + products * (1 + count(both))
                            + if learned { states } else { 0 }
                            + 1
                            + count(config.recurrent_layers().next().unwrap().cell == Cell::PeepholeLstm);
                        let backward = 2 + count(pools) + layers * layer + (layers - 1) * (1 + between);
                        let what = format!("{config:?}, {dropout:?}, T {steps}, {target:?}");
                        assert_eq!(dispatches(&plan), [forward, 1, backward, 3], "{what}");

                        if layers == 1 {
                            let plain = forwards && !learned && !pools && !masks && products == 1;
                            let recurrence = if whole { 0 } else { recurrence };
                            let most = if plain { [4, 8] } else { [9, 13] };
                            assert!(forward <= recurrence + most[0] && backward <= recurrence + most[1], "{what}");
                        }
                    }
                }
            }
        }
    }
    assert!(seen_whole.iter().all(|n| *n > 100), "{seen_whole:?}");
}

#[test]
fn every_optimizer_is_one_dispatch() {
    for optimizer in [
        Optimizer::sgd(0.9),
        Optimizer::rms_prop(),
        Optimizer::adam(),
        Optimizer::nesterov(0.9),
        Optimizer::adagrad(),
        Optimizer::ams_grad(0.1),
        Optimizer::r_adam(0.1),
        Optimizer::lion(0.1),
    ] {
        let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, 0.1);
        let updates =
            |recipe: &Recipe| plan(&text(), Purpose::Train(recipe), 5, 2, &BY_STEPS).dispatches(Phase::Update);
        assert_eq!(updates(&recipe), 3);
        // Groups take none more, and a mean of the parameters one.
        let grouped = recipe.with_group(Group::new("bias*").with_rate(0.5));
        assert_eq!(updates(&grouped), 3);
        assert_eq!(updates(&grouped.with_averaged_weights(Average::ema(0.9))), 4);
    }
}
