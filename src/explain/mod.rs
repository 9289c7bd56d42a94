//! What users of the library call: an [`Explainer`] for a network and a composite, [`Target`]s, [`Explanation`]s.

mod conservation;
mod device;
mod explanation;
mod machine;
mod predictor;
mod target;

use std::time::Instant;

pub use conservation::{Conservation, LayerConservation, LayerDetail};
pub use device::{Backend, DeviceInfo, Precision};
pub use explanation::{Explanation, TargetExplanation, Timings};
pub use predictor::Predictor;
pub use target::Target;
pub(crate) use target::{score, scores};

use crate::error::{Error, Result};
use crate::network::{Network, ValueId};
use crate::plan::{ConservationDetail, Plan, PlanOptions, SeedAmount, SeedRequest};
use crate::rules::Composite;
use crate::tensor::Tensor;
pub(crate) use device::Device;
use machine::{Batch, Machine, Work};

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
    composite: Composite,
    seed: SeedAmount,
    machine: Machine,
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
        &self.machine.device().info
    }

    /// The batch size it runs at: what was asked for, or less where the device could not hold it.
    pub fn batch(&self) -> usize {
        self.machine.plan().batch
    }

    /// Bytes it has taken on the device; none once the device has failed for good.
    pub fn memory(&self) -> Memory {
        let (weights, buffers) = self.machine.memory();
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
        if targets.len() > 1 {
            self.machine.prepare_for_several_targets()?;
        }
        let (start, seed) = (Instant::now(), self.seed);
        let explanations = self.machine.retry(|machine| in_batches(machine, inputs, targets, seed))?;
        explanation::join(explanations, Timings { build: self.machine.took(), run: start.elapsed() })
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
        self.machine.plan()
    }

    /// Runs the first batch of `inputs` and gives the time of each step of the plan.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub fn profile(&mut self, inputs: &[Tensor], targets: &[Target]) -> Result<crate::plan::Timings> {
        let batches = self.machine.batches(inputs)?;
        let Some(batch) = batches.first() else { return Ok(crate::plan::Timings::default()) };
        check_targets(&self.machine, targets, batch.samples)?;
        let requests = requests(targets, self.seed, 0, batch.samples, self.machine.plan().batch);
        Ok(self.machine.executor()?.run_timed(&batch.inputs, &requests)?.1)
    }
}

/// An explanation for each batch.
fn in_batches(
    machine: &mut Machine,
    inputs: &[Tensor],
    targets: &[Target],
    seed: SeedAmount,
) -> Result<Vec<Explanation>> {
    let batches = machine.batches(inputs)?;
    check_targets(machine, targets, batches.iter().map(|b| b.samples).sum())?;
    let size = machine.plan().batch;
    let mut explanations = Vec::new();
    let requests = |batch: &Batch, first| requests(targets, seed, first, batch.samples, size);
    machine.run(&batches, requests, |plan, run, first, count| {
        explanations.push(explanation::from_run(plan, &run, targets, seed, first..first + count)?);
        Ok(())
    })?;
    Ok(explanations)
}

fn check_targets(machine: &Machine, targets: &[Target], samples: usize) -> Result<()> {
    let (plan, network) = (machine.plan(), machine.network());
    let port = &plan.outputs[0];
    let values = port.shape.iter().product::<usize>() / plan.batch;
    targets.iter().try_for_each(|target| target.check(values, samples, &port.name))?;
    if targets.iter().any(Target::is_of_one_class) && network.outlier_score(machine.options().output).is_none() {
        let what = "outlier and inlier are targets of one-class support vector machines with the RBF kernel";
        return Err(Error::Target(format!("{}: {what}, which this network is not", network.name())));
    }
    Ok(())
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
        let options = PlanOptions {
            batch: self.batch,
            output,
            layers: self.layers,
            conservation: self.conservation,
            several_targets: self.several_targets,
        };
        let work = Work::Explain(self.composite.clone());
        let machine = Machine::new(self.network, work, options, device)?;
        Ok(Explainer { composite: self.composite, seed: self.seed, machine })
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

#[cfg(test)]
mod tests;
