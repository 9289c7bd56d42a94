//! `R_j = R'_j·d_j^−beta − 2·alpha·beta/size · x_j · Σ_{c: j in window of c} R'_c·x_c·d_c^(−beta−1)`, d as in `lrn`.

use super::blocks::{for_rows, is_large};
use super::lrn::{denominators, holders};
use super::memory::Memory;
use crate::plan::LrnAdjoint;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &LrnAdjoint, memory: &Memory<T>, output: &mut [T]) {
    let forward = &step.forward;
    let (source, relevance) = (memory.real(forward.source), memory.real(step.relevance));
    let (lrn, inner, large) = (&forward.lrn, forward.inner, is_large(source.len()));
    // d^−beta, then R'·x·d^(−beta−1).
    let mut powers = denominators(forward, source);
    let mut terms = powers.clone();
    for_rows(&mut powers, inner, large, |_, powers| powers.iter_mut().for_each(|d| *d = d.powf(-lrn.beta)));
    for_rows(&mut terms, inner, large, |row, terms| {
        let at = row * inner..(row + 1) * inner;
        let values = source[at.clone()].iter().zip(&relevance[at.clone()]).zip(&powers[at]);
        for (d, ((x, r), power)) in terms.iter_mut().zip(values) {
            *d = r.to_f64() * x.to_f64() * power / *d;
        }
    });
    let factor = 2.0 * lrn.alpha * lrn.beta / lrn.size as f64;
    for_rows(output, inner, large, |row, output| {
        let (sample, channel) = (row / forward.channels, row % forward.channels);
        for (i, y) in output.iter_mut().enumerate() {
            let column = |c: usize| terms[(sample * forward.channels + c) * inner + i];
            let sum: f64 = holders(forward, channel).map(column).sum();
            let at = row * inner + i;
            *y = T::of(relevance[at].to_f64() * powers[at] - factor * source[at].to_f64() * sum);
        }
    });
}
