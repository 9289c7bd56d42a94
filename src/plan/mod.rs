//! From a network and a composite to the steps an executor runs.
//!
//! A [`Plan`] is made once for a network, a composite and a batch size. It lists every kernel launch and every buffer;
//! executors ([`cpu`](crate::cpu), [`gpu`](crate::gpu)) know nothing of networks or rules.

mod build;
mod check;
mod cost;
mod distances;
mod facts;
mod forward;
mod fuse;
mod least;
mod lifetime;
mod linear;
mod planner;
mod quotient_step;
mod recurrent;
mod recurrent_step;
mod relevance;
mod sliding;
mod step;
mod uses;

use std::sync::Arc;

use crate::network::AxisMap;
use crate::rules::WeightForm;
use crate::tensor::Tensor;

pub use build::{ConservationDetail, PlanOptions};
pub use cost::Cost;
pub use quotient_step::{Contribution, Divide, Epsilon, Piece, Quotient, Share, Sign};
pub use recurrent_step::{Embedding, Recurrence, Recurrent, RecurrentAdjoint};
pub(crate) use sliding::Sliding;
pub use step::*;

/// Everything an executor needs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of samples in a run.
    pub batch: usize,
    /// Logical buffers. Several may share a slot, never at the same time.
    pub buffers: Vec<Buffer>,
    /// Physical memory, one entry an allocation.
    pub slots: Vec<Slot>,
    /// Weights, to be prepared once.
    pub weights: Vec<Weight>,
    /// Buffers whose values are known when the plan is made; they stay as they are.
    pub constants: Vec<Constant>,
    /// Run once, when the executor is built: denominators that do not depend on the input.
    pub prologue: Vec<Step>,
    /// Run once a batch.
    pub forward: Vec<Step>,
    /// Run once a batch and target, after `forward`; begins with the seed. Empty in a plan for the forward pass alone.
    pub backward: Vec<Step>,
    /// Where the network's inputs go, in order.
    pub inputs: Vec<Port>,
    /// Those of them that hold whole numbers: ids and lengths.
    pub whole: Vec<Whole>,
    /// What is read back after `forward`: for an explanation the explained output alone, else every output.
    pub outputs: Vec<Port>,
    /// What is read back after each `backward`: relevance of the inputs, then of the layers asked for.
    pub relevances: Vec<Port>,
    /// The table of sums (rows × batch) that `backward` fills for the conservation report; read back after it.
    pub sums: Option<BufferId>,
    /// Number of rows of `sums`.
    pub sum_rows: usize,
    /// Which rows of `sums` say what came to a layer and what it handed on, in the order of the backward pass.
    pub layer_sums: Vec<LayerSums>,
}

/// Rows of the table of sums for one layer.
#[derive(Clone, Debug)]
pub struct LayerSums {
    /// The layer's name.
    pub layer: String,
    /// Its op.
    pub op: &'static str,
    /// Its rule.
    pub rule: String,
    /// Row of what came to its output.
    pub arriving: usize,
    /// Rows of what it handed to its inputs.
    pub leaving: Vec<usize>,
    /// More, where it was asked for.
    pub detail: Option<LayerDetail>,
}

/// Rows of the table of sums that tell more of a layer.
#[derive(Clone, Debug)]
pub struct LayerDetail {
    /// Rows of what the bias absorbed: `Σ b·s` of each share `s = R/st(z)`.
    pub bias: Vec<usize>,
    /// Row of the sum of magnitudes that came to its output.
    pub arriving: usize,
    /// Rows of the sums of magnitudes that it handed to its inputs.
    pub leaving: Vec<usize>,
}

/// A logical buffer.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Number of values.
    pub len: usize,
    /// Where it lives.
    pub slot: usize,
    /// For messages.
    pub label: String,
}

/// A piece of memory that logical buffers take in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Number of values it can hold.
    pub len: usize,
    /// What the values are.
    pub element: Element,
}

/// The type of a buffer's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Floats of the executor's precision.
    Real,
    /// 32-bit unsigned integers.
    Index,
}

/// Weights in the form a rule wants them.
#[derive(Clone, Debug)]
pub struct Weight {
    /// As the network has them, `M × C/groups × kernel…`.
    pub tensor: Arc<Tensor>,
    /// What is done to each value.
    pub form: WeightForm,
}

/// A buffer with known values.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The buffer.
    pub buffer: BufferId,
    /// Its values.
    pub values: Arc<[f64]>,
}

/// A buffer that crosses the border of a run.
#[derive(Clone, Debug)]
pub struct Port {
    /// Name of the network's tensor.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The buffer.
    pub buffer: BufferId,
}

/// An input of whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// Which of the plan's inputs.
    pub input: usize,
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
    /// The layer that reads it.
    pub layer: String,
}

/// What the relevance of one sample's output starts as.
#[derive(Clone, Debug, PartialEq)]
pub enum SeedRequest {
    /// `amount` at the value that has exactly `rank` values before it when sorted by falling value, then by rising index;
    /// 0 elsewhere. Rank 0 is the best class.
    Rank {
        /// 0 is the largest.
        rank: usize,
        /// How much.
        amount: SeedAmount,
    },
    /// `amount` at a flat index of the sample's output, 0 elsewhere.
    Index {
        /// Flat index.
        index: usize,
        /// How much.
        amount: SeedAmount,
    },
    /// `amount` at one index and `−amount` at another.
    Contrast {
        /// Flat index that gets `amount`.
        toward: usize,
        /// Flat index that gets `−amount`.
        against: usize,
        /// How much.
        amount: SeedAmount,
    },
    /// `−amount` at a flat index of the sample's output, 0 elsewhere.
    Negated {
        /// Flat index.
        index: usize,
        /// How much.
        amount: SeedAmount,
    },
    /// `amount` at each of these flat indices; one that is named twice counts once.
    Sum {
        /// Flat indices.
        indices: Arc<[usize]>,
        /// How much.
        amount: SeedAmount,
    },
    /// Any values, as many as a sample's output has.
    Vector(Arc<[f64]>),
}

/// How much relevance a seed puts at its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeedAmount {
    /// The output's own value there.
    Logit,
    /// 1.
    One,
}

/// What a run brought back.
#[derive(Clone, Debug)]
pub struct RunOutput {
    /// The plan's outputs, in order.
    pub outputs: Vec<Tensor>,
    /// For each target, what its backward pass gave.
    pub targets: Vec<TargetOutput>,
}

/// What one backward pass gave.
#[derive(Clone, Debug)]
pub struct TargetOutput {
    /// The plan's relevances, in order.
    pub relevances: Vec<Tensor>,
    /// The plan's table of sums, rows × batch; empty if it has none.
    pub sums: Vec<f64>,
}

/// Runs a plan.
pub trait Executor: Send {
    /// Runs the forward pass on `inputs` (the plan's, in order, each of its port's shape), then one backward pass for each
    /// entry of `targets`, a list with one request for each sample of the batch.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device fails.
    fn run(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> crate::Result<RunOutput>;

    /// As [`run`](Executor::run), with the time each step took. A device that cannot tell gives no times.
    ///
    /// # Errors
    /// As [`run`](Executor::run).
    fn run_timed(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> crate::Result<(RunOutput, Timings)>;

    /// Begins a [`run`](Executor::run), whose results [`collect`](Executor::collect) brings. Only the last two can be
    /// collected: with one batch begun before the one before it is collected, a device computes while the host moves data.
    ///
    /// # Errors
    /// As [`run`](Executor::run).
    fn submit(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> crate::Result<Ticket>;

    /// Waits for a run that was begun.
    ///
    /// # Errors
    /// As [`run`](Executor::run); [`Error::Input`](crate::Error::Input) when two runs have begun since, or another executor
    /// gave the ticket.
    fn collect(&mut self, ticket: Ticket) -> crate::Result<RunOutput>;

    /// Bytes of weights and of buffers that it has taken. [`Plan::memory`] is the same beforehand for a graphics card; where
    /// linear kernels read weights in another order on the way back than on the way forward, they are there twice.
    fn memory(&self) -> (u64, u64);
}

/// A run under way, to be [collected](Executor::collect).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its results are lost unless it is collected"]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of a run with this number.
    pub(crate) fn new(number: u64) -> Ticket {
        Ticket(number)
    }

    /// The run's number.
    pub(crate) fn number(&self) -> u64 {
        self.0
    }

    /// What is wrong when there is no such run.
    pub(crate) fn unknown() -> crate::Error {
        let what = "this run cannot be collected: two have begun since, or another executor's ticket was given";
        crate::Error::Input(what.to_string())
    }
}

/// Seconds each step of a run took.
#[derive(Clone, Debug, Default)]
pub struct Timings {
    /// For each step of [`Plan::forward`]; empty when the device cannot tell.
    pub forward: Vec<f64>,
    /// For each target, for each step of [`Plan::backward`].
    pub backward: Vec<Vec<f64>>,
}

impl Plan {
    /// Bytes of weights and of buffers at `bytes` bytes a float.
    pub fn memory(&self, bytes: usize) -> (u64, u64) {
        let weights = self.weights.iter().map(|w| w.tensor.len() as u64 * bytes as u64).sum();
        let size = |s: &Slot| s.len as u64 * if s.element == Element::Real { bytes as u64 } else { 4 };
        (weights, self.slots.iter().map(size).sum())
    }

    /// The slot of a buffer.
    pub fn slot(&self, buffer: BufferId) -> usize {
        self.buffers[buffer.0].slot
    }
}
