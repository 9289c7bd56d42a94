//! Dense layers: `Y[n, m] = Σ_k X[n, k] · W(m, k)`, W read where it lies.
//!
//! For few samples the time goes into reading W, so both directions read it once and in order: forward as dot products of
//! its rows, the adjoint as sums of its rows. For many samples both factors are packed into panels.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::linear::{Call, part_copy};
use super::panels::{DEPTH, ROWS, Tiles, panel_width};
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::Direction;

/// More samples than this are worth packing W for.
const FEW: usize = 32;

/// Rows of W that are read at once.
const TOGETHER: usize = 4;

/// A [`Call`] as one matrix product over all samples.
pub(super) struct Dense<'a, T> {
    pub(super) call: &'a Call<'a, T>,
    pub(super) direction: Direction,
    /// For each term, W: `M × C`.
    pub(super) weights: Vec<&'a [T]>,
}

/// A block of columns of the output, as its piece of each row.
fn column_blocks<T>(matrix: &mut [T], columns: usize, width: usize) -> Vec<Vec<&mut [T]>> {
    let mut blocks: Vec<Vec<&mut [T]>> = (0..columns.div_ceil(width)).map(|_| Vec::new()).collect();
    for row in matrix.chunks_mut(columns) {
        for (block, piece) in blocks.iter_mut().zip(row.chunks_mut(width)) {
            block.push(piece);
        }
    }
    blocks
}

impl<T: Vector> Dense<'_, T> {
    /// Runs the step.
    pub(super) fn run(&self, output: &mut [T]) {
        let [finish] = self.call.finishes.as_slice() else { return };
        let g = &self.call.geometry;
        let (outputs, depth) = match self.direction {
            Direction::Forward => (g.out_channels, g.in_channels),
            Direction::Adjoint => (g.in_channels, g.out_channels),
        };
        let sources: Vec<_> = self.call.terms.iter().map(|t| part_copy(self.call, t.source, t.part)).collect();
        let source = |t: usize| sources[t].as_deref().unwrap_or(self.call.terms[t].source);
        let few = g.batch <= FEW;
        // Samples of a task.
        let together = if few { g.batch } else { 768 };
        let tasks = if few { 4 } else { 2 } * rayon::current_num_threads();
        let width = match self.direction {
            // Pieces of W's rows should span several pages of memory.
            Direction::Adjoint if few => outputs.div_ceil(tasks).max(1024),
            _ => outputs.div_ceil(tasks).max(4 * TOGETHER),
        };
        let width = width.next_multiple_of(panel_width::<T>()).min(outputs);
        let mut blocks = Vec::new();
        for (i, samples) in output.chunks_mut(together * outputs).enumerate() {
            let pieces = column_blocks(samples, outputs, width).into_iter().enumerate();
            blocks.extend(pieces.map(|(j, pieces)| (i * together, j * width, pieces)));
        }
        blocks.into_par_iter().for_each(|(sample, first, mut pieces)| {
            let (samples, width) = (pieces.len(), pieces.first().map_or(0, |p| p.len()));
            let mut sums = self.call.scratch.lend_zeros(samples * width);
            for (t, weights) in self.weights.iter().enumerate() {
                let x = &source(t)[sample * depth..][..samples * depth];
                let columns = first..first + width;
                match self.direction {
                    _ if !few => self.packed(x, weights, depth, columns, &mut sums),
                    Direction::Forward => dispatch(Dots { x, depth, weights, columns, sums: &mut sums }),
                    Direction::Adjoint => dispatch(Rows { x, depth, weights, all: outputs, columns, sums: &mut sums }),
                }
            }
            for (i, (sums, piece)) in sums.chunks_mut(width).zip(&mut pieces).enumerate() {
                finish.apply((sample + i) * outputs + first, sums, piece);
            }
        });
    }

    /// Adds `X · Wᵀ`, or `X · W` for the adjoint, with both factors packed.
    fn packed(&self, x: &[T], weights: &[T], depth: usize, columns: Range<usize>, sums: &mut [T]) {
        let (samples, width, panel) = (x.len() / depth, columns.len(), panel_width::<T>());
        let pitch = width.next_multiple_of(panel);
        let all = weights.len() / depth;
        let mut a = self.call.scratch.lend(samples.next_multiple_of(ROWS) * DEPTH);
        let mut b = self.call.scratch.lend(pitch * DEPTH);
        let mut product = self.call.scratch.lend(samples.next_multiple_of(ROWS) * pitch);
        for from in (0..depth).step_by(DEPTH) {
            let some = from..(from + DEPTH).min(depth);
            let a = &mut a[..samples.next_multiple_of(ROWS) * some.len()];
            let b = &mut b[..pitch * some.len()];
            for (i, panel) in a.chunks_mut(ROWS * some.len()).enumerate() {
                let rows: [Option<&[T]>; ROWS] =
                    std::array::from_fn(|r| x.chunks(depth).nth(i * ROWS + r).map(|row| &row[some.clone()]));
                if let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)] = rows {
                    let lines = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
                    for (values, (((((a, b), c), d), e), f)) in panel.chunks_exact_mut(ROWS).zip(lines) {
                        values.copy_from_slice(&[*a, *b, *c, *d, *e, *f]);
                    }
                } else {
                    for (r, row) in rows.iter().enumerate() {
                        for (k, values) in panel.chunks_mut(ROWS).enumerate() {
                            values[r] = row.map_or(T::ZERO, |row| row[k]);
                        }
                    }
                }
            }
            for (j, values) in b.chunks_mut(panel * some.len()).enumerate() {
                let first = columns.start + j * panel;
                let count = panel.min(columns.end - first);
                match self.direction {
                    Direction::Adjoint => {
                        for (k, values) in values.chunks_mut(panel).enumerate() {
                            values[count..].fill(T::ZERO);
                            values[..count].copy_from_slice(&weights[(some.start + k) * all + first..][..count]);
                        }
                    }
                    Direction::Forward => {
                        values.fill(T::ZERO);
                        for m in 0..count {
                            let row = &weights[(first + m) * depth..][some.clone()];
                            for (y, x) in values[m..].iter_mut().step_by(panel).zip(row) {
                                *y = *x;
                            }
                        }
                    }
                }
            }
            dispatch(Tiles {
                a,
                a_depth: some.len(),
                a_first: 0,
                b,
                b_depth: some.len(),
                b_first: 0,
                depth: some.len(),
                columns: width,
                sums: &mut product,
                add: from > 0,
            });
        }
        for (sums, product) in sums.chunks_mut(width).zip(product.chunks(pitch)) {
            for (y, x) in sums.iter_mut().zip(product) {
                *y += *x;
            }
        }
    }
}

/// Adds dot products of rows of W with each sample.
struct Dots<'a, T> {
    x: &'a [T],
    depth: usize,
    weights: &'a [T],
    /// Rows of W.
    columns: Range<usize>,
    /// Samples × columns.
    sums: &'a mut [T],
}

impl<T: Vector> WithSimd for Dots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        /// Depth of a piece: pieces of a few samples stay in the first-level cache.
        const PIECE: usize = 2048;
        let width = self.columns.len();
        for from in (0..self.depth).step_by(PIECE) {
            let piece = from..(from + PIECE).min(self.depth);
            for first in (0..width).step_by(TOGETHER) {
                let rows = TOGETHER.min(width - first);
                // Past the last row, the last one again: its sums are not stored.
                let row = |i: usize| {
                    let row = self.columns.start + first + i.min(rows - 1);
                    &self.weights[row * self.depth..][piece.clone()]
                };
                let w: [&[T]; TOGETHER] = std::array::from_fn(row);
                for (n, x) in self.x.chunks_exact(self.depth).enumerate() {
                    let dots = dots(simd, &x[piece.clone()], w);
                    for (y, dot) in self.sums[n * width + first..][..rows].iter_mut().zip(dots) {
                        *y += dot;
                    }
                }
            }
        }
    }
}

/// Dot products of one vector with several.
#[inline(always)]
fn dots<T: Vector, S: Simd>(simd: S, x: &[T], w: [&[T]; TOGETHER]) -> [T; TOGETHER] {
    let (xs, x_rest) = T::split::<S>(x);
    let (pairs, x_last) = pulp::as_arrays::<2, _>(xs);
    let split = w.map(|w| T::split::<S>(w));
    let lines = split.map(|(w, _)| pulp::as_arrays::<2, _>(w));
    let zero = T::splat(simd, T::ZERO);
    let mut acc = [[zero; 2]; TOGETHER];
    let [a, b, c, d] = lines.map(|(w, _)| w);
    for ((((x, a), b), c), d) in pairs.iter().zip(a).zip(b).zip(c).zip(d) {
        for (acc, w) in acc.iter_mut().zip([a, b, c, d]) {
            acc[0] = T::mul_add(simd, x[0], w[0], acc[0]);
            acc[1] = T::mul_add(simd, x[1], w[1], acc[1]);
        }
    }
    std::array::from_fn(|i| {
        let mut sum = T::sum(simd, acc[i][0], acc[i][1]);
        for (x, w) in x_last.iter().zip(lines[i].1) {
            sum = T::mul_add(simd, *x, *w, sum);
        }
        let mut sum = T::reduce(simd, sum);
        for (x, w) in x_rest.iter().zip(split[i].1) {
            sum += *x * *w;
        }
        sum
    })
}

/// Adds rows of W, weighted by each sample.
struct Rows<'a, T> {
    x: &'a [T],
    depth: usize,
    weights: &'a [T],
    /// Length of a row of W.
    all: usize,
    /// Columns of W.
    columns: Range<usize>,
    /// Samples × columns.
    sums: &'a mut [T],
}

impl<T: Vector> WithSimd for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.columns.len();
        for first in (0..self.depth).step_by(TOGETHER) {
            let rows = TOGETHER.min(self.depth - first);
            // Past the last row, the last one with weight 0 would turn infinities into NaN: short blocks go one by one.
            if rows == TOGETHER {
                let row = |i: usize| &self.weights[(first + i) * self.all + self.columns.start..][..width];
                let [a, b, c, d]: [&[T]; TOGETHER] = std::array::from_fn(row);
                for (n, sums) in self.sums.chunks_exact_mut(width).enumerate() {
                    let x = &self.x[n * self.depth + first..][..TOGETHER];
                    for ((((y, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                        *y += x[0] * *a + x[1] * *b + x[2] * *c + x[3] * *d;
                    }
                }
            } else {
                for k in first..first + rows {
                    let row = &self.weights[k * self.all + self.columns.start..][..width];
                    for (n, sums) in self.sums.chunks_exact_mut(width).enumerate() {
                        let x = self.x[n * self.depth + k];
                        for (y, w) in sums.iter_mut().zip(row) {
                            *y += x * *w;
                        }
                    }
                }
            }
        }
    }
}
