//! The forward pass alone.

use super::device::{Backend, Device, DeviceInfo, Precision};
use super::explanation;
use super::machine::{Machine, Work};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::plan::PlanOptions;
use crate::tensor::Tensor;

/// The forward pass alone.
pub struct Predictor {
    pub(super) machine: Machine,
}

impl Predictor {
    /// Prepares the forward pass of a network.
    ///
    /// # Errors
    /// As [`ExplainerBuilder::build`](super::ExplainerBuilder::build).
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
        let options =
            PlanOptions { batch, output, layers: Vec::new(), conservation: false.into(), several_targets: false };
        Ok(Predictor { machine: Machine::new(network, Work::Forward, options, device)? })
    }

    /// The batch size it runs at: what was asked for, or less where the device could not hold it.
    pub fn batch(&self) -> usize {
        self.machine.plan().batch
    }

    /// Where it runs, and why there.
    pub fn device(&self) -> &DeviceInfo {
        &self.machine.device().info
    }

    /// Runs samples; gives each of the network's outputs with its name.
    ///
    /// # Errors
    /// As [`Explainer::explain`](super::Explainer::explain).
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<(String, Tensor)>> {
        self.machine.retry(|machine| {
            let batches = machine.batches(inputs)?;
            let mut outputs: Vec<Vec<Tensor>> = vec![Vec::new(); machine.plan().outputs.len()];
            machine.run(
                &batches,
                |_, _| Vec::new(),
                |plan, run, _, count| {
                    for ((all, tensor), port) in outputs.iter_mut().zip(run.outputs).zip(&plan.outputs) {
                        all.push(explanation::samples(tensor, port, plan.batch, count)?);
                    }
                    Ok(())
                },
            )?;
            let named = machine.plan().outputs.iter().zip(outputs);
            named.map(|(port, parts)| Ok((port.name.clone(), Tensor::stack_rows(&parts)?))).collect()
        })
    }
}
