//! Convolutions of few output channels a group, whose columns hardly any of them share: the gradient of an image above all.
//!
//! Lines of a source plane are copied with room for the padding, or, with a stride, once for each remainder of a position by
//! it. Then what a tap reads at all positions of a phase lies in one run, and all taps are summed at once for all output
//! channels. Between two lines the sums hold values that belong to no position; they are left out at the end.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::blocks::is_large;
use super::linear::Call;
use super::operand::part_of;
use super::phases::Phase;
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::{Direction, Part};

/// Most output channels of a group.
pub(super) const MOST_ROWS: usize = 3;

/// Registers of sums that are kept at once for each output channel.
const TOGETHER: usize = 4;

/// A [`Call`] whose groups have at most [`MOST_ROWS`] output channels.
pub(super) struct Thin<'a, T> {
    pub(super) call: &'a Call<'a, T>,
    pub(super) direction: Direction,
    pub(super) phases: &'a [Phase],
    /// For each term, `M × C/groups × taps`.
    pub(super) weights: Vec<&'a [T]>,
    /// Output channels and source channels of a group.
    pub(super) rows: usize,
    pub(super) channels: usize,
    /// Size of the step's output.
    pub(super) output: [usize; 3],
}

/// The copy along one axis: position i of remainder r is source position `(i + first)·step + r`.
#[derive(Clone, Copy)]
struct Padded {
    step: usize,
    first: isize,
    len: usize,
}

impl Padded {
    /// For the positions `steps` of every phase.
    fn new(phases: &[Phase], axis: usize, steps: &Range<usize>) -> Padded {
        let step = phases.first().map_or(1, |p| p.axes[axis].step);
        let axes = || phases.iter().map(|p| &p.axes[axis]);
        let skips = || axes().flat_map(|a| a.taps.iter().map(|(_, offset)| offset.div_euclid(step as isize)));
        let (first, last) = (skips().min().unwrap_or(0), skips().max().unwrap_or(0));
        Padded { step, first: first + steps.start as isize, len: steps.len() + (last - first) as usize }
    }
}

/// Lines of the output channels of a group.
struct Task<'a, T> {
    /// Sample · groups + group.
    at: usize,
    /// The lines, counted in steps of the phases.
    steps: Range<usize>,
    /// Where the lines begin in a plane.
    start: usize,
    /// The lines of each output channel.
    pieces: Vec<&'a mut [T]>,
}

impl<T: Vector> Thin<'_, T> {
    /// Runs the step.
    pub(super) fn run(&self, output: &mut [T]) {
        let [depth, height, width] = self.output;
        let plane = depth * height * width;
        let y = self.phases.first().map(|p| &p.axes[1]);
        let (every, steps) = y.map_or((1, 0), |y| (y.every, height.div_ceil(y.every)));
        let images = output.len() / (self.rows * plane);
        // Several layers stay together.
        let pieces = (4 * rayon::current_num_threads()).div_ceil(images);
        let cuts = if depth == 1 { pieces.clamp(1, steps.div_ceil(4).max(1)) } else { 1 };
        let mut tasks: Vec<Task<T>> = Vec::with_capacity(images * cuts);
        for (at, image) in output.chunks_mut(self.rows * plane).enumerate() {
            let first = tasks.len();
            tasks.extend((0..cuts).map(|i| {
                let steps = steps * i / cuts..steps * (i + 1) / cuts;
                let start = (steps.start * every).min(height) * width;
                Task { at, steps, start, pieces: Vec::with_capacity(self.rows) }
            }));
            for mut rest in image.chunks_mut(plane) {
                for task in &mut tasks[first..] {
                    let end = if depth == 1 { (task.steps.end * every).min(height) * width } else { plane };
                    let (piece, after) = rest.split_at_mut(end - task.start);
                    rest = after;
                    task.pieces.push(piece);
                }
            }
        }
        let run = |task: Task<T>| match self.rows {
            1 => self.task::<1>(task),
            2 => self.task::<2>(task),
            _ => self.task::<MOST_ROWS>(task),
        };
        if is_large(self.call.geometry.multiply_adds()) {
            tasks.into_par_iter().with_max_len(images.div_ceil(64)).for_each(run);
        } else {
            tasks.into_iter().for_each(run);
        }
    }

    fn task<const R: usize>(&self, mut task: Task<T>) {
        let [finish] = self.call.finishes.as_slice() else { return };
        let plane: usize = self.output.iter().product();
        let len = task.pieces.first().map_or(0, |piece| piece.len());
        let mut sums = self.call.scratch.lend(R * len);
        dispatch(Sums::<T, R> { thin: self, task: &task, sums: &mut sums });
        for (row, (piece, sums)) in task.pieces.iter_mut().zip(sums.chunks_mut(len.max(1))).enumerate() {
            finish.apply((task.at * self.rows + row) * plane + task.start, sums, piece);
        }
    }
}

/// The sums of a task: the lines of each output channel.
struct Sums<'a, 'b, T, const R: usize> {
    thin: &'a Thin<'b, T>,
    task: &'a Task<'b, T>,
    sums: &'a mut [T],
}

impl<T: Vector, const R: usize> WithSimd for Sums<'_, '_, T, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Sums { thin, task, sums: output } = self;
        let (call, phases) = (thin.call, thin.phases);
        let taps = call.sliding.taps();
        let (groups, channels) = (call.geometry.groups, thin.channels);
        // How many steps of the task each phase has along an axis.
        let steps = |phase: &Phase, axis: usize| match axis {
            1 if thin.output[0] == 1 => {
                task.steps.start.min(phase.axes[1].count)..task.steps.end.min(phase.axes[1].count)
            }
            _ => 0..phase.axes[axis].count,
        };
        let axes = [0, 1, 2].map(|axis| {
            let all = phases.iter().map(|p| steps(p, axis));
            let most = all.reduce(|a, b| if a.len() < b.len() { b } else { a }).unwrap_or(0..0);
            Padded::new(phases, axis, &most)
        });
        let [depth, height, length] = axes.map(|axis| axis.len);
        let [_, size_y, size_x] = axes.map(|axis| axis.step);
        let plane = depth * height * length;
        // Sums come in whole registers: the last ones read past the end, and belong to no position.
        let width = TOGETHER * T::lanes::<S>();
        let mut padded = call.scratch.lend(axes.iter().map(|axis| axis.step).product::<usize>() * plane + width);
        // For each phase its size, and for each of its output channels the sums.
        let sizes: Vec<[usize; 3]> = phases.iter().map(|p| [0, 1, 2].map(|axis| steps(p, axis).len())).collect();
        let lens: Vec<usize> = sizes
            .iter()
            .map(|[z, y, x]| if z * y * x == 0 { 0 } else { ((z - 1) * height + y - 1) * length + x })
            .map(|len: usize| len.next_multiple_of(width))
            .collect();
        let mut all = call.scratch.lend_zeros(R * lens.iter().sum::<usize>());
        let mut reads: Vec<([T; R], usize)> = Vec::with_capacity(taps);
        for (t, channel) in (0..call.terms.len()).flat_map(|t| (0..channels).map(move |channel| (t, channel))) {
            let (term, weights) = (&call.terms[t], thin.weights[t]);
            let source_len = phases.first().map_or(0, |p| p.source_len());
            let source = &term.source[(task.at * channels + channel) * source_len..];
            if let [first, ..] = phases {
                pad(source, first.source, &axes, term.part, &mut padded);
            }
            let mut rest = &mut all[..];
            for (phase, len) in phases.iter().zip(&lens) {
                let at = |axis: usize, offset: isize| {
                    let step = axes[axis].step as isize;
                    // Where the first step reads, the copy begins at `first`.
                    let first = axes[axis].first - steps(phase, axis).start as isize;
                    (offset.rem_euclid(step) as usize, (offset.div_euclid(step) - first) as usize)
                };
                reads.clear();
                reads.extend(phase.taps.iter().map(|(tap, [oz, oy, ox])| {
                    let ((rz, iz), (ry, iy), (rx, ix)) = (at(0, *oz), at(1, *oy), at(2, *ox));
                    let remainder = (rz * size_y + ry) * size_x + rx;
                    let weight = |row: usize| {
                        let group = task.at % groups;
                        let at = match thin.direction {
                            Direction::Forward => (group * thin.rows + row) * channels + channel,
                            Direction::Adjoint => (group * channels + channel) * thin.rows + row,
                        };
                        weights[at * taps + tap]
                    };
                    (std::array::from_fn(weight), remainder * plane + (iz * height + iy) * length + ix)
                }));
                let (sums, after) = rest.split_at_mut(R * len);
                rest = after;
                add_taps(simd, &padded, &reads, sums, *len);
            }
        }
        let (mut sums, pitch) = (&all[..], output.len() / R);
        let [_, lines, width] = thin.output;
        for ((phase, [count_z, count_y, count_x]), len) in phases.iter().zip(&sizes).zip(&lens) {
            let [z, y, x] = &phase.axes;
            let first = steps(phase, 1).start;
            for row in 0..R {
                for (jz, jy) in (0..*count_z).flat_map(|jz| (0..*count_y).map(move |jy| (jz, jy))) {
                    let line = (z.start + jz * z.every) * lines + y.start + (first + jy) * y.every;
                    let line = &mut output[row * pitch + line * width - task.start..][..width];
                    let sums = &sums[row * len + (jz * height + jy) * length..][..*count_x];
                    for (y, sum) in line[x.start..].iter_mut().step_by(x.every).zip(sums) {
                        *y = *sum;
                    }
                }
            }
            sums = &sums[R * len..];
        }
    }
}

/// Copies the part of a plane, with zeros around it.
#[inline(always)]
fn pad<T: Vector>(source: &[T], size: [usize; 3], axes: &[Padded; 3], part: Part, padded: &mut [T]) {
    let [z, y, x] = axes;
    let mut lines = padded.chunks_exact_mut(x.len);
    // Source position along an axis; a negative one becomes a huge unsigned one.
    let at = |axis: &Padded, i: usize, remainder: usize| {
        ((i as isize + axis.first) * axis.step as isize + remainder as isize) as usize
    };
    for (rz, ry, rx) in (0..z.step).flat_map(|z| (0..y.step).flat_map(move |y| (0..x.step).map(move |x| (z, y, x)))) {
        // Positions of a line that are inside.
        let start = ((-x.first).max(0) as usize).min(x.len);
        let end =
            (size[2].saturating_sub(rx).div_ceil(x.step) as isize - x.first).clamp(start as isize, x.len as isize);
        let end = end as usize;
        for (iz, iy) in (0..z.len).flat_map(|iz| (0..y.len).map(move |iy| (iz, iy))) {
            let Some(line) = lines.next() else { return };
            let (at_z, at_y) = (at(z, iz, rz), at(y, iy, ry));
            if at_z >= size[0] || at_y >= size[1] || start == end {
                line.fill(T::ZERO);
                continue;
            }
            line[..start].fill(T::ZERO);
            line[end..].fill(T::ZERO);
            let source = &source[(at_z * size[1] + at_y) * size[2]..][at(x, start, rx)..size[2]];
            let line = &mut line[start..end];
            match (x.step, part) {
                (1, Part::All) => line.copy_from_slice(&source[..line.len()]),
                (1, _) => line.iter_mut().zip(source).for_each(|(y, x)| *y = part_of(part, *x)),
                (step, _) => line.iter_mut().zip(source.iter().step_by(step)).for_each(|(y, x)| *y = part_of(part, *x)),
            }
        }
    }
}

/// Adds `weight · padded[j + from]` to sum j of each output channel, for every one of `reads`; the channels lie `len`,
/// a number of whole registers, apart.
#[inline(always)]
fn add_taps<T: Vector, S: Simd, const R: usize>(
    simd: S,
    padded: &[T],
    reads: &[([T; R], usize)],
    sums: &mut [T],
    len: usize,
) {
    let lanes = T::lanes::<S>();
    let width = TOGETHER * lanes;
    for first in (0..len).step_by(width) {
        let mut acc = [[T::splat(simd, T::ZERO); TOGETHER]; R];
        for (acc, row) in acc.iter_mut().zip(sums.chunks_exact(len)) {
            let (row, _) = T::split::<S>(&row[first..][..width]);
            acc.iter_mut().zip(row).for_each(|(acc, y)| *acc = *y);
        }
        for (weights, from) in reads {
            let (line, _) = pulp::as_arrays::<TOGETHER, _>(T::split::<S>(&padded[from + first..][..width]).0);
            acc = add_products(simd, acc, weights, &line[0]);
        }
        for (acc, row) in acc.iter().zip(sums.chunks_exact_mut(len)) {
            let (row, _) = T::split_mut::<S>(&mut row[first..][..width]);
            row.iter_mut().zip(acc).for_each(|(y, acc)| *y = *acc);
        }
    }
}

/// Adds the products of each weight with the registers of a line. The sums come and go by value: so they stay in registers.
#[inline(always)]
fn add_products<T: Vector, S: Simd, const R: usize>(
    simd: S,
    mut acc: [[T::Lanes<S>; TOGETHER]; R],
    weights: &[T; R],
    line: &[T::Lanes<S>; TOGETHER],
) -> [[T::Lanes<S>; TOGETHER]; R] {
    for (acc, weight) in acc.iter_mut().zip(weights) {
        let weight = T::splat(simd, *weight);
        for (acc, x) in acc.iter_mut().zip(line) {
            *acc = T::mul_add(simd, weight, *x, *acc);
        }
    }
    acc
}
