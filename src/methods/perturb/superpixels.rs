//! Samples of which some segments are taken away.

use std::fmt;

use super::{Fill, Segmentation, Start};
use crate::error::Result;
use crate::methods::Runner;
use crate::tensor::Tensor;

/// A sample's segments are switched on and off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Superpixels {
    /// How many selections of segments are run.
    pub samples: usize,
    /// About how many segments a sample is cut into.
    pub segments: usize,
    /// How it is cut.
    pub segmentation: Segmentation,
    /// What stands in the segments that are off.
    pub fill: Fill,
    /// Which random selections: the same number gives the same.
    pub seed: u64,
}

impl Superpixels {
    /// What LIME's authors take: 1000 selections, segments filled with their own mean; of about 50 superpixels.
    pub fn lime() -> Superpixels {
        let (segmentation, fill) = (Segmentation::Slic, Fill::Local);
        Superpixels { samples: 1000, segments: 50, segmentation, fill, seed: 0 }
    }

    /// 1000 selections of about 50 superpixels, filled with 0.
    pub fn kernel_shap() -> Superpixels {
        Superpixels { fill: Fill::Value(0.0), ..Superpixels::lime() }
    }

    /// Each sample's segments.
    pub(super) fn cut(&self, start: &Start) -> Vec<Cut> {
        let cut = |sample: &Vec<f64>| {
            let labels = self.segmentation.segments(&start.layout, sample, self.segments);
            let ground = self.fill.ground(&start.layout, sample, &labels);
            Cut { count: labels.iter().max().map_or(0, |most| most + 1), labels, ground }
        };
        start.samples.iter().map(cut).collect()
    }
}

impl fmt::Display for Superpixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{},{}", self.samples, self.segments, self.segmentation, self.fill, self.seed)
    }
}

/// A sample cut into segments.
pub(super) struct Cut {
    /// The segment of each position.
    labels: Vec<usize>,
    /// Number of segments.
    pub count: usize,
    /// What is there where a segment is off.
    ground: Vec<f64>,
}

impl Cut {
    /// The sample with the segments that are on.
    fn selected(&self, start: &Start, sample: &[f64], on: &[bool]) -> Vec<f64> {
        let value = |at: usize| if on[self.labels[start.layout.position(at)]] { sample[at] } else { self.ground[at] };
        (0..sample.len()).map(value).collect()
    }

    /// The map of which each segment has a value.
    pub fn spread(&self, values: &[f64]) -> Vec<f64> {
        self.labels.iter().map(|label| values[*label]).collect()
    }
}

/// f with those segments on that `selection(point, sample)` says; with all of them where it says nothing:
/// `[target][point][sample]`.
pub(super) fn scores<'a>(
    start: &Start,
    cuts: &[Cut],
    runner: &mut Runner,
    inputs: &[Tensor],
    points: usize,
    selection: impl Fn(usize, usize) -> Option<&'a [bool]>,
) -> Result<Vec<Vec<Vec<f64>>>> {
    start.scores_of(runner, inputs, points, |k, sample| match selection(k, sample) {
        Some(on) => cuts[sample].selected(start, &start.samples[sample], on),
        None => start.samples[sample].clone(),
    })
}
