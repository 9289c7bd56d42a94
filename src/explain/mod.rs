//! What users of the library call: an [`Explainer`] for a network and a composite, [`Target`]s, [`Explanation`]s.

mod conservation;
mod device;
mod explanation;
mod target;

use std::time::{Duration, Instant};

pub use conservation::{Conservation, LayerConservation, LayerDetail};
pub use device::{Backend, DeviceInfo, Precision};
pub use explanation::{Explanation, TargetExplanation, Timings};
pub use target::Target;
pub(crate) use target::scores;

use crate::error::{Error, Result};
use crate::network::{Network, ValueId};
use crate::plan::{ConservationDetail, Executor, Plan, PlanOptions, Port, RunOutput, SeedAmount, SeedRequest};
use crate::rules::Composite;
use crate::tensor::Tensor;
pub(crate) use device::Device;

/// Explains a network's decisions. Built once for a network, a composite, a backend and a batch size; runs many times.
///
/// ```
/// use relprop::{Backend, Composite, Conv, Explainer, Network, Target, Tensor};
///
/// # fn main() -> relprop::Result<()> {
/// let mut net = Network::builder("tiny");
/// let x = net.input("x", &[1, 4, 4]);
/// let w = Tensor::from_f32([2, 1, 3, 3], (0..18).map(|i| (i as f32).sin()).collect())?;
/// let y = net.conv("conv", x, Conv::new(w, None).padding(1))?;
/// let y = net.relu("relu", y)?;
/// let y = net.global_average_pool("mean", y)?;
/// let y = net.flatten("flat", y)?;
/// net.output(y);
/// let net = net.build()?;
///
/// let composite = Composite::parse("epsilon-plus")?;
/// let mut explainer = Explainer::builder(&net, composite).backend(Backend::Cpu).build()?;
/// let x = Tensor::from_f32([1, 1, 4, 4], (0..16).map(|i| i as f32 / 16.0).collect())?;
/// let explanation = explainer.explain(&[x], &[Target::Best])?;
/// let heatmap = &explanation.targets[0].relevance[0];
/// assert_eq!(heatmap.shape(), [1, 1, 4, 4]);
/// # Ok(())
/// # }
/// ```
pub struct Explainer {
    network: Network,
    composite: Composite,
    options: PlanOptions,
    seed: SeedAmount,
    device: Device,
    built: Built,
}

/// Options of an [`Explainer`].
pub struct ExplainerBuilder<'a> {
    network: &'a Network,
    composite: Composite,
    backend: Backend,
    precision: Precision,
    adapter: Option<String>,
    batch: usize,
    output: Option<ValueId>,
    layers: Vec<ValueId>,
    seed: SeedAmount,
    conservation: ConservationDetail,
    several_targets: bool,
}

/// Bytes that a plan takes on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Weights, in every form that the rules need.
    pub weights: u64,
    /// Activations, relevance and constants.
    pub buffers: u64,
}

/// A plan with its executor.
struct Built {
    plan: Plan,
    /// None once the device has failed for good.
    executor: Option<Box<dyn Executor>>,
    took: Duration,
}

impl Explainer {
    /// Starts an explainer: backend chosen automatically, float32, batch size 1, the network's first output.
    pub fn builder(network: &Network, composite: Composite) -> ExplainerBuilder<'_> {
        ExplainerBuilder {
            network,
            composite,
            backend: Backend::Auto,
            precision: Precision::F32,
            adapter: None,
            batch: 1,
            output: None,
            layers: Vec::new(),
            seed: SeedAmount::Logit,
            conservation: ConservationDetail::Sums,
            several_targets: false,
        }
    }

    /// Where it runs, and why there.
    pub fn device(&self) -> &DeviceInfo {
        &self.device.info
    }

    /// The batch size it runs at: what was asked for, or less where the device could not hold it.
    pub fn batch(&self) -> usize {
        self.built.plan.batch
    }

    /// Bytes it has taken on the device; none once the device has failed for good.
    pub fn memory(&self) -> Memory {
        let (weights, buffers) = self.built.executor.as_ref().map_or((0, 0), |executor| executor.memory());
        Memory { weights, buffers }
    }

    /// Explains samples.
    ///
    /// `inputs` are the network's inputs in order, each with any number of samples along its batch axis; they run in
    /// batches. Each of `targets` gets relevance maps of its own; they share the forward pass.
    ///
    /// # Errors
    /// [`Error::Input`] when inputs do not fit or hold NaN or infinity, [`Error::Target`] for a target that the output does
    /// not have, [`Error::Range`] for activations that float16 cannot hold, [`Error::Device`] when the device fails.
    pub fn explain(&mut self, inputs: &[Tensor], targets: &[Target]) -> Result<Explanation> {
        if targets.is_empty() {
            return Err(Error::Target("no target to explain".to_string()));
        }
        if targets.len() > 1 && !self.options.several_targets {
            self.options.several_targets = true;
            self.options.batch = self.built.plan.batch;
            self.built = build(&self.device, &mut self.options, |options| {
                Plan::explain(&self.network, &self.composite, options)
            })?;
        }
        let start = Instant::now();
        let explanations = loop {
            match self.explain_in_batches(inputs, targets) {
                Err(error) => self.recover(error)?,
                done => break done?,
            }
        };
        explanation::join(explanations, Timings { build: self.built.took, run: start.elapsed() })
    }

    /// An explanation for each batch.
    fn explain_in_batches(&mut self, inputs: &[Tensor], targets: &[Target]) -> Result<Vec<Explanation>> {
        let plan = &self.built.plan;
        let batches = batches(&plan.inputs, inputs, plan.batch, self.network.name())?;
        let samples = batches.iter().map(|b| b.samples).sum();
        self.check_targets(targets, samples)?;
        let seed = self.seed;
        let mut explanations = Vec::new();
        let mut take = |run: RunOutput, first: usize, count: usize| {
            explanations.push(explanation::from_run(plan, &run, targets, seed, first..first + count)?);
            Ok(())
        };
        let requests = |batch: &Batch, first| requests(targets, seed, first, batch.samples, plan.batch);
        let executor = running(&mut self.built.executor)?;
        in_batches(executor, &batches, plan.batch, requests, &mut take)?;
        Ok(explanations)
    }

    fn check_targets(&self, targets: &[Target], samples: usize) -> Result<()> {
        let port = &self.built.plan.outputs[0];
        let values = port.shape.iter().product::<usize>() / self.built.plan.batch;
        targets.iter().try_for_each(|target| target.check(values, samples, &port.name))?;
        if targets.iter().any(Target::is_of_one_class) && self.network.outlier_score(self.options.output).is_none() {
            let what = "outlier and inlier are targets of one-class support vector machines with the RBF kernel";
            return Err(Error::Target(format!("{}: {what}, which this network is not", self.network.name())));
        }
        Ok(())
    }

    /// Prepares for another try after an error that fewer samples at once may avoid: full memory, or a device that was lost,
    /// as it is when a batch keeps it busy for too long. Gives other errors back.
    fn recover(&mut self, error: Error) -> Result<()> {
        let full = matches!(error, Error::Memory { .. });
        let batch = self.built.plan.batch;
        if batch < 2 || !(full || self.device.reopen_if_lost()?) {
            return Err(error);
        }
        self.options.batch = batch / 2;
        // Before the new one is built: there may not be room for both.
        self.built.executor = None;
        self.built =
            build(&self.device, &mut self.options, |options| Plan::explain(&self.network, &self.composite, options))?;
        // A network may fix its batch: then there is nothing to gain.
        if self.built.plan.batch < batch { Ok(()) } else { Err(error) }
    }

    /// The rules it explains by.
    pub fn composite(&self) -> &Composite {
        &self.composite
    }

    /// What relevance starts with.
    pub fn seed(&self) -> SeedAmount {
        self.seed
    }

    /// The plan it runs.
    pub fn plan(&self) -> &Plan {
        &self.built.plan
    }

    /// Runs the first batch of `inputs` and gives the time of each step of the plan.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub fn profile(&mut self, inputs: &[Tensor], targets: &[Target]) -> Result<crate::plan::Timings> {
        let plan = &self.built.plan;
        let batches = batches(&plan.inputs, inputs, plan.batch, self.network.name())?;
        let Some(batch) = batches.first() else { return Ok(crate::plan::Timings::default()) };
        self.check_targets(targets, batch.samples)?;
        let requests = requests(targets, self.seed, 0, batch.samples, plan.batch);
        Ok(running(&mut self.built.executor)?.run_timed(&batch.inputs, &requests)?.1)
    }
}

/// What each target asks of each sample of a run; `samples` are real, the first of them is number `first` of all.
fn requests(targets: &[Target], seed: SeedAmount, first: usize, samples: usize, batch: usize) -> Vec<Vec<SeedRequest>> {
    // The samples that fill up the last batch get the target of the last one.
    let sample = |k: usize| first + k.min(samples - 1);
    targets.iter().map(|t| (0..batch).map(|k| t.request(seed, sample(k))).collect()).collect()
}

impl<'a> ExplainerBuilder<'a> {
    /// Where to run.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Float32, float64 on the CPU, or on the GPU float16 for weights and activations.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The GPU adapter whose name contains this.
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.adapter = Some(name.into());
        self
    }

    /// Samples in a run. More samples run in several batches; a batch that the device cannot hold is halved.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// The output to explain, when the network has several.
    pub fn output(mut self, output: ValueId) -> Self {
        self.output = Some(output);
        self
    }

    /// Tensors inside the network whose relevance is wanted too ([`Network::find`] gives their ids).
    pub fn layers(mut self, layers: Vec<ValueId>) -> Self {
        self.layers = layers;
        self
    }

    /// How much relevance a target starts with: its own value (the default), or 1.
    pub fn seed(mut self, seed: SeedAmount) -> Self {
        self.seed = seed;
        self
    }

    /// What sums of relevance are taken at every layer: true (the default), false, or a [`ConservationDetail`].
    pub fn conservation(mut self, detail: impl Into<ConservationDetail>) -> Self {
        self.conservation = detail.into();
        self
    }

    /// Prepares for several targets at once. Without it the first run with several prepares anew.
    pub fn several_targets(mut self, several: bool) -> Self {
        self.several_targets = several;
        self
    }

    /// Plans, opens the device, prepares weights, compiles.
    ///
    /// # Errors
    /// As [`Plan::explain`]; [`Error::Device`] when there is no such device, or it lacks the precision; [`Error::Range`] for
    /// weights that float16 cannot hold; [`Error::Memory`] when even one sample does not fit.
    pub fn build(self) -> Result<Explainer> {
        let device = Device::open(self.backend, self.precision, self.adapter.as_deref())?;
        self.build_on(device)
    }

    /// The same on a device that is open.
    pub(crate) fn build_on(self, device: Device) -> Result<Explainer> {
        let output = self.output.or_else(|| self.network.outputs().first().copied());
        let output = output.ok_or_else(|| Error::Input(format!("{} has no output", self.network.name())))?;
        let mut options = PlanOptions {
            batch: self.batch,
            output,
            layers: self.layers,
            conservation: self.conservation,
            several_targets: self.several_targets,
        };
        let built = build(&device, &mut options, |options| Plan::explain(self.network, &self.composite, options))?;
        let (network, composite) = (self.network.clone(), self.composite);
        Ok(Explainer { network, composite, options, seed: self.seed, device, built })
    }
}

/// The forward pass alone.
pub struct Predictor {
    name: String,
    device: Device,
    built: Built,
}

impl Predictor {
    /// Prepares the forward pass of a network.
    ///
    /// # Errors
    /// As [`ExplainerBuilder::build`].
    pub fn new(
        network: &Network,
        batch: usize,
        backend: Backend,
        precision: Precision,
        adapter: Option<&str>,
    ) -> Result<Predictor> {
        Predictor::on(Device::open(backend, precision, adapter)?, network, batch)
    }

    /// The same on a device that is open.
    pub(crate) fn on(device: Device, network: &Network, batch: usize) -> Result<Predictor> {
        // A forward plan needs the batch alone.
        let output =
            *network.outputs().first().ok_or_else(|| Error::Input(format!("{} has no output", network.name())))?;
        let mut options =
            PlanOptions { batch, output, layers: Vec::new(), conservation: false.into(), several_targets: false };
        let built = build(&device, &mut options, |options| Plan::forward(network, options.batch))?;
        Ok(Predictor { name: network.name().to_string(), device, built })
    }

    /// The batch size it runs at: what was asked for, or less where the device could not hold it.
    pub fn batch(&self) -> usize {
        self.built.plan.batch
    }

    /// Where it runs, and why there.
    pub fn device(&self) -> &DeviceInfo {
        &self.device.info
    }

    /// How many samples inputs hold, by the first of them.
    ///
    /// # Errors
    /// [`Error::Input`] when they do not fit.
    pub fn samples(&self, inputs: &[Tensor]) -> Result<usize> {
        let plan = &self.built.plan;
        let rows = plan.inputs.first().and_then(|port| port.shape.first()).map_or(1, |n| n / plan.batch).max(1);
        let given = inputs.first().and_then(|input| input.shape().first()).copied().unwrap_or(0);
        match given / rows {
            0 => Err(Error::Input(format!("{}: no samples", self.name))),
            samples => Ok(samples),
        }
    }

    /// Runs samples; gives each of the network's outputs with its name.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<(String, Tensor)>> {
        let plan = &self.built.plan;
        let batches = batches(&plan.inputs, inputs, plan.batch, &self.name)?;
        let mut outputs: Vec<Vec<Tensor>> = vec![Vec::new(); plan.outputs.len()];
        let executor = running(&mut self.built.executor)?;
        in_batches(executor, &batches, plan.batch, |_, _| Vec::new(), &mut |run, _, count| {
            for ((all, tensor), port) in outputs.iter_mut().zip(run.outputs).zip(&plan.outputs) {
                all.push(explanation::samples(tensor, port, plan.batch, count)?);
            }
            Ok(())
        })?;
        let named = plan.outputs.iter().zip(outputs);
        named.map(|(port, parts)| Ok((port.name.clone(), Tensor::stack_rows(&parts)?))).collect()
    }
}

/// Bytes that explaining a network takes on a graphics card at a batch size, without building anything.
///
/// On the CPU and on software adapters [`Explainer::memory`] is more: they hold the weights in two orders.
///
/// # Errors
/// As [`Plan::explain`].
pub fn estimate_memory(network: &Network, composite: &Composite, batch: usize, precision: Precision) -> Result<Memory> {
    let output = *network.outputs().first().ok_or_else(|| Error::Input(format!("{} has no output", network.name())))?;
    let options = PlanOptions { batch, output, layers: Vec::new(), conservation: true.into(), several_targets: false };
    Ok(memory(&Plan::explain(network, composite, &options)?, precision))
}

pub(crate) fn memory(plan: &Plan, precision: Precision) -> Memory {
    let (weights, buffers) = match precision {
        Precision::F16 => crate::gpu::memory(plan, true),
        _ => plan.memory(precision.bytes()),
    };
    Memory { weights, buffers }
}

/// The executor, if the device has not failed for good.
fn running(executor: &mut Option<Box<dyn Executor>>) -> Result<&mut dyn Executor> {
    match executor {
        Some(executor) => Ok(executor.as_mut()),
        None => Err(Error::Device("the device failed before and did not come back; build it anew".to_string())),
    }
}

/// Runs batches, each begun before the results of the one before it are taken: the device computes meanwhile.
///
/// `requests` gives the targets of a batch that begins at a sample; `take` gets what a batch brought, its first sample and
/// its number of samples.
fn in_batches(
    executor: &mut dyn Executor,
    batches: &[Batch],
    size: usize,
    requests: impl Fn(&Batch, usize) -> Vec<Vec<SeedRequest>>,
    take: &mut dyn FnMut(RunOutput, usize, usize) -> Result<()>,
) -> Result<()> {
    let mut under_way = None;
    for (i, batch) in batches.iter().enumerate() {
        let first = i * size;
        let ticket = executor.submit(&batch.inputs, &requests(batch, first))?;
        if let Some((ticket, first, count)) = under_way.replace((ticket, first, batch.samples)) {
            take(executor.collect(ticket)?, first, count)?;
        }
    }
    match under_way {
        Some((ticket, first, count)) => take(executor.collect(ticket)?, first, count),
        None => Ok(()),
    }
}

/// Plans and prepares, with the batch halved as long as it does not fit.
fn build(device: &Device, options: &mut PlanOptions, make: impl Fn(&PlanOptions) -> Result<Plan>) -> Result<Built> {
    let start = Instant::now();
    loop {
        let made = make(options).and_then(|plan| {
            // What is tried next; a network that fixes its batch is not tried twice.
            options.batch = options.batch.min(plan.batch);
            Ok((device.executor(plan.clone())?, plan))
        });
        match made {
            Ok((executor, plan)) => return Ok(Built { plan, executor: Some(executor), took: start.elapsed() }),
            Err(Error::Memory { .. }) if options.batch > 1 => options.batch = options.batch.div_ceil(2),
            Err(error) => return Err(error),
        }
    }
}

/// Inputs of one run.
struct Batch {
    inputs: Vec<Tensor>,
    /// How many of the samples are real; the rest repeats the last.
    samples: usize,
}

/// Splits inputs into runs of the plan's batch size.
fn batches(ports: &[Port], inputs: &[Tensor], batch: usize, network: &str) -> Result<Vec<Batch>> {
    let fail = |what: String| Err(Error::Input(format!("{network}: {what}")));
    if inputs.len() != ports.len() {
        let names: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
        return fail(format!("takes {} inputs ({}), not {}", ports.len(), names.join(", "), inputs.len()));
    }
    let mut samples = None;
    for (port, input) in ports.iter().zip(inputs) {
        let wanted = || {
            let axes: Vec<String> = port.shape.iter().skip(1).map(usize::to_string).collect();
            let rows = port.shape.first().map_or(0, |n| n / batch.max(1));
            let first = if rows == 1 { "N".to_string() } else { format!("{rows}N") };
            std::iter::once(first).chain(axes).collect::<Vec<_>>().join("×")
        };
        let rows = port.shape.first().copied().unwrap_or(1) / batch;
        let given = input.shape().first().copied().unwrap_or(0);
        let fits = input.shape().len() == port.shape.len()
            && input.shape().get(1..) == port.shape.get(1..)
            && rows > 0
            && given > 0
            && given % rows == 0;
        if !fits {
            return fail(format!("input \"{}\" has shape {:?}; it must be {}", port.name, input.shape(), wanted()));
        }
        if let Some(at) = input.first_non_finite() {
            let per_sample = input.len() / (given / rows);
            return fail(format!(
                "input \"{}\" holds NaN or infinity: sample {}, value {}",
                port.name,
                at / per_sample,
                at % per_sample
            ));
        }
        match samples {
            None => samples = Some(given / rows),
            Some(n) if n == given / rows => {}
            Some(n) => return fail(format!("input \"{}\" has {} samples, others have {n}", port.name, given / rows)),
        }
    }
    let samples = samples.unwrap_or(0);
    (0..samples)
        .step_by(batch)
        .map(|start| {
            let end = (start + batch).min(samples);
            let part = |(port, input): (&Port, &Tensor)| -> Result<Tensor> {
                let rows = port.shape[0] / batch;
                let mut parts = vec![input.rows(start * rows, end * rows)?];
                let last = input.rows((end - 1) * rows, end * rows)?;
                parts.extend(std::iter::repeat_n(last, batch - (end - start)));
                if parts.len() == 1 { Ok(parts.swap_remove(0)) } else { Tensor::stack_rows(&parts) }
            };
            let inputs = ports.iter().zip(inputs).map(part).collect::<Result<Vec<_>>>()?;
            Ok(Batch { inputs, samples: end - start })
        })
        .collect()
}

#[cfg(test)]
mod tests;
