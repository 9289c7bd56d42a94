//! `output[w] = max over window w`, `winners[w]` = where in its input plane: the first in row-major order on ties.

use rayon::prelude::*;

use super::memory::Memory;
use crate::plan::{MaxPool, Sliding};
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &MaxPool, memory: &Memory<T>, output: &mut [T], winners: &mut [u32]) {
    let sliding = Sliding::from(&step.windows);
    let (input, windows) = (sliding.input_len(), sliding.output_len());
    let planes = output.par_chunks_mut(windows).zip(winners.par_chunks_mut(windows));
    let planes = planes.zip(memory.real(step.source).par_chunks(input));
    planes.with_min_len((4096 / input).max(1)).for_each(|((output, winners), source)| {
        plane(&sliding, source, output, winners);
    });
}

fn plane<T: Real>(s: &Sliding, source: &[T], output: &mut [T], winners: &mut [u32]) {
    let [_, height, width] = s.output;
    for (at, (best, winner)) in output.iter_mut().zip(winners).enumerate() {
        let [z, y, x] = [at / (height * width), at / width % height, at % width];
        let mut found = None;
        for kz in s.taps_inside(0, z) {
            for ky in s.taps_inside(1, y) {
                let line = (s.input_at(0, kz, z) * s.input[1] + s.input_at(1, ky, y)) * s.input[2];
                for kx in s.taps_inside(2, x) {
                    let i = line + s.input_at(2, kx, x);
                    // NaN wins over numbers, so that it is seen at the output.
                    let wins = |(_, best): (usize, T)| source[i] > best || (is_nan(source[i]) && !is_nan(best));
                    if found.is_none_or(wins) {
                        found = Some((i, source[i]));
                    }
                }
            }
        }
        // A checked plan has no window without input values.
        if let Some((i, value)) = found {
            (*best, *winner) = (value, i as u32);
        }
    }
}

fn is_nan<T: Real>(x: T) -> bool {
    x.partial_cmp(&x).is_none()
}
