//! A network with everything that is known of it.

use std::path::Path;

use anyhow::{Context, Result};
use relprop::OnnxOptions;
use relprop::input::{LabelSource, Labels, ModelDescription, Preprocess};
use relprop::methods::Method;
use relprop::{Bounds, Composite, Error, Network, Rule, assets};

use super::args::{DescriptionArgs, RuleArgs};
use super::sequences::Sequences;
use super::{Usage, usage};

/// A network with everything that is known of it.
pub struct Model {
    /// For messages and the report.
    pub name: String,
    pub network: Network,
    pub labels: Labels,
    /// How photos become its input; the reason where they cannot.
    pub preprocess: Result<Preprocess, String>,
    /// How texts or signals become its input, where the description tells.
    pub sequences: Option<Sequences>,
}

const EMBEDDED: &str = "squeezenet1_1.onnx";

impl Model {
    /// Loads a network, or the embedded one, with the description beside it and the options that go before that.
    pub fn load(path: Option<&Path>, options: &DescriptionArgs) -> Result<Model> {
        let options = options.description();
        options.check(&|key| format!("--{key}")).map_err(|e| Usage(e.to_string()))?;
        let (name, file) = match path {
            Some(path) => (path.display().to_string(), ModelDescription::beside(path)?),
            None => {
                let labels = Labels::from_text(assets::IMAGENET_LABELS);
                let names = (0..labels.len()).filter_map(|i| labels.get(i).map(str::to_string)).collect();
                let mut file = ModelDescription::from_toml(EMBEDDED, assets::SQUEEZENET_DESCRIPTION)?;
                file.labels = Some(LabelSource::List(names));
                (format!("SqueezeNet 1.1 (built in as {EMBEDDED})"), Some(file))
            }
        };
        let description = file.unwrap_or_default().overridden_by(options);
        let onnx = OnnxOptions { dims: description.dims.clone(), ..OnnxOptions::default() };
        let network = match path {
            Some(path) => Network::from_onnx_with(path, &onnx)?,
            None => Network::from_onnx_bytes(EMBEDDED, assets::SQUEEZENET, &onnx)?,
        };
        let labels = description.read_labels().context("labels")?;
        let sequences = Sequences::new(&description, &network).with_context(|| name.clone())?;
        let preprocess = match network.inputs() {
            _ if sequences.is_some() => {
                Err("the network takes no pictures; its description says what it takes".to_string())
            }
            [input] => {
                let value = network.value(*input);
                match Preprocess::new(&description, &value.name, &value.shape) {
                    Ok(preprocess) => Ok(preprocess),
                    Err(Error::Input(reason)) => Err(reason),
                    Err(error) => return Err(anyhow::Error::from(error).context(name)),
                }
            }
            inputs => Err(format!("the network has {} inputs; give each as NAME=X.npy", inputs.len())),
        };
        Ok(Model { name, network, labels, preprocess, sequences })
    }

    /// Says so when the preset for photos is a guess.
    pub fn warn_of_assumption(&self) {
        if let Ok(Some(preset)) = self.preprocess.as_ref().map(Preprocess::assumed) {
            let name = &self.name;
            eprintln!("warning: nothing says how {name} wants its photos; preset {preset} is assumed (see --help)");
        }
    }

    /// What is known of arrays' values: the preprocessing they went through, unless it is a guess.
    pub fn told(&self) -> Option<&Preprocess> {
        self.preprocess.as_ref().ok().filter(|p| p.assumed().is_none())
    }

    /// The composite that the arguments ask for, with the bounds of the network's input where it takes some. A guessed
    /// preset says something of `photos`, which are prepared by it, but not of arrays. Fails when some layer would get no
    /// rule, or one with wrong parameters.
    pub fn composite(&self, args: &RuleArgs, photos: bool) -> Result<Composite> {
        let preprocess = if photos { self.preprocess.as_ref().ok() } else { self.told() };
        let known = preprocess.and_then(Preprocess::bounds);
        let default = if known.is_some() || args.bounds.is_some() { "epsilon-gamma-box" } else { "epsilon-plus" };
        let text = args.composite.as_deref().unwrap_or(default);
        let mut composite = read_composite(text)?;
        if let Some(first) = &args.first {
            composite = composite.with_first(Rule::parse(first).map_err(usage("--first"))?);
        }
        if let Some((low, high)) = args.bounds {
            composite = composite.with_bounds(Bounds::uniform(low, high).map_err(usage("--bounds"))?);
        } else if let (true, Some((low, high))) = (composite.takes_bounds(), known) {
            composite = composite.with_bounds(Bounds::new(low, high)?);
        }
        composite = composite.with_zero_bias(args.zero_bias);
        if let Some(factor) = args.bias_factor {
            composite = composite.with_bias_factor(factor);
        }
        if let Some(residual) = args.residual {
            composite = composite.with_residual(residual);
        }
        if let Some(normalisation) = args.normalisation {
            composite = composite.with_normalisation(normalisation);
        }
        composite.assign(&self.network).map_err(usage("--composite"))?;
        Ok(composite)
    }

    /// A method, with the bounds of the network's input where it takes some; what is known of them is as in
    /// [`Model::composite`].
    pub fn method(&self, method: Method, photos: bool) -> Result<Method> {
        let preprocess = if photos { self.preprocess.as_ref().ok() } else { self.told() };
        let method = match preprocess.and_then(Preprocess::bounds) {
            Some((low, high)) => method.with_bounds(Bounds::new(low, high)?),
            None => method,
        };
        match &method {
            Method::Lrp(composite) => drop(composite.assign(&self.network).map_err(usage("--method"))?),
            Method::GradCam { layer: Some(layer) } | Method::GuidedGradCam { layer: Some(layer) } => {
                self.network.find(layer).map_err(usage("--method"))?;
            }
            _ => {}
        }
        Ok(method)
    }
}

/// A preset by its name and parameters, or a TOML file.
pub fn read_composite(text: &str) -> Result<Composite> {
    if text.ends_with(".toml") || Path::new(text).is_file() {
        let toml = std::fs::read_to_string(text).with_context(|| format!("--composite {text}"))?;
        Composite::from_toml(text, &toml).map_err(usage("--composite"))
    } else {
        Composite::parse(text).map_err(usage("--composite"))
    }
}
