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
