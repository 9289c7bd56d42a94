//! The least that an explanation needs, counted from the network and the rules alone, whatever steps a plan has.
//!
//! **Multiply-adds.** One forward pass. For each linear layer that relevance reaches, the products that its rule's
//! denominators need after known signs have dropped terms; a denominator that is the layer's own output needs none, for the
//! forward pass has it. Then the products that map the shares back. Products of the same values with the same form of the
//! weights count once; so do no more than two forms, since every form made of W⁺ and W⁻ is a sum of these two. Denominators
//! are not taken as differences of others (z⁻ = z − z⁺), which would cancel digits. What does not depend on the input is
//! computed once for all runs and costs nothing.
//!
//! **Bytes.** A pass reads each of its operands once and writes its result once. Passes are
//! - forward: one for each op. An activation belongs to the pass that computes its input, a residual sum to that of the last
//!   linear layer it adds; a tensor between them is written only if someone else reads it. Reshaping costs nothing.
//! - for each denominator with products: x, its forms of W, bias and R in, the share s out; with several targets, which have
//!   these denominators in common, z out once, and R and z in for each target by the pass back.
//! - the way back through a linear layer: shares, forms of W and x in, R of the input out. A denominator that the forward pass
//!   has costs nothing: the pass that computes R divides by it, and behind a ReLU it is the factor that this pass reads anyway.
//! - the way back through other ops: R and what the rule needs in, R of each input out; nothing where R is handed on
//!   unchanged. A residual sum's shares belong to the passes of its branches: the operands and the sum are read once more.
//! - a tensor with several readers: what comes from each further one is read once more.
//!
//! Joining, slicing and transposing count as passes. The RMS stabiliser's means and sums for reports do not count.

use std::collections::HashSet;

use super::build::{batch_size, live};
use super::cost::{Cost, WORD};
use super::facts::Facts;
use super::linear::{Layer, layer};
use super::relevance::{branch, gate};
use super::{Part, PlanOptions};
use crate::error::Result;
use crate::network::{Activation, Network, Node, Op, ValueId};
use crate::rules::lower::{BiasForm, Factor, Lowered, lower};
use crate::rules::{
    ActivationRule, Composite, GateRule, LayerRule, NormalisationRule, PoolingRule, ResidualRule, WeightForm,
};

impl Cost {
    /// The least that a run of an explanation with `targets` targets needs.
    ///
    /// # Errors
    /// As [`Plan::explain`](super::Plan::explain).
    pub fn least_explain(
        network: &Network,
        composite: &Composite,
        options: &PlanOptions,
        targets: usize,
    ) -> Result<Cost> {
        let rules = composite.assign(network)?;
        let explained = network.explained(options.output);
        let live = live(network, &[explained]);
        let mut crossing = vec![explained];
        crossing.extend(network.inputs().iter().chain(&options.layers));
        let batch = batch_size(network, &crossing, options.batch)?;
        let facts = Facts::of(network, &rules, explained, &live);
        let mut count = Count::new(network, batch, live, &[explained]);
        let back = Backward { rules, facts, several: options.several_targets };
        let target = count.backward(&back, explained);
        Ok(count.forward() + count.shared + target.times(targets as u64))
    }

    /// The least that a run of the forward pass alone needs.
    ///
    /// # Errors
    /// As [`Plan::forward`](super::Plan::forward).
    pub fn least_forward(network: &Network, batch: usize) -> Result<Cost> {
        let crossing: Vec<ValueId> = network.outputs().iter().chain(network.inputs()).copied().collect();
        let batch = batch_size(network, &crossing, batch)?;
        Ok(Count::new(network, batch, live(network, network.outputs()), network.outputs()).forward())
    }
}

/// What decides about the way back.
struct Backward {
    rules: Vec<LayerRule>,
    facts: Facts,
    several: bool,
}

struct Count<'a> {
    network: &'a Network,
    batch: usize,
    live: Vec<bool>,
    /// For each tensor, the one whose values it has: a reshape's output is its input.
    root: Vec<ValueId>,
    /// Tensors that are stored, whoever reads them: outputs, and what the way back needs.
    kept: HashSet<ValueId>,
    /// Whether winners of maximum pooling are needed.
    winners: bool,
    /// What several targets have in common beyond the forward pass.
    shared: Cost,
}

impl<'a> Count<'a> {
    fn new(network: &'a Network, batch: usize, live: Vec<bool>, outputs: &[ValueId]) -> Count<'a> {
        let mut root: Vec<ValueId> = (0..network.values.len()).map(ValueId).collect();
        for node in network.nodes() {
            if let Op::Reshape { .. } = node.op {
                root[node.output.0] = root[node.inputs[0].0];
            }
        }
        let kept = outputs.iter().map(|v| root[v.0]).collect();
        Count { network, batch, live, root, kept, winners: false, shared: Cost::default() }
    }

    fn shape(&self, value: ValueId) -> Vec<usize> {
        self.network.value(value).shape.iter().map(|d| d.at(self.batch)).collect()
    }

    fn len(&self, value: ValueId) -> u64 {
        self.shape(value).iter().product::<usize>() as u64
    }

    fn nodes(&self) -> impl DoubleEndedIterator<Item = (usize, &'a Node)> + use<'a> {
        let live = self.live.clone();
        self.network.nodes().iter().enumerate().filter(move |(i, _)| live[*i])
    }

    fn layer(&self, node: &'a Node) -> Option<Layer<'a>> {
        layer(node, &self.shape(node.inputs[0]), &self.shape(node.output))
    }

    /// The operands that the node's forward pass reads from storage.
    fn operands(&self, node: &Node) -> HashSet<ValueId> {
        let computed = |v: &ValueId| self.network.producer(self.root[v.0]);
        let mut operands: Vec<ValueId> = node.inputs.iter().map(|v| self.root[v.0]).collect();
        match &node.op {
            Op::Activation(_) if computed(&node.inputs[0]).is_some() => operands.clear(),
            Op::Add => {
                let is_linear = |v: &ValueId| {
                    computed(v).is_some_and(|n| matches!(n.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense(_)))
                };
                if let Some(last) = operands.iter().copied().filter(is_linear).max() {
                    operands.retain(|v| *v != last);
                }
            }
            _ => {}
        }
        operands.into_iter().collect()
    }

    /// The forward pass.
    fn forward(&self) -> Cost {
        let nodes = || self.nodes().filter(|(_, n)| !matches!(n.op, Op::Reshape { .. }));
        let mut stored = self.kept.clone();
        for (_, node) in nodes() {
            stored.extend(self.operands(node));
        }
        nodes()
            .map(|(_, node)| {
                let operands = self.operands(node);
                let mut constants: usize = node.op.constants().iter().map(|c| c.len()).sum();
                if let Op::Recurrent(layer) = &node.op {
                    // Its biases are sums of two.
                    constants -= layer.bias.as_ref().map_or(0, |bias| bias.len() / 2);
                }
                let read = operands.iter().map(|v| self.len(*v)).sum::<u64>() + constants as u64;
                let output = self.len(node.output);
                let winners = if self.winners && matches!(node.op, Op::MaxPool(_)) { output } else { 0 };
                let written = winners + if stored.contains(&node.output) { output } else { 0 };
                let linear = match &node.op {
                    Op::Recurrent(layer) => {
                        let positions = self.len(node.inputs[0]) / (layer.features() as u64).max(1);
                        positions * (layer.weight.len() + layer.recurrence.len()) as u64
                    }
                    _ => self.layer(node).map_or(0, |l| l.geometry.multiply_adds() as u64),
                };
                let own = !matches!(node.op, Op::Activation(_) | Op::Add) || operands.len() == node.inputs.len();
                pass(u64::from(own), linear, read, written)
            })
            .sum()
    }

    /// Everything that one target needs; notes what it needs of the forward pass.
    fn backward(&mut self, back: &Backward, explained: ValueId) -> Cost {
        // How many pieces of relevance have come to each tensor.
        let mut pieces = vec![0u64; self.network.values.len()];
        pieces[self.root[explained.0].0] = 1;
        let mut cost = pass(1, 0, self.len(explained), self.len(explained));
        let nodes: Vec<(usize, &Node)> = self.nodes().rev().collect();
        for (i, node) in nodes {
            if pieces[self.root[node.output.0].0] == 0 || matches!(node.op, Op::Reshape { .. }) {
                continue;
            }
            let (own, takers) = self.node_backward(back, node, &back.rules[i]);
            cost = cost + own;
            for value in takers {
                let piece = &mut pieces[self.root[value.0].0];
                *piece += 1;
                if *piece > 1 {
                    cost = cost + pass(0, 0, self.len(value), 0);
                }
            }
        }
        cost
    }

    /// The way back through a node, and the inputs that get relevance.
    fn node_backward(&mut self, back: &Backward, node: &'a Node, rule: &LayerRule) -> (Cost, Vec<ValueId>) {
        let input = node.inputs[0];
        let (x, y) = (self.len(input), self.len(node.output));
        let first = vec![input];
        let routed = |read: u64, written: u64| pass(1, 0, read, written);
        match rule {
            LayerRule::Linear(rule) => {
                let lowered = lower(rule, back.facts.known(node));
                (self.linear_backward(back, node, &lowered), first)
            }
            LayerRule::Activation(how) => {
                // ReLU's sign is that of its output; others need what they were given.
                let cost = match how {
                    ActivationRule::Pass => Cost::default(),
                    ActivationRule::Deconvnet if matches!(node.op, Op::Activation(Activation::Relu)) => Cost::default(),
                    _ => {
                        let relu = matches!(node.op, Op::Activation(Activation::Relu));
                        self.need(if relu { node.output } else { input });
                        pass(0, 0, x, 0)
                    }
                };
                (cost, first)
            }
            LayerRule::Pooling(how) => {
                let mut read = y;
                if *how == PoolingRule::Norm {
                    self.need_output(back, node);
                    self.need(input);
                    read += y + x;
                } else if let Op::Lrn(_) = node.op {
                    self.need(input);
                    read += x;
                }
                (routed(read, x), first)
            }
            LayerRule::Residual(how) => {
                match how {
                    ResidualRule::Gradient => return (Cost::default(), node.inputs.clone()),
                    ResidualRule::Shortcut | ResidualRule::Branch => {
                        return (Cost::default(), vec![node.inputs[branch(self.network, node, *how)]]);
                    }
                    ResidualRule::Norm | ResidualRule::Bounded => {}
                }
                let mut read = y;
                self.need_output(back, node);
                for value in &node.inputs {
                    self.need(*value);
                    read += self.len(*value);
                }
                (pass(0, 0, read, 0), node.inputs.clone())
            }
            LayerRule::Gate(how) => self.gate_backward(node, *how),
            LayerRule::Normalisation(how) => {
                let Op::Affine(affine) = &node.op else { return (Cost::default(), first) };
                let scale = affine.scale.as_ref().map_or(0, |s| s.len() as u64);
                let cost = match how {
                    NormalisationRule::Pass => Cost::default(),
                    NormalisationRule::Gradient => routed(y + scale, x),
                    NormalisationRule::Epsilon => {
                        self.need_output(back, node);
                        self.need(input);
                        routed(2 * y + x + scale, x)
                    }
                };
                (cost, first)
            }
            LayerRule::Winner => {
                self.winners = true;
                (routed(2 * y, x), first)
            }
            LayerRule::Distance(how) => {
                let Op::Distances(distances) = &node.op else { return (Cost::default(), first) };
                self.need(input);
                // The norm rule divides by the distances, which the forward pass stores with their offsets.
                let own = if *how == PoolingRule::Norm { y } else { 0 };
                if own > 0 {
                    self.need(node.output);
                }
                (pass(1, 0, y + own + x + distances.vectors.len() as u64, x), first)
            }
            LayerRule::SoftMin => {
                self.need(input);
                self.need(node.output);
                (routed(2 * y + x, x), first)
            }
            LayerRule::Route => {
                let inputs: u64 = node.inputs.iter().map(|v| self.len(*v)).sum();
                (routed(y, inputs), node.inputs.clone())
            }
            LayerRule::Recurrent(_) => self.recurrent_backward(node),
            LayerRule::Embedding => (routed(y, x), first),
            LayerRule::Softmax => (Cost::default(), Vec::new()),
            LayerRule::SoftmaxGradient => {
                self.need_output(back, node);
                (routed(2 * y, x), first)
            }
        }
    }

    fn gate_backward(&mut self, node: &Node, how: GateRule) -> (Cost, Vec<ValueId>) {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let y = self.len(node.output);
        let product = matches!(node.op, Op::Mul);
        let handed = |taker: ValueId| (Cost::default(), vec![taker]);
        match how {
            GateRule::Gradient => {
                let (a_len, b_len) = (self.len(a), self.len(b));
                self.need(a);
                self.need(b);
                (pass(1, 0, y + a_len + b_len, a_len + b_len), vec![a, b])
            }
            _ if a == b => handed(a),
            GateRule::Signal if !product => handed(a),
            GateRule::Signal => match gate(self.network, node) {
                Some(0) => handed(b),
                Some(_) => handed(a),
                None => (pass(1, 0, y, y), vec![a, b]),
            },
            GateRule::Half => (pass(1, 0, y, y), vec![a, b]),
        }
    }

    /// Relevance of the output, the states, gates and x in; the products with the signal's rows of both weights.
    fn recurrent_backward(&mut self, node: &Node) -> (Cost, Vec<ValueId>) {
        let Op::Recurrent(layer) = &node.op else { return (Cost::default(), Vec::new()) };
        let (x, y) = (self.len(node.inputs[0]), self.len(node.output));
        self.need(node.inputs[0]);
        self.need(node.output);
        let given = layer.given();
        let takers: Vec<ValueId> =
            std::iter::once(0).chain(given[..2].iter().copied().flatten()).map(|i| node.inputs[i]).collect();
        let written: u64 = takers.iter().map(|v| self.len(*v)).sum();
        let signal = (layer.hidden() * (layer.features() + layer.hidden())) as u64;
        let work = x / (layer.features() as u64).max(1) * signal;
        (pass(1, work, 2 * y + x + signal, written), takers)
    }

    fn linear_backward(&mut self, back: &Backward, node: &'a Node, lowered: &Lowered) -> Cost {
        let Some(layer) = self.layer(node) else { return Cost::default() };
        if lowered.products.is_empty() {
            return Cost::default();
        }
        let (x, y) = (self.len(node.inputs[0]), self.len(node.output));
        let (work, weight) = (layer.geometry.multiply_adds() as u64, layer.weight.len() as u64);
        let bias = |form: BiasForm| match (form, layer.bias) {
            (BiasForm::Form(_), Some(bias)) => bias.len() as u64,
            _ => 0,
        };
        let reads_input = lowered.products.iter().any(|p| matches!(p.factor, Factor::Input(_)));
        if reads_input || lowered.denominators.iter().any(|d| !d.terms.is_empty()) {
            self.need(node.inputs[0]);
        }
        if lowered.denominators.iter().any(|d| d.output || d.mask.is_some()) {
            self.need_output(back, node);
        }

        // Denominators. Their products over all of them, each kind once.
        let products: Vec<(Part, WeightForm)> =
            lowered.denominators.iter().flat_map(|d| d.terms.iter().copied()).collect();
        let mut forward = pass(0, work * distinct(&products), 0, 0);
        let mut adjoint_reads = 0;
        if lowered.denominators.is_empty() {
            adjoint_reads += y;
        }
        for denominator in &lowered.denominators {
            let forms = count_forms(denominator.terms.iter().map(|t| t.1));
            let masked = if denominator.mask.is_some() { y } else { 0 };
            if denominator.terms.is_empty() {
                adjoint_reads += y;
            } else if back.several {
                forward = forward + pass(1, 0, x + forms * weight + bias(denominator.bias), y);
                adjoint_reads += 2 * y + masked;
            } else {
                forward = forward + pass(1, 0, x + forms * weight + bias(denominator.bias) + y + masked, y);
                adjoint_reads += y;
            }
        }
        let products: Vec<(usize, WeightForm)> =
            lowered.products.iter().flat_map(|p| p.terms.iter().copied()).collect();
        let forms = count_forms(products.iter().map(|p| p.1));
        let factor = if reads_input { x } else { 0 };
        let adjoint = pass(1, work * distinct(&products), adjoint_reads + forms * weight + factor, x);
        if back.several {
            self.shared = self.shared + forward;
            adjoint
        } else {
            forward + adjoint
        }
    }

    /// Notes that the way back reads a tensor.
    fn need(&mut self, value: ValueId) {
        self.kept.insert(self.root[value.0]);
    }

    /// As [`Count::need`], for the output of a node. Where a ReLU comes behind it and R is 0 wherever it is not positive,
    /// the ReLU's output says the same.
    fn need_output(&mut self, back: &Backward, node: &Node) {
        let output = self.root[node.output.0];
        let mut relu = self.network.nodes().iter().filter(|n| n.inputs.contains(&node.output));
        let stand_in = relu.find(|n| matches!(n.op, Op::Activation(Activation::Relu))).map(|n| n.output);
        match stand_in {
            Some(stand_in) if back.facts.known(node).relevance_where_positive => self.need(stand_in),
            _ => self.need(output),
        }
    }
}

/// A cost by its number of values.
fn pass(dispatches: u64, multiply_adds: u64, read: u64, written: u64) -> Cost {
    Cost { dispatches, multiply_adds, bytes_read: read * WORD, bytes_written: written * WORD }
}

/// Different forms, no more than two where they are all made of W⁺ and W⁻.
fn count_forms(forms: impl Iterator<Item = WeightForm>) -> u64 {
    let mut different: Vec<WeightForm> = Vec::new();
    for form in forms {
        if !different.contains(&form) {
            different.push(form);
        }
    }
    let composed = different.iter().all(|f| !matches!(f, WeightForm::Square | WeightForm::Ones));
    if composed { different.len().min(2) as u64 } else { different.len() as u64 }
}

/// Different products of a source and a form of the weights.
fn distinct<S: Copy + PartialEq>(products: &[(S, WeightForm)]) -> u64 {
    let mut sources: Vec<S> = Vec::new();
    for (source, _) in products {
        if !sources.contains(source) {
            sources.push(*source);
        }
    }
    sources.iter().map(|s| count_forms(products.iter().filter(|p| p.0 == *s).map(|p| p.1))).sum()
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;
    use crate::network::{Conv, NetworkBuilder};
    use crate::tensor::Tensor;

    fn weights(shape: &[usize]) -> Tensor {
        let values = (0..shape.iter().product()).map(|i| (i as f32).sin()).collect();
        Tensor::from_f32(shape, values).unwrap()
    }

    fn conv(net: &mut NetworkBuilder, name: &str, x: ValueId, out: usize, own: usize) -> ValueId {
        net.conv(name, x, Conv::new(weights(&[out, own, 3, 3]), Some(weights(&[out]))).padding(1)).unwrap()
    }

    /// 2×4×4 → conv 3 → relu → conv 3 → + → relu → mean → dense 5.
    fn network() -> Network {
        let mut net = Network::builder("tiny");
        let x = net.input("x", &[2, 4, 4]);
        let y = conv(&mut net, "a", x, 3, 2);
        let a = net.relu("a.relu", y).unwrap();
        let y = conv(&mut net, "b", a, 3, 3);
        let y = net.sum("sum", &[y, a]).unwrap();
        let y = net.relu("b.relu", y).unwrap();
        let y = net.global_average_pool("mean", y).unwrap();
        let y = net.flatten("flat", y).unwrap();
        let y = net.dense("dense", y, weights(&[5, 3]), Some(weights(&[5]))).unwrap();
        net.output(y);
        net.build().unwrap()
    }

    // Values of x, of what is between, and of one channel's mean; weights and products of the layers.
    const X: u64 = 32;
    const A: u64 = 48;
    const WA: u64 = 54;
    const WB: u64 = 81;
    const MA: u64 = 48 * 18;
    const MB: u64 = 48 * 27;
    const MD: u64 = 15;

    fn options(network: &Network, several_targets: bool) -> PlanOptions {
        let output = network.outputs()[0];
        PlanOptions { batch: 1, output, layers: Vec::new(), conservation: false.into(), several_targets }
    }

    fn least(composite: &str, several: bool, targets: usize) -> Cost {
        let network = network();
        let composite = Composite::parse(composite).unwrap();
        Cost::least_explain(&network, &composite, &options(&network, several), targets).unwrap()
    }

    #[test]
    fn forward() {
        let cost = Cost::least_forward(&network(), 1).unwrap();
        // a: x → relu(a). b: relu(a) and, for the sum, relu(a) again, which is counted for the sum → relu(sum).
        // mean → 3 → dense → 5.
        let read = (X + WA + 3) + (A + WB + 3) + A + A + (3 + 15 + 5);
        let written = A + A + 3 + 5;
        assert_eq!(cost, pass(4, MA + MB + MD, read, written));
        // At a batch of 2 everything but the weights doubles.
        let two = Cost::least_forward(&network(), 2).unwrap();
        assert_eq!(two.multiply_adds, 2 * cost.multiply_adds);
        assert_eq!(two.bytes(), 2 * cost.bytes() - 4 * (WA + 3 + WB + 3 + 20));
    }

    #[test]
    fn one_modified_forward_and_one_adjoint_for_zplus() {
        let cost = least("epsilon-plus", false, 1);
        let forward = Cost::least_forward(&network(), 1).unwrap();
        // The input is signed: the first layer's z⁺ has two terms and two products. b and dense know their signs.
        let work = MD + 2 * MB + 4 * MA;
        assert_eq!(cost.multiply_adds, forward.multiply_adds + work);
        // The sum's share needs b itself.
        let forward = (forward.bytes_read, forward.bytes_written + 4 * A);
        let read = 5 // seed
            + (5 + 15 + 3) // dense, ε: s, W, x
            + (3 + 3 + A) // mean: R, y, x
            + (A + 2 * A) // sum: itself, b, a
            + (A + WB + 3 + A) + (A + WB + A) // b: x, W, bias, R; s, W, x
            + A // the second piece of a's relevance
            + (X + 2 * WA + 3 + A) + (A + 2 * WA + X); // a
        let written = 5 + 3 + A + (A + A) + (A + X);
        assert_eq!((cost.bytes_read, cost.bytes_written), (forward.0 + 4 * read, forward.1 + 4 * written));
    }

    #[test]
    fn several_targets_share_denominators() {
        let one = least("epsilon-plus", true, 1);
        let ten = least("epsilon-plus", true, 10);
        assert_eq!(one.multiply_adds, least("epsilon-plus", false, 1).multiply_adds);
        assert_eq!(ten.multiply_adds - one.multiply_adds, 9 * (MD + MB + 2 * MA));
    }

    #[test]
    fn terms_that_rules_need() {
        let forward = MA + MB + MD;
        let work = |composite: &str| least(composite, false, 1).multiply_adds - forward;
        // ε: the forward pass has z.
        assert_eq!(work("epsilon"), forward);
        // γ at a residual sum needs both signs; its input has only one. The box needs W⁺ᵀs and W⁻ᵀs.
        assert_eq!(work("epsilon-gamma-box:-1,1"), 2 * MA + 4 * MB + MD);
        assert_eq!(work("epsilon-alpha2-beta1"), 8 * MA + 4 * MB + MD);
        // Flat: one adjoint.
        assert_eq!(work("epsilon-plus-flat"), MA + 2 * MB + MD);
    }

    #[test]
    fn what_is_dispatched_is_not_less() {
        let network = network();
        for name in ["epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-alpha2-beta1", "gradient", "deep-taylor"]
        {
            for (several, targets) in [(false, 1), (true, 3)] {
                let composite = Composite::parse(name).unwrap();
                let plan = Plan::explain(&network, &composite, &options(&network, several)).unwrap();
                let (cost, least) = (plan.cost(targets), least(name, several, targets));
                assert!(cost.multiply_adds >= least.multiply_adds, "{name}: {cost:?} {least:?}");
                assert!(cost.bytes() >= least.bytes(), "{name}: {cost:?} {least:?}");
            }
        }
    }
}
