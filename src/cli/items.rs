//! What is explained: files read, checked and made ready.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use image::RgbImage;
use relprop::input::{InputFile, decode_image, npy, read_image};
use relprop::{Dim, Network, Precision, Tensor, assets};

use super::Usage;
use super::model::Model;
use super::resume::Digest;
use super::sequences::Read;

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
    /// The texts or the signal that it was read from.
    pub read: Option<Read>,
    /// Number of samples.
    pub samples: usize,
    /// Fingerprint of the files it comes from; empty for the photo that is built in.
    pub digest: String,
}

/// The embedded photo, for messages and the report.
pub const SAMPLE: &str = "chelsea.png (built in)";
/// What the names of its results begin with.
pub const SAMPLE_STEM: &str = "chelsea";

/// Reads a photo, a text or a signal, or an array for the network's only input. `batch` is the network's own batch size, if it fixes one.
pub fn load(file: &InputFile, model: &Model, batch: Option<usize>, precision: Precision) -> Result<Item> {
    let source = file.path.display().to_string();
    if let Some(sequences) = model.sequences.as_ref().filter(|s| s.takes(&file.path, &model.network)) {
        let mut paths = vec![None; model.network.inputs().len()];
        paths[sequences.input] = Some(file.path.as_path());
        return sequences.load(source, file.stem.clone(), &paths, model, batch, precision);
    }
    let digest = Digest::of_files(&[&file.path])?;
    if is_array(&file.path) {
        let [input] = model.network.inputs() else { bail!("{source}: {}", several_inputs(&model.network)) };
        let value = model.network.value(*input);
        let tensor = array(&file.path, &value.name, &value.shape, batch, precision)?;
        let samples = samples(tensor.shape(), &value.shape, batch);
        return Ok(Item {
            source,
            digest,
            stem: file.stem.clone(),
            tensors: vec![tensor],
            photo: None,
            read: None,
            samples,
        });
    }
    let preprocess = model.preprocess.as_ref().map_err(|reason| anyhow!("{source}: {reason}"))?;
    let prepared = preprocess.apply(&read_image(&file.path)?);
    let tensors = vec![with_precision(prepared.tensor, precision)?];
    Ok(Item { source, digest, stem: file.stem.clone(), tensors, photo: Some(prepared.photo), read: None, samples: 1 })
}

/// The embedded photo.
pub fn sample_photo(model: &Model, precision: Precision) -> Result<Item> {
    let source = SAMPLE.to_string();
    let preprocess = model.preprocess.as_ref().map_err(|reason| anyhow!("{source}: {reason}"))?;
    let prepared = preprocess.apply(&decode_image(&source, assets::PHOTO)?);
    let tensors = vec![with_precision(prepared.tensor, precision)?];
    let (stem, digest) = (SAMPLE_STEM.to_string(), String::new());
    Ok(Item { source, digest, stem, tensors, photo: Some(prepared.photo), read: None, samples: 1 })
}

/// Reads the files of a network's inputs, given as `[NAME=]X`; without names they are in order. Those that the model's
/// description fills may be left out.
pub fn named(given: &[String], model: &Model, batch: Option<usize>, precision: Precision) -> Result<Item> {
    let paths = paths(given, model)?;
    match &model.sequences {
        Some(s) if paths[s.input].is_some_and(|path| s.takes(path, &model.network)) => {
            let stem = array_stem(&paths.iter().flatten().copied().collect::<Vec<_>>());
            s.load(given.join(" "), stem, &paths, model, batch, precision)
        }
        _ => arrays(given, &model.network, batch, precision),
    }
}

/// The files of a network's inputs, in order; `None` for those that the model's description fills.
pub fn paths<'a>(given: &'a [String], model: &Model) -> Result<Vec<Option<&'a Path>>> {
    let filled = |i: usize| model.sequences.as_ref().is_some_and(|s| s.is_filled(i));
    assigned(given, &model.network, filled)
}

/// Reads the arrays of a network's inputs, given as `[NAME=]X.npy`; without names they are in order. `batch` is the
/// network's own batch size, if it fixes one.
pub fn arrays(given: &[String], network: &Network, batch: Option<usize>, precision: Precision) -> Result<Item> {
    let paths = array_paths(given, network)?;
    let mut tensors = Vec::new();
    let mut count = None;
    for (input, path) in network.inputs().iter().zip(&paths) {
        let value = network.value(*input);
        let tensor = array(path, &value.name, &value.shape, batch, precision)?;
        let samples = samples(tensor.shape(), &value.shape, batch);
        if count.is_some_and(|n| n != samples) {
            let (path, name, others) = (path.display(), &value.name, count.unwrap_or(0));
            let help = "give as many of each; an input without a batch axis allows one sample at a time";
            bail!("{path}: {samples} samples for input \"{name}\", but {others} for others; {help}");
        }
        count = Some(samples);
        tensors.push(tensor);
    }
    let (source, stem, digest) = (given.join(" "), array_stem(&paths), Digest::of_files(&paths)?);
    Ok(Item { source, digest, stem, tensors, photo: None, read: None, samples: count.unwrap_or(0) })
}

/// What the names of results begin with: the first array's name.
pub fn array_stem(paths: &[&Path]) -> String {
    let stem = paths.first().and_then(|path| path.file_stem());
    stem.map(|s| s.to_string_lossy().replace('.', "_")).unwrap_or_default()
}

/// The files of a network's inputs, in order.
fn array_paths<'a>(given: &'a [String], network: &Network) -> Result<Vec<&'a Path>> {
    Ok(assigned(given, network, |_| false)?.into_iter().flatten().collect())
}

/// Which file is for which input; only an input that is `filled` may be without.
fn assigned<'a>(
    given: &'a [String],
    network: &Network,
    filled: impl Fn(usize) -> bool,
) -> Result<Vec<Option<&'a Path>>> {
    let mut paths: Vec<Option<&str>> = vec![None; network.inputs().len()];
    for text in given {
        let (position, path) = match split_name(text, network) {
            Some((position, path)) => (Some(position), path),
            None => ((0..paths.len()).find(|i| paths[*i].is_none() && !filled(*i)), text.as_str()),
        };
        match position.map(|p| &mut paths[p]) {
            Some(free @ None) => *free = Some(path),
            Some(Some(_)) => return Err(Usage(format!("{text}: that input is given twice")).into()),
            None => return Err(Usage(format!("{text} is too much: {}", several_inputs(network))).into()),
        }
    }
    let checked = |(i, path): (usize, Option<&'a str>)| match path {
        None if !filled(i) => {
            let name = &network.value(network.inputs()[i]).name;
            Err(Usage(format!("input \"{name}\" is missing: {}", several_inputs(network))).into())
        }
        path => Ok(path.map(Path::new)),
    };
    paths.into_iter().enumerate().map(checked).collect()
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

/// Reads one input's array and checks that it fits. Where the network fixes the batch, any number of samples does: the last
/// run is filled up.
pub fn array(path: &Path, name: &str, shape: &[Dim], batch: Option<usize>, precision: Precision) -> Result<Tensor> {
    let tensor = npy::read(path)?;
    let place = path.display();
    let wanted = || shape.iter().map(Dim::to_string).collect::<Vec<_>>().join("×");
    let given = tensor.shape();
    let fits = given.len() == shape.len()
        && given.iter().zip(shape).enumerate().all(|(axis, (n, dim))| match dim {
            Dim::Fixed(size) => n == size || (counts_samples(axis, *dim, batch) && *n > 0),
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
    let count = samples(tensor.shape(), shape, batch);
    check_finite(&tensor, count).with_context(|| place.to_string())?;
    let tensor = with_precision(tensor, precision)?;
    check_finite(&tensor, count).with_context(|| format!("{place}, as float32"))?;
    Ok(tensor)
}

fn check_finite(tensor: &Tensor, samples: usize) -> Result<()> {
    let Some(at) = tensor.first_non_finite() else { return Ok(()) };
    let per_sample = (tensor.len() / samples.max(1)).max(1);
    let value = tensor.get(at).unwrap_or(f64::NAN);
    bail!("value {} of sample {} is {value}; inputs must be finite", at % per_sample, at / per_sample)
}

/// Whether an axis is the batch axis of a network that fixes its size.
fn counts_samples(axis: usize, dim: Dim, batch: Option<usize>) -> bool {
    axis == 0 && batch.is_some_and(|size| dim == Dim::Fixed(size))
}

/// Number of samples that a file holds for the network's first input; 1 where its header cannot be read: that is told later.
pub fn count(path: &Path, model: &Model, batch: Option<usize>) -> usize {
    let network = &model.network;
    if let Some(sequences) = model.sequences.as_ref().filter(|s| s.takes(path, network)) {
        return sequences.count(path);
    }
    let shape = network.inputs().first().map(|input| &network.value(*input).shape);
    let given = npy::read_shape(path).ok().filter(|_| is_array(path));
    shape.zip(given).map_or(1, |(shape, given)| samples(&given, shape, batch))
}

/// Number of samples in a tensor of that shape.
fn samples(given: &[usize], shape: &[Dim], batch: Option<usize>) -> usize {
    let mut axes = shape.iter().zip(given).enumerate();
    let count = axes.find_map(|(axis, (dim, n))| match dim {
        Dim::Batch(k) => Some(n / (*k).max(1)),
        Dim::Fixed(_) => counts_samples(axis, *dim, batch).then_some(*n),
    });
    count.unwrap_or(1)
}

/// The shape of what one sample gives in a tensor.
pub fn sample_shape(shape: &[Dim], batch: Option<usize>) -> Vec<usize> {
    let own = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Batch(1) => None,
        Dim::Fixed(_) if counts_samples(axis, *dim, batch) => None,
        dim => Some(dim.at(1)),
    };
    shape.iter().enumerate().filter_map(own).collect()
}

pub fn with_precision(tensor: Tensor, precision: Precision) -> Result<Tensor> {
    let shape = tensor.shape().to_vec();
    Ok(match precision {
        // Inputs are float32 whatever is stored in 16 bits.
        Precision::F16 | Precision::F32 => Tensor::from_f32(shape, tensor.to_vec())?,
        Precision::F64 => Tensor::from_f64(shape, tensor.to_vec())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_that_counts_samples() {
        let (n, f) = (Dim::Batch(1), Dim::Fixed);
        let cases = [
            (vec![n, f(3), f(4)], None, vec![3, 4]),
            (vec![f(3), n], None, vec![3]),
            (vec![Dim::Batch(7), f(4)], None, vec![7, 4]),
            (vec![f(1), f(5)], Some(1), vec![5]),
            (vec![f(4), f(5)], Some(4), vec![5]),
            // Nothing says that this axis counts samples.
            (vec![f(5)], Some(1), vec![5]),
            (vec![], Some(1), vec![]),
        ];
        for (shape, batch, want) in cases {
            assert_eq!(sample_shape(&shape, batch), want, "{shape:?}");
        }
        let tensor = Tensor::from_f32([3, 5], vec![0.0; 15]).unwrap();
        assert_eq!(samples(tensor.shape(), &[f(1), f(5)], Some(1)), 3);
        assert_eq!(samples(tensor.shape(), &[f(3), f(5)], Some(1)), 1);
        assert_eq!(samples(tensor.shape(), &[n, f(5)], None), 3);
    }
}
