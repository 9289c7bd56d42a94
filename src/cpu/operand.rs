//! Reading an operand with broadcasting, a block at a time.

use super::blocks::BLOCK;
use super::layout::{Blocked, Pace};
use super::memory::Memory;
use crate::plan::{Operand, Part};
use crate::tensor::Real;

/// An [`Operand`] with its values at hand.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a, T> {
    values: &'a [T],
    inner: usize,
    count: usize,
    /// Of a blocked output whose channels have a value each.
    channels: Option<Blocked>,
}

impl<'a, T: Real> Reader<'a, T> {
    /// The operand's values, for an output of this layout that can be read along with.
    pub(super) fn new(operand: &Operand, memory: &'a Memory<T>, layout: Option<Blocked>) -> Reader<'a, T> {
        let values = memory.real(operand.buffer);
        let reader = |inner, count| Reader { values, inner, count, channels: None };
        match layout.and_then(|layout| Some((layout, Pace::new(operand, layout)?))) {
            None => reader(operand.inner, operand.count),
            Some((layout, Pace::Whole)) => reader(1, layout.len()),
            Some((_, Pace::Scalar)) => reader(1, 1),
            Some((layout, Pace::Sample)) => reader(layout.sample_len(), operand.count),
            Some((layout, Pace::Channel)) => Reader { channels: Some(layout), ..reader(layout.plane, operand.count) },
        }
    }

    /// What positions `start..start + len` of the output read, `len` being at most [`BLOCK`]. `room` holds the values
    /// where they do not lie one after the other.
    #[inline(always)]
    pub(super) fn block<'b>(&self, start: usize, len: usize, room: &'b mut [T; BLOCK]) -> &'b [T]
    where
        'a: 'b,
    {
        if let Some(layout) = self.channels {
            return self.channels(layout, start, &mut room[..len]);
        }
        if self.inner == 1 {
            let first = start % self.count;
            if first + len <= self.count {
                return &self.values[first..first + len];
            }
        }
        let room = &mut room[..len];
        let mut at = (start / self.inner) % self.count;
        // How many more outputs read the same value.
        let mut left = self.inner - start % self.inner;
        let mut done = 0;
        while done < len {
            let run = left.min(len - done);
            room[done..done + run].fill(self.values[at]);
            done += run;
            left = self.inner;
            at = if at + 1 == self.count { 0 } else { at + 1 };
        }
        room
    }

    /// As [`block`](Reader::block), where channels of a blocked output have a value each.
    fn channels<'b>(&self, layout: Blocked, start: usize, room: &'b mut [T]) -> &'b [T] {
        let Blocked { channels, plane, block, .. } = layout;
        let mut done = 0;
        while done < room.len() {
            let at = start + done;
            let (blocks, inside) = (at / (plane * block), at % (plane * block));
            let run = (plane * block - inside).min(room.len() - done);
            let first = blocks % layout.blocks() * block;
            let values = &self.values[(blocks / layout.blocks() * channels + first) % self.count..];
            let values = &values[..block.min(channels - first)];
            // Channels that do not exist read the first one's value.
            let value = |lane: usize| values.get(lane).copied().unwrap_or(values[0]);
            let room = &mut room[done..done + run];
            for (i, y) in room.iter_mut().take(block).enumerate() {
                *y = value((inside + i) % block);
            }
            let mut filled = block.min(run);
            while filled < run {
                let more = filled.min(run - filled);
                room.copy_within(..more, filled);
                filled += more;
            }
            done += run;
        }
        room
    }
}

/// The part of a value. NaN stays NaN.
#[inline(always)]
pub(super) fn part_of<T: Real>(part: Part, x: T) -> T {
    match part {
        Part::All => x,
        Part::Positive => positive(x),
        Part::Negative => negative(x),
    }
}

/// max(x, 0); NaN stays NaN.
#[inline(always)]
pub(super) fn positive<T: Real>(x: T) -> T {
    if x < T::ZERO { T::ZERO } else { x }
}

/// min(x, 0); NaN stays NaN.
#[inline(always)]
pub(super) fn negative<T: Real>(x: T) -> T {
    if x > T::ZERO { T::ZERO } else { x }
}
