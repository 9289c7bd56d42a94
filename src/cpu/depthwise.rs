//! Depthwise convolutions on blocked buffers: every register of channels for itself.

use std::ops::Range;

use pulp::Simd;

use super::aligned::Aligned;
use super::blocked::{Bias, Source, block_len, cuts};
use super::blocks::{hand_out, is_large};
use super::layout::Blocked;
use super::linear::Call;
use super::phases::Phase;
use super::vector::{Vector, WithSimd, dispatch};

/// A [`Call`] in which every channel is a group.
pub(super) struct Depthwise<'a, T> {
    pub(super) call: &'a Call<'a, T>,
    pub(super) phases: &'a [Phase],
    /// For each term, from [`depthwise_weights`].
    pub(super) weights: Vec<&'a [T]>,
    /// Of the output's channels and blocks.
    pub(super) sources: Vec<Source<'a, T>>,
    pub(super) bias: Bias<'a, T>,
    pub(super) layout: Blocked,
    /// Size of the step's output.
    pub(super) output: [usize; 3],
}

/// For each block of channels, for each tap, a register of weights; `weight` holds `channels × taps`.
pub(super) fn depthwise_weights<T: Vector>(weight: &[T], taps: usize) -> Aligned<T> {
    let block = block_len::<T>();
    let mut values = Aligned::zeros((weight.len() / taps).next_multiple_of(block) * taps);
    for (blocks, values) in weight.chunks(block * taps).zip(values.chunks_mut(block * taps)) {
        for (lane, weights) in blocks.chunks(taps).enumerate() {
            values[lane..].iter_mut().step_by(block).zip(weights).for_each(|(y, w)| *y = *w);
        }
    }
    values
}

impl<T: Vector> Depthwise<'_, T> {
    /// Runs the step.
    pub(super) fn run(&self, output: &mut [T]) {
        let [finish] = self.call.finishes.as_slice() else { return };
        let Blocked { plane, block, .. } = self.layout;
        let planes = self.layout.samples * self.layout.blocks();
        let pieces = (4 * rayon::current_num_threads()).div_ceil(planes).max(plane.div_ceil(1024));
        let cuts = cuts(self.output, self.phases.len(), pieces);
        let mut tasks = Vec::with_capacity(planes * (cuts.len() - 1));
        for (at, mut rest) in output.chunks_mut(plane * block).enumerate() {
            for cut in cuts.windows(2) {
                let (piece, after) = rest.split_at_mut((cut[1] - cut[0]) * block);
                rest = after;
                tasks.push((at, cut[0]..cut[1], piece));
            }
        }
        let work = |(at, positions, piece): (usize, Range<usize>, &mut [T])| {
            let mut sums = self.call.scratch.lend(piece.len());
            let start = (at * plane + positions.start) * block;
            dispatch(Sums { depthwise: self, at, positions, sums: &mut sums });
            finish.apply(start, &mut sums, piece);
        };
        if is_large(self.call.geometry.multiply_adds()) {
            hand_out(tasks, work);
        } else {
            tasks.into_iter().for_each(work);
        }
    }
}

/// The sums of some positions of a block.
struct Sums<'a, 'b, T> {
    depthwise: &'a Depthwise<'b, T>,
    /// Sample · blocks + block.
    at: usize,
    positions: Range<usize>,
    sums: &'a mut [T],
}

impl<T: Vector> WithSimd for Sums<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Sums { depthwise, at, positions, sums } = self;
        let (lanes, taps) = (T::lanes::<S>(), depthwise.call.geometry.taps());
        let (sums, _) = T::split_mut::<S>(sums);
        let [_, height, width] = depthwise.output;
        for phase in depthwise.phases {
            let [z, y, x] = &phase.axes;
            let len = phase.source_len() * lanes;
            for (t, (source, weights)) in depthwise.sources.iter().zip(&depthwise.weights).enumerate() {
                let (source, _) = T::split::<S>(&source.values[at * len..][..len]);
                let (weights, _) =
                    T::split::<S>(&weights[at % depthwise.layout.blocks() * taps * lanes..][..taps * lanes]);
                for (jz, jy) in (0..z.count).flat_map(|jz| (0..y.count).map(move |jy| (jz, jy))) {
                    let start = ((z.start + jz * z.every) * height + y.start + jy * y.every) * width;
                    // The part of the line that is wanted: all of it, unless the plane is this line.
                    let end = positions.end.min(start + width);
                    let begin = positions.start.max(start);
                    if begin >= end {
                        continue;
                    }
                    let before = |at: usize| (at - start).saturating_sub(x.start).div_ceil(x.every).min(x.count);
                    let bias = depthwise.bias.of(simd, at % depthwise.layout.blocks() * lanes);
                    let line = Line { phase, jz, jy, first: begin - start, columns: before(begin)..before(end) };
                    let sums = &mut sums[begin - positions.start..end - positions.start];
                    if t == 0 {
                        line.begin::<T, S>(bias, sums);
                    }
                    line.add::<T, S>(simd, source, weights, sums);
                }
            }
        }
    }
}

/// Positions of a line of a phase.
struct Line<'a> {
    phase: &'a Phase,
    jz: usize,
    jy: usize,
    /// Where on the output's line the sums begin.
    first: usize,
    /// The positions, counted along the phase's line.
    columns: Range<usize>,
}

impl Line<'_> {
    /// Lets the sums begin with the bias.
    #[inline(always)]
    fn begin<T: Vector, S: Simd>(&self, bias: T::Lanes<S>, sums: &mut [T::Lanes<S>]) {
        let x = &self.phase.axes[2];
        for j in self.columns.clone() {
            if let Some(sum) = sums.get_mut(x.start + j * x.every - self.first) {
                *sum = bias;
            }
        }
    }

    /// Adds all taps to the sums.
    #[inline(always)]
    fn add<T: Vector, S: Simd>(
        &self,
        simd: S,
        source: &[T::Lanes<S>],
        weights: &[T::Lanes<S>],
        sums: &mut [T::Lanes<S>],
    ) {
        let [z, y, x] = &self.phase.axes;
        let [depth, height, width] = self.phase.source;
        for (iz, (_, offset_z)) in z.taps.iter().enumerate() {
            let from_z = (self.jz * z.step).wrapping_add_signed(*offset_z);
            if from_z >= depth {
                continue;
            }
            for (iy, (_, offset_y)) in y.taps.iter().enumerate() {
                let from_y = (self.jy * y.step).wrapping_add_signed(*offset_y);
                if from_y >= height {
                    continue;
                }
                let source = &source[(from_z * height + from_y) * width..][..width];
                let taps = &self.phase.taps[(iz * y.taps.len() + iy) * x.taps.len()..][..x.taps.len()];
                let tap = |i: usize| (x.taps[i].1, weights[taps[i].0]);
                let mut i = 0;
                while i < taps.len() {
                    match taps.len() - i {
                        1 => self.line::<T, S, 1>(simd, source, [tap(i)], sums),
                        2 => self.line::<T, S, 2>(simd, source, [tap(i), tap(i + 1)], sums),
                        _ => self.line::<T, S, 3>(simd, source, [tap(i), tap(i + 1), tap(i + 2)], sums),
                    }
                    i += 3;
                }
            }
        }
    }

    /// Adds `N` taps, offset and weight, of one line of the source.
    #[inline(always)]
    fn line<T: Vector, S: Simd, const N: usize>(
        &self,
        simd: S,
        source: &[T::Lanes<S>],
        taps: [(isize, T::Lanes<S>); N],
        sums: &mut [T::Lanes<S>],
    ) {
        let (zero, x) = (T::splat(simd, T::ZERO), &self.phase.axes[2]);
        let at = |j: usize| x.start + j * x.every - self.first;
        // Where all taps are inside.
        let (low, high) = taps.iter().fold((0, 0), |(low, high): (isize, isize), (o, _)| (low.min(*o), high.max(*o)));
        let from = low.unsigned_abs().div_ceil(x.step).clamp(self.columns.start, self.columns.end);
        let end = (source.len().saturating_sub(high as usize).div_ceil(x.step)).clamp(from, self.columns.end);
        for j in (self.columns.start..from).chain(end..self.columns.end) {
            let Some(sum) = sums.get_mut(at(j)) else { return };
            for (offset, weight) in &taps {
                // What is outside is past the end: a negative position becomes a huge one.
                let value = source.get((j * x.step).wrapping_add_signed(*offset)).unwrap_or(&zero);
                *sum = T::mul_add(simd, *value, *weight, *sum);
            }
        }
        if from == end {
            return;
        }
        let count = end - from;
        let sums = &mut sums[at(from)..][..(count - 1) * x.every + 1];
        let lines = taps.map(|(offset, weight)| {
            let first = (from * x.step).wrapping_add_signed(offset);
            (&source[first..][..(count - 1) * x.step + 1], weight)
        });
        if x.step == 1 && x.every == 1 {
            for (j, sum) in sums[..count].iter_mut().enumerate() {
                for (line, weight) in &lines {
                    *sum = T::mul_add(simd, line[j], *weight, *sum);
                }
            }
        } else {
            for (j, sum) in sums.iter_mut().step_by(x.every).enumerate() {
                for (line, weight) in &lines {
                    *sum = T::mul_add(simd, line[j * x.step], *weight, *sum);
                }
            }
        }
    }
}
