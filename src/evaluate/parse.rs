//! Metrics as text: `NAME` or `NAME:PARAMETERS`.

use std::fmt;
use std::str::FromStr;

use super::keys::{Counts, Keys};
use super::{Change, Flipping, FlippingKind, Infidelity, LayerOrder, Metric, NewWeights, Randomisation, Road, Subsets};
use crate::error::{Error, Result};
use crate::text::nearest;

/// Their names.
pub const NAMES: [&str; 18] = [
    "pixel-flipping",
    "region-perturbation",
    "deletion",
    "insertion",
    "road",
    "road-combined",
    "faithfulness-correlation",
    "sensitivity-n",
    "infidelity",
    "max-sensitivity",
    "pointing-game",
    "relevance-mass",
    "relevance-rank",
    "sparseness",
    "complexity",
    "model-randomisation",
    "random-logit",
    "conservation",
];

/// Words for ways to change an input, orders of layers, and ways to make weights.
const CHANGES: [(&str, bool); 2] = [("square", false), ("noise", true)];
const ORDERS: [(&str, LayerOrder); 3] = [
    ("cascading", LayerOrder::Cascading),
    ("independent", LayerOrder::Independent),
    ("bottom-up", LayerOrder::BottomUp),
];
const WEIGHTS: [(&str, NewWeights); 2] = [("normal", NewWeights::Normal), ("permuted", NewWeights::Permuted)];

impl FromStr for Metric {
    type Err = Error;

    /// Parameters are `key=value`; those left out have their defaults:
    ///
    /// - `pixel-flipping`, `region-perturbation`, `deletion`, `insertion` ([`Flipping`]): `size` (positions, or `auto`), `order`
    ///   (`morf`, `lrf`, `random`), `steps`, `upto`, `fill` (`zero`, `mean`, `blur` or `blur/SHARE`, `noise`, `inpaint` or
    ///   `inpaint/DEVIATION`), `normalised` (`true`, `false`);
    /// - `road` ([`Road`]): `order`, `noise`; `road-combined`: `noise`;
    /// - `faithfulness-correlation`: `size` (or `auto`), `runs`, `baseline`; `sensitivity-n`: `sizes` (`N/N/…` or `auto`), `runs`,
    ///   `baseline`;
    /// - `infidelity`: `change` (`square`, `noise`), `side` (or `auto`) of squares, `deviation` of noise, `runs`, `scaled`,
    ///   `baseline`; `max-sensitivity`: `radius`, `runs`;
    /// - `pointing-game`: `tolerance`;
    /// - `model-randomisation`: `order` (`cascading`, `independent`, `bottom-up`), `steps`, `weights` (`normal`, `permuted`);
    ///   `random-logit`: `runs`.
    fn from_str(text: &str) -> Result<Metric> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let wrong = |what: &str| Error::Input(format!("metric \"{text}\": {what}"));
        let plain = |metric: Metric| match parameters {
            "" => Ok(metric),
            _ => Err(wrong("it takes no parameters")),
        };
        if let Some((_, kind)) = FlippingKind::ALL.into_iter().find(|(known, _)| *known == name) {
            return Ok(Metric::Flipping(Flipping::parse(kind, text, parameters)?));
        }
        match name {
            "road" | "road-combined" => Ok(Metric::Road(Road::parse(name, text, parameters)?)),
            "sparseness" => plain(Metric::Sparseness),
            "complexity" => plain(Metric::Complexity),
            "faithfulness-correlation" => {
                let keys = Keys::parse(text, parameters, &["size", "runs", "baseline"])?;
                let size = keys.count_or_auto("size", None)?;
                Ok(Metric::FaithfulnessCorrelation { size, subsets: subsets(&keys)? })
            }
            "sensitivity-n" => {
                let keys = Keys::parse(text, parameters, &["sizes", "runs", "baseline"])?;
                Ok(Metric::SensitivityN { sizes: keys.counts("sizes")?, subsets: subsets(&keys)? })
            }
            "infidelity" => Ok(Metric::Infidelity(infidelity(text, parameters)?)),
            "max-sensitivity" => {
                let keys = Keys::parse(text, parameters, &["radius", "runs"])?;
                Ok(Metric::MaxSensitivity {
                    radius: keys.number("radius", true, 0.02)?,
                    runs: keys.count("runs", 1, 10)?,
                })
            }
            "pointing-game" => {
                let tolerance = Keys::parse(text, parameters, &["tolerance"])?.count("tolerance", 0, 0)?;
                Ok(Metric::PointingGame { tolerance })
            }
            "relevance-mass" => plain(Metric::RelevanceMass),
            "relevance-rank" => plain(Metric::RelevanceRank),
            "model-randomisation" => {
                let keys = Keys::parse(text, parameters, &["order", "steps", "weights"])?;
                let steps = keys.count("steps", 1, Randomisation::default().steps)?;
                let (order, weights) = (keys.word("order", &ORDERS)?, keys.word("weights", &WEIGHTS)?);
                Ok(Metric::ModelRandomisation(Randomisation { order, steps, weights }))
            }
            "random-logit" => {
                Ok(Metric::RandomLogit { runs: Keys::parse(text, parameters, &["runs"])?.count("runs", 1, 1)? })
            }
            "conservation" => plain(Metric::Conservation),
            _ => {
                let near = nearest(name, NAMES.iter().copied(), 3).join(", ");
                let all = NAMES.join(", ");
                Err(wrong(&format!("there is none of this name (nearest: {near}); there are {all}")))
            }
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Sparseness => f.write_str("sparseness"),
            Metric::Complexity => f.write_str("complexity"),
            Metric::Flipping(flipping) => flipping.fmt(f),
            Metric::Road(road) => road.fmt(f),
            Metric::FaithfulnessCorrelation { size, subsets: Subsets { runs, baseline } } => {
                let size = Counts(size.as_slice());
                write!(f, "faithfulness-correlation:size={size},runs={runs},baseline={baseline}")
            }
            Metric::SensitivityN { sizes, subsets: Subsets { runs, baseline } } => {
                write!(f, "sensitivity-n:sizes={},runs={runs},baseline={baseline}", Counts(sizes))
            }
            Metric::Infidelity(Infidelity { change, runs, scaled, baseline }) => {
                match change {
                    Change::Square { side } => {
                        write!(f, "infidelity:change=square,side={}", Counts(side.as_slice()))?;
                    }
                    Change::Noise { deviation } => write!(f, "infidelity:change=noise,deviation={deviation}")?,
                }
                write!(f, ",runs={runs},scaled={scaled},baseline={baseline}")
            }
            Metric::MaxSensitivity { radius, runs } => write!(f, "max-sensitivity:radius={radius},runs={runs}"),
            Metric::PointingGame { tolerance } => write!(f, "pointing-game:tolerance={tolerance}"),
            Metric::RelevanceMass => f.write_str("relevance-mass"),
            Metric::RelevanceRank => f.write_str("relevance-rank"),
            Metric::ModelRandomisation(Randomisation { order, steps, weights }) => {
                let (order, weights) = (word(&ORDERS, order), word(&WEIGHTS, weights));
                write!(f, "model-randomisation:order={order},steps={steps},weights={weights}")
            }
            Metric::RandomLogit { runs } => write!(f, "random-logit:runs={runs}"),
            Metric::Conservation => f.write_str("conservation"),
        }
    }
}

/// The runs and the baseline of random subsets.
fn subsets(keys: &Keys) -> Result<Subsets> {
    let usual = Subsets::default();
    Ok(Subsets { runs: keys.count("runs", 2, usual.runs)?, baseline: keys.number("baseline", false, usual.baseline)? })
}

fn infidelity(text: &str, parameters: &str) -> Result<Infidelity> {
    let usual = Infidelity::default();
    let noise = parameters.split(',').any(|part| part.replace(' ', "") == "change=noise");
    let own = if noise { "deviation" } else { "side" };
    let keys = Keys::parse(text, parameters, &["change", own, "runs", "scaled", "baseline"])?;
    let change = match keys.word("change", &CHANGES)? {
        false => Change::Square { side: keys.count_or_auto(own, None)? },
        true => Change::Noise { deviation: keys.number(own, true, 0.1)? },
    };
    let scaled = keys.value("scaled", false, |_| true, "true or false")?;
    let (runs, baseline) = (keys.count("runs", 1, usual.runs)?, keys.number("baseline", false, usual.baseline)?);
    Ok(Infidelity { change, runs, scaled, baseline })
}

/// The word for a value.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, v)| v == value).map_or("", |w| w.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parameters() {
        for text in NAMES.iter().chain(&[
            "faithfulness-correlation:size=5,runs=20,baseline=0.5",
            "sensitivity-n:sizes=1/8/32,runs=20",
            "max-sensitivity:radius=0.1,runs=3",
            "pointing-game:tolerance=2",
            "model-randomisation:order=bottom-up,steps=3,weights=permuted",
            "infidelity:change=noise",
            "infidelity:change=square,side=auto,runs=7,scaled=true",
            "random-logit:runs=2",
        ]) {
            let metric: Metric = text.parse().unwrap();
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric, "{text}");
            assert_eq!(metric.needs_truth(), text.starts_with("pointing") || text.starts_with("relevance"), "{text}");
        }
        for (text, says) in [
            ("sparsness", "nearest: sparseness"),
            ("relevance-mass:1", "takes no parameters"),
            ("random-logit:1", "\"1\" is not of the form key=value; keys are runs"),
            ("sensitivity-n:sizes=1/0", "sizes=1/0 is not whole numbers from 1"),
            ("faithfulness-correlation:size=5,runs=1", "runs=1 is not a whole number from 2"),
            ("faithfulness-correlation:size=5,runs=20,baseline=inf", "baseline=inf is not a number"),
            ("max-sensitivity:radius=0", "radius=0 is not a number above 0"),
            ("model-randomisation:order=upward", "order=upward is none of cascading, independent, bottom-up"),
            ("infidelity:change=circle", "change=circle is none of square, noise"),
        ] {
            let error = text.parse::<Metric>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
