//! Losses of every kind: of sizes around a workgroup's, weighed by positions and by numbers, with a gradient and
//! without.

use recurrent::Loss;

use crate::common::losses;
use crate::common::random::Random;
use crate::training;

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn of_every_kind() {
    let mut random = Random::new(9);
    for size in [1, 2, 63, 64, 65, 127, 130] {
        for (loss, width) in losses::all(size) {
            for rows in [1, 2, 37] {
                for gradient in [false, true] {
                    training::loss(&mut random, &loss, [rows, width], gradient, 4.0).check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn of_numbers_that_are_weighed() {
    let mut random = Random::new(71);
    for size in [2, 64, 65] {
        for (loss, width) in losses::all(size).into_iter().filter(|(loss, _)| loss.kind().is_elementwise()) {
            for rows in [1, 37] {
                for gradient in [false, true] {
                    training::weighed_loss(&mut random, &loss, [rows, width], (gradient, true), 4.0).check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn cross_entropy_of_outputs_whose_exponential_overflows() {
    let mut random = Random::new(10);
    for bound in [100.0, 1e4] {
        training::loss(&mut random, &Loss::CrossEntropy, [37, 65], true, bound).check();
    }
}
