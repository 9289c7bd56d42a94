//! How far an explanation is from float64 on the CPU.

use serde::Serialize;

use crate::error::Result;
use crate::explain::{Backend, Explainer, Explanation, Precision, Target};
use crate::network::Network;
use crate::rules::Composite;
use crate::tensor::Tensor;

/// Differences from float64 on the CPU. Each sample and target is compared by itself, explained for the class that the measured
/// explanation chose; the worst counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Accuracy {
    /// Of the relevance of the inputs: the largest difference, as a part of the largest value. One window of a max pooling
    /// in which another value wins makes it large.
    pub map_error: f64,
    /// Of the relevance of the inputs: the root of the mean square of differences, as a part of that of values.
    pub map_rms_error: f64,
    /// Of the explained output: the largest difference, as a part of the largest value.
    pub output_error: f64,
}

/// Explains the samples anew in float64, one after the other as far as the network allows, and compares.
pub fn measure(
    network: &Network,
    composite: &Composite,
    inputs: &[Tensor],
    explanation: &Explanation,
) -> Result<Accuracy> {
    let chosen = explanation.targets.iter().map(|target| Target::Each(target.chosen.clone()));
    let reference = Explainer::builder(network, composite.clone())
        .backend(Backend::Cpu)
        .precision(Precision::F64)
        .conservation(false)
        .several_targets(explanation.targets.len() > 1)
        .build()?
        .explain(inputs, &chosen.collect::<Vec<_>>())?;
    let samples = explanation.targets.first().map_or(1, |target| target.chosen.len());
    let maps = explanation.targets.iter().zip(&reference.targets);
    let maps: Vec<_> = maps.flat_map(|(got, want)| got.relevance.iter().zip(&want.relevance)).collect();
    let over_maps = |error| worst(maps.iter().map(|(got, want)| of_samples(got, want, samples, error)));
    Ok(Accuracy {
        map_error: over_maps(largest),
        map_rms_error: over_maps(root_mean_square),
        output_error: of_samples(&explanation.output, &reference.output, samples, largest),
    })
}

/// The largest error of a sample, `error` being of some values and the differences from what they should be.
fn of_samples(got: &Tensor, want: &Tensor, samples: usize, error: Norm) -> f64 {
    let (got, want) = (got.to_vec::<f64>(), want.to_vec::<f64>());
    let len = (want.len() / samples.max(1)).max(1);
    worst(got.chunks(len).zip(want.chunks(len)).map(|(got, want)| {
        let differences: Vec<f64> = got.iter().zip(want).map(|(g, w)| g - w).collect();
        let difference = error(&differences);
        if difference == 0.0 { 0.0 } else { difference / error(want) }
    }))
}

/// How large some values are.
type Norm = fn(&[f64]) -> f64;

fn largest(values: &[f64]) -> f64 {
    worst(values.iter().map(|v| v.abs()))
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// The largest value; not a number when one is not.
fn worst(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most: f64, value| if most.is_nan() || value <= most { most } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_measured_by_its_own_largest_value() {
        let tensor = |values: [f64; 4]| Tensor::from_f64([2, 2], values.to_vec()).unwrap();
        let want = tensor([16.0, -12.0, 0.1, 0.0]);
        for norm in [largest as Norm, root_mean_square] {
            assert_eq!(of_samples(&want, &want, 2, norm), 0.0);
            assert!(of_samples(&tensor([16.0, f64::NAN, 0.1, 0.0]), &want, 2, norm).is_nan());
            assert_eq!(of_samples(&tensor([0.0; 4]), &tensor([0.0; 4]), 2, norm), 0.0);
        }
        let got = tensor([16.0, -8.0, 0.1, 0.0]);
        assert_eq!(of_samples(&got, &want, 2, largest), 0.25);
        assert_eq!(of_samples(&got, &want, 2, root_mean_square), 0.2);
        let got = tensor([16.0, -12.0, 0.1, 0.05]);
        assert_eq!(of_samples(&got, &want, 2, largest), 0.5);
    }
}
