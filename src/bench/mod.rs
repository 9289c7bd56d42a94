//! Measuring how fast explanations are, and what bounds them.
//!
//! [`Session`] holds everything that is measured on one device; [`measure`] runs one or several in turn and gives a
//! [`Report`] for each. [`plan_report`] says what a plan dispatches beside the least that is needed, without any device.

mod accuracy;
mod probe;
mod process;
mod profile;

use std::time::Instant;

use serde::Serialize;

pub use accuracy::Accuracy;
pub use probe::Peak;
pub use profile::{KernelTime, StepTime};

use crate::error::{Error, Result};
use crate::explain::{Backend, DeviceInfo, Explainer, Precision, Predictor, Target, memory};
use crate::network::{Network, ValueId};
use crate::plan::{Cost, Plan, PlanOptions};
use crate::random;
use crate::rules::Composite;
use crate::tensor::Tensor;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Samples; those of a network whose file fixes them where that is so.
    pub batch: usize,
    /// Targets of each explanation: the classes with the largest outputs.
    pub targets: usize,
    /// Where.
    pub backend: Backend,
    /// The floats.
    pub precision: Precision,
    /// The GPU adapter whose name contains this.
    pub adapter: Option<String>,
    /// Whether outputs and maps are compared with float64 on the CPU; with float16 they always are.
    pub error: bool,
}

/// What a plan dispatches in a run, and the least that the network and the rules need.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlanReport {
    /// Samples in a run.
    pub batch: usize,
    /// Of an explanation.
    pub dispatched: Cost,
    /// Of an explanation.
    pub least: Cost,
    /// Multiply-adds dispatched over the least.
    pub multiply_add_ratio: f64,
    /// Bytes read and written over the least.
    pub byte_ratio: f64,
    /// Of the forward pass alone.
    pub forward_dispatched: Cost,
    /// Of the forward pass alone.
    pub forward_least: Cost,
    /// What the following bytes are counted for: `f16`, `f32` or `f64`. Costs count 4 bytes a value whatever it is.
    pub precision: &'static str,
    /// Bytes of weights, in every form that the rules need.
    pub weight_bytes: u64,
    /// Bytes of activations, relevance and constants.
    pub buffer_bytes: u64,
}

/// What was measured on one device. Times are medians over rounds in which forward pass and explanation take turns.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The network.
    pub model: String,
    /// The composite.
    pub composite: String,
    /// Samples.
    pub batch: usize,
    /// Targets.
    pub targets: usize,
    /// `cpu` or `gpu`.
    pub backend: &'static str,
    /// The adapter's name, or the CPU's number of threads.
    pub adapter: String,
    /// The GPU's driver.
    pub driver: String,
    /// How far outputs and maps are from float64, where that was asked for.
    #[serde(flatten)]
    pub accuracy: Option<Accuracy>,
    /// Rounds.
    pub rounds: usize,
    /// Milliseconds of the forward pass alone.
    pub forward_ms: f64,
    /// Milliseconds of an explanation, its forward pass included.
    pub explain_ms: f64,
    /// Shortest and longest forward pass.
    pub forward_range_ms: [f64; 2],
    /// Shortest and longest explanation.
    pub explain_range_ms: [f64; 2],
    /// `explain_ms / forward_ms`.
    pub ratio: f64,
    /// Samples explained in a second.
    pub images_per_s: f64,
    /// 2 · multiply-adds dispatched · 10⁻⁹ in a second of explaining.
    pub gflops: f64,
    /// As `gflops`, of the forward pass alone.
    pub forward_gflops: f64,
    /// What the device reached in a matrix product.
    pub peak: Peak,
    /// `gflops` as a part of the peak.
    pub peak_fraction: f64,
    /// The process's peak memory while the explainer was built and first run, where the system tells; else what the device
    /// holds. The network's own weights are in it, and so are sessions that were built before.
    pub peak_memory_bytes: u64,
    /// Weights and buffers on the device.
    pub device_memory_bytes: u64,
    /// Bytes that an explanation moves between host and device: inputs, outputs, relevance.
    pub bus_bytes: u64,
    /// Milliseconds that planning, preparing weights and compiling took.
    pub build_ms: f64,
    /// What is dispatched in one run. `batch` samples take [`Report::runs`] of them.
    pub plan: PlanReport,
    /// Runs of the plan that the samples take.
    pub runs: usize,
    /// Time of each kernel in one run; empty when the device cannot tell.
    pub kernels: Vec<KernelTime>,
    /// Time of each step in one run, the slowest first; empty when the device cannot tell.
    pub steps: Vec<StepTime>,
}

/// A forward pass and an explainer that are ready to run, with their inputs.
pub struct Session {
    model: String,
    composite: String,
    options: Options,
    predictor: Predictor,
    explainer: Explainer,
    inputs: Vec<Tensor>,
    targets: Vec<Target>,
    plan: PlanReport,
    process_peak: Option<u64>,
    accuracy: Option<Accuracy>,
    build_ms: f64,
    peak: Peak,
    forward_ms: Vec<f64>,
    explain_ms: Vec<f64>,
}

/// What a run dispatches and the least that is needed, for a network's first output. Needs no device.
///
/// # Errors
/// As [`Plan::explain`].
pub fn plan_report(
    network: &Network,
    composite: &Composite,
    batch: usize,
    targets: usize,
    precision: Precision,
) -> Result<PlanReport> {
    let options = PlanOptions {
        batch,
        output: first_output(network)?,
        layers: Vec::new(),
        conservation: false.into(),
        several_targets: targets > 1,
    };
    let plan = Plan::explain(network, composite, &options)?;
    let forward = Plan::forward(network, batch)?;
    let (dispatched, least) = (plan.cost(targets), Cost::least_explain(network, composite, &options, targets)?);
    let memory = memory(&plan, precision);
    Ok(PlanReport {
        batch: plan.batch,
        dispatched,
        least,
        multiply_add_ratio: dispatched.multiply_adds as f64 / least.multiply_adds.max(1) as f64,
        byte_ratio: dispatched.bytes() as f64 / least.bytes().max(1) as f64,
        forward_dispatched: forward.cost(0),
        forward_least: Cost::least_forward(network, batch)?,
        precision: precision.name(),
        weight_bytes: memory.weights,
        buffer_bytes: memory.buffers,
    })
}

/// Measures sessions in turn: after what [`Session::new`] has run, `rounds` rounds of a forward pass and an explanation on
/// each. Without `rounds` they go on for about ten seconds, at least 3 and at most 30 of them. At the end one more run tells
/// the time of each step.
///
/// # Errors
/// As [`Explainer::explain`].
pub fn measure(mut sessions: Vec<Session>, rounds: Option<usize>) -> Result<Vec<Report>> {
    let start = Instant::now();
    let mut done = 0;
    let more = |done: usize| match rounds {
        Some(rounds) => done < rounds.max(1),
        None => done < 3 || (done < 30 && start.elapsed().as_secs_f64() < 10.0),
    };
    while more(done) {
        for session in &mut sessions {
            session.round()?;
        }
        done += 1;
    }
    sessions.into_iter().map(Session::report).collect()
}

impl Session {
    /// Builds the explainer, runs it once (that gives the peak memory and warms it up), then the forward pass, and measures
    /// the device's matrix product. Inputs are random, between −3 and 3; a box rule without bounds gets these.
    ///
    /// # Errors
    /// As [`ExplainerBuilder::build`](crate::explain::ExplainerBuilder::build); [`Error::Target`] for more targets than the
    /// output has values.
    pub fn new(network: &Network, composite: Composite, options: Options) -> Result<Session> {
        let output = first_output(network)?;
        let composite = with_bounds(composite)?;
        let batch = network.fixed_batch(output).unwrap_or(options.batch);
        let inputs = inputs(network, batch)?;
        let options = Options { batch, ..options };
        let targets: Vec<Target> = (0..options.targets.max(1)).map(Target::Top).collect();
        let peak = probe::measure(&options)?;

        process::reset_peak();
        let start = Instant::now();
        let mut builder = Explainer::builder(network, composite.clone())
            .backend(options.backend)
            .precision(options.precision)
            .batch(batch)
            .conservation(false)
            .several_targets(targets.len() > 1);
        if let Some(adapter) = &options.adapter {
            builder = builder.adapter(adapter);
        }
        let mut explainer = builder.build()?;
        let build_ms = start.elapsed().as_secs_f64() * 1e3;
        let explanation = explainer.explain(&inputs, &targets)?;
        let process_peak = process::peak();
        let compared = options.error || options.precision == Precision::F16;
        let accuracy = compared.then(|| accuracy::measure(network, &composite, &inputs, &explanation)).transpose()?;

        let (backend, precision) = (options.backend, options.precision);
        let mut predictor = Predictor::new(network, explainer.batch(), backend, precision, options.adapter.as_deref())?;
        predictor.run(&inputs)?;
        let plan = plan_report(network, &composite, explainer.batch(), targets.len(), precision)?;
        Ok(Session {
            model: network.name().to_string(),
            composite: composite.name().to_string(),
            options,
            predictor,
            explainer,
            inputs,
            targets,
            plan,
            process_peak,
            accuracy,
            build_ms,
            peak,
            forward_ms: Vec::new(),
            explain_ms: Vec::new(),
        })
    }

    /// Where it runs, and why there.
    pub fn device(&self) -> &DeviceInfo {
        self.explainer.device()
    }

    fn round(&mut self) -> Result<()> {
        let start = Instant::now();
        self.predictor.run(&self.inputs)?;
        self.forward_ms.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        self.explainer.explain(&self.inputs, &self.targets)?;
        self.explain_ms.push(start.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    fn report(mut self) -> Result<Report> {
        let timings = self.explainer.profile(&self.inputs, &self.targets)?;
        let plan = self.explainer.plan();
        let (kernels, steps) = profile::tables(plan, &timings);
        let (forward_ms, explain_ms) = (median(&self.forward_ms), median(&self.explain_ms));
        let runs = self.options.batch.div_ceil(plan.batch.max(1));
        let gflops = |cost: Cost, ms: f64| 2e-6 * (cost.multiply_adds * runs as u64) as f64 / ms;
        let info = self.explainer.device();
        let memory = self.explainer.memory();
        let on_gpu = info.backend == Backend::Gpu;
        let values =
            |ports: &[crate::plan::Port]| ports.iter().map(|p| p.shape.iter().product::<usize>()).sum::<usize>();
        let moved = values(&plan.inputs) + values(&plan.outputs) + values(&plan.relevances) * self.targets.len();
        let device_memory_bytes = memory.weights + memory.buffers;
        let explain_gflops = gflops(self.plan.dispatched, explain_ms);
        Ok(Report {
            model: self.model,
            composite: self.composite,
            batch: self.options.batch,
            targets: self.targets.len(),
            backend: if on_gpu { "gpu" } else { "cpu" },
            adapter: info.adapter.clone(),
            driver: info.driver.clone(),
            accuracy: self.accuracy,
            rounds: self.explain_ms.len(),
            forward_ms,
            explain_ms,
            forward_range_ms: range(&self.forward_ms),
            explain_range_ms: range(&self.explain_ms),
            ratio: explain_ms / forward_ms,
            images_per_s: 1e3 * self.options.batch as f64 / explain_ms,
            gflops: explain_gflops,
            forward_gflops: gflops(self.plan.forward_dispatched, forward_ms),
            peak: self.peak,
            peak_fraction: explain_gflops / self.peak.gflops,
            peak_memory_bytes: self.process_peak.unwrap_or(device_memory_bytes),
            device_memory_bytes,
            bus_bytes: if on_gpu { (moved * runs * 4) as u64 } else { 0 },
            build_ms: self.build_ms,
            plan: self.plan,
            runs,
            kernels,
            steps,
        })
    }
}

/// Bounds of the random inputs, for box rules that have none of their own.
pub fn with_bounds(composite: Composite) -> Result<Composite> {
    let bounds = crate::rules::Bounds::uniform(-LIMIT, LIMIT)?;
    Ok(if composite.takes_bounds() { composite.with_bounds(bounds) } else { composite })
}

/// No input is larger.
const LIMIT: f64 = 3.0;

fn inputs(network: &Network, batch: usize) -> Result<Vec<Tensor>> {
    let whole = network.whole_inputs()?;
    let tensor = |(i, id): (usize, &ValueId)| {
        let shape: Vec<usize> = network.value(*id).shape.iter().map(|d| d.at(batch)).collect();
        let len = shape.iter().product();
        // Ids and lengths: as large as they may be, what takes the most time. Several layers may read them.
        let largest = whole.iter().filter(|w| w.input == *id).map(|w| w.high).reduce(f64::min);
        if let Some(largest) = largest {
            return Tensor::from_i64(shape, vec![largest as i64; len]);
        }
        Tensor::from_f32(shape, random::normal(u64::MAX - i as u64, len, LIMIT / 3.5))
    };
    network.inputs().iter().enumerate().map(tensor).collect()
}

fn first_output(network: &Network) -> Result<ValueId> {
    let missing = || Error::Input(format!("{} has no output", network.name()));
    network.outputs().first().copied().ok_or_else(missing)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}

fn range(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::INFINITY, 0.0], |[low, high], v| [v.min(low), v.max(high)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(range(&[2.0, 1.0, 3.0]), [1.0, 3.0]);
    }

    #[test]
    fn random_inputs_stay_inside_the_bounds() {
        let network = crate::architectures::by_name("squeezenet").unwrap().build(64).unwrap();
        let inputs = inputs(&network, 2).unwrap();
        assert_eq!(inputs[0].shape(), [2, 3, 64, 64]);
        assert!(inputs[0].to_vec::<f64>().iter().all(|v| v.abs() < LIMIT));
    }
}
