//! A plan on a device, made anew with fewer samples at once where the device demands it.

use std::time::{Duration, Instant};

use super::device::Device;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::plan::{Executor, Plan, PlanOptions, Port, RunOutput, SeedRequest};
use crate::rules::Composite;
use crate::tensor::Tensor;

/// What a plan is made for.
pub(super) enum Work {
    Explain(Composite),
    Forward,
}

/// A plan with its executor.
pub(super) struct Machine {
    network: Network,
    work: Work,
    options: PlanOptions,
    device: Device,
    plan: Plan,
    /// None once the device has failed for good.
    executor: Option<Box<dyn Executor>>,
    took: Duration,
}

impl Machine {
    /// Plans and prepares, with the batch halved as long as it does not fit.
    pub fn new(network: &Network, work: Work, options: PlanOptions, device: Device) -> Result<Machine> {
        let network = network.clone();
        let mut options = options;
        let (plan, executor, took) = build(&network, &work, &mut options, &device)?;
        Ok(Machine { network, work, options, device, plan, executor: Some(executor), took })
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn options(&self) -> &PlanOptions {
        &self.options
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How long planning and preparing took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// The executor, if the device has not failed for good.
    pub fn executor(&mut self) -> Result<&mut dyn Executor> {
        match &mut self.executor {
            Some(executor) => Ok(executor.as_mut()),
            None => Err(Error::Device("the device failed before and did not come back; build it anew".to_string())),
        }
    }

    /// Bytes of weights and of buffers that it has taken on the device; none once the device has failed for good.
    pub fn memory(&self) -> (u64, u64) {
        self.executor.as_ref().map_or((0, 0), |executor| executor.memory())
    }

    /// Prepares for several targets at once.
    pub fn prepare_for_several_targets(&mut self) -> Result<()> {
        if self.options.several_targets {
            return Ok(());
        }
        let mut options = PlanOptions { several_targets: true, batch: self.plan.batch, ..self.options.clone() };
        // What is there stays until the new one is: where it does not fit, one target at a time still does.
        let (plan, executor, took) = build(&self.network, &self.work, &mut options, &self.device)?;
        (self.options, self.plan, self.executor, self.took) = (options, plan, Some(executor), took);
        Ok(())
    }

    /// Does something, and again with fewer samples at once after an error that these may avoid: full memory, or a device that
    /// was lost, as it is when a batch keeps it busy for too long.
    pub fn retry<T>(&mut self, mut run: impl FnMut(&mut Machine) -> Result<T>) -> Result<T> {
        loop {
            match run(self) {
                Err(error) => self.recover(error)?,
                done => return done,
            }
        }
    }

    /// Prepares for another try, or gives the error back.
    fn recover(&mut self, error: Error) -> Result<()> {
        let full = matches!(error, Error::Memory { .. });
        let batch = self.plan.batch;
        if batch < 2 || !(full || self.device.reopen_if_lost()?) {
            return Err(error);
        }
        self.options.batch = batch / 2;
        // Before the new one is built: there may not be room for both.
        self.executor = None;
        let (plan, executor, took) = build(&self.network, &self.work, &mut self.options, &self.device)?;
        (self.plan, self.executor, self.took) = (plan, Some(executor), took);
        // A network may fix its batch: then there is nothing to gain.
        if self.plan.batch < batch { Ok(()) } else { Err(error) }
    }

    /// Splits inputs into runs of the plan's batch size.
    pub fn batches(&self, inputs: &[Tensor]) -> Result<Vec<Batch>> {
        batches(&self.plan.inputs, inputs, self.plan.batch, self.network.name())
    }

    /// Runs batches, each begun before the results of the one before it are taken: the device computes meanwhile.
    ///
    /// `requests` gives the targets of a batch that begins at a sample; `take` gets what a batch brought, its first sample and
    /// its number of samples.
    pub fn run(
        &mut self,
        batches: &[Batch],
        requests: impl Fn(&Batch, usize) -> Vec<Vec<SeedRequest>>,
        mut take: impl FnMut(&Plan, RunOutput, usize, usize) -> Result<()>,
    ) -> Result<()> {
        self.executor()?;
        let (plan, Some(executor)) = (&self.plan, &mut self.executor) else { return Ok(()) };
        let mut under_way = None;
        for (i, batch) in batches.iter().enumerate() {
            let first = i * plan.batch;
            let ticket = executor.submit(&batch.inputs, &requests(batch, first))?;
            if let Some((ticket, first, count)) = under_way.replace((ticket, first, batch.samples)) {
                take(plan, executor.collect(ticket)?, first, count)?;
            }
        }
        match under_way {
            Some((ticket, first, count)) => take(plan, executor.collect(ticket)?, first, count),
            None => Ok(()),
        }
    }
}

/// A plan and its executor, with the batch halved as long as it does not fit.
fn build(
    network: &Network,
    work: &Work,
    options: &mut PlanOptions,
    device: &Device,
) -> Result<(Plan, Box<dyn Executor>, Duration)> {
    let start = Instant::now();
    loop {
        let plan = match work {
            Work::Explain(composite) => Plan::explain(network, composite, options),
            Work::Forward => Plan::forward(network, options.batch),
        };
        let made = plan.and_then(|plan| {
            // What is tried next; a network that fixes its batch is not tried twice.
            options.batch = options.batch.min(plan.batch);
            Ok((device.executor(plan.clone())?, plan))
        });
        match made {
            Ok((executor, plan)) => return Ok((plan, executor, start.elapsed())),
            Err(Error::Memory { .. }) if options.batch > 1 => options.batch = options.batch.div_ceil(2),
            Err(error) => return Err(error),
        }
    }
}

/// Inputs of one run.
pub(super) struct Batch {
    pub inputs: Vec<Tensor>,
    /// How many of the samples are real; the rest repeats the last.
    pub samples: usize,
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
