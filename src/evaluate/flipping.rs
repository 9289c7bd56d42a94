//! Taking regions away step by step.

use super::fill::Fill;
use super::order::Order;
use super::remove::{Removal, remove};
use super::{Better, Plane, Score, Settings, Subject};
use crate::error::Result;
use crate::methods::Runner;

/// Regions are taken away (or put in) step by step, in the order of their relevance; after each step the score f is taken.
///
/// With R regions, of which the share `upto` goes in L steps, ⌊k·upto·R / L⌋ are away after step k; x_k is the sample then. Its
/// values are, with f(x_k) divided by the score of the whole sample where it is `normalised`:
///
/// - `aopc`, the area over the perturbation curve: `1/(L+1) · Σ_{k=0..L} (f(x_0) − f(x_k))` (Samek et al. 2017);
/// - `auc`, the area under the curve: the mean height of f(x_k) over the share of regions that are away (put in), by the
///   trapezoid rule. With `upto` 1 it is the area itself.
///
/// Normalised, the curve begins at 1 and samples of which the network is more and less sure count alike. Where the score of the
/// whole sample is not above 0, which logits may be, the quotient says nothing: the values are NaN and there is no curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flipping {
    /// What it is called, and whether regions go or come.
    pub kind: FlippingKind,
    /// Positions along the side of a region, all channels together; 1 means single pixels. None means 1 for each 28 positions of
    /// a picture's shorter side (8 of 224), and 1 where there is one row. What is left at the right and lower border makes
    /// smaller regions. The relevance of a region is the sum over its positions and channels.
    pub size: Option<usize>,
    /// What goes (comes) first.
    pub order: Order,
    /// L; as many as there are regions where those are fewer.
    pub steps: usize,
    /// The share of regions that go (come) in all, above 0, up to 1.
    pub upto: f64,
    /// What stands where something was taken away.
    pub fill: Fill,
    /// Whether scores are divided by the score of the whole sample.
    pub normalised: bool,
}

/// Names of [`Flipping`], with what they mean unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlippingKind {
    /// Single pixels, 100 steps, the channel's mean, normalised; gives `aopc` and `auc` (Bach et al. 2015).
    PixelFlipping,
    /// Regions by the size of the picture, 100 steps, uniform noise, normalised; gives `aopc` and `auc` (Samek et al. 2017).
    RegionPerturbation,
    /// Single pixels, 100 steps, zeros, not normalised; gives `auc` (Petsiuk et al. 2018).
    Deletion,
    /// The same, put into the blurred picture step by step.
    Insertion,
}

impl FlippingKind {
    /// Their names.
    pub const ALL: [(&'static str, FlippingKind); 4] = [
        ("pixel-flipping", FlippingKind::PixelFlipping),
        ("region-perturbation", FlippingKind::RegionPerturbation),
        ("deletion", FlippingKind::Deletion),
        ("insertion", FlippingKind::Insertion),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            FlippingKind::PixelFlipping => "pixel-flipping",
            FlippingKind::RegionPerturbation => "region-perturbation",
            FlippingKind::Deletion => "deletion",
            FlippingKind::Insertion => "insertion",
        }
    }

    /// What it means unless told otherwise.
    pub fn usual(self) -> Flipping {
        let (size, fill, normalised) = match self {
            FlippingKind::PixelFlipping => (Some(1), Fill::Mean, true),
            FlippingKind::RegionPerturbation => (None, Fill::Noise, true),
            FlippingKind::Deletion => (Some(1), Fill::Zero, false),
            FlippingKind::Insertion => (Some(1), Fill::BLUR, false),
        };
        Flipping { kind: self, size, order: Order::Morf, steps: 100, upto: 1.0, fill, normalised }
    }
}

impl Flipping {
    /// The size of its regions.
    fn side(&self, plane: &Plane) -> usize {
        let usual = || if plane.height == 1 { 1 } else { (plane.height.min(plane.width) / 28).max(1) };
        self.size.unwrap_or_else(usual)
    }

    /// How many of all regions are away (put in) before the first step, and after each.
    fn counts(&self, regions: usize) -> Vec<usize> {
        let last = ((self.upto * regions as f64).round() as usize).clamp(1, regions.max(1));
        let steps = self.steps.clamp(1, last);
        (0..=steps).map(|step| step * last / steps).collect()
    }

    /// The values' names, and which are good.
    pub(super) fn values(&self) -> Vec<(&'static str, Better)> {
        match self.kind {
            FlippingKind::Insertion => vec![("auc", self.order.better(Better::Higher))],
            FlippingKind::Deletion => vec![("auc", self.order.better(Better::Lower))],
            _ => vec![("aopc", self.order.better(Better::Higher)), ("auc", self.order.better(Better::Lower))],
        }
    }

    /// Measures each sample.
    pub(super) fn measure(&self, runner: &mut Runner, subject: &Subject, settings: &Settings) -> Result<Vec<Score>> {
        let plane = subject.plane(settings)?;
        let mut removal = Removal::new(plane, self.side(&plane), self.order, self.fill);
        let regions = removal.regions();
        let counts = self.counts(regions);
        let shares: Vec<f64> = counts.iter().map(|count| *count as f64 / regions as f64).collect();
        let insert = self.kind == FlippingKind::Insertion;
        // What is put in first goes last.
        removal.last_first = insert;
        removal.counts = counts.iter().map(|count| if insert { regions - count } else { *count }).collect();
        if insert && self.normalised {
            // The whole sample.
            removal.counts.push(0);
        }
        let mut curves = vec![Vec::with_capacity(removal.counts.len()); subject.classes.len()];
        remove(runner, subject, settings, &removal, |sample, _, output| {
            curves[sample].push(settings.score.of(output, subject.classes[sample])?);
            Ok(())
        })?;
        Ok(curves.into_iter().map(|curve| self.score(curve, &shares)).collect())
    }

    /// What a curve comes to. The score of the whole sample is its first value, or the one behind the curve of an insertion.
    fn score(&self, mut curve: Vec<f64>, shares: &[f64]) -> Score {
        if self.normalised {
            let whole = curve.get(if curve.len() > shares.len() { shares.len() } else { 0 }).copied();
            let whole = whole.filter(|whole| *whole > 0.0).unwrap_or(f64::NAN);
            curve.truncate(shares.len());
            curve.iter_mut().for_each(|score| *score /= whole);
        }
        let first = curve.first().copied().unwrap_or(f64::NAN);
        let aopc = curve.iter().map(|score| first - score).sum::<f64>() / curve.len() as f64;
        let value = |name: &str| if name == "aopc" { aopc } else { area(&curve, shares) };
        let values: Vec<f64> = self.values().iter().map(|(name, _)| value(name)).collect();
        if values.iter().any(|value| value.is_nan()) {
            curve.clear();
        }
        Score { values, curve }
    }
}

/// The area under a curve by the trapezoid rule, over the width that it covers.
fn area(curve: &[f64], shares: &[f64]) -> f64 {
    let trapezoids = curve.windows(2).zip(shares.windows(2)).map(|(f, x)| 0.5 * (f[0] + f[1]) * (x[1] - x[0]));
    trapezoids.sum::<f64>() / shares.last().copied().unwrap_or(1.0)
}
