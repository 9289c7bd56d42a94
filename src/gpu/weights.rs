//! Weights as the linear kernels read them, and their split into chunks that a binding can hold.

use half::f16;

use super::phases::Merged;
use crate::error::{Error, Result};
use crate::plan::{Geometry, Weight};

/// A part of a weight that one dispatch uses: some groups whole, or some outputs of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// First group.
    pub group_first: usize,
    /// Number of groups.
    pub groups: usize,
    /// First output of each group.
    pub m_first: usize,
    /// Number of outputs of each group.
    pub m_len: usize,
}

/// The order of a weight's values on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Layout {
    /// `[group][tap][c][m]`, m padded with zeros to whole vectors of four.
    OutputsFastest,
    /// `[group][tap][m][c]`, c padded with zeros to whole vectors of four.
    InputsFastest,
    /// `[group][merged tap][m][phase and c]`, phases and c padded together, with zeros where a phase lacks a tap.
    Merged(Merged),
}

impl Layout {
    /// Taps, and values of each and for an output, before they are padded.
    fn sizes(&self, geometry: &Geometry) -> [usize; 2] {
        let c_len = geometry.in_channels / geometry.groups;
        match self {
            Layout::OutputsFastest | Layout::InputsFastest => [geometry.taps(), c_len],
            Layout::Merged(merged) => [merged.taps.iter().product(), merged.phases * c_len],
        }
    }
}

impl Chunk {
    /// The outputs of a group (or its inputs, where they are fastest), padded to whole vectors of four: that many vectors.
    pub fn pitch(&self, geometry: &Geometry, layout: Layout) -> usize {
        match layout {
            Layout::OutputsFastest => self.m_len.div_ceil(4),
            Layout::InputsFastest | Layout::Merged(_) => layout.sizes(geometry)[1].div_ceil(4),
        }
    }
}

/// Splits the weights of a layer into chunks of at most `max_bytes` in float32; both terms of a step are split alike, whatever
/// they are stored in.
///
/// # Errors
/// [`Error::Memory`] when four outputs alone are larger.
pub(super) fn chunks(geometry: &Geometry, layout: Layout, max_bytes: u64) -> Result<Vec<Chunk>> {
    let m_per_group = geometry.out_channels / geometry.groups;
    let pitch = m_per_group.div_ceil(4);
    let [taps, c_len] = layout.sizes(geometry);
    let c_padded = if layout == Layout::OutputsFastest { c_len } else { c_len.next_multiple_of(4) };
    // Bytes of one vector of four outputs over all inputs and taps.
    let vector = (taps * c_padded * 16) as u64;
    let fitting = (max_bytes / vector.max(1)) as usize;
    if fitting == 0 {
        return Err(Error::Memory {
            what: "a slice of four outputs of a layer's weights".to_string(),
            need: vector,
            place: "the device's largest binding".to_string(),
            have: max_bytes,
            help: "use another adapter or --backend cpu".to_string(),
        });
    }
    if fitting >= pitch {
        let groups = (fitting / pitch).min(geometry.groups);
        let parts = (0..geometry.groups).step_by(groups).map(|group_first| Chunk {
            group_first,
            groups: groups.min(geometry.groups - group_first),
            m_first: 0,
            m_len: m_per_group,
        });
        return Ok(parts.collect());
    }
    // As even as whole vectors allow.
    let step = pitch.div_ceil(pitch.div_ceil(fitting)) * 4;
    let parts = (0..geometry.groups).flat_map(|group_first| {
        (0..m_per_group).step_by(step).map(move |m_first| Chunk {
            group_first,
            groups: 1,
            m_first,
            m_len: step.min(m_per_group - m_first),
        })
    });
    Ok(parts.collect())
}

/// A chunk's values in an order.
pub(super) fn pack(weight: &Weight, geometry: &Geometry, chunk: &Chunk, layout: Layout) -> Result<Vec<f32>> {
    let (taps, c_len) = (geometry.taps(), geometry.in_channels / geometry.groups);
    let m_per_group = geometry.out_channels / geometry.groups;
    if weight.tensor.len() != geometry.out_channels * c_len * taps {
        let what = format!("shape {:?} does not fit the layer {geometry:?}", weight.tensor.shape());
        return Err(Error::shape("weight", what));
    }
    let pitch = chunk.pitch(geometry, layout) * 4;
    let (slow_len, [m_step, c_step]) = match layout {
        Layout::OutputsFastest => (c_len, [1, pitch]),
        Layout::InputsFastest | Layout::Merged(_) => (chunk.m_len, [pitch, 1]),
    };
    let [packed_taps, _] = layout.sizes(geometry);
    // For each tap of the kernel, where it goes: a tap, and a phase.
    let mut places: Vec<[usize; 2]> = (0..taps).map(|tap| [tap, 0]).collect();
    if let Layout::Merged(merged) = layout {
        for (tap, phase) in (0..packed_taps).flat_map(|tap| (0..merged.phases).map(move |phase| (tap, phase))) {
            if let Some(k) = merged.kernel_tap(geometry, phase, tap) {
                places[k] = [tap, phase];
            }
        }
    }
    let mut packed = vec![0.0; chunk.groups * packed_taps * slow_len * pitch];
    for group in 0..chunk.groups {
        for m in 0..chunk.m_len {
            let out = (chunk.group_first + group) * m_per_group + chunk.m_first + m;
            for c in 0..c_len {
                for (k, [tap, phase]) in places.iter().enumerate() {
                    // In range: the length was checked above.
                    let w = weight.tensor.get((out * c_len + c) * taps + k).unwrap_or(0.0);
                    let fast = phase * c_len + c;
                    let at = (group * packed_taps + tap) * slow_len * pitch + m * m_step + fast * c_step;
                    packed[at] = weight.form.of(w) as f32;
                }
            }
        }
    }
    Ok(packed)
}

/// Weights as float16, by their bits; `None` when one is beyond the largest.
pub(super) fn halves(values: &[f32]) -> Option<Vec<u16>> {
    let half = |value: &f32| {
        let half = f16::from_f32(*value);
        (half.is_finite() || !value.is_finite()).then(|| half.to_bits())
    };
    values.iter().map(half).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rules::WeightForm;
    use crate::tensor::Tensor;

    fn geometry(groups: usize, in_channels: usize, out_channels: usize, kernel: usize) -> Geometry {
        Geometry {
            batch: 1,
            groups,
            in_channels,
            out_channels,
            input: [1, 1, 8],
            output: [1, 1, 9 - kernel],
            kernel: [1, 1, kernel],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0; 3],
        }
    }

    #[test]
    fn every_output_is_in_exactly_one_chunk_that_fits() {
        for (groups, c, m, k) in [(1, 3, 10, 2), (4, 8, 12, 3), (6, 6, 6, 3), (2, 4, 30, 1)] {
            let geometry = geometry(groups, c, m, k);
            for layout in [Layout::OutputsFastest, Layout::InputsFastest] {
                let c_padded =
                    if layout == Layout::InputsFastest { (c / groups).next_multiple_of(4) } else { c / groups };
                let vector = (c_padded * k * 16) as u64;
                for limit in [vector, 2 * vector, 3 * vector + 5, 1 << 20] {
                    let mut seen = vec![0; m];
                    for chunk in chunks(&geometry, layout, limit).unwrap() {
                        let weight = Weight {
                            tensor: Arc::new(
                                Tensor::from_f64([m, c / groups, k], vec![1.0; m * c / groups * k]).unwrap(),
                            ),
                            form: WeightForm::Plain,
                        };
                        assert!(pack(&weight, &geometry, &chunk, layout).unwrap().len() as u64 * 4 <= limit);
                        assert_eq!(chunk.m_first % 4, 0);
                        for group in chunk.group_first..chunk.group_first + chunk.groups {
                            for m_local in chunk.m_first..chunk.m_first + chunk.m_len {
                                seen[group * (m / groups) + m_local] += 1;
                            }
                        }
                    }
                    assert!(seen.iter().all(|n| *n == 1), "{groups} groups, limit {limit}: {seen:?}");
                }
                assert!(matches!(chunks(&geometry, layout, vector - 1), Err(Error::Memory { .. })));
            }
        }
    }

    #[test]
    fn halves_are_the_nearest_ones_and_too_large_weights_are_none() {
        // 1 + 2⁻¹¹ is half way between two: the even one is taken. 65519 is nearest to the largest, 65520 to what would follow.
        let values = [0.0, 1.0 + 0.5f32.powi(11), -65519.0, 1e-8, f32::INFINITY];
        let [inf, largest] = [f16::INFINITY, f16::MIN].map(f16::to_bits);
        assert_eq!(halves(&values), Some(vec![0, f16::ONE.to_bits(), largest, 0, inf]));
        assert_eq!(halves(&[1.0, 65520.0]), None);
        assert_eq!(halves(&[-1e30]), None);
    }

    #[test]
    fn packing_applies_the_form_and_pads_with_zeros() {
        let values = vec![1.0, -2.0, 3.0, -4.0, 5.0, -6.0];
        let tensor = Arc::new(Tensor::from_f64([3, 1, 2], values).unwrap());
        let weight = Weight { tensor, form: WeightForm::GammaPositive(1.0) };
        let chunk = Chunk { group_first: 0, groups: 1, m_first: 0, m_len: 3 };
        let packed = |layout| pack(&weight, &geometry(1, 1, 3, 2), &chunk, layout).unwrap();
        assert_eq!(packed(Layout::OutputsFastest), [2.0, 6.0, 10.0, 0.0, -2.0, -4.0, -6.0, 0.0]);
        let [a, b, c, d, e, f] = [2.0, 6.0, 10.0, -2.0, -4.0, -6.0].map(|w| [w, 0.0, 0.0, 0.0]);
        assert_eq!(packed(Layout::InputsFastest), [a, b, c, d, e, f].concat());
        assert!(pack(&weight, &geometry(1, 1, 4, 2), &chunk, Layout::OutputsFastest).is_err());
    }
}
