//! What methods run on.

use crate::error::{Error, Result};
use crate::explain::{Backend, Device, DeviceInfo, Explainer, Explanation, Precision, Predictor, Target};
use crate::methods::{Method, cam};
use crate::network::{Dim, Network, ValueId};
use crate::plan::{ConservationDetail, SeedAmount};
use crate::rules::Composite;
use crate::tensor::{Real, Tensor};

/// Explainers that are kept: each holds the weights in the forms that its rules need.
const KEPT: usize = 3;
/// Variants of samples are made and run this many batches at a time: enough to keep a device busy, few enough for memory.
const TOGETHER: usize = 4;

/// Runs [`Method`]s on a network: what they need, explainers and the forward pass, is built when it is first needed, on one
/// device, and kept.
///
/// ```
/// use relprop::methods::{Method, Runner};
/// use relprop::{Network, Target, Tensor};
///
/// # fn main() -> relprop::Result<()> {
/// let mut net = Network::builder("sum of three");
/// let x = net.input("x", &[3]);
/// let y = net.dense("y", x, Tensor::from_f32([1, 3], vec![1.0, -2.0, 0.5])?, None)?;
/// net.output(y);
/// let mut runner = Runner::new(&net.build()?)?.batch(8);
/// let x = Tensor::from_f32([1, 3], vec![1.0, 2.0, 4.0])?;
/// let method: Method = "integrated-gradients:50".parse()?;
/// let found = runner.explain(&method, &[x], &[Target::Best])?;
/// let relevance = found.targets[0].relevance[0].to_vec::<f64>();
/// assert!(relevance.iter().zip([1.0, -4.0, 2.0]).all(|(r, want)| (r - want).abs() < 1e-5));
/// # Ok(())
/// # }
/// ```
pub struct Runner {
    network: Network,
    output: ValueId,
    backend: Backend,
    precision: Precision,
    adapter: Option<String>,
    batch: usize,
    conservation: ConservationDetail,
    device: Option<Device>,
    /// The latest last.
    explainers: Vec<(Key, Built<Explainer>)>,
    forward: Option<Built<Predictor>>,
    /// The latest forward pass to other tensors.
    inner: Option<(Vec<ValueId>, Built<Predictor>)>,
}

/// Something that runs batches. It is built for as many samples as come, up to the runner's batch, and anew when more come: a
/// batch that samples do not fill takes as long as a full one.
struct Built<T> {
    /// Samples in a run that were asked for; a device may hold fewer.
    batch: usize,
    runs: T,
}

/// What tells explainers apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub composite: Composite,
    pub seed: SeedAmount,
    /// Tensors inside the network whose relevance is wanted too.
    pub layers: Vec<ValueId>,
}

impl Runner {
    /// A runner for a network's first output, with the defaults of [`Explainer::builder`], but without conservation sums.
    ///
    /// # Errors
    /// [`Error::Input`] when the network has no output.
    pub fn new(network: &Network) -> Result<Runner> {
        let none = || Error::Input(format!("{} has no output", network.name()));
        Ok(Runner {
            network: network.clone(),
            output: *network.outputs().first().ok_or_else(none)?,
            backend: Backend::Auto,
            precision: Precision::F32,
            adapter: None,
            batch: 1,
            conservation: ConservationDetail::None,
            device: None,
            explainers: Vec::new(),
            forward: None,
            inner: None,
        })
    }

    /// Where to run.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The floats to compute in.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The GPU adapter whose name contains this.
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.adapter = Some(name.into());
        self
    }

    /// Samples in a run at most, at least 1. Noisy copies, steps and masked copies fill a batch too.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// The output to explain, when the network has several.
    pub fn output(mut self, output: ValueId) -> Self {
        self.output = output;
        self
    }

    /// What sums of relevance are taken at every layer by methods that hand relevance on.
    pub fn conservation(mut self, detail: impl Into<ConservationDetail>) -> Self {
        self.conservation = detail.into();
        self
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The tensor that is explained: what the output is made of, where it ends in a softmax.
    pub(crate) fn explained(&self) -> ValueId {
        self.network.explained(self.output)
    }

    /// Another network in the place of this one, of the same tensors with other weights, on the same device.
    pub fn with_network(&self, network: &Network) -> Runner {
        Runner {
            network: network.clone(),
            adapter: self.adapter.clone(),
            device: self.device.clone(),
            explainers: Vec::new(),
            forward: None,
            inner: None,
            ..*self
        }
    }

    /// Builds what a method needs for that many samples, so that what it cannot do is told before the work. Gives the batch
    /// size it runs at: what was asked for, or less where the samples are fewer or the device could not hold it.
    ///
    /// # Errors
    /// As [`ExplainerBuilder::build`](crate::explain::ExplainerBuilder::build).
    pub fn prepare(&mut self, method: &Method, samples: usize) -> Result<usize> {
        let all = samples.saturating_mul(method.points(&self.network));
        let batch = match method.key(&self.network, self.output)? {
            Some(key) => self.explainer(&key, all)?.batch(),
            None => self.forward(all)?.batch(),
        };
        Ok(match method {
            Method::GradCam { layer } => batch.min(cam::prepare(layer.as_deref(), false, self, samples)?),
            Method::GuidedGradCam { layer } => batch.min(cam::prepare(layer.as_deref(), true, self, samples)?),
            _ => batch,
        })
    }

    /// The output that is explained.
    pub(crate) fn output_id(&self) -> ValueId {
        self.output
    }

    /// Where it runs, and why there.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no such device.
    pub fn device(&mut self) -> Result<DeviceInfo> {
        Ok(self.opened()?.info)
    }

    /// Explains samples by a method, as [`Explainer::explain`] does.
    ///
    /// # Errors
    /// As [`Method`] says of it, and as [`Explainer::explain`].
    pub fn explain(&mut self, method: &Method, inputs: &[Tensor], targets: &[Target]) -> Result<Explanation> {
        method.explain(self, inputs, targets)
    }

    /// The values of the explained output for samples, samples first: the logits where the network ends in a softmax
    /// ([`Network::explained`]).
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub fn predict(&mut self, inputs: &[Tensor]) -> Result<Tensor> {
        let samples = self.samples(inputs)?;
        let mut outputs = self.forward(samples)?.run(inputs)?;
        match outputs.pop() {
            Some((name, output)) => match output.first_non_finite() {
                None => Ok(output),
                Some(_) => Err(Error::Input(format!("the output \"{name}\" is not finite: try float64 on the CPU"))),
            },
            None => Err(Error::Input(format!("{} has no output", self.network.name()))),
        }
    }

    /// The explained output, all of its values, at `points` variants of each of the samples: sample by sample, and of each one
    /// point after the other. `variant(sample, point, input, values)` writes the sample's values of an input at a point;
    /// `values` begin as zeros. `take(sample, point, output)` gets what came of it. `T` is what the values are handed over in:
    /// f64 for a runner of that precision, f32 for others; another one is converted. They run in full batches, whatever the
    /// numbers of samples and points, a few of them in memory at a time.
    ///
    /// # Errors
    /// As [`Runner::predict`].
    pub fn outputs_of_variants<T: Real>(
        &mut self,
        inputs: &[Tensor],
        points: usize,
        mut variant: impl FnMut(usize, usize, usize, &mut [T]),
        mut take: impl FnMut(usize, usize, &[f64]),
    ) -> Result<()> {
        let samples = self.samples(inputs)?;
        let all = samples * points;
        let together = (TOGETHER * self.forward(all)?.batch()).max(1);
        for first in (0..all).step_by(together) {
            let range = first..(first + together).min(all);
            let of = |(i, input): (usize, &Tensor)| {
                let len = input.len() / samples;
                let mut values = vec![T::ZERO; len * range.len()];
                for (at, values) in range.clone().zip(values.chunks_mut(len.max(1))) {
                    variant(at / points, at % points, i, values);
                }
                let mut shape = input.shape().to_vec();
                if let Some(rows) = shape.first_mut() {
                    *rows = *rows / samples * range.len();
                }
                Tensor::new(shape, T::data(values))
            };
            let made = inputs.iter().enumerate().map(of).collect::<Result<Vec<_>>>()?;
            let output = self.predict(&made)?.to_vec::<f64>();
            for (at, row) in range.clone().zip(output.chunks((output.len() / range.len()).max(1))) {
                take(at / points, at % points, row);
            }
        }
        Ok(())
    }

    /// How many samples inputs hold.
    ///
    /// # Errors
    /// [`Error::Input`] when they do not fit the network.
    pub fn samples(&self, inputs: &[Tensor]) -> Result<usize> {
        let axis = self.network.inputs().first().and_then(|input| self.network.value(*input).shape.first());
        let rows = match axis {
            Some(Dim::Batch(rows)) => *rows,
            Some(Dim::Fixed(rows)) => rows / self.network.fixed_batch(self.explained()).unwrap_or(1).max(1),
            None => 1,
        };
        let given = inputs.first().and_then(|input| input.shape().first()).copied().unwrap_or(0);
        match given / rows.max(1) {
            0 => Err(Error::Input(format!("{}: no samples", self.network.name()))),
            samples => Ok(samples),
        }
    }

    /// Variants of samples that run in a row: a few batches.
    pub(crate) fn together(&self) -> usize {
        TOGETHER * self.batch
    }

    /// The explainer of that key, for that many samples.
    pub(crate) fn explainer(&mut self, key: &Key, samples: usize) -> Result<&mut Explainer> {
        let at = self.explainers.iter().position(|(k, _)| k == key);
        let kept = at.map(|at| self.explainers.remove(at));
        let made = match kept.filter(|(_, built)| built.batch >= self.wanted(samples)) {
            Some(made) => made,
            None => {
                if self.explainers.len() >= KEPT {
                    self.explainers.remove(0);
                }
                let (device, batch) = (self.opened()?, self.wanted(samples));
                let detail = if key.seed == SeedAmount::Logit { self.conservation } else { ConservationDetail::None };
                let builder = Explainer::builder(&self.network, key.composite.clone())
                    .batch(batch)
                    .output(self.output)
                    .layers(key.layers.clone())
                    .seed(key.seed)
                    .conservation(detail);
                (key.clone(), Built { batch, runs: builder.build_on(device)? })
            }
        };
        self.explainers.push(made);
        match self.explainers.last_mut() {
            Some((_, built)) => Ok(&mut built.runs),
            None => Err(Error::Input("no explainer".to_string())),
        }
    }

    /// The forward pass to some of the network's tensors, for that many samples; the latest is kept.
    pub(crate) fn forward_to(&mut self, values: &[ValueId], samples: usize) -> Result<&mut Predictor> {
        let kept = self.inner.take().filter(|(kept, _)| kept == values).map(|(_, built)| built);
        let built = self.built(kept, values, samples)?;
        Ok(&mut self.inner.insert((values.to_vec(), built)).1.runs)
    }

    /// The forward pass to what is explained, for that many samples.
    fn forward(&mut self, samples: usize) -> Result<&mut Predictor> {
        let (kept, explained) = (self.forward.take(), self.explained());
        let built = self.built(kept, &[explained], samples)?;
        Ok(&mut self.forward.insert(built).runs)
    }

    /// A forward pass that is kept, or one for more samples.
    fn built(
        &mut self,
        kept: Option<Built<Predictor>>,
        values: &[ValueId],
        samples: usize,
    ) -> Result<Built<Predictor>> {
        let batch = self.wanted(samples);
        match kept.filter(|built| built.batch >= batch) {
            Some(built) => Ok(built),
            None => {
                let runs = Predictor::on(self.opened()?, &self.network.with_outputs(values)?, batch)?;
                Ok(Built { batch, runs })
            }
        }
    }

    /// The batch for that many samples.
    fn wanted(&self, samples: usize) -> usize {
        self.batch.min(samples.max(1))
    }

    /// The device, opened when it is first needed.
    fn opened(&mut self) -> Result<Device> {
        let device = match self.device.take() {
            Some(mut device) => {
                device.reopen_if_lost()?;
                device
            }
            None => Device::open(self.backend, self.precision, self.adapter.as_deref())?,
        };
        Ok(self.device.insert(device).clone())
    }
}

/// The inputs of several points, behind each other: the samples of the first point, those of the second.
pub(crate) fn variants(
    inputs: &[Tensor],
    range: std::ops::Range<usize>,
    variant: impl Fn(usize, usize) -> Vec<f64>,
) -> Result<Vec<Tensor>> {
    let of = |(i, input): (usize, &Tensor)| {
        let mut shape = input.shape().to_vec();
        if let Some(rows) = shape.first_mut() {
            *rows *= range.len();
        }
        Tensor::from_f64(shape, range.clone().flat_map(|k| variant(k, i)).collect())
    };
    inputs.iter().enumerate().map(of).collect()
}

/// A target of some samples for `times` variants of each.
pub(crate) fn repeated(target: &Target, times: usize) -> Target {
    match target {
        Target::Each(indices) => Target::Each(indices.repeat(times)),
        other => other.clone(),
    }
}
