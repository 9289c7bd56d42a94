//! Explains why SqueezeNet sees a cat in a photo, and writes the heatmap.
//!
//! ```sh
//! cargo run --release --example explain_photo [PHOTO]
//! ```

use anyhow::Context;
use relprop::heatmap::{ColorMap, View};
use relprop::input::{Labels, ModelDescription, Preprocess, decode_image, read_image};
use relprop::{Bounds, Composite, Explainer, Network, OnnxOptions, Target, assets};

fn main() -> anyhow::Result<()> {
    let network = Network::from_onnx_bytes("SqueezeNet 1.1", assets::SQUEEZENET, &OnnxOptions::default())?;
    let labels = Labels::from_text(assets::IMAGENET_LABELS);
    let photo = match std::env::args().nth(1) {
        Some(path) => read_image(path)?,
        None => decode_image("the sample photo", assets::PHOTO)?,
    };

    // How this network wants its input, and what its input can be at most: the box rule asks for that.
    let description = ModelDescription::from_toml("squeezenet1_1.toml", assets::SQUEEZENET_DESCRIPTION)?;
    let input = network.value(network.inputs()[0]);
    let preprocess = Preprocess::new(&description, &input.name, &input.shape)?;
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

    let shape = &target.relevance[0].shape()[1..];
    if let Some(view) = View::of(&relevance, shape, false)? {
        let file = std::env::temp_dir().join("relprop-example.png");
        view.render(ColorMap::default(), view.scale(99.9)).save(&file)?;
        println!("{}", file.display());
    }
    Ok(())
}
