//! The files that `relprop evaluate` writes.

use std::collections::HashSet;
use std::fmt;
use std::io::Cursor;
use std::time::Instant;

use anyhow::{Context, Result};
use image::{ImageFormat, RgbImage};
use relprop::DeviceInfo;
use relprop::evaluate::ScoreOf;
use relprop::heatmap::{CurveChart, RankChart};
use serde::Serialize;

use super::Run;
use super::outcome::{OfMetric, Outcome};
use crate::cli::report::Device;
use crate::cli::{files, slug};

/// Something that could not be measured; what is empty holds for all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failure {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<usize>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metric: String,
    pub error: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sample = self.sample.map_or(String::new(), |sample| format!("sample {sample}"));
        // Messages about files begin with their names.
        let input = if self.error.starts_with(&self.input) { "" } else { self.input.as_str() };
        let parts = [input, &sample, &self.method, &self.metric].into_iter().filter(|part| !part.is_empty());
        let place = parts.collect::<Vec<_>>().join(", ");
        if place.is_empty() { f.write_str(&self.error) } else { write!(f, "{place}: {}", self.error) }
    }
}

/// `run.json`: what the numbers were made with.
#[derive(Serialize)]
pub struct RunReport {
    relprop: &'static str,
    /// Fingerprint of program, network, options and device: `--resume` goes on where it is the same.
    key: String,
    model: String,
    methods: Vec<String>,
    metrics: Vec<String>,
    inputs: usize,
    samples: usize,
    /// What is explained: a target, or the file of the classes.
    target: String,
    score: &'static str,
    seed: u64,
    device: Device,
    batch: usize,
    load_seconds: f64,
}

/// The report with what changes.
#[derive(Serialize)]
struct Now<'a> {
    #[serde(flatten)]
    report: &'a RunReport,
    /// `running`, `complete`, or `incomplete` when something failed.
    status: &'static str,
    total_seconds: f64,
    measured: usize,
    failed: &'a [Failure],
}

impl RunReport {
    pub fn new(run: &Run, key: &str, device: &DeviceInfo, start: Instant) -> RunReport {
        let args = run.args;
        RunReport {
            relprop: env!("CARGO_PKG_VERSION"),
            key: key.to_string(),
            model: run.model.name.clone(),
            methods: run.methods.iter().map(|(name, _)| name.clone()).collect(),
            metrics: run.metrics.iter().map(|(name, _)| name.clone()).collect(),
            inputs: run.places.len(),
            samples: run.places.iter().map(|place| place.samples).sum(),
            target: args.classes.as_ref().map_or_else(|| args.target.clone(), |path| path.display().to_string()),
            score: if run.settings.score == ScoreOf::Logit { "logit" } else { "probability" },
            seed: args.seed,
            device: device.into(),
            batch: args.device.batch(true),
            load_seconds: start.elapsed().as_secs_f64(),
        }
    }

    /// Writes the report as it is; what was there is replaced in one step.
    pub fn write(&self, run: &Run, status: &'static str, start: Instant) -> Result<()> {
        let total_seconds = start.elapsed().as_secs_f64();
        let now = Now { report: self, status, total_seconds, measured: run.records.len(), failed: &run.failures };
        let text = serde_json::to_string_pretty(&now).context("run.json")? + "\n";
        files::write(&run.args.out.join("run.json"), text.as_bytes())
    }
}

/// Writes everything that the records say, and gives it.
pub fn write(run: &Run) -> Result<Outcome> {
    let outcome = Outcome::of(run)?;
    let folder = &run.args.out;
    let text = serde_json::to_string_pretty(&outcome.entries()).context("evaluation.json")? + "\n";
    files::write(&folder.join("evaluation.json"), text.as_bytes())?;
    files::write(&folder.join("scores.csv"), &scores(run)?)?;
    files::write(&folder.join("curves.csv"), &curves(&outcome)?)?;
    let mut names = HashSet::new();
    for metric in &outcome.metrics {
        let mut name = slug(&metric.name);
        while !names.insert(name.to_lowercase()) {
            name.push('_');
        }
        for (name, picture, drawing) in plots(metric, &name)? {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, ImageFormat::Png).with_context(|| name.clone())?;
            files::write(&folder.join(format!("{name}.png")), bytes.get_ref())?;
            files::write(&folder.join(format!("{name}.svg")), drawing.as_bytes())?;
        }
    }
    Ok(outcome)
}

/// A row for each input, sample, method and metric. Each metric has columns for its values; those of others are empty.
fn scores(run: &Run) -> Result<Vec<u8>> {
    let mut names: Vec<&'static str> = Vec::new();
    for (name, _) in run.metrics.iter().flat_map(|(_, metric)| metric.values()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let columns = |metric: &str| -> Vec<&'static str> {
        let found = run.metrics.iter().find(|(name, _)| name == metric);
        found.map_or_else(Vec::new, |(_, metric)| metric.values().into_iter().map(|(name, _)| name).collect())
    };
    let mut csv = csv::Writer::from_writer(Vec::new());
    let head = ["input", "sample", "class", "label", "method", "metric"];
    let seconds = ["explain_seconds", "measure_seconds"];
    csv.write_record(head.iter().chain(&names).chain(&seconds)).context("scores.csv")?;
    for record in run.records.all() {
        let label = run.model.labels.get(record.class).unwrap_or("");
        let mut row =
            vec![record.input.clone(), record.sample.to_string(), record.class.to_string(), label.to_string()];
        row.extend([record.method.clone(), record.metric.clone()]);
        let own = columns(&record.metric);
        row.extend(names.iter().map(|name| {
            let at = own.iter().position(|own| own == name);
            number(at.and_then(|at| record.values.get(at).copied()).unwrap_or(f64::NAN))
        }));
        row.extend([number(record.explain_seconds), number(record.measure_seconds)]);
        csv.write_record(&row).context("scores.csv")?;
    }
    csv.into_inner().context("scores.csv")
}

/// A row for each step of each mean curve.
fn curves(outcome: &Outcome) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["metric", "method", "step", "mean", "low", "high", "n"]).context("curves.csv")?;
    for metric in &outcome.metrics {
        for method in &metric.methods {
            let Some(band) = &method.curve else { continue };
            for (step, mean) in band.mean.iter().enumerate() {
                let [low, high] = [&band.low, &band.high].map(|ends| ends.get(step).copied().unwrap_or(f64::NAN));
                let own = [metric.name.clone(), method.name.clone(), step.to_string()];
                let row = own.into_iter().chain([number(*mean), number(low), number(high), band.n.to_string()]);
                csv.write_record(row).context("curves.csv")?;
            }
        }
    }
    csv.into_inner().context("curves.csv")
}

/// A number that reads back as the same; empty for NaN.
fn number(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { String::new() }
}

/// The curves of a metric, or each of its values, with the names of the files.
fn plots(metric: &OfMetric, name: &str) -> Result<Vec<(String, RgbImage, String)>> {
    let order = metric.order();
    let samples = metric.methods.iter().map(|method| method.n).max().unwrap_or(0);
    let samples = if samples == 1 { "1 sample".to_string() } else { format!("{samples} samples") };
    let with_curve = || order.iter().filter_map(|i| Some((&metric.methods[*i], metric.methods[*i].curve.as_ref()?)));
    if let (Some([x, y]), Some(_)) = (metric.axes, with_curve().next()) {
        let title = format!("{}: mean curves of {samples}, with 95 % intervals", metric.name);
        let mut chart = CurveChart::new(title, x, y);
        for (method, band) in with_curve() {
            let steps: Vec<f64> = (0..band.mean.len()).map(|step| step as f64).collect();
            let ends: Vec<[f64; 2]> = band.low.iter().zip(&band.high).map(|(low, high)| [*low, *high]).collect();
            chart.add(&method.name, &steps, &band.mean, &ends)?;
        }
        return Ok(vec![(name.to_string(), chart.png(), chart.svg())]);
    }
    let mut plots = Vec::new();
    for (i, (value, _)) in metric.values.iter().enumerate() {
        let title = format!("{}: means of {samples}, with 95 % intervals", metric.name);
        let mut chart = RankChart::new(title, *value);
        for method in order.iter().map(|m| &metric.methods[*m]) {
            let summary = &method.values[i].summary;
            if summary.mean.is_finite() {
                chart.add(&method.name, summary.mean, summary.interval)?;
            }
        }
        let name = if metric.values.len() > 1 { format!("{name}.{}", slug(value)) } else { name.to_string() };
        plots.push((name, chart.png(), chart.svg()));
    }
    Ok(plots)
}
