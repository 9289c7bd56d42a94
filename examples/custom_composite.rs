//! Composites of one's own: by the library, and from TOML. Compares what arrives at the pixels.
//!
//! ```sh
//! cargo run --release --example custom_composite
//! ```

use anyhow::ensure;
use relprop::assets::{self, Sample};
use relprop::{Composite, Explainer, LayerKind, Position, Rule, Selector, Target};

const TOML: &str = r#"
name = "from TOML"
residual = "bounded"

[[rules]]
position = "first"
rule = "flat"

[[rules]]
name = "fire[2345]*"
rule = "gamma:0.5"

[[rules]]
rule = "epsilon"
epsilon = 0.1
stabiliser = "rms"
"#;

fn main() -> anyhow::Result<()> {
    let Sample { network, preprocess, labels, photo } = assets::sample()?;
    let by_hand = Composite::new("by hand")
        .with_rule(Selector::first(LayerKind::Convolution), Rule::parse("wsquare")?)
        .with_rule(Selector { position: Some(Position::Last), ..Selector::default() }, Rule::epsilon(1e-6))
        .with_rule(Selector::of_kind(LayerKind::Linear), Rule::alpha_beta(2.0, 1.0));
    let from_toml = Composite::from_toml("mine.toml", TOML)?;
    let input = preprocess.apply(&photo).tensor;
    for composite in [by_hand, from_toml, Composite::parse("epsilon-plus")?] {
        let name = composite.name().to_string();
        let mut explainer = Explainer::builder(&network, composite).build()?;
        let explanation = explainer.explain(std::slice::from_ref(&input), &[Target::Best])?;
        let target = &explanation.targets[0];
        let arrived: f64 = target.relevance[0].to_vec::<f64>().iter().sum();
        ensure!(labels.get(target.chosen[0]) == Some("tabby"), "rules change the explanation, not the decision");
        println!("{name:14} class {} logit {:.3}, at the pixels {arrived:.3}", target.chosen[0], target.seed[0]);
    }
    Ok(())
}
