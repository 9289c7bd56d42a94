//! Why is this one odd? Two one-class support vector machines know benign tumours and handwritten threes, and score how far
//! others are from what they know. What makes them far is explained feature by feature, and pixel by pixel.
//!
//! ```sh
//! cargo run --release --example anomaly [cpu|gpu]
//! ```
//!
//! The data and where it comes from: examples/anomaly/README.md.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, RgbImage};
use relprop::heatmap::{ColorMap, View};
use relprop::input::npy;
use relprop::{Backend, Composite, Explainer, Network, Precision, Predictor, Target, Tensor};

/// What a machine says of some samples.
struct Oddity {
    /// Where it was computed, and why there.
    device: String,
    /// The machine's own score, Σ α exp(−γ‖x − u‖²) − ρ: below 0 is an outlier.
    scores: Vec<f64>,
    /// The outlier score o(x), a squared distance from what the machine knows. It is what is explained.
    outlier: Vec<f64>,
    /// For each sample, each feature's part of o(x).
    parts: Vec<Vec<f64>>,
}

fn explain(network: &Network, samples: &Tensor, backend: Backend) -> Result<Oddity> {
    // The layers of a one-class machine have relevance rules of their own; a composite is for linear layers in front of it.
    let composite = Composite::parse("epsilon-plus")?;
    let mut explainer = Explainer::builder(network, composite).backend(backend).batch(5).build()?;
    let explanation = explainer.explain(std::slice::from_ref(samples), &[Target::Outlier])?;
    let device = explainer.device().to_string();
    let mut predictor = Predictor::new(network, 5, backend, Precision::F32, None)?;
    let scores = predictor.run(std::slice::from_ref(samples))?.remove(0).1.to_vec();

    let relevance = explanation.targets[0].relevance[0].to_vec::<f64>();
    let features = relevance.len() / samples.shape()[0];
    let parts: Vec<Vec<f64>> = relevance.chunks(features).map(<[f64]>::to_vec).collect();
    let outlier = explanation.output.to_vec::<f64>();
    for (o, parts) in outlier.iter().zip(&parts) {
        // The parts add up to the distance that they are parts of.
        let sum: f64 = parts.iter().sum();
        ensure!((sum - o).abs() < 1e-4 * o.abs(), "the parts add up to {sum}, not {o}");
    }
    Ok(Oddity { device, scores, outlier, parts })
}

/// The features by falling part.
fn ranked(parts: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|a, b| parts[*b].total_cmp(&parts[*a]));
    order
}

fn tumours(folder: &Path, backend: Backend, out: &Path) -> Result<()> {
    let network = Network::from_onnx(folder.join("tumours.onnx"))?;
    let samples = npy::read(folder.join("tumours.npy"))?;
    let text = std::fs::read_to_string(folder.join("tumours.txt"))?;
    let names: Vec<&str> = text.lines().collect();
    let odd = explain(&network, &samples, backend)?;
    println!("tumours, by a machine that knows benign ones, on {}", odd.device);
    for n in 0..odd.scores.len() {
        let (score, o) = (odd.scores[n], odd.outlier[n]);
        let kind = if n < 5 { "benign" } else { "malignant" };
        let most: Vec<String> = ranked(&odd.parts[n])[..3]
            .iter()
            .map(|i| format!("{} {:.0} %", names[*i], 100.0 * odd.parts[n][*i] / o))
            .collect();
        println!(
            "  {kind:9}  score {score:6.3}  o {o:8.2}  {}",
            if score < 0.0 { most.join(", ") } else { String::new() }
        );
        ensure!((score < 0.0) == (n >= 5), "tumour {n} is {kind}, and its score is {score}");
    }

    // Is it those features that make them odd? With the values that a benign tumour has there, they are nearer to what is known.
    let values = samples.to_vec::<f64>();
    let features = names.len();
    let mended = |count: usize, most: bool| -> Result<Vec<f64>> {
        let mut values = values.clone();
        for n in 5..odd.parts.len() {
            let mut order = ranked(&odd.parts[n]);
            if !most {
                order.reverse();
            }
            for i in &order[..count] {
                values[n * features + i] = values[*i];
            }
        }
        Ok(explain(&network, &Tensor::from_f64(samples.shape(), values)?, backend)?.outlier)
    };
    let (most, least) = (mended(5, true)?, mended(5, false)?);
    let mean = |o: &[f64]| o[5..].iter().sum::<f64>() / (o.len() - 5) as f64;
    println!(
        "  malignant: o {:.0} in the mean; {:.0} with the five features of the largest parts as in a benign one, {:.0} with those \
         of the smallest",
        mean(&odd.outlier),
        mean(&most),
        mean(&least)
    );
    ensure!(mean(&most) < 0.7 * mean(&odd.outlier) && mean(&least) > 0.9 * mean(&odd.outlier));

    let oddest =
        (0..odd.outlier.len()).max_by(|a, b| odd.outlier[*a].total_cmp(&odd.outlier[*b])).context("no tumour")?;
    let file = out.join("relprop-anomaly-tumour.svg");
    std::fs::write(&file, bars(&names, &odd.parts[oddest]))?;
    println!("  {}", file.display());
    Ok(())
}

/// A bar for each feature, those with the largest parts above.
fn bars(names: &[&str], parts: &[f64]) -> String {
    let total: f64 = parts.iter().sum();
    let order = ranked(parts);
    let largest = parts[order[0]];
    let height = 24 + 20 * parts.len();
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='640' height='{height}' font-family='sans-serif' font-size='13'>\n\
         <rect width='100%' height='100%' fill='white'/>\n"
    );
    for (row, i) in order.into_iter().enumerate() {
        let (y, length) = (12 + 20 * row, (360.0 * parts[i] / largest).max(0.0));
        let (text, percent) = (y + 14, 100.0 * parts[i] / total);
        let _ = writeln!(svg, "<text x='200' y='{text}' text-anchor='end'>{}</text>", names[i]);
        let _ = writeln!(svg, "<rect x='208' y='{}' width='{length:.1}' height='14' fill='#c0392b'/>", y + 3);
        let _ = writeln!(svg, "<text x='{:.1}' y='{text}'>{percent:.1} %</text>", 214.0 + length);
    }
    svg + "</svg>\n"
}

fn threes(folder: &Path, backend: Backend, out: &Path) -> Result<()> {
    const SIDE: usize = 28;
    const SHOWN: u32 = 196;
    let network = Network::from_onnx(folder.join("threes.onnx"))?;
    let samples = npy::read(folder.join("threes.npy"))?;
    let odd = explain(&network, &samples, backend)?;
    println!("digits, by a machine that knows threes, on {}", odd.device);
    for (n, what) in ["a three", "with a blot", "the oddest three", "an eight", "a five"].iter().enumerate() {
        println!("  {what:16}  score {:6.3}  o {:6.2}", odd.scores[n], odd.outlier[n]);
        ensure!((odd.scores[n] < 0.0) == (n > 0), "{what}: the score is {}", odd.scores[n]);
    }
    // The blot is what makes the second three odder than the first, and the map says so: its pixels' parts are what it added.
    let in_blot = |i: &usize| (2..6).contains(&(i / SIDE)) && (2..6).contains(&(i % SIDE));
    let blot = |n: usize| (0..SIDE * SIDE).filter(in_blot).map(|i| odd.parts[n][i]).sum::<f64>();
    let added = odd.outlier[1] - odd.outlier[0];
    println!("  the blot adds {added:.2}; its sixteen pixels' parts are {:.2}, before it {:.2}", blot(1), blot(0));
    ensure!((blot(1) - added).abs() < 0.2 * added && blot(0) < 0.1 * added);

    // Above the digits, below them what is odd about them, all in the same colours.
    let digits = samples.to_vec::<f64>();
    let count = odd.parts.len();
    let mut picture = RgbImage::new(SHOWN * count as u32, 2 * SHOWN);
    let scale = odd.parts.iter().flatten().fold(0.0f64, |m, v| m.max(v.abs()));
    for (n, (digit, parts)) in digits.chunks(SIDE * SIDE).zip(&odd.parts).enumerate() {
        let grey = digit.iter().map(|v| (v * 255.0) as u8).collect();
        let grey = GrayImage::from_raw(SIDE as u32, SIDE as u32, grey).context("a digit of another size")?;
        let view = View::of(parts, &[1, SIDE, SIDE], false)?.context("a map without a picture")?;
        let pair = [DynamicImage::from(grey).to_rgb8(), view.render(ColorMap::default(), scale)];
        for (row, part) in pair.iter().enumerate() {
            let part = imageops::resize(part, SHOWN, SHOWN, FilterType::Nearest);
            imageops::replace(&mut picture, &part, i64::from(SHOWN) * n as i64, i64::from(SHOWN) * row as i64);
        }
    }
    let file = out.join("relprop-anomaly-threes.png");
    picture.save(&file)?;
    println!("  {}", file.display());
    Ok(())
}

fn main() -> Result<()> {
    let backend = match std::env::args().nth(1).as_deref() {
        None => Backend::Auto,
        Some("cpu") => Backend::Cpu,
        Some("gpu") => Backend::Gpu,
        Some(other) => anyhow::bail!("{other}: cpu or gpu is expected"),
    };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/anomaly");
    let out = std::env::temp_dir();
    tumours(&folder, backend, &out)?;
    threes(&folder, backend, &out)
}
