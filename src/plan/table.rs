//! The plans that an executor holds, by their ids.
//!
//! The contract: no id is given twice, so that of a plan that was taken out never finds another; to look it up is a
//! panic.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};

use super::PlanId;

/// What an executor keeps for each of its plans.
#[derive(Debug)]
pub(crate) struct PlanTable<T> {
    plans: HashMap<PlanId, T>,
    /// The number of the next one.
    next: usize,
}

impl<T> PlanTable<T> {
    /// Keeps a plan under a new id.
    pub fn insert(&mut self, plan: T) -> PlanId {
        let id = PlanId(self.next);
        self.next += 1;
        self.plans.insert(id, plan);
        id
    }

    /// Takes a plan out.
    pub fn remove(&mut self, id: PlanId) -> Option<T> {
        self.plans.remove(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.plans.values()
    }

    #[cfg(feature = "gpu")]
    pub fn len(&self) -> usize {
        self.plans.len()
    }
}

impl<T> Default for PlanTable<T> {
    fn default() -> Self {
        PlanTable { plans: HashMap::new(), next: 0 }
    }
}

impl<T> Index<PlanId> for PlanTable<T> {
    type Output = T;

    fn index(&self, id: PlanId) -> &T {
        match self.plans.get(&id) {
            Some(plan) => plan,
            None => unreachable!("{id:?} was freed, or is another executor's"),
        }
    }
}

impl<T> IndexMut<PlanId> for PlanTable<T> {
    fn index_mut(&mut self, id: PlanId) -> &mut T {
        match self.plans.get_mut(&id) {
            Some(plan) => plan,
            None => unreachable!("{id:?} was freed, or is another executor's"),
        }
    }
}
