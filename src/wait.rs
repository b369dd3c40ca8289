//! Waiting for a future on the calling thread.
//!
//! The contract: what is polled here knows by [`is_blocking`] that it may keep the thread, so that no function has to
//! be told; and a future that is ready at once, as every one is on the CPU, costs no allocation.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

thread_local! {
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the caller is polled by [`block_on`] on this thread.
#[cfg(feature = "gpu")]
pub(crate) fn is_blocking() -> bool {
    BLOCKING.get()
}

/// Restores the mark of the thread, also where a poll panics.
struct Mark(bool);

impl Drop for Mark {
    fn drop(&mut self) {
        BLOCKING.set(self.0);
    }
}

/// Returns the output of a future, blocking until it is ready.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let _mark = Mark(BLOCKING.replace(true));
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => pollster::block_on(future),
    }
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_polled_here_may_keep_the_thread() {
        assert!(!is_blocking());
        // A poll in the middle of a poll, and one that is left by a panic.
        assert!(block_on(async { block_on(async { is_blocking() }) && is_blocking() }));
        assert!(std::panic::catch_unwind(|| block_on(async { panic!("a poll") })).is_err());
        assert!(!is_blocking());
        assert!(!pollster::block_on(async { is_blocking() }));
    }
}
