//! The arguments of `relprop compare`.

use std::path::PathBuf;

use clap::Args;
use relprop::heatmap::{ColorMap, Look, Range, Sign};
use relprop::methods;

use crate::cli::args::{DeviceArgs, ModelArgs, percent, positive};

#[derive(Args)]
#[command(after_help = HELP)]
pub struct CompareArgs {
    /// Pictures (png, jpeg), signals (wav, csv, txt), folders, patterns, or .npy arrays already preprocessed (batch first);
    /// NAME=X for each input of a network with several, of which the first is shown. Without any, the built-in sample photo
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[arg(long, value_name = "A,B:PARAMS,…", allow_hyphen_values = true, help = methods_help())]
    pub methods: Vec<String>,
    /// What to explain, as in `relprop explain`; several give a picture each
    #[arg(long, short, default_value = "best", help_heading = "Target")]
    pub target: String,
    /// The output to explain, when there are several
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub output: Option<String>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Colours of the heatmaps, as in `relprop explain`
    #[arg(long, default_value_t, help_heading = "Results")]
    pub colormap: ColorMap,
    /// The strongest colours begin at the magnitude that this percentage of a map's do not exceed; 100 is the largest
    #[arg(long, value_name = "PERCENT", default_value_t = 99.5, value_parser = percent, help_heading = "Results")]
    pub percentile: f64,
    /// What gets the strongest colours, as in `relprop explain`; a number or seed puts all maps on one scale
    #[arg(long, value_name = "symmetric|min-max|seed[:K]|NUMBER", default_value_t, help_heading = "Results")]
    pub range: Range,
    /// Exponent of a value's share of the range; below 1 it lifts what is weak
    #[arg(long, value_name = "G", default_value_t = 1.0, help_heading = "Results")]
    pub gamma: f64,
    /// Which signs are shown: both, positive, negative, or absolute, the magnitude
    #[arg(long, default_value_t, help_heading = "Results")]
    pub sign: Sign,
    /// Pictures in a row
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive, help_heading = "Results")]
    pub columns: usize,
    /// The folder for results
    #[arg(long, short, default_value = "relprop-out", help_heading = "Results")]
    pub out: PathBuf,
    /// Print what compare.json holds instead of a table
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// Print warnings and errors only
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,
}

impl CompareArgs {
    /// How maps are looked at.
    pub fn look(&self) -> Look {
        let (colors, percentile, range) = (self.colormap, self.percentile, self.range);
        Look { colors, percentile, range, gamma: self.gamma, sign: self.sign, ..Look::default() }
    }
}

fn methods_help() -> String {
    let names = methods::NAMES.join(", ");
    format!(
        "What to compare, with commas between them (may be given several times): composites (TOML files too), {names}. \
         Parameters may hold commas: what follows a method with parameters begins another one when it begins with a known \
         name. Default: ten that are in use, without those that the network does not allow; occlusion, lime and others of \
         hundreds of passes are compared by name only"
    )
}

const HELP: &str = "\
Written for each input, STEM being its file's name without extension (dots become _):
  STEM.compare.png     the input and each method's map, every map on a scale of its own, under its name, the time it took
                       for this input alone, and the sum of the map as a part of f, what is explained, where the method
                       means to keep it
  STEM.compare.html    the same, larger, in one page without anything beside it, and how alike maps are: the rank
                       correlation (Spearman) of their sums over channels
With several targets STEM.TARGET.compare.png and so on; a .npy of several samples gives STEM.SAMPLE.compare.png for each.
compare.json holds the numbers. What is built once for all inputs (weights, shaders) is no part of the times.

Exit code 0: all went well; 1: something failed, the rest is written; 2: the arguments make no sense.";
