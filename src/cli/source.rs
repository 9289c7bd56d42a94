//! Where what is explained comes from.

use std::path::Path;

use anyhow::{Result, bail};
use relprop::Precision;
use relprop::input::{InputFile, expand};

use super::items::{self, Item};
use super::model::Model;
use super::resume::Digest;

/// Where an item comes from.
pub enum Source<'a> {
    Sample,
    /// A text that was given itself, and what the names of its results begin with.
    Text(&'a str, String),
    File(InputFile),
    Arrays(&'a [String]),
}

impl Source<'_> {
    pub fn name(&self) -> String {
        match self {
            Source::Sample => items::SAMPLE.to_string(),
            Source::Text(text, _) => text.to_string(),
            Source::File(file) => file.path.display().to_string(),
            Source::Arrays(names) => names.join(" "),
        }
    }

    /// What names it in the report, what its files' names begin with, and the fingerprint of its bytes.
    pub fn identity(&self, model: &Model) -> Result<(String, String, String)> {
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

    /// Reads it.
    pub fn load(&self, model: &Model, fixed: Option<usize>, precision: Precision) -> Result<Item> {
        match (self, &model.sequences) {
            (Source::Text(text, stem), Some(sequences)) => {
                sequences.sentence(text, stem.clone(), model, fixed, precision)
            }
            (Source::Sample | Source::Text(..), _) => items::sample_photo(model, precision),
            (Source::File(file), _) => items::load(file, model, fixed, precision),
            (Source::Arrays(names), _) => items::named(names, model, fixed, precision),
        }
    }

    /// How many samples it holds, as far as its header tells.
    pub fn samples(&self, model: &Model, fixed: Option<usize>) -> usize {
        match self {
            Source::Sample | Source::Text(..) => 1,
            Source::File(file) => items::count(&file.path, model, fixed),
            Source::Arrays(names) => {
                let first = items::paths(names, model).ok().and_then(|paths| paths.into_iter().flatten().next());
                first.map_or(1, |path| items::count(path, model, fixed))
            }
        }
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Source::File(file) => Some(&file.path),
            _ => None,
        }
    }

    /// Whether it is a picture, unless the network takes texts or signals.
    pub fn is_photo(&self) -> bool {
        match self {
            Source::Sample => true,
            Source::File(file) => !items::is_array(&file.path),
            Source::Arrays(_) | Source::Text(..) => false,
        }
    }
}

/// What there is to explain, and what was asked for but is not there.
pub fn sources<'a>(inputs: &'a [String], texts: &'a [String], model: &Model) -> Result<(Vec<Source<'a>>, Vec<String>)> {
    if inputs.is_empty() && texts.is_empty() {
        return Ok((vec![Source::Sample], Vec::new()));
    }
    let texts = texts.iter().enumerate().map(|(i, text)| Source::Text(text, format!("text-{}", i + 1)));
    let mut sources: Vec<Source> = texts.collect();
    let named = |text: &String| items::split_name(text, &model.network).is_some();
    let several = model.network.inputs().len() > 1 && model.sequences.is_none();
    if inputs.iter().any(named) || (several && !inputs.is_empty()) {
        sources.push(Source::Arrays(inputs));
        return Ok((sources, Vec::new()));
    }
    let expanded = expand(inputs);
    sources.extend(expanded.files.into_iter().map(Source::File));
    if sources.is_empty() {
        bail!("there is nothing to explain: {}", expanded.problems.join("; "));
    }
    Ok((sources, expanded.problems))
}
