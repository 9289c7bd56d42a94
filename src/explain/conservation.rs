//! Where relevance is kept, absorbed and magnified.

use super::explanation::TargetExplanation;
use super::target::Target;
use crate::plan::Plan;

/// What one target started with and what arrived at the network's inputs.
///
/// Explaining with [`ConservationDetail::Full`](crate::plan::ConservationDetail::Full) tells of every layer what its bias
/// absorbed and how much it magnified; relevance that is not finite is then no error, but seen here.
#[derive(Clone, Debug)]
pub struct Conservation<'a> {
    /// The target.
    pub target: &'a Target,
    /// For each sample, the relevance that the backward pass started with.
    pub seed: &'a [f64],
    /// For each sample, the sum of the relevance of all inputs.
    pub arrived: Vec<f64>,
    /// From the output down; layers that hand relevance on unchanged are left out.
    pub layers: &'a [LayerConservation],
}

impl<'a> Conservation<'a> {
    pub(super) fn new(of: &'a TargetExplanation) -> Conservation<'a> {
        let count = of.seed.len();
        let mut arrived = vec![0.0; count];
        for relevance in &of.relevance {
            let values = relevance.to_vec::<f64>();
            let each = (values.len() / count.max(1)).max(1);
            for (sum, sample) in arrived.iter_mut().zip(values.chunks(each)) {
                *sum += sample.iter().sum::<f64>();
            }
        }
        Conservation { target: &of.target, seed: &of.seed, arrived, layers: &of.conservation }
    }

    /// The part of a sample's seed that arrived; 1 where there was none.
    pub fn kept(&self, sample: usize) -> f64 {
        match (self.seed[sample], self.arrived[sample]) {
            (0.0, _) => 1.0,
            (seed, arrived) => arrived / seed,
        }
    }
}

/// Sums of relevance at one layer.
#[derive(Clone, Debug)]
pub struct LayerConservation {
    /// The layer's name.
    pub layer: String,
    /// Its op.
    pub op: &'static str,
    /// Its rule.
    pub rule: String,
    /// For each sample, the sum of the relevance of the layer's output.
    pub arriving: Vec<f64>,
    /// For each sample, the sum of what the layer handed to its inputs.
    pub leaving: Vec<f64>,
    /// More, where the explainer was built to tell it.
    pub detail: Option<LayerDetail>,
}

/// More of a layer's relevance, for each sample.
#[derive(Clone, Debug)]
pub struct LayerDetail {
    /// What the bias absorbed: its part of every denominator, `Σ b·R/st(z)`.
    pub bias: Vec<f64>,
    /// Σ|R| of the layer's output.
    pub arriving_magnitude: Vec<f64>,
    /// Σ|R| of what the layer handed to its inputs.
    pub leaving_magnitude: Vec<f64>,
}

impl LayerConservation {
    /// What neither left nor was absorbed by the bias: the stabiliser has it, or a denominator that is 0. Of rules that do
    /// not conserve (gradient, αβ where a sign is missing) it is simply the difference.
    pub fn rest(&self, sample: usize) -> f64 {
        let bias = self.detail.as_ref().map_or(0.0, |detail| detail.bias[sample]);
        self.arriving[sample] - self.leaving[sample] - bias
    }

    /// Σ|R| that left ÷ Σ|R| that came; `None` where nothing came or it was not asked for.
    pub fn amplification(&self, sample: usize) -> Option<f64> {
        let detail = self.detail.as_ref()?;
        let (came, left) = (detail.arriving_magnitude[sample], detail.leaving_magnitude[sample]);
        (came != 0.0).then(|| left / came)
    }

    /// Adds the samples of another batch.
    pub(super) fn extend(&mut self, more: LayerConservation) {
        self.arriving.extend(more.arriving);
        self.leaving.extend(more.leaving);
        if let (Some(all), Some(more)) = (&mut self.detail, more.detail) {
            all.bias.extend(more.bias);
            all.arriving_magnitude.extend(more.arriving_magnitude);
            all.leaving_magnitude.extend(more.leaving_magnitude);
        }
    }
}

/// What a run's table of sums says of the first `count` samples.
pub(super) fn layers(plan: &Plan, table: &[f64], count: usize) -> Vec<LayerConservation> {
    let row = |row: usize| &table[row * plan.batch..][..count];
    let total =
        |rows: &[usize]| -> Vec<f64> { (0..count).map(|sample| rows.iter().map(|r| row(*r)[sample]).sum()).collect() };
    let layer = plan.layer_sums.iter().map(|sums| LayerConservation {
        layer: sums.layer.clone(),
        op: sums.op,
        rule: sums.rule.clone(),
        arriving: row(sums.arriving).to_vec(),
        leaving: total(&sums.leaving),
        detail: sums.detail.as_ref().map(|detail| LayerDetail {
            bias: total(&detail.bias),
            arriving_magnitude: row(detail.arriving).to_vec(),
            leaving_magnitude: total(&detail.leaving),
        }),
    });
    layer.collect()
}

/// The first layer from the output down that hands on what is not finite.
pub(super) fn first_non_finite(layers: &[LayerConservation]) -> Option<String> {
    let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
    let layer = layers.iter().find(|layer| finite(&layer.arriving) && !finite(&layer.leaving))?;
    Some(format!("\"{}\" ({}, rule {})", layer.layer, layer.op, layer.rule))
}
