//! What LRP is compared with: gradients and what is made of them, on the same [`Explainer`], in batches.
//!
//! A method needs an explainer of its [`composite`](Method::composite) that starts with 1:
//!
//! ```
//! use relprop::methods::Method;
//! use relprop::{Explainer, Network, SeedAmount, Target, Tensor};
//!
//! # fn main() -> relprop::Result<()> {
//! let mut net = Network::builder("sum of three");
//! let x = net.input("x", &[3]);
//! let y = net.dense("y", x, Tensor::from_f32([1, 3], vec![1.0, -2.0, 0.5])?, None)?;
//! net.output(y);
//! let network = net.build()?;
//! let method: Method = "integrated-gradients:50".parse()?;
//! let builder = Explainer::builder(&network, method.composite()?).seed(SeedAmount::One).batch(8);
//! let mut explainer = builder.build()?;
//! let x = Tensor::from_f32([1, 3], vec![1.0, 2.0, 4.0])?;
//! let found = method.explain(&mut explainer, &[x], &[Target::Best])?;
//! let relevance = found.targets[0].relevance[0].to_vec::<f64>();
//! assert!(relevance.iter().zip([1.0, -4.0, 2.0]).all(|(r, want)| (r - want).abs() < 1e-5));
//! # Ok(())
//! # }
//! ```

mod parse;

use std::f64::consts::TAU;
use std::time::Instant;

use crate::architectures::random;
use crate::error::{Error, Result};
use crate::explain::{Explainer, Explanation, Target};
use crate::plan::SeedAmount;
use crate::rules::Composite;
use crate::tensor::Tensor;

pub use parse::NAMES;

/// A method that gives each input value its part in an output f, from gradients of f.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// ∂f/∂x.
    Gradient,
    /// |∂f/∂x| (saliency; Simonyan et al. 2014).
    AbsoluteGradient,
    /// (∂f/∂x)² (sensitivity analysis).
    Sensitivity,
    /// x · ∂f/∂x.
    GradientTimesInput,
    /// The mean of ∂f/∂x over noisy copies of x (Smilkov et al. 2017).
    SmoothGrad(Noise),
    /// The variance of ∂f/∂x over noisy copies of x, with n − 1 in the denominator (Adebayo et al. 2018).
    VarGrad(Noise),
    /// (x − b) · (1/n) Σ_{k=1..n} ∂f/∂x at b + (x − b)·k/n (Sundararajan et al. 2017): the parts add up to about f(x) − f(b).
    IntegratedGradients {
        /// n.
        steps: usize,
        /// b, the same for every value.
        baseline: f64,
    },
}

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

impl Method {
    /// The composite of the explainer that the method runs on.
    ///
    /// # Errors
    /// None today.
    pub fn composite(&self) -> Result<Composite> {
        Composite::parse("gradient")
    }

    /// At how many points of a sample gradients are taken.
    pub fn points(&self) -> usize {
        match self {
            Method::SmoothGrad(noise) | Method::VarGrad(noise) => noise.copies,
            Method::IntegratedGradients { steps, .. } => *steps,
            _ => 1,
        }
    }

    /// Explains samples, as [`Explainer::explain`] does. Noisy copies and steps fill its batches. Where what is explained depends
    /// on the output ([`Target::Best`]), the samples themselves decide it. The seeds are f(x), less f(b) for integrated gradients;
    /// there is no conservation to report.
    ///
    /// # Errors
    /// [`Error::Input`] when the explainer is not one of the method's composite that starts with 1, and as
    /// [`Explainer::explain`].
    pub fn explain(&self, explainer: &mut Explainer, inputs: &[Tensor], targets: &[Target]) -> Result<Explanation> {
        if explainer.composite().name() != self.composite()?.name() || explainer.seed() != SeedAmount::One {
            let what = "needs an explainer of the composite \"gradient\" whose seed is 1 (SeedAmount::One)";
            return Err(Error::Input(format!("the method {self} {what}")));
        }
        let start = Instant::now();
        let mut found = explainer.explain(inputs, targets)?;
        let values: Vec<Vec<f64>> = inputs.iter().map(Tensor::to_vec).collect();
        let samples = found.targets.first().map_or(1, |t| t.chosen.len()).max(1);
        let fixed: Vec<Target> = found.targets.iter().map(|t| fix(&t.target, &t.chosen)).collect();
        let mut seeds = scores(&fixed, &found.output, samples);
        match self {
            Method::Gradient => {}
            Method::AbsoluteGradient => change(&mut found, |_, _, r| r.abs())?,
            Method::Sensitivity => change(&mut found, |_, _, r| r * r)?,
            Method::GradientTimesInput => change(&mut found, |input, at, r| r * values[input][at])?,
            Method::SmoothGrad(noise) | Method::VarGrad(noise) => {
                let point = |k: usize, input: usize| noise.copy(&values[input], samples, k, input);
                let sums = sums(explainer, inputs, &fixed, [noise.copies, samples], point)?;
                let n = noise.copies as f64;
                set(&mut found, |target, input, at| {
                    let mean = sums.gradients[target][input][at] / n;
                    match self {
                        Method::VarGrad(_) => {
                            ((sums.squares[target][input][at] - n * mean * mean) / (n - 1.0)).max(0.0)
                        }
                        _ => mean,
                    }
                })?;
            }
            Method::IntegratedGradients { steps, baseline } => {
                let point = |k: usize, input: usize| {
                    let part = (k + 1) as f64 / *steps as f64;
                    values[input].iter().map(|x| baseline + (x - baseline) * part).collect()
                };
                let sums = sums(explainer, inputs, &fixed, [*steps, samples], point)?;
                set(&mut found, |target, input, at| {
                    (values[input][at] - baseline) * sums.gradients[target][input][at] / *steps as f64
                })?;
                let blank = |input: &Tensor| Tensor::from_f64(input.shape(), vec![*baseline; input.len()]);
                let blank = inputs.iter().map(blank).collect::<Result<Vec<_>>>()?;
                let from = scores(&fixed, &explainer.explain(&blank, &fixed)?.output, samples);
                for (score, from) in seeds.iter_mut().flatten().zip(from.iter().flatten()) {
                    *score -= from;
                }
            }
        }
        for (target, (seed, asked)) in found.targets.iter_mut().zip(seeds.into_iter().zip(targets)) {
            (target.seed, target.target) = (seed, asked.clone());
            target.conservation.clear();
        }
        found.timings.run = start.elapsed();
        Ok(found)
    }
}

impl Noise {
    /// The k-th noisy copy of the samples of an input. Each sample gets the same noise, so that a sample's map is the same alone
    /// and among others.
    fn copy(&self, values: &[f64], samples: usize, k: usize, input: usize) -> Vec<f64> {
        let len = (values.len() / samples).max(1);
        let seed =
            |draw: u64| self.seed.wrapping_mul(0x9E37_79B9).wrapping_add((k as u64) << 16 | (input as u64) << 1 | draw);
        let draw = |n: u64| random::uniform(seed(n), len, 0.0, 1.0);
        let (radius, angle) = (draw(0), draw(1));
        let mut copy = values.to_vec();
        for sample in copy.chunks_mut(len) {
            let (low, high) =
                sample.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
            for ((value, u), v) in sample.iter_mut().zip(&radius).zip(&angle) {
                // Box and Muller. 1 − u is 0 where u was rounded to 1: the least that float32 tells from it is 2⁻²⁴.
                let (left, turn) = ((1.0 - f64::from(*u)).max(2f64.powi(-24)), f64::from(*v));
                let normal = (-2.0 * left.ln()).sqrt() * (TAU * turn).cos();
                *value += self.deviation * (high - low) * normal;
            }
        }
        copy
    }
}

/// The target with what it was found to be.
fn fix(target: &Target, chosen: &[usize]) -> Target {
    match target {
        Target::Best | Target::Top(_) => Target::Each(chosen.to_vec()),
        other => other.clone(),
    }
}

/// f of each target and sample.
fn scores(targets: &[Target], output: &Tensor, samples: usize) -> Vec<Vec<f64>> {
    let output = output.to_vec::<f64>();
    let score = |target: &Target, (sample, output): (usize, &[f64])| match target {
        Target::Vector(vector) => vector.iter().zip(output).map(|(v, y)| v * y).sum(),
        target => target.chosen(output, SeedAmount::Logit, sample).1,
    };
    let rows = || output.chunks((output.len() / samples).max(1)).enumerate();
    targets.iter().map(|target| rows().map(|row| score(target, row)).collect()).collect()
}

/// Gradients at `points` points of each of the `samples`, as many at once as a batch holds.
fn sums(
    explainer: &mut Explainer,
    inputs: &[Tensor],
    targets: &[Target],
    [points, samples]: [usize; 2],
    point: impl Fn(usize, usize) -> Vec<f64>,
) -> Result<Sums> {
    let blank = || -> Vec<Vec<Vec<f64>>> {
        targets.iter().map(|_| inputs.iter().map(|input| vec![0.0; input.len()]).collect()).collect()
    };
    let mut sums = Sums { gradients: blank(), squares: blank() };
    let together = (explainer.batch() / samples).max(1);
    for first in (0..points).step_by(together) {
        let range = first..(first + together).min(points);
        let copies = |(i, input): (usize, &Tensor)| {
            let mut shape = input.shape().to_vec();
            if let Some(rows) = shape.first_mut() {
                *rows *= range.len();
            }
            Tensor::from_f64(shape, range.clone().flat_map(|k| point(k, i)).collect())
        };
        let inputs = inputs.iter().enumerate().map(copies).collect::<Result<Vec<_>>>()?;
        let repeated = |target: &Target| match target {
            Target::Each(indices) => Target::Each(indices.repeat(range.len())),
            other => other.clone(),
        };
        let found = explainer.explain(&inputs, &targets.iter().map(repeated).collect::<Vec<_>>())?;
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

/// Puts `value(target, input, position)` in place of every relevance.
fn set(found: &mut Explanation, value: impl Fn(usize, usize, usize) -> f64) -> Result<()> {
    for (t, target) in found.targets.iter_mut().enumerate() {
        for (i, relevance) in target.relevance.iter_mut().enumerate() {
            *relevance = relevance.with_values((0..relevance.len()).map(|at| value(t, i, at)).collect())?;
        }
    }
    Ok(())
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
