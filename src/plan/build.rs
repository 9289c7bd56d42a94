//! Making a [`Plan`].

use std::collections::HashMap;

use super::facts::Facts;
use super::fuse::fuse;
use super::lifetime;
use super::planner::Planner;
use super::*;
use crate::error::{Error, Result};
use crate::network::shape::{MOST_VALUES, display, values};
use crate::network::{Dim, Network, ValueId};
use crate::rules::{Composite, LayerRule};

/// What an explanation's plan is made for.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Number of samples in a run; at least 1. A network without an open batch axis has its own; where an input, the output
    /// or a wanted layer does not begin with the batch axis, samples run one by one.
    pub batch: usize,
    /// The output to explain; a softmax there is left out, and so is what makes a score of a one-class machine's outlier score.
    pub output: ValueId,
    /// Tensors inside the network whose relevance is wanted too.
    pub layers: Vec<ValueId>,
    /// What sums of relevance are taken at every layer.
    pub conservation: ConservationDetail,
    /// Whether runs will have several targets: denominators are then computed once for all, and kept.
    pub several_targets: bool,
}

/// What is told of each layer's relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConservationDetail {
    /// Nothing.
    None,
    /// What came to the layer and what it handed on.
    #[default]
    Sums,
    /// Sums of magnitudes and what the bias absorbed too. Costs passes over memory.
    Full,
}

impl From<bool> for ConservationDetail {
    /// Sums, or nothing.
    fn from(sums: bool) -> ConservationDetail {
        if sums { ConservationDetail::Sums } else { ConservationDetail::None }
    }
}

impl Plan {
    /// The plan of an explanation.
    ///
    /// # Errors
    /// [`Error::Composite`] when the composite does not fit the network, [`Error::Unsupported`] when relevance would have to
    /// go through something that has no rule, [`Error::Input`] for a layer the explained output does not depend on.
    pub fn explain(network: &Network, composite: &Composite, options: &PlanOptions) -> Result<Plan> {
        let rules = composite.assign(network)?;
        let explained = network.explained(options.output);
        let live = live(network, &[explained]);
        let facts = Facts::of(network, &rules, explained, &live);
        check_rms(network, composite, &rules)?;
        let mut crossing = vec![explained];
        crossing.extend(network.inputs().iter().chain(&options.layers));
        let batch = batch_size(network, &crossing, options.batch)?;
        let mut planner = Planner::new(network, facts, batch);
        planner.stabiliser = composite.stabiliser;
        planner.share_denominators = options.several_targets;
        planner.bias_shares = (options.conservation == ConservationDetail::Full).then(Vec::new);
        let whole = whole_inputs(network)?;
        let inputs = planner.add_inputs()?;
        for (node, live) in network.nodes().iter().zip(&live) {
            if *live {
                planner.add_forward(node)?;
            }
        }
        let output = planner.port(explained, planner.value(explained)?);
        planner.keep(output.buffer);

        let logits = output.buffer;
        let len = planner.len(explained);
        let seed = planner.buffer(len, "seed");
        planner.backward.push(Step::Seed(Seed { logits, output: seed, samples: batch, sample_len: len / batch }));
        planner.relevance[explained.0] = Some(seed);
        let mut sums = Sums::new(options.conservation, &mut planner);
        for (i, node) in network.nodes().iter().enumerate().rev() {
            let Some(relevance) = planner.relevance[node.output.0].filter(|_| live[i]) else { continue };
            let pieces = planner.add_relevance(node, &rules[i], relevance)?;
            if pieces != [relevance] {
                sums.add(&mut planner, node, &rules[i], relevance, &pieces);
            }
        }
        let mut relevances = Vec::new();
        for value in network.inputs().iter().chain(&options.layers) {
            let depends = network.nodes().iter().zip(&live).any(|(n, live)| *live && (n.output == *value));
            if !depends && !network.inputs().contains(value) {
                let (name, output) = (&network.value(*value).name, &network.value(explained).name);
                let what = format!("{}: the output \"{output}\" does not depend on layer \"{name}\"", network.name());
                return Err(Error::Input(what));
            }
            let buffer = match planner.relevance[value.0] {
                Some(buffer) => buffer,
                // No relevance comes here: it is 0 everywhere.
                None => {
                    let len = planner.len(*value);
                    let zero = Operand { buffer: planner.constant(vec![0.0], "zero"), inner: len, count: 1 };
                    planner.binary(BinaryOp::Add, zero, zero, len, "no relevance")
                }
            };
            planner.keep(buffer);
            relevances.push(planner.port(*value, buffer));
        }
        Ok(planner.finish(inputs, whole, vec![output], relevances, sums, options.several_targets))
    }

    /// The plan of a forward pass alone, which reads back every output of the network.
    ///
    /// # Errors
    /// As [`Plan::explain`].
    pub fn forward(network: &Network, batch: usize) -> Result<Plan> {
        let live = live(network, network.outputs());
        let crossing: Vec<ValueId> = network.outputs().iter().chain(network.inputs()).copied().collect();
        let batch = batch_size(network, &crossing, batch)?;
        let rules = vec![LayerRule::Route; network.nodes().len()];
        let facts = Facts::of(network, &rules, network.outputs()[0], &vec![false; live.len()]);
        let mut planner = Planner::new(network, facts, batch);
        let whole = whole_inputs(network)?;
        let inputs = planner.add_inputs()?;
        for (node, live) in network.nodes().iter().zip(&live) {
            if *live {
                planner.add_forward(node)?;
            }
        }
        let mut outputs = Vec::new();
        for output in network.outputs() {
            let port = planner.port(*output, planner.value(*output)?);
            planner.keep(port.buffer);
            outputs.push(port);
        }
        let sums = Sums::new(ConservationDetail::None, &mut planner);
        Ok(planner.finish(inputs, whole, outputs, Vec::new(), sums, false))
    }
}

/// A root mean square is taken of each sample's values, which must lie together: the batch is the first axis.
fn check_rms(network: &Network, composite: &Composite, rules: &[LayerRule]) -> Result<()> {
    use crate::rules::StabiliserKind::Rms;
    for (node, rule) in network.nodes().iter().zip(rules) {
        let rms = match rule {
            LayerRule::Linear(rule) => rule.stabiliser.kind == Rms,
            LayerRule::Pooling(_) | LayerRule::Residual(_) | LayerRule::Normalisation(_) | LayerRule::Distance(_) => {
                composite.stabiliser.kind == Rms
            }
            _ => false,
        };
        let axes = &network.value(node.output).shape;
        if rms && axes.iter().skip(1).any(|d| matches!(d, Dim::Batch(_))) {
            let what = format!("layer \"{}\": an rms stabiliser needs the batch as the first axis", node.name);
            return Err(Error::composite(composite.name(), what));
        }
    }
    Ok(())
}

/// The inputs of whole numbers by their place.
fn whole_inputs(network: &Network) -> Result<Vec<Whole>> {
    let found = network.whole_inputs()?.into_iter().filter_map(|whole| {
        let input = network.inputs().iter().position(|id| *id == whole.input)?;
        Some(Whole { input, low: whole.low, high: whole.high, layer: whole.layer })
    });
    Ok(found.collect())
}

/// The table of sums while it is being made.
struct Sums {
    table: Option<BufferId>,
    rows: HashMap<BufferId, usize>,
    layers: Vec<LayerSums>,
}

impl Sums {
    fn new(detail: ConservationDetail, planner: &mut Planner) -> Sums {
        // Its length is known at the end.
        let table = (detail != ConservationDetail::None).then(|| planner.buffer(0, "sums of relevance"));
        if let Some(table) = table {
            planner.keep(table);
        }
        Sums { table, rows: HashMap::new(), layers: Vec::new() }
    }

    fn add(
        &mut self,
        planner: &mut Planner,
        node: &crate::network::Node,
        rule: &LayerRule,
        arriving: BufferId,
        pieces: &[BufferId],
    ) {
        let bias_shares = planner.bias_shares.as_mut().map(std::mem::take);
        let Some(table) = self.table else { return };
        let fixed = (!planner.network.has_open_batch()).then_some(Dim::Fixed(planner.batch));
        let batch_first = |v: &ValueId| {
            let first = planner.network.value(*v).shape.first();
            planner.batch == 1 || matches!(first, Some(Dim::Batch(_))) || (first.is_some() && first == fixed.as_ref())
        };
        if !node.inputs.iter().chain([&node.output]).all(batch_first) {
            return;
        }
        let mut row = |planner: &mut Planner, buffer: BufferId| match self.rows.get(&buffer) {
            Some(row) => *row,
            None => {
                let row = self.rows.len();
                self.rows.insert(buffer, row);
                let samples = planner.batch;
                let sample_len = planner.drafts[buffer.0].len / samples;
                let sum = SampleSum { source: buffer, output: table, row, samples, sample_len };
                planner.backward.push(Step::SampleSum(sum));
                row
            }
        };
        let sums = [row(planner, arriving)].into_iter().chain(pieces.iter().map(|p| row(planner, *p)));
        let sums: Vec<usize> = sums.collect();
        let detail = bias_shares.map(|shares| {
            let magnitudes = [&[arriving], pieces].concat().into_iter().map(|buffer| {
                let len = planner.drafts[buffer.0].len;
                let zero = Operand { buffer: planner.constant(vec![0.0], "zero"), inner: len, count: 1 };
                let values = planner.whole(buffer);
                let magnitudes = planner.binary(BinaryOp::AddMagnitudes, values, zero, len, "magnitudes of relevance");
                row(planner, magnitudes)
            });
            let magnitudes: Vec<usize> = magnitudes.collect();
            let bias = shares.into_iter().map(|(share, bias)| {
                let (len, values) = (planner.drafts[share.0].len, planner.whole(share));
                let absorbed = planner.binary(BinaryOp::Mul, values, bias, len, "what the bias absorbs");
                row(planner, absorbed)
            });
            LayerDetail { bias: bias.collect(), arriving: magnitudes[0], leaving: magnitudes[1..].to_vec() }
        });
        self.layers.push(LayerSums {
            layer: node.name.clone(),
            op: node.op.name(),
            rule: rule.to_string(),
            arriving: sums[0],
            leaving: sums[1..].to_vec(),
            detail,
        });
    }
}

impl Planner<'_> {
    fn add_inputs(&mut self) -> Result<Vec<Port>> {
        let mut ports = Vec::new();
        for input in self.network.inputs() {
            let buffer = self.buffer(self.len(*input), &self.network.value(*input).name);
            self.keep(buffer);
            self.values[input.0] = Some(buffer);
            ports.push(self.port(*input, buffer));
        }
        Ok(ports)
    }

    fn port(&self, value: ValueId, buffer: BufferId) -> Port {
        Port { name: self.network.value(value).name.clone(), shape: self.shape(value), buffer }
    }

    fn finish(
        mut self,
        mut inputs: Vec<Port>,
        whole: Vec<Whole>,
        mut outputs: Vec<Port>,
        mut relevances: Vec<Port>,
        mut sums: Sums,
        repeats: bool,
    ) -> Plan {
        let sum_rows = sums.rows.len();
        if let Some(table) = sums.table {
            self.drafts[table.0].len = (sum_rows * self.batch).max(1);
        }
        fuse(&mut self);
        let ports = inputs.iter_mut().chain(&mut outputs).chain(&mut relevances).map(|port| &mut port.buffer);
        self.drop_unused(ports.chain(&mut sums.table));
        let steps: Vec<&Step> = self.prologue.iter().chain(&self.forward).chain(&self.backward).collect();
        let once = self.prologue.len() + self.forward.len();
        let (buffers, slots) = lifetime::assign(self.drafts, &steps, once, repeats);
        Plan {
            batch: self.batch,
            buffers,
            slots,
            weights: self.weights,
            constants: self.constants,
            prologue: self.prologue,
            forward: self.forward,
            backward: self.backward,
            inputs,
            whole,
            outputs,
            relevances,
            // Without a row there is nothing to read back.
            sums: sums.table.filter(|_| sum_rows > 0),
            sum_rows,
            layer_sums: sums.layers,
        }
    }
}

impl Planner<'_> {
    /// Drops the buffers that fusions left without a use and numbers the others anew, those in `named` too.
    fn drop_unused<'b>(&mut self, named: impl Iterator<Item = &'b mut BufferId>) {
        let mut used: Vec<bool> = self.drafts.iter().map(|draft| draft.permanent).collect();
        let steps = || self.prologue.iter().chain(&self.forward).chain(&self.backward);
        for buffer in steps().flat_map(|step| step.reads().into_iter().chain(step.writes())) {
            used[buffer.0] = true;
        }
        let mut numbers = Vec::with_capacity(used.len());
        let mut next = 0;
        for used in &used {
            numbers.push(BufferId(next));
            next += usize::from(*used);
        }
        let mut drafts = used.iter();
        self.drafts.retain(|_| drafts.next() == Some(&true));
        let renumber = |buffer: &mut BufferId| *buffer = numbers[buffer.0];
        let steps = self.prologue.iter_mut().chain(&mut self.forward).chain(&mut self.backward);
        steps.for_each(|step| step.for_each_buffer(renumber));
        self.constants.iter_mut().for_each(|constant| renumber(&mut constant.buffer));
        named.for_each(renumber);
    }
}

/// For each node, whether one of the tensors depends on it.
pub(super) fn live(network: &Network, ends: &[ValueId]) -> Vec<bool> {
    let mut wanted = vec![false; network.values.len()];
    for end in ends {
        wanted[end.0] = true;
    }
    let mut live = vec![false; network.nodes().len()];
    for (i, node) in network.nodes().iter().enumerate().rev() {
        if wanted[node.output.0] {
            live[i] = true;
            for input in &node.inputs {
                wanted[input.0] = true;
            }
        }
    }
    live
}

/// The number of samples in a run whose `crossing` tensors, the explained output or first output in front, are given or read
/// back: the one that was asked for where all of them have the batch as their first axis, so that samples lie one behind the
/// other; else what the file fixes, or 1.
pub(super) fn batch_size(network: &Network, crossing: &[ValueId], wanted: usize) -> Result<usize> {
    if wanted == 0 {
        return Err(Error::Input("a batch needs at least one sample".to_string()));
    }
    if let Some(fixed) = crossing.first().and_then(|output| network.fixed_batch(*output)) {
        return Ok(fixed);
    }
    if !crossing.iter().all(|v| matches!(network.value(*v).shape.first(), Some(Dim::Batch(_)))) {
        return Ok(1);
    }
    match network.values.iter().find(|v| values(&v.shape, wanted).is_none()) {
        None => Ok(wanted),
        Some(value) => Err(Error::Memory {
            what: format!(
                "{}: tensor \"{}\" of {} at a batch of {wanted}",
                network.name(),
                value.name,
                display(&value.shape)
            ),
            need: u64::MAX,
            place: "any machine".to_string(),
            have: 4 * MOST_VALUES as u64,
            help: "use a smaller batch".to_string(),
        }),
    }
}
