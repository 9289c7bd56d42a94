//! The arguments of `relprop evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use relprop::evaluate::{self, ScoreOf};

use crate::cli::args::{DescriptionArgs, DeviceArgs, positive};

#[derive(Args)]
#[command(after_help = EVALUATE_HELP)]
pub struct EvaluateArgs {
    /// The network, an ONNX file. Without it, the built-in SqueezeNet 1.1
    pub model: Option<PathBuf>,
    /// Pictures (png, jpeg), texts (txt), signals (wav, csv, txt), folders, patterns, or .npy arrays already preprocessed, of any
    /// number of samples. Without any, the built-in sample photo
    #[arg(long, short, value_name = "INPUT", num_args = 1..)]
    pub inputs: Vec<String>,
    /// What to compare, as `explain --method` and `--composite` have it, with commas between them. Default: the usual ones, and
    /// random maps
    #[arg(long, value_name = "A,B,…")]
    pub methods: Vec<String>,
    #[arg(long = "metric", value_name = "NAME[:PARAMS]", default_value = "pixel-flipping", help = metric_help())]
    pub metrics: Vec<String>,
    /// Where what is explained truly is: for each input a file of the same stem, .png of the photo's size or of the network's
    /// input, above 0 inside, or .npy with a row for each sample
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
    /// What to explain: best, top:K for the one with K − 1 larger ones, or a class's number or label
    #[arg(long, short, default_value = "best", help_heading = "Target")]
    pub target: String,
    /// Explain the classes in this file: .npy with one for each sample, or CSV with a line for each: CLASS, or INPUT,CLASS, or
    /// INPUT,SAMPLE,CLASS, numbers or labels
    #[arg(long, value_name = "FILE", conflicts_with = "target", help_heading = "Target")]
    pub classes: Option<PathBuf>,
    /// The output to explain, when there are several
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub output: Option<String>,
    /// What of the output metrics look at. Default: the probability by softmax, where the output has several values
    #[arg(long, value_enum, help_heading = "Target")]
    pub score: Option<ScoreArg>,
    /// Take the first N samples only
    #[arg(long, value_name = "N", value_parser = positive)]
    pub limit: Option<usize>,
    /// Which random numbers, of metrics and of statistics
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub description: DescriptionArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// The folder for results
    #[arg(long, short, default_value = "relprop-evaluation", help_heading = "Results")]
    pub out: PathBuf,
    /// Leave out what earlier runs into the same folder have measured with the same program, network, options, device and
    /// input; methods, metrics and inputs may be more
    #[arg(long, help_heading = "Results")]
    pub resume: bool,
    /// Print the list of evaluation.json instead of tables
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// Print warnings and errors only
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,
}

/// What of the output a score is.
#[derive(Clone, Copy, ValueEnum)]
pub enum ScoreArg {
    /// The explained value
    Logit,
    /// Its softmax
    Probability,
}

impl From<ScoreArg> for ScoreOf {
    fn from(score: ScoreArg) -> ScoreOf {
        match score {
            ScoreArg::Logit => ScoreOf::Logit,
            ScoreArg::Probability => ScoreOf::Probability,
        }
    }
}

fn metric_help() -> String {
    let names = evaluate::NAMES.join(", ");
    format!("What to measure, several times or with commas between them: {names}")
}

const EVALUATE_HELP: &str = "\
Written into the folder:
  evaluation.json    a list with an entry for each method and metric: means over samples, 95 % bootstrap intervals, seconds
  scores.csv         a row for each input, sample, method and metric
  curves.csv         mean curves with their intervals, of metrics that have one
  METRIC.png, .svg   the mean curves with their bands, or a value of each method with its interval
  run.json           options, device, and what failed
  records.jsonl      what was measured, sample by sample: --resume goes on from it

p tells how probable a difference from the best method as large as this is, were both equally good: a permutation test of
paired samples, corrected for the number of methods (Holm). Values that do not apply to a sample are left out and counted.
With --batch N, N samples are explained at a time, and changed copies of them are measured N at a time.

Exit code 0: all went well; 1: something failed, the rest is written; 2: the arguments make no sense.";
