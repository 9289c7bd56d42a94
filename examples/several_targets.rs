//! Several targets at once share the forward pass: the three best classes, and why the first rather than the second.
//!
//! ```sh
//! cargo run --release --example several_targets
//! ```

use relprop::assets::{self, Sample};
use relprop::{Composite, Explainer, Target};

fn main() -> relprop::Result<()> {
    let Sample { network, preprocess, labels, photo } = assets::sample()?;
    let photo = preprocess.apply(&photo).tensor;

    let composite = Composite::parse("epsilon-plus")?;
    let mut explainer = Explainer::builder(&network, composite).several_targets(true).build()?;
    let best = explainer.explain(std::slice::from_ref(&photo), &[Target::Top(0), Target::Top(1), Target::Top(2)])?;
    for target in &best.targets {
        let class = target.chosen[0];
        let sum: f64 = target.relevance[0].to_vec::<f64>().iter().sum();
        println!("{:20} logit {:7.3}, at the pixels {sum:7.3}", labels.get(class).unwrap_or("?"), target.seed[0]);
    }

    let (first, second) = (best.targets[0].chosen[0], best.targets[1].chosen[0]);
    let why = explainer.explain(&[photo], &[Target::Difference(first, second)])?;
    let relevance = why.targets[0].relevance[0].to_vec::<f64>();
    let (for_it, against): (Vec<f64>, Vec<f64>) = relevance.iter().partition(|r| **r > 0.0);
    println!(
        "{} rather than {}: difference {:.3}, pixels for it {:.3}, against it {:.3}",
        labels.get(first).unwrap_or("?"),
        labels.get(second).unwrap_or("?"),
        why.targets[0].seed[0],
        for_it.iter().sum::<f64>(),
        against.iter().sum::<f64>()
    );
    Ok(())
}
