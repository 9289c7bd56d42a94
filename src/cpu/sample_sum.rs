//! `output[row·samples + n] = Σ source[n,·]`, summed in double precision.

use super::blocks::sum;
use super::memory::Memory;
use crate::plan::SampleSum;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &SampleSum, memory: &Memory<T>, output: &mut [T]) {
    let row = &mut output[step.row * step.samples..][..step.samples];
    for (y, sample) in row.iter_mut().zip(memory.real(step.source).chunks(step.sample_len)) {
        *y = T::of(sum(sample, T::to_f64));
    }
}
