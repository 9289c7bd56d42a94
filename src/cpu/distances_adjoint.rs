//! `output[n,i] = Σ_j d²·relevance[n,j]`, or `Σ_j 2d·relevance[n,j]` for the gradient, with `d = source[n,i] − vectors[j,i]`,
//! summed in double precision.

use super::blocks::{BLOCK, for_rows, is_large};
use super::memory::Memory;
use crate::plan::DistancesAdjoint;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &DistancesAdjoint, memory: &Memory<T>, output: &mut [T]) {
    let forward = &step.forward;
    let (source, vectors) = (memory.real(forward.source), memory.real(forward.vectors));
    let relevance = memory.real(step.relevance);
    let large = is_large(forward.rows * forward.count * forward.len);
    for (n, output) in output.chunks_mut(forward.len).enumerate() {
        let x = &source[n * forward.len..][..forward.len];
        let relevance = &relevance[n * forward.count..][..forward.count];
        // Stretches of a row, so that vectors are read in order.
        for_rows(output, BLOCK / 8, large, |part, output| {
            let first = part * (BLOCK / 8);
            let mut sums = [0.0; BLOCK / 8];
            for (r, u) in relevance.iter().zip(vectors.chunks(forward.len)) {
                let r = r.to_f64();
                for ((sum, x), u) in sums.iter_mut().zip(&x[first..]).zip(&u[first..]).take(output.len()) {
                    let d = x.to_f64() - u.to_f64();
                    *sum += r * if step.gradient { 2.0 * d } else { d * d };
                }
            }
            output.iter_mut().zip(sums).for_each(|(y, sum)| *y = T::of(sum));
        });
    }
}
