//! Depthwise and other thin convolutions, whose columns hardly any channels share: plane by plane.
//!
//! A plane of the source is copied into one with room for the padding, or, with a stride, into one for each remainder of
//! a position by it. Then what a tap reads for the whole plane of a phase lies in one run, and all taps are summed at once.
//! Between two lines the sums hold values that belong to no position; they are left out at the end.

use pulp::Simd;

use super::blocks::{for_rows, is_large};
use super::linear::Call;
use super::operand::part_of;
use super::phases::Phase;
use super::vector::{Vector, WithSimd, dispatch};
use crate::plan::{Direction, Part};

/// Registers of sums that are kept at once.
const TOGETHER: usize = 4;

/// A [`Call`] whose output planes are computed one by one.
pub(super) struct Thin<'a, T> {
    pub(super) call: &'a Call<'a, T>,
    pub(super) direction: Direction,
    pub(super) phases: &'a [Phase],
    /// For each term, `M × C/groups × taps`.
    pub(super) weights: Vec<&'a [T]>,
    /// Size of the step's output.
    pub(super) output: [usize; 3],
}

/// The copy of a plane along one axis: position i of remainder r is source position `(i + first)·step + r`.
#[derive(Clone, Copy)]
struct Padded {
    step: usize,
    first: isize,
    len: usize,
}

impl Padded {
    fn new(phases: &[Phase], axis: usize) -> Padded {
        let step = phases.first().map_or(1, |p| p.axes[axis].step);
        let axes = || phases.iter().map(|p| &p.axes[axis]);
        let skips = || axes().flat_map(|a| a.taps.iter().map(|(_, offset)| offset.div_euclid(step as isize)));
        let (first, last) = (skips().min().unwrap_or(0), skips().max().unwrap_or(0));
        let count = axes().map(|a| a.count).max().unwrap_or(0);
        Padded { step, first, len: count + (last - first) as usize }
    }
}

/// A plane of the output while it is summed.
struct Plane<'a, 'b, T> {
    thin: &'a Thin<'b, T>,
    axes: [Padded; 3],
    /// Sample · channels + channel.
    at: usize,
    sums: &'a mut [T],
}

impl<T: Vector> Thin<'_, T> {
    /// Runs the step.
    pub(super) fn run(&self, output: &mut [T]) {
        let [finish] = self.call.finishes.as_slice() else { return };
        let plane = self.output.iter().product();
        let axes = [0, 1, 2].map(|axis| Padded::new(self.phases, axis));
        for_rows(output, plane, is_large(self.call.geometry.multiply_adds()), |at, output| {
            let mut sums = self.call.scratch.lend(plane);
            dispatch(Plane { thin: self, axes, at, sums: &mut sums });
            finish.apply(at * plane, &mut sums, output);
        });
    }
}

impl<T: Vector> WithSimd for Plane<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (call, direction) = (self.thin.call, self.thin.direction);
        let (g, taps) = (&call.geometry, call.sliding.taps());
        let (m, c) = (g.out_channels / g.groups, g.in_channels / g.groups);
        let (rows, channels) = if direction == Direction::Forward { (m, c) } else { (c, m) };
        let (image, row) = (self.at / rows, self.at % rows);
        let [depth, height, length] = self.axes.map(|axis| axis.len);
        let [size_z, size_y, size_x] = self.axes.map(|axis| axis.step);
        let plane = depth * height * length;
        let mut padded = call.scratch.lend(size_z * size_y * size_x * plane);
        let mut sums = call.scratch.lend(plane);
        let mut filled = None;
        let mut reads: Vec<(T, usize)> = Vec::with_capacity(taps);
        for phase in self.thin.phases {
            let [z, y, x] = &phase.axes;
            let sums = &mut sums[..((z.count - 1) * height + y.count - 1) * length + x.count];
            sums.fill(T::ZERO);
            for (t, channel) in (0..call.terms.len()).flat_map(|t| (0..channels).map(move |channel| (t, channel))) {
                if filled != Some((t, channel)) {
                    let term = &call.terms[t];
                    let source = &term.source[(image * channels + channel) * phase.source_len()..];
                    pad(source, phase.source, &self.axes, term.part, &mut padded);
                    filled = Some((t, channel));
                }
                let (m_at, c_at) = if direction == Direction::Forward { (row, channel) } else { (channel, row) };
                let weights = &self.thin.weights[t][((image % g.groups * m + m_at) * c + c_at) * taps..][..taps];
                let at = |axis: usize, offset: isize| {
                    let Padded { step, first, .. } = self.axes[axis];
                    let step = step as isize;
                    (offset.rem_euclid(step) as usize, (offset.div_euclid(step) - first) as usize)
                };
                reads.clear();
                reads.extend(phase.taps.iter().map(|(tap, [oz, oy, ox])| {
                    let ((rz, iz), (ry, iy), (rx, ix)) = (at(0, *oz), at(1, *oy), at(2, *ox));
                    let remainder = (rz * size_y + ry) * size_x + rx;
                    (weights[*tap], remainder * plane + (iz * height + iy) * length + ix)
                }));
                add_taps(simd, &padded, &reads, sums);
            }
            for (jz, jy) in (0..z.count).flat_map(|jz| (0..y.count).map(move |jy| (jz, jy))) {
                let [_, size_y, size_x] = self.thin.output;
                let line = ((z.start + jz * z.every) * size_y + y.start + jy * y.every) * size_x;
                let line = &mut self.sums[line..][..size_x];
                let sums = &sums[(jz * height + jy) * length..][..x.count];
                if x.every == 1 {
                    line.copy_from_slice(sums);
                } else {
                    for (y, sum) in line[x.start..].iter_mut().step_by(x.every).zip(sums) {
                        *y = *sum;
                    }
                }
            }
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

/// Adds `weight · padded[j + from]` to sum j, for every pair of `reads`.
#[inline(always)]
fn add_taps<T: Vector, S: Simd>(simd: S, padded: &[T], reads: &[(T, usize)], sums: &mut [T]) {
    let lanes = T::lanes::<S>();
    let mut first = 0;
    for sums in sums.chunks_mut(TOGETHER * lanes) {
        let (ys, rest) = T::split_mut::<S>(sums);
        if let Ok(ys) = <&mut [T::Lanes<S>; TOGETHER]>::try_from(&mut *ys) {
            let mut sums = *ys;
            for (weight, from) in reads {
                let weight = T::splat(simd, *weight);
                let line = T::split::<S>(&padded[from + first..][..TOGETHER * lanes]).0;
                for (y, x) in sums.iter_mut().zip(line) {
                    *y = T::mul_add(simd, weight, *x, *y);
                }
            }
            *ys = sums;
        } else {
            for (i, y) in ys.iter_mut().enumerate() {
                let mut sum = *y;
                for (weight, from) in reads {
                    let line = T::split::<S>(&padded[from + first + i * lanes..][..lanes]).0;
                    sum = T::mul_add(simd, T::splat(simd, *weight), line[0], sum);
                }
                *y = sum;
            }
            let done = first + ys.len() * lanes;
            for (i, y) in rest.iter_mut().enumerate() {
                for (weight, from) in reads {
                    *y += *weight * padded[from + done + i];
                }
            }
        }
        first += TOGETHER * lanes;
    }
}
