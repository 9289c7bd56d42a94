//! Occlusion: a window slides over the sample.

use std::fmt;

use super::{Fill, Layout, Start};
use crate::error::Result;
use crate::explain::Explanation;
use crate::methods::Runner;
use crate::tensor::Tensor;

/// Windows are by default this share of each axis.
const SHARE: usize = 14;
/// Along a single axis without channels windows are by default single positions, as the columns of a table, up to this many.
const SINGLE: usize = 1024;

/// A window that slides over a sample, with all its channels (Zeiler and Fergus 2014).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occlusion {
    /// The window's length along every axis of positions, at most the axis. By default a fourteenth of each axis, and a single
    /// value where a sample is one row of up to 1024 values.
    pub window: Option<usize>,
    /// From one window to the next, at most the window. By default half the window.
    pub stride: Option<usize>,
    /// What stands in the window.
    pub fill: Fill,
}

impl Default for Occlusion {
    /// Windows by the size, filled with 0.
    fn default() -> Occlusion {
        Occlusion { window: None, stride: None, fill: Fill::Value(0.0) }
    }
}

impl fmt::Display for Occlusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |size: Option<usize>| size.map_or("auto".to_string(), |n| n.to_string());
        write!(f, "{},{},{}", size(self.window), size(self.stride), self.fill)
    }
}

impl Occlusion {
    /// The positions in each window. Along an axis of n windows of w start at 0, s, 2s, … until one reaches the end, where
    /// the last is cut off: ⌈(n − w)/s⌉ + 1 of them, so that every position is in one.
    pub(super) fn windows(&self, layout: &Layout) -> Vec<Vec<usize>> {
        let single = layout.axes.len() == 1 && layout.channels == 1 && layout.positions() <= SINGLE;
        let mut windows = vec![vec![0]];
        for size in &layout.axes {
            let usual = if single { 1 } else { size.div_ceil(SHARE) };
            let window = self.window.unwrap_or(usual).clamp(1, *size);
            let stride = self.stride.unwrap_or(window.div_ceil(2)).clamp(1, window);
            let ranges: Vec<_> =
                (0..=(size - window).div_ceil(stride)).map(|i| i * stride..(i * stride + window).min(*size)).collect();
            let along = |rows: &Vec<usize>| -> Vec<Vec<usize>> {
                let of = |range: &std::ops::Range<usize>| {
                    rows.iter().flat_map(|row| range.clone().map(move |i| row * size + i)).collect()
                };
                ranges.iter().map(of).collect()
            };
            windows = windows.iter().flat_map(along).collect();
        }
        windows
    }

    /// f(x) − f(x with the window filled), averaged over the windows that a position is in.
    pub(super) fn explain(&self, start: Start, runner: &mut Runner, inputs: &[Tensor]) -> Result<Explanation> {
        let layout = &start.layout;
        let windows = self.windows(layout);
        let everywhere = vec![0; layout.positions()];
        // What does not depend on the window is made once.
        let ground = |sample: &Vec<f64>| self.fill.ground(layout, sample, &everywhere);
        let grounds: Vec<Vec<f64>> = start.samples.iter().map(ground).collect();
        let variant = |k: usize, sample: usize| {
            let mut values = start.samples[sample].clone();
            let own = (self.fill == Fill::Local).then(|| {
                let mut parts = everywhere.clone();
                windows[k].iter().for_each(|position| parts[*position] = 1);
                self.fill.ground(layout, &values, &parts)
            });
            let ground = own.as_ref().unwrap_or(&grounds[sample]);
            for position in &windows[k] {
                for channel in 0..layout.channels {
                    let at = layout.at(channel, *position);
                    values[at] = ground[at];
                }
            }
            values
        };
        let filled = start.scores_of(runner, inputs, windows.len(), variant)?;
        let mut covers = vec![0.0; layout.positions()];
        windows.iter().flatten().for_each(|position| covers[*position] += 1.0);
        let map = |filled: &Vec<Vec<f64>>, sample: usize, score: f64| -> Vec<f64> {
            let mut sums = vec![0.0; layout.positions()];
            for (window, scores) in windows.iter().zip(filled) {
                window.iter().for_each(|position| sums[*position] += score - scores[sample]);
            }
            sums.iter().zip(&covers).map(|(sum, times)| sum / times).collect()
        };
        let of_target = |(filled, scores): (&Vec<Vec<f64>>, Vec<f64>)| -> Vec<Vec<f64>> {
            scores.iter().enumerate().map(|(sample, score)| map(filled, sample, *score)).collect()
        };
        let maps: Vec<_> = filled.iter().zip(start.scores()).map(of_target).collect();
        start.finish(&maps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    fn layout(shape: &[usize]) -> Layout {
        let mut net = Network::builder("one value");
        let x = net.input("x", &[1]);
        net.output(x);
        Layout::of(&net.build().unwrap(), shape, 1)
    }

    #[test]
    fn windows_start_at_strides_and_the_last_is_cut_off() {
        let three = Occlusion { window: Some(3), stride: Some(2), ..Occlusion::default() };
        assert_eq!(three.windows(&layout(&[1, 6])), [vec![0, 1, 2], vec![2, 3, 4], vec![4, 5]]);
        assert_eq!(three.windows(&layout(&[1, 2, 2, 4])), [vec![0, 1, 2, 4, 5, 6], vec![2, 3, 6, 7]]);
        // A stride beyond the window would leave gaps, a window beyond the axis has nothing to slide along.
        let wide = Occlusion { window: Some(2), stride: Some(5), ..Occlusion::default() };
        assert_eq!(wide.windows(&layout(&[1, 4])), [vec![0, 1], vec![2, 3]]);
        let usual = |shape: &[usize]| Occlusion::default().windows(&layout(shape)).len();
        assert_eq!(usual(&[1, 30]), 30);
        // Windows of 17 at strides of 9: 25 along each side.
        assert_eq!(usual(&[1, 3, 227, 227]), 25 * 25);
        assert_eq!(usual(&[1, 1, 16000]), 27);
    }
}
