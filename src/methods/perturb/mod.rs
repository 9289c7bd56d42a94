//! Methods that only run the network forward, on samples of which parts are filled with something else.
//!
//! Positions are perturbed with all their channels, and each of a position's channels gets its value divided by their number, so
//! that the sum over channels is the map. They are for networks of one input, since a map is of what was filled.

mod fill;
mod layout;
mod lime;
mod occlusion;
mod rise;
mod segments;
mod shapley;
mod slic;
mod solve;
mod superpixels;
#[cfg(test)]
mod tests;

use super::{Forward, Method, set};
use crate::error::{Error, Result};
use crate::explain::{Explanation, Target, score};
use crate::methods::Runner;
use crate::network::Network;
use crate::tensor::Tensor;
use layout::Layout;

pub use fill::Fill;
pub use occlusion::Occlusion;
pub use rise::Masks;
pub use segments::Segmentation;
pub use superpixels::Superpixels;

/// What a method of this family begins with.
struct Start {
    forward: Forward,
    layout: Layout,
    /// Each sample's values.
    samples: Vec<Vec<f64>>,
}

impl Start {
    fn of(method: &Method, runner: &mut Runner, inputs: &[Tensor], targets: &[Target]) -> Result<Start> {
        check(method, runner.network())?;
        let forward = Forward::of(runner, inputs, targets)?;
        let input = inputs.first().ok_or_else(|| Error::Input(format!("method {method}: there is no input")))?;
        let layout = Layout::of(runner.network(), input.shape(), forward.samples);
        let samples = input.to_vec::<f64>().chunks(layout.len()).map(<[f64]>::to_vec).collect();
        Ok(Start { forward, layout, samples })
    }

    /// f of the samples themselves: `[target][sample]`.
    fn scores(&self) -> Vec<Vec<f64>> {
        self.forward.found.targets.iter().map(|target| target.seed.clone()).collect()
    }

    /// f where the samples are filled: `[target][point][sample]`. `variant(point, sample)` gives a sample's values.
    fn scores_of(
        &self,
        runner: &mut Runner,
        inputs: &[Tensor],
        points: usize,
        variant: impl Fn(usize, usize) -> Vec<f64>,
    ) -> Result<Vec<Vec<Vec<f64>>>> {
        let targets = &self.forward.targets;
        let mut found = vec![vec![vec![0.0; self.samples.len()]; points]; targets.len()];
        runner.outputs_of_variants::<f64>(
            inputs,
            points,
            |sample, point, _, values| values.copy_from_slice(&variant(point, sample)),
            |sample, point, output| {
                for (found, target) in found.iter_mut().zip(targets) {
                    found[point][sample] = score(target, output, sample);
                }
            },
        )?;
        Ok(found)
    }

    /// The maps, of one value for each position: `[target][sample][position]`. Channels share it evenly.
    fn finish(self, maps: &[Vec<Vec<f64>>]) -> Result<Explanation> {
        let Start { forward: Forward { mut found, .. }, layout, .. } = self;
        let value = |target: usize, at: usize| maps[target][at / layout.len()][layout.position(at % layout.len())];
        set(&mut found, |target, _, at| value(target, at) / layout.channels as f64)?;
        Ok(found)
    }
}

/// Refuses what a method of this family cannot explain, and numbers that make no sense.
pub(super) fn check(method: &Method, network: &Network) -> Result<()> {
    // The parser knows what numbers may be.
    method.to_string().parse::<Method>()?;
    match network.inputs() {
        [_] => Ok(()),
        inputs => {
            let names: Vec<String> = inputs.iter().map(|i| format!("\"{}\"", network.value(*i).name)).collect();
            Err(Error::Input(format!(
                "method {method}: it is for networks of one input, {} has {}: {}",
                network.name(),
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// Into how many variants of itself a sample is made.
pub(super) fn points(method: &Method, network: &Network) -> usize {
    match method {
        Method::Occlusion(occlusion) => network.inputs().first().map_or(1, |input| {
            let shape: Vec<usize> = network.value(*input).shape.iter().map(|d| d.fixed().unwrap_or(1)).collect();
            occlusion.windows(&Layout::of(network, &shape, shape.first().copied().unwrap_or(1))).len()
        }),
        Method::Lime(superpixels) | Method::KernelShap(superpixels) => superpixels.samples,
        Method::Rise(masks) => masks.masks,
        _ => 1,
    }
}

/// What a method of this family says of samples.
pub(super) fn explain(
    method: &Method,
    runner: &mut Runner,
    inputs: &[Tensor],
    targets: &[Target],
) -> Result<Explanation> {
    let start = Start::of(method, runner, inputs, targets)?;
    match method {
        Method::Occlusion(occlusion) => occlusion.explain(start, runner, inputs),
        Method::Lime(superpixels) => lime::explain(superpixels, start, runner, inputs),
        Method::KernelShap(superpixels) => shapley::explain(superpixels, start, runner, inputs),
        Method::Rise(masks) => masks.explain(start, runner, inputs),
        other => Err(Error::Input(format!("method {other} fills nothing"))),
    }
}
