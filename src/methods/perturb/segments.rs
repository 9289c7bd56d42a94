//! Samples cut into segments.

use std::fmt;

use super::layout::Layout;
use super::slic;

/// How a sample is cut into segments of neighbouring positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmentation {
    /// `slic`: superpixels of similar colour (SLIC, Achanta et al. 2012; compactness 10, 10 rounds), of pictures: the channels are
    /// brought together from the sample's smallest and largest value to 0..1, three are taken as R, G, B and become CIELAB.
    /// What has not two axes of positions is cut as `grid` does.
    Slic,
    /// `grid`: blocks of about equal sides.
    Grid,
}

impl Segmentation {
    /// The name back as a segmentation.
    pub(in crate::methods) fn parse(text: &str) -> Option<Segmentation> {
        [Segmentation::Slic, Segmentation::Grid].into_iter().find(|kind| kind.to_string() == text)
    }

    /// The segment of each position, of about `count`: 0, 1, … in the order in which they are first met.
    pub(super) fn segments(self, layout: &Layout, sample: &[f64], count: usize) -> Vec<usize> {
        match (self, layout.axes.as_slice()) {
            (Segmentation::Slic, [height, width]) => {
                slic::segments(&slic::features(layout, sample), [*height, *width], count)
            }
            _ => grid(&layout.axes, count),
        }
    }
}

impl fmt::Display for Segmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Segmentation::Slic => "slic",
            Segmentation::Grid => "grid",
        })
    }
}

/// Into how many blocks of about equal sides each axis is cut for about `count` of them in all, at least 1 and at most the axis.
pub(super) fn cells(axes: &[usize], count: usize) -> Vec<usize> {
    let mut cells = vec![1; axes.len()];
    // The shorter axes first: where one is cut as finely as it can be, the longer ones make up for it.
    let mut order: Vec<usize> = (0..axes.len()).collect();
    order.sort_by_key(|axis| axes[*axis]);
    let mut left = count.max(1) as f64;
    for (done, axis) in order.iter().enumerate() {
        let rest = &order[done..];
        let positions: f64 = rest.iter().map(|axis| axes[*axis] as f64).product();
        let side = (positions / left).powf(1.0 / rest.len() as f64);
        cells[*axis] = ((axes[*axis] as f64 / side).round() as usize).clamp(1, axes[*axis]);
        left = (left / cells[*axis] as f64).max(1.0);
    }
    cells
}

/// The block of each position.
pub(super) fn grid(axes: &[usize], count: usize) -> Vec<usize> {
    let mut blocks = vec![0];
    for (size, cells) in axes.iter().zip(cells(axes, count)) {
        blocks = blocks.iter().flat_map(|block| (0..*size).map(move |i| block * cells + i * cells / size)).collect();
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_have_about_as_many_blocks_as_asked_for() {
        assert_eq!(grid(&[2, 4], 2), [0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(grid(&[5], 2), [0, 0, 0, 1, 1]);
        assert_eq!(grid(&[5], 50), [0, 1, 2, 3, 4]);
        assert_eq!(cells(&[224, 224], 50), [7, 7]);
        assert_eq!(cells(&[100, 400], 64), [4, 16]);
        assert_eq!(cells(&[2, 1000], 100), [1, 100]);
        assert_eq!(cells(&[16, 112, 112], 50), [1, 7, 7]);
    }
}
