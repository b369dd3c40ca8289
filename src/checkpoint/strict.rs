//! JSON in which no object has the same key twice, and no object or array more entries than a header can need.
//!
//! The contract: where serde_json, and safetensors with it, would silently keep the last of several values, this fails;
//! of the text nothing is kept but the keys of the objects that are open.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

/// The most entries of an object or array: as many tensors no network of this crate has.
const MAX_ENTRIES: usize = 1 << 17;

/// Checks that a text is JSON whose objects have each key once.
pub(super) fn check(json: &str) -> serde_json::Result<()> {
    serde_json::from_str::<Strict>(json).map(|Strict| ())
}

/// Any value; none is kept.
struct Strict;

/// Borrowed where it is written without escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        let mut count = 0;
        while seq.next_element::<Strict>()?.is_some() {
            count += 1;
            check_count(count)?;
        }
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, Strict)) = map.next_entry::<Key<'de>, _>()? {
            if let Some(Key(key)) = keys.replace(key) {
                return Err(de::Error::custom(format!("key `{key}` appears twice")));
            }
            check_count(keys.len())?;
        }
        Ok(Strict)
    }
}

fn check_count<E: de::Error>(count: usize) -> Result<(), E> {
    if count <= MAX_ENTRIES {
        return Ok(());
    }
    Err(E::custom(format!("an object or array has more than {MAX_ENTRIES} entries")))
}
