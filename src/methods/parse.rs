//! Methods as text: `NAME` or `NAME:PARAMETERS`.

use std::fmt;
use std::str::FromStr;

use super::{Method, Noise};
use crate::error::{Error, Result};
use crate::rules::Composite;
use crate::text::nearest;

/// The names of those that are not composites.
pub const NAMES: [&str; 10] = [
    "gradient",
    "absolute-gradient",
    "sensitivity",
    "gradient-times-input",
    "smoothgrad",
    "vargrad",
    "integrated-gradients",
    "grad-cam",
    "guided-grad-cam",
    "random",
];

impl FromStr for Method {
    type Err = Error;

    /// `smoothgrad` and `vargrad` take `:COPIES,DEVIATION,SEED`, `integrated-gradients` takes `:STEPS,BASELINE`, `random` takes
    /// `:SEED`; what is left out has its default: 20, 0.1 and 0; 20 and 0; 0. Any other name is a composite's
    /// ([`Composite::parse`]). `grad-cam` and `guided-grad-cam` take `:LAYER`, the rest of the text, whatever is in it.
    fn from_str(text: &str) -> Result<Method> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        if !NAMES.contains(&name) && Composite::preset_names().contains(&name) {
            return Ok(Method::Lrp(Box::new(Composite::parse(text)?)));
        }
        let layer = Some(parameters).filter(|layer| !layer.is_empty()).map(str::to_string);
        match name {
            "grad-cam" => return Ok(Method::GradCam { layer }),
            "guided-grad-cam" => return Ok(Method::GuidedGradCam { layer }),
            _ => {}
        }
        let parameters: Vec<&str> = parameters.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        let wrong = |what: &str| Error::Input(format!("method \"{text}\": {what}"));
        let most = match name {
            "smoothgrad" | "vargrad" => 3,
            "integrated-gradients" => 2,
            "random" => 1,
            _ => 0,
        };
        if parameters.len() > most {
            return Err(wrong(&format!("{name} takes {most} parameters at most")));
        }
        let count = |least: usize, default: usize| match parameters.first() {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(n) if (least..=1_000_000).contains(&n) => Ok(n),
                _ => Err(wrong(&format!("\"{text}\" is not a number from {least} to 1000000"))),
            },
        };
        let number = |default: f64, positive: bool| match parameters.get(1) {
            None => Ok(default),
            Some(text) => match text.parse::<f64>() {
                Ok(v) if v.is_finite() && (v > 0.0 || !positive) => Ok(v),
                _ => Err(wrong(&format!("\"{text}\" is not a number{}", if positive { " above 0" } else { "" }))),
            },
        };
        let seed = |at: usize| match parameters.get(at) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| wrong(&format!("the seed \"{text}\" is not a whole number"))),
        };
        let noise = |least: usize| -> Result<Noise> {
            let usual = Noise::default();
            Ok(Noise { copies: count(least, usual.copies)?, deviation: number(usual.deviation, true)?, seed: seed(2)? })
        };
        Ok(match name {
            "gradient" => Method::Gradient,
            "absolute-gradient" => Method::AbsoluteGradient,
            "sensitivity" => Method::Sensitivity,
            "gradient-times-input" => Method::GradientTimesInput,
            "smoothgrad" => Method::SmoothGrad(noise(1)?),
            // A variance needs two.
            "vargrad" => Method::VarGrad(noise(2)?),
            "integrated-gradients" => {
                Method::IntegratedGradients { steps: count(1, 20)?, baseline: number(0.0, false)? }
            }
            "random" => Method::Random { seed: seed(0)? },
            _ => {
                let names = || NAMES.iter().chain(Composite::preset_names()).copied();
                let near = nearest(name, names(), 3).join(", ");
                let all = names().collect::<Vec<_>>().join(", ");
                return Err(wrong(&format!("there is none of this name (nearest: {near}); there are {all}")));
            }
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noise = |f: &mut fmt::Formatter<'_>, name: &str, n: &Noise| {
            write!(f, "{name}:{},{},{}", n.copies, n.deviation, n.seed)
        };
        match self {
            Method::Lrp(composite) => f.write_str(composite.name()),
            Method::Gradient => f.write_str("gradient"),
            Method::AbsoluteGradient => f.write_str("absolute-gradient"),
            Method::Sensitivity => f.write_str("sensitivity"),
            Method::GradientTimesInput => f.write_str("gradient-times-input"),
            Method::SmoothGrad(n) => noise(f, "smoothgrad", n),
            Method::VarGrad(n) => noise(f, "vargrad", n),
            Method::IntegratedGradients { steps, baseline } => write!(f, "integrated-gradients:{steps},{baseline}"),
            Method::GradCam { layer: None } => f.write_str("grad-cam"),
            Method::GradCam { layer: Some(layer) } => write!(f, "grad-cam:{layer}"),
            Method::GuidedGradCam { layer: None } => f.write_str("guided-grad-cam"),
            Method::GuidedGradCam { layer: Some(layer) } => write!(f, "guided-grad-cam:{layer}"),
            Method::Random { seed } => write!(f, "random:{seed}"),
        }
    }
}
