//! `relprop evaluate`: how good are explanations?
//!
//! Methods are gone through one after the other, each over all inputs, so that no explainer is built twice; inputs are read,
//! explained and measured as many at a time as fill a batch.

mod args;
mod classes;
mod inputs;
mod outcome;
mod records;
mod results;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use relprop::evaluate::{self, Metric, ScoreOf, Settings, Subject};
use relprop::input::Preprocess;
use relprop::methods::{Method, Runner};
use relprop::{Target, Tensor};

pub use args::EvaluateArgs;
use classes::Classes;
use inputs::{Loaded, Place};
use records::{Record, Records};
use results::{Failure, RunReport};

use super::model::Model;
use super::resume::{Digest, Journal, noted};
use super::{Usage, engine, explain, items, methods_list, say, usage};

/// What was measured, in the folder of results.
const RECORDS: &str = "records.jsonl";
/// Failures are told one by one up to this many.
const TOLD: usize = 10;

pub fn evaluate(args: &EvaluateArgs) -> Result<ExitCode> {
    let start = Instant::now();
    if args.inputs.is_empty() && args.model.is_some() {
        return Err(Usage("give the inputs to evaluate on: --inputs FILES or folders".to_string()).into());
    }
    let metrics = metrics(&args.metrics)?;
    let model = Model::load(args.model.as_deref(), &args.description)?;
    let network = &model.network;
    if network.inputs().len() != 1 {
        let count = network.inputs().len();
        return Err(Usage(format!("{} has {count} inputs; metrics take networks of one", model.name)).into());
    }
    let output = explain::output(network, args.output.as_deref())?;
    let fixed = network.fixed_batch(output);
    let shape = items::sample_shape(&network.value(output).shape, fixed);
    let values: usize = shape.iter().product();
    let (places, problems) = inputs::places(&args.inputs, args.masks.as_deref(), args.limit, &model, fixed)?;
    let classes = match &args.classes {
        Some(path) => Classes::read(path, &places, args.limit.is_some(), &model.labels, values)?,
        None => Classes::target(&args.target, &model.labels, &shape, network.outlier_score(output).is_some())?,
    };
    if let (Some((name, _)), None) = (metrics.iter().find(|(_, metric)| metric.needs_truth()), &args.masks) {
        let help = "--masks DIR says where what is explained truly is";
        return Err(Usage(format!("--metric {name}: it needs masks; {help}")).into());
    }
    let photos = model.sequences.is_none() && places.iter().any(Place::is_photo);
    // Random maps are what others must be better than.
    let methods = methods_list::methods(&args.methods, &["random"], &model, photos)?;
    if photos {
        model.warn_of_assumption();
    }
    let usual = if values > 1 { ScoreOf::Probability } else { ScoreOf::Logit };
    let settings = Settings {
        channels_last: model.preprocess.as_ref().is_ok_and(Preprocess::channels_last),
        score: args.score.map_or(usual, ScoreOf::from),
        seed: args.seed,
    };

    let mut runner = engine::runner(network, &args.device, output, args.device.batch(true))?;
    let device = runner.device()?;
    if !args.quiet && !args.json {
        let (methods, metrics) = (methods.allowed.len(), metrics.len());
        let samples: usize = places.iter().map(|place| place.samples).sum();
        say(&format!("{}, {samples} samples, {methods} methods, {metrics} metrics, on {device}", model.name));
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut key = Digest::default();
    key.text(env!("CARGO_PKG_VERSION"));
    key.model(&model, args.model.as_deref())?;
    key.text(&format!("{output:?} {settings:?}"));
    key.text(&format!("{:?} {} {} {}", device.backend, device.precision.name(), device.adapter, device.driver));
    let key = key.finish();

    let mut run = Run {
        args,
        model: &model,
        fixed,
        settings,
        ways: ways(&methods.allowed, &metrics),
        methods: methods.allowed,
        metrics,
        classes,
        found: HashMap::new(),
        records: Records::default(),
        failures: Vec::new(),
        told: 0,
        bar: ProgressBar::hidden(),
        runner,
        places,
    };
    let before = if args.resume { run.take_up(&key) } else { 0 };
    let report = RunReport::new(&run, &key, &device, start);
    // Written now too: a folder that cannot be written to is told before the work, not after.
    report.write(&run, "running", start)?;
    let kept: Vec<&Record> = run.records.all();
    let mut journal = Journal::with(args.out.join(RECORDS), &key, &kept)?;
    for problem in problems {
        let input = problem.split(':').next().unwrap_or("").to_string();
        run.fail(Failure { input, error: problem, ..Failure::default() });
    }
    for (method, error) in methods.refused {
        // A usual method that the network does not allow was not asked for.
        match args.methods.is_empty() {
            true => eprintln!("note: {method} is left out: {error}"),
            false => run.fail(Failure { method, error, ..Failure::default() }),
        }
    }
    run.bar = run.progress();
    let result = run.all(&mut journal);
    run.bar.finish_and_clear();
    let failed = result.is_err() || !run.failures.is_empty();
    // What was measured is written even where something ended the run; that is what is told then.
    let written = results::write(&run).and_then(|outcome| {
        report.write(&run, if failed { "incomplete" } else { "complete" }, start)?;
        Ok(outcome)
    });
    let outcome = result.and(written)?;
    run.say_all(&outcome, before, start)?;
    Ok(ExitCode::from(u8::from(failed)))
}

/// Metrics by what they are called in `--metric`.
fn metrics(lists: &[String]) -> Result<Vec<(String, Metric)>> {
    let names = methods_list::split(lists, |name| evaluate::NAMES.contains(&name));
    names.into_iter().map(|name| Ok((name.clone(), name.parse().map_err(usage("--metric"))?))).collect()
}

/// Fingerprints of each method with each metric.
fn ways(methods: &[(String, Method)], metrics: &[(String, Metric)]) -> Vec<Vec<String>> {
    let way = |method: &Method, metric: &Metric| {
        let mut digest = Digest::default();
        digest.text(&format!("{method:?}"));
        digest.text(&format!("{metric:?}"));
        digest.finish()
    };
    methods.iter().map(|(_, method)| metrics.iter().map(|(_, metric)| way(method, metric)).collect()).collect()
}

/// A sample that waits for the rest of its batch.
struct Sample {
    place: usize,
    sample: usize,
    row: Tensor,
    mask: Option<Vec<f32>>,
    /// The numbers of the metrics that it has not been measured by.
    lacking: Vec<usize>,
}

/// Samples that were explained together.
struct Explained<'g> {
    group: &'g [Sample],
    method: usize,
    input: Tensor,
    map: Tensor,
    classes: Vec<usize>,
    /// Seconds for each sample.
    seconds: f64,
}

struct Run<'a> {
    args: &'a EvaluateArgs,
    model: &'a Model,
    /// The network's own batch size, if it fixes one.
    fixed: Option<usize>,
    settings: Settings,
    methods: Vec<(String, Method)>,
    metrics: Vec<(String, Metric)>,
    /// Fingerprints of each method with each metric.
    ways: Vec<Vec<String>>,
    classes: Classes,
    /// The classes that samples were found to have, by place and sample: the same for all methods.
    found: HashMap<(usize, usize), usize>,
    places: Vec<Place>,
    records: Records,
    failures: Vec<Failure>,
    /// Failures that were told.
    told: usize,
    bar: ProgressBar,
    runner: Runner,
}

/// Whether an error ends the run: it is not the sample's fault.
fn ends_all(error: &relprop::Error) -> bool {
    matches!(error, relprop::Error::Device(_) | relprop::Error::Memory { .. })
}

impl Run<'_> {
    /// Takes up what earlier runs with this key have measured; gives how many samples are done.
    fn take_up(&mut self, key: &str) -> usize {
        let places: HashMap<&str, usize> = self.places.iter().enumerate().map(|(i, p)| (p.name.as_str(), i)).collect();
        let mut ways = HashMap::new();
        for (m, row) in self.ways.iter().enumerate() {
            ways.extend(row.iter().enumerate().map(|(k, way)| (way.as_str(), (m, k))));
        }
        let mut kept = Vec::new();
        for mut record in noted::<Record>(&self.args.out.join(RECORDS), key).into_iter().flatten() {
            let at = (ways.get(record.way.as_str()), places.get(record.input.as_str()));
            let (Some((method, metric)), Some(place)) = at else { continue };
            let (own, sample) = (&self.places[*place], record.sample);
            let class = self.classes.given(*place, sample).is_none_or(|class| class == record.class);
            if own.digest == record.digest && sample < own.samples && class {
                record.method = self.methods[*method].0.clone();
                record.metric = self.metrics[*metric].0.clone();
                kept.push(((*method, *metric, *place, sample), record));
            }
        }
        for (place, record) in kept {
            self.found.insert((place.2, place.3), record.class);
            self.records.add(place, record);
        }
        self.records.len()
    }

    fn progress(&self) -> ProgressBar {
        if self.args.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let left = |m| -> usize { (0..self.places.len()).map(|p| self.left(m, p).len()).sum() };
        let count: usize = (0..self.methods.len()).map(left).sum();
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}  {eta} left");
        ProgressBar::new(count as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// The metrics that a sample has not been measured by.
    fn lacking(&self, method: usize, place: usize, sample: usize) -> Vec<usize> {
        (0..self.metrics.len()).filter(|k| self.records.get((method, *k, place, sample)).is_none()).collect()
    }

    /// The samples of a place that are not done, with the metrics that they lack.
    fn left(&self, method: usize, place: usize) -> Vec<(usize, Vec<usize>)> {
        let samples = (0..self.places[place].samples).map(|sample| (sample, self.lacking(method, place, sample)));
        samples.filter(|(_, lacking)| !lacking.is_empty()).collect()
    }

    /// Every method over every input. An error ends the run; what concerns one sample alone does not.
    fn all(&mut self, journal: &mut Journal) -> Result<()> {
        for method in 0..self.methods.len() {
            let left: Vec<Vec<(usize, Vec<usize>)>> = (0..self.places.len()).map(|p| self.left(method, p)).collect();
            if left.iter().all(Vec::is_empty) {
                continue;
            }
            let name = self.methods[method].0.clone();
            self.bar.set_message(name.clone());
            match self.runner.prepare(&self.methods[method].1, left.iter().map(Vec::len).sum()) {
                Ok(batch) => self.over_inputs(method, left, batch.max(1), journal)?,
                Err(error) if ends_all(&error) => return Err(error.into()),
                Err(error) => {
                    self.bar.inc(left.iter().map(|left| left.len() as u64).sum());
                    match self.args.methods.is_empty() {
                        true => self.bar.suspend(|| eprintln!("note: {name} is left out: {error}")),
                        false => self.fail(Failure { method: name, error: error.to_string(), ..Failure::default() }),
                    }
                }
            }
        }
        Ok(())
    }

    /// One method over every input, as many samples at a time as fill a batch.
    fn over_inputs(
        &mut self,
        method: usize,
        left: Vec<Vec<(usize, Vec<usize>)>>,
        batch: usize,
        journal: &mut Journal,
    ) -> Result<()> {
        let precision = self.args.device.precision();
        let mut group: Vec<Sample> = Vec::new();
        for (place, left) in left.into_iter().enumerate() {
            if left.is_empty() {
                continue;
            }
            let own = &self.places[place];
            let loaded = match &own.failed {
                Some(_) => {
                    self.fail_place(place, left.len());
                    continue;
                }
                None => own.load(self.model, self.fixed, precision, self.settings.channels_last),
            };
            let Loaded { mut rows, mut masks } = match loaded {
                Ok(loaded) => loaded,
                Err(error) if error.is::<Usage>() => return Err(error),
                Err(error) => {
                    self.places[place].failed = Some(format!("{error:#}"));
                    self.fail_place(place, left.len());
                    continue;
                }
            };
            for (sample, lacking) in left {
                let Some(row) = rows.get_mut(sample) else {
                    self.bar.inc(1);
                    continue;
                };
                // What is taken out of the file does not stay in memory twice.
                let row = std::mem::replace(row, Tensor::from_f32([0], Vec::new())?);
                let mask = masks.as_mut().and_then(|masks| masks.get_mut(sample)).map(std::mem::take);
                group.push(Sample { place, sample, row, mask, lacking });
                if group.len() >= batch {
                    self.group(method, &group, journal)?;
                    group.clear();
                }
            }
        }
        if group.is_empty() { Ok(()) } else { self.group(method, &group, journal) }
    }

    /// Explains some samples together, and measures them; when that fails, one by one, to tell which is to blame.
    fn group(&mut self, method: usize, group: &[Sample], journal: &mut Journal) -> Result<()> {
        let explained = match self.explain(method, group) {
            Ok(explained) => explained,
            Err(error) if ends_all(&error) => return Err(error.into()),
            Err(_) if group.len() > 1 => {
                return group.chunks(1).try_for_each(|one| self.group(method, one, journal));
            }
            Err(error) => {
                self.bar.inc(1);
                self.fail_sample(method, None, &group[0], error.to_string());
                return Ok(());
            }
        };
        for (sample, class) in group.iter().zip(&explained.classes) {
            self.found.insert((sample.place, sample.sample), *class);
        }
        let mut notes = Vec::new();
        for metric in 0..self.metrics.len() {
            let mut members: Vec<usize> = (0..group.len()).filter(|i| group[*i].lacking.contains(&metric)).collect();
            if self.metrics[metric].1.needs_truth() {
                for i in members.iter().filter(|i| group[**i].mask.is_none()) {
                    let error = self.places[group[*i].place].mask_wanted();
                    self.fail_sample(method, Some(metric), &group[*i], error);
                }
                members.retain(|i| group[*i].mask.is_some());
            }
            self.measure(metric, &explained, &members, &mut notes)?;
        }
        journal.note(&notes)?;
        self.bar.inc(group.len() as u64);
        Ok(())
    }

    fn explain<'g>(&mut self, method: usize, group: &'g [Sample]) -> relprop::Result<Explained<'g>> {
        let rows: Vec<Tensor> = group.iter().map(|sample| sample.row.clone()).collect();
        let input = Tensor::stack_rows(&rows)?;
        let class = |s: &Sample| {
            let given = self.classes.given(s.place, s.sample);
            given.or_else(|| self.found.get(&(s.place, s.sample)).copied())
        };
        let known: Option<Vec<usize>> = group.iter().map(class).collect();
        let target = match (known, &self.classes) {
            (Some(classes), _) => Target::Each(classes),
            (None, Classes::Target(target)) => target.clone(),
            (None, Classes::Given(_)) => Target::Best,
        };
        let start = Instant::now();
        let input = [input];
        let found = self.runner.explain(&self.methods[method].1, &input, &[target])?;
        let seconds = start.elapsed().as_secs_f64() / group.len() as f64;
        let none = || relprop::Error::Input("nothing was explained".to_string());
        let target = found.targets.into_iter().next().ok_or_else(none)?;
        let map = target.relevance.into_iter().next().ok_or_else(none)?;
        let [input] = input;
        Ok(Explained { group, method, input, map, classes: target.chosen, seconds })
    }

    /// Measures some of the samples that were explained.
    fn measure(
        &mut self,
        metric: usize,
        explained: &Explained,
        members: &[usize],
        notes: &mut Vec<Record>,
    ) -> Result<()> {
        if members.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let scores = match self.scores(metric, explained, members) {
            Ok(scores) => scores,
            Err(error) if ends_all(&error) => return Err(error.into()),
            Err(_) if members.len() > 1 => {
                return members.chunks(1).try_for_each(|one| self.measure(metric, explained, one, notes));
            }
            Err(error) => {
                let sample = &explained.group[members[0]];
                self.fail_sample(explained.method, Some(metric), sample, error.to_string());
                return Ok(());
            }
        };
        let seconds = start.elapsed().as_secs_f64() / members.len() as f64;
        for (i, score) in members.iter().zip(scores) {
            let sample = &explained.group[*i];
            let place = &self.places[sample.place];
            let record = Record {
                method: self.methods[explained.method].0.clone(),
                metric: self.metrics[metric].0.clone(),
                way: self.ways[explained.method][metric].clone(),
                input: place.name.clone(),
                digest: place.digest.clone(),
                sample: sample.sample,
                class: explained.classes[*i],
                values: score.values,
                curve: score.curve,
                explain_seconds: explained.seconds,
                measure_seconds: seconds,
            };
            notes.push(record.clone());
            self.records.add((explained.method, metric, sample.place, sample.sample), record);
        }
        Ok(())
    }

    fn scores(
        &mut self,
        metric: usize,
        explained: &Explained,
        members: &[usize],
    ) -> relprop::Result<Vec<evaluate::Score>> {
        let part = |tensor: &Tensor| -> relprop::Result<Tensor> {
            let rows = tensor.shape().first().copied().unwrap_or(0) / explained.group.len();
            let part = |i: &usize| tensor.rows(i * rows, (i + 1) * rows);
            Tensor::stack_rows(&members.iter().map(part).collect::<relprop::Result<Vec<_>>>()?)
        };
        let (input, map) = (part(&explained.input)?, part(&explained.map)?);
        let classes: Vec<usize> = members.iter().map(|i| explained.classes[*i]).collect();
        let truth: Option<Vec<Vec<f32>>> = members.iter().map(|i| explained.group[*i].mask.clone()).collect();
        let method = &self.methods[explained.method].1;
        let subject = Subject { input: &input, classes: &classes, map: &map, method, truth: truth.as_deref() };
        let metric = &self.metrics[metric].1;
        let scores = metric.measure(&mut self.runner, &subject, &self.settings)?;
        let values = metric.values().len();
        if scores.len() != members.len() || scores.iter().any(|score| score.values.len() != values) {
            return Err(relprop::Error::Input(format!("metric {metric} gave not {values} values for each sample")));
        }
        Ok(scores)
    }

    /// Tells that a whole input failed, the first time.
    fn fail_place(&mut self, place: usize, samples: usize) {
        self.bar.inc(samples as u64);
        let own = &self.places[place];
        let (input, error) = (own.name.clone(), own.failed.clone().unwrap_or_default());
        if !self.failures.iter().any(|failure| failure.input == input && failure.method.is_empty()) {
            self.fail(Failure { input, error, ..Failure::default() });
        }
    }

    fn fail_sample(&mut self, method: usize, metric: Option<usize>, sample: &Sample, error: String) {
        let input = self.places[sample.place].name.clone();
        let metric = metric.map_or(String::new(), |metric| self.metrics[metric].0.clone());
        let method = self.methods[method].0.clone();
        self.fail(Failure { input, sample: Some(sample.sample), method, metric, error });
    }

    /// Tells that something failed, and goes on.
    fn fail(&mut self, failure: Failure) {
        if self.told < TOLD {
            self.bar.suspend(|| eprintln!("error: {failure}"));
        }
        self.told += 1;
        self.failures.push(failure);
    }

    /// What is said in the end.
    fn say_all(&self, outcome: &outcome::Outcome, before: usize, start: Instant) -> Result<()> {
        if self.told > TOLD {
            eprintln!("error: {} more failed; run.json lists them", self.told - TOLD);
        }
        if self.args.json {
            say(&serde_json::to_string_pretty(&outcome.entries())?);
        } else if !self.args.quiet {
            say(&outcome.tables());
            let failures = match self.failures.len() {
                0 => String::new(),
                failures => format!(", {failures} failures"),
            };
            let before_text = if before == 0 { String::new() } else { format!(", {before} of them before") };
            let (measured, seconds) = (self.records.len(), start.elapsed().as_secs_f64());
            let place = self.args.out.join("evaluation.json");
            say(&format!("{measured} measured{before_text}{failures} in {seconds:.1} s; {}", place.display()));
        }
        Ok(())
    }
}
