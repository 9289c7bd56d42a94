//! Value-by-value work in blocks, on all cores where it pays.

use std::sync::{Mutex, PoisonError};

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
    let blocks = |first: usize, a: &mut [T], b: &mut [T]| {
        let blocks = a.chunks_mut(BLOCK).zip(b.chunks_mut(BLOCK)).enumerate();
        blocks.for_each(|(i, (a, b))| work(first + i * BLOCK, a, b));
    };
    if a.len() >= PARALLEL {
        let parts = a.chunks_mut(4 * BLOCK).zip(b.chunks_mut(4 * BLOCK)).enumerate().collect();
        hand_out(parts, |(i, (a, b))| blocks(i * 4 * BLOCK, a, b));
    } else {
        blocks(0, a, b);
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
        let parts: Vec<_> = values.chunks_mut(row * together).enumerate().collect();
        hand_out(parts, |(p, values)| {
            for (i, values) in values.chunks_mut(row).enumerate() {
                work(p * together + i, values);
            }
        });
    } else {
        values.chunks_mut(row).enumerate().for_each(|(i, values)| work(i, values));
    }
}

/// Calls `work` for each task: every thread takes a stretch of neighbouring tasks first, then what others left.
///
/// Steps that hand out alike tasks in the same order so find most of what they read in their own core's cache.
pub(super) fn hand_out<T: Send>(tasks: Vec<T>, work: impl Fn(T) + Sync) {
    let (count, threads) = (tasks.len(), rayon::current_num_threads());
    let tasks: Vec<_> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
    (0..threads).into_par_iter().with_max_len(1).for_each(|thread| {
        let own = count * thread / threads..count * (thread + 1) / threads;
        let others = tasks[own.end..].iter().rev().chain(tasks[..own.start].iter().rev());
        for task in tasks[own].iter().chain(others) {
            // Work never runs while the lock is held, so that a panic in it poisons nothing.
            let task = task.lock().unwrap_or_else(PoisonError::into_inner).take();
            task.into_iter().for_each(&work);
        }
    });
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
