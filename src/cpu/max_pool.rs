//! `output[w] = max over window w`, `winners[w]` = where in its input plane: the first in row-major order on ties.

use pulp::Simd;
use rayon::prelude::*;

use super::memory::Memory;
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::{MaxPool, Sliding};

/// Runs the step.
pub(super) fn run<T: Vector>(step: &MaxPool, memory: &Memory<T>, output: &mut [T], winners: &mut [u32]) {
    let sliding = &Sliding::from(&step.windows);
    let (input, windows) = (sliding.input_len(), sliding.output_len());
    let planes = output.par_chunks_mut(windows).zip(winners.par_chunks_mut(windows));
    let planes = planes.zip(memory.real(step.source).par_chunks(input));
    planes.with_min_len((4096 / input).max(1)).for_each(|((output, winners), source)| {
        dispatch(Plane { sliding, source, output, winners });
    });
}

/// One plane.
struct Plane<'a, T> {
    sliding: &'a Sliding,
    source: &'a [T],
    output: &'a mut [T],
    winners: &'a mut [u32],
}

impl<T: Vector> WithSimd for Plane<'_, T> {
    type Output = ();

    /// Line by line: every tap in turn is compared with the best so far, for all windows of the line at once.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let s = self.sliding;
        let [_, height, width] = s.output;
        let lines = self.output.chunks_mut(width).zip(self.winners.chunks_mut(width));
        for (row, (best, winners)) in lines.enumerate() {
            let (z, y) = (row / height, row % height);
            // A checked plan has no window without input values: the first tap inside one replaces this.
            winners.fill(u32::MAX);
            for kz in s.taps_inside(0, z) {
                for ky in s.taps_inside(1, y) {
                    let line = (s.input_at(0, kz, z) * s.input[1] + s.input_at(1, ky, y)) * s.input[2];
                    for kx in 0..s.kernel[2] {
                        let inside = s.inside(2, kx);
                        if inside.is_empty() {
                            continue;
                        }
                        let at = line + s.input_at(2, kx, inside.start);
                        let (best, winners) = (&mut best[inside.clone()], &mut winners[inside]);
                        match s.stride[2] {
                            1 => compare::<T, 1>(&self.source[at..], at, best, winners),
                            2 => compare::<T, 2>(&self.source[at..], at, best, winners),
                            stride => compare_every(&self.source[at..], at, stride, best, winners),
                        }
                    }
                }
            }
        }
    }
}

/// [`compare_every`] with a stride that the compiler knows.
#[inline(always)]
fn compare<T: Vector, const STRIDE: usize>(source: &[T], at: usize, best: &mut [T], winners: &mut [u32]) {
    compare_every(source, at, STRIDE, best, winners);
}

/// Lets every `stride`-th value of the source, which begins at `at`, compete with the best of its window.
#[inline(always)]
fn compare_every<T: Vector>(source: &[T], at: usize, stride: usize, best: &mut [T], winners: &mut [u32]) {
    for (i, ((best, winner), x)) in best.iter_mut().zip(winners).zip(source.iter().step_by(stride)).enumerate() {
        // NaN wins over numbers, so that it is seen at the output; the first of equals stays.
        let (numbers, none) = (is_number(*best), *winner == u32::MAX);
        let wins = none | (numbers & !(*x <= *best));
        *best = if wins { *x } else { *best };
        *winner = if wins { (at + i * stride) as u32 } else { *winner };
    }
}

/// Whether x is not NaN.
#[inline(always)]
#[expect(clippy::eq_op, reason = "only NaN differs from itself")]
fn is_number<T: Vector>(x: T) -> bool {
    x == x
}
