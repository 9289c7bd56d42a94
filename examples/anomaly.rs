//! Why is this one odd? Two one-class support vector machines know benign tumours and handwritten threes, and score how far
//! others are from what they know. What makes them far is explained feature by feature, and pixel by pixel.
//!
//! ```sh
//! cargo run --release --example anomaly [cpu|gpu] [FOLDER]
//! ```

mod common;

use anyhow::{Context, Result, ensure};
use common::{Options, Panel, data, grey, heat, sheet, strongest, text};
use image::{Rgb, RgbImage};
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

fn tumours(options: &Options) -> Result<()> {
    let backend = options.backend;
    let network = Network::from_onnx(data("anomaly/tumours.onnx"))?;
    let samples = npy::read(data("anomaly/tumours.npy"))?;
    let lines = std::fs::read_to_string(data("anomaly/tumours.txt"))?;
    let names: Vec<&str> = lines.lines().collect();
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
    let caption = format!("tumour {oddest}: o = {:.0}, of which", odd.outlier[oddest]);
    options.save("tumour.png", &sheet(&[vec![Panel::new(caption, bars(&names, &odd.parts[oddest]))]]))
}

/// A bar for each feature, those with the largest parts above.
fn bars(names: &[&str], parts: &[f64]) -> RgbImage {
    const NAMES: u32 = 220;
    const BAR: u32 = 320;
    const ROW: u32 = 16;
    let total: f64 = parts.iter().sum();
    let mut picture = RgbImage::from_pixel(NAMES + BAR + 80, ROW * parts.len() as u32, Rgb([255; 3]));
    for (row, i) in (0..).zip(ranked(parts)) {
        let length = (f64::from(BAR) * parts[i] / strongest(parts)).max(0.0) as u32;
        for (x, y) in (0..length).flat_map(|x| (2..ROW - 2).map(move |y| (NAMES + x, ROW * row + y))) {
            picture.put_pixel(x, y, Rgb([192, 57, 43]));
        }
        text(&mut picture, NAMES - 8 * (names[i].len() as u32 + 1), ROW * row + 4, names[i]);
        text(&mut picture, NAMES + length + 8, ROW * row + 4, &format!("{:.1} %", 100.0 * parts[i] / total));
    }
    picture
}

fn threes(options: &Options) -> Result<()> {
    const SIDE: usize = 28;
    const FACTOR: u32 = 6;
    let network = Network::from_onnx(data("anomaly/threes.onnx"))?;
    let samples = npy::read(data("anomaly/threes.npy"))?;
    let odd = explain(&network, &samples, options.backend)?;
    println!("digits, by a machine that knows threes, on {}", odd.device);
    let names = ["a three", "with a blot", "the oddest three", "an eight", "a five"];
    for (n, what) in names.iter().enumerate() {
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
    let scale = odd.parts.iter().map(|parts| strongest(parts)).fold(0.0, f64::max);
    let digits = samples.to_vec::<f32>();
    let above =
        names.iter().zip(digits.chunks(SIDE * SIDE)).map(|(name, digit)| Panel::new(*name, grey(digit, SIDE, FACTOR)));
    let below = odd
        .outlier
        .iter()
        .zip(&odd.parts)
        .map(|(o, parts)| Panel::new(format!("odd by {o:.1}"), heat(parts, SIDE, scale, FACTOR)));
    options.save("threes.png", &sheet(&[above.collect(), below.collect()]))
}

fn main() -> Result<()> {
    let options = Options::read()?;
    tumours(&options)?;
    threes(&options)
}
