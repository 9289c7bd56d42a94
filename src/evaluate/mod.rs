//! How good is an explanation? Metrics that the field uses, each measured on samples with their maps.
//!
//! ```
//! use relprop::evaluate::{Metric, Settings, Subject};
//! use relprop::methods::{Method, Runner};
//! use relprop::{Network, Target, Tensor};
//!
//! # fn main() -> relprop::Result<()> {
//! let mut net = Network::builder("sum of three");
//! let x = net.input("x", &[3]);
//! let y = net.dense("y", x, Tensor::from_f32([1, 3], vec![1.0, 0.0, 0.0])?, None)?;
//! net.output(y);
//! let mut runner = Runner::new(&net.build()?)?;
//! let input = Tensor::from_f32([1, 3], vec![1.0, 2.0, 4.0])?;
//! let method: Method = "epsilon".parse()?;
//! let found = runner.explain(&method, &[input.clone()], &[Target::Best])?;
//! let why = &found.targets[0];
//! let metric: Metric = "sparseness".parse()?;
//! let settings = Settings::default();
//! let subject = Subject { input: &input, classes: &why.chosen, map: &why.relevance[0], method: &method, truth: None };
//! let scores = metric.measure(&mut runner, &subject, &settings)?;
//! // One value has it all.
//! assert!((scores[0].values[0] - 2.0 / 3.0).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

mod complexity;
mod conservation;
mod faithfulness;
mod fill;
mod flipping;
mod infidelity;
mod inpaint;
mod keys;
mod localisation;
mod order;
mod parse;
mod plane;
mod randomisation;
mod remove;
mod road;
mod robustness;
mod similarity;
pub mod statistics;

use crate::error::{Error, Result};
use crate::methods::{Method, Runner};
use crate::tensor::Tensor;

pub use faithfulness::Subsets;
pub use fill::Fill;
pub use flipping::{Flipping, FlippingKind};
pub use infidelity::{Change, Infidelity};
pub use localisation::BoundingBox;
pub use order::Order;
pub use parse::NAMES;
pub use plane::Plane;
pub use randomisation::{LayerOrder, NewWeights, Randomisation};
pub use road::Road;
pub use similarity::spearman;

/// A way to measure explanations.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Metric {
    /// The Gini index of the magnitudes of relevance (Chalasani et al. 2020): 0 when all are equal, towards 1 when one has it
    /// all.
    Sparseness,
    /// The entropy of the shares of the magnitudes, with the natural logarithm (Bhatt et al. 2020): 0 when one value has it
    /// all, log(n) when all n are equal.
    Complexity,
    /// Pixel flipping, region perturbation, deletion, insertion: how the score falls (rises) as relevant regions go (come).
    Flipping(Flipping),
    /// Remove and debias (Rong et al. 2022): the same with holes that the network does not take for an edge.
    Road(Road),
    /// Pearson's correlation, over random subsets of positions, between the sum of the relevance in a subset and the drop of the
    /// score when the subset's values become a baseline (Bhatt et al. 2020). NaN where one of both is the same for all subsets.
    FaithfulnessCorrelation {
        /// How many positions a subset has: the square root of their number by default, 224 of 224×224.
        size: Option<usize>,
        /// The subsets: by default 100, with the baseline 0.
        subsets: Subsets,
    },
    /// The mean of that correlation over several sizes of subsets (Ancona et al. 2018), those left out for which it is NaN. The
    /// curve has the correlation for each.
    SensitivityN {
        /// The sizes: by default five, evenly on a logarithmic scale from 1 to four fifths of the positions.
        sizes: Vec<usize>,
        /// The subsets of each size: by default 100, with the baseline 0.
        subsets: Subsets,
    },
    /// `E[(Iᵀφ − (f(x) − f(x − I)))²]` over random changes I of the input (Yeh et al. 2019); scaled, with βφ in the place of φ,
    /// β = `E[Iᵀφ (f(x) − f(x − I))] / E[(Iᵀφ)²]`.
    ///
    /// φ are slopes of f. Methods whose values are parts R of f have `φ = R / (x − b)`: a square of values that become b takes
    /// the sum of their R. (With [`Change::Noise`] a value that is b itself has `φ = R`.) LRP's parts are of the explained value:
    /// [`ScoreOf::Logit`] or scaling suits them.
    Infidelity(Infidelity),
    /// The largest `‖R(x + δ) − R(x)‖ / ‖R(x)‖` of uniform random δ (Yeh et al. 2019; divided by the size of the map, as Captum
    /// and Quantus do). The class stays. NaN for a map of zeros.
    MaxSensitivity {
        /// How large δ can be at each value, as a share of the sample's largest value less its smallest: 0.02 by default.
        radius: f64,
        /// How many δ: 10 by default.
        runs: usize,
    },
    /// Whether the position of the largest relevance, summed over channels, is inside the truth or near it (Zhang et al. 2018): 1
    /// or 0. Where several have it, the share of them. NaN where the truth is empty.
    PointingGame {
        /// The largest distance that counts, in positions: 0 by default, 15 in the paper.
        tolerance: usize,
    },
    /// The share of the positive relevance, summed over channels, that is inside the truth (Arras et al. 2022: relevance mass
    /// accuracy). NaN where the truth is empty or no relevance positive.
    RelevanceMass,
    /// Of the K positions of the largest relevance, summed over channels, the share that is inside the truth, which has K
    /// positions (Arras et al. 2022: relevance rank accuracy). Positions that tie for the last places share them. NaN where the
    /// truth is empty.
    RelevanceRank,
    /// How alike a map and those of the network with random weights in some layers are (Adebayo et al. 2018): the mean over the
    /// steps of three similarities, Spearman's rank correlation of the magnitudes and of the values, and the structural similarity
    /// (of pictures and signals, channels summed). The curve has the first, from 1 before any step on. A map that has become the
    /// same everywhere counts as 0. NaN where the original is such a map.
    ///
    /// And the rise of the entropy of a histogram of the map (100 bins from its smallest to its largest value) from the network to
    /// that of the last step, as a share (Hedström et al. 2024: efficient MPRT), where that has all weights random.
    ModelRandomisation(Randomisation),
    /// How alike a map and that of another class are (Sixt et al. 2020): the same three similarities, the mean over classes.
    RandomLogit {
        /// How many other classes, at random: 1 by default.
        runs: usize,
    },
    /// `Σ R / f`, f being the explained value, whatever scores are; and how far from 1 it is. NaN for methods whose relevance is
    /// not meant to add up to f.
    Conservation,
}

/// Which values of a metric are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Large ones.
    Higher,
    /// Small ones.
    Lower,
    /// It depends on what is wanted.
    Neither,
}

/// What a metric measures: samples, and what a method says of them.
pub struct Subject<'a> {
    /// N samples of the network's only input.
    pub input: &'a Tensor,
    /// For each sample, the flat index of the output that is explained.
    pub classes: &'a [usize],
    /// The relevance, of the input's shape.
    pub map: &'a Tensor,
    /// What made the map: some metrics explain other inputs, classes or networks by it.
    pub method: &'a Method,
    /// Where what is explained truly is, of each sample one number a position of the [`Plane`], 0 outside and above 0 inside;
    /// row by row.
    pub truth: Option<&'a [Vec<f32>]>,
}

/// What holds for all metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where a picture's channels are.
    pub channels_last: bool,
    /// What of the network's output a score is.
    pub score: ScoreOf,
    /// Which random numbers.
    pub seed: u64,
}

/// What of the network's output a score f is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScoreOf {
    /// The explained value: the logit where the network ends in a softmax.
    Logit,
    /// The softmax of the explained values.
    #[default]
    Probability,
}

impl ScoreOf {
    /// The score of a class, of all values of the explained output.
    ///
    /// # Errors
    /// [`Error::Target`] for a class that there is not. [`Error::Input`] for the probability of an only output, which is always 1.
    pub fn of(self, output: &[f64], class: usize) -> Result<f64> {
        let outside = || Error::Target(format!("class {class} of an output of {} values", output.len()));
        let value = *output.get(class).ok_or_else(outside)?;
        match self {
            ScoreOf::Logit => Ok(value),
            ScoreOf::Probability if output.len() < 2 => {
                let what = "the softmax of one value is always 1: score by the logit";
                Err(Error::Input(format!("the output has one value, and {what}")))
            }
            ScoreOf::Probability => {
                let largest = output.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                Ok((value - largest).exp() / output.iter().map(|y| (y - largest).exp()).sum::<f64>())
            }
        }
    }
}

impl Default for Settings {
    /// Channels first, probabilities, seed 0.
    fn default() -> Settings {
        Settings { channels_last: false, score: ScoreOf::Probability, seed: 0 }
    }
}

/// What a metric says of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// A value for each of the metric's [`Metric::values`]. NaN where the metric does not apply to the sample, as it says:
    /// leave the sample out of means, and tell how many were.
    pub values: Vec<f64>,
    /// What they sum up, if there is such: the score after each step, from before the first on, or what the metric says. NaN as
    /// in the values.
    pub curve: Vec<f64>,
}

/// What maps are compared by.
const SIMILARITIES: [(&str, Better); 3] =
    [("spearman-magnitudes", Better::Lower), ("spearman", Better::Lower), ("ssim", Better::Lower)];

impl Metric {
    /// Whether it needs [`Subject::truth`].
    pub fn needs_truth(&self) -> bool {
        matches!(self, Metric::PointingGame { .. } | Metric::RelevanceMass | Metric::RelevanceRank)
    }

    /// The names of the values that it gives for a sample, and which are good.
    pub fn values(&self) -> Vec<(&'static str, Better)> {
        match self {
            Metric::Sparseness => vec![("sparseness", Better::Higher)],
            Metric::Complexity => vec![("complexity", Better::Lower)],
            Metric::Flipping(flipping) => flipping.values(),
            Metric::Road(road) => road.values(),
            Metric::FaithfulnessCorrelation { .. } => vec![("correlation", Better::Higher)],
            Metric::SensitivityN { .. } => vec![("correlation", Better::Higher)],
            Metric::Infidelity(_) => vec![("infidelity", Better::Lower)],
            Metric::MaxSensitivity { .. } => vec![("max-sensitivity", Better::Lower)],
            Metric::PointingGame { .. } => vec![("hit", Better::Higher)],
            Metric::RelevanceMass => vec![("mass", Better::Higher)],
            Metric::RelevanceRank => vec![("rank", Better::Higher)],
            Metric::ModelRandomisation(_) => {
                SIMILARITIES.into_iter().chain([("entropy-rise", Better::Higher)]).collect()
            }
            Metric::RandomLogit { .. } => SIMILARITIES.to_vec(),
            Metric::Conservation => vec![("conserved", Better::Neither), ("off", Better::Lower)],
        }
    }

    /// What its curve runs over, and what it shows, for the axes of a plot; none where it has no curve.
    pub fn curve(&self) -> Option<[&'static str; 2]> {
        match self {
            Metric::Flipping(flipping) if flipping.normalised => {
                Some(["step", "score, as a part of the whole sample's"])
            }
            Metric::Flipping(_) => Some(["step", "score"]),
            Metric::Road(_) => Some(["tenths of the positions that are away", "score"]),
            Metric::SensitivityN { .. } => Some(["size of the subsets, by number", "correlation"]),
            Metric::ModelRandomisation(_) => Some(["step", "rank correlation of magnitudes"]),
            _ => None,
        }
    }

    /// Measures each sample.
    ///
    /// # Errors
    /// [`Error::Input`] when the subject is not whole: as many classes as samples, a map of the input's shape, a truth where the
    /// metric needs one; and as [`Runner::explain`].
    pub fn measure(&self, runner: &mut Runner, subject: &Subject, settings: &Settings) -> Result<Vec<Score>> {
        let samples = subject.samples()?;
        let map = subject.map.to_vec::<f64>();
        let rows = map.chunks((map.len() / samples).max(1));
        let found = match self {
            Metric::Sparseness => rows.map(complexity::gini).collect(),
            Metric::Complexity => rows.map(complexity::entropy).collect(),
            Metric::Flipping(flipping) => return flipping.measure(runner, subject, settings),
            Metric::Road(road) => return road.measure(runner, subject, settings),
            Metric::FaithfulnessCorrelation { size, subsets } => {
                faithfulness::correlation(*size, *subsets, runner, subject, settings)?
            }
            Metric::SensitivityN { sizes, subsets } => {
                let curves = faithfulness::by_size(sizes, *subsets, runner, subject, settings)?;
                return Ok(curves.into_iter().map(|curve| Score { values: vec![mean(&curve)], curve }).collect());
            }
            Metric::Infidelity(infidelity) => infidelity.measure(runner, subject, settings)?,
            Metric::MaxSensitivity { radius, runs } => {
                robustness::largest_change(*radius, *runs, runner, subject, settings.seed)?
            }
            Metric::PointingGame { tolerance } => localisation::pointing(*tolerance, subject, settings)?,
            Metric::RelevanceMass => localisation::mass(subject, settings)?,
            Metric::RelevanceRank => localisation::rank(subject, settings)?,
            Metric::ModelRandomisation(randomisation) => return randomisation.measure(runner, subject, settings),
            Metric::RandomLogit { runs } => {
                return Ok(without_curves(randomisation::other_classes(*runs, runner, subject, settings)?));
            }
            Metric::Conservation => return Ok(without_curves(conservation::shares(runner, subject)?)),
        };
        Ok(without_curves(found.into_iter().map(|value| [value]).collect()))
    }
}

fn without_curves<const N: usize>(found: Vec<[f64; N]>) -> Vec<Score> {
    found.into_iter().map(|values| Score { values: values.to_vec(), curve: Vec::new() }).collect()
}

/// The mean of the values that are numbers; NaN if none is.
fn mean(values: &[f64]) -> f64 {
    let numbers = || values.iter().filter(|v| !v.is_nan());
    numbers().sum::<f64>() / numbers().count() as f64
}

impl Subject<'_> {
    /// The number of samples.
    ///
    /// # Errors
    /// [`Error::Input`] when the parts do not fit each other.
    pub fn samples(&self) -> Result<usize> {
        let (input, map, classes) = (self.input.shape(), self.map, self.classes.len());
        if input != map.shape() {
            let what = format!("a map of shape {:?} for an input of shape {input:?}", map.shape());
            return Err(Error::Input(what));
        }
        let rows = input.first().copied().unwrap_or(0);
        if classes == 0 || rows % classes != 0 {
            return Err(Error::Input(format!("{classes} classes for an input of shape {input:?}")));
        }
        if let Some(at) = map.first_non_finite() {
            return Err(Error::Input(format!("the map holds NaN or infinity at value {at}")));
        }
        match self.truth {
            Some(truth) if truth.len() != classes => {
                Err(Error::Input(format!("{} masks for {classes} samples", truth.len())))
            }
            _ => Ok(classes),
        }
    }

    /// The positions of each sample.
    ///
    /// # Errors
    /// As [`Subject::samples`]; [`Error::Input`] when the samples are neither pictures, signals nor vectors.
    pub fn plane(&self, settings: &Settings) -> Result<Plane> {
        let (samples, shape) = (self.samples()?, self.input.shape());
        match shape {
            [rows, sample @ ..] if *rows == samples => Plane::of(sample, settings.channels_last),
            _ => Err(Error::Input(format!(
                "{samples} samples in an input of shape {shape:?}: the first axis must be theirs"
            ))),
        }
    }
}
