//! The files that `relprop explain` writes, and what it says of them.

use std::collections::HashSet;
use std::io::Cursor;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use image::{ImageFormat, RgbImage};
use relprop::heatmap::{TextRelevance, html_with};
use relprop::input::npy;
use relprop::{Explanation, Network, Op, TargetExplanation, Tensor, ValueId};

use super::args::ExplainArgs;
use super::files;
use super::formats;
use super::items::{Item, sample_shape};
use super::looks::{Format, LookArgs, Looks};
use super::model::Model;
use super::report::{Class, Conservation, Input, Target};
use super::shown::{Shown, Told};
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
    pub looks: Looks<'a>,
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

/// How a class is called.
pub fn class_name(class: &Class) -> String {
    class.label.clone().unwrap_or_else(|| format!("class {}", class.class))
}

/// How a target is called: by its class, but a difference by both, and an outlier score by what it is.
pub fn target_name(target: &str, class: &Class) -> String {
    let says_all = target.contains("-vs-") || matches!(target, "outlier" | "inlier");
    if says_all { target.to_string() } else { class_name(class) }
}

impl<'a> Writer<'a> {
    pub fn new(
        args: &'a ExplainArgs,
        model: &'a Model,
        output: ValueId,
        targets: &'a [NamedTarget],
        inputs: &[PathBuf],
    ) -> Result<Writer<'a>> {
        let shape = &model.network.value(output).shape;
        let inputs = inputs.iter().filter_map(|p| p.canonicalize().ok()).collect();
        let output_shape = sample_shape(shape, model.network.fixed_batch(output));
        let softmax = output_shape.len() == 1 && output_shape[0] > 1 && !ends_in_activation(&model.network, output);
        let one_class = model.network.outlier_score(output).is_some();
        let color = args.color.wanted();
        let looks = Looks::new(&args.looks, model)?;
        Ok(Writer { args, model, looks, targets, output: output_shape, softmax, one_class, inputs, color })
    }

    /// Writes the files of one item, whose samples begin at `first` of the explanation's `total`. With what is told of it in
    /// the report comes what there is to see, for each target.
    pub fn write(
        &self,
        item: &Item,
        explanation: &Explanation,
        first: usize,
        total: usize,
    ) -> Result<(Vec<Input>, Vec<Vec<Shown>>)> {
        let output = explanation.output.to_vec::<f64>();
        let per_sample = output.len() / total.max(1);
        let mut entries: Vec<Input> = (0..item.samples)
            .map(|i| {
                let logits = &output[(first + i) * per_sample..][..per_sample];
                let (input, digest) = (item.source.clone(), item.digest.clone());
                Input { input, digest, sample: i, top: self.top(logits), targets: Vec::new() }
            })
            .collect();
        let own_output = part(&explanation.output, first, item.samples, total)?;
        let mut gallery = Vec::new();
        for (named, explained) in self.targets.iter().zip(&explanation.targets) {
            for (i, entry) in entries.iter_mut().enumerate() {
                let logits = &output[(first + i) * per_sample..][..per_sample];
                entry.targets.push(self.target(&named.name, logits, explained, first + i, total)?);
            }
            let (files, shown) = self.files(item, &entries, &own_output, explained, first, total)?;
            let files: Vec<String> = files.iter().map(|p| p.display().to_string()).collect();
            for (i, target) in entries.iter_mut().filter_map(|entry| entry.targets.last_mut()).enumerate() {
                target.files = files.clone();
                target.text = shown.iter().find(|s| s.sample == i && s.text.is_some()).and_then(|s| s.text.clone());
            }
            gallery.push(shown);
        }
        Ok((entries, gallery))
    }

    /// What is told of sample `at` of an explanation's `total`.
    fn target(
        &self,
        name: &str,
        logits: &[f64],
        explained: &TargetExplanation,
        at: usize,
        total: usize,
    ) -> Result<Target> {
        let sum = |r: &Tensor| part(r, at, 1, total).map(|own| own.to_vec::<f64>().iter().sum::<f64>());
        let conservation = explained.conservation.iter().map(|c| Conservation {
            layer: c.layer.clone(),
            op: c.op.to_string(),
            rule: c.rule.clone(),
            arriving: c.arriving[at],
            leaving: c.leaving[at],
        });
        Ok(Target {
            target: name.to_string(),
            class: self.class(logits, explained.chosen[at]),
            seed: explained.seed[at],
            relevance_sum: explained.relevance.iter().map(sum).sum::<Result<f64>>()?,
            files: Vec::new(),
            text: None,
            conservation: conservation.collect(),
        })
    }

    /// What there is to see of an item that was done before, by the relevance that was written.
    pub fn shown_before(&self, item: &Item, entries: &[Input]) -> Result<Vec<Vec<Shown>>> {
        let mut gallery = Vec::new();
        for (i, named) in self.targets.iter().enumerate() {
            let targets = entries.iter().map(|entry| entry.targets.get(i).with_context(|| named.name.clone()));
            let told: Vec<Told> = targets.map(|target| target.map(told)).collect::<Result<_>>()?;
            let base = self.base(item, &named.name);
            let mut all = Vec::new();
            for (input, tensor) in item.tensors.iter().enumerate() {
                let path = self.args.out.join(format!("{}.relevance.npy", self.name(&base, input, item.tensors.len())));
                let relevance = npy::read(&path)?;
                if relevance.shape() != tensor.shape() {
                    bail!("{}: its shape is not that of what it explains, {:?}", path.display(), tensor.shape());
                }
                all.extend(self.looks.shown(item, input, &relevance, &told)?);
            }
            gallery.push(all);
        }
        Ok(gallery)
    }

    /// What an input's results are called, of those of `count` inputs that are not filled.
    fn name(&self, base: &str, input: usize, count: usize) -> String {
        let network = &self.model.network;
        let filled = |i: usize| self.model.sequences.as_ref().is_some_and(|s| s.is_filled(i));
        let several = (0..count).filter(|i| !filled(*i)).count() > 1;
        if several || filled(input) {
            format!("{base}.{}", slug(&network.value(network.inputs()[input]).name))
        } else {
            base.to_string()
        }
    }

    /// What the names of an item's files for a target begin with.
    fn base(&self, item: &Item, target: &str) -> String {
        if self.targets.len() > 1 { format!("{}.{target}", item.stem) } else { item.stem.clone() }
    }

    /// Writes relevance and pictures for the target that is the last of `entries`.
    fn files(
        &self,
        item: &Item,
        entries: &[Input],
        output: &Tensor,
        explained: &TargetExplanation,
        first: usize,
        total: usize,
    ) -> Result<(Vec<PathBuf>, Vec<Shown>)> {
        let targets: Vec<&Target> = entries.iter().filter_map(|entry| entry.targets.last()).collect();
        let told: Vec<Told> = targets.iter().map(|target| told(target)).collect();
        let base = self.base(item, targets.first().map_or("", |t| &t.target));
        let mut all = Vec::new();
        let mut files = Files { writer: self, written: Vec::new() };
        let count = explained.relevance.len();
        let mut arrays = Vec::new();
        for (i, relevance) in explained.relevance.iter().enumerate() {
            let name = self.name(&base, i, count);
            let relevance = part(relevance, first, item.samples, total)?;
            let shown = self.looks.shown(item, i, &relevance, &told)?;
            files.texts(&item.source, &name, &shown, &self.looks)?;
            for one in &shown {
                files.shown(&one.stem(&name), one, &self.looks)?;
            }
            all.extend(shown);
            arrays.push((name, relevance));
        }
        if self.args.looks.wants(Format::Npz) {
            let archive = self.archive(item, &base, output, &targets, &arrays)?;
            files.add(&format!("{base}.npz"), &formats::npz(&archive)?)?;
        }
        let mut names = HashSet::new();
        for (layer, relevance) in &explained.layers {
            let mut name = slug(layer);
            while !names.insert(name.to_lowercase()) {
                name.push('_');
            }
            arrays.push((format!("{base}.{name}"), part(relevance, first, item.samples, total)?));
        }
        if self.args.looks.wants(Format::Npy) {
            for (name, relevance) in arrays {
                files.add(&format!("{name}.relevance.npy"), &npy::encode(&relevance))?;
            }
        }
        Ok((files.written, all))
    }

    /// Relevance beside what it explains: arrays of as many samples as the item has.
    fn archive(
        &self,
        item: &Item,
        base: &str,
        output: &Tensor,
        targets: &[&Target],
        relevance: &[(String, Tensor)],
    ) -> Result<Vec<(String, Tensor)>> {
        let mut arrays = Vec::new();
        for ((name, relevance), input) in relevance.iter().zip(&item.tensors) {
            let own = name.strip_prefix(base).unwrap_or_default();
            arrays.push((format!("relevance{own}"), relevance.clone()));
            arrays.push((format!("input{own}"), input.clone()));
        }
        let classes = targets.iter().map(|t| i64::try_from(t.class.class)).collect::<Result<Vec<_>, _>>()?;
        arrays.push(("output".to_string(), output.clone()));
        arrays.push(("target".to_string(), Tensor::from_i64([targets.len()], classes)?));
        let seeds = targets.iter().map(|t| t.seed).collect();
        arrays.push(("seed".to_string(), Tensor::from_f64([targets.len()], seeds)?));
        Ok(arrays)
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

    /// A text for the terminal.
    fn words(&self, text: &TextRelevance) -> String {
        let shades = self.looks.look.text_shades(text).ok().filter(|_| self.color);
        shades.map_or_else(|| text.plain(), |shades| text.ansi_with(&shades))
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
                    let line = self.words(words);
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

/// The rows of some of `total` samples.
fn part(tensor: &Tensor, first: usize, count: usize, total: usize) -> Result<Tensor> {
    let rows = tensor.shape().first().copied().unwrap_or(0) / total.max(1);
    Ok(tensor.rows(first * rows, (first + count) * rows)?)
}

/// What is said of a target beside its relevance.
fn told(target: &Target) -> Told {
    let name = target_name(&target.target, &target.class);
    Told { target: name, score: target.class.logit, seed: target.seed }
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

    /// The texts of an item, if it has some.
    fn texts(&mut self, source: &str, name: &str, shown: &[Shown], looks: &Looks) -> Result<()> {
        let texts: Vec<TextRelevance> = shown.iter().filter_map(|s| s.text.clone()).collect();
        if texts.is_empty() {
            return Ok(());
        }
        self.add(&format!("{name}.html"), html_with(source, &texts, &looks.look)?.as_bytes())?;
        let json = serde_json::to_string_pretty(&texts).context("json")? + "\n";
        self.add(&format!("{name}.json"), json.as_bytes())
    }

    /// Pictures and plots of one sample.
    fn shown(&mut self, name: &str, shown: &Shown, looks: &Looks) -> Result<()> {
        let LookArgs { contour, mask, smooth, .. } = looks.args;
        let png = looks.args.wants(Format::Png);
        if let Some(scene) = shown.scene.as_ref().filter(|_| png) {
            let titled = |picture, shades| looks.titled(picture, &shown.caption, shades);
            self.picture(&format!("{name}.png"), &titled(scene.heatmap()?, Some(&scene.shades)))?;
            if let Some(over) = scene.overlay()? {
                self.picture(&format!("{name}.overlay.png"), &titled(over, Some(&scene.shades)))?;
            }
            if let (Some(photo), Some(percent)) = (&scene.photo, contour) {
                let outlined = scene.shades.contour(photo, &scene.sum()?, *percent, *smooth)?;
                self.picture(&format!("{name}.contour.png"), &titled(outlined, None))?;
            }
            if let (Some(photo), Some(percent)) = (&scene.photo, mask) {
                let masked = scene.shades.masked(photo, &scene.sum()?, *percent, *smooth)?;
                self.picture(&format!("{name}.masked.png"), &titled(masked, None))?;
            }
        }
        if let Some(signal) = &shown.signal {
            if png {
                let picture = looks.plot(signal, &shown.caption, |plot, shades| plot.png_with(shades))?;
                self.picture(&format!("{name}.plot.png"), &picture)?;
            }
            if looks.args.wants(Format::Svg) {
                let drawing = looks.plot(signal, &shown.caption, |plot, shades| plot.svg_with(shades))?;
                self.add(&format!("{name}.plot.svg"), drawing.as_bytes())?;
            }
        }
        self.planes(name, shown, looks)
    }

    /// Its relevance as pictures of numbers.
    fn planes(&mut self, name: &str, shown: &Shown, looks: &Looks) -> Result<()> {
        let maps = match (&shown.scene, &shown.signal) {
            (Some(scene), _) => scene.maps(),
            (None, Some(signal)) => vec![&signal.relevance],
            (None, None) => return Ok(()),
        };
        if looks.args.wants(Format::Png16) {
            self.add(&format!("{name}.16bit.png"), &formats::png16(&maps)?)?;
        }
        if looks.args.wants(Format::Tiff) {
            self.add(&format!("{name}.tiff"), &formats::tiff(&maps).with_context(|| name.to_string())?)?;
        }
        Ok(())
    }
}
