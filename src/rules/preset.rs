//! The composites that have a name.

use super::composite::{ActivationRule, Composite, GateRule, NormalisationRule, PoolingRule, ResidualRule};
use super::rule::{Bounds, Rule, RuleKind, split_params};
use super::select::{LayerKind, Selector};
use crate::error::{Error, Result};

/// Names that [`parse`] knows; the second line's are single rules on every linear layer.
#[rustfmt::skip]
pub(super) const NAMES: &[&str] = &[
    "epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "epsilon-alpha2-beta1", "epsilon-alpha2-beta1-flat",
    "deep-taylor", "excitation-backprop", "gradient", "guided-backprop", "deconvnet",
    "epsilon", "zplus", "alpha-beta", "gamma", "zbox", "wsquare", "flat",
];

pub(super) fn parse(text: &str) -> Result<Composite> {
    use LayerKind::{Convolution, Dense, Linear};
    let (name, params) = split_params(text)?;
    let bounds = |params: &[f64]| match params {
        [] => Ok(None),
        [low, high] => Bounds::uniform(*low, *high).map(Some),
        _ => Err(Error::composite(text, "it takes no parameters, or two: LOW,HIGH")),
    };
    let epsilon = || Rule::new(RuleKind::Epsilon);
    let zplus = || Rule::new(RuleKind::ZPlus);
    let zbox = || Rule::new(RuleKind::ZBox { bounds: None });
    let all = Selector::of_kind;
    let first = Selector::first;
    let new = || Composite::new(text);
    let with_bounds = |composite: Composite, bounds: Option<Bounds>| match bounds {
        Some(bounds) => composite.with_bounds(bounds),
        None => composite,
    };
    let composite = match name {
        "epsilon-plus" => new().with_rule(all(Convolution), zplus()).with_rule(all(Dense), epsilon()),
        "epsilon-plus-flat" => new()
            .with_rule(first(Linear), Rule::new(RuleKind::Flat))
            .with_rule(all(Convolution), zplus())
            .with_rule(all(Dense), epsilon()),
        "epsilon-gamma-box" => {
            let composite = new()
                .with_rule(first(Convolution), zbox())
                .with_rule(all(Convolution), Rule::gamma(0.25))
                .with_rule(all(Dense), epsilon());
            return Ok(with_bounds(composite, bounds(&params)?));
        }
        "epsilon-alpha2-beta1" => {
            new().with_rule(all(Convolution), Rule::alpha_beta(2.0, 1.0)).with_rule(all(Dense), epsilon())
        }
        "epsilon-alpha2-beta1-flat" => new()
            .with_rule(first(Linear), Rule::new(RuleKind::Flat))
            .with_rule(all(Convolution), Rule::alpha_beta(2.0, 1.0))
            .with_rule(all(Dense), epsilon()),
        "deep-taylor" => {
            let composite =
                new().with_rule(first(Linear), Rule::new(RuleKind::ZBoxOrWSquare)).with_rule(all(Linear), zplus());
            return Ok(with_bounds(composite, bounds(&params)?));
        }
        "excitation-backprop" => {
            Composite { activation: ActivationRule::Gradient, ..new() }.with_rule(all(Linear), zplus())
        }
        "gradient" => gradient(text, ActivationRule::Gradient),
        "guided-backprop" => gradient(text, ActivationRule::Guided),
        "deconvnet" => gradient(text, ActivationRule::Deconvnet),
        rule if NAMES.contains(&rule) => {
            let rule = Rule::parse(text)?;
            let mut composite = new();
            // A stabiliser that is asked for is that of recurrent layers too.
            if let (RuleKind::Epsilon, [epsilon]) = (&rule.kind, params.as_slice()) {
                composite.recurrent.epsilon = *epsilon;
            }
            return Ok(composite.with_rule(all(Linear), rule));
        }
        _ => {
            let near = crate::text::nearest(name, NAMES.iter().copied(), 3).join(", ");
            let names = NAMES.join(", ");
            let what = format!("there is no such composite (nearest: {near}); there are {names}, and TOML files");
            return Err(Error::composite(text, what));
        }
    };
    if params.is_empty() { Ok(composite) } else { Err(Error::composite(text, "it takes no parameters")) }
}

/// Plain gradients everywhere, but for what ReLU does.
fn gradient(name: &str, activation: ActivationRule) -> Composite {
    let rule = Rule::new(RuleKind::Gradient);
    Composite {
        activation,
        pooling: PoolingRule::Gradient,
        residual: ResidualRule::Gradient,
        gate: GateRule::Gradient,
        normalisation: NormalisationRule::Gradient,
        ..Composite::new(name)
    }
    .with_rule(Selector::of_kind(LayerKind::Linear), rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_composite() {
        for name in NAMES {
            assert_eq!(parse(name).unwrap().name(), *name);
        }
    }

    #[test]
    fn wrong_names_and_parameters_say_what_there_is() {
        assert!(parse("epsilon-plsu").unwrap_err().to_string().contains("epsilon-plus"));
        assert!(parse("epsilon-plus:1").unwrap_err().to_string().contains("no parameters"));
        assert!(parse("epsilon-gamma-box:1").unwrap_err().to_string().contains("LOW,HIGH"));
    }
}
