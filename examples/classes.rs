//! Several classes of one photo, side by side: what in it looks like an espresso, what like a cup, a tray, a ladle?
//!
//! ```sh
//! cargo run --release --example classes [cpu|gpu] [FOLDER]
//! ```
//!
//! Several targets share the forward pass. SqueezeNet finds all that shows an edge relevant for each of these classes; what
//! tells them apart comes out when each map, as shares of its sum, is compared with the mean of all.

mod common;

use std::path::Path;

use anyhow::{Context, ensure};
use common::{Panel, best, share, sheet};
use relprop::assets::{self, Sample};
use relprop::heatmap::{ColorMap, Map, View, overlay};
use relprop::input::read_image;
use relprop::{Bounds, Composite, Target};

const SIDE: usize = 227;
/// Contrasts are averaged over squares of this radius.
const RADIUS: usize = 5;

/// A class that something in the photo looks like.
struct Class {
    label: &'static str,
    /// Where that is in what the network sees, if it is in one place: rows and columns.
    place: Option<[usize; 4]>,
    /// The share of what tells this class from the others that must lie there. 79, 58 and 71 % were measured.
    least: f64,
}

const CLASSES: [Class; 4] = [
    Class { label: "espresso", place: Some([45, 120, 35, 160]), least: 0.65 },
    Class { label: "cup", place: Some([0, 130, 35, 160]), least: 0.5 },
    Class { label: "tray", place: None, least: 0.0 },
    Class { label: "ladle", place: Some([125, 210, 115, 190]), least: 0.6 },
];

fn main() -> anyhow::Result<()> {
    let options = common::Options::read()?;
    let Sample { network, preprocess, labels, .. } = assets::sample()?;
    let photo = read_image(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos/coffee.jpg"))?;
    let prepared = preprocess.apply(&photo);
    let (low, high) = preprocess.bounds().context("black and white have no bounds")?;
    let composite = Composite::parse("epsilon-gamma-box")?.with_bounds(Bounds::new(low, high)?);
    let mut explainer = options.explainer(&network, composite)?;

    let indices = CLASSES.iter().map(|class| labels.find(class.label)).collect::<relprop::Result<Vec<_>>>()?;
    let targets: Vec<Target> = indices.iter().map(|i| Target::Index(*i)).collect();
    let explanation = explainer.explain(&[prepared.tensor], &targets)?;
    let logits = explanation.output.to_vec::<f64>();
    ensure!(best(&logits) == indices[0], "the photo should be of an espresso");

    // The sum over channels, as shares of what arrives.
    let mut shares = Vec::new();
    for target in &explanation.targets {
        let View::Image(map) = View::of(&target.relevance[0].to_vec(), &[3, SIDE, SIDE], false)?.context("a map")?
        else {
            anyhow::bail!("the relevance of a photo should be a picture");
        };
        let sum: f64 = map.values().iter().sum();
        shares.push(map.values().iter().map(|v| v / sum).collect::<Vec<f64>>());
    }
    let mean = |i: usize| shares.iter().map(|map| map[i]).sum::<f64>() / shares.len() as f64;

    let photo = image::imageops::thumbnail(&prepared.photo, SIDE as u32, SIDE as u32);
    let blank = image::RgbImage::from_pixel(photo.width(), photo.height(), image::Rgb([255; 3]));
    let mut alone = vec![Panel::new("what the network sees", photo.clone())];
    let mut apart = vec![Panel::new("", blank)];
    let picture = |values: &[f64]| -> anyhow::Result<image::RgbImage> {
        let view = View::of(values, &[1, SIDE, SIDE], false)?.context("a map")?;
        Ok(overlay(&photo, &Map::new(SIDE, SIDE, values.to_vec())?, ColorMap::RedBlue, view.scale(99.7)))
    };
    for ((Class { label, place, least }, map), index) in CLASSES.iter().zip(&shares).zip(&indices) {
        let contrast = smooth(&map.iter().enumerate().map(|(i, v)| v - mean(i)).collect::<Vec<_>>());
        alone.push(Panel::new(format!("{label}: logit {:.1}", logits[*index]), picture(map)?));
        apart.push(Panel::new(format!("{label} rather than others"), picture(&contrast)?));
        let Some([top, bottom, left, right]) = *place else { continue };
        let inside = |i: usize| (top..bottom).contains(&(i / SIDE)) && (left..right).contains(&(i % SIDE));
        let area = ((bottom - top) * (right - left)) as f64 / (SIDE * SIDE) as f64;
        let found = share(&contrast, inside);
        println!(
            "{label}, {:.0} % of the photo: {:.0} % of what speaks for it, {:.0} % of what does more than for the others",
            100.0 * area,
            100.0 * share(map, inside),
            100.0 * found
        );
        ensure!(found > *least, "what tells {label} from the others should be in its place");
    }
    options.save("classes.png", &sheet(&[alone, apart]))
}

/// The mean over a square around each pixel.
fn smooth(values: &[f64]) -> Vec<f64> {
    let along = |values: &[f64], step: usize| -> Vec<f64> {
        let at = |i: usize| if step == 1 { i % SIDE } else { i / SIDE };
        let window = |i: usize| {
            let (from, to) = (at(i).saturating_sub(RADIUS), (at(i) + RADIUS).min(SIDE - 1));
            (from..=to).map(|k| values[i - at(i) * step + k * step]).sum::<f64>() / (2 * RADIUS + 1) as f64
        };
        (0..values.len()).map(window).collect()
    };
    along(&along(values, 1), SIDE)
}
