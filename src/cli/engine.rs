//! What explains: rules, or another method.

use anyhow::Result;
use relprop::methods::{Method, Runner};
use relprop::{Composite, DeviceInfo, Explainer, Explanation, Network, Target, Tensor, ValueId};

use super::args::{DeviceArgs, ExplainArgs, Seed};

/// How samples are explained.
#[derive(Clone, Debug)]
pub enum Way {
    Composite(Composite),
    Method(Method),
}

impl Way {
    /// For people.
    pub fn described(&self) -> String {
        match self {
            Way::Composite(composite) => format!("composite {}", composite.name()),
            Way::Method(method) => format!("method {method}"),
        }
    }

    /// The composite's name; empty for other methods.
    pub fn composite(&self) -> String {
        match self {
            Way::Composite(composite) => composite.name().to_string(),
            Way::Method(Method::Lrp(composite)) => composite.name().to_string(),
            Way::Method(_) => String::new(),
        }
    }

    /// The relevance that it starts with, for the report.
    pub fn seed(&self, seed: Seed) -> &'static str {
        match self {
            Way::Composite(_) => seed.name(),
            Way::Method(method) if method.conserves() => Seed::Logit.name(),
            Way::Method(_) => Seed::One.name(),
        }
    }

    /// Whether it means to conserve relevance.
    pub fn conserves(&self) -> bool {
        match self {
            Way::Composite(composite) => composite.conserves(),
            Way::Method(method) => method.conserves(),
        }
    }

    /// Into how many variants of itself a sample of a network is made.
    pub fn points(&self, network: &Network) -> usize {
        match self {
            Way::Composite(_) => 1,
            Way::Method(method) => method.points(network),
        }
    }
}

/// A way with what runs it.
pub struct Engine {
    way: Way,
    runs: Runs,
    device: DeviceInfo,
    batch: usize,
}

enum Runs {
    Explainer(Box<Explainer>),
    Runner(Box<Runner>, Method),
}

impl Engine {
    /// Builds what is needed, at that batch size or less.
    pub fn new(
        network: &Network,
        way: Way,
        args: &ExplainArgs,
        output: ValueId,
        layers: Vec<ValueId>,
        batch: usize,
        several_targets: bool,
    ) -> Result<Engine> {
        let (runs, device, batch) = match &way {
            Way::Composite(composite) => {
                let mut builder = Explainer::builder(network, composite.clone())
                    .backend(args.device.backend())
                    .precision(args.device.precision())
                    .batch(batch)
                    .output(output)
                    .layers(layers)
                    .seed(args.seed.amount())
                    .several_targets(several_targets);
                if let Some(adapter) = &args.device.adapter {
                    builder = builder.adapter(adapter);
                }
                let explainer = builder.build()?;
                let (device, batch) = (explainer.device().clone(), explainer.batch());
                (Runs::Explainer(Box::new(explainer)), device, batch)
            }
            Way::Method(method) => {
                let mut runner = runner(network, &args.device, output, batch)?.conservation(true);
                let (batch, device) = (runner.prepare(method, batch)?, runner.device()?);
                (Runs::Runner(Box::new(runner), method.clone()), device, batch)
            }
        };
        Ok(Engine { way, runs, device, batch })
    }

    pub fn way(&self) -> &Way {
        &self.way
    }

    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    pub fn batch(&self) -> usize {
        self.batch
    }

    pub fn explain(&mut self, inputs: &[Tensor], targets: &[Target]) -> relprop::Result<Explanation> {
        match &mut self.runs {
            Runs::Explainer(explainer) => explainer.explain(inputs, targets),
            Runs::Runner(runner, method) => runner.explain(method, inputs, targets),
        }
    }
}

/// A runner for the device that the arguments ask for.
pub fn runner(network: &Network, device: &DeviceArgs, output: ValueId, batch: usize) -> Result<Runner> {
    let runner = Runner::new(network)?.backend(device.backend()).precision(device.precision()).output(output);
    let runner = runner.batch(batch);
    Ok(match &device.adapter {
        Some(adapter) => runner.adapter(adapter),
        None => runner,
    })
}
