//! What the taps of a correlation read, as panels of columns (im2col): see [`panels`](super::panels).

use std::ops::Range;

use pulp::Simd;

use super::operand::{negative, positive};
use super::panels::MOST_COLUMNS;
use super::phases::Phase;
use super::vector::{Vector, WithSimd};
use crate::plan::Part;

/// An index that no source has: what is read there is 0.
const OUTSIDE: u32 = u32::MAX;

/// What the taps read at the positions of some panels, in a plane of the source.
pub(super) struct Reads {
    /// For each tap, for each panel.
    reads: Vec<Read>,
    /// What the reads of single values refer to.
    singles: Vec<[u32; MOST_COLUMNS]>,
    panels: usize,
}

/// What the positions of a panel read by one tap.
#[derive(Clone, Copy)]
enum Read {
    /// Values that lie one after the other, from an index of the plane.
    Run(u32),
    /// Every second value from an index of the plane.
    Pairs(u32),
    /// Values at the indices of an entry of `singles`.
    Singles(u32),
    /// Padding alone.
    Nothing,
}

impl Reads {
    /// For the positions `positions` of a phase, in panels of `width`.
    pub(super) fn new(phase: &Phase, positions: Range<usize>, width: usize) -> Reads {
        let panels = positions.len().div_ceil(width);
        let taps = phase.taps.len();
        let mut reads = Reads { reads: vec![Read::Nothing; taps * panels], singles: Vec::new(), panels };
        let [_, y, x] = &phase.axes;
        for panel in 0..panels {
            let first = positions.start + panel * width;
            let count = width.min(positions.end - first);
            // Where each position begins to read.
            let mut origins = [[0; 3]; MOST_COLUMNS];
            let (mut column, mut row) = (first % x.count, first / x.count % y.count);
            let mut layer = first / (x.count * y.count);
            let line = column + count <= x.count;
            for origin in &mut origins[..count] {
                *origin = [layer, row, column];
                for (at, axis) in origin.iter_mut().zip(&phase.axes) {
                    *at *= axis.step;
                }
                column += 1;
                if column == x.count {
                    (column, row) = (0, row + 1);
                    if row == y.count {
                        (row, layer) = (0, layer + 1);
                    }
                }
            }
            for (tap, (_, offset)) in phase.taps.iter().enumerate() {
                let step = if line { x.step } else { 0 };
                let read = reads.read(phase.source, *offset, &origins[..count], step, width);
                reads.reads[tap * panels + panel] = read;
            }
        }
        reads
    }

    /// What positions with these origins read by a tap of this offset; they are `step` apart on one line, unless it is 0.
    fn read(
        &mut self,
        source: [usize; 3],
        offset: [isize; 3],
        origins: &[[usize; 3]],
        step: usize,
        width: usize,
    ) -> Read {
        let [depth, height, length] = source;
        let index = |origin: &[usize; 3]| {
            // A negative coordinate becomes a huge unsigned one, so one comparison checks both ends.
            let at = |axis: usize| origin[axis].wrapping_add_signed(offset[axis]);
            let (z, y, x) = (at(0), at(1), at(2));
            if z < depth && y < height && x < length { ((z * height + y) * length + x) as u32 } else { OUTSIDE }
        };
        let (first, last) = (index(&origins[0]), index(&origins[origins.len() - 1]));
        let inside = origins.len() == width && first != OUTSIDE && last != OUTSIDE;
        match step {
            1 if inside => return Read::Run(first),
            2 if inside => return Read::Pairs(first),
            _ => {}
        }
        let mut at = [OUTSIDE; MOST_COLUMNS];
        for (at, origin) in at.iter_mut().zip(origins) {
            *at = index(origin);
        }
        if at.iter().all(|at| *at == OUTSIDE) {
            Read::Nothing
        } else if inside && (first..).zip(&at[..width]).all(|(want, at)| *at == want) {
            Read::Run(first)
        } else {
            self.singles.push(at);
            Read::Singles(self.singles.len() as u32 - 1)
        }
    }
}

/// Fills panels of columns. Row `c·taps + t` of the depth holds what tap t of channel c reads, of the channels `channels`.
pub(super) struct Columns<'a, T> {
    pub(super) reads: &'a Reads,
    pub(super) taps: usize,
    /// Values of a plane of the source.
    pub(super) plane: usize,
    /// Planes of the group's channels.
    pub(super) source: &'a [T],
    pub(super) part: Part,
    pub(super) channels: Range<usize>,
    /// Whole panels, `channels × taps` deep.
    pub(super) panels: &'a mut [T],
}

impl<T: Vector> WithSimd for Columns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.part {
            Part::All => self.fill::<S>(|x| x),
            Part::Positive => self.fill::<S>(positive),
            Part::Negative => self.fill::<S>(negative),
        }
    }
}

impl<T: Vector> Columns<'_, T> {
    /// Channel by channel, so that each value is fetched from memory once.
    #[inline(always)]
    fn fill<S: Simd>(self, part: impl Fn(T) -> T + Copy) {
        let width = 2 * T::lanes::<S>();
        let depth = self.channels.len() * self.taps;
        let planes = self.source.chunks_exact(self.plane).skip(self.channels.start).take(self.channels.len());
        for (c, source) in planes.enumerate() {
            for (tap, reads) in self.reads.reads.chunks_exact(self.reads.panels).enumerate() {
                let at = (c * self.taps + tap) * width;
                for (panel, read) in reads.iter().enumerate() {
                    let row = &mut self.panels[panel * depth * width + at..][..width];
                    match read {
                        Read::Run(from) => {
                            for (y, x) in row.iter_mut().zip(&source[*from as usize..][..width]) {
                                *y = part(*x);
                            }
                        }
                        Read::Pairs(from) => {
                            let pairs = source[*from as usize..][..2 * width - 1].chunks(2);
                            for (y, x) in row.iter_mut().zip(pairs) {
                                *y = part(x[0]);
                            }
                        }
                        Read::Singles(i) => {
                            for (y, from) in row.iter_mut().zip(&self.reads.singles[*i as usize]) {
                                *y = part(source.get(*from as usize).copied().unwrap_or(T::ZERO));
                            }
                        }
                        Read::Nothing => row.fill(T::ZERO),
                    }
                }
            }
        }
    }
}
