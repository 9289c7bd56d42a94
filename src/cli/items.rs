//! What is explained: files read, checked and made ready.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use image::RgbImage;
use relprop::input::{InputFile, decode_image, npy, read_image};
use relprop::{Dim, Network, Precision, Tensor, assets};

use super::Usage;
use super::model::Model;

/// One file's samples, or those of several arrays that belong together.
pub struct Item {
    /// The file, for messages and the report.
    pub source: String,
    /// What the names of results begin with.
    pub stem: String,
    /// The network's inputs, in order.
    pub tensors: Vec<Tensor>,
    /// What the network sees of a photo.
    pub photo: Option<RgbImage>,
    /// Number of samples.
    pub samples: usize,
}

/// Reads a photo, or an array for the network's only input.
pub fn load(file: &InputFile, model: &Model, precision: Precision) -> Result<Item> {
    let source = file.path.display().to_string();
    if is_array(&file.path) {
        let [input] = model.network.inputs() else { bail!("{source}: {}", several_inputs(&model.network)) };
        let value = model.network.value(*input);
        let tensor = array(&file.path, &value.name, &value.shape, precision)?;
        let samples = samples(&tensor, &value.shape);
        return Ok(Item { source, stem: file.stem.clone(), tensors: vec![tensor], photo: None, samples });
    }
    let preprocess = model.preprocess.as_ref().map_err(|reason| anyhow!("{source}: {reason}"))?;
    let prepared = preprocess.apply(&read_image(&file.path)?);
    let tensors = vec![with_precision(prepared.tensor, precision)?];
    Ok(Item { source, stem: file.stem.clone(), tensors, photo: Some(prepared.photo), samples: 1 })
}

/// The embedded photo.
pub fn sample_photo(model: &Model, precision: Precision) -> Result<Item> {
    let source = "chelsea.png (built in)".to_string();
    let preprocess = model.preprocess.as_ref().map_err(|reason| anyhow!("{source}: {reason}"))?;
    let prepared = preprocess.apply(&decode_image(&source, assets::PHOTO)?);
    let tensors = vec![with_precision(prepared.tensor, precision)?];
    Ok(Item { source, stem: "chelsea".to_string(), tensors, photo: Some(prepared.photo), samples: 1 })
}

/// Reads the arrays of a network's inputs, given as `[NAME=]X.npy`; without names they are in order.
pub fn arrays(given: &[String], network: &Network, precision: Precision) -> Result<Item> {
    let values: Vec<_> = network.inputs().iter().map(|id| network.value(*id)).collect();
    let mut paths: Vec<Option<&str>> = vec![None; values.len()];
    for text in given {
        let (position, path) = match split_name(text, network) {
            Some((position, path)) => (Some(position), path),
            None => (paths.iter().position(Option::is_none), text.as_str()),
        };
        match position.map(|p| &mut paths[p]) {
            Some(free @ None) => *free = Some(path),
            Some(Some(_)) => return Err(Usage(format!("{text}: that input is given twice")).into()),
            None => return Err(Usage(format!("{text} is too much: {}", several_inputs(network))).into()),
        }
    }
    let mut tensors = Vec::new();
    let mut count = None;
    for (value, path) in values.iter().zip(&paths) {
        let path =
            path.ok_or_else(|| Usage(format!("input \"{}\" is missing: {}", value.name, several_inputs(network))))?;
        let tensor = array(Path::new(path), &value.name, &value.shape, precision)?;
        let samples = samples(&tensor, &value.shape);
        if count.is_some_and(|n| n != samples) {
            bail!("{path}: {samples} samples for input \"{}\", but {} for others", value.name, count.unwrap_or(0));
        }
        count = Some(samples);
        tensors.push(tensor);
    }
    let first = Path::new(paths.first().copied().flatten().unwrap_or(""));
    let stem = first.file_stem().map(|s| s.to_string_lossy().replace('.', "_")).unwrap_or_default();
    let source = given.join(" ");
    Ok(Item { source, stem, tensors, photo: None, samples: count.unwrap_or(0) })
}

/// `NAME=PATH` with the name of one of the network's inputs.
pub fn split_name<'a>(text: &'a str, network: &Network) -> Option<(usize, &'a str)> {
    let (name, path) = text.split_once('=')?;
    let position = network.inputs().iter().position(|id| network.value(*id).name == name)?;
    Some((position, path))
}

fn several_inputs(network: &Network) -> String {
    let names: Vec<String> = network.inputs().iter().map(|id| format!("{}=X.npy", network.value(*id).name)).collect();
    format!("the network takes {}", names.join(" "))
}

pub fn is_array(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"))
}

/// Reads one input's array and checks that it fits.
fn array(path: &Path, name: &str, shape: &[Dim], precision: Precision) -> Result<Tensor> {
    let tensor = npy::read(path)?;
    let place = path.display();
    let wanted = || shape.iter().map(Dim::to_string).collect::<Vec<_>>().join("×");
    let given = tensor.shape();
    let fits = given.len() == shape.len()
        && given.iter().zip(shape).all(|(n, dim)| match dim {
            Dim::Fixed(size) => n == size,
            Dim::Batch(k) => *n > 0 && n.is_multiple_of(*k),
        });
    if !fits {
        let mut message =
            format!("{place}: shape {given:?} is not that of the network's input \"{name}\", {}", wanted());
        if given.len() + 1 == shape.len() {
            message.push_str("; the batch comes first: for one sample use array[None]");
        }
        bail!(message);
    }
    check_finite(&tensor, shape).with_context(|| place.to_string())?;
    let tensor = with_precision(tensor, precision)?;
    check_finite(&tensor, shape).with_context(|| format!("{place}, as float32"))?;
    Ok(tensor)
}

fn check_finite(tensor: &Tensor, shape: &[Dim]) -> Result<()> {
    let Some(at) = tensor.first_non_finite() else { return Ok(()) };
    let per_sample = (tensor.len() / samples(tensor, shape).max(1)).max(1);
    let value = tensor.get(at).unwrap_or(f64::NAN);
    bail!("value {} of sample {} is {value}; inputs must be finite", at % per_sample, at / per_sample)
}

/// Number of samples in a tensor of that shape.
fn samples(tensor: &Tensor, shape: &[Dim]) -> usize {
    let batch = shape.iter().zip(tensor.shape()).find_map(|(dim, n)| match dim {
        Dim::Batch(k) => Some(n / (*k).max(1)),
        Dim::Fixed(_) => None,
    });
    batch.unwrap_or(1)
}

fn with_precision(tensor: Tensor, precision: Precision) -> Result<Tensor> {
    let shape = tensor.shape().to_vec();
    Ok(match precision {
        Precision::F32 => Tensor::from_f32(shape, tensor.to_vec())?,
        Precision::F64 => Tensor::from_f64(shape, tensor.to_vec())?,
    })
}
