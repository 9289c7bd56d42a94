//! `output[n,j] = Σ_i (source[n,i] − vectors[j,i])²`, summed in double precision.

use super::blocks::{for_rows, is_large};
use super::memory::Memory;
use crate::plan::Distances;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &Distances, memory: &Memory<T>, output: &mut [T]) {
    let (source, vectors) = (memory.real(step.source), memory.real(step.vectors));
    let large = is_large(step.rows * step.count * step.len);
    // A row of the output is short where there are few rows: its values are handed out one by one.
    for_rows(output, 1, large, |at, output| {
        let x = &source[at / step.count * step.len..][..step.len];
        let u = &vectors[at % step.count * step.len..][..step.len];
        let sum: f64 = x.iter().zip(u).map(|(x, u)| (x.to_f64() - u.to_f64()).powi(2)).sum();
        output[0] = T::of(sum);
    });
}
