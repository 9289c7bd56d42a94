//! `relprop explain`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use relprop::{Network, Target, Tensor, ValueId};

use super::args::ExplainArgs;
use super::before::Before;
use super::engine::{Engine, Way};
use super::findings::{LITTLE, percent};
use super::items::{self, Item};
use super::model::Model;
use super::page::Page;
use super::report::{Failure, Input, Report, Timings};
use super::results::Writer;
use super::resume::{Digest, Journal};
use super::source::{Source, sources};
use super::targets::{self, NamedTarget};
use super::{Usage, say, usage};

/// How often the report is brought up to date while inputs are explained.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Maps that do not conserve relevance are told one by one up to this many.
const WARNED: usize = 3;
/// From this many inputs on there is a progress bar.
const MANY: usize = 4;

pub fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let start = Instant::now();
    if args.inputs.is_empty() && args.texts.is_empty() && args.model.model.is_some() {
        return Err(Usage("give the photos, texts, signals or arrays to explain".to_string()).into());
    }
    let model = Model::load(args.model.model.as_deref(), &args.model.description)?;
    if !args.texts.is_empty() && model.sequences.is_none() {
        let help = "a table [text] in the description beside it says how";
        return Err(Usage(format!("--text: nothing says how {} takes texts; {help}", model.name)).into());
    }
    let network = &model.network;
    let load_seconds = start.elapsed().as_secs_f64();

    let output = output(network, args.output.as_deref())?;
    let fixed = network.fixed_batch(output);
    let shape = items::sample_shape(&network.value(output).shape, fixed);
    let values: usize = shape.iter().product();
    let targets = targets::parse(&args.target, &model.labels, &shape, network.outlier_score(output).is_some())?;
    if !model.labels.is_empty() && model.labels.len() != values {
        eprintln!("warning: there are {} labels for an output of {values} values", model.labels.len());
    }
    let layers = args.layers.iter().map(|name| network.find(name).map_err(usage("--layer")));
    let layers = layers.collect::<Result<Vec<ValueId>>>()?;

    let (mut sources, problems) = sources(&args.inputs, &args.texts, &model)?;
    let photos = model.sequences.is_none() && sources.iter().any(Source::is_photo);
    let way = match &args.method {
        Some(method) => Way::Method(model.method(method.clone(), photos)?),
        None => Way::Composite(model.composite(&args.rules, photos)?),
    };
    if photos {
        model.warn_of_assumption();
    }

    // A batch that there are not so many samples for would be filled up with copies.
    let samples = sources.iter().fold(0, |n: usize, source| n.saturating_add(source.samples(&model, fixed)));
    let points = way.points(network);
    let batch = args.device.batch(points > 1).min(samples.saturating_mul(points).max(1));
    let engine = Engine::new(network, way, args, output, layers, batch, targets.len() > 1)?;
    if engine.batch() < batch {
        let (took, why) = (engine.batch(), "that is what fits the device and the network's shapes");
        eprintln!("warning: batches of {took}, not {batch}: {why}");
    }
    if !args.quiet {
        say(&format!("{}, {}, on {}", model.name, engine.way().described(), engine.device()));
    }

    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let key = key(args, &model, output, &engine)?;
    let places: HashMap<String, usize> = sources.iter().enumerate().map(|(i, s)| (s.name(), i)).collect();
    let inputs: Vec<PathBuf> = sources.iter().filter_map(Source::path).map(Path::to_path_buf).collect();
    let writer = Writer::new(args, &model, output, &targets, &inputs)?;
    let before = Before { args, model: &model, fixed, writer: &writer, places: &places };
    let (page, done) = before.leave_out(&key, &mut sources)?;
    let left_out = places.len() - sources.len();
    let report = Report {
        relprop: env!("CARGO_PKG_VERSION"),
        key: key.clone(),
        status: "running",
        model: model.name.clone(),
        method: args.method.as_ref().map_or_else(|| "lrp".to_string(), ToString::to_string),
        composite: engine.way().composite(),
        output: network.value(output).name.clone(),
        seed: engine.way().seed(args.seed),
        zero_bias: args.rules.zero_bias,
        device: engine.device().into(),
        batch: engine.batch(),
        timings: Timings { load_seconds, ..Timings::default() },
        inputs: done,
        failed: Vec::new(),
    };
    // Written now too: a folder that cannot be written to is told before the work, not after.
    report.write(&args.out)?;
    let journal = Journal::start(&args.out, &key)?;

    let bar = progress(sources.len(), args.quiet);
    let mut run = Run {
        args,
        model: &model,
        fixed,
        conserves: engine.way().conserves(),
        engine,
        targets: &targets,
        writer,
        report,
        journal,
        page,
        places,
        left_out,
        bar,
        unconserved: 0,
        start,
        written: start,
    };
    for problem in problems {
        run.fail(problem.split(':').next().unwrap_or("").to_string(), problem);
    }
    let result = run.all(&sources);
    run.finish(result)
}

/// The fingerprint of everything but the inputs that results depend on.
fn key(args: &ExplainArgs, model: &Model, output: ValueId, engine: &Engine) -> Result<String> {
    let mut digest = Digest::default();
    digest.text(env!("CARGO_PKG_VERSION"));
    digest.model(model, args.model.model.as_deref())?;
    digest.text(&format!("{:?}", engine.way()));
    digest.text(&format!("{:?} {:?} {:?}", output, args.target, args.layers));
    digest.text(&format!("{} {:?}", args.seed.name(), args.looks));
    let device = engine.device();
    digest.text(&format!("{:?} {} {} {}", device.backend, device.precision.name(), device.adapter, device.driver));
    Ok(digest.finish())
}

/// The output to explain.
pub fn output(network: &Network, name: Option<&str>) -> Result<ValueId> {
    let names = || network.outputs().iter().map(|o| network.value(*o).name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(name) = name else {
        return network.outputs().first().copied().context("the network has no output");
    };
    let found = network.outputs().iter().copied().find(|o| network.value(*o).name == name);
    Ok(found.ok_or_else(|| Usage(format!("--output {name}: the network's outputs are: {}", names())))?)
}

fn progress(count: usize, quiet: bool) -> ProgressBar {
    if quiet || count < MANY || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
    ProgressBar::new(count as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

struct Run<'a> {
    args: &'a ExplainArgs,
    model: &'a Model,
    /// The network's own batch size, if it fixes one.
    fixed: Option<usize>,
    engine: Engine,
    targets: &'a [NamedTarget],
    writer: Writer<'a>,
    report: Report,
    journal: Journal,
    /// The page, if one is wanted.
    page: Option<Page>,
    /// Where each source stands.
    places: HashMap<String, usize>,
    /// Inputs that were done before.
    left_out: usize,
    bar: ProgressBar,
    /// Whether the composite means to conserve relevance.
    conserves: bool,
    /// Maps that hold much less or more than the output started with.
    unconserved: usize,
    start: Instant,
    /// When the report was last written.
    written: Instant,
}

impl Run<'_> {
    /// Reads and explains everything, as many items at a time as fill a batch. An error ends the run; what concerns one
    /// item alone does not.
    fn all(&mut self, sources: &[Source]) -> Result<()> {
        let mut group: Vec<Item> = Vec::new();
        let precision = self.args.device.precision();
        for source in sources {
            let item = source.load(self.model, self.fixed, precision);
            match item {
                Ok(item) => group.push(item),
                Err(error) if error.is::<Usage>() => return Err(error),
                Err(error) => self.fail(source.name(), format!("{error:#}")),
            }
            if group.iter().map(|i| i.samples).sum::<usize>() >= self.engine.batch() {
                self.group(std::mem::take(&mut group))?;
            }
        }
        if group.is_empty() { Ok(()) } else { self.group(group) }
    }

    /// Explains some items together; when that fails, one by one, to tell which is to blame.
    fn group(&mut self, group: Vec<Item>) -> Result<()> {
        let targets: Vec<Target> = self.targets.iter().map(|t| t.target.clone()).collect();
        let inputs = (0..self.model.network.inputs().len())
            .map(|i| Tensor::stack_rows(&group.iter().map(|item| item.tensors[i].clone()).collect::<Vec<_>>()))
            .collect::<relprop::Result<Vec<_>>>();
        match inputs.and_then(|inputs| self.engine.explain(&inputs, &targets)) {
            Ok(explanation) => {
                self.report.timings.build_seconds = explanation.timings.build.as_secs_f64();
                self.report.timings.run_seconds += explanation.timings.run.as_secs_f64();
                let samples: usize = group.iter().map(|i| i.samples).sum();
                self.report.timings.samples += samples;
                let mut first = 0;
                for item in &group {
                    let (entries, gallery) = self.writer.write(item, &explanation, first, samples)?;
                    if let Some(page) = &mut self.page {
                        let place = self.places.get(&item.source).copied().unwrap_or(usize::MAX);
                        page.add(place, item, &entries, &gallery, &self.writer.looks)?;
                    }
                    first += item.samples;
                    self.journal.note(&entries)?;
                    if !self.args.quiet {
                        self.bar.suspend(|| say(&self.writer.summary(item, &entries)));
                    }
                    self.warn_of_losses(&entries);
                    self.report.inputs.extend(entries);
                    self.bar.inc(1);
                }
                if self.written.elapsed() >= REPORT_EVERY {
                    self.report.write(&self.args.out)?;
                    self.written = Instant::now();
                }
                Ok(())
            }
            Err(error @ (relprop::Error::Device(_) | relprop::Error::Memory { .. })) => Err(error.into()),
            Err(error) => match <[Item; 1]>::try_from(group) {
                Ok([item]) => {
                    self.fail(item.source.clone(), format!("{}: {error}", item.source));
                    Ok(())
                }
                Err(group) => group.into_iter().try_for_each(|item| self.group(vec![item])),
            },
        }
    }

    /// Warns of maps that hold less than a tenth or more than ten times what the output started with.
    fn warn_of_losses(&mut self, entries: &[Input]) {
        if !self.conserves {
            return;
        }
        for (entry, target) in entries.iter().flat_map(|entry| entry.targets.iter().map(move |target| (entry, target)))
        {
            let kept = target.relevance_sum / target.seed;
            if target.seed == 0.0 || (LITTLE..=1.0 / LITTLE).contains(&kept.abs()) {
                continue;
            }
            self.unconserved += 1;
            if self.unconserved <= WARNED {
                let (input, sample) = (&entry.input, entry.sample);
                let (name, kept) = (&target.target, percent(kept));
                let help = "relprop check tells what becomes of the rest";
                self.bar.suspend(|| {
                    eprintln!(
                        "warning: {input}, sample {sample}, target {name}: {kept} of the relevance arrives at the input; {help}"
                    );
                });
            }
        }
    }

    /// Tells that an input failed, and goes on.
    fn fail(&mut self, input: String, error: String) {
        self.bar.suspend(|| eprintln!("error: {error}"));
        self.bar.inc(1);
        self.report.failed.push(Failure { input, error });
    }

    /// Writes the report and the page, in the order of the sources.
    fn finish(mut self, result: Result<()>) -> Result<ExitCode> {
        self.bar.finish_and_clear();
        let failed = result.is_err() || !self.report.failed.is_empty();
        self.report.status = if failed { "incomplete" } else { "complete" };
        self.report.timings.total_seconds = self.start.elapsed().as_secs_f64();
        self.report.inputs.sort_by_key(|input| self.places.get(&input.input));
        let page = self.page.take().map(|page| page.finish(&self.report)).transpose();
        let report = self.report.write(&self.args.out).and(page);
        if report.is_ok() {
            self.journal.end();
        }
        // What went wrong first is what is told.
        let page = result.and(report)?;
        if self.unconserved > WARNED {
            eprintln!("warning: {} maps hold less than a tenth or more than ten times of it", self.unconserved);
        }
        if !self.args.quiet {
            let (done, failures) = (self.report.timings.samples, self.report.failed.len());
            let failures = if failures == 0 { String::new() } else { format!(", {failures} failed") };
            let before = if self.left_out == 0 { String::new() } else { format!(", {} done before", self.left_out) };
            let seconds = self.report.timings.total_seconds;
            say(&format!(
                "{done} explained{failures}{before} in {seconds:.1} s; {}",
                page.unwrap_or_else(|| self.args.out.join("report.json")).display()
            ));
        }
        Ok(ExitCode::from(u8::from(failed)))
    }
}
