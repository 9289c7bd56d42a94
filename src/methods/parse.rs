//! Methods as text: `NAME` or `NAME:PARAMETERS`.

use std::fmt;
use std::str::FromStr;

use super::{Fill, Masks, Method, Noise, Occlusion, Segmentation, Superpixels};
use crate::error::{Error, Result};
use crate::rules::Composite;
use crate::text::nearest;

/// The names of those that are not composites.
pub const NAMES: [&str; 14] = [
    "gradient",
    "absolute-gradient",
    "sensitivity",
    "gradient-times-input",
    "smoothgrad",
    "vargrad",
    "integrated-gradients",
    "grad-cam",
    "guided-grad-cam",
    "occlusion",
    "lime",
    "kernel-shap",
    "rise",
    "random",
];

/// Counts are at most this.
const MOST: usize = 1_000_000;
/// Segments are at most this: regressions take their cube.
const MOST_SEGMENTS: usize = 1000;
/// Kernel SHAP takes at least these passes: none, all, and a pair of selections.
const LEAST_PASSES: usize = 4;

/// What stands behind a method's name.
struct Parameters<'a> {
    text: &'a str,
    given: Vec<&'a str>,
}

impl Parameters<'_> {
    fn wrong(&self, what: &str) -> Error {
        Error::Input(format!("method \"{}\": {what}", self.text))
    }

    /// The parameter at a place as `read` reads it, or the default; `is` says what it must be.
    fn read<T>(&self, at: usize, default: T, is: &str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        match self.given.get(at) {
            None => Ok(default),
            Some(given) => read(given).ok_or_else(|| self.wrong(&format!("\"{given}\" is not {is}"))),
        }
    }

    fn count(&self, at: usize, least: usize, most: usize, default: usize) -> Result<usize> {
        let is = format!("a number from {least} to {most}");
        self.read(at, default, &is, |text| text.parse().ok().filter(|n| (least..=most).contains(n)))
    }

    fn number(&self, at: usize, default: f64) -> Result<f64> {
        self.read(at, default, "a number", |text| text.parse().ok().filter(|v: &f64| v.is_finite()))
    }

    fn positive(&self, at: usize, default: f64) -> Result<f64> {
        let is_positive = |v: &f64| v.is_finite() && *v > 0.0;
        self.read(at, default, "a number above 0", |text| text.parse().ok().filter(is_positive))
    }

    fn seed(&self, at: usize) -> Result<u64> {
        match self.given.get(at) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| self.wrong(&format!("the seed \"{text}\" is not a whole number"))),
        }
    }

    fn fill(&self, at: usize, default: Fill) -> Result<Fill> {
        self.read(at, default, "a number, mean, local or blur", Fill::parse)
    }

    fn noise(&self, least: usize) -> Result<Noise> {
        let usual = Noise::default();
        let (copies, deviation) = (self.count(0, least, MOST, usual.copies)?, self.positive(1, usual.deviation)?);
        Ok(Noise { copies, deviation, seed: self.seed(2)? })
    }

    fn occlusion(&self) -> Result<Occlusion> {
        let usual = Occlusion::default();
        let size = |at: usize| {
            let is = format!("auto or a number from 1 to {MOST}");
            self.read(at, None, &is, |text| match text {
                "auto" => Some(None),
                text => text.parse().ok().filter(|n| (1..=MOST).contains(n)).map(Some),
            })
        };
        let (window, stride, fill) = (size(0)?, size(1)?, self.fill(2, usual.fill)?);
        match (window, stride) {
            (Some(window), Some(stride)) if stride > window => {
                Err(self
                    .wrong(&format!("a stride of {stride} leaves gaps between windows of {window}: make it smaller")))
            }
            _ => Ok(Occlusion { window, stride, fill }),
        }
    }

    fn superpixels(&self, least: usize, usual: Superpixels) -> Result<Superpixels> {
        Ok(Superpixels {
            samples: self.count(0, least, MOST, usual.samples)?,
            segments: self.count(1, 1, MOST_SEGMENTS, usual.segments)?,
            segmentation: self.read(2, usual.segmentation, "slic or grid", Segmentation::parse)?,
            fill: self.fill(3, usual.fill)?,
            seed: self.seed(4)?,
        })
    }

    fn masks(&self) -> Result<Masks> {
        let usual = Masks::default();
        let is_share = |p: &f64| *p > 0.0 && *p < 1.0;
        Ok(Masks {
            masks: self.count(0, 1, MOST, usual.masks)?,
            cells: self.count(1, 1, MOST, usual.cells)?,
            share: self.read(2, usual.share, "a number between 0 and 1", |text| text.parse().ok().filter(is_share))?,
            seed: self.seed(3)?,
        })
    }
}

impl FromStr for Method {
    type Err = Error;

    /// What is left out has its default:
    ///
    /// | name | parameters | defaults |
    /// |---|---|---|
    /// | `smoothgrad`, `vargrad` | `:COPIES,DEVIATION,SEED` | 20, 0.1, 0 |
    /// | `integrated-gradients` | `:STEPS,BASELINE` | 20, 0 |
    /// | `occlusion` | `:WINDOW,STRIDE,FILL` | by the sample's size ([`Occlusion`]; `auto`), 0 |
    /// | `lime` | `:SAMPLES,SEGMENTS,slic\|grid,FILL,SEED` | 1000, 50, slic, local, 0 |
    /// | `kernel-shap` | the same | 1000, 50, slic, 0, 0 |
    /// | `rise` | `:MASKS,CELLS,P,SEED` | 4000, 7, 0.5, 0 |
    /// | `random` | `:SEED` | 0 |
    ///
    /// FILL is a number, `mean`, `local` or `blur` ([`Fill`]). `grad-cam` and `guided-grad-cam` take `:LAYER`, the rest of the text,
    /// whatever is in it. Any other name is a composite's ([`Composite::parse`]).
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
        let given = parameters.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        let parameters = Parameters { text, given };
        let most = match name {
            "lime" | "kernel-shap" => 5,
            "rise" => 4,
            "smoothgrad" | "vargrad" | "occlusion" => 3,
            "integrated-gradients" => 2,
            "random" => 1,
            _ => 0,
        };
        if parameters.given.len() > most {
            return Err(parameters.wrong(&format!("{name} takes {most} parameters at most")));
        }
        Ok(match name {
            "gradient" => Method::Gradient,
            "absolute-gradient" => Method::AbsoluteGradient,
            "sensitivity" => Method::Sensitivity,
            "gradient-times-input" => Method::GradientTimesInput,
            "smoothgrad" => Method::SmoothGrad(parameters.noise(1)?),
            // A variance needs two.
            "vargrad" => Method::VarGrad(parameters.noise(2)?),
            "integrated-gradients" => Method::IntegratedGradients {
                steps: parameters.count(0, 1, MOST, 20)?,
                baseline: parameters.number(1, 0.0)?,
            },
            "occlusion" => Method::Occlusion(parameters.occlusion()?),
            "lime" => Method::Lime(parameters.superpixels(1, Superpixels::lime())?),
            "kernel-shap" => Method::KernelShap(parameters.superpixels(LEAST_PASSES, Superpixels::kernel_shap())?),
            "rise" => Method::Rise(parameters.masks()?),
            "random" => Method::Random { seed: parameters.seed(0)? },
            _ => {
                let names = || NAMES.iter().chain(Composite::preset_names()).copied();
                let near = nearest(name, names(), 3).join(", ");
                let all = names().collect::<Vec<_>>().join(", ");
                let what = format!("there is none of this name (nearest: {near}); there are {all}");
                return Err(parameters.wrong(&what));
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
            Method::Occlusion(occlusion) => write!(f, "occlusion:{occlusion}"),
            Method::Lime(superpixels) => write!(f, "lime:{superpixels}"),
            Method::KernelShap(superpixels) => write!(f, "kernel-shap:{superpixels}"),
            Method::Rise(masks) => write!(f, "rise:{masks}"),
            Method::Random { seed } => write!(f, "random:{seed}"),
        }
    }
}
