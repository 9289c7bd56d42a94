//! What an explanation brings.

use std::time::Duration;

use super::conservation::{self, Conservation, LayerConservation};
use super::target::Target;
use crate::error::{Error, Result};
use crate::plan::{Plan, Port, RunOutput, SeedAmount};
use crate::tensor::Tensor;

/// The relevance of some samples' inputs for some targets.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The explained output, samples first: the logits where the network ends in a softmax, outlier scores where it ends in a
    /// one-class support vector machine.
    pub output: Tensor,
    /// One entry for each target, in order.
    pub targets: Vec<TargetExplanation>,
    /// How long it took.
    pub timings: Timings,
}

/// The relevance for one target.
#[derive(Clone, Debug)]
pub struct TargetExplanation {
    /// The target.
    pub target: Target,
    /// For each sample, the flat index that is explained.
    pub chosen: Vec<usize>,
    /// For each sample, the relevance that the backward pass started with.
    pub seed: Vec<f64>,
    /// The relevance of each input of the network, of the input's shape.
    pub relevance: Vec<Tensor>,
    /// The relevance of each layer that was asked for, with its name.
    pub layers: Vec<(String, Tensor)>,
    /// What came to each layer and what it handed on, from the output down; empty when that was not asked for. Layers that
    /// hand relevance on unchanged are left out.
    pub conservation: Vec<LayerConservation>,
}

impl Explanation {
    /// For each target, what it started with, what arrived at the inputs, and what became of the rest layer by layer.
    pub fn conservation(&self) -> Vec<Conservation<'_>> {
        self.targets.iter().map(Conservation::new).collect()
    }
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Planning, preparing weights, compiling: once for an explainer.
    pub build: Duration,
    /// Running forward and backward.
    pub run: Duration,
}

/// The first `samples` of a tensor that holds `batch`.
pub(super) fn samples(tensor: Tensor, port: &Port, batch: usize, samples: usize) -> Result<Tensor> {
    if samples == batch {
        return Ok(tensor);
    }
    let rows = port.shape.first().copied().unwrap_or(0) / batch;
    tensor.rows(0, rows * samples)
}

/// The explanation of the samples in `range`; its timings are filled in by [`join`].
pub(super) fn from_run(
    plan: &Plan,
    run: &RunOutput,
    targets: &[Target],
    amount: SeedAmount,
    range: std::ops::Range<usize>,
) -> Result<Explanation> {
    let count = range.len();
    let output = samples(run.outputs[0].clone(), &plan.outputs[0], plan.batch, count)?;
    finite(&output, "the network's output", count, || None)?;
    let values = output.to_vec::<f64>();
    let per_sample = values.len() / count;
    let mut explained = Vec::new();
    for (target, result) in targets.iter().zip(&run.targets) {
        let outputs = values.chunks(per_sample).zip(range.clone());
        let (chosen, seed) = outputs.map(|(output, sample)| target.chosen(output, amount, sample)).unzip();
        let mut tensors = Vec::new();
        for (tensor, port) in result.relevances.iter().zip(&plan.relevances) {
            let tensor = samples(tensor.clone(), port, plan.batch, count)?;
            tensors.push((port.name.clone(), tensor));
        }
        let conservation = conservation::layers(plan, &result.sums, count);
        if !plan.layer_sums.iter().any(|sums| sums.detail.is_some()) {
            for (name, tensor) in &tensors {
                let layer = || conservation::first_non_finite(&conservation);
                finite(tensor, &format!("the relevance of \"{name}\""), count, layer)?;
            }
        }
        let layers = tensors.split_off(plan.inputs.len());
        let relevance = tensors.into_iter().map(|t| t.1).collect();
        explained.push(TargetExplanation { target: target.clone(), chosen, seed, relevance, layers, conservation });
    }
    Ok(Explanation { output, targets: explained, timings: Timings::default() })
}

/// Joins the explanations of several batches.
pub(super) fn join(parts: Vec<Explanation>, timings: Timings) -> Result<Explanation> {
    let outputs: Vec<Tensor> = parts.iter().map(|p| p.output.clone()).collect();
    let output = Tensor::stack_rows(&outputs)?;
    let count = parts.first().map_or(0, |p| p.targets.len());
    let mut parts: Vec<std::vec::IntoIter<TargetExplanation>> =
        parts.into_iter().map(|p| p.targets.into_iter()).collect();
    let targets = (0..count)
        .map(|_| join_target(parts.iter_mut().filter_map(Iterator::next).collect()))
        .collect::<Result<Vec<_>>>()?;
    Ok(Explanation { output, targets, timings })
}

fn join_target(parts: Vec<TargetExplanation>) -> Result<TargetExplanation> {
    let mut parts = parts.into_iter();
    let mut joined = parts.next().ok_or_else(|| Error::Input("no samples".to_string()))?;
    for part in parts {
        joined.chosen.extend(part.chosen);
        joined.seed.extend(part.seed);
        for (all, more) in joined.relevance.iter_mut().zip(part.relevance) {
            *all = Tensor::stack_rows(&[all.clone(), more])?;
        }
        for (all, more) in joined.layers.iter_mut().zip(part.layers) {
            all.1 = Tensor::stack_rows(&[all.1.clone(), more.1])?;
        }
        for (all, more) in joined.conservation.iter_mut().zip(part.conservation) {
            all.extend(more);
        }
    }
    Ok(joined)
}

/// Fails for a tensor with NaN or infinity, naming the layer where it began if that is known.
fn finite(tensor: &Tensor, what: &str, count: usize, layer: impl FnOnce() -> Option<String>) -> Result<()> {
    let Some(at) = tensor.first_non_finite() else { return Ok(()) };
    let sample = at / (tensor.len() / count).max(1);
    let layer = layer().map_or(String::new(), |layer| format!(", from layer {layer} on"));
    let help = "an overflow or a division by 0; try float64 on the CPU, or a larger epsilon";
    Err(Error::Input(format!("{what} is not finite for sample {sample}{layer}: {help}")))
}
