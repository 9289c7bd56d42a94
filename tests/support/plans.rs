//! Builds small plans by hand, with what a run of them needs.

use std::sync::Arc;

use relprop::plan::{
    Buffer, BufferId, Element, Executor, Operand, Plan, Port, SeedRequest, Slot, Step, Weight, WeightId,
};
use relprop::rules::WeightForm;
use relprop::{Result, Tensor};

/// A plan, mostly of one step, and the values of a run. Every buffer has a slot of its own.
#[derive(Clone, Debug)]
pub struct Case {
    /// The plan.
    pub plan: Plan,
    /// Values of the plan's inputs.
    pub inputs: Vec<Tensor>,
    /// Requests for the plan's seed, if it has one.
    pub targets: Vec<Vec<SeedRequest>>,
}

impl Case {
    /// An empty plan.
    pub fn new(batch: usize) -> Case {
        let plan = Plan {
            batch,
            buffers: Vec::new(),
            slots: Vec::new(),
            weights: Vec::new(),
            constants: Vec::new(),
            prologue: Vec::new(),
            forward: Vec::new(),
            backward: Vec::new(),
            inputs: Vec::new(),
            whole: Vec::new(),
            outputs: Vec::new(),
            relevances: Vec::new(),
            sums: None,
            sum_rows: 0,
            layer_sums: Vec::new(),
        };
        Case { plan, inputs: Vec::new(), targets: Vec::new() }
    }

    fn buffer(&mut self, name: &str, len: usize, element: Element) -> BufferId {
        self.plan.buffers.push(Buffer { len, slot: self.plan.slots.len(), label: name.into() });
        self.plan.slots.push(Slot { len, element });
        BufferId(self.plan.buffers.len() - 1)
    }

    fn port(&self, buffer: BufferId) -> Port {
        let Buffer { len, label, .. } = &self.plan.buffers[buffer.0];
        Port { name: label.clone(), shape: vec![*len], buffer }
    }

    /// A buffer that a run fills with these values.
    pub fn input(&mut self, name: &str, values: Vec<f64>) -> BufferId {
        let buffer = self.buffer(name, values.len(), Element::Real);
        self.plan.inputs.push(self.port(buffer));
        self.inputs.push(Tensor::from_f64([values.len()], values).unwrap());
        buffer
    }

    /// A buffer that is read back.
    pub fn output(&mut self, name: &str, len: usize) -> BufferId {
        let buffer = self.buffer(name, len, Element::Real);
        self.plan.outputs.push(self.port(buffer));
        buffer
    }

    /// A buffer that a run fills with these values and that is read back: for steps that leave or use what it held.
    pub fn updated(&mut self, name: &str, values: Vec<f64>) -> BufferId {
        let buffer = self.input(name, values);
        self.plan.outputs.push(self.port(buffer));
        buffer
    }

    /// A buffer that is read back after each target's backward pass.
    pub fn relevance(&mut self, name: &str, len: usize) -> BufferId {
        let buffer = self.buffer(name, len, Element::Real);
        self.plan.relevances.push(self.port(buffer));
        buffer
    }

    /// A buffer of indices between steps.
    pub fn indices(&mut self, name: &str, len: usize) -> BufferId {
        self.buffer(name, len, Element::Index)
    }

    /// Weights.
    pub fn weight(&mut self, values: Vec<f64>, form: WeightForm) -> WeightId {
        let tensor = Arc::new(Tensor::from_f64([values.len()], values).unwrap());
        self.plan.weights.push(Weight { tensor, form });
        WeightId(self.plan.weights.len() - 1)
    }

    /// Adds a step: a seed to the backward pass, others to the forward pass.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Seed(_) => self.plan.backward.push(step),
            _ => self.plan.forward.push(step),
        }
    }

    /// What a run of an executor brings back: outputs, then for each target its relevances.
    pub fn run(&self, executor: &mut dyn Executor) -> Result<Vec<Vec<f64>>> {
        let run = executor.run(&self.inputs, &self.targets)?;
        let relevances = run.targets.iter().flat_map(|t| &t.relevances);
        Ok(run.outputs.iter().chain(relevances).map(Tensor::to_vec::<f64>).collect())
    }
}

/// An operand that is read without broadcasting.
pub fn whole(buffer: BufferId, len: usize) -> Operand {
    Operand { buffer, inner: 1, count: len }
}

/// The largest |difference| of two lists, relative to the largest |value| of the second; equal infinities differ by 0.
pub fn relative_difference(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let difference = |(g, w): (&f64, &f64)| if g == w { 0.0 } else { (g - w).abs() };
    // NaN must not pass for equal: `max` would drop it.
    let worst = got.iter().zip(want).map(difference).fold(0.0, |m: f64, d| if m.is_nan() || d <= m { m } else { d });
    if worst == 0.0 { 0.0 } else { worst / largest }
}
