//! The files that `relprop explain` writes, and what it says of them.

use std::collections::HashSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use image::{ImageFormat, RgbImage};
use relprop::heatmap::{SignalPlot, TextRelevance, View, html, overlay};
use relprop::input::npy;
use relprop::{Explanation, Network, Op, TargetExplanation, Tensor, ValueId};

use super::args::ExplainArgs;
use super::files;
use super::items::{Item, sample_shape};
use super::model::Model;
use super::report::{Class, Conservation, Input, Target};
use super::sequences::{Kind, Read};
use super::slug;
use super::targets::NamedTarget;

/// How many of the likeliest classes are told.
const TOP: usize = 5;
/// How many files are listed for an input.
const LISTED: usize = 6;

/// Writes an item's results.
pub struct Writer<'a> {
    args: &'a ExplainArgs,
    model: &'a Model,
    targets: &'a [NamedTarget],
    /// Shape of the explained output without the batch.
    output: Vec<usize>,
    /// Whether a softmax of the output gives probabilities.
    softmax: bool,
    /// Whether the explained output is an outlier score.
    one_class: bool,
    /// Files that must not be overwritten.
    inputs: HashSet<PathBuf>,
    /// Whether texts are coloured.
    color: bool,
}

/// What is said of a sample's target beside its relevance.
struct Told {
    target: String,
    score: f64,
    seed: f64,
}

impl Told {
    fn caption(&self, relevance: &[f64]) -> String {
        let sum: f64 = relevance.iter().sum();
        format!("{}: {:.4}, relevance {sum:.4} of {:.4}", self.target, self.score, self.seed)
    }
}

fn class_name(class: &Class) -> String {
    class.label.clone().unwrap_or_else(|| format!("class {}", class.class))
}

/// How a target is called: by its class, but a difference by both, and an outlier score by what it is.
fn target_name(target: &str, class: &Class) -> String {
    let says_all = target.contains("-vs-") || matches!(target, "outlier" | "inlier");
    if says_all { target.to_string() } else { class_name(class) }
}

impl<'a> Writer<'a> {
    pub fn new(
        args: &'a ExplainArgs,
        model: &'a Model,
        output: ValueId,
        targets: &'a [NamedTarget],
        inputs: &[&Path],
    ) -> Writer<'a> {
        let shape = &model.network.value(output).shape;
        let inputs = inputs.iter().filter_map(|p| p.canonicalize().ok()).collect();
        let output_shape = sample_shape(shape, model.network.fixed_batch(output));
        let softmax = output_shape.len() == 1 && output_shape[0] > 1 && !ends_in_activation(&model.network, output);
        let one_class = model.network.outlier_score(output).is_some();
        let color = args.color.wanted();
        Writer { args, model, targets, output: output_shape, softmax, one_class, inputs, color }
    }

    /// Writes the files of one item, whose samples begin at `first` of the explanation's `total`.
    pub fn write(&self, item: &Item, explanation: &Explanation, first: usize, total: usize) -> Result<Vec<Input>> {
        let output = explanation.output.to_vec::<f64>();
        let per_sample = output.len() / total.max(1);
        let mut entries: Vec<Input> = (0..item.samples)
            .map(|i| {
                let logits = &output[(first + i) * per_sample..][..per_sample];
                let (input, digest) = (item.source.clone(), item.digest.clone());
                Input { input, digest, sample: i, top: self.top(logits), targets: Vec::new() }
            })
            .collect();
        for (named, explained) in self.targets.iter().zip(&explanation.targets) {
            let base = if self.targets.len() > 1 { format!("{}.{}", item.stem, named.name) } else { item.stem.clone() };
            let told: Vec<Told> = (first..first + item.samples)
                .map(|at| {
                    let class = self.class(&output[at * per_sample..][..per_sample], explained.chosen[at]);
                    Told { target: target_name(&named.name, &class), score: class.logit, seed: explained.seed[at] }
                })
                .collect();
            let (files, texts) = self.files(item, &base, explained, first, total, &told)?;
            let mut texts = texts.into_iter();
            let relevance: Vec<Vec<f64>> = explained.relevance.iter().map(Tensor::to_vec).collect();
            for (i, entry) in entries.iter_mut().enumerate() {
                let at = first + i;
                let sum = relevance.iter().map(|r| r[share(r.len(), at, total)].iter().sum::<f64>()).sum();
                let logits = &output[at * per_sample..][..per_sample];
                let conservation = explained.conservation.iter().map(|c| Conservation {
                    layer: c.layer.clone(),
                    op: c.op.to_string(),
                    rule: c.rule.clone(),
                    arriving: c.arriving[at],
                    leaving: c.leaving[at],
                });
                entry.targets.push(Target {
                    target: named.name.clone(),
                    class: self.class(logits, explained.chosen[at]),
                    seed: explained.seed[at],
                    relevance_sum: sum,
                    files: files.iter().map(|p| p.display().to_string()).collect(),
                    text: texts.next(),
                    conservation: conservation.collect(),
                });
            }
        }
        Ok(entries)
    }

    /// Writes relevance and pictures for one target.
    fn files(
        &self,
        item: &Item,
        base: &str,
        explained: &TargetExplanation,
        first: usize,
        total: usize,
        told: &[Told],
    ) -> Result<(Vec<PathBuf>, Vec<TextRelevance>)> {
        let mut texts = Vec::new();
        let mut files = Files { writer: self, written: Vec::new() };
        let network = &self.model.network;
        let filled = |i: usize| self.model.sequences.as_ref().is_some_and(|s| s.is_filled(i));
        let several = (0..explained.relevance.len()).filter(|i| !filled(*i)).count() > 1;
        let mut arrays = Vec::new();
        for (i, relevance) in explained.relevance.iter().enumerate() {
            let name = if several || filled(i) {
                format!("{base}.{}", slug(&network.value(network.inputs()[i]).name))
            } else {
                base.to_string()
            };
            let relevance = part(relevance, first, item.samples, total)?;
            match (&item.read, &self.model.sequences) {
                (Some(read), Some(sequences)) if sequences.input == i => match (read, &sequences.kind) {
                    (Read::Texts(encoded), Kind::Text(input)) => {
                        let values = relevance.to_vec::<f64>();
                        for ((sample, text), told) in encoded.iter().enumerate().zip(told) {
                            let own = &values[share(values.len(), sample, item.samples)];
                            texts.push(input.relevance(text, own, &told.target, told.score, told.seed)?);
                        }
                        let page = html(&item.source, &texts, self.args.colormap);
                        files.add(&format!("{name}.html"), page.as_bytes())?;
                        let json = serde_json::to_string_pretty(&texts).context("json")? + "\n";
                        files.add(&format!("{name}.json"), json.as_bytes())?;
                    }
                    (Read::Signal(encoded), Kind::Signal(input)) => {
                        let values = relevance.to_vec::<f64>();
                        for (sample, told) in told.iter().enumerate() {
                            let own = &values[share(values.len(), sample, item.samples)];
                            let part = input.relevance(encoded, sample, own)?;
                            let name = if item.samples > 1 { format!("{name}.{sample}") } else { name.clone() };
                            let scale = View::Signal(part.relevance.clone()).scale(self.args.percentile);
                            let plot = SignalPlot::new(&part.values, &part.relevance)?;
                            let rate = encoded.sample_rate.map_or(0.0, f64::from);
                            let plot = plot.sample_rate(rate).start(part.start as f64).caption(told.caption(own));
                            self.plot(&name, &plot, scale, &mut files)?;
                        }
                    }
                    _ => bail!("{}: what was read is not what the network takes", item.source),
                },
                (Some(_), _) if filled(i) => {}
                _ => self.pictures(item, &name, i, &relevance, told, &mut files)?,
            }
            arrays.push((format!("{name}.relevance.npy"), relevance));
        }
        let mut names = HashSet::new();
        for (layer, relevance) in &explained.layers {
            let mut name = slug(layer);
            while !names.insert(name.to_lowercase()) {
                name.push('_');
            }
            arrays.push((format!("{base}.{name}.relevance.npy"), part(relevance, first, item.samples, total)?));
        }
        for (name, relevance) in arrays {
            files.add(&name, &npy::encode(&relevance))?;
        }
        Ok((files.written, texts))
    }

    /// A plot, as picture and as drawing.
    fn plot(&self, name: &str, plot: &SignalPlot, scale: f64, files: &mut Files) -> Result<()> {
        files.picture(&format!("{name}.plot.png"), &plot.png(self.args.colormap, scale))?;
        files.add(&format!("{name}.plot.svg"), plot.svg(self.args.colormap, scale).as_bytes())
    }

    /// Pictures of each sample of one input's relevance; none when its shape has none.
    fn pictures(
        &self,
        item: &Item,
        name: &str,
        input: usize,
        relevance: &Tensor,
        told: &[Told],
        files: &mut Files,
    ) -> Result<()> {
        let shape = relevance.shape();
        let preprocess = self.model.preprocess.as_ref().ok();
        let channels_last = preprocess.is_some_and(|p| p.channels_last());
        let rows = shape.first().copied().unwrap_or(0);
        let values = relevance.to_vec::<f64>();
        let signal = item.tensors[input].to_vec::<f64>();
        for row in 0..rows {
            let range = share(values.len(), row, rows);
            let view = match View::of(&values[range.clone()], &shape[1..], channels_last) {
                Ok(Some(view)) => view,
                Ok(None) => {
                    eprintln!("note: {}: there is no picture of relevance of shape {shape:?}", item.source);
                    return Ok(());
                }
                Err(error) => {
                    eprintln!("warning: {}: no picture: {error}", item.source);
                    continue;
                }
            };
            let name = if rows > 1 { format!("{name}.{row}") } else { name.to_string() };
            let scale = view.scale(self.args.percentile);
            let colors = self.args.colormap;
            files.picture(&format!("{name}.png"), &view.render(colors, scale))?;
            let over = match &view {
                View::Image(map) => {
                    let photo = item.photo.clone().or_else(|| self.model.told()?.invert(&signal[range.clone()]));
                    photo.map(|photo| overlay(&photo, map, colors, scale))
                }
                View::Signal(map) => {
                    let plot = SignalPlot::new(&signal[range.clone()], map)?;
                    let caption = told.get(row).filter(|_| rows == item.samples).map(|t| t.caption(map.values()));
                    self.plot(&name, &plot.caption(caption.unwrap_or_default()), scale, files)?;
                    None
                }
                View::Video(_) => None,
            };
            if let Some(over) = over {
                files.picture(&format!("{name}.overlay.png"), &over)?;
            }
        }
        Ok(())
    }

    /// The largest values of a sample's output.
    fn top(&self, logits: &[f64]) -> Vec<Class> {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        order.into_iter().take(TOP).map(|class| self.class(logits, class)).collect()
    }

    fn class(&self, logits: &[f64], class: usize) -> Class {
        let probability = self.softmax.then(|| {
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (logits[class] - most).exp() / logits.iter().map(|v| (v - most).exp()).sum::<f64>()
        });
        Class { class, label: self.label(class), logit: logits[class], probability }
    }

    /// The label of a class; where the output has several axes, the position.
    fn label(&self, class: usize) -> Option<String> {
        if let Some(label) = self.model.labels.get(class) {
            return Some(label.to_string());
        }
        if self.one_class {
            return Some("outlier score".to_string());
        }
        if self.output.len() < 2 {
            return None;
        }
        let mut rest = class;
        let mut position: Vec<String> = Vec::new();
        for size in self.output.iter().rev() {
            position.push((rest % (*size).max(1)).to_string());
            rest /= (*size).max(1);
        }
        position.reverse();
        Some(format!("({})", position.join(", ")))
    }

    /// What is said of an item on the terminal.
    pub fn summary(&self, item: &Item, entries: &[Input]) -> String {
        let mut text = String::new();
        let name = class_name;
        for entry in entries {
            text.push_str(&item.source);
            if entries.len() > 1 {
                text.push_str(&format!(", sample {}", entry.sample));
            }
            let width = entry.top.iter().map(|c| name(c).chars().count()).max().unwrap_or(0);
            for (i, class) in entry.top.iter().enumerate() {
                let probability = class.probability.map_or_else(String::new, |p| format!("  {:5.1} %", p * 100.0));
                let head = if i == 0 { "top" } else { "" };
                text.push_str(&format!("\n  {head:<10}{:<width$}  {:>9.4}{probability}", name(class), class.logit));
            }
            for target in &entry.targets {
                text.push_str(&format!(
                    "\n  {:<10}{}: relevance {:.6} of {:.6}",
                    "explained",
                    target_name(&target.target, &target.class),
                    target.relevance_sum,
                    target.seed
                ));
                if let Some(words) = &target.text {
                    let line = if self.color { words.ansi(self.args.colormap) } else { words.plain() };
                    text.push_str(&format!("\n  {:<10}{line}\n  {:<10}{}", "", "words", words.strongest()));
                }
            }
            text.push('\n');
        }
        let mut files: Vec<&String> = Vec::new();
        for target in entries.first().map_or(&[][..], |e| &e.targets) {
            files.extend(&target.files);
        }
        let mut head = "wrote";
        for file in files.iter().take(LISTED) {
            text.push_str(&format!("  {head:<10}{file}\n"));
            head = "";
        }
        if files.len() > LISTED {
            text.push_str(&format!("  {:<10}and {} more\n", "", files.len() - LISTED));
        }
        text.trim_end().to_string()
    }
}

/// Whether the output comes out of an activation (a sigmoid, say): it holds no logits then.
fn ends_in_activation(network: &Network, output: ValueId) -> bool {
    network.producer(output).is_some_and(|node| matches!(node.op, Op::Activation(_)))
}

/// Where sample `i` of `total` lies in `len` values.
fn share(len: usize, i: usize, total: usize) -> std::ops::Range<usize> {
    let one = len / total.max(1);
    i * one..(i + 1) * one
}

/// The rows of some of `total` samples.
fn part(tensor: &Tensor, first: usize, count: usize, total: usize) -> Result<Tensor> {
    let rows = tensor.shape().first().copied().unwrap_or(0) / total.max(1);
    Ok(tensor.rows(first * rows, (first + count) * rows)?)
}

/// Files written for an item and a target.
struct Files<'w, 'a> {
    writer: &'w Writer<'a>,
    written: Vec<PathBuf>,
}

impl Files<'_, '_> {
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.writer.args.out.join(name);
        if path.canonicalize().is_ok_and(|p| self.writer.inputs.contains(&p)) {
            bail!("{} is one of the inputs: give another folder with --out", path.display());
        }
        files::write(&path, bytes)?;
        self.written.push(path);
        Ok(())
    }

    fn picture(&mut self, name: &str, picture: &RgbImage) -> Result<()> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).with_context(|| name.to_string())?;
        self.add(name, bytes.get_ref())
    }
}
