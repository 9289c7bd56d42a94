//! Runs a plan on the host, in single or double precision. In double precision it is the reference.
//!
//! One file a kernel, named like its shader. Work is shared out over rayon's threads in portions that do not depend on
//! how many there are, so neither do the results.

mod activation;
mod activation_adjoint;
mod binary;
mod blocks;
mod columns;
mod finish;
mod linear;
mod linear_adjoint;
mod linear_forward;
mod lrn;
mod lrn_adjoint;
mod max_pool;
mod max_pool_adjoint;
mod memory;
mod operand;
mod product;
mod quotient;
mod resample;
mod sample_rms;
mod sample_sum;
mod seed;
mod share;
mod softmax;
mod transpose;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use crate::error::Result;
use crate::plan::{
    Direction, Executor, Linear, Plan, Port, RunOutput, SeedRequest, Step, TargetOutput, Ticket, Timings, Weight,
};
use crate::rules::WeightForm;
use crate::tensor::{Data, Real, Tensor};
use memory::{Memory, Scratch};

/// Runs a [`Plan`] on the host in the precision of `T`.
#[derive(Debug)]
pub struct CpuExecutor<T> {
    plan: Plan,
    weights: Vec<Prepared<T>>,
    memory: Memory<T>,
    scratch: Scratch<T>,
    /// The results of the last two runs that were begun and not collected, with their numbers.
    finished: VecDeque<(u64, RunOutput)>,
    next_ticket: u64,
}

/// Weights in the form and precision the kernels read.
#[derive(Debug)]
enum Prepared<T> {
    /// The network's own: there is nothing to change.
    Shared(Arc<Tensor>),
    Own(Vec<T>),
}

impl<T: Real> Prepared<T> {
    fn new(weight: &Weight) -> Prepared<T> {
        let form = weight.form;
        match (form, weight.tensor.data()) {
            (WeightForm::Plain, data) if T::view(data).is_some() => Prepared::Shared(weight.tensor.clone()),
            (_, Data::F32(values)) => Prepared::Own(formed(values, form, |w| f64::from(*w))),
            (_, Data::F64(values)) => Prepared::Own(formed(values, form, |w| *w)),
            (_, Data::I64(values)) => Prepared::Own(formed(values, form, |w| *w as f64)),
        }
    }

    fn values(&self) -> &[T] {
        match self {
            Prepared::Shared(tensor) => T::view(tensor.data()).unwrap_or_default(),
            Prepared::Own(values) => values,
        }
    }
}

/// The form of each weight, computed in double precision and then rounded.
fn formed<S: Sync, T: Real>(values: &[S], form: WeightForm, exact: impl Fn(&S) -> f64 + Sync) -> Vec<T> {
    values.par_iter().map(|w| T::of(form.of(exact(w)))).collect()
}

impl<T: Real> CpuExecutor<T> {
    /// Prepares the weights, loads the constants and runs the plan's prologue.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) when the plan contradicts itself: a buffer of a size that its step cannot have, or a step
    /// that would overwrite what it reads; [`Error::Memory`](crate::Error::Memory) when the machine has not that much memory
    /// free (known on Linux).
    pub fn new(plan: Plan) -> Result<CpuExecutor<T>> {
        plan.check()?;
        memory::check(&plan, std::mem::size_of::<T>())?;
        let weights = plan.weights.iter().map(Prepared::new).collect();
        let mut memory = Memory::new(&plan);
        for constant in &plan.constants {
            memory.write(constant.buffer, |_, values| {
                for (y, x) in values.iter_mut().zip(constant.values.iter()) {
                    *y = T::of(*x);
                }
            });
        }
        let mut executor =
            CpuExecutor { plan, weights, memory, scratch: Scratch::new(), finished: VecDeque::new(), next_ticket: 0 };
        executor.steps(|plan| &plan.prologue, &[], None);
        Ok(executor)
    }

    fn steps(
        &mut self,
        which: impl FnOnce(&Plan) -> &[Step],
        requests: &[SeedRequest],
        mut timings: Option<&mut Vec<f64>>,
    ) {
        for step in which(&self.plan) {
            let start = Instant::now();
            run_step(step, &self.weights, &self.scratch, requests, &mut self.memory);
            if let Some(timings) = &mut timings {
                timings.push(start.elapsed().as_secs_f64());
            }
        }
    }

    fn run_with(
        &mut self,
        inputs: &[Tensor],
        targets: &[Vec<SeedRequest>],
        mut timings: Option<&mut Timings>,
    ) -> Result<RunOutput> {
        self.plan.check_run(inputs, targets)?;
        self.load(inputs);
        self.steps(|plan| &plan.forward, &[], timings.as_deref_mut().map(|t| &mut t.forward));
        let mut run = RunOutput { outputs: self.read(&self.plan.outputs)?, targets: Vec::new() };
        for requests in targets {
            let mut seconds = Vec::new();
            self.steps(|plan| &plan.backward, requests, timings.is_some().then_some(&mut seconds));
            if let Some(timings) = &mut timings {
                timings.backward.push(seconds);
            }
            let sums = self.plan.sums.map(|s| self.memory.real(s).iter().map(|x| x.to_f64()).collect());
            run.targets
                .push(TargetOutput { relevances: self.read(&self.plan.relevances)?, sums: sums.unwrap_or_default() });
        }
        Ok(run)
    }

    fn load(&mut self, inputs: &[Tensor]) {
        for (port, tensor) in self.plan.inputs.iter().zip(inputs) {
            self.memory.write(port.buffer, |_, values| match T::view(tensor.data()) {
                Some(view) => values.copy_from_slice(view),
                None => values.copy_from_slice(&tensor.to_vec::<T>()),
            });
        }
    }

    fn read(&self, ports: &[Port]) -> Result<Vec<Tensor>> {
        let tensor = |p: &Port| Tensor::new(p.shape.clone(), T::data(self.memory.real(p.buffer).to_vec()));
        ports.iter().map(tensor).collect()
    }
}

impl<T: Real> Executor for CpuExecutor<T> {
    fn run(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<RunOutput> {
        self.run_with(inputs, targets, None)
    }

    fn run_timed(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<(RunOutput, Timings)> {
        let mut timings = Timings::default();
        let run = self.run_with(inputs, targets, Some(&mut timings))?;
        Ok((run, timings))
    }

    fn submit(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<Ticket> {
        let run = self.run_with(inputs, targets, None)?;
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.finished.push_back((number, run));
        if self.finished.len() > 2 {
            self.finished.pop_front();
        }
        Ok(Ticket::new(number))
    }

    fn collect(&mut self, ticket: Ticket) -> Result<RunOutput> {
        let at = self.finished.iter().position(|(number, _)| *number == ticket.number());
        let run = at.and_then(|at| self.finished.remove(at));
        run.map(|(_, run)| run).ok_or_else(Ticket::unknown)
    }
}

fn run_step<T: Real>(
    step: &Step,
    weights: &[Prepared<T>],
    scratch: &Scratch<T>,
    requests: &[SeedRequest],
    memory: &mut Memory<T>,
) {
    let linear = |l: &Linear, memory: &Memory<T>, y: &mut [T]| {
        let weight = |term: usize| weights[l.terms[term].weight.0].values();
        match l.direction {
            Direction::Forward => linear_forward::run(l, weight, memory, scratch, y),
            Direction::Adjoint => linear_adjoint::run(l, weight, memory, scratch, y),
        }
    };
    match step {
        Step::Linear(s) => memory.write(s.output, |m, y| linear(s, m, y)),
        Step::Quotient(s) => memory.write(s.output, |m, y| quotient::run(s, m, y)),
        Step::Resample(s) => memory.write(s.output, |m, y| resample::run(s, m, y)),
        Step::Transpose(s) => memory.write(s.output, |m, y| transpose::run(s, m, y)),
        Step::MaxPool(s) => memory.write_indexed(s.output, s.winners, |m, y, w| max_pool::run(s, m, y, w)),
        Step::MaxPoolAdjoint(s) => memory.write(s.output, |m, y| max_pool_adjoint::run(s, m, y)),
        Step::Activation(s) => memory.write(s.output, |m, y| activation::run(s, m, y)),
        Step::ActivationAdjoint(s) => memory.write(s.output, |m, y| activation_adjoint::run(s, m, y)),
        Step::Binary(s) => memory.write(s.output, |m, y| binary::run(s, m, y)),
        Step::Softmax(s) => memory.write(s.output, |m, y| softmax::run(s, m, y)),
        Step::Lrn(s) => memory.write(s.output, |m, y| lrn::run(s, m, y)),
        Step::LrnAdjoint(s) => memory.write(s.output, |m, y| lrn_adjoint::run(s, m, y)),
        Step::SampleRms(s) => memory.write(s.output, |m, y| sample_rms::run(s, m, y)),
        Step::SampleSum(s) => memory.write(s.output, |m, y| sample_sum::run(s, m, y)),
        Step::Seed(s) => memory.write(s.output, |m, y| seed::run(s, requests, m, y)),
    }
}
