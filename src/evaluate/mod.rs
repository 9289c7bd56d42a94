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
mod fill;
mod flipping;
mod inpaint;
mod keys;
mod order;
mod parse;
mod plane;
mod remove;
mod road;

use crate::error::{Error, Result};
use crate::methods::{Method, Runner};
use crate::tensor::Tensor;

pub use fill::Fill;
pub use flipping::{Flipping, FlippingKind};
pub use order::Order;
pub use parse::NAMES;
pub use plane::Plane;
pub use road::Road;

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
    /// A value for each of the metric's [`Metric::values`].
    pub values: Vec<f64>,
    /// What they sum up, if there is such: the score after each step, from before the first on.
    pub curve: Vec<f64>,
}

impl Metric {
    /// The names of the values that it gives for a sample, and which are good.
    pub fn values(&self) -> Vec<(&'static str, Better)> {
        match self {
            Metric::Sparseness => vec![("sparseness", Better::Higher)],
            Metric::Complexity => vec![("complexity", Better::Lower)],
            Metric::Flipping(flipping) => flipping.values(),
            Metric::Road(road) => road.values(),
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
        let one = |value: f64| Score { values: vec![value], curve: Vec::new() };
        Ok(match self {
            Metric::Sparseness => rows.map(|row| one(complexity::gini(row))).collect(),
            Metric::Complexity => rows.map(|row| one(complexity::entropy(row))).collect(),
            Metric::Flipping(flipping) => flipping.measure(runner, subject, settings)?,
            Metric::Road(road) => road.measure(runner, subject, settings)?,
        })
    }
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
