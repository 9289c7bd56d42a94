//! Where the taps of a sliding window meet the input.

use std::ops::Range;

use super::{Geometry, Windows};

/// The geometry of sliding windows, of convolutions and of pooling alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sliding {
    pub(crate) input: [usize; 3],
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) dilation: [usize; 3],
    pub(crate) pad: [usize; 3],
}

impl From<&Geometry> for Sliding {
    fn from(g: &Geometry) -> Sliding {
        let Geometry { input, output, kernel, stride, dilation, pad, .. } = *g;
        Sliding { input, output, kernel, stride, dilation, pad }
    }
}

impl From<&Windows> for Sliding {
    fn from(w: &Windows) -> Sliding {
        let Windows { input, output, kernel, stride, dilation, pad, .. } = *w;
        Sliding { input, output, kernel, stride, dilation, pad }
    }
}

/// Positions of one output row that one tap reads.
pub(crate) struct Segment {
    /// Where the row's positions lie among the positions walked.
    pub(crate) at: Range<usize>,
    /// Those of them whose tap is inside the input, counted from `at.start`.
    pub(crate) inside: Range<usize>,
    /// Input position of the first of them; each next one is one stride further.
    pub(crate) input: usize,
}

impl Sliding {
    /// Values of an input plane.
    pub(crate) fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Values of an output plane.
    pub(crate) fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Taps of the window.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The position of a tap along each axis.
    pub(crate) fn tap(&self, tap: usize) -> [usize; 3] {
        let [_, height, width] = self.kernel;
        [tap / (height * width), tap / width % height, tap % width]
    }

    /// Output positions along an axis at which a tap is inside the input.
    pub(crate) fn inside(&self, axis: usize, tap: usize) -> Range<usize> {
        let (reach, pad, stride) = (tap * self.dilation[axis], self.pad[axis], self.stride[axis]);
        let first = pad.saturating_sub(reach).div_ceil(stride);
        let end = (self.input[axis] + pad).saturating_sub(reach).div_ceil(stride).min(self.output[axis]);
        first.min(end)..end
    }

    /// Input position along an axis of a tap that is inside the input at output position `at`.
    pub(crate) fn input_at(&self, axis: usize, tap: usize, at: usize) -> usize {
        at * self.stride[axis] + tap * self.dilation[axis] - self.pad[axis]
    }

    /// Taps along an axis that are inside the input at output position `at`.
    pub(crate) fn taps_inside(&self, axis: usize, at: usize) -> Range<usize> {
        let (start, pad, dilation) = (at * self.stride[axis], self.pad[axis], self.dilation[axis]);
        let first = pad.saturating_sub(start).div_ceil(dilation);
        let end = (self.input[axis] + pad).saturating_sub(start).div_ceil(dilation).min(self.kernel[axis]);
        first.min(end)..end
    }

    /// Walks the output positions of a plane row by row, for one tap.
    pub(crate) fn walk(&self, tap: usize, positions: Range<usize>, mut visit: impl FnMut(Segment)) {
        let [z, y, x] = self.tap(tap);
        let (in_z, in_y, in_x) = (self.inside(0, z), self.inside(1, y), self.inside(2, x));
        let [_, height, width] = self.output;
        let mut at = positions.start;
        while at < positions.end {
            let (row, column) = (at / width, at % width);
            let len = (width - column).min(positions.end - at);
            let (oz, oy) = (row / height, row % height);
            let first = in_x.start.clamp(column, column + len);
            let end = in_x.end.clamp(first, column + len);
            let start = at - positions.start;
            let mut segment = Segment { at: start..start + len, inside: 0..0, input: 0 };
            if first < end && in_z.contains(&oz) && in_y.contains(&oy) {
                segment.inside = first - column..end - column;
                segment.input = (self.input_at(0, z, oz) * self.input[1] + self.input_at(1, y, oy)) * self.input[2]
                    + self.input_at(2, x, first);
            }
            visit(segment);
            at += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_of_the_border_agree_with_the_definition() {
        for (input, output, kernel, stride, dilation, pad) in
            [(5, 5, 3, 1, 1, 1), (7, 3, 3, 2, 2, 1), (3, 4, 2, 3, 1, 4), (4, 6, 5, 1, 3, 7), (2, 1, 4, 5, 1, 0)]
        {
            let one = |n| [1, 1, n];
            let sliding = Sliding {
                input: one(input),
                output: one(output),
                kernel: one(kernel),
                stride: one(stride),
                dilation: one(dilation),
                pad: [0, 0, pad],
            };
            for o in 0..output {
                for k in 0..kernel {
                    let at = (o * stride + k * dilation) as isize - pad as isize;
                    let inside = (0..input as isize).contains(&at);
                    assert_eq!(sliding.inside(2, k).contains(&o), inside);
                    assert_eq!(sliding.taps_inside(2, o).contains(&k), inside);
                    if inside {
                        assert_eq!(sliding.input_at(2, k, o), at as usize);
                    }
                }
            }
        }
    }
}
