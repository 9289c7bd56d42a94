//! The relevance of a hidden layer: which channels carry the decision, and what each layer hands on.
//!
//! ```sh
//! cargo run --release --example hidden_layer
//! ```

use anyhow::{Context, ensure};
use relprop::assets::{self, Sample};
use relprop::{Composite, Explainer, Target};

fn main() -> anyhow::Result<()> {
    let Sample { network, preprocess, photo, .. } = assets::sample()?;
    let photo = preprocess.apply(&photo).tensor;

    // The last concatenation: the features that the classifier reads.
    let layer = network.nodes().iter().rev().find(|n| n.op.name() == "Concat");
    let layer = layer.context("the network has no Concat")?;
    let composite = Composite::parse("epsilon-plus")?;
    let mut explainer = Explainer::builder(&network, composite).layers(vec![layer.output]).build()?;
    let explanation = explainer.explain(&[photo], &[Target::Best])?;
    let target = &explanation.targets[0];

    let (name, relevance) = &target.layers[0];
    let plane: usize = relevance.shape()[2..].iter().product();
    let mut channels: Vec<(usize, f64)> =
        relevance.to_vec::<f64>().chunks(plane).map(|c| c.iter().sum()).enumerate().collect();
    channels.sort_by(|a, b| b.1.total_cmp(&a.1));
    println!("{name}, shape {:?}: the channels with most of the {:.3}", relevance.shape(), target.seed[0]);
    for (channel, sum) in &channels[..5] {
        println!("  channel {channel:4}  {sum:.3}");
    }

    let sum: f64 = channels.iter().map(|(_, sum)| sum).sum();
    let share = sum / target.seed[0];
    ensure!((0.95..=1.0).contains(&share), "nearly all of the logit should come to this layer, not {share} of it");

    println!("what came to each layer, and what it handed on:");
    for layer in &target.conservation {
        println!("  {:24} {:10} {:9.4} {:9.4}", layer.layer, layer.rule, layer.arriving[0], layer.leaving[0]);
    }
    Ok(())
}
