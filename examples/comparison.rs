//! Which explanation is better? Every composite and every other method on the same decisions, measured by pixel flipping and by
//! whether the map changes when the network's weights do.
//!
//! ```sh
//! cargo run --release --example comparison [cpu|gpu] [FOLDER]                                # a small part, in seconds
//! cargo run --release --example comparison cpu docs full [efficientnet_lite0.onnx]           # docs/comparison.md, half an hour
//! ```
//!
//! Pixel flipping takes away what a map calls most relevant first; the faster the score falls, the better the map knew what
//! mattered. A map of random numbers is among the methods: what is no better has found nothing.

mod common;
#[path = "comparison/page.rs"]
mod page;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use common::{Options, data, tiles};
use relprop::assets::{self, Sample};
use relprop::evaluate::statistics::{Bootstrap, Summary};
use relprop::evaluate::{Metric, ScoreOf, Settings, Subject};
use relprop::input::{ModelDescription, Preprocess, read_image};
use relprop::methods::{self, Method, Runner};
use relprop::{Bounds, Composite, Network, OnnxOptions, Target, Tensor};

const PHOTOS: [&str; 5] = ["astronaut", "camera", "chelsea", "coffee", "rocket"];
/// Squares of 8 pixels, a fifth of the photo in 50 steps: beyond that little is left of the class.
const PHOTO_FLIPPING: &str = "size=8,steps=50,upto=0.2,fill=mean";
/// Methods of more passes are not explained anew with random weights: that takes hours.
const MANY: usize = 100;
/// Side of an MNIST digit.
const SIDE: usize = 28;

/// Decisions of a network, and how they are looked into.
struct Study {
    name: &'static str,
    /// What its pictures' names begin with.
    stem: &'static str,
    network: Network,
    input: Tensor,
    methods: Vec<Method>,
    /// The first is the one that methods are ranked by.
    metrics: Vec<Metric>,
    batch: usize,
}

/// What came of a method.
struct Row {
    method: String,
    /// For each metric its values, each of all samples.
    values: Vec<Vec<Vec<f64>>>,
    /// Of the metric that methods are ranked by.
    curves: Vec<Vec<f64>>,
    /// Σ R / f of each sample, where the method means to conserve relevance.
    conserved: Option<Vec<f64>>,
    seconds: f64,
}

/// A study with what came of it; methods that could not be used, and why.
struct Done {
    study: Study,
    rows: Vec<Row>,
    failed: Vec<(String, String)>,
    device: String,
}

fn main() -> Result<()> {
    let options = Options::read_with_others()?;
    let (full, efficientnet) = match options.others.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (false, None),
        ["full"] => (true, None),
        ["full", file] => (true, Some(file)),
        _ => anyhow::bail!("arguments are [cpu|gpu] [FOLDER] [full [efficientnet_lite0.onnx]]"),
    };
    let mut studies = vec![digits(full)?, squeezenet(full)?];
    if let Some(file) = efficientnet {
        studies.push(efficientnet_lite0(file)?);
    }
    let mut done = Vec::new();
    for study in studies {
        done.push(run(study, &options)?);
    }
    for study in &done {
        // Methods that look at the network must know more than random numbers; those are there for that.
        let aopc =
            |name: &str| study.rows.iter().find(|r| r.method.starts_with(name)).map(|r| mean(&r.values[0][0]).mean);
        let (lrp, random) = (aopc("epsilon-plus").context("epsilon-plus")?, aopc("random").context("random")?);
        println!("{}: AOPC of epsilon-plus {lrp:.3}, of random maps {random:.3}", study.study.name);
        ensure!(lrp > random, "a map of LRP should beat random numbers");
    }
    page::write(&done, &options)
}

/// The methods of a study: a few, or every composite and every other method.
fn methods(full: bool, bounds: &Bounds) -> Result<Vec<Method>> {
    let names: Vec<&str> = match full {
        false => vec!["epsilon-plus", "epsilon-gamma-box", "gradient-times-input", "random"],
        true => {
            // The composite of that name differs from the method by its seed alone.
            let composites = Composite::preset_names().iter().filter(|name| **name != "gradient");
            composites.chain(methods::NAMES.iter()).copied().collect()
        }
    };
    names.into_iter().map(|name| Ok(name.parse::<Method>()?.with_bounds(bounds.clone()))).collect()
}

fn metrics(texts: &[&str]) -> Result<Vec<Metric>> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

/// 500 digits that the network was not trained on.
fn digits(full: bool) -> Result<Study> {
    let network = Network::from_onnx(data("digits/digits.onnx"))?;
    let rows = tiles(&read_image(data("digits/digits.png"))?, SIDE as u32, SIDE as u32)?;
    let each = if full { usize::MAX } else { 3 };
    let values: Vec<f32> = rows.iter().flat_map(|row| row.iter().take(each).flatten()).copied().collect();
    let bounds = Bounds::uniform(0.0, 1.0)?;
    let flipping = if full { "size=1,steps=98,fill=zero" } else { "size=2,steps=14,fill=zero" };
    Ok(Study {
        name: "MNIST",
        stem: "mnist",
        network,
        input: Tensor::from_f32([values.len() / (SIDE * SIDE), 1, SIDE, SIDE], values)?,
        methods: methods(full, &bounds)?,
        metrics: if full { study_metrics(flipping)? } else { metrics(&[&format!("pixel-flipping:{flipping}")])? },
        batch: 50,
    })
}

fn study_metrics(flipping: &str) -> Result<Vec<Metric>> {
    metrics(&[
        &format!("pixel-flipping:{flipping}"),
        &format!("pixel-flipping:{flipping},order=lrf"),
        "model-randomisation:steps=5",
        "sparseness",
    ])
}

/// SqueezeNet, which is part of the program, and the sample photos.
fn squeezenet(full: bool) -> Result<Study> {
    let Sample { network, preprocess, .. } = assets::sample()?;
    let photos = if full { &PHOTOS[..] } else { &PHOTOS[2..3] };
    let flipping = if full { PHOTO_FLIPPING } else { "size=16,steps=4,upto=0.2,fill=mean" };
    of_photos(("SqueezeNet 1.1", "squeezenet"), network, &preprocess, photos, flipping, full)
}

/// EfficientNet-Lite0, which is too large to be shipped.
fn efficientnet_lite0(file: &str) -> Result<Study> {
    // The page speaks of it by its name, wherever it lies.
    let name = Path::new(file).file_name().map_or(file.into(), |name| name.to_string_lossy());
    let bytes = std::fs::read(file).with_context(|| file.to_string())?;
    let network = Network::from_onnx_bytes(&name, &bytes, &OnnxOptions::default())?;
    let description = data("../../tests/data/efficientnet_lite0/efficientnet_lite0.toml");
    let text = std::fs::read_to_string(&description).with_context(|| description.display().to_string())?;
    let description = ModelDescription::from_toml(&description.display().to_string(), &text)?;
    let value = network.value(network.inputs()[0]);
    let preprocess = Preprocess::new(&description, &value.name, &value.shape)?;
    of_photos(("EfficientNet-Lite0", "efficientnet"), network, &preprocess, &PHOTOS, PHOTO_FLIPPING, true)
}

fn of_photos(
    (name, stem): (&'static str, &'static str),
    network: Network,
    preprocess: &Preprocess,
    photos: &[&str],
    flipping: &str,
    full: bool,
) -> Result<Study> {
    let read = |name: &&str| Ok(preprocess.apply(&read_image(data(&format!("photos/{name}.jpg")))?).tensor);
    let input = Tensor::stack_rows(&photos.iter().map(read).collect::<Result<Vec<_>>>()?)?;
    let (low, high) = preprocess.bounds().context("what the network's inputs lie between is not known")?;
    let bounds = Bounds::new(low, high)?;
    let methods = methods(full, &bounds)?;
    let metrics = if full { study_metrics(flipping)? } else { metrics(&[&format!("pixel-flipping:{flipping}")])? };
    Ok(Study { name, stem, network, input, methods, metrics, batch: 16 })
}

/// Explains and measures by each method.
fn run(study: Study, options: &Options) -> Result<Done> {
    let mut runner = Runner::new(&study.network)?.backend(options.backend).batch(study.batch);
    let device = runner.device()?.to_string();
    println!("{}: {} decisions, on {device}", study.name, study.input.shape()[0]);
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for method in &study.methods {
        match measure(&study, method, &mut runner) {
            Ok(row) => rows.push(row),
            Err(error) => failed.push((method.to_string(), format!("{error:#}"))),
        }
    }
    rows.sort_by(|a, b| mean(&b.values[0][0]).mean.total_cmp(&mean(&a.values[0][0]).mean));
    Ok(Done { study, rows, failed, device })
}

fn measure(study: &Study, method: &Method, runner: &mut Runner) -> Result<Row> {
    runner.prepare(method, study.input.shape()[0])?;
    let start = Instant::now();
    let found = runner.explain(method, std::slice::from_ref(&study.input), &[Target::Best])?;
    let why = &found.targets[0];
    let seconds = start.elapsed().as_secs_f64() / why.chosen.len() as f64;
    let subject = Subject { input: &study.input, classes: &why.chosen, map: &why.relevance[0], method, truth: None };
    let settings = Settings { score: ScoreOf::Probability, ..Settings::default() };
    let (mut values, mut curves) = (Vec::new(), Vec::new());
    for (i, metric) in study.metrics.iter().enumerate() {
        if matches!(metric, Metric::ModelRandomisation(_)) && method.points(&study.network) > MANY {
            values.push(vec![vec![f64::NAN; why.chosen.len()]; metric.values().len()]);
            continue;
        }
        let scores = metric.measure(runner, &subject, &settings)?;
        values.push((0..metric.values().len()).map(|v| scores.iter().map(|s| s.values[v]).collect()).collect());
        if i == 0 {
            curves = scores.into_iter().map(|s| s.curve).collect();
        }
    }
    let map = subject.map.to_vec::<f64>();
    let sums = map.chunks(map.len() / why.seed.len()).map(|r| r.iter().sum::<f64>());
    let conserved = method.conserves().then(|| sums.zip(&why.seed).map(|(sum, f)| sum / f).collect());
    let row = Row { method: method.to_string(), values, curves, conserved, seconds };
    println!("  {:<44} AOPC {:.4}  {:.4} s", row.method, mean(&row.values[0][0]).mean, seconds);
    Ok(row)
}

/// The mean with its interval.
fn mean(values: &[f64]) -> Summary {
    Bootstrap::default().mean(values)
}
