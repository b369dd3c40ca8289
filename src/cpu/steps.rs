//! A tensor whose outermost dimension is time, whole or cut into bands of the batch, as one band sees it.

/// The slots of one band. Of a tensor that is not there every slot is empty.
pub(super) enum Steps<'a, T> {
    /// The whole batch, so many numbers a slot.
    Whole(&'a mut [T], usize),
    /// One slice a slot.
    Cut(Vec<&'a mut [T]>),
}

impl<'a, T> Steps<'a, T> {
    pub fn whole(values: &'a mut [T], slot: usize) -> Self {
        Steps::Whole(values, slot)
    }

    /// A tensor `[·, batch, width]` as bands of `rows` rows, the last perhaps with fewer.
    pub fn cut(values: &'a mut [T], batch: usize, rows: usize, width: usize) -> Vec<Self> {
        let mut bands: Vec<Vec<_>> = (0..batch.div_ceil(rows)).map(|_| Vec::new()).collect();
        for slot in values.chunks_exact_mut(batch * width) {
            for (band, part) in bands.iter_mut().zip(slot.chunks_mut(rows * width)) {
                band.push(part);
            }
        }
        bands.into_iter().map(Steps::Cut).collect()
    }

    /// Slot t.
    pub fn at(&mut self, t: usize) -> &mut [T] {
        match self {
            Steps::Whole([], _) => &mut [],
            Steps::Whole(values, slot) => &mut values[t * *slot..(t + 1) * *slot],
            Steps::Cut(slots) => slots.get_mut(t).map_or(&mut [], |slot| slot),
        }
    }

    /// Slots t - 1, t and, if there is one, t + 1; and two further on from `other` on, where that is said and as far as
    /// they are there.
    pub fn around_and(&mut self, t: usize, other: Option<usize>) -> ([&mut [T]; 3], [&mut [T]; 2]) {
        let Some(other) = other else { return (self.around(t), [&mut [], &mut []]) };
        match self {
            Steps::Whole([], _) => (self.around(t), [&mut [], &mut []]),
            Steps::Whole(values, slot) => {
                let (front, back) = values.split_at_mut(other * *slot);
                let (first, rest) = back.split_at_mut(*slot);
                let end = rest.len().min(*slot);
                (Self::around_whole(front, *slot, t), [first, &mut rest[..end]])
            }
            Steps::Cut(slots) => {
                let end = other.min(slots.len());
                let (front, back) = slots.split_at_mut(end);
                let mut back = back.iter_mut();
                let others = [0, 1].map(|_| back.next().map_or(&mut [][..], |slot| &mut **slot));
                (Self::around_cut(front, t), others)
            }
        }
    }

    /// Slots t - 1, t and, if there is one, t + 1.
    pub fn around(&mut self, t: usize) -> [&mut [T]; 3] {
        match self {
            Steps::Whole([], _) => [&mut [], &mut [], &mut []],
            Steps::Whole(values, slot) => Self::around_whole(values, *slot, t),
            Steps::Cut(slots) => Self::around_cut(slots, t),
        }
    }

    fn around_whole(values: &mut [T], slot: usize, t: usize) -> [&mut [T]; 3] {
        let (below, rest) = values[(t - 1) * slot..].split_at_mut(slot);
        let (at, above) = rest.split_at_mut(slot);
        let end = above.len().min(slot);
        [below, at, &mut above[..end]]
    }

    fn around_cut<'s>(slots: &'s mut [&'a mut [T]], t: usize) -> [&'s mut [T]; 3] {
        match slots.get_mut(t - 1..) {
            Some([below, at, above, ..]) => [below, at, above],
            Some([below, at]) => [below, at, &mut []],
            _ => [&mut [], &mut [], &mut []],
        }
    }
}
