//! Which axis counts samples where the file fixes every size.

use super::{Dim, Network, Node, Op, ValueId};

impl Network {
    /// Whether the first axis of every input comes to `output` as its first axis, with nothing mixed along it: in a network
    /// with recurrent layers it may be that of the steps.
    pub(super) fn first_axis_counts_samples(&self, output: ValueId) -> bool {
        let mut axes: Vec<Option<usize>> = vec![None; self.values.len()];
        for input in &self.inputs {
            axes[input.0] = Some(0);
        }
        for node in &self.nodes {
            axes[node.output.0] = self.samples_behind(node, &axes);
        }
        axes[output.0] == Some(0)
    }

    /// The axis of a node's output that counts samples, if none of its inputs lacks one and the node mixes nothing along it.
    fn samples_behind(&self, node: &Node, axes: &[Option<usize>]) -> Option<usize> {
        let own = |i: usize| axes[node.inputs.get(i)?.0];
        let all = |axis: usize| (0..node.inputs.len()).all(|i| own(i) == Some(axis));
        let sizes = |value: ValueId| -> Option<Vec<usize>> {
            self.value(value).shape.iter().map(|dim: &Dim| dim.fixed()).collect()
        };
        let axis = own(0)?;
        let kept = match &node.op {
            Op::Activation(_) | Op::Affine(_) | Op::Embedding(_) => true,
            Op::Dense(_) | Op::Distances(_) | Op::SoftMin { .. } => axis + 1 < self.value(node.output).shape.len(),
            Op::Conv(_) | Op::ConvTranspose(_) | Op::MaxPool(_) | Op::Lrn(_) => axis == 0,
            Op::Resample(resample) => resample.maps.iter().all(|(mapped, _)| *mapped != axis),
            Op::Softmax { axis: along, .. } => *along != axis,
            Op::Concat { axis: along } => *along != axis && all(axis),
            Op::Add | Op::Sub | Op::Mul | Op::Div => {
                let rank = |value: &ValueId| self.value(*value).shape.len();
                all(axis) && node.inputs.iter().all(|input| rank(input) == rank(&node.output))
            }
            // Steps come first; states and lengths begin with the samples.
            Op::Recurrent(_) => axis == 1 && (1..node.inputs.len()).all(|i| own(i) == Some(0)),
            Op::Transpose { perm } => return perm.iter().position(|from| *from == axis),
            Op::Reshape { .. } => {
                let (before, after) = (sizes(node.inputs[0])?, sizes(node.output)?);
                let outer: usize = before[..axis].iter().product();
                return (0..after.len())
                    .find(|to| after[*to] == before[axis] && after[..*to].iter().product::<usize>() == outer);
            }
        };
        kept.then_some(axis)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Cell, Given, NetworkBuilder, Recurrent, Squash};
    use super::*;
    use crate::tensor::Tensor;

    fn layer(net: &mut NetworkBuilder, x: ValueId) -> ValueId {
        let ones = |shape: [usize; 2]| Arc::new(Tensor::from_f32(shape, vec![1.0; shape[0] * shape[1]]).unwrap());
        let layer = Recurrent {
            cell: Cell::Rnn { function: Squash::Tanh },
            weight: ones([2, 3]),
            recurrence: ones([2, 2]),
            bias: None,
            reverse: false,
            initial_h: Given::Default,
            initial_c: Given::Default,
            lengths: Given::Default,
            finals: false,
        };
        net.add("rnn", Op::Recurrent(layer), &[x]).unwrap()
    }

    #[test]
    fn steps_are_no_samples() {
        let fixed = |sizes: [usize; 3]| sizes.map(Dim::Fixed).to_vec();
        // Steps first: a run is one sample.
        let mut net = Network::builder("steps first");
        let x = net.input_with_shape("x", fixed([4, 1, 3]));
        let y = layer(&mut net, x);
        net.output(y);
        let net = net.build().unwrap();
        assert_eq!(net.fixed_batch(net.outputs()[0]), Some(1));
        // Samples first, steps behind them.
        let mut net = Network::builder("samples first");
        let x = net.input_with_shape("x", fixed([4, 5, 3]));
        let by_steps = net.add("by steps", Op::Transpose { perm: vec![1, 0, 2] }, &[x]).unwrap();
        let y = layer(&mut net, by_steps);
        let y = net.add("by samples", Op::Transpose { perm: vec![1, 0, 2] }, &[y]).unwrap();
        let shape = vec![Dim::Fixed(4), Dim::Fixed(10)];
        let y = net.add("flat", Op::Reshape { shape }, &[y]).unwrap();
        net.output(y);
        let net = net.build().unwrap();
        assert_eq!(net.fixed_batch(net.outputs()[0]), Some(4));
    }
}
