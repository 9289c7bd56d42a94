//! Depthwise and other thin convolutions, whose columns hardly any channels share: each output line sums shifted lines.

use std::ops::Range;

use pulp::Simd;

use super::blocks::{for_rows, is_large};
use super::linear::Call;
use super::operand::part_of;
use super::phases::{AxisPhase, axis_phases};
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::{Direction, Part};

/// A [`Call`] whose output planes are computed one by one.
pub(super) struct Thin<'a, T> {
    pub(super) call: &'a Call<'a, T>,
    pub(super) direction: Direction,
    /// For each term, `M × C/groups × taps`.
    pub(super) weights: Vec<&'a [T]>,
}

/// What all planes share.
struct Shape<'a> {
    zs: &'a [AxisPhase],
    ys: &'a [AxisPhase],
    xs: Vec<LinePhase<'a>>,
    source: [usize; 3],
    kernel: [usize; 3],
    output: [usize; 3],
}

/// A plane of the output while it is summed.
struct Plane<'a, 'b, T> {
    thin: &'a Thin<'b, T>,
    shape: &'a Shape<'a>,
    /// Sample · channels + channel.
    at: usize,
    sums: &'a mut [T],
}

impl<T: Vector> Thin<'_, T> {
    /// Runs the step.
    pub(super) fn run(&self, output: &mut [T]) {
        let (g, sliding) = (&self.call.geometry, &self.call.sliding);
        let (source, output_size) = match self.direction {
            Direction::Forward => (sliding.input, sliding.output),
            Direction::Adjoint => (sliding.output, sliding.input),
        };
        let [zs, ys, xs] = [0, 1, 2].map(|axis| axis_phases(self.direction, sliding, axis));
        let xs = xs.iter().map(|x| LinePhase::new(x, source[2])).collect();
        let shape = Shape { zs: &zs, ys: &ys, xs, source, kernel: sliding.kernel, output: output_size };
        let plane = output_size.iter().product();
        for_rows(output, plane, is_large(g.multiply_adds()), |at, output| {
            let mut sums = self.call.scratch.lend_zeros(plane);
            dispatch(Plane { thin: self, shape: &shape, at, sums: &mut sums });
            self.call.finish.apply(at * plane, &mut sums, output);
        });
    }
}

impl<T: Vector> WithSimd for Plane<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (call, direction) = (self.thin.call, self.thin.direction);
        let (g, taps) = (&call.geometry, call.sliding.taps());
        let (m, c) = (g.out_channels / g.groups, g.in_channels / g.groups);
        let (rows, channels) = if direction == Direction::Forward { (m, c) } else { (c, m) };
        let (image, row) = (self.at / rows, self.at % rows);
        let shape = self.shape;
        let source_plane: usize = shape.source.iter().product();
        let step = shape.xs.first().map_or(1, |x| x.axis.step);
        let mut split = call.scratch.lend(source_plane);
        let mut line = call.scratch.lend(shape.output[2]);
        for (term, weights) in call.terms.iter().zip(&self.thin.weights) {
            for channel in 0..channels {
                let source = &term.source[(image * channels + channel) * source_plane..][..source_plane];
                let source = if step == 1 && term.part == Part::All {
                    source
                } else {
                    split_lines(source, shape.source[2], step, term.part, &mut split);
                    &split
                };
                let (m_at, c_at) = if direction == Direction::Forward { (row, channel) } else { (channel, row) };
                let weights = &weights[((image % g.groups * m + m_at) * c + c_at) * taps..][..taps];
                add_plane(shape, source, weights, self.sums, &mut line);
            }
        }
    }
}

/// Each line as its values at every step-th position from 0, then from 1, and so on, each of the wanted part.
#[inline(always)]
fn split_lines<T: Vector>(source: &[T], length: usize, step: usize, part: Part, split: &mut [T]) {
    for (source, split) in source.chunks_exact(length).zip(split.chunks_exact_mut(length)) {
        let mut rest = split;
        for first in 0..step.min(length) {
            let (these, after) = rest.split_at_mut((length - first).div_ceil(step));
            rest = after;
            for (y, x) in these.iter_mut().zip(source[first..].iter().step_by(step)) {
                *y = part_of(part, *x);
            }
        }
    }
}

/// A tap of a phase along the lines, on split lines: position j reads value `j + at` of the line, for j in `inside`.
struct LineTap {
    tap: usize,
    at: isize,
    inside: Range<usize>,
}

/// The taps of a phase along the lines.
struct LinePhase<'a> {
    axis: &'a AxisPhase,
    taps: Vec<LineTap>,
}

impl LinePhase<'_> {
    fn new(axis: &AxisPhase, length: usize) -> LinePhase<'_> {
        let step = axis.step as isize;
        let tap = |(tap, offset): &(usize, isize)| {
            // Position j reads j·step + offset = (j + skip)·step + first: value j + skip of the piece that begins at `first`.
            let (skip, first) = (offset.div_euclid(step), offset.rem_euclid(step) as usize);
            let piece = |first: usize| length.saturating_sub(first).div_ceil(axis.step);
            let before: usize = (0..first).map(piece).sum();
            let end = (piece(first) as isize - skip).clamp(0, axis.count as isize) as usize;
            let start = (-skip).clamp(0, end as isize) as usize;
            LineTap { tap: *tap, at: before as isize + skip, inside: start..end }
        };
        LinePhase { axis, taps: axis.taps.iter().map(tap).collect() }
    }
}

/// Adds what one source plane, its lines split, gives to a plane of the output.
#[inline(always)]
fn add_plane<T: Vector>(shape: &Shape, source: &[T], weights: &[T], sums: &mut [T], line: &mut [T]) {
    let Shape { zs, ys, xs, source: [depth, height, length], kernel, output } = shape;
    for (z, y) in zs.iter().flat_map(|z| ys.iter().map(move |y| (z, y))) {
        for (jz, jy) in (0..z.count).flat_map(|jz| (0..y.count).map(move |jy| (jz, jy))) {
            let row = ((z.start + jz * z.every) * output[1] + y.start + jy * y.every) * output[2];
            let row = &mut sums[row..][..output[2]];
            for x in xs {
                let whole = x.axis.every == 1;
                let line = &mut line[..x.axis.count];
                line.fill(T::ZERO);
                let target = if whole { &mut *row } else { &mut *line };
                for (kz, oz) in &z.taps {
                    for (ky, oy) in &y.taps {
                        // A negative coordinate becomes a huge unsigned one: it is outside.
                        let at_z = ((jz * z.step) as isize + oz) as usize;
                        let at_y = ((jy * y.step) as isize + oy) as usize;
                        if at_z < *depth && at_y < *height {
                            let source = &source[(at_z * height + at_y) * length..][..*length];
                            let weights = &weights[(kz * kernel[1] + ky) * kernel[2]..][..kernel[2]];
                            for taps in x.taps.chunks(3) {
                                match taps {
                                    [a, b, c] => add_taps([a, b, c], source, weights, target),
                                    [a, b] => add_taps([a, b], source, weights, target),
                                    [a] => add_taps([a], source, weights, target),
                                    _ => {}
                                }
                            }
                        }
                    }
                }
                if !whole {
                    for (y, sum) in row[x.axis.start..].iter_mut().step_by(x.axis.every).zip(line.iter()) {
                        *y += *sum;
                    }
                }
            }
        }
    }
}

/// Adds some taps of a line.
#[inline(always)]
fn add_taps<T: Vector, const N: usize>(taps: [&LineTap; N], source: &[T], weights: &[T], target: &mut [T]) {
    // Positions at which all taps are inside: one pass for all of them.
    let start = taps.iter().map(|t| t.inside.start).max().unwrap_or(0);
    let end = taps.iter().map(|t| t.inside.end).min().unwrap_or(0).max(start);
    let read = |t: &LineTap, j: usize| (j as isize + t.at) as usize;
    for t in taps {
        let weight = weights[t.tap];
        for j in (t.inside.start..t.inside.end.min(start)).chain(t.inside.start.max(end)..t.inside.end) {
            target[j] += weight * source[read(t, j)];
        }
    }
    if start < end {
        let lines = taps.map(|t| (weights[t.tap], &source[read(t, start)..][..end - start]));
        for (i, y) in target[start..end].iter_mut().enumerate() {
            for (weight, line) in &lines {
                *y += *weight * line[i];
            }
        }
    }
}
