//! Numbers of the application's on the device: what a network reads and writes without a way through the host.
//!
//! The contract: a slice is of whole f32 numbers within its buffer; whether the buffer may be copied from or to is
//! asked where it is used, and whether it is of the same device by wgpu, whose answer is an error of the call.

use std::ops::Range;

use crate::error::{Error, Result};

/// f32 numbers in a buffer of the application's, on the device that a network runs on: [`Gpu::from_wgpu`] takes the
/// application's, [`Gpu::device`] and [`Gpu::queue`] lend the crate's.
///
/// The buffer stays the application's. A network copies from it and to it on the device, in the order of the calls and
/// of what else is submitted to the same queue: what was written to it by an earlier submission is read, and a later
/// one finds what was left in it. A buffer that is mapped or destroyed when the copy is submitted is an error of the
/// call. What is read has `COPY_SRC` among its usages, what is written `COPY_DST`.
///
/// [`Gpu::from_wgpu`]: crate::gpu::Gpu::from_wgpu
/// [`Gpu::device`]: crate::gpu::Gpu::device
/// [`Gpu::queue`]: crate::gpu::Gpu::queue
///
/// ```
/// use recurrent::{BatchShape, Inputs, Predictor, Sequences, device::DeviceSlice, wgpu};
/// // What a simulation on the GPU observes of 64 agents, two numbers each, to what each of them does next.
/// fn act(network: &mut Predictor, observed: &wgpu::Buffer, actions: &wgpu::Buffer) -> recurrent::Result<()> {
///     let shape = BatchShape { steps: 1, batch_size: 64 };
///     let sequences = Sequences::new(shape, Inputs::OnDevice(DeviceSlice::new(observed)));
///     network.run_into(&sequences, &DeviceSlice::new(actions)) // does not wait
/// }
/// # let _ = act;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSlice {
    buffer: wgpu::Buffer,
    /// In numbers.
    first: u64,
    len: usize,
}

/// Bytes of a number.
pub(super) const NUMBER: u64 = 4;

impl DeviceSlice {
    /// All whole numbers of a buffer.
    pub fn new(buffer: &wgpu::Buffer) -> Self {
        let len = usize::try_from(buffer.size() / NUMBER).unwrap_or(usize::MAX);
        DeviceSlice { buffer: buffer.clone(), first: 0, len }
    }

    /// Some of the numbers.
    ///
    /// # Errors
    /// [`Error::Data`] for a range that ends behind the last of them, or before it begins.
    ///
    /// ```
    /// use recurrent::device::DeviceSlice;
    /// // The numbers of one frame of several.
    /// fn frame(all: &DeviceSlice, frame: usize, len: usize) -> recurrent::Result<DeviceSlice> {
    ///     all.slice(frame * len..(frame + 1) * len)
    /// }
    /// # let _ = frame;
    /// ```
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || range.end > self.len {
            return Err(Error::Data(format!(
                "numbers {} to {} of a buffer are asked for, but it has {}",
                range.start, range.end, self.len
            )));
        }
        Ok(self.part(range))
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Some that are there.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        DeviceSlice { buffer: self.buffer.clone(), first: self.first + range.start as u64, len: range.len() }
    }

    /// Checks that it can be read.
    pub(crate) fn check_readable(&self, argument: &str) -> Result<()> {
        self.check_usage(argument, wgpu::BufferUsages::COPY_SRC)
    }

    /// Checks that so many numbers can be written to it.
    pub(crate) fn check_writable(&self, argument: &str, expected: usize) -> Result<()> {
        if self.len != expected {
            return Err(Error::shape(argument, &[expected], &[self.len]));
        }
        self.check_usage(argument, wgpu::BufferUsages::COPY_DST)
    }

    fn check_usage(&self, argument: &str, needed: wgpu::BufferUsages) -> Result<()> {
        let usage = self.buffer.usage();
        if usage.contains(needed) {
            return Ok(());
        }
        Err(Error::Data(format!("{argument} is a buffer of the usages {usage:?}, expected {needed:?} among them")))
    }

    /// The buffer, and where in it the numbers begin and how many there are, in bytes.
    pub(super) fn bytes(&self) -> (&wgpu::Buffer, u64, u64) {
        (&self.buffer, self.first * NUMBER, self.len as u64 * NUMBER)
    }
}
