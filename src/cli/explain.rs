//! `relprop explain`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use relprop::input::{InputFile, expand};
use relprop::{Network, Target, Tensor, ValueId};

use super::args::ExplainArgs;
use super::engine::{Engine, Way};
use super::findings::{LITTLE, percent};
use super::items::{self, Item};
use super::model::Model;
use super::report::{Failure, Input, Report, Timings};
use super::results::Writer;
use super::resume::{self, Digest, Journal};
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

    let (mut sources, problems) = sources(args, &model)?;
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
    let batch = args.device.batch.min(samples.saturating_mul(way.points()).max(1));
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
    let done = if args.resume { leave_out_done(args, &key, &model, &mut sources) } else { Vec::new() };
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
    let inputs: Vec<&Path> = sources.iter().filter_map(Source::path).collect();
    let writer = Writer::new(args, &model, output, &targets, &inputs);
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
    run.finish(result, &places)
}

/// The fingerprint of everything but the inputs that results depend on.
fn key(args: &ExplainArgs, model: &Model, output: ValueId, engine: &Engine) -> Result<String> {
    let mut digest = Digest::default();
    digest.text(env!("CARGO_PKG_VERSION"));
    if let Some(path) = &args.model.model {
        digest.file(path)?;
    }
    for value in model.network.inputs() {
        digest.text(&format!("{:?}", model.network.value(*value)));
    }
    // Weights may lie in files of their own.
    for weight in model.network.nodes().iter().flat_map(|node| node.op.constants()) {
        digest.values(weight);
    }
    digest.text(&format!("{:?} {:?} {:?} {:?}", model.labels, model.preprocess, model.sequences, engine.way()));
    digest.text(&format!("{:?} {:?} {:?}", output, args.target, args.layers));
    digest.text(&format!("{} {:?} {}", args.seed.name(), args.colormap, args.percentile));
    let device = engine.device();
    digest.text(&format!("{:?} {} {} {}", device.backend, device.precision.name(), device.adapter, device.driver));
    Ok(digest.finish())
}

/// Takes the sources that an earlier run has done out of the list, and gives what it wrote of them.
fn leave_out_done(args: &ExplainArgs, key: &str, model: &Model, sources: &mut Vec<Source>) -> Vec<Input> {
    let mut done = resume::done(&args.out, key);
    let mut kept = Vec::new();
    sources.retain(|source| {
        let Ok((name, stem, digest)) = source.identity(model) else { return true };
        match done.remove(&name) {
            Some(entries) if resume::holds(&entries, &digest, &stem, &args.out) => {
                kept.extend(resume::moved(entries, &args.out));
                false
            }
            _ => true,
        }
    });
    kept
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

/// Where an item comes from.
enum Source<'a> {
    Sample,
    /// A text that was given itself, and what the names of its results begin with.
    Text(&'a str, String),
    File(InputFile),
    Arrays(&'a [String]),
}

impl Source<'_> {
    fn name(&self) -> String {
        match self {
            Source::Sample => items::SAMPLE.to_string(),
            Source::Text(text, _) => text.to_string(),
            Source::File(file) => file.path.display().to_string(),
            Source::Arrays(names) => names.join(" "),
        }
    }

    /// What names it in the report, what its files' names begin with, and the fingerprint of its bytes.
    fn identity(&self, model: &Model) -> Result<(String, String, String)> {
        Ok(match self {
            Source::Sample => (items::SAMPLE.to_string(), items::SAMPLE_STEM.to_string(), String::new()),
            Source::File(file) => (self.name(), file.stem.clone(), Digest::of_files(&[&file.path])?),
            Source::Text(text, stem) => {
                let mut digest = Digest::default();
                digest.text(text);
                (self.name(), stem.clone(), digest.finish())
            }
            Source::Arrays(names) => {
                let paths: Vec<&Path> = items::paths(names, model)?.into_iter().flatten().collect();
                (self.name(), items::array_stem(&paths), Digest::of_files(&paths)?)
            }
        })
    }

    /// How many samples it holds, as far as its header tells.
    fn samples(&self, model: &Model, fixed: Option<usize>) -> usize {
        match self {
            Source::Sample | Source::Text(..) => 1,
            Source::File(file) => items::count(&file.path, model, fixed),
            Source::Arrays(names) => {
                let first = items::paths(names, model).ok().and_then(|paths| paths.into_iter().flatten().next());
                first.map_or(1, |path| items::count(path, model, fixed))
            }
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Source::File(file) => Some(&file.path),
            _ => None,
        }
    }

    /// Whether it is a picture, unless the network takes texts or signals.
    fn is_photo(&self) -> bool {
        match self {
            Source::Sample => true,
            Source::File(file) => !items::is_array(&file.path),
            Source::Arrays(_) | Source::Text(..) => false,
        }
    }
}

/// What there is to explain, and what was asked for but is not there.
fn sources<'a>(args: &'a ExplainArgs, model: &Model) -> Result<(Vec<Source<'a>>, Vec<String>)> {
    if args.inputs.is_empty() && args.texts.is_empty() {
        return Ok((vec![Source::Sample], Vec::new()));
    }
    let texts = args.texts.iter().enumerate().map(|(i, text)| Source::Text(text, format!("text-{}", i + 1)));
    let mut sources: Vec<Source> = texts.collect();
    let named = |text: &String| items::split_name(text, &model.network).is_some();
    let several = model.network.inputs().len() > 1 && model.sequences.is_none();
    if args.inputs.iter().any(named) || (several && !args.inputs.is_empty()) {
        sources.push(Source::Arrays(&args.inputs));
        return Ok((sources, Vec::new()));
    }
    let expanded = expand(&args.inputs);
    sources.extend(expanded.files.into_iter().map(Source::File));
    if sources.is_empty() {
        bail!("there is nothing to explain: {}", expanded.problems.join("; "));
    }
    Ok((sources, expanded.problems))
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
            let item = match (source, &self.model.sequences) {
                (Source::Text(text, stem), Some(sequences)) => {
                    sequences.sentence(text, stem.clone(), self.model, self.fixed, precision)
                }
                (Source::Sample | Source::Text(..), _) => items::sample_photo(self.model, precision),
                (Source::File(file), _) => items::load(file, self.model, self.fixed, precision),
                (Source::Arrays(names), _) => items::named(names, self.model, self.fixed, precision),
            };
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
                    let entries = self.writer.write(item, &explanation, first, samples)?;
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

    /// Writes the report, in the order of the sources' `places`.
    fn finish(mut self, result: Result<()>, places: &HashMap<String, usize>) -> Result<ExitCode> {
        self.bar.finish_and_clear();
        let failed = result.is_err() || !self.report.failed.is_empty();
        self.report.status = if failed { "incomplete" } else { "complete" };
        self.report.timings.total_seconds = self.start.elapsed().as_secs_f64();
        self.report.inputs.sort_by_key(|input| places.get(&input.input));
        let report = self.report.write(&self.args.out);
        if report.is_ok() {
            self.journal.end();
        }
        // What went wrong first is what is told.
        result.and(report)?;
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
                self.args.out.join("report.json").display()
            ));
        }
        Ok(ExitCode::from(u8::from(failed)))
    }
}
