//! Strided adjoints: their outputs q ≡ o (mod stride) are a phase for every o, in which all positions have the same taps.
//! See `shaders/linear_adjoint.wgsl`.

use crate::plan::{Direction, Geometry};

/// Whether a step runs phase by phase, or all phases at once.
pub(super) fn is_strided(direction: Direction, geometry: &Geometry) -> bool {
    direction == Direction::Adjoint && geometry.stride != [1; 3]
}

/// Positions of a phase, in each axis.
pub(super) fn phase(geometry: &Geometry) -> [usize; 3] {
    std::array::from_fn(|axis| geometry.input[axis].div_ceil(geometry.stride[axis]))
}

/// Outputs that have the same taps, in each axis.
pub(super) fn grid(direction: Direction, geometry: &Geometry) -> [usize; 3] {
    match direction {
        Direction::Forward => geometry.output,
        Direction::Adjoint => phase(geometry),
    }
}

/// The phases of a strided adjoint as rows of one product. A position j of each phase takes values from j + `pad` − u for
/// the product's taps u; many a phase has a weight of 0 there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Merged {
    /// Taps, in each axis.
    pub taps: [usize; 3],
    /// How far ahead the first tap's value lies, in each axis.
    pub pad: [usize; 3],
    /// Phases.
    pub phases: usize,
}

/// Most rows that are worth it: one thread sums them all.
const MOST_ROWS: usize = 16;

impl Merged {
    /// The phases of a step as rows, where that takes less time than one after the other.
    pub fn of(direction: Direction, geometry: &Geometry) -> Option<Merged> {
        if !is_strided(direction, geometry) {
            return None;
        }
        let Geometry { kernel, stride, dilation, pad, .. } = geometry;
        let first = |axis: usize| pad[axis].div_ceil(stride[axis]);
        let taps = |axis: usize| {
            // Phase o takes values from j + (o + pad − k·dilation)/stride, where that is whole: from all of
            // ⌈(pad − (kernel − 1)·dilation)/stride⌉ to `first`.
            let reach = (kernel[axis] - 1) * dilation[axis];
            match reach.checked_sub(pad[axis]) {
                Some(before) => first(axis) + before / stride[axis] + 1,
                None => first(axis) - (pad[axis] - reach).div_ceil(stride[axis]) + 1,
            }
        };
        let merged = Merged {
            taps: std::array::from_fn(taps),
            pad: std::array::from_fn(first),
            phases: stride.iter().product(),
        };
        let rows = geometry.in_channels / geometry.groups;
        // A tap takes time for its values, and for each four rows.
        let cost = |taps: usize, rows: usize| taps * (2 + rows.div_ceil(4));
        let all = merged.phases * rows;
        let pays = cost(merged.taps.iter().product(), all) < cost(geometry.taps(), rows);
        (all <= MOST_ROWS && pays).then_some(merged)
    }

    /// The number of the kernel's tap that a phase has at a tap of the product; both are counted with x fastest.
    pub fn kernel_tap(&self, geometry: &Geometry, phase: usize, tap: usize) -> Option<usize> {
        let Geometry { kernel, stride, dilation, pad, .. } = geometry;
        let (mut phase, mut tap, mut number, mut size) = (phase, tap, 0, 1);
        for axis in [2, 1, 0] {
            let (offset, u) = (phase % stride[axis], tap % self.taps[axis]);
            (phase, tap) = (phase / stride[axis], tap / self.taps[axis]);
            let reached = (offset + pad[axis] + stride[axis] * u).checked_sub(stride[axis] * self.pad[axis])?;
            if reached % dilation[axis] != 0 || reached / dilation[axis] >= kernel[axis] {
                return None;
            }
            number += reached / dilation[axis] * size;
            size *= kernel[axis];
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tap_of_every_phase_is_a_tap_of_the_product() {
        let sizes = [(1, 2, 1, 0), (3, 2, 1, 1), (7, 2, 1, 3), (11, 4, 1, 2), (3, 2, 3, 2), (2, 3, 2, 5), (4, 3, 1, 0)];
        for (k_y, s_y, d_y, p_y) in sizes {
            for (k_x, s_x, d_x, p_x) in sizes {
                let geometry = Geometry {
                    batch: 1,
                    groups: 1,
                    in_channels: 1,
                    out_channels: 64,
                    input: [1, 40, 40],
                    output: [1, 20, 20],
                    kernel: [1, k_y, k_x],
                    stride: [1, s_y, s_x],
                    dilation: [1, d_y, d_x],
                    pad: [0, p_y, p_x],
                };
                let Some(merged) = Merged::of(Direction::Adjoint, &geometry) else { continue };
                let mut seen = vec![0; geometry.taps()];
                let taps: usize = merged.taps.iter().product();
                for phase in 0..merged.phases {
                    for tap in 0..taps {
                        let Some(k) = merged.kernel_tap(&geometry, phase, tap) else { continue };
                        seen[k] += 1;
                        // The value that this tap of the kernel takes: (q + pad − k·dilation)/stride for q = o.
                        for (axis, offset, u, k) in [
                            (1, phase / s_x, tap / merged.taps[2], k / k_x),
                            (2, phase % s_x, tap % merged.taps[2], k % k_x),
                        ] {
                            let (pad, stride) = (geometry.pad[axis] as i64, geometry.stride[axis] as i64);
                            let place = offset as i64 + pad - (k * geometry.dilation[axis]) as i64;
                            assert_eq!(place, stride * (merged.pad[axis] as i64 - u as i64), "{geometry:?}");
                        }
                    }
                }
                assert!(seen.iter().all(|n| *n == 1), "{geometry:?}: {seen:?}");
            }
        }
    }

    #[test]
    fn few_channels_are_merged_and_many_are_not() {
        let merged = |channels, kernel, stride| {
            let geometry = Geometry {
                batch: 1,
                groups: 1,
                in_channels: channels,
                out_channels: 64,
                input: [1, 56, 56],
                output: [1, 28, 28],
                kernel: [1, kernel, kernel],
                stride: [1, stride, stride],
                dilation: [1; 3],
                pad: [0, kernel / 2, kernel / 2],
            };
            Merged::of(Direction::Adjoint, &geometry)
        };
        assert_eq!(merged(3, 7, 2), Some(Merged { taps: [1, 4, 4], pad: [0, 2, 2], phases: 4 }));
        assert_eq!(merged(3, 3, 2), Some(Merged { taps: [1, 2, 2], pad: [0, 1, 1], phases: 4 }));
        assert_eq!(merged(64, 3, 2), None);
        assert_eq!(merged(3, 3, 1), None);
    }
}
