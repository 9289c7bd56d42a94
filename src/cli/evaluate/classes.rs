//! Which class of each sample is explained.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use relprop::Target;
use relprop::input::{Labels, npy};

use super::inputs::Place;
use crate::cli::targets::{self, NamedTarget};
use crate::cli::{Usage, items};

/// What `--target` or `--classes` says.
pub enum Classes {
    /// The same of every sample.
    Target(Target),
    /// For each input, the class of each sample.
    Given(Vec<Vec<usize>>),
}

impl Classes {
    /// One class by `--target`, for an output whose samples have a shape.
    pub fn target(text: &str, labels: &Labels, shape: &[usize], one_class: bool) -> Result<Classes> {
        let targets = targets::parse(text, labels, shape, one_class)?;
        match targets.as_slice() {
            [NamedTarget { target: target @ (Target::Best | Target::Index(_)), .. }] => {
                Ok(Classes::Target(target.clone()))
            }
            // The last of those up to K.
            [.., NamedTarget { target: target @ Target::Top(_), .. }] if text.trim().starts_with("top:") => {
                Ok(Classes::Target(target.clone()))
            }
            _ => {
                Err(Usage(format!("--target {text}: metrics measure one class: best, top:K, a number or a label"))
                    .into())
            }
        }
    }

    /// Classes by a file, for an output of `values` values. With a limit the file may have more than are taken.
    pub fn read(path: &Path, places: &[Place], limited: bool, labels: &Labels, values: usize) -> Result<Classes> {
        let place = path.display().to_string();
        let rows = if items::is_array(path) { array(path)? } else { lines(path)? };
        let class = |text: &str| -> Result<usize> {
            let number = text.parse::<i128>().ok().map(|number| usize::try_from(number).ok());
            let class = match number {
                Some(number) => number,
                None => Some(labels.find(text).map_err(|error| Usage(format!("--classes {place}: {error}")))?),
            };
            let most = values.saturating_sub(1);
            let none = || Usage(format!("--classes {place}: {text} is not a class of the network: it has 0 to {most}"));
            Ok(class.filter(|class| *class < values).ok_or_else(none)?)
        };
        let total = places.last().map_or(0, |last| last.first + last.samples);
        let in_order = rows.iter().all(|row| row.len() == 1);
        if in_order && (rows.len() < total || (rows.len() > total && !limited)) {
            let help = "give one for each sample, or the inputs' names";
            return Err(Usage(format!("--classes {place}: {} classes for {total} samples; {help}", rows.len())).into());
        }
        let named: HashMap<_, _> = rows.iter().filter_map(|row| named(row)).collect();
        let of = |at: &Place, sample: usize| -> Result<usize> {
            let found = match in_order {
                true => rows.get(at.first + sample).and_then(|row| row.first()).map(String::as_str),
                false => at.names().iter().find_map(|name| {
                    let alone = named.get(&(name.as_str(), None)).filter(|_| at.samples == 1);
                    named.get(&(name.as_str(), Some(sample))).or(alone).copied()
                }),
            };
            let none = || Usage(format!("--classes {place}: nothing for {}, sample {sample}", at.name));
            class(found.ok_or_else(none)?)
        };
        let given = places.iter().map(|at| (0..at.samples).map(|sample| of(at, sample)).collect());
        Ok(Classes::Given(given.collect::<Result<_>>()?))
    }

    /// The class of a sample, if it is given.
    pub fn given(&self, place: usize, sample: usize) -> Option<usize> {
        match self {
            Classes::Target(Target::Index(class)) => Some(*class),
            Classes::Target(_) => None,
            Classes::Given(classes) => classes.get(place)?.get(sample).copied(),
        }
    }
}

/// The class of an input, or of one of its samples where that is told.
type Named<'r> = ((&'r str, Option<usize>), &'r str);

fn named(row: &[String]) -> Option<Named<'_>> {
    match row {
        [name, class] => Some(((name, None), class)),
        [name, sample, class] => Some(((name, Some(sample.parse().ok()?)), class)),
        _ => None,
    }
}

/// Numbers in an array, each as a row of its own.
fn array(path: &Path) -> Result<Vec<Vec<String>>> {
    let values = npy::read(path)?.to_vec::<f64>();
    if let Some(wrong) = values.iter().find(|v| v.fract() != 0.0 || !v.is_finite()) {
        return Err(Usage(format!("--classes {}: {wrong} is not the number of a class", path.display())).into());
    }
    Ok(values.iter().map(|v| vec![format!("{v}")]).collect())
}

/// The lines of a table of up to three columns, without its head.
fn lines(path: &Path) -> Result<Vec<Vec<String>>> {
    let place = || format!("--classes {}", path.display());
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(path)
        .with_context(place)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for record in reader.records() {
        let row: Vec<String> = record.with_context(place)?.iter().map(str::to_string).collect();
        let columns = rows.first().map_or(row.len(), Vec::len);
        if !(1..=3).contains(&columns) || row.len() != columns {
            let what = format!(
                "{} columns in line {}; it takes CLASS or INPUT,CLASS or INPUT,SAMPLE,CLASS",
                row.len(),
                rows.len() + 1
            );
            return Err(Usage(format!("{}: {what}, the same in each", place())).into());
        }
        rows.push(row);
    }
    let head =
        |row: &Vec<String>| row.last().is_some_and(|last| matches!(last.to_lowercase().as_str(), "class" | "label"));
    if rows.first().is_some_and(head) {
        rows.remove(0);
    }
    Ok(rows)
}
