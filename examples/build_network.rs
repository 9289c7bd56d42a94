//! Builds a small residual network in Rust, without any file, and prints which inputs decide.
//!
//! ```sh
//! cargo run --release --example build_network
//! ```

use anyhow::ensure;
use relprop::{Composite, Conv, Explainer, MaxPool, Network, Target, Tensor};

/// Weights that repeat from run to run.
fn weights(shape: &[usize], scale: f64) -> relprop::Result<Tensor> {
    let len: usize = shape.iter().product();
    Tensor::from_f32(
        shape,
        (0..len).map(|i| (((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0) as f32 * scale as f32).collect(),
    )
}

fn main() -> anyhow::Result<()> {
    let mut net = Network::builder("tiny residual network");
    let x = net.input("image", &[1, 12, 12]);
    let y = net.conv("stem", x, Conv::new(weights(&[4, 1, 3, 3], 0.5)?, Some(weights(&[4], 0.1)?)).padding(1))?;
    let y = net.relu("stem.relu", y)?;
    let branch = net.conv("branch", y, Conv::new(weights(&[4, 4, 3, 3], 0.3)?, None).padding(1))?;
    let sum = net.sum("residual", &[y, branch])?;
    let y = net.relu("residual.relu", sum)?;
    let y = net.max_pool("pool", y, MaxPool::new(2, 2, 2))?;
    let y = net.global_average_pool("mean", y)?;
    let y = net.flatten("flat", y)?;
    let y = net.dense("classes", y, weights(&[3, 4], 1.0)?, None)?;
    net.output(y);
    let network = net.build()?;

    let composite = Composite::parse("epsilon-plus")?;
    for (node, rule) in network.nodes().iter().zip(composite.assign(&network)?) {
        println!("{:14} {:12} {rule}", node.name, node.op.name());
    }

    // A bright cross on black: which of its pixels speak for the best class?
    let cross = (0..144).map(|i| if i % 12 == 5 || i / 12 == 5 { 1.0 } else { 0.0 }).collect();
    let mut explainer = Explainer::builder(&network, composite).build()?;
    let explanation = explainer.explain(&[Tensor::from_f32([1, 1, 12, 12], cross)?], &[Target::Best])?;
    let target = &explanation.targets[0];
    let relevance = target.relevance[0].to_vec::<f64>();
    println!("class {}, logit {:.4}", target.chosen[0], target.seed[0]);
    // Black pixels are 0 and decide nothing: all that is left of the logit is on the cross.
    let on_black = relevance.iter().enumerate().filter(|(i, r)| i % 12 != 5 && i / 12 != 5 && **r != 0.0).count();
    ensure!(on_black == 0, "{on_black} black pixels have relevance");
    for row in relevance.chunks(12) {
        println!("{}", row.iter().map(|r| format!("{r:8.4}")).collect::<String>());
    }
    Ok(())
}
