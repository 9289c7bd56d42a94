//! Texts and signals: files read for the network's input that takes them, the other inputs given as arrays or filled.

use std::path::Path;

use anyhow::{Context, Result, bail};
use relprop::input::{EncodedSignal, EncodedText, ModelDescription, Signal, SignalInput, TextInput, npy};
use relprop::{Dim, Network, Precision, Tensor};

use super::items::{self, Item};
use super::model::Model;
use super::resume::Digest;

/// How a network takes texts or signals.
#[derive(Debug)]
pub struct Sequences {
    /// The position of the input that takes them.
    pub input: usize,
    pub kind: Kind,
    /// The position of the input that takes the numbers of tokens.
    lengths: Option<usize>,
    /// What other inputs are filled with.
    fill: Vec<Option<f64>>,
}

#[derive(Debug)]
pub enum Kind {
    Text(TextInput),
    Signal(SignalInput),
}

/// What was read, to lead relevance back to it.
pub enum Read {
    /// A text for each sample.
    Texts(Vec<EncodedText>),
    Signal(EncodedSignal),
}

impl Sequences {
    /// From a model's description; `None` when it says nothing of texts or signals.
    pub fn new(description: &ModelDescription, network: &Network) -> Result<Option<Sequences>> {
        let name = |i: usize| network.value(network.inputs()[i]).name.as_str();
        let count = network.inputs().len();
        let find = |key: &str, wanted: &str| {
            let names = || (0..count).map(name).collect::<Vec<_>>().join(", ");
            let found = (0..count).find(|i| name(*i) == wanted);
            found.with_context(|| format!("key \"{key}\": the network has no input \"{wanted}\", but: {}", names()))
        };
        let mut fill = vec![None; count];
        for (input, value) in &description.fill {
            fill[find("fill", input)?] = Some(*value);
        }
        let text = description.text.as_ref();
        let (key, named) = match (text, &description.signal) {
            (Some(text), _) => ("text.input", &text.input),
            (None, Some(signal)) => ("signal.input", &signal.input),
            (None, None) if description.fill.is_empty() => return Ok(None),
            (None, None) => {
                bail!("key \"fill\": only where a table \"text\" or \"signal\" tells of the network's own input")
            }
        };
        let lengths = text.and_then(|t| t.lengths.as_deref()).map(|name| find("text.lengths", name)).transpose()?;
        if let Some(i) = lengths
            && shape_of(&network.value(network.inputs()[i]).shape, 1).iter().product::<usize>() != 1
        {
            bail!("key \"text.lengths\": input \"{}\" does not take one number for each text", name(i));
        }
        let open: Vec<usize> = (0..count).filter(|i| fill[*i].is_none() && lengths != Some(*i)).collect();
        let input = match (named, &open[..]) {
            (Some(name), _) => find(key, name)?,
            (None, [only]) => *only,
            _ => bail!("key \"{key}\": name the input that takes it, one of {} inputs", open.len()),
        };
        let value = network.value(network.inputs()[input]);
        let kind = match (text, &description.signal) {
            (Some(text), _) => Kind::Text(TextInput::new(text, &value.name, &value.shape)?),
            (None, signal) => {
                let signal = signal.clone().unwrap_or_default();
                Kind::Signal(SignalInput::new(&signal, description.sample_rate, &value.name, &value.shape)?)
            }
        };
        Ok(Some(Sequences { input, kind, lengths, fill }))
    }

    /// Whether a file goes through it: no array, or one of fewer axes than the input has.
    pub fn takes(&self, path: &Path, network: &Network) -> bool {
        let axes = network.value(network.inputs()[self.input]).shape.len();
        let raw = || npy::read_shape(path).is_ok_and(|shape| shape.len() < axes);
        !items::is_array(path) || (matches!(self.kind, Kind::Signal(_)) && raw())
    }

    /// Whether an input is filled without being given.
    pub fn is_filled(&self, input: usize) -> bool {
        self.fill[input].is_some() || self.lengths == Some(input)
    }

    /// Number of samples in a file; 1 where it cannot be read: that is told later.
    pub fn count(&self, path: &Path) -> usize {
        match &self.kind {
            Kind::Text(text) => std::fs::read_to_string(path).map_or(1, |content| text.split(&content).len().max(1)),
            Kind::Signal(_) => 1,
        }
    }

    /// Reads the files of a network's inputs, by position; `None` where none was given.
    pub fn load(
        &self,
        source: String,
        stem: String,
        paths: &[Option<&Path>],
        model: &Model,
        batch: Option<usize>,
        precision: Precision,
    ) -> Result<Item> {
        let digest = Digest::of_files(&paths.iter().flatten().copied().collect::<Vec<_>>())?;
        let path = paths[self.input].with_context(|| format!("{source}: no file for the network's own input"))?;
        let place = path.display().to_string();
        let (main, read) = match &self.kind {
            Kind::Text(text) => {
                let content = std::fs::read(path).with_context(|| place.clone())?;
                let content = String::from_utf8(content).with_context(|| format!("{place}: this is not UTF-8 text"))?;
                let texts = text.split(&content);
                if texts.is_empty() {
                    bail!("{place}: there is no text in it");
                }
                self.texts(&texts, text).with_context(|| place)?
            }
            Kind::Signal(signal) => {
                let encoded = signal.apply(&place, Signal::read(path)?)?;
                (encoded.tensor.clone(), Read::Signal(encoded))
            }
        };
        self.item(source, stem, digest, main, read, paths, model, batch, precision)
    }

    /// A text that was given itself.
    pub fn sentence(
        &self,
        sentence: &str,
        stem: String,
        model: &Model,
        batch: Option<usize>,
        precision: Precision,
    ) -> Result<Item> {
        let Kind::Text(text) = &self.kind else { bail!("--text: the network takes signals") };
        let mut digest = Digest::default();
        digest.text(sentence);
        let (main, read) = self.texts(&[sentence], text)?;
        let paths = vec![None; model.network.inputs().len()];
        self.item(sentence.to_string(), stem, digest.finish(), main, read, &paths, model, batch, precision)
    }

    fn texts(&self, texts: &[&str], input: &TextInput) -> Result<(Tensor, Read)> {
        let encoded = texts.iter().map(|text| input.apply(text)).collect::<relprop::Result<Vec<_>>>()?;
        let tensors: Vec<Tensor> = encoded.iter().map(|text| text.tensor.clone()).collect();
        if tensors.len() > 1 && tensors[0].shape()[0] != 1 {
            bail!("{} texts, but the network takes them one by one: give each in a file of its own", tensors.len());
        }
        Ok((Tensor::stack_rows(&tensors)?, Read::Texts(encoded)))
    }

    #[allow(clippy::too_many_arguments)]
    fn item(
        &self,
        source: String,
        stem: String,
        digest: String,
        main: Tensor,
        read: Read,
        paths: &[Option<&Path>],
        model: &Model,
        batch: Option<usize>,
        precision: Precision,
    ) -> Result<Item> {
        let samples = match &read {
            Read::Texts(texts) => texts.len(),
            Read::Signal(signal) => signal.samples,
        };
        if let (Kind::Signal(_), Some(2..)) = (&self.kind, batch) {
            bail!(
                "{source}: the network takes each window as a sample of its own; leave out windows = \"axis\" and the axis' size"
            );
        }
        let mut tensors = Vec::new();
        for (i, id) in model.network.inputs().iter().enumerate() {
            let value = model.network.value(*id);
            let shape = shape_of(&value.shape, samples);
            let tensor = if i == self.input {
                items::with_precision(main.clone(), precision)?
            } else if let Some(path) = paths[i] {
                items::array(path, &value.name, &value.shape, batch, precision)?
            } else if let (true, Read::Texts(texts)) = (self.lengths == Some(i), &read) {
                let counts = texts.iter().map(|text| text.count as i64).collect();
                items::with_precision(Tensor::from_i64(shape, counts)?, precision)?
            } else if let Some(number) = self.fill[i] {
                let count = shape.iter().product();
                items::with_precision(Tensor::from_f64(shape, vec![number; count])?, precision)?
            } else {
                let name = &value.name;
                bail!(
                    "{source}: input \"{name}\" is missing: give {name}=X.npy, or fill = {{ {name} = 0 }} in the description"
                );
            };
            tensors.push(tensor);
        }
        Ok(Item { source, digest, stem, tensors, photo: None, read: Some(read), samples })
    }
}

/// An input's shape for some samples; where none of its axes counts them, the first does.
fn shape_of(shape: &[Dim], samples: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = shape.iter().map(|dim| dim.at(samples)).collect();
    if let (false, Some(first)) = (shape.iter().any(|d| matches!(d, Dim::Batch(_))), sizes.first_mut()) {
        *first *= samples;
    }
    sizes
}
