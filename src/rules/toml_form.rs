//! A user's own composite as a TOML file.
//!
//! ```toml
//! name = "mine"
//! zero-bias = false           # every rule leaves the bias out of its denominators
//! activation = "pass"         # pass | gradient | guided | deconvnet
//! pooling = "norm"            # norm | gradient
//! residual = "norm"           # norm | bounded | shortcut | branch | gradient: of sums of branches
//! gate = "signal"             # signal | half | gradient
//! normalisation = "pass"      # pass | epsilon | gradient: batch norm that could not be merged
//! stabiliser = "add"          # add | clip | rms: of the norm rule of pooling and sums
//! epsilon = 1e-6              # its size
//! recurrent-epsilon = 1e-3    # of the maps inside recurrent layers
//! bias-factor = 0.0           # how much of what biases and stabilisers take recurrent and ε-rule dense layers hand on, 0 to 1
//! bounds = { low = [-2.1, -2.0, -1.8], high = [2.2, 2.4, 2.6] }   # for box rules; a number or one for each channel
//!
//! [[rules]]                   # in order; the first that matches a layer counts
//! kind = "convolution"        # linear (default) | convolution | dense
//! position = "first"          # first | last | a number from 1
//! rule = "zbox"               # as on the command line
//!
//! [[rules]]
//! name = "features.*"         # the layer's name, with * and ?
//! before = "classifier"       # layers that this one depends on
//! rule = "gamma:0.25"
//! epsilon = 1e-6              # of the stabiliser
//! stabiliser = "add"          # add | clip | rms
//! zero-bias = true
//!
//! [[rules]]
//! rule = "epsilon"
//! ```

use serde::Deserialize;

use super::composite::{ActivationRule, Composite, GateRule, NormalisationRule, PoolingRule, ResidualRule};
use super::rule::{Bounds, Rule, Stabiliser, StabiliserKind, check_bias_factor};
use super::select::{LayerKind, Position, Selector};
use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    name: Option<String>,
    #[serde(default)]
    zero_bias: bool,
    activation: Option<String>,
    pooling: Option<String>,
    residual: Option<String>,
    gate: Option<String>,
    normalisation: Option<String>,
    stabiliser: Option<String>,
    epsilon: Option<f64>,
    recurrent_epsilon: Option<f64>,
    bias_factor: Option<f64>,
    bounds: Option<BoundsEntry>,
    rules: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundsEntry {
    low: Numbers,
    high: Numbers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(f64),
    Many(Vec<f64>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: Option<String>,
    kind: Option<String>,
    position: Option<Place>,
    before: Option<String>,
    rule: String,
    epsilon: Option<f64>,
    stabiliser: Option<String>,
    #[serde(default)]
    zero_bias: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Place {
    Number(usize),
    Word(String),
}

pub(super) fn parse(place: &str, text: &str) -> Result<Composite> {
    let file: File = toml::from_str(text).map_err(|e| Error::malformed(place, e.to_string()))?;
    let mut composite = Composite::new(file.name.as_deref().unwrap_or(place)).with_zero_bias(file.zero_bias);
    let choice = |key: &str, word: &Option<String>, names: &[&str]| choose(place, key, word.as_deref(), names);
    if let Some(i) = choice("activation", &file.activation, &["pass", "gradient", "guided", "deconvnet"])? {
        use ActivationRule::{Deconvnet, Gradient, Guided, Pass};
        composite.activation = [Pass, Gradient, Guided, Deconvnet][i];
    }
    if let Some(i) = choice("pooling", &file.pooling, &["norm", "gradient"])? {
        composite.pooling = [PoolingRule::Norm, PoolingRule::Gradient][i];
    }
    if let Some(i) = choice("residual", &file.residual, &ResidualRule::NAMES)? {
        composite.residual = ResidualRule::ALL[i];
    }
    if let Some(i) = choice("gate", &file.gate, &["signal", "half", "gradient"])? {
        composite.gate = [GateRule::Signal, GateRule::Half, GateRule::Gradient][i];
    }
    if let Some(i) = choice("normalisation", &file.normalisation, &NormalisationRule::NAMES)? {
        composite.normalisation = NormalisationRule::ALL[i];
    }
    set_stabiliser(place, &mut composite.stabiliser, file.stabiliser.as_deref(), file.epsilon)?;
    if let Some(epsilon) = file.recurrent_epsilon {
        composite.recurrent.epsilon = check_epsilon(place, "recurrent-epsilon", epsilon)?;
    }
    if let Some(factor) = file.bias_factor {
        check_bias_factor("bias-factor", factor).map_err(|e| Error::malformed(place, e.to_string()))?;
        composite.recurrent.bias_factor = factor;
    }
    if let Some(bounds) = file.bounds {
        let list = |numbers| match numbers {
            Numbers::One(number) => vec![number],
            Numbers::Many(numbers) => numbers,
        };
        let bounds = Bounds::new(list(bounds.low), list(bounds.high));
        composite = composite.with_bounds(bounds.map_err(|e| Error::malformed(place, e.to_string()))?);
    }
    for (number, entry) in file.rules.into_iter().enumerate() {
        let place = format!("{place}: rule {}", number + 1);
        let (selector, rule) = entry.read(&place)?;
        composite = composite.with_rule(selector, rule);
    }
    Ok(composite)
}

impl Entry {
    fn read(self, place: &str) -> Result<(Selector, Rule)> {
        let kinds = [LayerKind::Linear, LayerKind::Convolution, LayerKind::Dense];
        let kind = choose(place, "kind", self.kind.as_deref(), &["linear", "convolution", "dense"])?;
        let position = match (self.position, self.before) {
            (None, None) => None,
            (None, Some(before)) => Some(Position::Before(before)),
            (Some(Place::Number(n)), None) => Some(Position::Nth(n)),
            (Some(Place::Word(word)), None) => choose(place, "position", Some(&word), &["first", "last"])?
                .map(|i| [Position::First, Position::Last][i].clone()),
            (Some(_), Some(_)) => return Err(Error::malformed(place, "both \"position\" and \"before\"; give one")),
        };
        let mut rule = Rule::parse(&self.rule).map_err(|e| Error::malformed(place, e.to_string()))?;
        rule.zero_bias = self.zero_bias;
        set_stabiliser(place, &mut rule.stabiliser, self.stabiliser.as_deref(), self.epsilon)?;
        rule.check().map_err(|e| Error::malformed(place, e.to_string()))?;
        Ok((Selector { name: self.name, kind: kind.map_or(LayerKind::Linear, |i| kinds[i]), position }, rule))
    }
}

fn set_stabiliser(place: &str, stabiliser: &mut Stabiliser, kind: Option<&str>, epsilon: Option<f64>) -> Result<()> {
    if let Some(i) = choose(place, "stabiliser", kind, &["add", "clip", "rms"])? {
        stabiliser.kind = [StabiliserKind::Add, StabiliserKind::Clip, StabiliserKind::Rms][i];
    }
    if let Some(epsilon) = epsilon {
        stabiliser.epsilon = check_epsilon(place, "epsilon", epsilon)?;
    }
    Ok(())
}

fn check_epsilon(place: &str, key: &str, epsilon: f64) -> Result<f64> {
    if epsilon.is_finite() && epsilon >= 0.0 {
        return Ok(epsilon);
    }
    Err(Error::malformed(place, format!("{key} = {epsilon}; it must be 0 or more")))
}

/// The place of `word` among `names`.
fn choose(place: &str, key: &str, word: Option<&str>, names: &[&str]) -> Result<Option<usize>> {
    let Some(word) = word else { return Ok(None) };
    match names.iter().position(|n| *n == word) {
        Some(i) => Ok(Some(i)),
        None => Err(Error::malformed(place, format!("{key} = \"{word}\"; it can be: {}", names.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_module_docs_is_read() {
        let docs: String = include_str!("toml_form.rs")
            .lines()
            .skip_while(|l| !l.contains("```toml"))
            .skip(1)
            .take_while(|l| !l.contains("```"))
            .map(|l| format!("{}\n", l.trim_start_matches("//!")))
            .collect();
        let composite = parse("mine.toml", &docs).unwrap();
        assert_eq!(composite.name(), "mine");
        assert_eq!(composite.entries.len(), 3);
        assert_eq!(composite.entries[0].0, Selector::first(LayerKind::Convolution));
        assert!(composite.entries[1].1.zero_bias);
    }

    #[test]
    fn mistakes_name_the_place() {
        for (text, part) in [
            ("rules = [{rule = \"gamma:-1\"}]", "rule 1"),
            ("rules = [{rule = \"zplus\", kind = \"conv\"}]", "convolution"),
            ("rules = [{rule = \"zplus\", positon = 1}]", "positon"),
            ("rules = [{rule = \"zplus\", stabiliser = \"none\"}]", "clip"),
            ("gate = 1\nrules = []", "gate"),
            ("epsilon = -1.0\nrules = []", "0 or more"),
            ("recurrent-epsilon = -1.0\nrules = []", "recurrent-epsilon"),
            ("bias-factor = 1.5\nrules = []", "between 0 and 1"),
            ("rules = [", "mine.toml"),
        ] {
            let message = parse("mine.toml", text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
