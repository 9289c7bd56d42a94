//! `output[n] = sqrt(mean(source[n,·]²))`, summed in double precision.

use super::blocks::sum;
use super::memory::Memory;
use crate::plan::SampleRms;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &SampleRms, memory: &Memory<T>, output: &mut [T]) {
    for (y, sample) in output.iter_mut().zip(memory.real(step.source).chunks(step.sample_len)) {
        let squares = sum(sample, |x| x.to_f64() * x.to_f64());
        *y = T::of((squares / step.sample_len as f64).sqrt());
    }
}
