//! `output[i] = source[Σ_d index_d(i) · strides[d]]`.

use super::blocks::for_blocks;
use super::memory::Memory;
use crate::plan::Transpose;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &Transpose, memory: &Memory<T>, output: &mut [T]) {
    let source = memory.real(step.source);
    for_blocks(output, |start, output| {
        let mut index = [0; 6];
        let mut rest = start;
        for (index, size) in index.iter_mut().zip(step.dims).rev() {
            (*index, rest) = (rest % size, rest / size);
        }
        let mut at: usize = index.iter().zip(step.strides).map(|(i, s)| i * s).sum();
        for y in output {
            *y = source[at];
            // The next index: the last axis runs fastest.
            for d in (0..6).rev() {
                index[d] += 1;
                at += step.strides[d];
                if index[d] < step.dims[d] {
                    break;
                }
                at -= step.dims[d] * step.strides[d];
                index[d] = 0;
            }
        }
    });
}
