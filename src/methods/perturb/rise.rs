//! RISE: random masks.

use std::fmt;

use super::{Layout, Start};
use crate::error::Result;
use crate::explain::Explanation;
use crate::methods::Runner;
use crate::random::Random;
use crate::tensor::Tensor;

/// Random masks (Petsiuk et al. 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Masks {
    /// How many.
    pub masks: usize,
    /// Cells of a mask along every axis of positions, at most the axis.
    pub cells: usize,
    /// The probability that a cell is on.
    pub share: f64,
    /// Which masks: the same number gives the same.
    pub seed: u64,
}

impl Default for Masks {
    /// 4000 masks of 7×7 cells, of which half are on, as the authors take.
    fn default() -> Masks {
        Masks { masks: 4000, cells: 7, share: 0.5, seed: 0 }
    }
}

impl fmt::Display for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.masks, self.cells, self.share, self.seed)
    }
}

/// Where between which two cells the positions of an axis lie.
struct Axis {
    cells: usize,
    /// The cell before, the cell behind, and how far it is to the latter.
    places: Vec<(usize, usize, f64)>,
}

impl Masks {
    /// The values of the k-th mask, from 0 to 1: cells on or off, enlarged by linear interpolation to one cell more than the
    /// sample along each axis, and cut out of that at random.
    fn mask(&self, layout: &Layout, k: usize) -> Vec<f64> {
        let mut random = Random::new(self.seed, k as u64);
        let counts: Vec<usize> = layout.axes.iter().map(|size| self.cells.clamp(1, *size)).collect();
        let on: Vec<f64> = (0..counts.iter().product()).map(|_| f64::from(random.uniform() < self.share)).collect();
        let axes: Vec<Axis> =
            layout.axes.iter().zip(&counts).map(|(size, cells)| Axis::of(*size, *cells, &mut random)).collect();
        // Axis after axis, the last first, so that what is left of the cells is in front.
        let mut values = on;
        let mut inner = 1;
        for axis in axes.iter().rev() {
            let block = axis.cells * inner;
            let enlarged = |cells: &[f64]| -> Vec<f64> {
                let between = |(before, behind, part): &(usize, usize, f64), i: usize| {
                    cells[before * inner + i] * (1.0 - part) + cells[behind * inner + i] * part
                };
                axis.places.iter().flat_map(|place| (0..inner).map(move |i| between(place, i))).collect()
            };
            values = values.chunks(block).flat_map(enlarged).collect();
            inner *= axis.places.len();
        }
        values
    }

    /// Σ f(x ⊙ m)·m / (N·p) − Σ f(x ⊙ m) / N.
    pub(super) fn explain(&self, start: Start, runner: &mut Runner, inputs: &[Tensor]) -> Result<Explanation> {
        let layout = &start.layout;
        let masked = |k: usize, sample: usize| {
            let mask = self.mask(layout, k);
            let values = start.samples[sample].iter().enumerate();
            values.map(|(at, value)| value * mask[layout.position(at)]).collect()
        };
        let scores = start.scores_of(runner, inputs, self.masks, masked)?;
        let number = self.masks as f64;
        let mut maps = vec![vec![vec![0.0; layout.positions()]; start.samples.len()]; scores.len()];
        for k in 0..self.masks {
            let mask = self.mask(layout, k);
            for (maps, scores) in maps.iter_mut().zip(&scores) {
                for (map, score) in maps.iter_mut().zip(&scores[k]) {
                    for (sum, m) in map.iter_mut().zip(&mask) {
                        *sum += score * (m / self.share - 1.0) / number;
                    }
                }
            }
        }
        start.finish(&maps)
    }
}

impl Axis {
    /// `size` positions over so many cells, beginning at random within the first of `cells` + 1 cells' worth of positions.
    fn of(size: usize, cells: usize, random: &mut Random) -> Axis {
        let cell = size.div_ceil(cells);
        let first = random.below(cell);
        let scale = cells as f64 / ((cells + 1) * cell) as f64;
        let place = |position: usize| {
            // Middles of positions lie on middles of cells; beyond the outer ones it is flat.
            let at = ((position + first) as f64 + 0.5) * scale - 0.5;
            let at = at.clamp(0.0, (cells - 1) as f64);
            let before = at.floor() as usize;
            (before, (before + 1).min(cells - 1), at - before as f64)
        };
        Axis { cells, places: (0..size).map(place).collect() }
    }
}
