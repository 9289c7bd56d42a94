//! LIME: a linear model of which segments are there.

use super::solve::Factor;
use super::superpixels::{self, Cut};
use super::{Start, Superpixels};
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::methods::Runner;
use crate::random::Random;
use crate::tensor::Tensor;

/// The width of the kernel, as the authors' package has it.
const WIDTH: f64 = 0.25;
/// The ridge's penalty, as the authors' package has it.
const PENALTY: f64 = 1.0;

/// The coefficient of each segment in the linear model of f.
pub(super) fn explain(
    superpixels: &Superpixels,
    start: Start,
    runner: &mut Runner,
    inputs: &[Tensor],
) -> Result<Explanation> {
    let cuts = superpixels.cut(&start);
    let draws: Vec<Vec<Vec<bool>>> = cuts.iter().map(|cut| selections(superpixels, cut.count)).collect();
    let selection = |k: usize, sample: usize| draws[sample].get(k).map(Vec::as_slice);
    let scores = superpixels::scores(&start, &cuts, runner, inputs, superpixels.samples, selection)?;
    let mut maps = vec![Vec::with_capacity(cuts.len()); scores.len()];
    for (sample, (cut, draws)) in cuts.iter().zip(&draws).enumerate() {
        let model = Surrogate::of(draws, cut.count)?;
        for (maps, scores) in maps.iter_mut().zip(&scores) {
            let values: Vec<f64> = scores.iter().map(|scores| scores[sample]).collect();
            maps.push(Cut::spread(cut, &model.coefficients(draws, &values)));
        }
    }
    start.finish(&maps)
}

/// Which segments are on: all of them first, then each with probability ½.
fn selections(superpixels: &Superpixels, segments: usize) -> Vec<Vec<bool>> {
    let draw = |k: usize| {
        let mut random = Random::new(superpixels.seed, k as u64);
        (0..segments).map(|_| k == 0 || random.uniform() < 0.5).collect()
    };
    (0..superpixels.samples).map(draw).collect()
}

/// What a selection counts: π = √exp(−d²/0.25²), with d = 1 − √(share of segments that are on) the cosine distance between it and
/// all segments.
fn weight(on: &[bool]) -> f64 {
    let share = on.iter().filter(|on| **on).count() as f64 / on.len().max(1) as f64;
    (-0.5 * ((1.0 - share.sqrt()) / WIDTH).powi(2)).exp()
}

/// The weighted ridge regression of f on z, 1 where a segment is on: w minimises Σ π(f − w·z − c)² + ‖w‖², with c free.
pub(super) struct Surrogate {
    weights: Vec<f64>,
    /// The weighted mean of z.
    mean: Vec<f64>,
    factor: Factor,
}

impl Surrogate {
    pub fn of(draws: &[Vec<bool>], segments: usize) -> Result<Surrogate> {
        let weights: Vec<f64> = draws.iter().map(|on| weight(on)).collect();
        let total: f64 = weights.iter().sum();
        let mut mean = vec![0.0; segments];
        let mut matrix = vec![0.0; segments * segments];
        for (on, weight) in draws.iter().zip(&weights) {
            let on: Vec<usize> = (0..segments).filter(|i| on[*i]).collect();
            for i in &on {
                mean[*i] += weight / total;
                on.iter().take_while(|j| *j <= i).for_each(|j| matrix[i * segments + j] += weight);
            }
        }
        // Σ π (z − z̄)(z − z̄)ᵀ, by what c takes.
        for i in 0..segments {
            (0..=i).for_each(|j| matrix[i * segments + j] -= total * mean[i] * mean[j]);
            matrix[i * segments + i] += PENALTY;
        }
        let factor = Factor::of(&matrix, segments)
            .ok_or_else(|| Error::Input(format!("LIME's linear model of {segments} segments has no solution")))?;
        Ok(Surrogate { weights, mean, factor })
    }

    /// w for the scores of the selections.
    pub fn coefficients(&self, draws: &[Vec<bool>], scores: &[f64]) -> Vec<f64> {
        let total: f64 = self.weights.iter().sum();
        let mean = self.weights.iter().zip(scores).map(|(weight, score)| weight * score).sum::<f64>() / total;
        let mut sums = vec![0.0; self.mean.len()];
        for ((on, weight), score) in draws.iter().zip(&self.weights).zip(scores) {
            for ((sum, on), mean_on) in sums.iter_mut().zip(on).zip(&self.mean) {
                *sum += weight * (f64::from(*on) - mean_on) * (score - mean);
            }
        }
        self.factor.solve(&sums)
    }
}
