//! The plans that a trainer, a predictor or a stream keeps ready for the sizes it was asked for, up to a number of
//! bytes.
//!
//! The contract: where a new plan would go beyond the bound, those go that were used longest ago; one that is in use
//! never goes. So what is kept lies within the bound, or is in use.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::plan::{LossTensors, Plan, PlanId, PlanTensors, Purpose, WindowForm};

/// How many plans are kept ready, from [`Trainer::plan_cache`](crate::Trainer::plan_cache),
/// [`Predictor::plan_cache`](crate::Predictor::plan_cache) or
/// [`StreamingPredictor::plan_cache`](crate::StreamingPredictor::plan_cache).
///
/// ```
/// use recurrent::{Config, Device, InputKind, Model, StreamingPredictor};
/// let model = Model::new(Config::elman(InputKind::Dense(1), 4, 1))?;
/// let stream = StreamingPredictor::new(&Device::cpu(), &model, 1)?;
/// let kept = stream.plan_cache();
/// assert!(kept.plans == 1 && kept.bytes <= kept.limit);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanCacheStats {
    /// Plans that are kept, those in use included.
    pub plans: usize,
    /// Bytes that they take, on the device and on the host, but for what all of them share: parameters, gradients,
    /// moments.
    pub bytes: u64,
    /// How many bytes plans that are not in use may take, as
    /// [`Device::with_plan_cache_bytes`](crate::Device::with_plan_cache_bytes) sets it.
    pub limit: u64,
    /// Plans that were made so far.
    pub made: u64,
    /// Plans that went to make room for others.
    pub freed: u64,
}

/// What a plan is for, and the form of its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    pub kind: Kind,
    pub form: WindowForm,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Infer,
    Observe(usize),
    Evaluate,
    /// Of a step of several windows whose tables are updated by rows, with how many these have together.
    Train(usize),
}

impl Kind {
    pub fn of(purpose: &Purpose<'_>) -> Self {
        match purpose {
            Purpose::Infer => Kind::Infer,
            Purpose::Observe(layer) => Kind::Observe(*layer),
            Purpose::Evaluate(_) => Kind::Evaluate,
            Purpose::Train(_) => Kind::Train(0),
            Purpose::TrainPart(_, rows) => Kind::Train(*rows),
        }
    }
}

/// A plan that is ready on an executor, and where its tensors are. It is in use as long as anyone but the cache has it.
#[derive(Debug)]
pub(crate) struct CachedPlan {
    pub id: PlanId,
    pub tensors: PlanTensors,
    /// B.
    pub batch: usize,
    /// Whether states may go back to their start within the window.
    pub has_resets: bool,
}

impl CachedPlan {
    /// The inputs of the loss, of a training or an evaluation.
    pub fn loss(&self) -> LossTensors {
        let Some(loss) = self.tensors.loss else { unreachable!("training and evaluation have a loss") };
        loss
    }
}

/// The plans of one executor.
#[derive(Debug)]
pub(crate) struct PlanCache {
    limit: u64,
    held: HashMap<PlanKey, CachedEntry>,
    /// Bytes of all that are held.
    bytes: u64,
    /// How often a plan was asked for.
    asked: u64,
    made: u64,
    freed: u64,
}

#[derive(Debug)]
struct CachedEntry {
    plan: Arc<CachedPlan>,
    bytes: u64,
    /// When it was last asked for.
    used: u64,
}

impl PlanCache {
    /// No plans yet, and room for so many bytes of them.
    pub fn new(limit: u64) -> Self {
        PlanCache { limit, held: HashMap::new(), bytes: 0, asked: 0, made: 0, freed: 0 }
    }

    /// The plan of a size, made if there is none. Where the device has no memory left for it, all go that are not in
    /// use.
    pub async fn get(
        &mut self,
        executor: &mut Executor,
        key: PlanKey,
        make: impl Fn() -> Result<(Plan, PlanTensors)>,
    ) -> Result<Arc<CachedPlan>> {
        self.asked += 1;
        if let Some(held) = self.held.get_mut(&key) {
            held.used = self.asked;
            return Ok(Arc::clone(&held.plan));
        }
        let (plan, tensors) = make()?;
        log::debug!("a plan for {key:?}:\n{plan}");
        let bytes = executor.needs(&plan);
        self.shrink(executor, self.limit.saturating_sub(bytes)).await?;
        let id = match executor.prepare(plan).await {
            Err(Error::OutOfMemory(_)) if self.shrink(executor, 0).await? > 0 => executor.prepare(make()?.0).await,
            prepared => prepared,
        }?;
        let plan = Arc::new(CachedPlan { id, tensors, batch: key.form.batch, has_resets: key.form.resets });
        self.bytes += bytes;
        self.made += 1;
        self.held.insert(key, CachedEntry { plan: Arc::clone(&plan), bytes, used: self.asked });
        Ok(plan)
    }

    /// Frees plans that are not in use, the least recently used first, until at most so many bytes are held, and waits
    /// until the device has given their memory back. Returns how many went.
    async fn shrink(&mut self, executor: &mut Executor, limit: u64) -> Result<u64> {
        let before = self.freed;
        while self.bytes > limit {
            let idle = self.held.iter().filter(|(_, held)| Arc::strong_count(&held.plan) == 1);
            let Some((&key, _)) = idle.min_by_key(|(_, held)| held.used) else { break };
            if let Some(held) = self.held.remove(&key) {
                executor.free(held.plan.id);
                self.bytes -= held.bytes;
                self.freed += 1;
            }
        }
        if self.freed > before {
            executor.idle().await?;
        }
        Ok(self.freed - before)
    }

    pub fn stats(&self) -> PlanCacheStats {
        let PlanCache { limit, ref held, bytes, made, freed, .. } = *self;
        PlanCacheStats { plans: held.len(), bytes, limit, made, freed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::{Config, InputKind};

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_in_use_never() {
        let (device, config) = (Device::cpu(), Config::elman(InputKind::Dense(3), 4, 2));
        let mut executor = device.executor();
        let make = |batch| {
            let config = config.clone();
            move || Plan::new(&config, Purpose::Infer, 5, batch, &Device::cpu().target())
        };
        let key = |batch| PlanKey { kind: Kind::Infer, form: WindowForm::new(5, batch) };
        // Room for batches of 1 to 3, and for nothing more.
        let needs = |batch| executor.needs(&make(batch)().unwrap().0);
        let mut plans = PlanCache::new(needs(1) + needs(2) + needs(3));
        let mut get = |batch: usize, plans: &mut PlanCache| {
            crate::wait::block_on(plans.get(&mut executor, key(batch), make(batch))).unwrap()
        };
        for batch in [1, 2, 3, 1] {
            get(batch, &mut plans);
        }
        assert_eq!(
            plans.stats(),
            PlanCacheStats { plans: 3, bytes: plans.limit, limit: plans.limit, made: 3, freed: 0 }
        );
        // 2 was used longest ago, but is in use; so 3 goes.
        let in_use = get(2, &mut plans);
        get(1, &mut plans);
        get(3, &mut plans);
        get(2, &mut plans);
        get(1, &mut plans);
        get(3, &mut plans);
        plans.asked += 1;
        let before = in_use.id;
        get(4, &mut plans);
        assert!(plans.held.contains_key(&key(2)) && !plans.held.contains_key(&key(1)));
        assert_eq!(get(2, &mut plans).id, before);
        assert!(plans.stats().bytes <= plans.limit);
        // Once nobody has it, it goes as any other.
        drop(in_use);
        get(30, &mut plans);
        assert_eq!(plans.held.keys().collect::<Vec<_>>(), [&key(30)]);
    }
}
