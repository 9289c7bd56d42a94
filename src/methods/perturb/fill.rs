//! What stands in the place of what is taken away.

use std::fmt;

use super::layout::Layout;

/// A blur's deviation, as a share of each axis: 11 pixels of 224, about the 10 of Fong and Vedaldi 2017.
const BLUR: f64 = 0.05;

/// What a part of a sample is filled with to take it away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// `NUMBER`: this value, as the network takes it: 0 is the mean colour where photos are normalised by their mean.
    Value(f64),
    /// `mean`: each channel's mean over the sample.
    Mean,
    /// `local`: each channel's mean over the part itself, and 0 where the part is a single position, whose mean would be itself.
    Local,
    /// `blur`: the sample itself under a Gaussian filter, along every axis of positions, with a deviation of a twentieth of it
    /// (as Fong and Vedaldi 2017).
    Blur,
}

impl Fill {
    /// The name, or the number, back as a fill.
    pub(in crate::methods) fn parse(text: &str) -> Option<Fill> {
        Some(match text {
            "mean" => Fill::Mean,
            "local" => Fill::Local,
            "blur" => Fill::Blur,
            number => Fill::Value(number.parse().ok().filter(|v: &f64| v.is_finite())?),
        })
    }

    /// A sample of which everything is taken away. `parts` says of each position which part it belongs to.
    pub(super) fn ground(self, layout: &Layout, sample: &[f64], parts: &[usize]) -> Vec<f64> {
        let mut ground = vec![0.0; sample.len()];
        for channel in 0..layout.channels {
            let values = layout.channel(sample, channel);
            let filled = match self {
                Fill::Value(value) => vec![value; values.len()],
                Fill::Mean => vec![values.iter().sum::<f64>() / values.len() as f64; values.len()],
                Fill::Local => local(&values, parts),
                Fill::Blur => blurred(values, &layout.axes),
            };
            for (position, value) in filled.into_iter().enumerate() {
                ground[layout.at(channel, position)] = value;
            }
        }
        ground
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fill::Value(value) => write!(f, "{value}"),
            Fill::Mean => f.write_str("mean"),
            Fill::Local => f.write_str("local"),
            Fill::Blur => f.write_str("blur"),
        }
    }
}

/// Each part's mean, 0 in parts of one position.
fn local(values: &[f64], parts: &[usize]) -> Vec<f64> {
    let count = parts.iter().max().map_or(0, |most| most + 1);
    let (mut sums, mut sizes) = (vec![0.0; count], vec![0usize; count]);
    for (value, part) in values.iter().zip(parts) {
        sums[*part] += value;
        sizes[*part] += 1;
    }
    parts.iter().map(|part| if sizes[*part] > 1 { sums[*part] / sizes[*part] as f64 } else { 0.0 }).collect()
}

/// A Gaussian filter along each axis. At the borders the weights inside count alone.
fn blurred(mut values: Vec<f64>, axes: &[usize]) -> Vec<f64> {
    for (axis, size) in axes.iter().enumerate() {
        let deviation = BLUR * *size as f64;
        // Beyond three deviations there is a quarter of a percent.
        let reach = (3.0 * deviation).ceil() as usize;
        let weights: Vec<f64> = (0..=reach).map(|d| (-0.5 * (d as f64 / deviation).powi(2)).exp()).collect();
        let step: usize = axes[axis + 1..].iter().product();
        let filtered = |at: usize| {
            let here = at / step % size;
            let inside = here.saturating_sub(reach)..(here + reach + 1).min(*size);
            let (sum, total) = inside.fold((0.0, 0.0), |(sum, total), there| {
                let weight = weights[here.abs_diff(there)];
                (sum + weight * values[at + there * step - here * step], total + weight)
            });
            sum / total
        };
        values = (0..values.len()).map(filtered).collect();
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_keeps_what_is_flat_and_spreads_a_point_evenly() {
        assert!(blurred(vec![2.5; 60], &[6, 10]).iter().all(|v| (v - 2.5).abs() < 1e-12));
        let (side, middle) = (81, 40 * 81 + 40);
        let mut point = vec![0.0; side * side];
        point[middle] = 1.0;
        let spread = blurred(point, &[side, side]);
        // 13 away is within reach, and no border is near: nothing is lost, and all four sides get the same.
        assert!((spread.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let around = [middle - 5, middle + 5, middle - 5 * side, middle + 5 * side].map(|at| spread[at]);
        assert!(around.iter().all(|v| (v - around[0]).abs() < 1e-15 && *v > 0.0), "{around:?}");
        // exp(−d²/2σ²) with σ = 0.05·81.
        let want = (-0.5 * (5.0f64 / 4.05).powi(2)).exp();
        assert!((around[0] / spread[middle] - want).abs() < 1e-12);
    }

    #[test]
    fn parts_have_their_own_mean() {
        assert_eq!(local(&[1.0, 3.0, 7.0, 5.0], &[0, 0, 1, 0]), [3.0, 3.0, 0.0, 3.0]);
    }
}
