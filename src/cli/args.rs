//! The arguments.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use relprop::input::{Channels, Fit, LabelSource, ModelDescription, PerChannel, Preset, Size};
use relprop::methods::{self, Method};
use relprop::{Backend, Composite, NormalisationRule, Precision, ResidualRule, SeedAmount};

use super::compare::CompareArgs;
use super::evaluate::EvaluateArgs;
use super::looks::LookArgs;

/// Which pixels made the network decide? Layer-wise relevance propagation for ONNX networks.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Explain what a network decides: heatmaps, relevance as .npy, and a report
    Explain(Box<ExplainArgs>),
    /// Run the forward pass alone and write the outputs as .npy
    Run(RunArgs),
    /// Show a network's layers with the rule each gets, and the memory an explanation takes
    Inspect(Box<InspectArgs>),
    /// Tell whether a map can be trusted: what each layer keeps, absorbs and magnifies, and float32 beside float64
    Check(Box<CheckArgs>),
    /// Show what several methods say of the same input, side by side, with times, sums and how alike the maps are
    Compare(Box<CompareArgs>),
    /// Measure how good explanations are: methods by metrics over many inputs, with intervals, tests and plots
    Evaluate(Box<EvaluateArgs>),
    /// Measure forward pass and explanation: time, share of the device's peak, memory, time by kernel
    Bench(Box<BenchArgs>),
    /// Show the GPU adapters, and which one is taken automatically
    Devices,
}

#[derive(Args)]
#[command(after_help = EXPLAIN_HELP)]
pub struct ExplainArgs {
    /// Pictures (png, jpeg), texts (txt), signals (wav, csv, txt), folders, patterns, or .npy arrays already preprocessed
    /// (batch first); NAME=X for each input of a network with several. Without any, the built-in sample photo
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// A text to explain, given itself (may be given several times)
    #[arg(long = "text", value_name = "TEXT")]
    pub texts: Vec<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
    #[arg(long, value_name = "NAME[:PARAMS]", help = method_help(), help_heading = "Rules", conflicts_with_all = ["composite", "first", "bounds", "zero_bias", "bias_factor", "residual", "normalisation", "seed", "layers"])]
    pub method: Option<Method>,
    /// What to explain: best, top:K, a class's number or label, A~B (why A rather than B), CLASS@ROWxCOLUMN (a class at a
    /// position of an output that has positions; A:B is a range, : all of them, and values are summed), outlier or inlier
    /// (of a one-class support vector machine), or several with commas between them
    #[arg(long, short, default_value = "best", help_heading = "Target")]
    pub target: String,
    /// The relevance to start with: the output's value, or 1
    #[arg(long, value_enum, default_value_t = Seed::Logit, help_heading = "Target")]
    pub seed: Seed,
    /// The output to explain, when there are several
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub output: Option<String>,
    /// Write the relevance of this layer too (may be given several times)
    #[arg(long = "layer", value_name = "NAME", help_heading = "Target")]
    pub layers: Vec<String>,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub looks: LookArgs,
    /// Whether texts are coloured in the terminal; auto looks whether it is one, and at NO_COLOR
    #[arg(long, value_enum, default_value_t = Color::Auto, help_heading = "Results")]
    pub color: Color,
    /// The folder for results
    #[arg(long, short, default_value = "relprop-out", help_heading = "Results")]
    pub out: PathBuf,
    /// Write report.html too: one page with photos, maps and numbers that needs nothing else
    #[arg(long, help_heading = "Results")]
    pub report: bool,
    /// Leave out what an earlier run into the same folder has done: same program, network, options, device and input
    #[arg(long, help_heading = "Results")]
    pub resume: bool,
    /// Print warnings and errors only
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,
}

fn method_help() -> String {
    format!("Another method than LRP: {}; or a composite", methods::NAMES.join(", "))
}

const EXPLAIN_HELP: &str = "\
Written for each input, STEM being its file's name without extension (dots become _):
  STEM.png              heatmap: warm colours speak for the target, cold ones against it
  STEM.overlay.png      the heatmap over what the network saw of the photo
  STEM.relevance.npy    relevance, of the input's shape
For a signal STEM.plot.png and STEM.plot.svg show it over time on a ground of its relevance; for texts there are STEM.html,
with coloured words, and STEM.json instead of pictures. Tables [text] and [signal] in M.toml say how the model takes them.
With several targets STEM.TARGET.png and so on; a .npy of several samples gives STEM.SAMPLE.png for each.
report.json tells the classes, sums of relevance, conservation by layer, device and timings; with --report, report.html
shows it all in a browser, and report.html#overlay=0.3&sign=positive&open=all begins that way. Files are written whole or not
at all: a run that was interrupted goes on with --resume.

M.toml beside M.onnx says how the model wants its photos; the options of the same names go before it. A pixel v of
0..255 becomes (v * scale - mean) / std.

Exit code 0: all went well; 1: something failed, the rest is written; 2: the arguments make no sense.";

/// Whether to write colours.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether standard output gets colours.
    pub fn wanted(self) -> bool {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let dumb = set("TERM").is_some_and(|term| term == "dumb");
                set("NO_COLOR").is_none() && !dumb && std::io::stdout().is_terminal()
            }
        }
    }
}

#[derive(Args)]
pub struct ModelArgs {
    /// The network, an ONNX file. Without it, the built-in SqueezeNet 1.1 for ImageNet
    #[arg(long, short, value_name = "M.onnx")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub description: DescriptionArgs,
}

#[derive(Args)]
#[command(next_help_heading = "How the model wants its input")]
pub struct DescriptionArgs {
    /// Defaults for the options below: imagenet, caffe or raw
    #[arg(long)]
    preset: Option<Preset>,
    /// Height and width, such as 224 or 224x320
    #[arg(long)]
    size: Option<Size>,
    /// Length of the photo's shorter side before its middle is cropped
    #[arg(long, value_name = "PIXELS")]
    resize: Option<usize>,
    /// crop, letterbox or stretch
    #[arg(long)]
    fit: Option<Fit>,
    /// rgb, bgr or grey
    #[arg(long)]
    channels: Option<Channels>,
    /// Factor of a pixel's value
    #[arg(long, allow_hyphen_values = true)]
    scale: Option<f64>,
    /// What is subtracted: one number, or one for each channel
    #[arg(long, allow_hyphen_values = true)]
    mean: Option<PerChannel>,
    /// What is divided by: one number, or one for each channel
    #[arg(long)]
    std: Option<PerChannel>,
    /// The classes' names, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<String>,
    /// The size of an axis that the ONNX file leaves open (may be given several times)
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    dims: Vec<(String, usize)>,
}

impl DescriptionArgs {
    /// The options as a description.
    pub fn description(&self) -> ModelDescription {
        ModelDescription {
            preset: self.preset,
            size: self.size,
            resize: self.resize,
            fit: self.fit,
            channels: self.channels,
            scale: self.scale,
            mean: self.mean.clone(),
            std: self.std.clone(),
            labels: self.labels.clone().map(LabelSource::File),
            sample_rate: None,
            text: None,
            signal: None,
            fill: Default::default(),
            dims: self.dims.iter().cloned().collect(),
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Rules")]
pub struct RuleArgs {
    #[arg(long, short, value_name = "NAME[:PARAMS]", allow_hyphen_values = true, help = composite_help())]
    pub composite: Option<String>,
    /// Another rule for the first linear layer, such as zbox:-2.5,2.5
    #[arg(long, value_name = "RULE[:PARAMS]")]
    pub first: Option<String>,
    /// Smallest and largest input value, for the box rule. Default: what black and white become
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = bounds)]
    pub bounds: Option<(f64, f64)>,
    /// Leave biases out of the rules' denominators
    #[arg(long)]
    pub zero_bias: bool,
    /// How much of what biases and stabilisers take recurrent layers hand on, and dense layers under the epsilon rule: 0 none,
    /// 1 all, so that relevance is conserved. Default: the composite's, 0 in most
    #[arg(long, value_name = "FACTOR")]
    pub bias_factor: Option<f64>,
    /// How sums of branches share: norm, in proportion to the branches' values; bounded, to their magnitudes, which cannot blow
    /// up; shortcut or branch, all to the one with the fewest or most layers; gradient, all to each. Default: the
    /// composite's, norm in most
    #[arg(long, value_name = "HOW", value_parser = residual)]
    pub residual: Option<ResidualRule>,
    /// What batch normalisation does that cannot be merged into a layer, as between ReLU and convolution: pass, hand relevance
    /// on; epsilon, the epsilon rule, in which its shift absorbs; gradient. Default: the composite's, pass in most
    #[arg(long, value_name = "HOW", value_parser = normalisation)]
    pub normalisation: Option<NormalisationRule>,
}

fn composite_help() -> String {
    let names = Composite::preset_names().join(", ");
    format!(
        "Which layer gets which rule: a TOML file, or one of {names}. Default: epsilon-gamma-box where the range of input \
         values is known, else epsilon-plus"
    )
}

#[derive(Args)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// Where to run; auto is the GPU if there is a hardware adapter, else the CPU
    #[arg(long, value_enum, default_value_t = BackendArg::Auto)]
    backend: BackendArg,
    /// Floats to compute in: f32; f64, on the CPU; f16, on the GPU: weights and activations are stored in 16 bits and summed
    /// in 32
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    precision: PrecisionArg,
    /// Samples in a run. Default: 1; 16 where methods or metrics make variants of samples
    #[arg(long, value_name = "N", value_parser = positive)]
    batch: Option<usize>,
    /// The GPU adapter whose name contains this
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
}

impl DeviceArgs {
    pub fn backend(&self) -> Backend {
        self.backend.into()
    }

    pub fn precision(&self) -> Precision {
        self.precision.into()
    }

    /// Samples in a run; `variants` says whether samples are made into several.
    pub fn batch(&self, variants: bool) -> usize {
        self.batch.unwrap_or(if variants { VARIANTS } else { 1 })
    }
}

/// Variants of samples in a run, unless the arguments say otherwise.
const VARIANTS: usize = 16;

#[derive(Args)]
pub struct RunArgs {
    /// The network, an ONNX file
    pub model: PathBuf,
    /// The inputs, batch first; NAME= may be left out when they are in the network's order
    #[arg(long = "input", short, value_name = "[NAME=]X.npy", required = true, num_args = 1..)]
    pub inputs: Vec<String>,
    /// The folder for results; each output is written as NAME.npy
    #[arg(long, short, default_value = "relprop-out")]
    pub out: PathBuf,
    /// The size of an axis that the ONNX file leaves open (may be given several times)
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    pub dims: Vec<(String, usize)>,
    /// Print warnings and errors only
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Args)]
pub struct InspectArgs {
    /// The network, an ONNX file. Without it, the built-in SqueezeNet 1.1
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub description: DescriptionArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
    /// Batch size for the memory
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive, help_heading = "Memory")]
    pub batch: usize,
    /// Floats for the memory
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32, help_heading = "Memory")]
    pub precision: PrecisionArg,
}

#[derive(Args)]
#[command(after_help = CHECK_HELP)]
pub struct CheckArgs {
    /// The network, an ONNX file. Without it, the built-in SqueezeNet 1.1
    pub model: Option<PathBuf>,
    /// A picture or .npy array; NAME=X.npy for each input of a network with several. Without any, the built-in sample photo
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<String>,
    #[command(flatten)]
    pub description: DescriptionArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
    /// What to explain, as in `relprop explain`
    #[arg(long, short, default_value = "best", help_heading = "Target")]
    pub target: String,
    /// The output to explain, when there are several
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub output: Option<String>,
    /// Where float32 runs; float64 runs on the CPU
    #[arg(long, value_enum, default_value_t = BackendArg::Auto, help_heading = "Device")]
    backend: BackendArg,
    /// The GPU adapter whose name contains this
    #[arg(long, value_name = "NAME", help_heading = "Device")]
    pub adapter: Option<String>,
    /// Show every layer, not only those where something happens
    #[arg(long, help_heading = "Results")]
    pub all: bool,
    /// Print JSON
    #[arg(long, help_heading = "Results")]
    pub json: bool,
}

const CHECK_HELP: &str = "\
Sums are of one sample, as parts of what the output starts with. \"comes\" is the relevance of a layer's output, \"leaves\"
what it hands to its inputs, \"bias\" what its bias absorbed and \"rest\" what is missing then: the stabiliser has it, or a
denominator that is 0. \"|out| ÷ |in|\" compares sums of magnitudes: far above 1, the layer divides by sums near 0.
The exit code is 1 where relevance is not finite.";

impl CheckArgs {
    pub fn backend(&self) -> Backend {
        self.backend.into()
    }
}

#[derive(Args)]
#[command(after_help = BENCH_HELP)]
pub struct BenchArgs {
    #[arg(value_name = "MODEL", help = architectures_help())]
    pub model: String,
    /// Which layer gets which rule: a preset, or a TOML file
    #[arg(long, short, value_name = "NAME[:PARAMS]", default_value = "epsilon-plus", allow_hyphen_values = true)]
    pub composite: String,
    /// Explain that many classes at once, those with the largest outputs
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = positive)]
    pub targets: usize,
    /// Height and width of a built-in architecture's input
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = positive)]
    pub size: usize,
    /// The size of an axis that the ONNX file leaves open (may be given several times)
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    pub dims: Vec<(String, usize)>,
    /// Rounds; by default as many as take about ten seconds, at least 3
    #[arg(long, value_name = "N", value_parser = positive)]
    pub runs: Option<usize>,
    /// Measure on several devices in turn, such as cpu,gpu
    #[arg(long, value_enum, value_delimiter = ',', value_name = "B,B", conflicts_with = "backend")]
    compare: Vec<BackendArg>,
    /// Show what the plan dispatches and the least that is needed; needs no device and runs nothing
    #[arg(long, conflicts_with_all = ["compare", "error", "layers", "runs"])]
    pub plan: bool,
    /// Compare maps and outputs with float64 on the CPU; with --precision f16 that is always done
    #[arg(long)]
    pub error: bool,
    /// Show the 20 slowest steps too
    #[arg(long)]
    pub layers: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

const BENCH_HELP: &str = "\
Forward pass and explanation run in turn; times are medians. The device's peak is what it reaches in matrix products of the
best of several sizes, in the same run. Inputs are random, between -3 and 3; a box rule without bounds gets these.
GFLOP/s counts 2 for each multiply-add that is dispatched, padding included, and bytes once for each buffer that a kernel
reads or writes, at 4 a value whatever the precision. Errors are the largest difference from float64 on the CPU, as a part
of the largest value; rms is the same of root mean squares.";

fn architectures_help() -> String {
    let names: Vec<&str> = relprop::architectures::ARCHITECTURES.iter().map(|a| a.name).collect();
    format!("An ONNX file, or an architecture with random weights: {}", names.join(", "))
}

impl BenchArgs {
    /// Where to measure, in turn.
    pub fn backends(&self) -> Vec<Backend> {
        if self.compare.is_empty() {
            return vec![self.device.backend()];
        }
        self.compare.iter().map(|b| Backend::from(*b)).collect()
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Seed {
    /// The output's own value: relevance sums to it
    Logit,
    /// 1
    One,
}

impl Seed {
    pub fn amount(self) -> SeedAmount {
        match self {
            Seed::Logit => SeedAmount::Logit,
            Seed::One => SeedAmount::One,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Seed::Logit => "logit",
            Seed::One => "one",
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum BackendArg {
    Auto,
    Gpu,
    Cpu,
}

impl From<BackendArg> for Backend {
    fn from(backend: BackendArg) -> Backend {
        match backend {
            BackendArg::Auto => Backend::Auto,
            BackendArg::Gpu => Backend::Gpu,
            BackendArg::Cpu => Backend::Cpu,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum PrecisionArg {
    F16,
    F32,
    F64,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Precision {
        match precision {
            PrecisionArg::F16 => Precision::F16,
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::F64 => Precision::F64,
        }
    }
}

pub fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "give a whole number of at least 1".to_string())
}

pub fn percent(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|p| (0.0..=100.0).contains(p)).ok_or_else(|| "give a number from 0 to 100".to_string())
}

fn dim(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.split_once('=').ok_or("give NAME=SIZE")?;
    Ok((name.to_string(), positive(size)?))
}

fn residual(text: &str) -> Result<ResidualRule, String> {
    let at = ResidualRule::NAMES.iter().position(|name| *name == text);
    at.map(|i| ResidualRule::ALL[i]).ok_or_else(|| format!("it can be: {}", ResidualRule::NAMES.join(", ")))
}

fn normalisation(text: &str) -> Result<NormalisationRule, String> {
    let at = NormalisationRule::NAMES.iter().position(|name| *name == text);
    at.map(|i| NormalisationRule::ALL[i]).ok_or_else(|| format!("it can be: {}", NormalisationRule::NAMES.join(", ")))
}

fn bounds(text: &str) -> Result<(f64, f64), String> {
    let wrong = || "give two numbers, LOW,HIGH, the first the smaller".to_string();
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    let number = |t: &str| t.trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(wrong);
    let (low, high) = (number(low)?, number(high)?);
    if low < high { Ok((low, high)) } else { Err(wrong()) }
}
