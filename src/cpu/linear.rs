//! What the two linear kernels share: their operands, their epilogue, and the products that need no columns.

use rayon::prelude::*;

use super::columns::{block_width, gather};
use super::finish::Finish;
use super::memory::{Memory, Scratch};
use super::operand::{negative, positive};
use super::product::{Matrix, product};
use crate::plan::{Geometry, Linear, Part, Sliding};
use crate::tensor::Real;

/// Fewer tasks than this are split further. A constant, so that sums do not depend on the number of threads.
pub(super) const TASKS: usize = 16;

/// A [`Linear`] step with its operands at hand.
pub(super) struct Call<'a, T> {
    pub(super) geometry: Geometry,
    pub(super) sliding: Sliding,
    pub(super) terms: Vec<TermValues<'a, T>>,
    pub(super) finish: Finish<'a, T>,
    pub(super) scratch: &'a Scratch<T>,
}

/// A term's values.
pub(super) struct TermValues<'a, T> {
    pub(super) source: &'a [T],
    pub(super) part: Part,
    pub(super) weight: &'a [T],
}

impl<'a, T: Real> Call<'a, T> {
    /// `plane` and `channels` are those of the step's output; `weight(i)` gives the prepared weights of term i.
    pub(super) fn new(
        step: &Linear,
        plane: usize,
        channels: usize,
        weight: impl Fn(usize) -> &'a [T],
        memory: &'a Memory<T>,
        scratch: &'a Scratch<T>,
    ) -> Call<'a, T> {
        let terms = step.terms.iter().enumerate();
        let terms = terms.map(|(i, t)| TermValues { source: memory.real(t.source), part: t.part, weight: weight(i) });
        Call {
            geometry: step.geometry,
            sliding: Sliding::from(&step.geometry),
            terms: terms.collect(),
            finish: Finish::new(&step.epilogue, plane, channels, memory),
            scratch,
        }
    }

    /// Whether the step is a dense layer: every sample is a row of a matrix.
    pub(super) fn is_dense(&self) -> bool {
        self.geometry.groups == 1 && self.geometry.is_pointwise() && self.geometry.input == [1; 3]
    }

    /// Whether loops over the taps beat a matrix product: hardly any output channel shares a column.
    pub(super) fn is_thin(&self) -> bool {
        let g = &self.geometry;
        g.out_channels / g.groups < 4 && (g.groups > 1 || !g.is_pointwise())
    }
}

/// How the weights of one group are read as a matrix.
#[derive(Clone, Copy)]
pub(super) struct WeightMatrix {
    /// Output channels of the product.
    pub(super) rows: usize,
    /// Values that are summed.
    pub(super) depth: usize,
    /// Step from one row to the next.
    pub(super) row: usize,
    /// Step from one summand to the next.
    pub(super) column: usize,
}

/// A block of columns of a matrix, as the piece of each row.
fn column_blocks<T>(matrix: &mut [T], columns: usize, width: usize) -> Vec<Vec<&mut [T]>> {
    let mut blocks: Vec<Vec<&mut [T]>> = (0..columns.div_ceil(width)).map(|_| Vec::new()).collect();
    for row in matrix.chunks_mut(columns) {
        for (block, piece) in blocks.iter_mut().zip(row.chunks_mut(width)) {
            block.push(piece);
        }
    }
    blocks
}

/// A dense layer: one product over all samples, `Y[n, m] = Σ_k X[n, k] · W(m, k)`.
pub(super) fn dense<T: Real>(call: &Call<T>, weight: WeightMatrix, output: &mut [T]) {
    /// Samples of a task.
    const SAMPLES: usize = 256;
    let WeightMatrix { rows: outputs, depth, row, column } = weight;
    let parts: Vec<_> = call.terms.iter().map(|t| part_copy(call, t.source, t.part)).collect();
    let samples = call.geometry.batch;
    let width = if row == 1 {
        // Tasks read a piece of every row of the weights: pieces should span several pages of memory.
        outputs.div_ceil(TASKS).max(4096)
    } else if samples <= 16 {
        // Up to 16² results are computed as dot products, without packing weights that are used once.
        256 / samples
    } else {
        outputs.div_ceil(TASKS).max(64)
    };
    let mut tasks = Vec::new();
    for (i, samples) in output.chunks_mut(SAMPLES * outputs).enumerate() {
        let blocks = column_blocks(samples, outputs, width).into_iter().enumerate();
        tasks.extend(blocks.map(|(j, pieces)| (i * SAMPLES, j * width, pieces)));
    }
    tasks.into_par_iter().for_each(|(sample, first, mut pieces)| {
        let (samples, width) = (pieces.len(), pieces.first().map_or(0, |p| p.len()));
        let mut acc = call.scratch.lend(samples * width);
        for (t, (term, part)) in call.terms.iter().zip(&parts).enumerate() {
            let source = part.as_deref().unwrap_or(term.source);
            let a = Matrix { values: &source[sample * depth..], row: depth, column: 1 };
            let b = Matrix { values: term.weight, row: column, column: row }.skip_columns(first);
            product(samples, depth, width, a, b, t > 0, &mut acc);
        }
        for (i, (acc, piece)) in acc.chunks_mut(width).zip(&mut pieces).enumerate() {
            call.finish.apply((sample + i) * outputs + first, acc, piece);
        }
    });
}

/// A copy of the part of a source, unless it is all of it.
fn part_copy<'a, T: Real>(call: &Call<'a, T>, source: &[T], part: Part) -> Option<super::memory::Loan<'a, T>> {
    let part: fn(T) -> T = match part {
        Part::All => return None,
        Part::Positive => positive,
        Part::Negative => negative,
    };
    let mut copy = call.scratch.lend(source.len());
    for (y, x) in copy.iter_mut().zip(source) {
        *y = part(*x);
    }
    Some(copy)
}

/// For each sample and group, `output = weights · columns`, in blocks of positions.
///
/// A row of the columns is a tap of a channel; where there is one tap at stride 1 without padding, they are the source
/// itself.
pub(super) fn weights_by_columns<T: Real>(call: &Call<T>, weight: WeightMatrix, plane: usize, output: &mut [T]) {
    let WeightMatrix { rows, depth, row, column } = weight;
    let groups = call.geometry.groups;
    let in_place = call.geometry.is_pointwise();
    let source_group = depth / call.sliding.taps() * if in_place { plane } else { call.sliding.input_len() };
    let width = block_width(plane, depth, rows);
    let mut tasks = Vec::new();
    for (i, group) in output.chunks_mut(rows * plane).enumerate() {
        let blocks = column_blocks(group, plane, width).into_iter().enumerate();
        tasks.extend(blocks.map(|(j, pieces)| (i, j * width, pieces)));
    }
    // Few tasks: several threads share one.
    let few = tasks.len() < TASKS;
    let rows_together = if few { rows.div_ceil(8).next_multiple_of(8).max(64) } else { rows };
    let fill_together = if few { depth.div_ceil(8) } else { depth };

    tasks.into_par_iter().for_each(|(i, start, mut pieces)| {
        let group = i % groups;
        let width = pieces.first().map_or(0, |p| p.len());
        let filled: Vec<_> = call
            .terms
            .iter()
            .map(|term| {
                let source = &term.source[i * source_group..][..source_group];
                (!in_place || term.part != Part::All).then(|| {
                    let mut columns = call.scratch.lend(depth * width);
                    columns.par_chunks_mut(fill_together * width).enumerate().for_each(|(j, columns)| {
                        let positions = start..start + width;
                        gather(&call.sliding, source, term.part, j * fill_together, positions, columns);
                    });
                    columns
                })
            })
            .collect();
        let mut acc = call.scratch.lend(rows * width);
        let parts = acc.par_chunks_mut(rows_together * width).zip(pieces.par_chunks_mut(rows_together));
        parts.enumerate().for_each(|(j, (acc, pieces))| {
            let first = j * rows_together;
            for (t, (term, columns)) in call.terms.iter().zip(&filled).enumerate() {
                let values = &term.weight[group * rows * depth..][..rows * depth];
                let a = Matrix { values, row, column }.skip_rows(first);
                let b = match columns {
                    Some(columns) => Matrix { values: columns, row: width, column: 1 },
                    None => {
                        let values = &term.source[i * source_group..][..source_group];
                        Matrix { values, row: plane, column: 1 }.skip_columns(start)
                    }
                };
                product(pieces.len(), depth, width, a, b, t > 0, acc);
            }
            for (r, (acc, piece)) in acc.chunks_mut(width).zip(pieces).enumerate() {
                call.finish.apply((i * rows + first + r) * plane + start, acc, piece);
            }
        });
    });
}
