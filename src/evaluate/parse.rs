//! Metrics as text: `NAME` or `NAME:PARAMETERS`.

use std::fmt;
use std::str::FromStr;

use super::{Flipping, FlippingKind, Metric, Road};
use crate::error::{Error, Result};
use crate::text::nearest;

/// Their names.
pub const NAMES: [&str; 8] = [
    "sparseness",
    "complexity",
    "pixel-flipping",
    "region-perturbation",
    "deletion",
    "insertion",
    "road",
    "road-combined",
];

impl FromStr for Metric {
    type Err = Error;

    /// `sparseness` and `complexity` take nothing. `pixel-flipping`, `region-perturbation`, `deletion` and `insertion` take
    /// `:key=value,…` of `size` (positions, or `auto`), `order` (`morf`, `lrf`, `random`), `steps`, `upto`, `fill` (`zero`, `mean`,
    /// `blur` or `blur/SHARE`, `noise`, `inpaint` or `inpaint/DEVIATION`) and `normalised` (`true`, `false`), see [`Flipping`];
    /// `road` takes `order` and `noise`, `road-combined` takes `noise`, see [`Road`]. What is left out has its default.
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
        }
    }
}
