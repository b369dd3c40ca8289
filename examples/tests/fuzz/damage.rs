//! Damage to files: bits, bytes, numbers and pieces, drawn from a seed.
//!
//! The contract: input n of a seed is a function of both and of the valid files.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};

/// Files that pieces were put into stay as small.
const MAX_LEN: usize = 1 << 16;
/// What numbers of lengths and sizes overflow at.
const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];
/// What means something in JSON, CSV and text.
const WORDS: [&[u8]; 16] = [
    b"\"",
    b"{",
    b"[",
    b",",
    b"\n",
    b"\r\n",
    b";",
    b"-1",
    b"1e999",
    b"NaN",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"99999999999",
    b"0",
];

/// Input `number` of a seed.
pub fn input(valid: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    rng.set_stream(number);
    let mut bytes = valid[rng.random_range(0..valid.len())].clone();
    for _ in 0..rng.random_range(1..=4) {
        damage(&mut bytes, valid, &mut rng);
        bytes.truncate(MAX_LEN);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, valid: &[Vec<u8>], rng: &mut ChaCha12Rng) {
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(0..64)).min(bytes.len());
    match rng.random_range(0..9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.random();
            }
        }
        // A number of one to eight bytes, in either order.
        2 => {
            let number = NUMBERS[rng.random_range(0..NUMBERS.len())].to_le_bytes();
            let number = &number[..1 << rng.random_range(0..4)];
            let is_reversed: bool = rng.random();
            for (byte, k) in bytes.iter_mut().skip(at).zip(0..number.len()) {
                *byte = number[if is_reversed { number.len() - 1 - k } else { k }];
            }
        }
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        // A piece twice, or of another file.
        5 => {
            let piece = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, piece));
        }
        6 => {
            let other = &valid[rng.random_range(0..valid.len())];
            let from = rng.random_range(0..=other.len());
            let to = (from + rng.random_range(0..256)).min(other.len());
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
        7 => drop(bytes.splice(at..at, WORDS[rng.random_range(0..WORDS.len())].iter().copied())),
        // Another digit for one that is near.
        _ => {
            if let Some(digit) = bytes.iter_mut().skip(at).find(|byte| byte.is_ascii_digit()) {
                *digit = b'0' + rng.random_range(0..10);
            }
        }
    }
}
