//! The counter-based generator behind dropout: Threefry-2x32 with 20 rounds (Salmon et al., *Parallel random numbers:
//! as easy as 1, 2, 3*, 2011).
//!
//! The contract: a number is a function of key and counter alone, made of additions, rotations and exclusive ors of 32
//! bits, so `shaders/random.wgsl` gives the same bits, and a step repeats without any state to be kept.

/// By how much each of eight rounds in a row rotates.
const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];

/// Two words that look random, from a key and a counter.
pub(crate) fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let keys = [key[0], key[1], 0x1bd1_1bda ^ key[0] ^ key[1]];
    let [mut a, mut b] = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for block in 0..5 {
        for round in 0..4 {
            a = a.wrapping_add(b);
            b = b.rotate_left(ROTATIONS[(block % 2) * 4 + round]) ^ a;
        }
        let next = block + 1;
        a = a.wrapping_add(keys[next % 3]);
        b = b.wrapping_add(keys[(next + 1) % 3]).wrapping_add(next as u32);
    }
    [a, b]
}

/// The keys of the sites in one of a step's windows, two words each, from the seed of the training.
pub(crate) fn keys(seed: u64, step: u64, window: usize, sites: usize) -> impl ExactSizeIterator<Item = u32> {
    let halves = |value: u64| [value as u32, (value >> 32) as u32];
    let of_step = threefry(halves(seed), halves(step));
    (0..2 * sites as u32).map(move |word| threefry(of_step, [word / 2, window as u32])[word as usize % 2])
}

/// The number below which a word means that its element is dropped.
pub(crate) fn threshold(rate: f64) -> u32 {
    (rate * 4_294_967_296.0) as u32
}

/// What is kept is multiplied by this: an f32, so that every executor multiplies by the same number.
pub(crate) fn kept(rate: f64) -> f32 {
    (1.0 / (1.0 - rate)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' Random123 library, `kat_vectors`, threefry2x32 20.
    #[test]
    fn threefry_gives_the_known_answers() {
        let all = u32::MAX;
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([all, all], [all, all]), [0x1cb9_96fc, 0xbb00_2be7]);
        let (key, counter) = ([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]);
        assert_eq!(threefry(key, counter), [0xc492_3a9c, 0x483d_f7a0]);
    }

    #[test]
    fn every_seed_step_window_and_site_has_a_key_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for seed in [0, 1, 1 << 32] {
            for step in [0, 1, 1 << 32] {
                for window in 0..3 {
                    let keys: Vec<_> = keys(seed, step, window, 5).collect();
                    keys.chunks(2).for_each(|key| assert!(seen.insert(key.to_vec())));
                }
            }
        }
        assert_eq!(seen.len(), 135);
    }

    /// Of 10^5 numbers each, a share of p lies below the threshold and one of p² below two keys', within five standard
    /// deviations.
    #[test]
    fn sites_steps_and_seeds_draw_their_share_and_apart_from_each_other() {
        const DRAWS: u32 = 100_000;
        for p in [0.01, 0.5, 0.9] {
            let dropped = |key: &[u32]| -> Vec<bool> {
                let word = |position| threefry([key[0], key[1]], [position, 0])[0];
                (0..DRAWS).map(|position| word(position) < threshold(p)).collect()
            };
            let by_seed_and_step =
                [(0, 1), (0, 2), (1, 1), (1 << 32, 1)].map(|(seed, step)| keys(seed, step, 0, 3).collect::<Vec<_>>());
            let masks: Vec<_> = by_seed_and_step.iter().flat_map(|keys| keys.chunks(2)).map(dropped).collect();
            let near = |got: usize, p: f64| {
                let mean = f64::from(DRAWS) * p;
                assert!((got as f64 - mean).abs() <= 5.0 * (mean * (1.0 - p)).sqrt(), "{got}, expected {mean}");
            };
            for (at, mask) in masks.iter().enumerate() {
                near(mask.iter().filter(|dropped| **dropped).count(), p);
                for other in &masks[..at] {
                    near(mask.iter().zip(other).filter(|(a, b)| **a && **b).count(), p * p);
                }
            }
            assert_eq!(masks.len(), 12);
        }
        assert_eq!(threshold(0.0), 0, "no number is below it");
    }
}
