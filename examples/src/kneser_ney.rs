//! An n-gram model with interpolated, modified Kneser-Ney smoothing: what a network of words has to be better than.
//!
//! The contract: after any context the probabilities of all tokens are above 0 and sum to 1; the same tokens give the
//! same model.

use std::collections::HashMap;

/// Counts of n-grams up to some order, with the discounts of each (Chen & Goodman 1999, from Kneser & Ney 1995).
pub struct KneserNey {
    vocabulary: usize,
    /// From 1-grams up.
    orders: Vec<Order>,
}

/// All n-grams of one length.
#[derive(Default)]
struct Order {
    /// How often an n-gram occurs, for the longest ones; for the others, behind how many different tokens.
    counts: HashMap<Box<[u32]>, u32>,
    contexts: HashMap<Box<[u32]>, Context>,
    /// What is taken off a count of 1, of 2, and of more.
    discounts: [f64; 3],
}

/// What follows the first n − 1 tokens.
#[derive(Clone, Copy, Default)]
struct Context {
    /// The sum of the counts.
    total: u64,
    /// How many different tokens have a count of 1, of 2, and of more.
    followers: [u64; 3],
}

impl KneserNey {
    /// The model of n-grams of up to `order` tokens, of those that are learned; ids are below `vocabulary`.
    pub fn new(tokens: &[u32], order: usize, vocabulary: usize) -> Self {
        let mut counts: HashMap<Box<[u32]>, u32> = HashMap::new();
        for ngram in tokens.windows(order.max(1)) {
            *counts.entry(ngram.into()).or_default() += 1;
        }
        let mut orders = Vec::new();
        for length in (1..=order.max(1)).rev() {
            let mut shorter: HashMap<Box<[u32]>, u32> = HashMap::new();
            if length > 1 {
                counts.keys().for_each(|ngram| *shorter.entry(ngram[1..].into()).or_default() += 1);
            }
            orders.push(Order::new(std::mem::replace(&mut counts, shorter)));
        }
        orders.reverse();
        KneserNey { vocabulary, orders }
    }

    /// The probability of a token behind others, of which the last n − 1 matter.
    pub fn probability(&self, context: &[u32], token: u32) -> f64 {
        let mut ngram = context[context.len() - context.len().min(self.orders.len() - 1)..].to_vec();
        ngram.push(token);
        let uniform = 1.0 / self.vocabulary as f64;
        (1..=ngram.len())
            .fold(uniform, |lower, length| self.orders[length - 1].interpolated(&ngram[ngram.len() - length..], lower))
    }

    /// The mean of −ln p over all tokens but the first, each after those before it; `None` where there are under two.
    pub fn nats(&self, tokens: &[u32]) -> Option<f64> {
        let longest = self.orders.len() - 1;
        let sum: f64 = (1..tokens.len())
            .map(|at| -self.probability(&tokens[at.saturating_sub(longest)..at], tokens[at]).ln())
            .sum();
        (tokens.len() > 1).then(|| sum / (tokens.len() - 1) as f64)
    }
}

impl Order {
    fn new(counts: HashMap<Box<[u32]>, u32>) -> Self {
        let mut contexts: HashMap<Box<[u32]>, Context> = HashMap::new();
        // How many n-grams have a count of 1, 2, 3 and 4.
        let mut have = [0.0; 4];
        for (ngram, &count) in &counts {
            let context = contexts.entry(ngram[..ngram.len() - 1].into()).or_default();
            context.total += u64::from(count);
            context.followers[class(count)] += 1;
            if let Some(have) = have.get_mut(count as usize - 1) {
                *have += 1.0;
            }
        }
        Order { counts, contexts, discounts: discounts(have) }
    }

    /// The probability of an n-gram's last token, where the shorter n-gram gives it `lower`.
    fn interpolated(&self, ngram: &[u32], lower: f64) -> f64 {
        let Some(Context { total, followers }) = self.contexts.get(&ngram[..ngram.len() - 1]) else { return lower };
        let kept = self.counts.get(ngram).map_or(0.0, |&count| f64::from(count) - self.discounts[class(count)]);
        let taken: f64 = self.discounts.iter().zip(followers).map(|(discount, &n)| discount * n as f64).sum();
        (kept + taken * lower) / *total as f64
    }
}

/// Which discount a count has.
fn class(count: u32) -> usize {
    count.min(3) as usize - 1
}

/// Chen & Goodman's estimates from how many n-grams have a count of 1 to 4; where a text is too small for one, half of
/// the count.
fn discounts(have: [f64; 4]) -> [f64; 3] {
    let share = have[0] / (have[0] + 2.0 * have[1]);
    let mut discounts = [0.5, 1.0, 1.5];
    for (i, discount) in discounts.iter_mut().enumerate() {
        let count = (i + 1) as f64;
        let estimate = count - (count + 1.0) * share * have[i + 1] / have[i];
        // Not where nothing is counted, as 0/0 is, nor where nothing or all would be taken.
        if estimate > 0.0 && estimate < count {
            *discount = estimate;
        }
    }
    discounts
}
