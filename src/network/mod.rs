//! A network as data: nodes in data-flow order, the tensors between them, and their shapes.
//!
//! A [`Network`] comes from an ONNX file ([`Network::from_onnx`]) or from Rust ([`Network::builder`]). Every node has one
//! output; constants live inside their op. Shapes keep the batch size open ([`Dim::Batch`]) until a plan fixes it.

mod axis_map;
mod builder;
mod canonize;
mod explained;
mod op;
mod recurrent;
mod samples;
pub(crate) mod shape;
mod svm;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::tensor::Tensor;

pub use axis_map::AxisMap;
pub use builder::NetworkBuilder;
pub use op::{Activation, Affine, Conv, Dense, Distances, Lrn, MaxPool, Op, Resample, ResampleKind};
pub(crate) use recurrent::check_whole;
pub use recurrent::{Cell, Embedding, Given, Recurrent, Squash, WholeInput};
pub use shape::Dim;
pub use svm::OneClassSvm;

/// Names a tensor of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

/// A tensor between nodes: an input, or the output of a node.
#[derive(Clone, Debug)]
pub struct Value {
    /// Unique name.
    pub name: String,
    /// Shape, with the batch size open.
    pub shape: Vec<Dim>,
}

/// One layer: an op, what it reads, and the tensor it makes.
#[derive(Clone, Debug)]
pub struct Node {
    /// Unique name.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub output: ValueId,
}

/// A feed-forward network.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) values: Vec<Value>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

impl Network {
    /// Starts a network in Rust.
    pub fn builder(name: impl Into<String>) -> NetworkBuilder {
        NetworkBuilder::new(name)
    }

    /// The network's name, for messages: the file it came from, or what the builder was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes in data-flow order: every node comes after those it reads from.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A tensor by its id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The node that makes a tensor, or `None` for an input.
    pub fn producer(&self, id: ValueId) -> Option<&Node> {
        self.nodes.iter().find(|n| n.output == id)
    }

    /// The tensor of that name: an input, or the output of the node or tensor so named.
    ///
    /// # Errors
    /// [`Error::Input`] with the nearest names when there is none.
    pub fn find(&self, name: &str) -> Result<ValueId> {
        if let Some(at) = self.values.iter().position(|v| v.name == name) {
            return Ok(ValueId(at));
        }
        if let Some(node) = self.nodes.iter().find(|n| n.name == name) {
            return Ok(node.output);
        }
        let names = self.values.iter().map(|v| v.name.as_str()).chain(self.nodes.iter().map(|n| n.name.as_str()));
        let near = crate::text::nearest(name, names, 3).join(", ");
        Err(Error::Input(format!(
            "{}: there is no layer or tensor \"{name}\"; the nearest names are: {near}",
            self.name
        )))
    }

    /// Whether the batch size is open. A network whose file fixes every axis runs at that size only.
    pub fn has_open_batch(&self) -> bool {
        self.inputs.iter().any(|i| self.value(*i).shape.iter().any(|d| matches!(d, Dim::Batch(_))))
    }

    /// The number of samples in a run where the file fixes it, `None` where the batch is open. It is the size of the first
    /// axis where all inputs and `output` share it, and recurrent layers do not step along it; else nothing says which axis counts samples, and a run is one sample.
    pub fn fixed_batch(&self, output: ValueId) -> Option<usize> {
        if self.has_open_batch() {
            return None;
        }
        let first = |id: &ValueId| match self.value(*id).shape.as_slice() {
            [Dim::Fixed(size), _, ..] => Some(*size),
            _ => None,
        };
        let own = self.value(output).shape.first().and_then(|d| d.fixed()).unwrap_or(1);
        let recurrent = self.nodes.iter().any(|node| matches!(node.op, Op::Recurrent(_)));
        let counts = self.inputs.iter().all(|i| first(i) == Some(own));
        Some(if counts && (!recurrent || self.first_axis_counts_samples(output)) { own } else { 1 })
    }

    /// The same network with other outputs: any of its tensors.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none.
    pub fn with_outputs(&self, outputs: &[ValueId]) -> Result<Network> {
        if outputs.is_empty() {
            return Err(Error::Input(format!("{}: a network needs an output", self.name)));
        }
        Ok(Network { outputs: outputs.to_vec(), ..self.clone() })
    }

    /// The same network with other weights: each constant of each node (weights, biases, scales) becomes what `change` makes of
    /// it, a tensor of the same shape.
    ///
    /// # Errors
    /// [`Error::Input`] naming the node whose constant changed its shape.
    pub fn map_weights(&self, mut change: impl FnMut(&Node, &Tensor) -> Tensor) -> Result<Network> {
        let mut network = self.clone();
        for (node, old) in network.nodes.iter_mut().zip(&self.nodes) {
            for constant in node.op.constants_mut() {
                let changed = change(old, constant);
                if changed.shape() != constant.shape() {
                    let (was, is) = (constant.shape(), changed.shape());
                    return Err(Error::Input(format!(
                        "{}: node \"{}\": a constant of shape {was:?} cannot become one of shape {is:?}",
                        self.name, old.name
                    )));
                }
                *constant = Arc::new(changed);
            }
        }
        Ok(network)
    }

    /// Number of constants (weights, biases, scales) in the network.
    pub fn parameter_count(&self) -> usize {
        self.nodes.iter().flat_map(|n| n.op.constants()).map(|t| t.len()).sum()
    }
}
