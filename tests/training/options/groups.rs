//! Groups of parameters: a rate and a decay of their own, and frozen from the beginning.

use recurrent::{
    Checkpoint, Clip, Config, DecayScope, Device, EmbeddingUpdate, Error, Group, InputKind, Loss, Model, Optimizer,
    Recipe, Recurrent, Trainer,
};

use super::{batch, bytes, doubles, elman, plain, trainer, values};
use crate::common::compare::{F32_STEP, assert_close};
use crate::common::random::Random;
use crate::common::whole::{self, refuses};

whole::on_both!(
    a_groups_rate_is_a_factor_on_its_steps,
    a_groups_decay_takes_the_place_of_the_optimisers,
    a_frozen_group_stays_until_it_is_unfrozen,
    a_table_that_is_updated_by_rows_may_be_a_group,
    a_group_is_clipped_by_itself,
);

/// With gradient descent at a rate of 1 the step is the gradient.
fn a_group_is_clipped_by_itself(device: &Device) {
    let config = Config::new(InputKind::Tokens(9)).embedding(5).layer(Recurrent::gru(6)).outputs(9).with_seed(5);
    let windows: Vec<_> = (0..2).map(|seed| batch(&mut Random::new(25 + seed), &config, 5, 4)).collect();
    let own = ["embedding.weight", "head.0.bias"];
    for update in [EmbeddingUpdate::Exact, EmbeddingUpdate::Lazy] {
        let step = |clip: Clip, of_group: Option<Clip>| {
            let recipe = plain(Loss::CrossEntropy, 1.0).with_clip(clip).with_embedding_update(update);
            let group = of_group.map(|clip| Group::new(own[0]).and(own[1]).with_clip(clip));
            let mut trainer = trainer(device, &config, group.into_iter().fold(recipe, Recipe::with_group));
            let before = trainer.model().unwrap();
            trainer.step_accumulated(&windows).unwrap();
            let after = trainer.model().unwrap();
            let parts = [true, false].map(|in_group| -> Vec<f64> {
                let names = before.tensors().map(|(name, ..)| name).filter(|name| own.contains(name) == in_group);
                names
                    .flat_map(|name| values(&before, name).into_iter().zip(values(&after, name)))
                    .map(|(b, a)| b - a)
                    .collect()
            });
            (parts, trainer.metrics().unwrap()[0].clone())
        };
        let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let scaled = |values: &[f64], by: f64| values.iter().map(|v| v * by).collect::<Vec<_>>();
        let ([group, rest], _) = step(Clip::None, None);
        let (bound, rest_bound) = (norm(&group) / 2.0, norm(&rest) / 4.0);
        let held = group.iter().fold(0.0f64, |most, v| most.max(v.abs())) / 2.0;
        for (clip, want) in [
            (Clip::Norm(bound), scaled(&group, 0.5)),
            (Clip::Normalize(2.0 * norm(&group)), scaled(&group, 2.0)),
            (Clip::Value(held), group.iter().map(|v| v.clamp(-held, held)).collect()),
            (Clip::None, group.clone()),
        ] {
            let ([got, got_rest], metrics) = step(Clip::Norm(rest_bound), Some(clip));
            assert_close(&format!("{update:?}, {clip:?}: the group"), &got, &want, F32_STEP);
            assert_close(&format!("{update:?}, {clip:?}: the rest"), &got_rest, &scaled(&rest, 0.25), F32_STEP);
            assert_close("the norm of the rest", &[metrics.grad_norm], &[norm(&rest)], F32_STEP);
        }
    }
}

fn a_groups_rate_is_a_factor_on_its_steps(device: &Device) {
    let config = elman();
    let window = batch(&mut Random::new(21), &config, 5, 4);
    // With gradient descent the step is the gradient times the rate.
    let step = |groups: &[Group]| {
        let recipe = groups.iter().cloned().fold(plain(Loss::CrossEntropy, 1.0), Recipe::with_group);
        let mut trainer = trainer(device, &config, recipe);
        let before = trainer.model().unwrap();
        trainer.step(&window).unwrap();
        (before, trainer.model().unwrap())
    };
    let groups = [Group::new("weight_ih_l0").and("bias").with_rate(0.25), Group::new("bias*").with_rate(4.0)];
    let ((before, alike), (_, grouped)) = (step(&[]), step(&groups));
    for (name, factor) in
        [("weight_ih_l0", 0.25), ("bias", 0.25), ("bias_hh_l0", 4.0), ("weight_hh_l0", 1.0), ("weight", 1.0)]
    {
        let moved = |model: &Model| -> Vec<f64> {
            values(model, name).iter().zip(values(&before, name)).map(|(after, before)| after - before).collect()
        };
        let want: Vec<f64> = moved(&alike).iter().map(|v| v * factor).collect();
        assert_close(name, &moved(&grouped), &want, F32_STEP);
    }
}

fn a_groups_decay_takes_the_place_of_the_optimisers(device: &Device) {
    let config = elman();
    let window = batch(&mut Random::new(22), &config, 5, 4);
    let rate = 0.01;
    let after = |optimizer: Optimizer, groups: &[Group], scope: DecayScope| {
        let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, rate).with_decay_scope(scope);
        let mut trainer = trainer(device, &config, groups.iter().cloned().fold(recipe, Recipe::with_group));
        trainer.step(&window).unwrap();
        trainer.model().unwrap()
    };
    let before = Model::new(config.clone()).unwrap();
    let plain = after(Optimizer::adam(), &[], DecayScope::Weights);
    let groups = [Group::new("weight_hh*").with_weight_decay(0.0), Group::new("*").with_weight_decay(2.0)];
    for scope in [DecayScope::Weights, DecayScope::All] {
        let decayed = after(Optimizer::adam_w(0.5), &groups, scope);
        for (name, _, got) in decayed.tensors() {
            let decays = scope == DecayScope::All || name.starts_with("weight");
            let lambda = if name == "weight_hh_l0" || !decays { 0.0 } else { 2.0 };
            let lost: Vec<f64> =
                values(&plain, name).iter().zip(doubles(got)).map(|(plain, got)| plain - got).collect();
            if lambda == 0.0 {
                assert!(lost.iter().all(|v| *v == 0.0), "{scope:?}: {name} decays");
            } else {
                let want: Vec<f64> = values(&before, name).iter().map(|v| v * rate * lambda).collect();
                assert_close(&format!("{scope:?}: what {name} loses"), &lost, &want, F32_STEP);
            }
        }
    }
}

fn a_frozen_group_stays_until_it_is_unfrozen(device: &Device) {
    let config = elman();
    let window = batch(&mut Random::new(23), &config, 5, 4);
    let recipe = Recipe::new(Loss::CrossEntropy).with_group(Group::new("weight_ih*").and("bias").with_frozen());
    let mut first = trainer(device, &config, recipe);
    assert_eq!(first.frozen(), ["weight_ih_l0", "bias"]);
    let before = first.model().unwrap();
    first.step(&window).unwrap();
    let after = first.model().unwrap();
    for (name, _, now) in after.tensors() {
        assert_eq!(
            before.parameter(name).unwrap() == now,
            first.frozen().iter().any(|frozen| frozen == name),
            "{name}"
        );
    }
    first.unfreeze(&["bias"]).unwrap();
    // A training that is resumed knows what was unfrozen.
    let saved = bytes(&mut first);
    let mut resumed = Trainer::resume(device, &Checkpoint::from_bytes(&saved).unwrap()).unwrap();
    assert_eq!(resumed.frozen(), ["weight_ih_l0"]);
    for trainer in [&mut first, &mut resumed] {
        (0..3).for_each(|_| trainer.step(&window).unwrap());
    }
    assert_ne!(first.model().unwrap().parameter("bias"), after.parameter("bias"));
    assert!(bytes(&mut resumed) == bytes(&mut first), "the resumed training ends elsewhere");
}

fn a_table_that_is_updated_by_rows_may_be_a_group(device: &Device) {
    let config = Config::new(InputKind::Tokens(9)).embedding(5).layer(Recurrent::gru(6)).outputs(9).with_seed(5);
    let window = batch(&mut Random::new(24), &config, 5, 4);
    let moved = |rate: f64| {
        let recipe = plain(Loss::CrossEntropy, 1.0).with_embedding_update(EmbeddingUpdate::Lazy);
        let mut trainer = trainer(device, &config, recipe.with_group(Group::new("embedding.weight").with_rate(rate)));
        let before = trainer.model().unwrap();
        trainer.step(&window).unwrap();
        let after = trainer.model().unwrap();
        let differences = |name: &str| -> Vec<f64> {
            values(&after, name).iter().zip(values(&before, name)).map(|(after, before)| after - before).collect()
        };
        [differences("embedding.weight"), differences("gru.weight_ih_l0")]
    };
    let ([table, rest], [slow_table, same_rest]) = (moved(1.0), moved(0.125));
    let want: Vec<f64> = table.iter().map(|v| v * 0.125).collect();
    assert_close("the table", &slow_table, &want, F32_STEP);
    assert_eq!(rest, same_rest);
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let new = |recipe: Recipe| Trainer::new(&Device::cpu(), &Model::new(elman()).unwrap(), recipe);
    let recipe = |optimizer| Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, 0.1);
    let sgd = || recipe(Optimizer::sgd(0.9));
    refuses(new(sgd().with_group(Group::new("weights"))), &["no parameter `weights`; there are weight_ih_l0, "]);
    let twice = sgd().with_group(Group::new("bias*")).with_group(Group::new("bias").and("bias_hh_l0"));
    refuses(new(twice), &["the group `bias`, `bias_hh_l0` has no parameter that is not in a group before it"]);
    for rate in [f64::NAN, 0.0, -1.0, f64::INFINITY, 1e7] {
        refuses(
            new(sgd().with_group(Group::new("bias").with_rate(rate))),
            &["the rate of the group `bias` is", "expected"],
        );
    }
    let fast = recipe(Optimizer::sgd(0.0)).with_learning_rate(1e14).with_group(Group::new("bias").with_rate(100.0));
    refuses(new(fast), &["the learning rate of the group `bias` is 1e16, expected at most 1e15"]);
    refuses(
        new(sgd().with_group(Group::new("bias").with_weight_decay(0.1))),
        &["the group `bias` has a weight decay of 1e-1, but sgd has none; expected 0, or an optimiser that decays"],
    );
    new(sgd().with_group(Group::new("bias").with_weight_decay(0.0))).unwrap();
    let steep = recipe(Optimizer::adam_w(0.1)).with_group(Group::new("bias").with_rate(1000.0));
    refuses(
        new(steep),
        &["the weight decay of the group `bias` is 1e-1, expected at least 0 and, at a learning rate of 1e2"],
    );
    let short = sgd().with_group(Group::new("bias").with_clip(Clip::Norm(0.0)));
    refuses(new(short), &["the clipping bound of the group `bias` is 0, expected a number above 0"]);
    let many = (0..17).fold(sgd(), |recipe, _| recipe.with_group(Group::new("bias")));
    refuses(new(many), &["the recipe has 17 groups of parameters, expected at most 16"]);
    let all = new(sgd().with_group(Group::new("*").with_frozen())).unwrap_err();
    assert!(matches!(all, Error::Config(_)) && all.to_string().contains("all parameters would be frozen"), "{all}");
    let sixteen = Config::lstm(InputKind::Dense(2), 3, 2).with_layers(4);
    let layout = recurrent::Layout::new(&sixteen).unwrap();
    let groups = layout
        .parameters()
        .iter()
        .take(16)
        .enumerate()
        .map(|(at, parameter)| Group::new(parameter.name.clone()).with_rate(1.0 + at as f64));
    let recipe = groups.fold(plain(Loss::MeanSquared, 0.1), Recipe::with_group);
    assert_eq!(recipe.groups.len(), Group::MAX);
    Trainer::new(&Device::cpu(), &Model::new(sixteen).unwrap(), recipe).unwrap();
}
