//! `output[o, offset + j, i] = factor · Σ_k w[k] · source[o, src[k], i]`, k over row j of the map.

use super::blocks::{for_rows, is_large};
use super::memory::Memory;
use crate::plan::Resample;
use crate::tensor::Real;

/// Sums kept at a time.
const WIDTH: usize = 64;

/// Runs the step.
pub(super) fn run<T: Real>(step: &Resample, memory: &Memory<T>, output: &mut [T]) {
    let source = memory.real(step.source);
    let factor = step.factor.map(|f| memory.real(f));
    let (inputs, inner) = (step.map.inputs(), step.inner);
    // A long sum over few outputs is work too.
    let work = step.outer * inner * step.map.sources().len().max(step.output_axis);
    for_rows(output, inner, is_large(work), |row, output| {
        let (o, at) = (row / step.output_axis, row % step.output_axis);
        let Some(j) = at.checked_sub(step.offset).filter(|j| *j < step.map.outputs()) else { return };
        let entries = step.map.starts()[j] as usize..step.map.starts()[j + 1] as usize;
        let (sources, weights) = (&step.map.sources()[entries.clone()], &step.map.weights()[entries]);
        let planes = &source[o * inputs * inner..][..inputs * inner];
        if let ([k], [1.0]) = (sources, weights) {
            output.copy_from_slice(&planes[*k as usize * inner..][..inner]);
        } else {
            for (block, output) in output.chunks_mut(WIDTH).enumerate() {
                let mut sums = [0.0f64; WIDTH];
                for (k, w) in sources.iter().zip(weights) {
                    let values = &planes[*k as usize * inner + block * WIDTH..];
                    for (sum, x) in sums[..output.len()].iter_mut().zip(values) {
                        *sum += w * x.to_f64();
                    }
                }
                for (y, sum) in output.iter_mut().zip(sums) {
                    *y = T::of(sum);
                }
            }
        }
        if let Some(factor) = factor {
            for (y, f) in output.iter_mut().zip(&factor[row * inner..]) {
                *y *= *f;
            }
        }
    });
}
