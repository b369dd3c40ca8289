//! The optimisers' steps and the mean of the parameters, against their twins.
//!
//! The contract: every rule, with and without clipping, groups, rows of a table and a gradient that is finite.

use recurrent::recipe::{Clip, Optimizer};

use crate::common::random::Random;
use crate::training;

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn update() {
    let mut random = Random::new(13);
    let optimizers = [
        Optimizer::sgd(0.0),
        Optimizer::sgd(0.9),
        Optimizer::rms_prop(),
        Optimizer::adam(),
        Optimizer::adam_w(0.01),
        Optimizer::nesterov(0.9),
        Optimizer::adagrad(),
        Optimizer::ams_grad(0.01),
        Optimizer::r_adam(0.01),
        Optimizer::lion(0.01),
    ];
    for optimizer in optimizers {
        let rows = ([40, 64, 11], &[0, 8, 39][..]);
        for second_correction in [0.003, 0.0] {
            if second_correction > 0.0 || matches!(optimizer, Optimizer::RAdam { .. }) {
                for (sizes, rows) in [((600, 511), None), ((11 + 40 * 64, 3 * 64), Some(rows))] {
                    let clip = Clip::Norm(1.0);
                    let case = training::update_grouped;
                    case(&mut random, optimizer, clip, sizes, [true; 2], rows, second_correction).check();
                    case(&mut random, optimizer, clip, sizes, [true, false], rows, second_correction).check();
                }
            }
        }
        for clip in [Clip::None, Clip::Norm(1.0), Clip::Value(0.25), Clip::Normalize(1.0)] {
            for flat in [1, 255, 256, 257, 1009] {
                for finite in [true, false] {
                    training::update(&mut random, optimizer, clip, flat, finite).check();
                }
            }
            training::update_part(&mut random, optimizer, clip, (600, 511), true, None).check();
            for (sizes, ids) in
                [([1, 1], &[0][..]), ([7, 5], &[1, 3, 6, u32::MAX]), ([40, 64], &[0, 8, 39]), ([9, 3], &[9, 9])]
            {
                for finite in [true, false] {
                    training::update_rows(&mut random, optimizer, clip, sizes, ids, finite).check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn average() {
    let mut random = Random::new(15);
    for elements in [1, 255, 256, 257, 1009] {
        for weight in [0.0, 0.25, 1.0] {
            training::average(&mut random, elements, weight).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn groups_that_are_clipped_by_themselves() {
    let mut random = Random::new(16);
    for flat in [1, 255, 256, 257, 2047, 2048, 2049, 5003] {
        training::group_norm(&mut random, flat, None).check();
        training::combine_with_apart(&mut random, flat, None).check();
        for clip in [Clip::Norm(1.0), Clip::Value(0.25), Clip::Normalize(1.0)] {
            for more in [false, true] {
                training::scale_group(&mut random, flat, clip, more).check();
            }
        }
    }
    // Element 10 is of the group and 20 is not.
    for at in [10, 20] {
        training::group_norm(&mut random, 300, Some(at)).check();
    }
    // Element 9 is clipped apart.
    for at in [9, 10] {
        training::combine_with_apart(&mut random, 300, Some(at)).check();
    }
}
