//! The stabilised division that ends every rule: `scale · R / st(z)`.

use super::blocks::BLOCK;
use super::layout::Blocked;
use super::memory::Memory;
use super::operand::Reader;
use crate::plan::{BufferId, Divide, Epsilon, Share, Sign};
use crate::tensor::Real;

/// A [`Share`] with its buffers at hand.
pub(super) struct Sharer<'a, T> {
    relevance: &'a [T],
    scale: T,
    clip: bool,
    epsilon: Stabiliser<'a, T>,
    mask: Option<(&'a [T], Sign)>,
}

enum Stabiliser<'a, T> {
    Constant(T),
    PerSample { values: &'a [T], sample_len: usize, factor: T },
}

impl<'a, T: Real> Sharer<'a, T> {
    /// For an output of this layout.
    pub(super) fn new(share: &Share, memory: &'a Memory<T>, layout: Option<Blocked>) -> Sharer<'a, T> {
        let mask = |(buffer, sign): (BufferId, Sign)| (memory.real(buffer), sign);
        Sharer {
            relevance: memory.real(share.relevance),
            scale: T::of(share.scale),
            clip: share.clip,
            epsilon: match share.epsilon {
                Epsilon::Constant(epsilon) => Stabiliser::Constant(T::of(epsilon)),
                Epsilon::PerSample { buffer, sample_len, factor } => {
                    let sample_len = layout.map_or(sample_len, |layout| layout.sample_len());
                    Stabiliser::PerSample { values: memory.real(buffer), sample_len, factor: T::of(factor) }
                }
            },
            mask: share.mask.map(mask),
        }
    }

    /// `output[j] = scale · R / st(z[j])` for the positions `start..`, 0 where the mask says so.
    #[inline(always)]
    pub(super) fn apply(&self, start: usize, z: &[T], output: &mut [T]) {
        match self.epsilon {
            Stabiliser::Constant(epsilon) => self.divide(start, epsilon, z, output),
            Stabiliser::PerSample { values, sample_len, factor } => {
                let mut done = 0;
                while done < z.len() {
                    let sample = (start + done) / sample_len;
                    let end = ((sample + 1) * sample_len - start).min(z.len());
                    self.divide(start + done, factor * values[sample], &z[done..end], &mut output[done..end]);
                    done = end;
                }
            }
        }
        if let Some((values, sign)) = self.mask {
            let masked = output.iter_mut().zip(&values[start..]);
            match sign {
                Sign::Positive => masked.for_each(|(y, m)| *y = if *m > T::ZERO { *y } else { T::ZERO }),
                Sign::Negative => masked.for_each(|(y, m)| *y = if *m < T::ZERO { *y } else { T::ZERO }),
            }
        }
    }

    #[inline(always)]
    fn divide(&self, start: usize, epsilon: T, z: &[T], output: &mut [T]) {
        let values = self.relevance[start..].iter().zip(z);
        if self.clip {
            for (y, (r, z)) in output.iter_mut().zip(values) {
                *y = quotient(self.scale * *r, clipped(*z, epsilon));
            }
        } else {
            for (y, (r, z)) in output.iter_mut().zip(values) {
                *y = quotient(self.scale * *r, moved(*z, epsilon));
            }
        }
    }
}

/// A [`Divide`] with its denominator at hand.
pub(super) struct Divider<'a, T> {
    denominator: Reader<'a, T>,
    scale: T,
    epsilon: T,
    clip: bool,
}

impl<'a, T: Real> Divider<'a, T> {
    /// For an output of this layout.
    pub(super) fn new(divide: &Divide, memory: &'a Memory<T>, layout: Option<Blocked>) -> Divider<'a, T> {
        Divider {
            denominator: Reader::new(&divide.denominator, memory, layout),
            scale: T::of(divide.scale),
            epsilon: T::of(divide.epsilon),
            clip: divide.clip,
        }
    }

    /// `values[j] = scale · values[j] / st(z)` for the positions `start..`.
    #[inline(always)]
    pub(super) fn apply(&self, start: usize, values: &mut [T]) {
        let mut room = [T::ZERO; BLOCK];
        for (i, values) in values.chunks_mut(BLOCK).enumerate() {
            let z = self.denominator.block(start + i * BLOCK, values.len(), &mut room);
            if self.clip {
                for (y, z) in values.iter_mut().zip(z) {
                    *y = quotient(self.scale * *y, clipped(*z, self.epsilon));
                }
            } else {
                for (y, z) in values.iter_mut().zip(z) {
                    *y = quotient(self.scale * *y, moved(*z, self.epsilon));
                }
            }
        }
    }
}

/// a / b, and 0 where b is 0.
#[inline(always)]
pub(super) fn quotient<T: Real>(a: T, b: T) -> T {
    if b == T::ZERO { T::ZERO } else { a / b }
}

/// z + ε·sign(z), sign(0) = +1.
#[inline(always)]
pub(super) fn moved<T: Real>(z: T, epsilon: T) -> T {
    if z < T::ZERO { z - epsilon } else { z + epsilon }
}

/// sign(z)·max(|z|, ε), sign(0) = +1.
#[inline(always)]
fn clipped<T: Real>(z: T, epsilon: T) -> T {
    if z < T::ZERO {
        if z > -epsilon { -epsilon } else { z }
    } else if z < epsilon {
        epsilon
    } else {
        z
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_denominator_counts_as_positive() {
        assert_eq!(moved(0.0, 0.5), 0.5);
        assert_eq!(moved(-0.0, 0.5), 0.5);
        assert_eq!(clipped(0.0, 0.5), 0.5);
        assert_eq!(clipped(-0.0, 0.5), 0.5);
    }

    #[test]
    fn clipping_leaves_large_denominators_alone() {
        assert_eq!(clipped(-0.25, 0.5), -0.5);
        assert_eq!(clipped(-0.75, 0.5), -0.75);
        assert_eq!(clipped(0.25, 0.5), 0.5);
        assert_eq!(clipped(0.75, 0.5), 0.75);
    }
}
