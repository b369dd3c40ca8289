//! The parameters of a plan's dispatches, as one buffer of slots.
//!
//! The contract: dispatches with the same parameters share a slot, and every slot is found by an offset of 32 bits.

use std::collections::{HashMap, hash_map::Entry};

use super::kernels::{Command, MAX_PARAMS_BYTES};
use crate::error::{Error, Result};

/// The parameters of all dispatches, one slot of a buffer for each that differs: the parts of a long sequence are the
/// same.
pub(super) struct Slots<'a> {
    pub bytes: Vec<u8>,
    pub by_params: HashMap<&'a [u8], u32>,
}

impl<'a> Slots<'a> {
    /// # Errors
    /// [`Error::Limit`] where they do not fit one buffer, in which 32-bit offsets find them.
    pub fn new(commands: &'a [Command], max_buffer_size: u64) -> Result<Self> {
        let mut slots = Slots { bytes: Vec::new(), by_params: HashMap::new() };
        for command in commands {
            let Command::Dispatch(dispatch) = command else { continue };
            let offset = slots.bytes.len();
            if let Entry::Vacant(slot) = slots.by_params.entry(&dispatch.params) {
                slot.insert(offset as u32);
                slots.bytes.extend_from_slice(&dispatch.params);
                slots.bytes.resize(offset + MAX_PARAMS_BYTES, 0);
            }
            let (asked, allowed) = (slots.bytes.len() as u64, max_buffer_size.min(u32::MAX.into()));
            if asked > allowed {
                let what = "the parameters of a plan's dispatches (bytes)".to_owned();
                return Err(Error::Limit {
                    what,
                    limit: "the adapter's max_buffer_size, up to 32 bits",
                    asked,
                    allowed,
                });
            }
        }
        slots.bytes.resize(slots.bytes.len().max(MAX_PARAMS_BYTES), 0);
        Ok(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernels;
    use super::*;
    use crate::model::{Config, InputKind};
    use crate::plan::{Plan, Purpose, Target};

    #[test]
    fn parts_of_a_long_sequence_have_the_same_parameters() {
        let config = Config::lstm(InputKind::Tokens(5), 512, 3).with_layers(2);
        let slots = |steps: usize| {
            let (plan, _) = Plan::new(&config, Purpose::Infer, steps, 1, &Target::webgpu()).unwrap();
            let commands = kernels::lower(&plan).unwrap();
            assert!(commands.len() > 2 * steps, "the recurrence goes by steps");
            Slots::new(&commands, u64::MAX).unwrap().bytes.len() / MAX_PARAMS_BYTES
        };
        // Of the second part to the tenth: its place in the inputs and in the outputs, and what is left of lengths.
        assert_eq!(slots(10 * 128) - slots(128), 9 * 3);
        let (plan, _) = Plan::new(&config, Purpose::Infer, 9, 1, &Target::webgpu()).unwrap();
        let commands = kernels::lower(&plan).unwrap();
        let refused = Slots::new(&commands, 1024);
        assert!(matches!(refused, Err(Error::Limit { asked: 1280, allowed: 1024, .. })));
    }
}
