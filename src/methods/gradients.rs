//! Gradients, and what is made of them at one point or several.

use super::{Method, explained, fixed, repeated, samples, set, variants};
use crate::error::Result;
use crate::explain::{Explanation, Target, scores};
use crate::methods::Runner;
use crate::random::Random;
use crate::tensor::Tensor;

/// Noisy copies of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// How many.
    pub copies: usize,
    /// The deviation of the normal noise, as a share of the sample's largest value less its smallest.
    pub deviation: f64,
    /// Which noise: the same number gives the same.
    pub seed: u64,
}

impl Default for Noise {
    /// 20 copies with a deviation of 0.1.
    fn default() -> Noise {
        Noise { copies: 20, deviation: 0.1, seed: 0 }
    }
}

/// Sums over the points at which gradients were taken: for each target and each input of the network.
struct Sums {
    gradients: Vec<Vec<Vec<f64>>>,
    squares: Vec<Vec<Vec<f64>>>,
}

/// What a method of gradients says of samples.
pub(super) fn explain(
    method: &Method,
    runner: &mut Runner,
    inputs: &[Tensor],
    targets: &[Target],
) -> Result<Explanation> {
    let mut found = explained(method, runner, inputs, targets)?;
    let values: Vec<Vec<f64>> = inputs.iter().map(Tensor::to_vec).collect();
    let samples = samples(&found);
    let fixed = fixed(&found);
    let mut seeds = scores(&fixed, &found.output, samples);
    match method {
        Method::AbsoluteGradient => change(&mut found, |_, _, r| r.abs())?,
        Method::Sensitivity => change(&mut found, |_, _, r| r * r)?,
        Method::GradientTimesInput => change(&mut found, |input, at, r| r * values[input][at])?,
        Method::SmoothGrad(noise) | Method::VarGrad(noise) => {
            let point = |k: usize, input: usize| noise.copy(&values[input], samples, k, input);
            let sums = sums(method, runner, inputs, &fixed, [noise.copies, samples], point)?;
            let n = noise.copies as f64;
            set(&mut found, |target, input, at| {
                let mean = sums.gradients[target][input][at] / n;
                match method {
                    Method::VarGrad(_) => ((sums.squares[target][input][at] - n * mean * mean) / (n - 1.0)).max(0.0),
                    _ => mean,
                }
            })?;
        }
        Method::IntegratedGradients { steps, baseline } => {
            let point = |k: usize, input: usize| {
                let part = (k + 1) as f64 / *steps as f64;
                values[input].iter().map(|x| baseline + (x - baseline) * part).collect()
            };
            let sums = sums(method, runner, inputs, &fixed, [*steps, samples], point)?;
            set(&mut found, |target, input, at| {
                (values[input][at] - baseline) * sums.gradients[target][input][at] / *steps as f64
            })?;
            let blank = |input: &Tensor| Tensor::from_f64(input.shape(), vec![*baseline; input.len()]);
            let blank = inputs.iter().map(blank).collect::<Result<Vec<_>>>()?;
            let from = scores(&fixed, &runner.predict(&blank)?, samples);
            for (score, from) in seeds.iter_mut().flatten().zip(from.iter().flatten()) {
                *score -= from;
            }
        }
        _ => {}
    }
    for (target, seed) in found.targets.iter_mut().zip(seeds) {
        target.seed = seed;
    }
    Ok(found)
}

impl Noise {
    /// The k-th noisy copy of the samples of an input. Each sample gets the same noise, so that a sample's map is the same alone
    /// and among others.
    fn copy(&self, values: &[f64], samples: usize, k: usize, input: usize) -> Vec<f64> {
        let len = (values.len() / samples).max(1);
        let mut random = Random::new(self.seed, (k as u64) << 16 | input as u64);
        let noise: Vec<f64> = (0..len).map(|_| random.normal()).collect();
        let mut copy = values.to_vec();
        for sample in copy.chunks_mut(len) {
            let (low, high) =
                sample.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
            for (value, normal) in sample.iter_mut().zip(&noise) {
                *value += self.deviation * (high - low) * normal;
            }
        }
        copy
    }
}

/// Gradients at `points` points of each of the `samples`, a few batches at once.
fn sums(
    method: &Method,
    runner: &mut Runner,
    inputs: &[Tensor],
    targets: &[Target],
    [points, samples]: [usize; 2],
    point: impl Fn(usize, usize) -> Vec<f64>,
) -> Result<Sums> {
    let blank = || -> Vec<Vec<Vec<f64>>> {
        targets.iter().map(|_| inputs.iter().map(|input| vec![0.0; input.len()]).collect()).collect()
    };
    let mut sums = Sums { gradients: blank(), squares: blank() };
    let together = (runner.together() / samples).max(1);
    for first in (0..points).step_by(together) {
        let range = first..(first + together).min(points);
        let targets: Vec<Target> = targets.iter().map(|t| repeated(t, range.len())).collect();
        let found = explained(method, runner, &variants(inputs, range, &point)?, &targets)?;
        for (target, found) in found.targets.iter().enumerate() {
            for (input, relevance) in found.relevance.iter().enumerate() {
                let (sums, squares) = (&mut sums.gradients[target][input], &mut sums.squares[target][input]);
                for (at, gradient) in relevance.to_vec::<f64>().into_iter().enumerate() {
                    let at = at % sums.len();
                    sums[at] += gradient;
                    squares[at] += gradient * gradient;
                }
            }
        }
    }
    Ok(sums)
}

/// Puts `value(input, position, relevance)` in place of every relevance.
fn change(found: &mut Explanation, value: impl Fn(usize, usize, f64) -> f64) -> Result<()> {
    for target in &mut found.targets {
        for (i, relevance) in target.relevance.iter_mut().enumerate() {
            let values = relevance.to_vec::<f64>().into_iter().enumerate().map(|(at, r)| value(i, at, r)).collect();
            *relevance = relevance.with_values(values)?;
        }
    }
    Ok(())
}
