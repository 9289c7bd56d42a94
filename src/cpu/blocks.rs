//! Value-by-value work in blocks, on all cores where it pays.

use rayon::prelude::*;

/// Values of a block: a few of them fit into the first-level cache.
pub(super) const BLOCK: usize = 512;

/// Below this many values one thread is faster than waking others.
const PARALLEL: usize = 32 * 1024;

/// Calls `work(first index, block)` for consecutive blocks of at most [`BLOCK`] values.
pub(super) fn for_blocks<T: Send>(values: &mut [T], work: impl Fn(usize, &mut [T]) + Sync) {
    let large = values.len() >= PARALLEL;
    for_rows(values, BLOCK, large, |block, values| work(block * BLOCK, values));
}

/// As [`for_blocks`] for two lists of the same length: `work(first index, block of one, block of the other)`.
pub(super) fn for_block_pairs<T: Send>(a: &mut [T], b: &mut [T], work: impl Fn(usize, &mut [T], &mut [T]) + Sync) {
    if a.len() >= PARALLEL {
        let blocks = a.par_chunks_mut(BLOCK).zip(b.par_chunks_mut(BLOCK)).with_min_len(4).enumerate();
        blocks.for_each(|(i, (a, b))| work(i * BLOCK, a, b));
    } else {
        let blocks = a.chunks_mut(BLOCK).zip(b.chunks_mut(BLOCK)).enumerate();
        blocks.for_each(|(i, (a, b))| work(i * BLOCK, a, b));
    }
}

/// Calls `work(row, values)` for consecutive rows of `row` values, in parallel if the work is `large`.
pub(super) fn for_rows<T: Send>(values: &mut [T], row: usize, large: bool, work: impl Fn(usize, &mut [T]) + Sync) {
    if row == 0 {
        return;
    }
    if large {
        // Short rows are handed out several at a time.
        let together = (BLOCK * 4 / row).max(1);
        values.par_chunks_mut(row).with_min_len(together).enumerate().for_each(|(i, values)| work(i, values));
    } else {
        values.chunks_mut(row).enumerate().for_each(|(i, values)| work(i, values));
    }
}

/// Whether a kernel that touches so many values should use all cores.
pub(super) fn is_large(values: usize) -> bool {
    values >= PARALLEL
}

/// Σ f(x) in double precision. Partial sums of fixed size are added in order: the result does not depend on the threads.
pub(super) fn sum<T: Copy + Sync>(values: &[T], f: impl Fn(T) -> f64 + Sync) -> f64 {
    const PARTIAL: usize = 16 * 1024;
    let partial = |chunk: &[T]| chunk.iter().map(|x| f(*x)).sum::<f64>();
    if values.len() < PARALLEL {
        return values.chunks(PARTIAL).map(partial).sum();
    }
    let partials: Vec<f64> = values.par_chunks(PARTIAL).map(partial).collect();
    partials.iter().sum()
}
