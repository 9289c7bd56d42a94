//! `y_c = x_c / d_c^beta`, `d_c = bias + alpha/size · Σ_{j=c−⌊(size−1)/2⌋}^{c+⌈(size−1)/2⌉} x_j²`, j inside the channels.

use std::ops::Range;

use super::blocks::{for_rows, is_large};
use super::memory::Memory;
use crate::plan::LrnForward;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &LrnForward, memory: &Memory<T>, output: &mut [T]) {
    let source = memory.real(step.source);
    let denominators = denominators(step, source);
    for_rows(output, step.inner, is_large(source.len()), |row, output| {
        let at = row * step.inner;
        for ((y, x), d) in output.iter_mut().zip(&source[at..]).zip(&denominators[at..]) {
            *y = T::of(x.to_f64() * d.powf(-step.lrn.beta));
        }
    });
}

/// Channels in the window of a channel.
fn window(step: &LrnForward, channel: usize) -> Range<usize> {
    let reach = step.lrn.size - 1;
    channel.saturating_sub(reach / 2)..(channel + reach.div_ceil(2) + 1).min(step.channels)
}

/// Channels whose windows hold a channel.
pub(super) fn holders(step: &LrnForward, channel: usize) -> Range<usize> {
    let reach = step.lrn.size - 1;
    channel.saturating_sub(reach.div_ceil(2))..(channel + reach / 2 + 1).min(step.channels)
}

/// d for every value.
pub(super) fn denominators<T: Real>(step: &LrnForward, source: &[T]) -> Vec<f64> {
    let mut d = vec![0.0; source.len()];
    let factor = step.lrn.alpha / step.lrn.size as f64;
    for_rows(&mut d, step.inner, is_large(source.len()), |row, d| {
        let (sample, channel) = (row / step.channels, row % step.channels);
        for j in window(step, channel) {
            let values = &source[(sample * step.channels + j) * step.inner..];
            for (d, x) in d.iter_mut().zip(values) {
                *d += x.to_f64() * x.to_f64();
            }
        }
        for d in d {
            *d = step.lrn.bias + factor * *d;
        }
    });
    d
}
