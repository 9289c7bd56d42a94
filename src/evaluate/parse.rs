//! Metrics as text: `NAME` or `NAME:PARAMETERS`.

use std::fmt;
use std::str::FromStr;

use super::Metric;
use crate::error::{Error, Result};
use crate::text::nearest;

/// Their names.
pub const NAMES: [&str; 2] = ["sparseness", "complexity"];

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Metric> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let wrong = |what: &str| Error::Input(format!("metric \"{text}\": {what}"));
        let plain = |metric: Metric| match parameters {
            "" => Ok(metric),
            _ => Err(wrong("it takes no parameters")),
        };
        match name {
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
        }
    }
}
