//! The output positions of a correlation in tiles of a few neighbours, and what each tap reads there.

use std::ops::Range;

use super::phases::Phase;

/// Positions of a tile at most: with four registers of channels, 24 sums and what they need fill 32 registers, with two, 12
/// sums fill 16.
pub(super) const WIDEST: usize = 6;

/// Stands for a position outside the source: what is read there is 0.
pub(super) const OUTSIDE: usize = usize::MAX;

/// What a tap reads: its place among the phase's taps, and for each position of a tile the source position.
pub(super) type Read = (usize, [usize; WIDEST]);

/// Neighbouring positions of a line.
pub(super) struct Tile<'a> {
    /// The first position, counted from the beginning of the range that was asked for.
    pub(super) first: usize,
    /// From one position to the next.
    pub(super) every: usize,
    pub(super) count: usize,
    /// The taps that any of the positions reads.
    pub(super) reads: &'a [Read],
}

/// Gives one tile after the other.
pub(super) struct Tiles<'a> {
    phase: &'a Phase,
    output: [usize; 3],
    range: Range<usize>,
    /// Positions of a line that are wanted, the number of tiles they make, and the tile that comes next.
    columns: Range<usize>,
    count: usize,
    tile: usize,
    /// Line of the phase that comes next.
    line: [usize; 2],
    /// What the taps along a line read in this tile.
    across: Vec<[usize; WIDEST]>,
    reads: Vec<Read>,
}

impl<'a> Tiles<'a> {
    /// The phase's positions among `range`, positions of a plane of `output`. The range has whole lines unless the plane is
    /// one line and the phase all of it.
    pub(super) fn new(phase: &'a Phase, output: [usize; 3], range: Range<usize>) -> Tiles<'a> {
        let x = &phase.axes[2];
        let columns = if output[..2] == [1; 2] && x.every == 1 { range.clone() } else { 0..x.count };
        let count = columns.len().div_ceil(WIDEST);
        let mut tiles = Tiles {
            phase,
            output,
            range,
            columns,
            count,
            tile: 0,
            line: [0; 2],
            across: Vec::new(),
            reads: Vec::new(),
        };
        tiles.begin();
        tiles
    }

    /// Begins with the first tile again.
    pub(super) fn begin(&mut self) {
        (self.tile, self.line) = (0, [0; 2]);
        self.read_across();
    }

    /// The positions of the current tile along a line.
    fn tile_columns(&self) -> Range<usize> {
        let border = |tile: usize| self.columns.start + self.columns.len() * tile / self.count;
        border(self.tile)..border(self.tile + 1)
    }

    fn read_across(&mut self) {
        if self.tile >= self.count {
            return;
        }
        let (x, width, columns) = (&self.phase.axes[2], self.phase.source[2], self.tile_columns());
        if self.is_pointwise() {
            return;
        }
        self.across.clear();
        self.across.extend(x.taps.iter().map(|(_, offset)| {
            let mut at = [OUTSIDE; WIDEST];
            for (j, at) in columns.clone().zip(&mut at) {
                // A negative position becomes a huge unsigned one, so that one comparison checks both ends.
                let from = (j * x.step).wrapping_add_signed(*offset);
                if from < width {
                    *at = from;
                }
            }
            at
        }));
    }

    /// Whether every position of the only line reads the position of its own number.
    fn is_pointwise(&self) -> bool {
        let Phase { axes: [_, _, x], source, taps } = self.phase;
        let one_line = self.output[..2] == [1; 2] && source[..2] == [1; 2] && x.count <= source[2];
        one_line && (x.start, x.every, x.step) == (0, 1, 1) && matches!(taps.as_slice(), [(_, [0, 0, 0])])
    }

    /// The next tile.
    pub(super) fn next(&mut self) -> Option<Tile<'_>> {
        if self.is_pointwise() && self.tile < self.count {
            let columns = self.tile_columns();
            self.tile += 1;
            self.reads.resize(1, (0, [OUTSIDE; WIDEST]));
            let (first, count) = (columns.start, columns.len());
            self.reads[0].1 = std::array::from_fn(|i| if i < count { first + i } else { OUTSIDE });
            return Some(Tile { first: first - self.range.start, every: 1, count, reads: &self.reads });
        }
        let [z, y, x] = &self.phase.axes;
        let [_, height, width] = self.output;
        loop {
            if self.tile >= self.count || z.count * y.count == 0 {
                return None;
            }
            let [jz, jy] = self.line;
            let columns = self.tile_columns();
            self.line[1] += 1;
            if self.line[1] == y.count {
                self.line = [jz + 1, 0];
            }
            let last = self.line[0] == z.count;
            let line = ((z.start + jz * z.every) * height + y.start + jy * y.every) * width;
            let start = line + x.start + columns.start * x.every;
            let wanted = self.range.contains(&start);
            if wanted {
                self.read(jz, jy, columns.len());
            }
            if last {
                (self.tile, self.line) = (self.tile + 1, [0; 2]);
                self.read_across();
            }
            if wanted {
                let first = start - self.range.start;
                return Some(Tile { first, every: x.every, count: columns.len(), reads: &self.reads });
            }
        }
    }

    /// What the taps read in the current tile of a line of the phase.
    fn read(&mut self, jz: usize, jy: usize, count: usize) {
        let [z, y, x] = &self.phase.axes;
        let [depth, height, width] = self.phase.source;
        self.reads.clear();
        for (iz, (_, offset)) in z.taps.iter().enumerate() {
            let from_z = (jz * z.step).wrapping_add_signed(*offset);
            if from_z >= depth {
                continue;
            }
            for (iy, (_, offset)) in y.taps.iter().enumerate() {
                let from_y = (jy * y.step).wrapping_add_signed(*offset);
                if from_y >= height {
                    continue;
                }
                let line = (from_z * height + from_y) * width;
                let tap = (iz * y.taps.len() + iy) * x.taps.len();
                for (ix, across) in self.across.iter().enumerate() {
                    if across[..count].iter().any(|at| *at != OUTSIDE) {
                        let at = across.map(|at| if at == OUTSIDE { OUTSIDE } else { line + at });
                        self.reads.push((tap + ix, at));
                    }
                }
            }
        }
    }
}
