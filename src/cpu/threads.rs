//! Who computes what: the one door to rayon's threads.
//!
//! The contract: none is asked for where there is one task, and where the system makes none the caller's does all of the
//! work. Threads share what is computed, never how a sum is made: that is cut by sizes alone.

use std::error::Error as _;
use std::sync::OnceLock;

/// How many threads there are: those of the pool that the caller runs in, else those of rayon's, which is built where it is
/// not there yet. One where the system makes none.
pub(crate) fn count() -> usize {
    static READY: OnceLock<bool> = OnceLock::new();
    let ready = rayon::current_thread_index().is_some() || *READY.get_or_init(is_ready);
    if ready { rayon::current_num_threads() } else { 1 }
}

/// Whether rayon has its threads. It would make them itself when first asked, but panics where it cannot.
fn is_ready() -> bool {
    // Where nothing has threads rayon does with the caller's.
    if cfg!(target_arch = "wasm32") {
        return true;
    }
    match rayon::ThreadPoolBuilder::new().build_global() {
        Ok(()) => true,
        Err(error) if error.source().is_some() => {
            log::warn!("the system makes no threads ({error}): the CPU executor runs on one");
            false
        }
        // The application was here before, which tells nothing of whether it got any.
        Err(_) => std::panic::catch_unwind(rayon::current_num_threads).is_ok(),
    }
}

/// Into how many shares so many tasks are put, a thread for each.
pub(super) fn shares(tasks: usize) -> usize {
    if tasks <= 1 { 1 } else { tasks.min(count()) }
}

/// Does `work` with each part, several side by side where there are several.
pub(super) fn each<I>(parts: I, work: impl Fn(I::Item) + Sync)
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
