//! `output[i, e] = table[ids[i], e]`; negative ids count from the end, those outside take the nearest row.

use super::blocks::{for_rows, is_large};
use super::memory::Memory;
use crate::plan::Embedding;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &Embedding, memory: &Memory<T>, output: &mut [T]) {
    let (table, ids) = (memory.real(step.table), memory.real(step.ids));
    for_rows(output, step.width, is_large(step.count * step.width), |i, output| {
        let id = ids[i].to_f64();
        let row = if id < 0.0 { id + step.rows as f64 } else { id };
        // The cast takes what is below 0, and what is not a number, to 0.
        let row = (row as usize).min(step.rows - 1);
        output.copy_from_slice(&table[row * step.width..][..step.width]);
    });
}
