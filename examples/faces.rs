//! What makes a face look happy? Mini-Xception, trained on FER-2013, on the face of the astronaut Eileen Collins.
//!
//! ```sh
//! cargo run --release --example faces [cpu|gpu] [FOLDER]
//! ```
//!
//! The network and the face are those of the tests: see `tests/data/models` and `tests/data/photos` for origin and licence.

mod common;

use std::path::Path;

use anyhow::{Context, bail, ensure};
use common::{Panel, best, explain, share, sheet, softmax};
use image::imageops::{self, FilterType};
use relprop::heatmap::{ColorMap, Map, View, overlay};
use relprop::input::{ModelDescription, Preprocess, read_image};
use relprop::{Bounds, Composite, Network, Target};

const SIDE: usize = 64;
const SHOWN: u32 = 256;

/// Where things are in the face: rows and columns of the 64×64 pixels that the network sees.
const PARTS: [(&str, [usize; 4]); 3] =
    [("mouth", [42, 57, 14, 48]), ("left eye", [16, 28, 10, 26]), ("right eye", [16, 30, 38, 58])];

/// What is asked of the network.
const QUESTIONS: [&str; 3] = ["why happy", "why neutral", "why happy rather than neutral"];

fn main() -> anyhow::Result<()> {
    let options = common::Options::read()?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let model = tests.join("models/face_emotion.onnx");
    let network = Network::from_onnx(&model)?;
    let description = ModelDescription::beside(&model)?.context("face_emotion.toml is missing")?;
    let labels = description.read_labels()?;
    let input = network.value(network.inputs()[0]);
    let preprocess = Preprocess::new(&description, &input.name, &input.shape)?;
    let photo = read_image(tests.join("photos/astronaut_face.png"))?;

    let (low, high) = preprocess.bounds().context("black and white have no bounds")?;
    let composite = Composite::parse("epsilon-gamma-box")?.with_bounds(Bounds::new(low, high)?);
    let mut explainer = options.explainer(&network, composite)?;
    let (happy, neutral) = (labels.find("happy")?, labels.find("neutral")?);
    let targets = [Target::Index(happy), Target::Index(neutral), Target::Difference(happy, neutral)];
    let (maps, logits) = explain(&mut explainer, &preprocess.apply(&photo).tensor, &targets)?;
    let sure = softmax(&logits);
    ensure!(best(&logits) == happy && sure[happy] > 0.98, "the face should be happy, not {sure:?}");

    // What speaks for each, part by part.
    let mut shares = Vec::new();
    for (map, question) in maps.iter().zip(QUESTIONS) {
        println!("{question}:");
        for (part, [top, bottom, left, right]) in PARTS {
            let inside = |i: usize| (top..bottom).contains(&(i / SIDE)) && (left..right).contains(&(i % SIDE));
            let area = ((bottom - top) * (right - left)) as f64 / (SIDE * SIDE) as f64;
            let share = share(map, inside);
            println!("  {part}: {:.0} % of what speaks for it, on {:.0} % of the face", 100.0 * share, 100.0 * area);
            shares.push(share);
        }
    }
    let [mouth, left, right, .., mouth_rather, _, _] = shares[..] else { bail!("three parts for three questions") };
    // 66 % and 72 % were measured for the mouth, 87 % for all parts, on a quarter of the face.
    ensure!(mouth > 0.55 && mouth + left + right > 0.75, "mouth and eyes should make the face happy");
    ensure!(mouth_rather > mouth, "rather than neutral, the mouth should count for more");

    let face = imageops::resize(&photo.to_rgb8(), SHOWN, SHOWN, FilterType::CatmullRom);
    let mut panels = vec![Panel::new(format!("happy: {:.0} %", 100.0 * sure[happy]), face.clone())];
    for (map, question) in maps.iter().zip(QUESTIONS) {
        let view = View::of(map, &[1, SIDE, SIDE], false)?.context("a map of no pixels")?;
        let plane = Map::new(SIDE, SIDE, map.clone())?;
        panels.push(Panel::new(question, overlay(&face, &plane, ColorMap::RedBlue, view.scale(99.5))));
    }
    options.save("faces.png", &sheet(&[panels]))
}
