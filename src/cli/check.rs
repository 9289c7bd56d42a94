//! `relprop check`: can this map be trusted?

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use relprop::input::expand;
use relprop::{
    Backend, Composite, ConservationDetail, DeviceInfo, Explainer, Explanation, LayerConservation, Precision, Target,
    Tensor,
};
use serde::Serialize;

use super::args::CheckArgs;
use super::findings::{Float32, Layer, Totals, findings, percent};
use super::items::{self, Item};
use super::model::Model;
use super::targets::{self, NamedTarget};
use super::{Usage, explain, say, table};

/// What is said of one target.
#[derive(Serialize)]
struct Checked {
    target: String,
    /// Flat index of the explained value.
    class: usize,
    label: Option<String>,
    seed: f64,
    /// Sum of the relevance of the inputs, in float64.
    arrived: f64,
    /// Parts of the seed.
    kept: f64,
    bias: f64,
    rest: f64,
    /// None when float32 fails.
    float32: Option<Float32>,
    layers: Vec<Layer>,
    findings: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    model: String,
    input: String,
    composite: String,
    device: String,
    targets: Vec<Checked>,
}

pub fn check(args: &CheckArgs) -> Result<ExitCode> {
    let model = Model::load(args.model.as_deref(), &args.description)?;
    let network = &model.network;
    let output = explain::output(network, args.output.as_deref())?;
    let fixed = network.fixed_batch(output);
    let shape = items::sample_shape(&network.value(output).shape, fixed);
    let targets = targets::parse(&args.target, &model.labels, &shape, network.outlier_score(output).is_some())?;

    let input = input(args, &model, fixed)?;
    let composite = model.composite(&args.rules, input.photo.is_some())?;
    if input.photo.is_some() {
        model.warn_of_assumption();
    }
    let wanted: Vec<Target> = targets.iter().map(|t| t.target.clone()).collect();
    let run = |backend: Backend, precision: Precision| -> relprop::Result<(Explanation, DeviceInfo)> {
        let mut explainer = Explainer::builder(network, composite.clone())
            .backend(backend)
            .precision(precision)
            .output(output)
            .conservation(ConservationDetail::Full)
            .several_targets(wanted.len() > 1);
        if let (Some(adapter), Precision::F32) = (&args.adapter, precision) {
            explainer = explainer.adapter(adapter);
        }
        let mut explainer = explainer.build()?;
        Ok((explainer.explain(&input.tensors, &wanted)?, explainer.device().clone()))
    };
    let (exact, _) = run(Backend::Cpu, Precision::F64)?;
    let (rounded, device) = match run(args.backend(), Precision::F32) {
        Ok((explanation, device)) => (Ok(explanation), device.to_string()),
        Err(error @ relprop::Error::Device(_)) => return Err(error.into()),
        Err(error) => (Err(error.to_string()), "no device: float32 failed".to_string()),
    };
    let checked = targets.iter().enumerate().map(|(i, named)| {
        let rounded = rounded.as_ref().map_err(String::as_str);
        checked(named, i, &model, &composite, &exact, rounded)
    });
    let report = Report {
        model: model.name.clone(),
        input: input.source.clone(),
        composite: composite.name().to_string(),
        device,
        targets: checked.collect::<Result<_>>()?,
    };
    if args.json {
        say(&serde_json::to_string_pretty(&report)?);
    } else {
        print(&report, args.all);
    }
    let finite = |layer: &Layer| layer.leaving.is_finite() && layer.arriving.is_finite();
    let broken = report.targets.iter().any(|t| t.float32.is_none() || !t.layers.iter().all(finite));
    Ok(ExitCode::from(u8::from(broken)))
}

/// The first sample of what was given, or the built-in photo.
fn input(args: &CheckArgs, model: &Model, fixed: Option<usize>) -> Result<Item> {
    let network = &model.network;
    let named = |text: &String| items::split_name(text, network).is_some();
    let mut item = if args.inputs.is_empty() {
        if let Err(reason) = &model.preprocess {
            return Err(Usage(format!("give an input; the built-in photo does not fit: {reason}")).into());
        }
        items::sample_photo(model, Precision::F64)?
    } else if args.inputs.iter().any(named) || (network.inputs().len() > 1 && model.sequences.is_none()) {
        items::named(&args.inputs, model, fixed, Precision::F64)?
    } else {
        let expanded = expand(&args.inputs);
        let file = expanded.files.first().with_context(|| expanded.problems.join("; "))?;
        if expanded.files.len() > 1 {
            eprintln!("note: {} inputs were given; the first is checked", expanded.files.len());
        }
        items::load(file, model, fixed, Precision::F64)?
    };
    if item.samples > 1 {
        let first = |tensor: &Tensor| -> Result<Tensor> {
            let rows = tensor.shape().first().copied().unwrap_or(0);
            if !rows.is_multiple_of(item.samples) {
                bail!("{}: give one sample", item.source);
            }
            Ok(tensor.rows(0, rows / item.samples)?)
        };
        item.tensors = item.tensors.iter().map(first).collect::<Result<_>>()?;
        eprintln!("note: {} holds {} samples; the first is checked", item.source, item.samples);
        item.samples = 1;
    }
    Ok(item)
}

fn checked(
    named: &NamedTarget,
    number: usize,
    model: &Model,
    composite: &Composite,
    exact: &Explanation,
    rounded: Result<&Explanation, &str>,
) -> Result<Checked> {
    let conservations = exact.conservation();
    let of_rounded = rounded.ok().map(Explanation::conservation);
    let in_float32 = of_rounded.as_ref().and_then(|all| all.get(number));
    let sums = conservations.get(number).context("a target without an explanation")?;
    let layers: Vec<Layer> = sums
        .layers
        .iter()
        .enumerate()
        .map(|(i, layer)| Layer::new(layer, in_float32.and_then(|sums| sums.layers.get(i))))
        .collect();
    let target = &exact.targets[number];
    let float32 = rounded.ok().map(|rounded| {
        let maps = target.relevance.iter().zip(&rounded.targets[number].relevance);
        let pairs = maps.flat_map(|(a, b)| a.to_vec::<f64>().into_iter().zip(b.to_vec::<f64>()));
        let arrived = in_float32.map_or(f64::NAN, |sums| sums.arrived[0]);
        Float32::new(arrived, pairs)
    });
    let seed = target.seed[0];
    let part = |total: f64| if seed == 0.0 { 0.0 } else { total / seed };
    let bias = sums.layers.iter().filter_map(|layer| Some(layer.detail.as_ref()?.bias[0])).sum();
    let rest = sums.layers.iter().map(|layer: &LayerConservation| layer.rest(0)).sum();
    let totals = Totals { seed, kept: sums.kept(0), bias: part(bias), rest: part(rest) };
    let findings = findings(totals, &layers, float32.as_ref(), rounded.err(), composite);
    Ok(Checked {
        target: named.name.clone(),
        class: target.chosen[0],
        label: model.labels.get(target.chosen[0]).map(str::to_string),
        seed,
        arrived: sums.arrived[0],
        kept: sums.kept(0),
        bias: part(bias),
        rest: part(rest),
        float32,
        layers,
        findings,
    })
}

fn print(report: &Report, all: bool) {
    say(&format!("{}, {}, composite {}", report.model, report.input, report.composite));
    say(&format!("sums in float64 on the CPU; float32 on {}", report.device));
    for target in &report.targets {
        let label = target.label.as_deref().map(|label| format!(" ({label})")).unwrap_or_default();
        say(&format!("\ntarget {}: value {}{label}, it starts with {:.6}", target.target, target.class, target.seed));
        let shown: Vec<&Layer> = target.layers.iter().filter(|layer| all || layer.stands_out(target.seed)).collect();
        let hidden = target.layers.len() - shown.len();
        if !shown.is_empty() {
            let head = ["layer", "op", "rule", "comes", "leaves", "bias", "rest", "|out| ÷ |in|", "float32 off by"];
            let mut rows = vec![head.map(str::to_string).to_vec()];
            rows.extend(shown.into_iter().map(|layer| layer.row(target.seed)));
            say(&table::render(&rows, &[3, 4, 5, 6, 7, 8]));
        }
        if hidden > 0 {
            say(&format!("{hidden} more layers hand on what comes, up to 1 % of the seed (--all shows them)"));
        }
        say(&format!(
            "arrives {} of the seed; biases absorb {}, the rest {}",
            percent(target.kept),
            percent(target.bias),
            percent(target.rest)
        ));
        if let Some(float32) = &target.float32 {
            let (largest, rms) = (float32.largest, float32.rms);
            say(&format!("float32 moves the map by {largest:.1e} of its largest value (rms {rms:.1e} of its rms)"));
        }
        for finding in &target.findings {
            say(&format!("- {finding}"));
        }
    }
}
