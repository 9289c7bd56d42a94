//! How well relevance predicts what a change of the input does to the score.

use super::faithfulness::scores;
use super::{Plane, Settings, Subject};
use crate::error::{Error, Result};
use crate::methods::Runner;
use crate::random::Random;

/// Keeps these random numbers apart from those of other metrics.
const STREAM: u64 = 1 << 60;

/// How infidelity is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Infidelity {
    /// How the input is changed.
    pub change: Change,
    /// How often.
    pub runs: usize,
    /// Whether the relevance is scaled by the factor that predicts best, so that its size does not count.
    pub scaled: bool,
    /// b, what values become: a value of the network's input, after all preprocessing.
    pub baseline: f64,
}

/// How an input x becomes x − I.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// The values of a square of positions become b; each place of the square is as likely as another. With signals and vectors
    /// a square is a stretch.
    Square {
        /// The side; without one, an eighth of the shorter side of the sample.
        side: Option<usize>,
    },
    /// All values become b and normal noise.
    Noise {
        /// The noise's deviation, as a share of the sample's largest value less its smallest.
        deviation: f64,
    },
}

impl Default for Infidelity {
    /// 100 squares of an eighth of the shorter side, with the baseline 0, not scaled.
    fn default() -> Infidelity {
        Infidelity { change: Change::Square { side: None }, runs: 100, scaled: false, baseline: 0.0 }
    }
}

impl Infidelity {
    /// The infidelity for each sample. All samples are changed at the same places and by the same noise, and so is a sample
    /// alone.
    pub(super) fn measure(self, runner: &mut Runner, subject: &Subject, settings: &Settings) -> Result<Vec<f64>> {
        let plane = subject.plane(settings)?;
        let (samples, map) = (subject.samples()?, subject.map.to_vec::<f64>());
        let len = map.len() / samples;
        let slopes = subject.method.gives_slopes();
        let places = self.places(plane, settings.seed)?;
        let mut predicted = vec![vec![0.0; self.runs]; samples];
        let scores = scores(runner, subject, settings, self.runs, |sample, run, copy| {
            let before = copy.to_vec();
            self.change(copy, plane, &places, run, settings.seed);
            let map = &map[sample * len..][..len];
            predicted[sample][run] = self.predicted(slopes, &before, copy, map, plane, places.get(run));
        })?;
        let drops = scores.iter().map(|scores| scores[1..].iter().map(|score| scores[0] - score).collect());
        Ok(predicted.iter().zip(drops).map(|(predicted, drops): (_, Vec<f64>)| self.off(predicted, &drops)).collect())
    }

    /// What the relevance says that the score loses when x becomes y: Iᵀφ.
    fn predicted(self, slopes: bool, x: &[f64], y: &[f64], map: &[f64], plane: Plane, place: Option<&Place>) -> f64 {
        let lost = |at: usize| (x[at] - y[at]) * map[at];
        // A square takes the whole of a value, noise a share of it.
        let share = |at: usize| if x[at] == self.baseline { 1.0 } else { 1.0 / (x[at] - self.baseline) };
        match (slopes, place) {
            (true, Some(place)) => place.values(plane).map(lost).sum(),
            (false, Some(place)) => place.values(plane).map(|at| map[at]).sum(),
            (true, None) => (0..x.len()).map(lost).sum(),
            (false, None) => (0..x.len()).map(|at| share(at) * lost(at)).sum(),
        }
    }

    /// The mean square of what the prediction is off by.
    fn off(self, predicted: &[f64], drops: &[f64]) -> f64 {
        let pairs = || predicted.iter().zip(drops);
        let (products, squares) = pairs().fold((0.0, 0.0), |(ab, aa), (a, b)| (ab + a * b, aa + a * a));
        let factor = if self.scaled && squares > 0.0 { products / squares } else { 1.0 };
        pairs().map(|(a, b)| (factor * a - b).powi(2)).sum::<f64>() / predicted.len() as f64
    }

    /// Where the squares are; none for noise.
    fn places(self, plane: Plane, seed: u64) -> Result<Vec<Place>> {
        let Change::Square { side } = self.change else { return Ok(Vec::new()) };
        let (height, width) = (plane.height, plane.width);
        let shorter = if height == 1 { width } else { height.min(width) };
        let side = side.unwrap_or((shorter / 8).max(1));
        if side == 0 || side > shorter {
            return Err(Error::Input(format!("squares of side {side} for {height}×{width} positions")));
        }
        let rows = side.min(height);
        let place = |run: usize| {
            let mut random = Random::new(seed, STREAM | run as u64);
            Place { top: random.below(height - rows + 1), left: random.below(width - side + 1), rows, columns: side }
        };
        Ok((0..self.runs).map(place).collect())
    }

    fn change(self, copy: &mut [f64], plane: Plane, places: &[Place], run: usize, seed: u64) {
        match (self.change, places.get(run)) {
            (Change::Noise { deviation }, _) => {
                let (low, high) =
                    copy.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
                let mut random = Random::new(seed, STREAM | run as u64);
                copy.iter_mut().for_each(|v| *v = self.baseline + deviation * (high - low) * random.normal());
            }
            (Change::Square { .. }, Some(place)) => place.values(plane).for_each(|at| copy[at] = self.baseline),
            (Change::Square { .. }, None) => {}
        }
    }
}

/// A square of positions.
#[derive(Clone, Copy)]
struct Place {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

impl Place {
    /// Where the values of its positions lie in the sample.
    fn values(self, plane: Plane) -> impl Iterator<Item = usize> {
        let rows = self.top..self.top + self.rows;
        let positions =
            rows.flat_map(move |row| (self.left..self.left + self.columns).map(move |c| row * plane.width + c));
        positions.flat_map(move |position| (0..plane.channels).map(move |channel| plane.at(channel, position)))
    }
}
