//! Softmax or LogSoftmax along the middle of `outer × size × inner`, in double precision.

use super::blocks::{for_rows, is_large};
use super::memory::Memory;
use crate::plan::Softmax;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &Softmax, memory: &Memory<T>, output: &mut [T]) {
    let source = memory.real(step.source);
    let rows = step.size * step.inner;
    for_rows(output, rows, is_large(step.outer * rows), |o, output| {
        let source = &source[o * rows..][..rows];
        for i in 0..step.inner {
            let values = || source[i..].iter().step_by(step.inner).map(|x| x.to_f64());
            let largest = values().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = values().map(|x| (x - largest).exp()).sum();
            for (y, x) in output[i..].iter_mut().step_by(step.inner).zip(values()) {
                let above = x - largest;
                *y = T::of(if step.log { above - sum.ln() } else { above.exp() / sum });
            }
        }
    });
}
