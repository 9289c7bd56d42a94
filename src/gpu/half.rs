//! Which of a plan's values a device stores as float16, and what happens to those that do not fit.
//!
//! With [`GpuOptions::float16`](super::GpuOptions::float16) these take 2 bytes instead of 4:
//! - weights in every form but W², whose small values float16 would lose;
//! - activations: what the forward pass both writes and reads.
//!
//! Sums, quotients and functions are computed in float32 all the same. Float32 stays
//! - what crosses the border of a run: inputs, outputs, seeds, relevance and sums of it;
//! - relevance and R / st(z) inside a run: they span more orders of magnitude than float16, which ends at 65504 and has less
//!   than its 11 bits below 6e-5, nothing below 6e-8;
//! - what max pooling chooses from, back to where it was computed: rounded, values become equal that are not, and all
//!   relevance goes to another one (`benches/REJECTED.md` has what that costs);
//! - ids and lengths, which are whole numbers, and what recurrent layers compute;
//! - constants with what the prologue makes of them, and denominators that the backward pass alone reads;
//! - what is added up over several dispatches.
//!
//! A weight beyond 65504 is an error when the executor is built. An activation beyond it is stored as 65504 and noted in a
//! word of its buffer's own, which comes back with the outputs and makes the run an error.

use super::device::AdapterInfo;
use crate::error::{Error, Result};
use crate::plan::{BufferId, Direction, Element, Epilogue, Plan, Step};
use crate::rules::WeightForm;

/// Bytes of a float16.
const HALF: usize = 2;

/// Bytes of a float32 or an index.
const WORD: usize = 4;

/// What to do about a value that does not fit.
const HELP: &str = "take --precision f32";

/// Which buffers and weights of a plan are float16.
#[derive(Debug)]
pub(super) struct Halves {
    /// For each buffer, its place among those that are.
    buffers: Vec<Option<usize>>,
    /// For each weight, whether it is.
    weights: Vec<bool>,
    /// The slot of each buffer, and the bytes of each slot.
    slots: Vec<usize>,
    slot_bytes: Vec<u64>,
}

/// Bytes of weights and of buffers that a plan takes on a device, with float16 where that is sound or without any.
pub fn memory(plan: &Plan, float16: bool) -> (u64, u64) {
    Halves::of(plan, float16).memory(plan)
}

/// Fails on an adapter whose shaders have no 16-bit floats.
pub(super) fn require(info: &AdapterInfo) -> Result<()> {
    if info.float16 {
        return Ok(());
    }
    let what = format!("{} ({}, {}) has no 16-bit floats in shaders", info.name, info.backend, info.driver);
    Err(Error::Device(format!("{what}; {HELP}, a newer driver or another adapter (relprop devices shows them)")))
}

impl Halves {
    /// What of a plan is float16: nothing, unless it is wanted.
    pub fn of(plan: &Plan, wanted: bool) -> Halves {
        let mut halves = Halves {
            buffers: vec![None; plan.buffers.len()],
            weights: vec![false; plan.weights.len()],
            slots: plan.buffers.iter().map(|buffer| buffer.slot).collect(),
            slot_bytes: plan.slots.iter().map(|slot| (slot.len * WORD) as u64).collect(),
        };
        if !wanted {
            return halves;
        }
        halves.weights = plan.weights.iter().map(|weight| weight.form != WeightForm::Square).collect();
        let mut stored = vec![false; plan.buffers.len()];
        let mut read = stored.clone();
        let mut wide = pooled(plan);
        wide.extend(counted(plan));
        for step in &plan.forward {
            step.reads().iter().for_each(|buffer| read[buffer.0] = true);
            if stores_halves(step) {
                step.writes().iter().for_each(|buffer| stored[buffer.0] = true);
            } else {
                wide.extend(step.writes());
            }
        }
        wide.extend(plan.prologue.iter().chain(&plan.backward).flat_map(Step::writes));
        wide.extend(plan.inputs.iter().chain(&plan.outputs).chain(&plan.relevances).map(|port| port.buffer));
        wide.extend(plan.constants.iter().map(|constant| constant.buffer).chain(plan.sums));
        wide.iter().for_each(|buffer| stored[buffer.0] = false);
        let mut count = 0..;
        for (i, buffer) in plan.buffers.iter().enumerate() {
            if stored[i] && read[i] && plan.slots[buffer.slot].element == Element::Real {
                halves.buffers[i] = count.next();
            }
        }
        // The plan's own slots would be as large as the widest buffer in each.
        (halves.slots, halves.slot_bytes) = plan.pack(|buffer| halves.buffer_bytes(plan, buffer));
        halves
    }

    /// Whether a buffer is float16.
    pub fn buffer(&self, buffer: BufferId) -> bool {
        self.buffers[buffer.0].is_some()
    }

    /// Whether a weight is.
    pub fn weight(&self, weight: usize) -> bool {
        self.weights[weight]
    }

    /// Bytes of a buffer.
    pub fn buffer_bytes(&self, plan: &Plan, buffer: BufferId) -> u64 {
        let width = if self.buffer(buffer) { HALF } else { WORD };
        (plan.buffers[buffer.0].len * width) as u64
    }

    /// The slot of a buffer.
    pub fn slot(&self, buffer: BufferId) -> usize {
        self.slots[buffer.0]
    }

    /// Bytes of each slot, with the name of a buffer in it.
    pub fn slots<'p>(&self, plan: &'p Plan) -> Vec<(u64, &'p str)> {
        let mut slots: Vec<_> = self.slot_bytes.iter().map(|bytes| (*bytes, "")).collect();
        for (buffer, slot) in plan.buffers.iter().zip(&self.slots) {
            slots[*slot].1 = &buffer.label;
        }
        slots
    }

    /// Bytes of weights and of buffers.
    pub fn memory(&self, plan: &Plan) -> (u64, u64) {
        let weights = plan.weights.iter().zip(&self.weights);
        let weights = weights.map(|(weight, half)| weight.tensor.len() * if *half { HALF } else { WORD });
        (weights.sum::<usize>() as u64, self.slot_bytes.iter().sum())
    }

    /// Where the word of a float16 buffer lies that notes values too large for it; `align` bytes lie between two words.
    pub fn overflow_at(&self, buffer: BufferId, align: u64) -> u64 {
        self.buffers[buffer.0].unwrap_or(0) as u64 * align
    }

    /// Bytes of all those words; 0 where nothing is float16.
    pub fn overflow_bytes(&self, align: u64) -> u64 {
        self.buffers.iter().flatten().count() as u64 * align
    }

    /// Fails when the words say that a value was too large, naming the first buffer that has one.
    pub fn check(&self, plan: &Plan, words: &[u32], align: u64) -> Result<()> {
        let noted = |i: &usize| {
            self.buffers[*i].is_some() && {
                let at = self.overflow_at(BufferId(*i), align) as usize / WORD;
                words.get(at).is_some_and(|word| *word != 0)
            }
        };
        // In the order of the forward pass: what comes later may be too large because of it.
        let written = plan.forward.iter().flat_map(Step::writes).map(|buffer| buffer.0);
        match written.into_iter().find(noted) {
            Some(first) => Err(too_large(format!("values of {}", plan.buffers[first].label))),
            None => Ok(()),
        }
    }
}

/// What is wrong with values beyond the largest float16.
pub(super) fn too_large(what: String) -> Error {
    Error::Range { what: format!("{what} are beyond 65504, the largest float16"), help: HELP.to_string() }
}

/// The buffers that max pooling chooses from, and those whose values come to it as they are.
fn pooled(plan: &Plan) -> Vec<BufferId> {
    let mut pooled = Vec::new();
    for step in plan.forward.iter().rev() {
        match step {
            Step::MaxPool(step) => pooled.push(step.source),
            Step::Resample(step) if pooled.contains(&step.output) => pooled.push(step.source),
            Step::Transpose(step) if pooled.contains(&step.output) => pooled.push(step.source),
            _ => {}
        }
    }
    pooled
}

/// The buffers of ids and lengths, whose whole numbers float16 does not hold, and where their values come from.
fn counted(plan: &Plan) -> Vec<BufferId> {
    let mut counted = Vec::new();
    for step in plan.forward.iter().rev() {
        match step {
            Step::Embedding(step) => counted.push(step.ids),
            Step::Recurrent(step) => counted.extend(step.recurrence.lengths),
            Step::Resample(step) if counted.contains(&step.output) => counted.push(step.source),
            Step::Transpose(step) if counted.contains(&step.output) => counted.push(step.source),
            _ => {}
        }
    }
    counted
}

/// Whether a step's kernel can store float16, and nothing is added to what it stored.
fn stores_halves(step: &Step) -> bool {
    match step {
        // An adjoint whose weights are larger than a binding adds up in its output.
        Step::Linear(linear) => {
            linear.direction == Direction::Forward && matches!(linear.epilogue, Epilogue::Bias { .. })
        }
        Step::Resample(_)
        | Step::Transpose(_)
        | Step::MaxPool(_)
        | Step::Activation(_)
        | Step::Binary(_)
        | Step::Softmax(_)
        | Step::Embedding(_)
        | Step::Lrn(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Gpu;
    use crate::network::{Conv, MaxPool, Network};
    use crate::plan::PlanOptions;
    use crate::rules::Composite;
    use crate::tensor::Tensor;

    /// A convolution with ReLU, another one with max pooling behind it, and a mean.
    fn network() -> Network {
        let weights = |shape: [usize; 4]| {
            let values = (0..shape.iter().product()).map(|i| (i as f32).sin()).collect();
            Tensor::from_f32(shape, values).unwrap()
        };
        let mut net = Network::builder("tiny");
        let x = net.input("x", &[2, 4, 4]);
        let y = net.conv("a", x, Conv::new(weights([3, 2, 3, 3]), None).padding(1)).unwrap();
        let y = net.relu("a.relu", y).unwrap();
        let y = net.conv("b", y, Conv::new(weights([5, 3, 1, 1]), None)).unwrap();
        let y = net.relu("b.relu", y).unwrap();
        let pool = MaxPool {
            kernel: vec![2, 2],
            strides: vec![2, 2],
            dilations: vec![1, 1],
            pads: vec![[0, 0]; 2],
            ceil: false,
        };
        let y = net.concat("twice", &[y, y], 1).unwrap();
        let y = net.max_pool("pool", y, pool).unwrap();
        let y = net.global_average_pool("mean", y).unwrap();
        let y = net.flatten("flat", y).unwrap();
        net.output(y);
        net.build().unwrap()
    }

    fn plan(composite: &str, several_targets: bool) -> Plan {
        let network = network();
        let output = network.outputs()[0];
        let options = PlanOptions { batch: 1, output, layers: Vec::new(), conservation: false.into(), several_targets };
        Plan::explain(&network, &Composite::parse(composite).unwrap(), &options).unwrap()
    }

    fn half_lens(plan: &Plan) -> Vec<usize> {
        let halves = Halves::of(plan, true);
        let narrow = (0..plan.buffers.len()).filter(|i| halves.buffer(BufferId(*i)));
        narrow.map(|i| plan.buffers[i].len).collect()
    }

    #[test]
    fn activations_are_halves_and_nothing_else_is() {
        let plan = plan("epsilon-plus", false);
        let mut lens = half_lens(&plan);
        lens.sort_unstable();
        // The mean along one of two axes, what the pooling chose, and what comes of a. Pooling chooses from what comes of b.
        assert_eq!(lens, [20, 40, 48]);
        let halves = Halves::of(&plan, true);
        for step in &plan.backward {
            assert!(step.writes().iter().all(|buffer| !halves.buffer(*buffer)), "{step:?}");
        }
        // Denominators that several targets share are read by the backward pass alone.
        let several = super::tests::plan("epsilon-plus", true);
        assert!(several.forward.len() > plan.forward.len());
        assert_eq!(half_lens(&several).len(), 3);
    }

    #[test]
    fn squares_stay_wide() {
        let plan = plan("wsquare", false);
        let halves = Halves::of(&plan, true);
        for (i, weight) in plan.weights.iter().enumerate() {
            assert_eq!(halves.weight(i), weight.form != WeightForm::Square, "{:?}", weight.form);
        }
        assert!(halves.weights.contains(&true) && halves.weights.contains(&false));
    }

    #[test]
    fn memory_counts_each_value_as_it_is_stored() {
        let plan = plan("epsilon-plus", false);
        assert_eq!(memory(&plan, false), plan.memory(4));
        let (weights, buffers) = memory(&plan, true);
        assert_eq!(weights * 2, plan.memory(4).0);
        let wide: u64 = plan.memory(4).1;
        assert!(buffers < wide && buffers > wide / 2, "{buffers} {wide}");
        let halves = Halves::of(&plan, true);
        for (i, buffer) in plan.buffers.iter().enumerate() {
            let id = BufferId(i);
            let own = (buffer.len * if halves.buffer(id) { 2 } else { 4 }) as u64;
            assert_eq!(halves.buffer_bytes(&plan, id), own);
            assert!(halves.slots(&plan)[halves.slot(id)].0 >= own, "{}", buffer.label);
        }
    }

    #[test]
    fn an_adapter_without_float16_is_an_error_that_says_what_to_do() {
        let mut info = Gpu::open(None).unwrap().info().clone();
        info.float16 = true;
        require(&info).unwrap();
        info.float16 = false;
        let message = require(&info).unwrap_err().to_string();
        assert!(message.contains(&info.name) && message.contains("--precision f32"), "{message}");
    }

    #[test]
    fn the_first_buffer_with_a_value_too_large_is_named() {
        let plan = plan("epsilon-plus", false);
        let halves = Halves::of(&plan, true);
        let align = 32;
        let mut words = vec![0; halves.overflow_bytes(align) as usize / 4];
        assert_eq!(words.len(), 3 * 8);
        halves.check(&plan, &words, align).unwrap();
        let narrow: Vec<BufferId> =
            plan.forward.iter().flat_map(Step::writes).filter(|buffer| halves.buffer(*buffer)).collect();
        words[halves.overflow_at(narrow[2], align) as usize / 4] = 1;
        words[halves.overflow_at(narrow[1], align) as usize / 4] = 1;
        let message = halves.check(&plan, &words, align).unwrap_err().to_string();
        let label = &plan.buffers[narrow[1].0].label;
        assert!(message.contains(label) && message.contains("65504"), "{message}");
    }
}
