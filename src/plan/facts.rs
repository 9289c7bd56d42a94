//! What is known about tensors before the network runs. It makes rules cheap: see [`Known`].

use crate::network::{Activation, Network, Node, Op, Resample, ValueId};
use crate::rules::lower::{Known, lower};
use crate::rules::{ActivationRule, LayerRule, NormalisationRule, PoolingRule, ResidualRule};

/// Facts about every tensor of a network under a composite.
pub(super) struct Facts {
    /// No value is negative, whatever the input.
    non_negative: Vec<bool>,
    /// Relevance is 0 wherever the value is not positive.
    relevance_where_positive: Vec<bool>,
}

impl Facts {
    pub fn of(network: &Network, rules: &[LayerRule], explained: ValueId, live: &[bool]) -> Facts {
        let count = network.values.len();
        let mut facts = Facts { non_negative: vec![false; count], relevance_where_positive: vec![true; count] };
        for node in network.nodes() {
            facts.non_negative[node.output.0] = facts.is_non_negative(node);
        }
        // A value is `zero_kept` if its relevance is 0 wherever it is 0.
        let mut zero_kept = vec![true; count];
        for start in [&mut zero_kept, &mut facts.relevance_where_positive] {
            start[explained.0] = false;
        }
        for (i, node) in network.nodes().iter().enumerate().rev() {
            if !live[i] {
                continue;
            }
            for input in &node.inputs {
                let kept = facts.keeps_zero(node, &rules[i], *input, zero_kept[node.output.0]);
                zero_kept[input.0] &= kept;
                let positive = facts.keeps_negative_out(node, &rules[i], zero_kept[node.output.0]);
                facts.relevance_where_positive[input.0] &= positive || (kept && facts.non_negative[input.0]);
            }
        }
        facts
    }

    /// Whether a tensor's relevance is 0 wherever its value is not positive.
    pub fn relevance_where_positive(&self, value: ValueId) -> bool {
        self.relevance_where_positive[value.0]
    }

    /// What is known about a linear layer.
    pub fn known(&self, node: &Node) -> Known {
        Known {
            input_non_negative: self.non_negative[node.inputs[0].0],
            relevance_where_positive: self.relevance_where_positive[node.output.0],
        }
    }

    fn is_non_negative(&self, node: &Node) -> bool {
        let inputs = || node.inputs.iter().all(|i| self.non_negative[i.0]);
        match &node.op {
            Op::Activation(activation) => match activation {
                Activation::Relu | Activation::Sigmoid | Activation::HardSigmoid { .. } | Activation::Softplus => true,
                Activation::Sqrt | Activation::Exp | Activation::Abs => true,
                Activation::Log => false,
                Activation::Clip { low, high } => *high >= 0.0 && (*low >= 0.0 || inputs()),
                Activation::Selu { gamma, .. } => *gamma >= 0.0 && inputs(),
                _ => inputs(),
            },
            Op::Resample(r) => inputs() && r.maps.iter().all(|(_, map)| map.is_non_negative()),
            Op::Softmax { log, .. } => !log,
            Op::Distances(distances) => distances.offsets.is_none(),
            Op::SoftMin { .. } => false,
            Op::MaxPool(_) | Op::Add | Op::Mul | Op::Div | Op::Concat { .. } => inputs(),
            Op::Transpose { .. } | Op::Reshape { .. } | Op::Lrn(_) => inputs(),
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense(_) | Op::Affine(_) | Op::Sub => false,
            Op::Recurrent(_) | Op::Embedding(_) => false,
        }
    }

    /// Whether the relevance that `input` gets from this node is 0 wherever the input is 0.
    fn keeps_zero(&self, node: &Node, rule: &LayerRule, input: ValueId, output_keeps: bool) -> bool {
        match rule {
            LayerRule::Linear(rule) => {
                rule.bias_factor == 0.0 && lower(rule, self.known(node)).is_proportional_to_input()
            }
            // Without biases handed on, x and the states are factors of what they get.
            LayerRule::Recurrent(rule) => rule.bias_factor == 0.0,
            LayerRule::Embedding => false,
            LayerRule::Activation(how) => match &node.op {
                Op::Activation(Activation::Relu) => match how {
                    ActivationRule::Pass | ActivationRule::Deconvnet => output_keeps,
                    ActivationRule::Gradient | ActivationRule::Guided => true,
                },
                Op::Activation(Activation::Sigmoid | Activation::HardSigmoid { .. } | Activation::Softplus) => false,
                Op::Activation(Activation::Clip { low, high }) => output_keeps && *low <= 0.0 && *high >= 0.0,
                Op::Activation(Activation::Exp | Activation::Log | Activation::Reciprocal) => false,
                Op::Activation(Activation::Pow { exponent }) => output_keeps && *exponent > 0.0,
                _ => output_keeps,
            },
            LayerRule::Pooling(PoolingRule::Norm) => true,
            LayerRule::Residual(ResidualRule::Norm | ResidualRule::Bounded) => true,
            LayerRule::Pooling(PoolingRule::Gradient) | LayerRule::Residual(_) => false,
            // The product is 0 where the input is 0; a quotient too where the input is the numerator.
            LayerRule::Gate(crate::rules::GateRule::Gradient) => false,
            LayerRule::Gate(_) => output_keeps && (matches!(node.op, Op::Mul) || node.inputs[0] == input),
            LayerRule::Normalisation(how) => match &node.op {
                Op::Affine(affine) => *how == NormalisationRule::Epsilon || (affine.shift.is_none() && output_keeps),
                _ => false,
            },
            LayerRule::Winner => output_keeps,
            LayerRule::Route => match &node.op {
                Op::Resample(resample) => output_keeps && copies(resample),
                _ => output_keeps,
            },
            LayerRule::Distance(_) | LayerRule::SoftMin => false,
            LayerRule::Softmax | LayerRule::SoftmaxGradient => false,
        }
    }

    /// Whether the relevance the node's input gets is 0 wherever that input is not positive: it goes through a ReLU, or
    /// one with an upper limit.
    fn keeps_negative_out(&self, node: &Node, rule: &LayerRule, output_keeps: bool) -> bool {
        let LayerRule::Activation(how) = rule else { return false };
        let relu = match &node.op {
            Op::Activation(Activation::Relu) => true,
            Op::Activation(Activation::Clip { low, high }) => *low == 0.0 && *high > 0.0,
            _ => false,
        };
        relu && match how {
            ActivationRule::Pass | ActivationRule::Deconvnet => output_keeps,
            ActivationRule::Gradient | ActivationRule::Guided => true,
        }
    }
}

/// Whether every output is a copy of one input, or padding.
fn copies(resample: &Resample) -> bool {
    resample.maps.iter().all(|(_, map)| {
        map.starts().windows(2).all(|w| w[1] - w[0] <= 1) && map.weights().iter().all(|weight| *weight == 1.0)
    })
}
