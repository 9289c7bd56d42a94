//! Both linear kernels as correlations: a position of the step's output sums taps at fixed offsets of its source.
//!
//! Forward, output position o reads the input at `o·stride + k·dilation − pad`. The adjoint's position q reads the source
//! at `(q + pad − k·dilation) / stride` wherever that is whole: positions of the same remainder by the stride have the same
//! taps, at offsets that do not depend on the position. Each such set of positions is a phase.

use crate::plan::{Direction, Sliding};

/// A phase along one axis: position j of it is output position `start + j·every` and reads `j·step + offset` for each tap.
#[derive(Clone, Debug)]
pub(super) struct AxisPhase {
    pub(super) start: usize,
    pub(super) every: usize,
    pub(super) count: usize,
    pub(super) step: usize,
    /// Taps of the kernel and their offsets.
    pub(super) taps: Vec<(usize, isize)>,
}

/// A set of output positions that have the same taps.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) axes: [AxisPhase; 3],
    /// Size of the source.
    pub(super) source: [usize; 3],
    /// The kernel's taps, flat, and their offsets.
    pub(super) taps: Vec<(usize, [isize; 3])>,
}

impl Phase {
    /// Values of a plane of the source.
    pub(super) fn source_len(&self) -> usize {
        self.source.iter().product()
    }
}

/// The phases of a step; together they hold every output position once.
pub(super) fn phases(direction: Direction, sliding: &Sliding) -> Vec<Phase> {
    let source = match direction {
        Direction::Forward => sliding.input,
        Direction::Adjoint => sliding.output,
    };
    let [zs, ys, xs] = [0, 1, 2].map(|axis| axis_phases(direction, sliding, axis));
    let [_, height, width] = sliding.kernel;
    let mut phases = Vec::new();
    for z in &zs {
        for y in &ys {
            for x in &xs {
                let mut taps = Vec::new();
                for (kz, oz) in &z.taps {
                    for (ky, oy) in &y.taps {
                        taps.extend(x.taps.iter().map(|(kx, ox)| ((kz * height + ky) * width + kx, [*oz, *oy, *ox])));
                    }
                }
                phases.push(Phase { axes: [z.clone(), y.clone(), x.clone()], source, taps });
            }
        }
    }
    phases
}

/// The phases along one axis.
pub(super) fn axis_phases(direction: Direction, s: &Sliding, axis: usize) -> Vec<AxisPhase> {
    let (stride, dilation, pad) = (s.stride[axis], s.dilation[axis], s.pad[axis] as isize);
    let reach = |k: usize| (k * dilation) as isize;
    match direction {
        Direction::Forward => {
            let taps = (0..s.kernel[axis]).map(|k| (k, reach(k) - pad)).collect();
            vec![AxisPhase { start: 0, every: 1, count: s.output[axis], step: stride, taps }]
        }
        Direction::Adjoint => (0..stride.min(s.input[axis]))
            .map(|start| {
                let whole = |k: usize| {
                    let at = start as isize + pad - reach(k);
                    (at.rem_euclid(stride as isize) == 0).then(|| (k, at.div_euclid(stride as isize)))
                };
                let taps = (0..s.kernel[axis]).filter_map(whole).collect();
                AxisPhase { start, every: stride, count: (s.input[axis] - start).div_ceil(stride), step: 1, taps }
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every position and tap of a phase is one of the definition, and every one of the definition is in a phase.
    #[test]
    fn phases_agree_with_the_definition() {
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
            let mut want = Vec::new();
            for o in 0..output {
                for k in 0..kernel {
                    let at = (o * stride + k * dilation) as isize - pad as isize;
                    if (0..input as isize).contains(&at) {
                        want.push((o, k, at as usize));
                    }
                }
            }
            for direction in [Direction::Forward, Direction::Adjoint] {
                let mut got = Vec::new();
                for phase in phases(direction, &sliding) {
                    let x = &phase.axes[2];
                    for j in 0..x.count {
                        for (k, offset) in &phase.taps {
                            let at = (j * x.step) as isize + offset[2];
                            if !(0..phase.source[2] as isize).contains(&at) {
                                continue;
                            }
                            let (to, from) = (x.start + j * x.every, at as usize);
                            got.push(if direction == Direction::Forward { (to, *k, from) } else { (from, *k, to) });
                        }
                    }
                }
                got.sort_unstable();
                want.sort_unstable();
                assert_eq!(got, want, "{direction:?} {sliding:?}");
            }
        }
    }
}
