//! What LRP is compared with, and LRP itself, as [`Method`]s that one [`Runner`] runs on a network.

mod cam;
mod gradients;
mod parse;
mod perturb;
mod runner;

use std::time::Instant;

use crate::error::Result;
use crate::explain::{Explanation, Precision, Target, TargetExplanation, Timings, scores};
use crate::network::{Network, ValueId};
use crate::plan::SeedAmount;
use crate::random::Random;
use crate::rules::{Bounds, Composite};
use crate::tensor::Tensor;

pub use gradients::Noise;
pub use parse::NAMES;
pub use perturb::{Fill, Masks, Occlusion, Segmentation, Superpixels};
pub use runner::Runner;
pub(crate) use runner::{Key, repeated, variants};

/// A method that gives each input value its part in an output f.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// A composite: layer-wise relevance propagation, which starts with f, or one of its relatives that hand gradients on
    /// (guided backpropagation, DeconvNet), which start with 1.
    Lrp(Box<Composite>),
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
    /// Grad-CAM (Selvaraju et al. 2017): max(Σ_k α_k A_k, 0), where A_k is channel k of a layer and α_k the mean of ∂f/∂A_k over
    /// its positions. It is interpolated linearly from the layer's positions to the input's (pixels are areas: align_corners is
    /// false), and each of an input's channels gets the value divided by their number, so that the sum over channels is
    /// the map. It is in units of f, but its sum means nothing; an input without the layer's axes gets 0.
    ///
    /// Captum's `LayerGradCam` takes the layer's own size, and `LayerAttribution.interpolate` the nearest position unless told.
    GradCam {
        /// The layer, or tensor: samples × channels × 1 to 3 axes. Without a name it is the last feature map, for its channels
        /// stand for the most that has still positions: the output of the last convolution with more than one position, on
        /// through batch normalisation, activation, sum with a shortcut and concatenation with other branches.
        layer: Option<String>,
    },
    /// Grad-CAM's map, not divided by channels, times guided backpropagation at each value (Selvaraju et al. 2017). Captum's
    /// `GuidedGradCam` is the same with `interpolate_mode="bilinear"`; it takes the nearest position unless told.
    GuidedGradCam {
        /// As Grad-CAM's.
        layer: Option<String>,
    },
    /// f(x) − f(x with a window filled) at the window's positions, averaged over the windows that a position is in (Zeiler and
    /// Fergus 2014). In units of f; the sum means nothing, since windows overlap.
    Occlusion(Occlusion),
    /// The coefficients of segments in a linear model of f where they are there or not (Ribeiro et al. 2016), at each position of
    /// the segment. It is fitted by ridge regression, with the kernel, penalty and width that the authors' package takes for
    /// pictures. In units of f; what segments add up to is close to f(x) − f(all filled) where f is close to linear.
    Lime(Superpixels),
    /// The Shapley values of segments, at each position of the segment, by the weighted regression of Lundberg and Lee 2017. In
    /// units of f; segments, each counted once, add up to f(x) − f(all filled). They are exact where all selections of a
    /// sample's segments, 2^M of M, are no more than its `samples`.
    KernelShap(Superpixels),
    /// Σ f(x ⊙ m)·m / (N·p) − Σ f(x ⊙ m) / N over N random masks m, of mean p (Petsiuk et al. 2018): how much higher f is on average
    /// where a position is seen. The authors' map is the first term alone; the second, one number for the whole map, makes 0
    /// mean no influence and leaves the order of positions as it is. In units of f; the sum means nothing.
    Rise(Masks),
    /// Uniform random numbers from −1 to 1, the same for every sample: what a method must be better than.
    Random {
        /// Which numbers.
        seed: u64,
    },
}

impl Method {
    /// Gives a composite that makes use of bounds and has none what inputs lie between; leaves other methods as they are.
    pub fn with_bounds(self, bounds: Bounds) -> Method {
        match self {
            Method::Lrp(composite) if composite.takes_bounds() => Method::Lrp(Box::new(composite.with_bounds(bounds))),
            other => other,
        }
    }

    /// Whether it hands relevance on so that its sum is meant to stay f.
    pub fn conserves(&self) -> bool {
        matches!(self, Method::Lrp(composite) if composite.conserves())
    }

    /// Whether its values are slopes of f or made of such, what f gains for each unit of an input value, rather than parts of f.
    pub fn gives_slopes(&self) -> bool {
        match self {
            Method::Lrp(composite) => composite.gives_slopes(),
            Method::Gradient | Method::AbsoluteGradient | Method::Sensitivity => true,
            Method::SmoothGrad(_) | Method::VarGrad(_) => true,
            _ => false,
        }
    }

    /// Into how many variants of itself a sample of a network is made: noisy copies, steps, masked copies; 1 for one pass.
    pub fn points(&self, network: &Network) -> usize {
        match self {
            Method::SmoothGrad(noise) | Method::VarGrad(noise) => noise.copies,
            Method::IntegratedGradients { steps, .. } => *steps,
            _ => perturb::points(self, network),
        }
    }

    /// The explainer that it runs on, if it is not content with the forward pass.
    fn key(&self, network: &Network, output: ValueId) -> Result<Option<Key>> {
        let key = |composite: Composite, seed: SeedAmount| Key { composite, seed, layers: Vec::new() };
        Ok(match self {
            Method::Lrp(composite) => {
                let seed = if composite.conserves() { SeedAmount::Logit } else { SeedAmount::One };
                Some(key(composite.as_ref().clone(), seed))
            }
            Method::Random { .. } => None,
            Method::GradCam { layer } | Method::GuidedGradCam { layer } => {
                let layers = vec![cam::layer(network, output, layer.as_deref())?];
                Some(Key { layers, ..key(Composite::parse("gradient")?, SeedAmount::One) })
            }
            Method::Occlusion(_) | Method::Lime(_) | Method::KernelShap(_) | Method::Rise(_) => {
                perturb::check(self, network)?;
                None
            }
            _ => Some(key(Composite::parse("gradient")?, SeedAmount::One)),
        })
    }

    /// Explains samples. Where what is explained depends on the output ([`Target::Best`]), the samples themselves decide it.
    /// The seeds are f(x), less f(b) for integrated gradients and Kernel SHAP. Only composites tell of conservation.
    fn explain(&self, runner: &mut Runner, inputs: &[Tensor], targets: &[Target]) -> Result<Explanation> {
        let start = Instant::now();
        let mut found = match self {
            Method::Random { seed } => {
                let Forward { mut found, samples, .. } = Forward::of(runner, inputs, targets)?;
                let values: Vec<Vec<f64>> =
                    inputs.iter().enumerate().map(|(i, input)| noise(*seed, i, input.len() / samples)).collect();
                set(&mut found, |_, input, at| values[input][at % values[input].len()])?;
                found
            }
            Method::GradCam { layer } => cam::explain(self, layer.as_deref(), false, runner, inputs, targets)?,
            Method::GuidedGradCam { layer } => cam::explain(self, layer.as_deref(), true, runner, inputs, targets)?,
            Method::Lrp(composite) => {
                let mut found = explained(self, runner, inputs, targets)?;
                if !composite.conserves() {
                    let samples = samples(&found);
                    let seeds = scores(&fixed(&found), &found.output, samples);
                    found.targets.iter_mut().zip(seeds).for_each(|(target, seed)| target.seed = seed);
                }
                found
            }
            Method::Occlusion(_) | Method::Lime(_) | Method::KernelShap(_) | Method::Rise(_) => {
                perturb::explain(self, runner, inputs, targets)?
            }
            _ => gradients::explain(self, runner, inputs, targets)?,
        };
        found.timings.run = start.elapsed();
        Ok(found)
    }
}

/// What the explainer of a method says of samples.
fn explained(method: &Method, runner: &mut Runner, inputs: &[Tensor], targets: &[Target]) -> Result<Explanation> {
    match method.key(runner.network(), runner.output_id())? {
        Some(key) => {
            let samples = runner.samples(inputs)?;
            runner.explainer(&key, samples)?.explain(inputs, targets)
        }
        None => Ok(Forward::of(runner, inputs, targets)?.found),
    }
}

/// What a method begins with that is content with the forward pass.
struct Forward {
    /// Everything but the relevance, which is 0.
    found: Explanation,
    /// The targets, with those that depend on the output decided by the samples themselves.
    targets: Vec<Target>,
    samples: usize,
}

impl Forward {
    fn of(runner: &mut Runner, inputs: &[Tensor], targets: &[Target]) -> Result<Forward> {
        let samples = runner.samples(inputs)?;
        let precise = runner.device()?.precision == Precision::F64;
        let output = runner.predict(inputs)?;
        let name = runner.network().name().to_string();
        let rows = output.to_vec::<f64>();
        let values = rows.len() / samples;
        targets.iter().try_for_each(|target| target.check(values, samples, &name))?;
        let blank = |input: &Tensor| match precise {
            true => Tensor::from_f64(input.shape(), vec![0.0; input.len()]),
            false => Tensor::from_f32(input.shape(), vec![0.0; input.len()]),
        };
        let explained = |target: &Target| -> Result<TargetExplanation> {
            let chosen = rows.chunks(values).enumerate().map(|(i, row)| target.chosen(row, SeedAmount::Logit, i).0);
            Ok(TargetExplanation {
                target: target.clone(),
                chosen: chosen.collect(),
                seed: Vec::new(),
                relevance: inputs.iter().map(blank).collect::<Result<_>>()?,
                layers: Vec::new(),
                conservation: Vec::new(),
            })
        };
        let targets = targets.iter().map(explained).collect::<Result<Vec<_>>>()?;
        let mut found = Explanation { output, targets, timings: Timings::default() };
        let targets = fixed(&found);
        let seeds = scores(&targets, &found.output, samples);
        found.targets.iter_mut().zip(seeds).for_each(|(target, seed)| target.seed = seed);
        Ok(Forward { found, targets, samples })
    }
}

/// Random numbers for a sample of an input.
fn noise(seed: u64, input: usize, len: usize) -> Vec<f64> {
    let mut random = Random::new(seed, input as u64);
    (0..len).map(|_| 2.0 * random.uniform() - 1.0).collect()
}

/// Number of samples.
fn samples(found: &Explanation) -> usize {
    found.targets.first().map_or(1, |t| t.chosen.len()).max(1)
}

/// The targets with what they were found to be.
fn fixed(found: &Explanation) -> Vec<Target> {
    let fix = |target: &TargetExplanation| match &target.target {
        Target::Best | Target::Top(_) => Target::Each(target.chosen.clone()),
        other => other.clone(),
    };
    found.targets.iter().map(fix).collect()
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
