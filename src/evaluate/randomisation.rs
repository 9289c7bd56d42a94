//! Whether a map depends on what the network learned and on the class: it must change with them.

use std::collections::HashSet;
use std::slice::from_ref;

use super::complexity::histogram_entropy;
use super::similarity::similarities;
use super::{Score, Settings, Subject, mean};
use crate::error::{Error, Result};
use crate::explain::Target;
use crate::methods::Runner;
use crate::network::{Network, Node, ValueId};
use crate::random::{self, Random};
use crate::tensor::Tensor;

/// Keeps these random numbers apart from those of other metrics.
const WEIGHTS: u64 = 3 << 60;
const CLASSES: u64 = 4 << 60;

/// How weights are randomised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Randomisation {
    /// Which layers.
    pub order: LayerOrder,
    /// In how many steps, spread evenly over the layers: at most one for each.
    pub steps: usize,
    /// By what their weights are replaced.
    pub weights: NewWeights,
}

/// Which layers' weights are random at a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerOrder {
    /// All from the output down to one.
    #[default]
    Cascading,
    /// One alone, from the output down.
    Independent,
    /// All from the input up to one.
    BottomUp,
}

/// By what weights are replaced, and biases with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewWeights {
    /// Normal numbers of the mean and the deviation that the constant (all weights of a layer, or all biases) had. The networks'
    /// own initialisation, which the paper uses, is not known to a file.
    #[default]
    Normal,
    /// The same numbers in random order.
    Permuted,
}

impl Default for Randomisation {
    /// Cascading, 10 steps, normal numbers.
    fn default() -> Randomisation {
        Randomisation { order: LayerOrder::Cascading, steps: 10, weights: NewWeights::Normal }
    }
}

impl Randomisation {
    /// For each sample the mean similarities and the rise of entropy, and the similarity at each step. All samples meet the same
    /// networks.
    pub(super) fn measure(self, runner: &mut Runner, subject: &Subject, settings: &Settings) -> Result<Vec<Score>> {
        let layers = self.layers(runner)?;
        // It is opened here, for all steps.
        runner.device()?;
        let mut found = vec![Vec::new(); subject.samples()?];
        let mut last = Vec::new();
        for at in steps(layers.len(), self.steps) {
            let chosen = match self.order {
                LayerOrder::Independent => &layers[at - 1..at],
                LayerOrder::Cascading | LayerOrder::BottomUp => &layers[..at],
            };
            let network = self.changed(runner.network(), chosen, settings.seed)?;
            let mut changed = runner.with_network(&network);
            last = maps(&mut changed, subject, subject.classes.to_vec())?;
            let alike = compare(subject, &last, settings);
            found.iter_mut().zip(alike).for_each(|(found, values)| found.push(values));
        }
        let whole = self.order != LayerOrder::Independent || layers.len() == 1;
        let map = subject.map.to_vec::<f64>();
        let len = (map.len() / found.len()).max(1);
        let rise = |(before, after): (&[f64], &[f64])| match (whole, histogram_entropy(before)) {
            (true, before) if before > 0.0 => (histogram_entropy(after) - before) / before,
            _ => f64::NAN,
        };
        let rises = map.chunks(len).zip(last.chunks(len)).map(rise);
        Ok(found.iter().zip(rises).map(|(steps, rise)| score(steps, rise)).collect())
    }

    /// What the layers with weights that what is explained depends on make, in this order.
    fn layers(self, runner: &Runner) -> Result<Vec<ValueId>> {
        let network = runner.network();
        let mut needed = HashSet::from([runner.explained()]);
        let mut layers = Vec::new();
        for node in network.nodes().iter().rev() {
            if needed.contains(&node.output) {
                needed.extend(&node.inputs);
                layers.extend(node.op.constants().iter().any(|c| varies(c)).then_some(node.output));
            }
        }
        if layers.is_empty() {
            return Err(Error::Input(format!("{} has no weights to randomise", network.name())));
        }
        if self.order == LayerOrder::BottomUp {
            layers.reverse();
        }
        Ok(layers)
    }

    /// The network with other weights in some layers. A layer's new weights are the same at every step and in every order.
    fn changed(self, network: &Network, chosen: &[ValueId], seed: u64) -> Result<Network> {
        let mut stream = (None, WEIGHTS);
        let change = |node: &Node, constant: &Tensor| {
            // Layers with constants are counted in the high bits, the constants of one in the low ones.
            stream = match stream {
                (Some(layer), number) if layer == node.output => (Some(layer), number + 1),
                (_, number) => (Some(node.output), (number | 0xFF) + 1),
            };
            if !chosen.contains(&node.output) {
                return constant.clone();
            }
            self.drawn(constant, Random::new(seed, stream.1))
        };
        network.map_weights(change)
    }

    /// Random numbers in a constant's place.
    fn drawn(self, constant: &Tensor, mut random: Random) -> Tensor {
        let mut values = constant.to_vec::<f64>();
        match self.weights {
            NewWeights::Normal => {
                let n = values.len() as f64;
                let mean = values.iter().sum::<f64>() / n;
                let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
                let normal = random::normal(random.bits(), values.len(), 1.0);
                values.iter_mut().zip(normal).for_each(|(v, normal)| *v = mean + deviation * f64::from(normal));
            }
            NewWeights::Permuted => {
                for last in (1..values.len()).rev() {
                    values.swap(last, random.below(last + 1));
                }
            }
        }
        // As many values as there were.
        constant.with_values(values).unwrap_or_else(|_| constant.clone())
    }
}

/// Whether a constant holds different values: others stay what they are.
fn varies(constant: &Tensor) -> bool {
    (1..constant.len()).any(|i| constant.get(i) != constant.get(0))
}

/// How many layers are random after each of at most `most` steps, spread evenly.
fn steps(layers: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = most.clamp(1, layers);
    (1..=count).map(move |step| (layers * step).div_ceil(count))
}

/// For each sample, how alike its map and one for another random class are: the mean over `runs` classes, or over as many others as
/// there are. Which ones depends on the sample's own class alone.
pub(super) fn other_classes(
    runs: usize,
    runner: &mut Runner,
    subject: &Subject,
    settings: &Settings,
) -> Result<Vec<[f64; 3]>> {
    let samples = subject.samples()?;
    let output = runner.predict(from_ref(subject.input))?;
    let values = output.len() / samples;
    // Where an output has positions, the class changes and the position stays.
    let classes = if output.shape().len() > 2 { output.shape()[1] } else { values };
    if classes < 2 || values % classes != 0 {
        return Err(Error::Input("the network has one output, and there is no other to compare with".to_string()));
    }
    if let Some(class) = subject.classes.iter().find(|class| **class >= values) {
        return Err(Error::Target(format!("class {class} of an output of {values} values")));
    }
    let positions = values / classes;
    let other = Random::new(settings.seed, CLASSES).order(classes - 1);
    let runs = runs.clamp(1, other.len());
    let mut sums = vec![[0.0; 3]; samples];
    for other in &other[..runs] {
        let another = |class: &usize| {
            let own = class / positions;
            (other + usize::from(*other >= own)) * positions + class % positions
        };
        let others = subject.classes.iter().map(another).collect();
        let found = maps(runner, subject, others)?;
        for (sums, found) in sums.iter_mut().zip(compare(subject, &found, settings)) {
            sums.iter_mut().zip(found).for_each(|(sum, value)| *sum += value / runs as f64);
        }
    }
    Ok(sums)
}

/// What a runner and the subject's method say of the samples for some classes.
fn maps(runner: &mut Runner, subject: &Subject, classes: Vec<usize>) -> Result<Vec<f64>> {
    let found = runner.explain(subject.method, from_ref(subject.input), &[Target::Each(classes)])?;
    Ok(found.targets.iter().flat_map(|t| &t.relevance).flat_map(|r| r.to_vec::<f64>()).collect())
}

/// For each sample, how alike the subject's map and another are.
fn compare(subject: &Subject, maps: &[f64], settings: &Settings) -> Vec<[f64; 3]> {
    let plane = subject.plane(settings).ok();
    let map = subject.map.to_vec::<f64>();
    let len = (map.len() / subject.classes.len()).max(1);
    map.chunks(len).zip(maps.chunks(len)).map(|(map, changed)| similarities(map, changed, plane)).collect()
}

/// A sample's score, of the similarities at each step and the rise of entropy.
fn score(steps: &[[f64; 3]], rise: f64) -> Score {
    let mean = |at: usize| mean(&steps.iter().map(|values| values[at]).collect::<Vec<_>>());
    // NaN where the original says nothing, else 1.
    let start = steps.first().map_or(f64::NAN, |values| if values[0].is_nan() { f64::NAN } else { 1.0 });
    let curve = std::iter::once(start).chain(steps.iter().map(|values| values[0])).collect();
    Score { values: vec![mean(0), mean(1), mean(2), rise], curve }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_even_and_end_with_the_last_layer() {
        assert_eq!(steps(4, 10).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(steps(26, 10).collect::<Vec<_>>(), [3, 6, 8, 11, 13, 16, 19, 21, 24, 26]);
        assert_eq!(steps(26, 1).collect::<Vec<_>>(), [26]);
    }

    #[test]
    fn new_weights_have_the_moments_or_the_values_of_the_old() {
        let old: Vec<f32> = (0..40_000).map(|i| (i as f32).sin() * 0.3 + 1.5).collect();
        let constant = Tensor::from_f32([200, 200], old.clone()).unwrap();
        let drawn = |weights| Randomisation { weights, ..Randomisation::default() }.drawn(&constant, Random::new(1, 2));
        let normal = drawn(NewWeights::Normal).to_vec::<f64>();
        let mean = normal.iter().sum::<f64>() / 4e4;
        let deviation = (normal.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4e4).sqrt();
        // Of 40,000 numbers of deviation 0.21 the mean's own is 0.001.
        assert!((mean - 1.5).abs() < 0.01 && (deviation - 0.3 / 2f64.sqrt()).abs() < 0.01, "{mean} {deviation}");
        let mut permuted = drawn(NewWeights::Permuted).to_vec::<f32>();
        assert_ne!(permuted, old);
        let sorted = |values: &mut Vec<f32>| values.sort_by(f32::total_cmp);
        let mut old = old;
        sorted(&mut permuted);
        sorted(&mut old);
        assert_eq!(permuted, old);
    }
}
