//! Runs a plan on the host, in single or double precision. In double precision it is the reference.
//!
//! One file a kernel, named like its shader; `linear` is the twin of both linear ones. Work is shared out over rayon's
//! threads; each sum is made in an order that does not depend on how many there are, so neither do the results.
//!
//! What convolutions write lies in blocks of as many channels as a register holds, and so does what other steps read and write
//! together with that: `layout` decides it for every buffer. Where a step cannot use blocks, `stages` puts copies around it.
//!
//! A linear step runs by one of five methods. On blocks: `blocked` (`tiles` of positions and channels) and `depthwise`. On
//! row-major buffers: `dense` (every sample a row of a matrix), `thin` (at most three output channels a group) and, for what is
//! left, `convolve`: a matrix product of weights and columns, in `panels` that `columns` fills. `phases` make correlations of
//! strided adjoints for all of them.

mod activation;
mod activation_adjoint;
mod aligned;
mod binary;
mod blocked;
mod blocks;
mod columns;
mod convolve;
mod dense;
mod depthwise;
mod distances;
mod distances_adjoint;
mod embedding;
mod finish;
mod layout;
mod linear;
mod lrn;
mod lrn_adjoint;
mod max_pool;
mod max_pool_adjoint;
mod memory;
mod operand;
mod panels;
mod phases;
mod quotient;
mod recurrent;
mod recurrent_adjoint;
mod resample;
mod sample_rms;
mod sample_sum;
mod seed;
mod share;
mod softmax;
mod stages;
mod thin;
mod tiles;
mod transpose;
mod vector;
mod weights;

use std::collections::VecDeque;
use std::time::Instant;

use crate::error::Result;
use crate::plan::{Executor, Linear, Plan, Port, RunOutput, SeedRequest, Step, TargetOutput, Ticket, Timings};
use crate::tensor::Tensor;
use layout::Layouts;
use memory::{Memory, Scratch};
use stages::{Stage, Stages};
pub use vector::Vector;
use weights::Weights;

/// Runs a [`Plan`] on the host in the precision of `T`.
#[derive(Debug)]
pub struct CpuExecutor<T> {
    plan: Plan,
    stages: Stages,
    weights: Weights<T>,
    memory: Memory<T>,
    scratch: Scratch<T>,
    /// The results of the last two runs that were begun and not collected, with their numbers.
    finished: VecDeque<(u64, RunOutput)>,
    next_ticket: u64,
}

impl<T: Vector> CpuExecutor<T> {
    /// Prepares the weights, loads the constants and runs the plan's prologue.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) when the plan contradicts itself: a buffer of a size that its step cannot have, or a step
    /// that would overwrite what it reads; [`Error::Memory`](crate::Error::Memory) when the machine has not that much memory
    /// free (known on Linux).
    pub fn new(plan: Plan) -> Result<CpuExecutor<T>> {
        plan.check()?;
        memory::check(&plan, std::mem::size_of::<T>())?;
        let layouts = Layouts::new(&plan, blocked::block_for::<T>(&plan));
        let stages = Stages::new(&plan, &layouts);
        let mut memory = Memory::new(&plan, layouts, &stages.copies);
        let weights = Weights::new(&plan, &stages, memory.layouts());
        for constant in &plan.constants {
            let values: Vec<T> = constant.values.iter().map(|x| T::of(*x)).collect();
            memory.load(constant.buffer, &values);
        }
        let (scratch, finished) = (Scratch::new(), VecDeque::new());
        let mut executor = CpuExecutor { plan, stages, weights, memory, scratch, finished, next_ticket: 0 };
        executor.steps(|stages| &stages.prologue, &[], None);
        Ok(executor)
    }

    fn steps(
        &mut self,
        which: impl FnOnce(&Stages) -> &[Stage],
        requests: &[SeedRequest],
        mut timings: Option<&mut Vec<f64>>,
    ) {
        let mut steps = which(&self.stages);
        while let [stage, ..] = steps {
            let start = Instant::now();
            let together = linear::together(steps, self.memory.layouts()).max(1);
            let (these, rest) = steps.split_at(together);
            stage.unpacked.iter().for_each(|(blocked, plain)| self.memory.unpack(*blocked, *plain));
            run_step(&stage.step, these, &self.weights, &self.scratch, requests, &mut self.memory);
            stage.packed.iter().for_each(|(blocked, plain)| self.memory.pack(*plain, *blocked));
            if let Some(timings) = &mut timings {
                let seconds = start.elapsed().as_secs_f64() / together as f64;
                timings.extend(std::iter::repeat_n(seconds, together));
            }
            steps = rest;
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
        self.steps(|stages| &stages.forward, &[], timings.as_deref_mut().map(|t| &mut t.forward));
        let mut run = RunOutput { outputs: self.read(&self.plan.outputs)?, targets: Vec::new() };
        for requests in targets {
            let mut seconds = Vec::new();
            self.steps(|stages| &stages.backward, requests, timings.is_some().then_some(&mut seconds));
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
            match T::view(tensor.data()) {
                Some(view) => self.memory.load(port.buffer, view),
                None => self.memory.load(port.buffer, &tensor.to_vec::<T>()),
            }
        }
    }

    fn read(&self, ports: &[Port]) -> Result<Vec<Tensor>> {
        let tensor = |p: &Port| Tensor::new(p.shape.clone(), T::data(self.memory.read(p.buffer)));
        ports.iter().map(tensor).collect()
    }
}

impl<T: Vector> Executor for CpuExecutor<T> {
    fn run(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<RunOutput> {
        // As one of the threads that share the work: handing every step over to them would cost two switches of thread each.
        rayon::scope(|_| self.run_with(inputs, targets, None))
    }

    fn run_timed(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<(RunOutput, Timings)> {
        let mut timings = Timings::default();
        let run = rayon::scope(|_| self.run_with(inputs, targets, Some(&mut timings)))?;
        Ok((run, timings))
    }

    fn submit(&mut self, inputs: &[Tensor], targets: &[Vec<SeedRequest>]) -> Result<Ticket> {
        let run = self.run(inputs, targets)?;
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

    fn memory(&self) -> (u64, u64) {
        (self.weights.bytes(), self.memory.bytes() + self.scratch.bytes())
    }
}

/// Runs a step; `together` are it and those that run with it.
fn run_step<T: Vector>(
    step: &Step,
    together: &[Stage],
    weights: &Weights<T>,
    scratch: &Scratch<T>,
    requests: &[SeedRequest],
    memory: &mut Memory<T>,
) {
    match step {
        Step::Linear(s) => {
            let steps: Vec<&Linear> =
                together.iter().filter_map(|s| if let Step::Linear(l) = &s.step { Some(l) } else { None }).collect();
            memory.write(s.output, |m, y| linear::run(&steps, weights, m, scratch, y));
        }
        Step::Quotient(s) => match s.pieces.as_slice() {
            [a, b] => memory.write_two(a.output, b.output, |m, a, b| quotient::run_two(s, m, a, b)),
            pieces => pieces.iter().for_each(|p| memory.write(p.output, |m, y| quotient::run(s, m, y))),
        },
        Step::Resample(s) => memory.write(s.output, |m, y| resample::run(s, m, y)),
        Step::Transpose(s) => memory.write(s.output, |m, y| transpose::run(s, m, y)),
        Step::MaxPool(s) => memory.write_indexed(s.output, s.winners, |m, y, w| max_pool::run(s, m, y, w)),
        Step::MaxPoolAdjoint(s) => memory.write(s.output, |m, y| max_pool_adjoint::run(s, m, y)),
        Step::Activation(s) => memory.write(s.output, |m, y| activation::run(s, m, y)),
        Step::ActivationAdjoint(s) => memory.write(s.output, |m, y| activation_adjoint::run(s, m, y)),
        Step::Binary(s) => memory.write(s.output, |m, y| binary::run(s, m, y)),
        Step::Softmax(s) => memory.write(s.output, |m, y| softmax::run(s, m, y)),
        Step::Recurrent(s) => memory.write_two(s.output, s.trace, |m, y, trace| recurrent::run(s, m, y, trace)),
        Step::RecurrentAdjoint(s) => {
            memory.write_three([s.share, s.spread, s.carry], |m, share, spread, carry| {
                recurrent_adjoint::run(s, m, share, spread, carry);
            });
        }
        Step::Embedding(s) => memory.write(s.output, |m, y| embedding::run(s, m, y)),
        Step::Lrn(s) => memory.write(s.output, |m, y| lrn::run(s, m, y)),
        Step::LrnAdjoint(s) => memory.write(s.output, |m, y| lrn_adjoint::run(s, m, y)),
        Step::Distances(s) => memory.write(s.output, |m, y| distances::run(s, m, y)),
        Step::DistancesAdjoint(s) => memory.write(s.output, |m, y| distances_adjoint::run(s, m, y)),
        Step::SampleRms(s) => memory.write(s.output, |m, y| sample_rms::run(s, m, y)),
        Step::SampleSum(s) => memory.write(s.output, |m, y| sample_sum::run(s, m, y)),
        Step::Seed(s) => memory.write(s.output, |m, y| seed::run(s, requests, m, y)),
    }
}
