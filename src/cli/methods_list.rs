//! Lists of methods, and of what else has a name and parameters with commas.

use anyhow::Result;
use relprop::Composite;
use relprop::input::Preprocess;
use relprop::methods::{Method, NAMES};

use super::model::{Model, read_composite};
use super::{Usage, usage};

/// What is compared when nothing is said; the first of them needs to know what inputs lie between. Occlusion and LIME are not
/// among them: they take hundreds of passes, where all of these together take sixty.
const USUAL: [&str; 10] = [
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
];

/// Methods by what they are called in `--methods`.
#[derive(Default)]
pub struct Methods {
    /// With the bounds of the network's input where they take some.
    pub allowed: Vec<(String, Method)>,
    /// Those that the network does not allow, and why.
    pub refused: Vec<(String, String)>,
}

/// The methods of lists, or the usual ones and `more`. `photos` is as in [`Model::method`].
pub fn methods(lists: &[String], more: &[&str], model: &Model, photos: bool) -> Result<Methods> {
    let told = if photos { model.preprocess.as_ref().ok() } else { model.told() };
    let bounded = told.and_then(Preprocess::bounds).is_some();
    let known =
        |name: &str| NAMES.contains(&name) || Composite::preset_names().contains(&name) || name.ends_with(".toml");
    let usual = || USUAL.iter().filter(|name| bounded || **name != "epsilon-gamma-box").chain(more);
    let names: Vec<String> = match lists.is_empty() {
        true => usual().map(ToString::to_string).collect(),
        false => split(lists, known),
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
            Err(error) => {
                methods.refused.push((name, format!("{error:#}").trim_start_matches("--method: ").to_string()))
            }
        }
    }
    Ok(methods)
}

/// Takes lists apart at commas. Those between the parameters of one item are kept: what follows an item with parameters (after
/// a colon) begins another one only when it begins with a known name.
pub fn split(lists: &[String], known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for list in lists {
        let mut joins = false;
        for piece in list.split(',') {
            let name = piece.split(':').next().unwrap_or(piece).trim();
            match items.last_mut() {
                Some(item) if joins && !known(name) => {
                    item.push(',');
                    item.push_str(piece);
                }
                _ => {
                    items.push(piece.to_string());
                    joins = piece.contains(':');
                }
            }
        }
    }
    let mut unique: Vec<String> = Vec::new();
    for item in items.iter().map(|item| item.trim()) {
        if !unique.iter().any(|u| u == item) {
            unique.push(item.to_string());
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    #[test]
    fn commas_of_parameters_are_kept() {
        let known = |name: &str| ["smoothgrad", "epsilon", "zbox"].contains(&name);
        let split = |lists: &[&str]| super::split(&lists.iter().map(|l| l.to_string()).collect::<Vec<_>>(), known);
        assert_eq!(split(&["epsilon,smoothgrad:20,0.1,7,zbox:-1,1"]), ["epsilon", "smoothgrad:20,0.1,7", "zbox:-1,1"]);
        assert_eq!(split(&["smoothgrad:20,0.1", "epsilon, zbox", "epsilon"]), ["smoothgrad:20,0.1", "epsilon", "zbox"]);
        // A wrong name is an item of its own, so that it is what the message is about.
        assert_eq!(split(&["epsilon,smoothgrda:3"]), ["epsilon", "smoothgrda:3"]);
        assert_eq!(split(&["cam:conv,1", "layer"]), ["cam:conv,1", "layer"]);
    }
}
