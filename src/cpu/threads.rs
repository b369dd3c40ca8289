//! Sharing work among threads: the only place that talks to rayon.
//!
//! The contract: work is shared inside of [`on_the_pool`] alone; a single task never asks for a thread, and where the
//! system refuses to make any, the calling thread does all of the work. Threads decide who computes an element, never
//! the order in which its sum is made.

use std::error::Error as _;
use std::sync::OnceLock;

/// Returns the number of threads: those of the pool that the caller runs in, else those of rayon's global pool, which
/// is built by the first call. It is 1 where the system refuses to make threads.
pub(crate) fn count() -> usize {
    static HAS_POOL: OnceLock<bool> = OnceLock::new();
    let has_pool = rayon::current_thread_index().is_some() || *HAS_POOL.get_or_init(build_pool);
    if has_pool { rayon::current_num_threads() } else { 1 }
}

/// Builds rayon's global pool and returns whether there is one. Left to itself, rayon builds it on first use and panics
/// where that fails.
fn build_pool() -> bool {
    // On targets without threads rayon falls back to the calling thread.
    if cfg!(target_arch = "wasm32") {
        return true;
    }
    match rayon::ThreadPoolBuilder::new().build_global() {
        Ok(()) => true,
        Err(error) if error.source().is_some() => {
            log::warn!("no threads could be started ({error}): the CPU executor runs on one");
            false
        }
        // The application tried before, perhaps in vain; only using the pool tells.
        Err(_) => std::panic::catch_unwind(rayon::current_num_threads).is_ok(),
    }
}

/// Does `work` on a thread of the pool, where parts of it may be shared with the others: these are awake then from one
/// part to the next, and only the caller is woken, at the end.
pub(super) fn on_the_pool(work: impl FnOnce() + Send) {
    if rayon::current_thread_index().is_some() || count() == 1 {
        return work();
    }
    rayon::scope(|_| work());
}

/// Returns into how many shares to divide that many tasks: at most one per thread, and one where the caller is not on
/// the pool.
pub(super) fn shares(tasks: usize) -> usize {
    if tasks <= 1 || rayon::current_thread_index().is_none() { 1 } else { tasks.min(count()) }
}

/// Calls `work` with each part, in parallel if there is more than one.
pub(super) fn for_each<I>(parts: I, work: impl Fn(I::Item) + Sync)
where
    I: ExactSizeIterator + Send,
    I::Item: Send,
{
    if shares(parts.len()) == 1 {
        return parts.for_each(work);
    }
    let work = &work;
    rayon::scope(|scope| parts.for_each(|part| scope.spawn(move |_| work(part))));
}
