//! `output[w] = max over window w`, `winners[w]` = where in its input plane: the first in row-major order on ties.

use pulp::Simd;
use rayon::prelude::*;

use super::blocks::hand_out;
use super::memory::Memory;
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::{MaxPool, Sliding};

/// The winner of a window of which nothing was read yet.
const NONE: u32 = u32::MAX;

/// Most positions of a plane in blocks: every number up to it is a float32.
pub(super) const MOST_POSITIONS: usize = 1 << 24;

/// Runs the step.
pub(super) fn run<T: Vector>(step: &MaxPool, memory: &Memory<T>, output: &mut [T], winners: &mut [u32]) {
    let sliding = &Sliding::from(&step.windows);
    if let Some(layout) = memory.layout(step.source) {
        let (input, windows) = (layout.plane * layout.block, sliding.output_len() * layout.block);
        let planes = output.chunks_mut(windows).zip(winners.chunks_mut(windows));
        let planes = planes.zip(memory.real(step.source).chunks(input)).collect::<Vec<_>>();
        hand_out(planes, |((output, winners), source)| {
            dispatch(Blocks { sliding, block: layout.block, source, output, winners });
        });
        return;
    }
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
        let mut line = vec![T::ZERO; width];
        let lines = self.output.chunks_mut(width).zip(self.winners.chunks_mut(width));
        for (row, (best, winners)) in lines.enumerate() {
            let (z, y) = (row / height, row % height);
            // A checked plan has no window without input values: the first tap inside one replaces this.
            winners.fill(NONE);
            for kz in s.taps_inside(0, z) {
                for ky in s.taps_inside(1, y) {
                    let start = (s.input_at(0, kz, z) * s.input[1] + s.input_at(1, ky, y)) * s.input[2];
                    for kx in 0..s.kernel[2] {
                        let inside = s.inside(2, kx);
                        if inside.is_empty() {
                            continue;
                        }
                        let at = start + s.input_at(2, kx, inside.start);
                        let (best, winners) = (&mut best[inside.clone()], &mut winners[inside]);
                        let (source, line) = (&self.source[at..], &mut line[..best.len()]);
                        let at = at as u32;
                        match s.stride[2] {
                            1 => compete(&source[..best.len()], at, 1, best, winners),
                            // The same as below, but many at a time, since the compiler knows that they are pairs.
                            2 => {
                                let pairs = source[..2 * line.len() - 1].chunks(2);
                                line.iter_mut().zip(pairs).for_each(|(y, x)| *y = x[0]);
                                compete(line, at, 2, best, winners);
                            }
                            stride => {
                                line.iter_mut().zip(source.iter().step_by(stride)).for_each(|(y, x)| *y = *x);
                                compete(line, at, stride as u32, best, winners);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One block of planes.
struct Blocks<'a, T> {
    sliding: &'a Sliding,
    block: usize,
    source: &'a [T],
    output: &'a mut [T],
    winners: &'a mut [u32],
}

impl<T: Vector> WithSimd for Blocks<'_, T> {
    type Output = ();

    /// Window by window, for all channels of the block at once. Positions are compared as floats: see [`MOST_POSITIONS`].
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let s = self.sliding;
        let [_, height, width] = s.output;
        let (source, _) = T::split::<S>(self.source);
        let (output, _) = T::split_mut::<S>(self.output);
        for (window, (best, winners)) in output.iter_mut().zip(self.winners.chunks_exact_mut(self.block)).enumerate() {
            let (z, y, x) = (window / (height * width), window / width % height, window % width);
            let across = s.taps_inside(2, x);
            let mut so_far = None;
            for kz in s.taps_inside(0, z) {
                for ky in s.taps_inside(1, y) {
                    let line = (s.input_at(0, kz, z) * s.input[1] + s.input_at(1, ky, y)) * s.input[2];
                    for kx in across.clone() {
                        let at = line + s.input_at(2, kx, x);
                        let place = T::splat(simd, T::of(at as f64));
                        so_far = Some(match so_far {
                            None => [source[at], place],
                            Some(best) => T::better(simd, best, source[at], place),
                        });
                    }
                }
            }
            // A checked plan has no window without input values.
            let Some([value, place]) = so_far else { continue };
            *best = value;
            for (winner, place) in winners.iter_mut().zip(T::values::<S>(&place)) {
                *winner = place.to_f64() as u32;
            }
        }
    }
}

/// Lets the values of a line, which lie `stride` apart in the plane from `at` on, compete with the best of their windows.
#[inline(always)]
fn compete<T: Vector>(line: &[T], at: u32, stride: u32, best: &mut [T], winners: &mut [u32]) {
    for (i, ((best, winner), x)) in best.iter_mut().zip(winners).zip(line).enumerate() {
        // NaN wins over numbers, so that it is seen at the output; the first of equals stays.
        let wins = (*winner == NONE) | (*x > *best) | (is_number(*best) & !is_number(*x));
        *best = if wins { *x } else { *best };
        *winner = if wins { at + i as u32 * stride } else { *winner };
    }
}

/// Whether x is not NaN.
#[inline(always)]
#[expect(clippy::eq_op, reason = "only NaN differs from itself")]
fn is_number<T: Vector>(x: T) -> bool {
    x == x
}
