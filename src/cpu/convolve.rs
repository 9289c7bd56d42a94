//! Convolutions and their adjoints as matrix products, phase by phase: `output = weights · columns`.

use std::ops::Range;

use rayon::prelude::*;

use super::columns::{Columns, Reads};
use super::linear::Call;
use super::memory::Loan;
use super::panels::{DEPTH, ROWS, Tiles, WeightPanels, panel_width};
use super::phases::Phase;
use super::vector::{Vector, dispatch};

/// A [`Call`] as a matrix product for each phase, sample and group.
pub(super) struct Convolution<'a, T> {
    pub(super) call: &'a Call<'a, T>,
    pub(super) phases: &'a [Phase],
    /// For each product, for each term.
    pub(super) weights: Vec<Vec<&'a WeightPanels<T>>>,
    /// Output channels of a group.
    pub(super) rows: usize,
    /// Source channels of a group.
    pub(super) channels: usize,
    /// Size of the step's output.
    pub(super) output: [usize; 3],
}

/// What one task computes: some rows of some positions, for a sample and group.
struct Task<'a, T> {
    /// Sample · groups + group.
    at: usize,
    rows: Range<usize>,
    positions: Range<usize>,
    /// The positions' piece of each row of the output.
    pieces: Vec<&'a mut [T]>,
}

impl<T: Vector> Convolution<'_, T> {
    /// Runs the step.
    pub(super) fn run(&self, output: &mut [T]) {
        let threads = rayon::current_num_threads();
        let images = self.call.geometry.batch * self.call.geometry.groups;
        // As many blocks as their width asks for, the same number for every thread.
        let mut blocks = self.plane().div_ceil(self.width());
        if images * blocks < 8 * threads {
            blocks = (images * blocks).next_multiple_of(threads).div_ceil(images);
        }
        let cuts = self.cuts(blocks);
        let blocks = cuts.len() - 1;
        if self.phases.len() > 1 {
            let chunks = (2 * threads).div_ceil(images * blocks);
            let together = self.rows.div_ceil(chunks).next_multiple_of(ROWS);
            self.tasks(output, together, &cuts).into_par_iter().for_each(|task| self.interleave(task));
        } else if images * blocks >= 2 * threads || self.rows <= 2 * ROWS {
            self.tasks(output, self.rows, &cuts).into_par_iter().for_each(|task| self.block(task));
        } else {
            self.shared(output, threads);
        }
    }

    fn plane(&self) -> usize {
        self.output.iter().product()
    }

    /// The plane in at most `blocks` blocks of about the same size, each of whole units, as their borders.
    fn cuts(&self, blocks: usize) -> Vec<usize> {
        let (plane, unit) = (self.plane(), self.unit());
        let units = plane.div_ceil(unit);
        let blocks = blocks.clamp(1, units);
        (0..=blocks).map(|i| (i * units / blocks * unit).min(plane)).collect()
    }

    /// Positions that a block has a multiple of: whole panels, or, where phases alternate, lines that belong together.
    fn unit(&self) -> usize {
        let [_, height, width] = self.output;
        match self.phases {
            [_] => panel_width::<T>(),
            [first, ..] if self.output[0] == 1 => first.axes[1].every * width,
            [first, ..] => first.axes[0].every * height * width,
            [] => 1,
        }
    }

    /// Positions of a block: its columns and sums stay in the second-level cache, but weights are read for many.
    fn width(&self) -> usize {
        let deepest = self.phases.iter().map(|p| p.taps.len()).max().unwrap_or(1) * self.channels;
        let columns = 48 * 1024 / deepest.clamp(1, DEPTH);
        let sums = 256 * 1024 / self.rows;
        columns.min(sums).clamp(48, 1024) * self.phases.len()
    }

    /// Channels whose columns are summed at once.
    fn step(&self, phase: &Phase) -> usize {
        (DEPTH / phase.taps.len().max(1)).max(1)
    }

    /// Cuts the output into tasks of `together` rows and the positions between two cuts.
    fn tasks<'o>(&self, output: &'o mut [T], together: usize, cuts: &[usize]) -> Vec<Task<'o, T>> {
        let plane = self.plane();
        let mut tasks: Vec<Task<T>> = Vec::new();
        for (at, image) in output.chunks_mut(self.rows * plane).enumerate() {
            for (i, rows) in image.chunks_mut(together * plane).enumerate() {
                let first = tasks.len();
                let range = i * together..i * together + rows.len() / plane;
                tasks.extend(cuts.windows(2).map(|cut| Task {
                    at,
                    rows: range.clone(),
                    positions: cut[0]..cut[1],
                    pieces: Vec::with_capacity(range.len()),
                }));
                for row in rows.chunks_mut(plane) {
                    let mut rest = row;
                    for task in &mut tasks[first..] {
                        let (piece, after) = rest.split_at_mut(task.positions.len());
                        rest = after;
                        task.pieces.push(piece);
                    }
                }
            }
        }
        tasks
    }

    /// The planes that the group `at` of a term reads.
    fn source(&self, term: usize, at: usize) -> &[T] {
        let len = self.channels * self.phases[0].source_len();
        &self.call.terms[term].source[at * len..][..len]
    }

    /// The weights of some rows of a group.
    fn weights(&self, product: usize, term: usize, phase: usize, at: usize, rows: &Range<usize>) -> &[T] {
        let depth = self.channels * self.phases[phase].taps.len();
        let all = self.weights[product][term].of(phase, at % self.call.geometry.groups);
        &all[rows.start / ROWS * ROWS * depth..rows.end.div_ceil(ROWS) * ROWS * depth]
    }

    /// Room for the sums of each product.
    fn room(&self, len: usize) -> Vec<Loan<'_, T>> {
        self.weights.iter().map(|_| self.call.scratch.lend(len)).collect()
    }

    /// For each product, the sums of some rows and positions of a phase, rows and columns rounded up to whole panels.
    fn sums(&self, phase: usize, at: usize, rows: &Range<usize>, positions: Range<usize>) -> Vec<Loan<'_, T>> {
        let panel = panel_width::<T>();
        let columns = positions.len();
        let pitch = columns.next_multiple_of(panel);
        let taps = self.phases[phase].taps.len();
        let mut sums = self.room(rows.len().next_multiple_of(ROWS) * pitch);
        if taps == 0 {
            sums.iter_mut().for_each(|sums| sums.fill(T::ZERO));
            return sums;
        }
        let step = self.step(&self.phases[phase]);
        let plane = self.phases[phase].source_len();
        let reads = &Reads::new(&self.phases[phase], positions, panel);
        let mut panels = self.call.scratch.lend(step.min(self.channels) * taps * pitch);
        for (t, term) in self.call.terms.iter().enumerate() {
            for first in (0..self.channels).step_by(step) {
                let channels = first..(first + step).min(self.channels);
                let depth = channels.len() * taps;
                let panels = &mut panels[..depth * pitch];
                let (source, part) = (self.source(t, at), term.part);
                dispatch(Columns { reads, taps, plane, source, part, channels, panels });
                for (product, sums) in sums.iter_mut().enumerate() {
                    dispatch(Tiles {
                        a: self.weights(product, t, phase, at, rows),
                        a_depth: self.channels * taps,
                        a_first: first * taps,
                        b: panels,
                        b_depth: depth,
                        b_first: 0,
                        depth,
                        columns,
                        sums,
                        add: t > 0 || first > 0,
                    });
                }
            }
        }
        sums
    }

    /// A block of positions of the only phase.
    fn block(&self, mut task: Task<T>) {
        let mut sums = self.sums(0, task.at, &task.rows, task.positions.clone());
        let pitch = task.positions.len().next_multiple_of(panel_width::<T>());
        self.finish(&mut task, &mut sums, pitch);
    }

    /// Ends the sums of a task; row r and position p of each product's lie at `r·pitch + p`.
    fn finish(&self, task: &mut Task<T>, sums: &mut [Loan<T>], pitch: usize) {
        let columns = task.positions.len();
        for (r, piece) in task.pieces.iter_mut().enumerate() {
            let start = (task.at * self.rows + task.rows.start + r) * self.plane() + task.positions.start;
            for (finish, sums) in self.call.finishes.iter().zip(sums.iter_mut()) {
                finish.apply(start, &mut sums[r * pitch..][..columns], piece);
            }
        }
    }

    /// Whole lines, to which several phases contribute in turn.
    fn interleave(&self, mut task: Task<T>) {
        let [_, height, width] = self.output;
        let (start, columns) = (task.positions.start, task.positions.len());
        let mut all = self.room(task.rows.len() * columns);
        for (i, phase) in self.phases.iter().enumerate() {
            let [z, y, x] = &phase.axes;
            // The phase's lines among those of the task: where the task spans several layers, whole ones.
            let (first, end) = (start / width, task.positions.end / width);
            let lines = if self.output[0] == 1 {
                let before = |line: usize| line.saturating_sub(y.start).div_ceil(y.every).min(y.count);
                before(first)..before(end)
            } else {
                let before = |layer: usize| layer.saturating_sub(z.start).div_ceil(z.every).min(z.count) * y.count;
                before(first / height)..before(end / height)
            };
            // As many lines at a time as a block has positions.
            let together = (self.width() / self.phases.len() / x.count).max(1);
            for from in lines.clone().step_by(together) {
                let some = from..(from + together).min(lines.end);
                let positions = some.start * x.count..some.end * x.count;
                let pitch = positions.len().next_multiple_of(panel_width::<T>());
                let sums = self.sums(i, task.at, &task.rows, positions);
                for (sums, all) in sums.iter().zip(&mut all) {
                    for (sums, row) in sums.chunks(pitch).zip(all.chunks_mut(columns)) {
                        for (line, sums) in some.clone().zip(sums.chunks(x.count)) {
                            let at_z = z.start + line / y.count * z.every;
                            let at_y = y.start + line % y.count * y.every;
                            let row = &mut row[(at_z * height + at_y) * width - start..][..width];
                            for (y, sum) in row[x.start..].iter_mut().step_by(x.every).zip(sums) {
                                *y = *sum;
                            }
                        }
                    }
                }
            }
        }
        self.finish(&mut task, &mut all, columns);
    }

    /// For few and deep blocks: all threads make the columns of an image, then share out its rows.
    fn shared(&self, output: &mut [T], threads: usize) {
        let (phase, panel) = (&self.phases[0], panel_width::<T>());
        let (taps, plane) = (phase.taps.len(), self.plane());
        let depth = self.channels * taps;
        let pitch = plane.next_multiple_of(panel);
        let mut filled: Vec<_> = self.call.terms.iter().map(|_| self.call.scratch.lend(depth * pitch)).collect();
        let together = self.rows.div_ceil(4 * threads).next_multiple_of(ROWS);
        for (at, image) in output.chunks_mut(self.rows * plane).enumerate() {
            for (t, (term, panels)) in self.call.terms.iter().zip(&mut filled).enumerate() {
                let source = self.source(t, at);
                panels.par_chunks_mut((depth * panel).max(1)).enumerate().for_each(|(i, panels)| {
                    let reads = &Reads::new(phase, i * panel..((i + 1) * panel).min(plane), panel);
                    let (plane, channels) = (phase.source_len(), 0..self.channels);
                    dispatch(Columns { reads, taps, plane, source, part: term.part, channels, panels });
                });
            }
            image.par_chunks_mut(together * plane).enumerate().for_each(|(i, image)| {
                let rows = i * together..i * together + image.len() / plane;
                let mut sums = self.room(rows.len().next_multiple_of(ROWS) * pitch);
                for (product, sums) in sums.iter_mut().enumerate() {
                    if taps == 0 {
                        sums.fill(T::ZERO);
                    }
                    for (t, panels) in filled.iter().enumerate() {
                        let step = self.step(phase) * taps;
                        for first in (0..depth).step_by(step.max(1)) {
                            dispatch(Tiles {
                                a: self.weights(product, t, 0, at, &rows),
                                a_depth: depth,
                                a_first: first,
                                b: panels,
                                b_depth: depth,
                                b_first: first,
                                depth: step.min(depth - first),
                                columns: plane,
                                sums,
                                add: t > 0 || first > 0,
                            });
                        }
                    }
                }
                let mut task =
                    Task { at, rows, positions: 0..plane, pieces: image.chunks_mut(plane).collect::<Vec<_>>() };
                self.finish(&mut task, &mut sums, pitch);
            });
        }
    }
}
