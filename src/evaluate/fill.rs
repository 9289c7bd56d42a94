//! What stands where something was taken away.

use std::fmt;
use std::ops::Range;

use rayon::prelude::*;

use super::Plane;
use crate::random::Random;

/// Of the seed's random numbers, those of fills.
const STREAM: u64 = 2 << 40;
/// Deviations from its centre up to which the Gaussian is summed.
const REACH: f64 = 3.0;

/// What stands where something was taken away. Random numbers are the same for every sample and every step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fill {
    /// 0 in the network's input, after preprocessing: often the mean of the training data.
    Zero,
    /// The mean of the channel over the sample.
    Mean,
    /// The sample blurred by a Gaussian whose deviation is this share of its shorter side (of the only side of signals and
    /// vectors), summed to three deviations; at borders, by the weights of what is inside.
    Blur(f64),
    /// Uniform random numbers from the least to the greatest value of the channel in the sample.
    Noise,
    /// What remains, drawn over the hole, and normal noise of this deviation, a share of the channel's range in the sample: the
    /// noisy linear imputation of ROAD (Rong et al. 2022). Each missing value is the weighted mean of its up to 8 neighbours
    /// (4 above, below and beside it with 1/6 each, 4 at its corners with 1/12), missing ones too: a system of equations. Where
    /// nothing remains it is the channel's mean.
    Inpaint(f64),
}

impl Fill {
    /// A blur of 0.05: 11 pixels of 224.
    pub const BLUR: Fill = Fill::Blur(0.05);
    /// Inpainting with noise of 0.01.
    pub const INPAINT: Fill = Fill::Inpaint(0.01);

    /// What stands in the place of each of a sample's values, whatever else is taken away; none if it depends on that.
    pub(super) fn replacement(&self, plane: &Plane, sample: &[f64], seed: u64) -> Option<Vec<f64>> {
        Some(match self {
            Fill::Zero => vec![0.0; sample.len()],
            Fill::Mean => by_channel(plane, sample, |_, values| vec![mean(values); values.len()]),
            Fill::Blur(share) => {
                let side = if plane.height == 1 { plane.width } else { plane.height.min(plane.width) };
                by_channel(plane, sample, |_, values| blurred(plane, values, share * side as f64))
            }
            Fill::Noise => by_channel(plane, sample, |channel, values| {
                let (low, high) = range(values);
                let mut random = Random::new(seed, STREAM + channel as u64);
                values.iter().map(|_| low + (high - low) * random.uniform()).collect()
            }),
            Fill::Inpaint(_) => return None,
        })
    }

    /// What inpainting adds to each value that it fills in; nothing for other fills.
    pub(super) fn noise(&self, plane: &Plane, sample: &[f64], seed: u64) -> Vec<f64> {
        let Fill::Inpaint(deviation) = self else { return Vec::new() };
        by_channel(plane, sample, |channel, values| {
            let (low, high) = range(values);
            let mut random = Random::new(seed, STREAM + channel as u64);
            values.iter().map(|_| deviation * (high - low) * random.normal()).collect()
        })
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fill::Zero => f.write_str("zero"),
            Fill::Mean => f.write_str("mean"),
            Fill::Blur(share) => write!(f, "blur/{share}"),
            Fill::Noise => f.write_str("noise"),
            Fill::Inpaint(deviation) => write!(f, "inpaint/{deviation}"),
        }
    }
}

/// A sample made of what `make` makes of each channel.
fn by_channel(plane: &Plane, sample: &[f64], make: impl Fn(usize, &[f64]) -> Vec<f64> + Sync) -> Vec<f64> {
    let made = (0..plane.channels).into_par_iter().map(|channel| make(channel, &channel_of(plane, sample, channel)));
    joined(plane, &made.collect::<Vec<_>>())
}

/// The values of a channel, one a position.
pub(super) fn channel_of(plane: &Plane, sample: &[f64], channel: usize) -> Vec<f64> {
    (0..plane.positions()).map(|position| sample[plane.at(channel, position)]).collect()
}

/// A sample of such channels.
pub(super) fn joined(plane: &Plane, channels: &[Vec<f64>]) -> Vec<f64> {
    let mut sample = vec![0.0; plane.channels * plane.positions()];
    for (channel, values) in channels.iter().enumerate() {
        for (position, value) in values.iter().enumerate() {
            sample[plane.at(channel, position)] = *value;
        }
    }
    sample
}

/// The mean; 0 of nothing.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The least and the greatest.
fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// A channel blurred, first along its rows, then along its columns.
fn blurred(plane: &Plane, channel: &[f64], deviation: f64) -> Vec<f64> {
    let radius = (REACH * deviation).ceil() as usize;
    let weight = |distance: usize| (-0.5 * (distance as f64 / deviation).powi(2)).exp();
    let weights: Vec<f64> = (0..=radius).map(weight).collect();
    let (height, width) = (plane.height, plane.width);
    let mut lines = vec![0.0; channel.len()];
    for (line, values) in lines.chunks_mut(width).zip(channel.chunks(width)) {
        for (x, sum) in line.iter_mut().enumerate() {
            let (window, whole) = window(x, width, &weights);
            *sum = window.map(|from| weights[from.abs_diff(x)] * values[from]).sum::<f64>() / whole;
        }
    }
    let mut made = vec![0.0; channel.len()];
    for (y, sums) in made.chunks_mut(width).enumerate() {
        let (window, whole) = window(y, height, &weights);
        for from in window {
            let part = weights[from.abs_diff(y)] / whole;
            sums.iter_mut().zip(&lines[from * width..]).for_each(|(sum, value)| *sum += part * value);
        }
    }
    made
}

/// What lies within the reach of the weights along a side, and the sum of their weights.
fn window(at: usize, side: usize, weights: &[f64]) -> (Range<usize>, f64) {
    let window = at.saturating_sub(weights.len() - 1)..(at + weights.len()).min(side);
    let whole = window.clone().map(|from| weights[from.abs_diff(at)]).sum();
    (window, whole)
}
