//! `relprop compare`: what several methods say of the same input, side by side.

mod args;
mod page;
mod picture;
mod sample;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use image::RgbImage;
use relprop::evaluate::spearman;
use relprop::heatmap::{ColorMap, Map, View};
use relprop::input::Preprocess;
use relprop::methods::{Method, Runner};
use relprop::{Target, Tensor};
use serde::Serialize;

pub use args::CompareArgs;
use sample::Sample;

use super::items;
use super::methods_list::{self, Methods};
use super::model::Model;
use super::report::Device;
use super::source::{Source, sources};
use super::targets::{self, NamedTarget};
use super::{Usage, engine, explain, files, say, table};

/// Samples that are held together with all their maps, while each method is built once for them.
const GROUP: usize = 16;

/// `compare.json`.
#[derive(Serialize)]
struct Report {
    relprop: &'static str,
    model: String,
    output: String,
    device: Device,
    methods: Vec<String>,
    inputs: Vec<Compared>,
    failed: Vec<Failure>,
}

/// A sample and a target.
#[derive(Serialize)]
struct Compared {
    input: String,
    /// Its number in an array of several.
    sample: usize,
    #[serde(skip)]
    several: bool,
    target: String,
    /// Flat index of the explained value.
    class: usize,
    label: Option<String>,
    /// f, the explained value.
    score: f64,
    files: Vec<String>,
    maps: Vec<Told>,
    /// Rank correlations of the maps with each other, row by row.
    spearman: Vec<Vec<Option<f64>>>,
}

/// What is told of a map.
#[derive(Serialize)]
struct Told {
    method: String,
    /// For this sample alone, without what is built once.
    seconds: f64,
    relevance_sum: f64,
    /// The sum as a part of f, where the method means to keep it.
    conservation: Option<f64>,
}

#[derive(Serialize)]
struct Failure {
    /// Nothing where the method fails whatever the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    /// Nothing where the input cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    error: String,
}

/// A sample and a target while maps are made of it.
struct Page<'a> {
    sample: &'a Sample,
    target: &'a NamedTarget,
    class: usize,
    score: f64,
    made: Vec<Made>,
}

/// A map with what is told of it.
struct Made {
    told: Told,
    view: View,
}

impl Compared {
    /// What is compared: the input, what is explained of it, and f.
    fn title(&self) -> String {
        format!("{}: {}, f = {:.4}", self.place(), self.what(), self.score)
    }

    /// What is explained, for people.
    fn what(&self) -> String {
        let class = self.label.clone().unwrap_or_else(|| format!("class {}", self.class));
        let says_all = self.target.contains("-vs-") || matches!(self.target.as_str(), "outlier" | "inlier");
        if says_all { self.target.clone() } else { class }
    }

    /// The input, and which of its samples.
    fn place(&self) -> String {
        match self.several {
            true => format!("{}, sample {}", self.input, self.sample),
            false => self.input.clone(),
        }
    }
}

impl Told {
    /// The time that the map took, for people.
    fn time(&self) -> String {
        match self.seconds {
            s if s < 0.01 => format!("{:.1} ms", s * 1e3),
            s if s < 1.0 => format!("{:.0} ms", s * 1e3),
            s if s < 10.0 => format!("{s:.2} s"),
            s => format!("{s:.0} s"),
        }
    }

    /// The sum of the map as a part of f.
    fn kept(&self) -> String {
        self.conservation.map_or_else(|| "–".to_string(), |kept| format!("{kept:.3}"))
    }
}

pub fn compare(args: &CompareArgs) -> Result<ExitCode> {
    if args.inputs.is_empty() && args.model.model.is_some() {
        return Err(Usage("give the photos, signals or arrays to compare methods on".to_string()).into());
    }
    args.look().check().map_err(|error| Usage(error.to_string()))?;
    let model = Model::load(args.model.model.as_deref(), &args.model.description)?;
    let network = &model.network;
    let output = explain::output(network, args.output.as_deref())?;
    let fixed = network.fixed_batch(output);
    let shape = items::sample_shape(&network.value(output).shape, fixed);
    let targets = targets::parse(&args.target, &model.labels, &shape, network.outlier_score(output).is_some())?;
    let (sources, problems) = sources(&args.inputs, &[], &model)?;
    let photos = model.sequences.is_none() && sources.iter().any(Source::is_photo);
    let Methods { allowed: methods, refused } = methods_list::methods(&args.methods, &[], &model, photos)?;
    if photos {
        model.warn_of_assumption();
    }
    let mut runner = engine::runner(network, &args.device, output, args.device.batch(true))?;
    let device = runner.device()?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    if !args.quiet && !args.json {
        say(&format!("{}, {} methods, on {device}", model.name, methods.len()));
    }
    let report = Report {
        relprop: env!("CARGO_PKG_VERSION"),
        model: model.name.clone(),
        output: network.value(output).name.clone(),
        device: (&device).into(),
        methods: methods.iter().map(|(name, _)| name.clone()).collect(),
        inputs: Vec::new(),
        failed: Vec::new(),
    };
    let taken = sources.iter().filter_map(Source::path).filter_map(|path| path.canonicalize().ok()).collect();
    let mut run =
        Run { args, model: &model, runner, targets: &targets, methods, broken: BTreeSet::new(), taken, report };
    for (method, error) in refused {
        run.refuse(method, error);
    }
    for problem in problems {
        run.fail(None, None, problem);
    }
    run.all(&sources, fixed)?;
    run.finish()
}

struct Run<'a> {
    args: &'a CompareArgs,
    model: &'a Model,
    runner: Runner,
    targets: &'a [NamedTarget],
    methods: Vec<(String, Method)>,
    /// Methods that the network or the device does not allow, by number.
    broken: BTreeSet<usize>,
    /// Files that must not be overwritten.
    taken: HashSet<PathBuf>,
    report: Report,
}

impl Run<'_> {
    /// Compares methods on everything, some samples at a time.
    fn all(&mut self, sources: &[Source], fixed: Option<usize>) -> Result<()> {
        let precision = self.args.device.precision();
        let mut waiting = Vec::new();
        for source in sources {
            match source.load(self.model, fixed, precision).and_then(|item| Sample::all(&item)) {
                Ok(samples) => waiting.extend(samples),
                Err(error) if error.is::<Usage>() => return Err(error),
                Err(error) => self.fail(Some(source.name()), None, format!("{error:#}")),
            }
            while waiting.len() >= GROUP {
                let rest = waiting.split_off(GROUP);
                self.group(std::mem::replace(&mut waiting, rest))?;
            }
        }
        self.group(waiting)
    }

    /// Compares methods on some samples, method after method, so that each is built once for them.
    fn group(&mut self, samples: Vec<Sample>) -> Result<()> {
        let mut pages: Vec<Page> = Vec::new();
        for sample in &samples {
            let targets = self.targets;
            for target in targets {
                match self.explained(sample, &target.target) {
                    Ok((class, score)) => pages.push(Page { sample, target, class, score, made: Vec::new() }),
                    Err(error) => {
                        self.fail(Some(sample.source.clone()), None, format!("{}: {error:#}", sample.source));
                        break;
                    }
                }
            }
        }
        for number in 0..self.methods.len() {
            let Some(first) = pages.first() else { break };
            if self.broken.contains(&number) || !self.prepared(number, first.sample) {
                continue;
            }
            for page in &mut pages {
                match self.made(number, page.sample, &page.target.target) {
                    Ok(made) => page.made.push(made),
                    Err(error) => {
                        let method = self.methods[number].0.clone();
                        self.fail(Some(page.sample.source.clone()), Some(method), format!("{error:#}"));
                    }
                }
            }
        }
        pages.into_iter().filter(|page| !page.made.is_empty()).try_for_each(|page| self.write(page))
    }

    /// The explained value's flat index, and f: the forward pass tells them, which is all that random maps need.
    fn explained(&mut self, sample: &Sample, target: &Target) -> Result<(usize, f64)> {
        let forward = Method::Random { seed: 0 };
        let found = self.runner.explain(&forward, &sample.tensors, std::slice::from_ref(target))?;
        let why = found.targets.first().context("no output")?;
        why.chosen.first().copied().zip(why.seed.first().copied()).context("no output")
    }

    /// Builds a method, and the forward pass that it may need beside; where that fails, it is told once.
    fn prepared(&mut self, number: usize, sample: &Sample) -> bool {
        let (name, method) = &self.methods[number];
        let built = self.runner.prepare(method, 1).and_then(|_| self.runner.predict(&sample.tensors));
        let Err(error) = built else { return true };
        let name = name.clone();
        self.broken.insert(number);
        match error {
            relprop::Error::Device(_) | relprop::Error::Memory { .. } | relprop::Error::Range { .. } => {
                self.fail(None, Some(name), error.to_string());
            }
            error => self.refuse(name, error.to_string()),
        }
        false
    }

    /// Tells that the network does not allow a method: a failure where it was asked for, but not among the usual ones.
    fn refuse(&mut self, method: String, error: String) {
        match self.args.methods.is_empty() {
            true => eprintln!("note: {method} is left out: {error}"),
            false => self.fail(None, Some(method), error),
        }
    }

    /// What a method says of a sample.
    fn made(&mut self, number: usize, sample: &Sample, target: &Target) -> Result<Made> {
        let (name, method) = self.methods[number].clone();
        let start = Instant::now();
        let found = self.runner.explain(&method, &sample.tensors, std::slice::from_ref(target))?;
        let seconds = start.elapsed().as_secs_f64();
        let why = found.targets.first().context("no explanation")?;
        let relevance_sum: f64 = why.relevance.iter().map(|map| map.to_vec::<f64>().iter().sum::<f64>()).sum();
        let kept = why.seed.first().map(|seed| relevance_sum / seed);
        let conservation = kept.filter(|kept| method.conserves() && kept.is_finite());
        let map = why.relevance.get(self.shown_input()).context("no map")?;
        let view =
            self.view(map)?.with_context(|| format!("there is no picture of relevance of shape {:?}", map.shape()))?;
        Ok(Made { told: Told { method: name, seconds, relevance_sum, conservation }, view })
    }

    /// The network's input whose map is shown: the first that the description does not fill.
    fn shown_input(&self) -> usize {
        let filled = |i: usize| self.model.sequences.as_ref().is_some_and(|s| s.is_filled(i));
        (0..self.model.network.inputs().len()).find(|i| !filled(*i)).unwrap_or(0)
    }

    /// One sample's values as something to look at.
    fn view(&self, tensor: &Tensor) -> Result<Option<View>> {
        let channels_last = self.model.preprocess.as_ref().is_ok_and(Preprocess::channels_last);
        let shape = tensor.shape().get(1..).unwrap_or_default();
        Ok(View::of(&tensor.to_vec::<f64>(), shape, channels_last)?)
    }

    /// What the maps are of: the photo, or the input's values in grey.
    fn picture_of(&self, sample: &Sample) -> Result<(RgbImage, bool)> {
        let values = sample.tensors.get(self.shown_input()).context("no input")?;
        let inverted = || self.model.told()?.invert(&values.to_vec::<f64>());
        if let Some(photo) = sample.photo.clone().or_else(inverted) {
            return Ok((photo, true));
        }
        let view = self.view(values)?.context("there is no picture of the input")?;
        Ok((view.render(ColorMap::Grey, view.scale(100.0)), false))
    }

    /// Writes the picture and the page of a sample and a target.
    fn write(&mut self, page: Page) -> Result<()> {
        let Page { sample, target, class, score, made } = page;
        let (input, is_photo) = self.picture_of(sample)?;
        let (maps, views): (Vec<Told>, Vec<View>) = made.into_iter().map(|made| (made.told, made.view)).unzip();
        let name = match self.targets.len() {
            1 => format!("{}.compare", sample.name),
            _ => format!("{}.{}.compare", sample.name, target.name),
        };
        let values: Vec<Vec<f64>> =
            views.iter().map(|view| view.maps().flat_map(Map::values).copied().collect()).collect();
        let row = |a: &Vec<f64>| values.iter().map(|b| Some(spearman(a, b)).filter(|r| r.is_finite())).collect();
        let mut compared = Compared {
            input: sample.source.clone(),
            sample: sample.number,
            several: sample.several,
            target: target.name.clone(),
            class,
            label: self.model.labels.get(class).map(str::to_string),
            score,
            files: Vec::new(),
            maps,
            spearman: values.iter().map(row).collect(),
        };
        let look = self.args.look();
        let grid = picture::grid(&compared, &input, &views, &look, self.args.columns)?;
        let failed =
            self.report.failed.iter().filter(|f| f.input.is_none() || f.input.as_ref() == Some(&sample.source));
        let page = page::html(
            &self.report,
            &compared,
            &picture::tiles(&input, is_photo, &views, score, &look)?,
            look.colors,
            failed,
        );
        for (ending, bytes) in [("png", picture::png(&grid)?), ("html", page.into_bytes())] {
            let path = self.args.out.join(format!("{name}.{ending}"));
            if path.canonicalize().is_ok_and(|path| self.taken.contains(&path)) {
                bail!("{} is one of the inputs: give another folder with --out", path.display());
            }
            files::write(&path, &bytes)?;
            compared.files.push(path.display().to_string());
        }
        if !self.args.quiet && !self.args.json {
            say(&summary(&compared));
        }
        self.report.inputs.push(compared);
        Ok(())
    }

    /// Tells that something failed, and goes on.
    fn fail(&mut self, input: Option<String>, method: Option<String>, error: String) {
        let of =
            |what: &Option<String>| what.as_ref().filter(|what| !error.contains(*what)).map(|what| format!("{what}: "));
        eprintln!("error: {}{}{error}", of(&input).unwrap_or_default(), of(&method).unwrap_or_default());
        self.report.failed.push(Failure { input, method, error });
    }

    fn finish(self) -> Result<ExitCode> {
        let text = serde_json::to_string_pretty(&self.report).context("compare.json")? + "\n";
        let path = self.args.out.join("compare.json");
        files::write(&path, text.as_bytes())?;
        if self.args.json {
            say(text.trim_end());
        } else if !self.args.quiet {
            say(&format!("{} compared; {}", self.report.inputs.len(), path.display()));
        }
        // Where not even one of the usual methods goes with the network, nothing was compared.
        Ok(ExitCode::from(u8::from(!self.report.failed.is_empty() || self.report.inputs.is_empty())))
    }
}

/// What is said of a sample on the terminal.
fn summary(compared: &Compared) -> String {
    let mut rows = vec![["method", "time", "sum", "sum / f"].map(str::to_string).to_vec()];
    for told in &compared.maps {
        rows.push(vec![told.method.clone(), told.time(), format!("{:.4}", told.relevance_sum), told.kept()]);
    }
    let mut text = format!("{}\n", compared.title());
    for line in table::render(&rows, &[1, 2, 3]).lines().map(|line| format!("  {line}\n")) {
        text.push_str(&line);
    }
    let files = compared.files.iter().enumerate();
    files.for_each(|(i, file)| text.push_str(&format!("  {:<10}{file}\n", if i == 0 { "wrote" } else { "" })));
    text.trim_end().to_string()
}
