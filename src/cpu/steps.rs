//! A tensor whose outermost dimension is time, whole or cut into bands of the batch, as one band sees it.

/// The steps of one band. Of a tensor that is not there every step is empty.
pub(super) enum Steps<'a, T> {
    /// The whole batch, so many numbers a step.
    Whole(&'a mut [T], usize),
    /// One slice a step.
    Cut(Vec<&'a mut [T]>),
}

impl<'a, T> Steps<'a, T> {
    pub fn whole(values: &'a mut [T], step: usize) -> Self {
        Steps::Whole(values, step)
    }

    /// A tensor `[·, batch, width]` as bands of `rows` rows, the last perhaps with fewer.
    pub fn cut(values: &'a mut [T], batch: usize, rows: usize, width: usize) -> Vec<Self> {
        let mut bands: Vec<Vec<_>> = (0..batch.div_ceil(rows)).map(|_| Vec::new()).collect();
        for step in values.chunks_exact_mut(batch * width) {
            for (band, part) in bands.iter_mut().zip(step.chunks_mut(rows * width)) {
                band.push(part);
            }
        }
        bands.into_iter().map(Steps::Cut).collect()
    }

    /// Step t.
    pub fn at(&mut self, t: usize) -> &mut [T] {
        match self {
            Steps::Whole(values, step) => &mut values[t * *step..(t + 1) * *step],
            Steps::Cut(steps) => steps[t],
        }
    }

    /// Steps t, t + 1 and, if there is one, t + 2.
    pub fn around(&mut self, t: usize) -> (&[T], &mut [T], &[T]) {
        match self {
            Steps::Whole(values, step) => {
                let (before, rest) = values[t * *step..].split_at_mut(*step);
                let (now, after) = rest.split_at_mut(*step);
                (before, now, after)
            }
            Steps::Cut(steps) => {
                let (before, rest) = steps.split_at_mut(t + 1);
                let (now, after) = rest.split_at_mut(1);
                (before[t], now[0], after.first().map_or(&[], |after| after))
            }
        }
    }

    /// Step t - 1, empty if there is none, and step t.
    pub fn with_before(&mut self, t: usize) -> (&mut [T], &mut [T]) {
        match self {
            Steps::Whole(values, step) => {
                let (before, now) = values.split_at_mut(t * *step);
                let start = before.len().saturating_sub(*step);
                (&mut before[start..], &mut now[..*step])
            }
            Steps::Cut(steps) => {
                let (before, now) = steps.split_at_mut(t);
                (before.last_mut().map_or(&mut [], |before| before), now[0])
            }
        }
    }
}
