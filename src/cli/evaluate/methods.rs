//! Which methods are evaluated.

use anyhow::Result;
use relprop::Composite;
use relprop::input::Preprocess;
use relprop::methods::{Method, NAMES};

use crate::cli::model::{Model, read_composite};
use crate::cli::{Usage, methods_list, usage};

/// What is evaluated when nothing is said; the first needs to know what inputs lie between, the last is what others must be
/// better than.
const USUAL: [&str; 11] = [
    "epsilon-gamma-box",
    "epsilon-plus",
    "epsilon-alpha2-beta1",
    "deep-taylor",
    "excitation-backprop",
    "gradient-times-input",
    "integrated-gradients",
    "smoothgrad",
    "guided-backprop",
    "grad-cam",
    "random",
];

/// Methods by what they are called in `--methods`.
#[derive(Default)]
pub struct Methods {
    /// With the bounds of the network's input where they take some.
    pub allowed: Vec<(String, Method)>,
    /// Those that the network does not allow, and why.
    pub refused: Vec<(String, String)>,
}

/// The methods of lists, or the usual ones. `photos` is as in [`Model::method`].
pub fn methods(lists: &[String], model: &Model, photos: bool) -> Result<Methods> {
    let told = if photos { model.preprocess.as_ref().ok() } else { model.told() };
    let bounded = told.and_then(Preprocess::bounds).is_some();
    let known =
        |name: &str| NAMES.contains(&name) || Composite::preset_names().contains(&name) || name.ends_with(".toml");
    let names: Vec<String> = match lists.is_empty() {
        true => USUAL.iter().filter(|name| bounded || **name != "epsilon-gamma-box").map(ToString::to_string).collect(),
        false => methods_list::split(lists, known),
    };
    if names.iter().all(String::is_empty) {
        return Err(Usage("--methods: name at least one".to_string()).into());
    }
    let mut methods = Methods::default();
    for name in names {
        let method = match name.ends_with(".toml") {
            true => Method::Lrp(Box::new(read_composite(&name)?)),
            false => name.parse().map_err(usage("--methods"))?,
        };
        match model.method(method, photos) {
            Ok(method) => methods.allowed.push((name, method)),
            Err(error) => methods.refused.push((name, format!("{error:#}").replace("--method: ", ""))),
        }
    }
    Ok(methods)
}
