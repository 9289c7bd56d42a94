//! Explains why SqueezeNet sees a cat in a photo, and writes the heatmap.
//!
//! ```sh
//! cargo run --release --example explain_photo [PHOTO]
//! ```

use anyhow::{Context, ensure};
use relprop::assets::{self, Sample};
use relprop::heatmap::{ColorMap, View};
use relprop::input::read_image;
use relprop::{Bounds, Composite, Explainer, Target};

fn main() -> anyhow::Result<()> {
    let Sample { network, preprocess, labels, photo } = assets::sample()?;
    let photo = match std::env::args().nth(1) {
        Some(path) => read_image(path)?,
        None => photo,
    };

    // The smallest and largest values that its input can have: the box rule asks for them.
    let (low, high) = preprocess.bounds().context("black and white have no bounds")?;

    let composite = Composite::parse("epsilon-gamma-box")?.with_bounds(Bounds::new(low, high)?);
    let mut explainer = Explainer::builder(&network, composite).build()?;
    println!("{}", explainer.device());

    let prepared = preprocess.apply(&photo);
    let explanation = explainer.explain(&[prepared.tensor], &[Target::Best])?;
    let target = &explanation.targets[0];
    let relevance = target.relevance[0].to_vec::<f64>();
    let sum: f64 = relevance.iter().sum();
    let label = labels.get(target.chosen[0]).unwrap_or("?");
    println!("{label}: logit {:.3}, of which {sum:.3} arrives at the pixels", target.seed[0]);
    if std::env::args().len() == 1 {
        // Biases absorb a little of it.
        ensure!(
            label == "tabby" && (0.95..=1.0).contains(&(sum / target.seed[0])),
            "nearly all of \"tabby\" should arrive"
        );
    }

    let shape = &target.relevance[0].shape()[1..];
    if let Some(view) = View::of(&relevance, shape, false)? {
        let file = std::env::temp_dir().join("relprop-example.png");
        view.render(ColorMap::default(), view.scale(99.9)).save(&file)?;
        println!("{}", file.display());
    }
    Ok(())
}
