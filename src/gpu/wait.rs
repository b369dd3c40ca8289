//! Waiting for the GPU, and catching what it complains of.
//!
//! Validation errors, lack of memory and device loss come back as [`Error`]s; none of them reaches wgpu's own handler,
//! which panics.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

#[cfg(not(target_arch = "wasm32"))]
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
#[cfg(target_arch = "wasm32")]
type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// A lock that a panic elsewhere does not close: what it guards is whole after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the error scopes around some work caught; known at once on a native device, later in a browser.
pub(super) struct Caught {
    device: wgpu::Device,
    doing: &'static str,
    /// Never locked: futures are only polled by whoever has the whole, and so what holds them can be shared.
    scopes: Mutex<Vec<BoxFuture<Option<wgpu::Error>>>>,
}

impl Caught {
    /// The outcome, if it is known.
    pub fn now(&mut self) -> Poll<Result<()>> {
        self.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The outcome.
    pub async fn wait(mut self) -> Result<()> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let scopes = self.scopes.get_mut().unwrap_or_else(PoisonError::into_inner);
        while let Some(scope) = scopes.last_mut() {
            match scope.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => drop(scopes.pop()),
                Poll::Ready(Some(error)) => {
                    scopes.clear();
                    return Poll::Ready(Err(translate(&self.device, self.doing, error)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn translate(device: &wgpu::Device, doing: &'static str, error: wgpu::Error) -> Error {
    match error {
        // What is made on a lost device is not valid, and that is what wgpu says of it.
        wgpu::Error::Validation { .. } | wgpu::Error::Internal { .. } if Probe::new(device).is_lost(device) => {
            Error::DeviceLost(format!("it was gone while {doing}"))
        }
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory(doing.to_owned()),
        // Its own description tells all that its source does.
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::gpu(doing, description)
        }
    }
}

/// Does `work` inside error scopes; `doing` is what an error will say was being done.
pub(super) fn scoped<R>(device: &wgpu::Device, doing: &'static str, work: impl FnOnce() -> R) -> (R, Caught) {
    let [memory, internal, validation] =
        [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation]
            .map(|filter| device.push_error_scope(filter));
    let result = work();
    // The last pushed is the first popped; the last in the list is the first asked.
    let validation: BoxFuture<_> = Box::pin(validation.pop());
    let internal: BoxFuture<_> = Box::pin(internal.pop());
    let memory: BoxFuture<_> = Box::pin(memory.pop());
    (result, Caught { device: device.clone(), doing, scopes: Mutex::new(vec![validation, internal, memory]) })
}

/// A buffer by which a device is asked whether it is lost: it is asked to map it, which only a lost device refuses at
/// once. In a browser nothing is refused at once, and a loss shows in what cannot be read.
pub(super) struct Probe(Mutex<wgpu::Buffer>);

impl Probe {
    pub fn new(device: &wgpu::Device) -> Self {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("whether the device is there"),
            size: wgpu::COPY_BUFFER_ALIGNMENT,
            usage: wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        };
        let (buffer, _) = scoped(device, "asking whether the device is there", || device.create_buffer(&descriptor));
        Probe(Mutex::new(buffer))
    }

    pub fn is_lost(&self, device: &wgpu::Device) -> bool {
        if cfg!(target_arch = "wasm32") {
            return false;
        }
        let buffer = lock(&self.0);
        let refused = Arc::new(AtomicBool::new(false));
        let signal = Arc::clone(&refused);
        let (is_lost, _) = scoped(device, "asking whether the device is there", || {
            buffer.map_async(wgpu::MapMode::Read, .., move |outcome| signal.store(outcome.is_err(), Ordering::SeqCst));
            let is_lost = refused.load(Ordering::SeqCst);
            // What was not refused is taken back.
            buffer.unmap();
            is_lost
        });
        is_lost
    }
}

/// Waits until `buffer` can be read by the host: by keeping the thread where [`block_on`](crate::wait::block_on) polls,
/// and else by giving it back until then.
pub(super) async fn map(device: &wgpu::Device, buffer: &wgpu::Buffer, bytes: u64) -> Result<()> {
    let shared = Arc::new(Mutex::new(Mapping { outcome: None, waker: None }));
    let signal = Arc::clone(&shared);
    // A lost device refuses the call itself, too; the outcome says as much as the refusal.
    let ((), _) = scoped(device, "mapping a buffer", || {
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |outcome| {
            let mut mapping = lock(&signal);
            mapping.outcome = Some(outcome.is_ok());
            if let Some(waker) = mapping.waker.take() {
                waker.wake();
            }
        });
    });
    #[cfg(not(target_arch = "wasm32"))]
    if crate::wait::is_blocking() {
        drive(device, &shared);
    } else {
        // Nobody else drives a native device, so a thread does while this task sleeps.
        let (device, shared) = (device.clone(), Arc::clone(&shared));
        let driver = std::thread::Builder::new().name("recurrent: wait for the GPU".to_owned());
        driver
            .spawn(move || drive(&device, &shared))
            .map_err(|error| Error::gpu("starting a thread that waits", error))?;
    }
    let mapped = poll_fn(|context| {
        let mut mapping = lock(&shared);
        match mapping.outcome {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                mapping.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await;
    if mapped { Ok(()) } else { Err(Error::DeviceLost("a buffer could not be read back".to_owned())) }
}

/// Drives the device until all its work is done; if that fails, the mapping has failed.
///
/// wgpu panics where the driver reports a loss while it is waited for; here that is a failure like any other.
#[cfg(not(target_arch = "wasm32"))]
fn drive(device: &wgpu::Device, shared: &Mutex<Mapping>) {
    let poll = std::panic::AssertUnwindSafe(|| device.poll(wgpu::PollType::wait_indefinitely()));
    let polled = std::panic::catch_unwind(poll);
    if !matches!(polled, Ok(Ok(_))) {
        let mut mapping = lock(shared);
        mapping.outcome.get_or_insert(false);
        if let Some(waker) = mapping.waker.take() {
            waker.wake();
        }
    }
}

struct Mapping {
    /// Whether the buffer was mapped.
    outcome: Option<bool>,
    waker: Option<Waker>,
}
