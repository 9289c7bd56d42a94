//! Convolutions and their adjoints on blocked buffers: a tile is a few positions × a few blocks of output channels, and a
//! value of the source is multiplied with whole registers of weights. Nothing is rearranged: stride, padding, dilation and the
//! phases of strided adjoints only decide which positions are read.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::aligned::Aligned;
use super::blocks::hand_out;
use super::layout::Blocked;
use super::linear::Call;
use super::phases::Phase;
use super::tiles::{OUTSIDE, Read, Tiles, WIDEST};
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::{Direction, Geometry, Plan, Step};

/// Depth that is summed at once: the weights of a tile's blocks then stay in the second-level cache. A constant, since it
/// decides how sums are rounded.
const DEPTH: usize = 576;

/// Bytes of sums of a task.
const SUMS: usize = 128 * 1024;

/// Multiply-adds of a task at least.
const WORK: usize = 256 * 1024;

/// Channels of a block of `T`: those of a register.
pub(super) fn block_len<T: Vector>() -> usize {
    registers::<T>().0
}

/// Channels of a block for a plan; 1 leaves buffers row-major.
///
/// For each tap and block of channels a tile looks up what its positions read. With sixteen registers of eight floats that takes
/// half as long as the products: there `convolve` is faster, unless layers are depthwise.
pub(super) fn block_for<T: Vector>(plan: &Plan) -> usize {
    let (lanes, count) = registers::<T>();
    let depthwise = |step: &Step| matches!(step, Step::Linear(l) if l.geometry.is_depthwise());
    let pays = lanes >= 8 && (count >= 32 || plan.forward.iter().any(depthwise));
    if pays { lanes } else { 1 }
}

/// Values of a register, and how many registers there are.
fn registers<T: Vector>() -> (usize, usize) {
    struct Registers<T>(std::marker::PhantomData<T>);
    impl<T: Vector> WithSimd for Registers<T> {
        type Output = (usize, usize);
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> (usize, usize) {
            (T::lanes::<S>(), S::REGISTER_COUNT)
        }
    }
    dispatch(Registers::<T>(std::marker::PhantomData))
}

/// Blocks of a tile at most.
fn most_blocks() -> usize {
    if registers::<f32>().1 < 32 { 2 } else { 4 }
}

/// The blocks of a group of channels in bunches that tiles take, as even as can be.
fn bunches(blocks: usize) -> impl Iterator<Item = Range<usize>> {
    let count = blocks.div_ceil(most_blocks());
    (0..count).map(move |i| blocks * i / count..blocks * (i + 1) / count)
}

/// A convolution's weights in the order in which tiles read them, for each phase, group of channels and bunch of blocks.
///
/// Within a bunch: block of source channels, tap, source channel; for each a register for each block.
#[derive(Debug)]
pub(super) struct BlockWeights<T> {
    values: Aligned<T>,
    /// Where each phase begins, and its values for each block of rows.
    phases: Vec<(usize, usize)>,
    blocks: usize,
}

impl<T: Vector> BlockWeights<T> {
    /// `weight` holds `M × C/groups × taps`.
    pub(super) fn new(weight: &[T], geometry: &Geometry, direction: Direction, phases: &[Phase]) -> BlockWeights<T> {
        let (block, taps) = (block_len::<T>(), geometry.taps());
        let (m, c) = (geometry.out_channels / geometry.groups, geometry.in_channels / geometry.groups);
        let (rows, channels) = if direction == Direction::Forward { (m, c) } else { (c, m) };
        let blocks = rows.div_ceil(block);
        let all: usize = phases.iter().map(|p| p.taps.len()).sum();
        let mut values = Aligned::zeros(geometry.groups * blocks * channels * all * block);
        let mut rest = &mut values[..];
        let mut starts = Vec::new();
        let mut start = 0;
        for phase in phases {
            let len = channels * phase.taps.len() * block;
            starts.push((start, len));
            start += geometry.groups * blocks * len;
            let mut parts = Vec::new();
            for group in 0..geometry.groups {
                for bunch in bunches(blocks) {
                    let (part, after) = rest.split_at_mut(bunch.len() * len);
                    parts.push((group, bunch, part));
                    rest = after;
                }
            }
            parts.into_par_iter().for_each(|(group, bunch, part)| {
                let mut registers = part.chunks_mut(block);
                for first in (0..channels).step_by(block) {
                    for (tap, _) in &phase.taps {
                        for channel in first..(first + block).min(channels) {
                            for (row, register) in bunch.clone().map(|i| i * block).zip(&mut registers) {
                                for (row, value) in (row..rows).zip(register) {
                                    let (m_at, c_at) =
                                        if direction == Direction::Forward { (row, channel) } else { (channel, row) };
                                    *value = weight[((group * m + m_at) * c + c_at) * taps + tap];
                                }
                            }
                        }
                    }
                }
            });
        }
        BlockWeights { values, phases: starts, blocks }
    }

    /// Values of all of them.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The weights of a bunch of a group's blocks.
    fn of(&self, phase: usize, group: usize, bunch: &Range<usize>) -> &[T] {
        let (start, len) = self.phases[phase];
        &self.values[start + (group * self.blocks + bunch.start) * len..][..bunch.len() * len]
    }
}

/// A blocked source of a term.
pub(super) struct Source<'a, T> {
    pub(super) values: &'a [T],
    /// Channels of a block; fewer than a register has where there are no more.
    pub(super) block: usize,
}

/// What the sums of each channel begin with; nothing is 0.
#[derive(Clone, Copy)]
pub(super) struct Bias<'a, T>(pub(super) Option<&'a [T]>);

impl<T: Vector> Bias<'_, T> {
    /// Of some channels from `first` on: those that do not exist begin with 0.
    #[inline(always)]
    pub(super) fn of<S: Simd>(&self, simd: S, first: usize) -> T::Lanes<S> {
        let mut register = T::splat(simd, T::ZERO);
        let channels = self.0.and_then(|bias| bias.get(first..)).unwrap_or_default();
        let values = T::values_mut::<S>(&mut register);
        values.iter_mut().zip(channels).for_each(|(y, x)| *y = *x);
        register
    }
}

/// A [`Call`] on blocked buffers.
pub(super) struct BlockedConvolution<'a, T> {
    pub(super) call: &'a Call<'a, T>,
    pub(super) phases: &'a [Phase],
    /// For each term.
    pub(super) weights: Vec<&'a BlockWeights<T>>,
    pub(super) sources: Vec<Source<'a, T>>,
    pub(super) bias: Bias<'a, T>,
    /// Source channels of a group.
    pub(super) channels: usize,
    pub(super) layout: Blocked,
    /// Size of the step's output.
    pub(super) output: [usize; 3],
}

/// A bunch of blocks at some positions of a sample.
struct Task<'a, T> {
    sample: usize,
    group: usize,
    /// Blocks of the group.
    bunch: Range<usize>,
    positions: Range<usize>,
    /// The positions' piece of each block of the output.
    pieces: Vec<&'a mut [T]>,
}

/// The positions of a plane in at most `pieces` ranges of about the same size, as their borders: whole lines where there are
/// several, or where phases alternate.
pub(super) fn cuts(output: [usize; 3], phases: usize, pieces: usize) -> Vec<usize> {
    let plane: usize = output.iter().product();
    let unit = if phases == 1 && output[..2] == [1; 2] { WIDEST } else { output[2] };
    let units = plane.div_ceil(unit);
    let pieces = pieces.clamp(1, units);
    (0..=pieces).map(|i| (i * units / pieces * unit).min(plane)).collect()
}

impl<T: Vector> BlockedConvolution<'_, T> {
    /// Runs the step.
    pub(super) fn run(&self, output: &mut [T]) {
        let Blocked { samples, plane, block, .. } = self.layout;
        let (groups, work) = (self.call.geometry.groups, self.call.geometry.multiply_adds() * self.sources.len());
        let blocks = self.layout.blocks() / groups;
        let bunches: Vec<_> = bunches(blocks).collect();
        let wanted = 4 * rayon::current_num_threads();
        let tasks = samples * groups * bunches.len();
        let fit = SUMS / (blocks.min(most_blocks()) * block * size_of::<T>());
        let pieces = plane.div_ceil(fit).max(wanted.div_ceil(tasks).min(work / WORK / tasks));
        let cuts = cuts(self.output, self.phases.len(), pieces);
        let mut tasks = Vec::with_capacity(tasks * cuts.len());
        let mut planes = output.chunks_mut(plane * block);
        for (sample, group) in (0..samples).flat_map(|n| (0..groups).map(move |g| (n, g))) {
            for bunch in &bunches {
                let first = tasks.len();
                tasks.extend(cuts.windows(2).map(|cut| Task {
                    sample,
                    group,
                    bunch: bunch.clone(),
                    positions: cut[0]..cut[1],
                    pieces: Vec::with_capacity(bunch.len()),
                }));
                for mut rest in planes.by_ref().take(bunch.len()) {
                    for task in &mut tasks[first..] {
                        let (piece, after) = rest.split_at_mut(task.positions.len() * block);
                        rest = after;
                        task.pieces.push(piece);
                    }
                }
            }
        }
        // What is larger, weights or source, should not be read anew for each task.
        let weights: usize = self.weights.iter().map(|w| w.values.len()).sum();
        if weights < self.sources.iter().map(|s| s.values.len() / samples).sum() {
            tasks.sort_by_key(|task| (task.sample, task.group, task.positions.start));
        }
        if work < 2 * WORK {
            tasks.into_iter().for_each(|task| self.task(task));
        } else {
            hand_out(tasks, |task| self.task(task));
        }
    }

    fn task(&self, task: Task<T>) {
        let Blocked { plane, block, .. } = self.layout;
        let len = task.positions.len() * block;
        let mut sums = self.call.scratch.lend(task.bunch.len() * len);
        dispatch(Sums { convolution: self, task: &task, sums: &mut sums });
        let [finish] = self.call.finishes.as_slice() else { return };
        let first = task.sample * self.layout.blocks() + task.group * self.layout.blocks() / self.call.geometry.groups;
        for ((i, piece), sums) in task.bunch.zip(task.pieces).zip(sums.chunks_mut(len)) {
            finish.apply(((first + i) * plane + task.positions.start) * block, sums, piece);
        }
    }
}

/// The sums of a task: for each block, for each position, a register.
struct Sums<'a, 'b, T> {
    convolution: &'a BlockedConvolution<'b, T>,
    task: &'a Task<'a, T>,
    sums: &'a mut [T],
}

impl<T: Vector> WithSimd for Sums<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.task.bunch.len() {
            1 => self.run::<S, 1>(simd),
            2 => self.run::<S, 2>(simd),
            3 if S::REGISTER_COUNT >= 32 => self.run::<S, 3>(simd),
            4 if S::REGISTER_COUNT >= 32 => self.run::<S, 4>(simd),
            more => unreachable!("bunches have at most {} blocks, not {more}", most_blocks()),
        }
    }
}

impl<T: Vector> Sums<'_, '_, T> {
    #[inline(always)]
    fn run<S: Simd, const Q: usize>(self, simd: S) {
        let Sums { convolution, task, sums } = self;
        let (channels, blocks) = (convolution.channels, convolution.layout.blocks());
        let group = blocks / convolution.call.geometry.groups;
        let mut bias = [T::splat(simd, T::ZERO); Q];
        for (bias, block) in bias.iter_mut().zip(task.bunch.clone()) {
            *bias = convolution.bias.of(simd, (task.group * group + block) * convolution.layout.block);
        }
        for (phase_at, phase) in convolution.phases.iter().enumerate() {
            let taps = phase.taps.len();
            let mut tiles = Tiles::new(phase, convolution.output, task.positions.clone());
            let mut add = false;
            for (source, weights) in convolution.sources.iter().zip(&convolution.weights) {
                let weights = weights.of(phase_at, task.group, &task.bunch);
                let len = channels.div_ceil(source.block) * phase.source_len() * source.block;
                let at = task.sample * convolution.call.geometry.groups + task.group;
                let values = &source.values[at * len..][..len];
                let together = (DEPTH / (taps * source.block).max(1)).max(1) * source.block;
                for first in (0..channels).step_by(together) {
                    let some = first..(first + together).min(channels);
                    let depth = Depth { block: source.block, plane: phase.source_len(), taps, channels: some };
                    tiles.begin();
                    while let Some(tile) = tiles.next() {
                        let place =
                            Place { first: tile.first, every: tile.every, pitch: task.positions.len(), add, bias };
                        match tile.count {
                            1 => tile_sums::<T, S, 1, Q>(simd, values, weights, &depth, tile.reads, &place, sums),
                            2 => tile_sums::<T, S, 2, Q>(simd, values, weights, &depth, tile.reads, &place, sums),
                            3 => tile_sums::<T, S, 3, Q>(simd, values, weights, &depth, tile.reads, &place, sums),
                            4 => tile_sums::<T, S, 4, Q>(simd, values, weights, &depth, tile.reads, &place, sums),
                            5 => tile_sums::<T, S, 5, Q>(simd, values, weights, &depth, tile.reads, &place, sums),
                            _ => tile_sums::<T, S, 6, Q>(simd, values, weights, &depth, tile.reads, &place, sums),
                        }
                    }
                    add = true;
                }
            }
        }
    }
}

/// The source channels that are summed at once.
struct Depth {
    /// Channels of a block.
    block: usize,
    /// Positions of a source plane.
    plane: usize,
    /// Taps of the phase.
    taps: usize,
    /// Begins with a block.
    channels: Range<usize>,
}

/// Where the sums of a tile go.
struct Place<V, const Q: usize> {
    first: usize,
    every: usize,
    /// Positions of a block.
    pitch: usize,
    /// Whether sums are added to.
    add: bool,
    /// What they begin with otherwise, for each block.
    bias: [V; Q],
}

/// The sums of `P` positions and `Q` blocks.
#[inline(always)]
fn tile_sums<T: Vector, S: Simd, const P: usize, const Q: usize>(
    simd: S,
    source: &[T],
    weights: &[T],
    depth: &Depth,
    reads: &[Read],
    place: &Place<T::Lanes<S>, Q>,
    sums: &mut [T],
) {
    let lanes = T::lanes::<S>();
    let zero = T::splat(simd, T::ZERO);
    let (sums, _) = T::split_mut::<S>(sums);
    let mut acc = [place.bias; P];
    if place.add {
        for (p, acc) in acc.iter_mut().enumerate() {
            for (q, acc) in acc.iter_mut().enumerate() {
                *acc = *sums.get(q * place.pitch + place.first + p * place.every).unwrap_or(&zero);
            }
        }
    }
    let (registers, _) = pulp::as_arrays::<Q, _>(T::split::<S>(weights).0);
    for first in depth.channels.clone().step_by(depth.block) {
        let count = depth.block.min(depth.channels.end - first);
        let planes = &source[first * depth.plane..][..depth.block * depth.plane];
        let registers = &registers[first * depth.taps..][..depth.taps * count];
        if depth.block == lanes {
            let (planes, _) = T::split::<S>(planes);
            for (tap, at) in reads {
                // What is outside is past the end of any plane.
                let values = std::array::from_fn(|p| T::values::<S>(planes.get(at[p]).unwrap_or(&zero)));
                acc = add_products::<T, S, P, Q>(simd, acc, &registers[tap * count..][..count], values);
            }
        } else {
            let zeros = T::values::<S>(&zero);
            for (tap, at) in reads {
                let values = std::array::from_fn(|p| match at[p] {
                    OUTSIDE => &zeros[..count],
                    at => &planes[at * depth.block..][..count],
                });
                acc = add_products::<T, S, P, Q>(simd, acc, &registers[tap * count..][..count], values);
            }
        }
    }
    // Without a branch that panics, so that the loop is unrolled and sums need not lie in memory before.
    for (p, acc) in acc.iter().enumerate() {
        for (q, acc) in acc.iter().enumerate() {
            if let Some(register) = sums.get_mut(q * place.pitch + place.first + p * place.every) {
                *register = *acc;
            }
        }
    }
}

/// Adds the products of `P` values and `Q` registers, for each depth. The sums come and go by value: so they stay in registers.
#[inline(always)]
fn add_products<T: Vector, S: Simd, const P: usize, const Q: usize>(
    simd: S,
    mut acc: [[T::Lanes<S>; Q]; P],
    registers: &[[T::Lanes<S>; Q]],
    values: [&[T]; P],
) -> [[T::Lanes<S>; Q]; P] {
    // Or its address would be computed anew in the loop.
    let registers = std::hint::black_box(registers);
    for (i, registers) in registers.iter().enumerate() {
        for (acc, values) in acc.iter_mut().zip(values) {
            let x = T::splat(simd, values[i]);
            for (acc, w) in acc.iter_mut().zip(registers) {
                *acc = T::mul_add(simd, x, *w, *acc);
            }
        }
    }
    acc
}
