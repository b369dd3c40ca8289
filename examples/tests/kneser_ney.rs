//! The n-gram model that networks of words are measured against.
//!
//! The contract: it is a distribution after every context, seen or not, and the one that the formula gives by hand.

use recurrent_examples::kneser_ney::KneserNey;

/// Words of a small language, some much more frequent than others, and 0 never.
fn words(count: usize, vocabulary: u32) -> Vec<u32> {
    let mut state = 7u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    (0..count).map(|_| 1 + (draw() % (vocabulary - 1)).min(draw() % (vocabulary - 1))).collect()
}

#[test]
fn it_is_a_distribution_after_every_context() {
    const VOCABULARY: u32 = 12;
    for (count, order) in [(0, 3), (1, 3), (2, 3), (9, 3), (400, 1), (400, 2), (400, 3), (4000, 4)] {
        let words = words(count, VOCABULARY);
        let model = KneserNey::new(&words, order, VOCABULARY as usize);
        let seen: Vec<&[u32]> = words.windows(4).step_by(37).collect();
        let unseen: [&[u32]; 5] = [&[], &[0], &[3, 0, 2], &[0, 0, 0, 0], &[2, 2, 0, 5]];
        for context in seen.into_iter().chain(unseen) {
            let all: Vec<f64> = (0..VOCABULARY).map(|word| model.probability(context, word)).collect();
            assert!(all.iter().all(|&p| p > 0.0), "{count} {order} {context:?}: {all:?}");
            let sum: f64 = all.iter().sum();
            assert!((sum - 1.0).abs() < 1e-12, "{count} {order} {context:?}: {sum}");
        }
    }
}

/// 0 1 0 1 2, by 2-grams over four words.
#[test]
fn it_is_what_the_formula_gives() {
    let model = KneserNey::new(&[0, 1, 0, 1, 2], 2, 4);
    let is = |context: &[u32], word, expected: f64| {
        let p = model.probability(context, word);
        assert!((p - expected).abs() < 1e-12, "p({word} | {context:?}) is {p}, expected {expected}");
    };
    // 1-grams: each of 0, 1 and 2 behind one other word, of 3 in all; too few for an estimate, half of each is taken.
    let seen = (1.0 - 0.5 + 1.5 / 4.0) / 3.0;
    let unseen = 1.5 / 4.0 / 3.0;
    is(&[], 0, seen);
    is(&[3], 2, seen);
    is(&[3], 3, unseen);
    // 2-grams: 01 twice, 10 and 12 once. Y = 2 / (2 + 2·1), D1 = 1 − 2·Y·1/2 = 1/2; D2 has no estimate: half of 2.
    is(&[1], 0, (1.0 - 0.5 + 1.0 * seen) / 2.0);
    is(&[1], 3, 1.0 * unseen / 2.0);
    is(&[0], 1, (2.0 - 1.0 + 1.0 * seen) / 2.0);
    is(&[0], 2, 1.0 * seen / 2.0);
    // Of a longer context the last word counts.
    is(&[2, 2, 0], 2, 1.0 * seen / 2.0);
    // Every word but the first: 1 behind 0, then 3 behind 1.
    let nats = -(((1.0 + seen) / 2.0).ln() + (unseen / 2.0).ln()) / 2.0;
    assert!((model.nats(&[0, 1, 3]).unwrap() - nats).abs() < 1e-12);
    assert_eq!((model.nats(&[]), model.nats(&[1])), (None, None));
}

/// Counts of 1 to 4, so that every discount has its estimate, and one of 5: n1 = 8, n2 = 4, n3 = 2, n4 = 1.
#[test]
fn discounts_are_chen_and_goodmans() {
    let mut words = Vec::new();
    for (word, count) in (0..16).zip([1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5]) {
        words.extend(std::iter::repeat_n(word, count));
    }
    let model = KneserNey::new(&words, 1, 20);
    let (total, share) = (31.0, 8.0 / (8.0 + 2.0 * 4.0));
    let d = [1.0 - 2.0 * share * 4.0 / 8.0, 2.0 - 3.0 * share * 2.0 / 4.0, 3.0 - 4.0 * share * 1.0 / 2.0];
    let left = (8.0 * d[0] + 4.0 * d[1] + 4.0 * d[2]) / 20.0;
    for (word, count, discount) in [(0, 1.0, d[0]), (8, 2.0, d[1]), (12, 3.0, d[2]), (15, 5.0, d[2])] {
        let (p, expected) = (model.probability(&[], word), (count - discount + left) / total);
        assert!((p - expected).abs() < 1e-12, "word {word}: {p}, expected {expected}");
    }
    assert!((model.probability(&[], 19) - left / total).abs() < 1e-12);
}

#[test]
fn a_longer_context_tells_more_where_it_was_seen() {
    // Behind 0 1 comes 2, behind 3 1 comes 4.
    let words: Vec<u32> = (0..200).flat_map(|at| if at * at % 7 < 2 { [0, 1, 2] } else { [3, 1, 4] }).collect();
    let (two, three) = (KneserNey::new(&words, 2, 5), KneserNey::new(&words, 3, 5));
    assert!(three.probability(&[0, 1], 2) > 0.95 && two.probability(&[0, 1], 2) < 0.6);
    assert!(three.nats(&words).unwrap() < two.nats(&words).unwrap());
}
