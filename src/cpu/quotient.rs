//! `output[i] = scale · R[i] / st(Σ denominator operands at i)`, 0 where the mask says so.

use super::blocks::{BLOCK, for_blocks};
use super::memory::Memory;
use super::operand::Reader;
use super::share::Sharer;
use crate::plan::Quotient;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &Quotient, memory: &Memory<T>, output: &mut [T]) {
    let readers: Vec<_> = step.denominator.iter().map(|o| Reader::new(o, memory)).collect();
    let share = Sharer::new(&step.share, memory);
    for_blocks(output, |start, output| {
        let (mut z, mut room) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
        let z = &mut z[..output.len()];
        for reader in &readers {
            for (z, x) in z.iter_mut().zip(reader.block(start, output.len(), &mut room)) {
                *z += *x;
            }
        }
        share.apply(start, z, output);
    });
}
