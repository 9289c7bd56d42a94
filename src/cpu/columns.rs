//! What the taps of a correlation read, as panels of columns (im2col): see [`panels`](super::panels).

use std::ops::Range;

use pulp::Simd;

use super::operand::{negative, positive};
use super::panels::MOST_COLUMNS;
use super::phases::Phase;
use super::vector::{Vector, WithSimd};
use crate::plan::Part;

/// An index that no source has: what is read there is 0.
const OUTSIDE: usize = usize::MAX;

/// Fills panels of columns for the positions `positions` of a phase. Row `c·taps + t` of the depth holds what tap t of
/// channel c reads, of the channels `channels`.
pub(super) struct Columns<'a, T> {
    pub(super) phase: &'a Phase,
    /// Planes of the group's channels.
    pub(super) source: &'a [T],
    pub(super) part: Part,
    pub(super) channels: Range<usize>,
    pub(super) positions: Range<usize>,
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
    #[inline(always)]
    fn fill<S: Simd>(self, part: impl Fn(T) -> T + Copy) {
        let width = 2 * T::lanes::<S>();
        let taps = self.phase.taps.len();
        let plane = self.phase.source_len();
        let depth = self.channels.len() * taps;
        let mut first = self.positions.start;
        for panel in self.panels.chunks_exact_mut(depth * width) {
            let reads = Reads::new(self.phase, first..(first + width).min(self.positions.end));
            for t in 0..taps {
                let source = self.source.chunks_exact(plane).skip(self.channels.start).take(self.channels.len());
                let rows = panel.chunks_exact_mut(width).skip(t).step_by(taps).zip(source);
                match reads.of(self.phase, t, width) {
                    Read::Run(at) => {
                        for (row, source) in rows {
                            for (y, x) in row.iter_mut().zip(&source[at..at + width]) {
                                *y = part(*x);
                            }
                        }
                    }
                    Read::Each(at) => {
                        for (row, source) in rows {
                            for (y, at) in row.iter_mut().zip(&at) {
                                *y = part(source.get(*at).copied().unwrap_or(T::ZERO));
                            }
                        }
                    }
                    Read::Nothing => rows.for_each(|(row, _)| row.fill(T::ZERO)),
                }
            }
            first += width;
        }
    }
}

/// What the positions of a panel read by one tap.
enum Read {
    /// Values that lie one after the other.
    Run(usize),
    /// Values at these indices of a plane.
    Each([usize; MOST_COLUMNS]),
    /// Padding alone.
    Nothing,
}

/// Where the positions of a panel begin to read.
struct Reads {
    origins: [[isize; 3]; MOST_COLUMNS],
    count: usize,
    /// Whether the positions are neighbours on one line of the source.
    line: bool,
}

impl Reads {
    #[inline(always)]
    fn new(phase: &Phase, positions: Range<usize>) -> Reads {
        let [_, y, x] = &phase.axes;
        let mut reads = Reads { origins: [[0; 3]; MOST_COLUMNS], count: positions.len(), line: false };
        let (mut column, mut row) = (positions.start % x.count, positions.start / x.count % y.count);
        let mut layer = positions.start / (x.count * y.count);
        reads.line = x.step == 1 && column + positions.len() <= x.count;
        let steps = [phase.axes[0].step, y.step, x.step];
        for origin in &mut reads.origins[..positions.len()] {
            *origin = [(layer * steps[0]) as isize, (row * steps[1]) as isize, (column * steps[2]) as isize];
            column += 1;
            if column == x.count {
                (column, row) = (0, row + 1);
                if row == y.count {
                    (row, layer) = (0, layer + 1);
                }
            }
        }
        reads
    }

    #[inline(always)]
    fn of(&self, phase: &Phase, tap: usize, width: usize) -> Read {
        let [oz, oy, ox] = phase.taps[tap].1;
        let [depth, height, length] = phase.source;
        let index = |[z, y, x]: [isize; 3]| {
            // A negative coordinate becomes a huge unsigned one, so one comparison checks both ends.
            let (z, y, x) = ((z + oz) as usize, (y + oy) as usize, (x + ox) as usize);
            if z < depth && y < height && x < length { (z * height + y) * length + x } else { OUTSIDE }
        };
        if self.line {
            let [z, y, x] = self.origins[0];
            let (z, y, x) = ((z + oz) as usize, (y + oy) as usize, x + ox);
            if z >= depth || y >= height {
                return Read::Nothing;
            }
            if self.count == width && x >= 0 && x as usize + width <= length {
                return Read::Run((z * height + y) * length + x as usize);
            }
        }
        let mut at = [OUTSIDE; MOST_COLUMNS];
        for (at, origin) in at.iter_mut().zip(&self.origins[..self.count]) {
            *at = index(*origin);
        }
        let run = |(i, at): (usize, &usize), first: usize| *at == first.wrapping_add(i);
        if self.count == width && at[0] != OUTSIDE && at[..width].iter().enumerate().all(|i| run(i, at[0])) {
            return Read::Run(at[0]);
        }
        Read::Each(at)
    }
}
