//! Reading an operand with broadcasting, a block at a time.

use super::blocks::BLOCK;
use super::memory::Memory;
use crate::plan::{Operand, Part};
use crate::tensor::Real;

/// An [`Operand`] with its values at hand.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a, T> {
    values: &'a [T],
    inner: usize,
    count: usize,
}

impl<'a, T: Real> Reader<'a, T> {
    /// The operand's values.
    pub(super) fn new(operand: &Operand, memory: &'a Memory<T>) -> Reader<'a, T> {
        Reader { values: memory.real(operand.buffer), inner: operand.inner, count: operand.count }
    }

    /// What positions `start..start + len` of the output read, `len` being at most [`BLOCK`]. `room` holds the values
    /// where they do not lie one after the other.
    pub(super) fn block<'b>(&self, start: usize, len: usize, room: &'b mut [T; BLOCK]) -> &'b [T]
    where
        'a: 'b,
    {
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
