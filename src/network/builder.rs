//! Building a [`Network`] node by node. The ONNX reader uses the same builder.

use std::collections::HashSet;
use std::sync::Arc;

use super::op::{Activation, Affine, Conv, Dense, MaxPool, Op, Resample, ResampleKind};
use super::shape::{self, Dim};
use super::{AxisMap, Network, Node, Value, ValueId};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Builds a [`Network`] node by node; each call checks shapes and returns the tensor it made.
///
/// ```
/// use relprop::{Conv, Network, Tensor};
///
/// # fn main() -> relprop::Result<()> {
/// let mut net = Network::builder("tiny");
/// let x = net.input("x", &[1, 4, 4]);
/// let w = Tensor::from_f32([2, 1, 3, 3], vec![0.1; 18])?;
/// let y = net.conv("conv", x, Conv::new(w, None).padding(1))?;
/// let y = net.relu("relu", y)?;
/// let y = net.global_average_pool("mean", y)?;
/// let y = net.flatten("flat", y)?;
/// net.output(y);
/// let net = net.build()?;
/// assert_eq!(net.nodes().len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NetworkBuilder {
    network: Network,
    value_names: HashSet<String>,
    node_names: HashSet<String>,
}

impl NetworkBuilder {
    pub(super) fn new(name: impl Into<String>) -> NetworkBuilder {
        let network = Network {
            name: name.into(),
            nodes: Vec::new(),
            values: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        NetworkBuilder { network, value_names: HashSet::new(), node_names: HashSet::new() }
    }

    /// Adds an input of shape batch × `sample`.
    pub fn input(&mut self, name: &str, sample: &[usize]) -> ValueId {
        let mut shape = vec![Dim::Batch(1)];
        shape.extend(sample.iter().map(|n| Dim::Fixed(*n)));
        self.input_with_shape(name, shape)
    }

    /// Adds an input whose batch axis, if there is one, stands where [`Dim::Batch`] does.
    pub fn input_with_shape(&mut self, name: &str, shape: Vec<Dim>) -> ValueId {
        let id = self.value(name, shape);
        self.network.inputs.push(id);
        id
    }

    /// The inputs so far.
    pub(crate) fn inputs(&self) -> &[ValueId] {
        &self.network.inputs
    }

    /// The tensor whose values a tensor has, in some order.
    pub(crate) fn routed_from(&self, id: ValueId) -> Option<ValueId> {
        self.network.routed_from(id)
    }

    /// Whether a tensor's values are those of an input, in some order.
    pub(crate) fn is_given(&self, id: ValueId) -> bool {
        self.routed_from(id).is_some_and(|from| self.network.inputs.contains(&from))
    }

    /// The shape of a tensor made so far.
    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.network.values[id.0].shape
    }

    /// Adds a node. A name that is taken gets a number.
    ///
    /// # Errors
    /// [`Error::Shape`] when the inputs do not fit the op; [`Error::Malformed`] when a weight is NaN or infinite.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        self.add_named(name, name, op, inputs)
    }

    /// Adds a node whose output has a name of its own. Errors as [`NetworkBuilder::add`].
    pub(crate) fn add_named(&mut self, name: &str, output: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let place = || self.node_place(name, op.name());
        for constant in op.constants() {
            if let Some(at) = constant.first_non_finite() {
                return Err(Error::malformed(place(), format!("weight {at} of {:?} is not finite", constant.shape())));
            }
        }
        let shapes: Vec<&[Dim]> = inputs.iter().map(|i| self.shape(*i)).collect();
        let shape = shape::infer(&op, &shapes).map_err(|what| Error::shape(place(), what))?;
        if shape::volume(&shape).is_some_and(|(n, _)| n == 0) {
            let what = format!("the empty output {}", shape::display(&shape));
            return Err(Error::unsupported(place(), what, "tensors hold at least one value"));
        }
        if !shape::is_possible(&shape) {
            return Err(Error::shape(place(), format!("the output {} is too large", shape::display(&shape))));
        }
        let output = self.value(output, shape);
        let name = if name.is_empty() { &self.network.values[output.0].name } else { name };
        let name = unique(&mut self.node_names, name);
        self.network.nodes.push(Node { name, op, inputs: inputs.to_vec(), output });
        Ok(output)
    }

    /// Gives a tensor another name, as far as that is free.
    pub(crate) fn rename(&mut self, id: ValueId, name: &str) {
        if self.network.values[id.0].name != name {
            self.network.values[id.0].name = unique(&mut self.value_names, name);
        }
    }

    /// Adds a convolution. Errors as [`NetworkBuilder::add`].
    pub fn conv(&mut self, name: &str, x: ValueId, conv: Conv) -> Result<ValueId> {
        self.add(name, Op::Conv(conv), &[x])
    }

    /// Adds a transposed convolution. Errors as [`NetworkBuilder::add`].
    pub fn conv_transpose(&mut self, name: &str, x: ValueId, conv: Conv) -> Result<ValueId> {
        self.add(name, Op::ConvTranspose(conv), &[x])
    }

    /// Adds a dense layer on the last axis: weights `out × in`. Errors as [`NetworkBuilder::add`].
    pub fn dense(&mut self, name: &str, x: ValueId, weight: Tensor, bias: Option<Tensor>) -> Result<ValueId> {
        self.add(name, Op::Dense(Dense { weight: Arc::new(weight), bias: bias.map(Arc::new) }), &[x])
    }

    /// Adds batch normalisation by its folded constants, one for each channel (axis 1): `x·scale + shift` with
    /// scale = γ/√(var+ε) and shift = β − mean·scale. Errors as [`NetworkBuilder::add`].
    pub fn batch_norm(&mut self, name: &str, x: ValueId, scale: Tensor, shift: Tensor) -> Result<ValueId> {
        let rank = self.shape(x).len();
        let column = |t: Tensor| -> Result<Arc<Tensor>> {
            let mut dims = vec![1; rank.saturating_sub(1)];
            if let Some(first) = dims.first_mut() {
                *first = t.len();
            }
            Ok(Arc::new(t.reshape(dims)?))
        };
        let (scale, shift) = (Some(column(scale)?), Some(column(shift)?));
        self.add(name, Op::Affine(Affine { scale, shift, origin: "BatchNormalization" }), &[x])
    }

    /// Adds an activation. Errors as [`NetworkBuilder::add`].
    pub fn activation(&mut self, name: &str, x: ValueId, activation: Activation) -> Result<ValueId> {
        self.add(name, Op::Activation(activation), &[x])
    }

    /// Adds a ReLU. Errors as [`NetworkBuilder::add`].
    pub fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        self.activation(name, x, Activation::Relu)
    }

    /// Adds a maximum pooling. Errors as [`NetworkBuilder::add`].
    pub fn max_pool(&mut self, name: &str, x: ValueId, pool: MaxPool) -> Result<ValueId> {
        self.add(name, Op::MaxPool(pool), &[x])
    }

    /// Adds an average pooling with square windows of `kernel` and no padding. Errors as [`NetworkBuilder::add`].
    pub fn average_pool(&mut self, name: &str, x: ValueId, kernel: usize, stride: usize) -> Result<ValueId> {
        let windows = (2..self.shape(x).len())
            .map(|axis| {
                Ok((axis, AxisMap::average(self.fixed(name, x, axis)?, kernel, stride, 1, [0, 0], false, true)?))
            })
            .collect::<Result<Vec<_>>>()?;
        self.resample(name, x, ResampleKind::AveragePool, windows)
    }

    /// Adds an average over all spatial axes, which stay with size 1. Errors as [`NetworkBuilder::add`].
    pub fn global_average_pool(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let maps = (2..self.shape(x).len())
            .map(|axis| {
                let size = self.fixed(name, x, axis)?;
                Ok((axis, AxisMap::reduce(size, 1.0 / size as f64)?))
            })
            .collect::<Result<Vec<_>>>()?;
        self.resample(name, x, ResampleKind::AveragePool, maps)
    }

    /// Adds a separable linear map. Errors as [`NetworkBuilder::add`].
    pub fn resample(
        &mut self,
        name: &str,
        x: ValueId,
        kind: ResampleKind,
        maps: Vec<(usize, AxisMap)>,
    ) -> Result<ValueId> {
        let maps = maps.into_iter().map(|(axis, map)| (axis, Arc::new(map))).collect();
        self.add(name, Op::Resample(Resample { kind, maps }), &[x])
    }

    /// Adds a sum: residual connections. Errors as [`NetworkBuilder::add`].
    pub fn sum(&mut self, name: &str, inputs: &[ValueId]) -> Result<ValueId> {
        self.add(name, Op::Add, inputs)
    }

    /// Joins tensors along an axis. Errors as [`NetworkBuilder::add`].
    pub fn concat(&mut self, name: &str, inputs: &[ValueId], axis: usize) -> Result<ValueId> {
        self.add(name, Op::Concat { axis }, inputs)
    }

    /// Adds a reshape to batch × everything else. Errors as [`NetworkBuilder::add`].
    pub fn flatten(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let shape = self.shape(x);
        let rest = shape.iter().skip(1).try_fold(1usize, |n, d| n.checked_mul(d.fixed()?));
        let first = shape.first().copied().unwrap_or(Dim::Fixed(1));
        let rest = rest.ok_or_else(|| Error::shape(format!("node \"{name}\""), "the batch axis is not the first"))?;
        self.add(name, Op::Reshape { shape: vec![first, Dim::Fixed(rest)] }, &[x])
    }

    /// Makes a tensor an output of the network.
    pub fn output(&mut self, id: ValueId) {
        self.network.outputs.push(id);
    }

    /// Finishes: merges batch norms into the linear layers they follow, recognises composed activations, drops what no
    /// output needs.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there is no input or no output; [`Error::Shape`] when an input is empty.
    pub fn build(self) -> Result<Network> {
        let network = self.network;
        if network.inputs.is_empty() || network.outputs.is_empty() {
            return Err(Error::malformed(network.name, "a network needs at least one input and one output"));
        }
        for value in network.inputs.iter().map(|i| network.value(*i)) {
            if !shape::is_possible(&value.shape) {
                let what = format!("the shape {} is too large, or empty", shape::display(&value.shape));
                return Err(Error::shape(format!("{}: input \"{}\"", network.name, value.name), what));
            }
        }
        super::canonize::canonize(network)
    }

    /// A message's place for a node.
    pub(super) fn node_place(&self, name: &str, op: &str) -> String {
        format!("{}: node \"{name}\" ({op})", self.network.name)
    }

    fn value(&mut self, name: &str, shape: Vec<Dim>) -> ValueId {
        let numbered = format!("tensor{}", self.network.values.len());
        let name = unique(&mut self.value_names, if name.is_empty() { &numbered } else { name });
        self.network.values.push(Value { name, shape });
        ValueId(self.network.values.len() - 1)
    }

    fn fixed(&self, name: &str, x: ValueId, axis: usize) -> Result<usize> {
        let dim = self.shape(x).get(axis).copied().and_then(Dim::fixed);
        dim.ok_or_else(|| Error::shape(format!("node \"{name}\""), format!("axis {axis} is the batch axis")))
    }
}

/// Takes `name`, with a number where it is taken.
fn unique(names: &mut HashSet<String>, name: &str) -> String {
    let mut unique = name.to_string();
    let mut number = 2;
    while !names.insert(unique.clone()) {
        unique = format!("{name}_{number}");
        number += 1;
    }
    unique
}

impl Conv {
    /// A convolution with stride 1, dilation 1, no padding, one group. Weights `M×C/groups×kernel…`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Conv {
        let rank = weight.shape().len().saturating_sub(2);
        Conv {
            weight: Arc::new(weight),
            bias: bias.map(Arc::new),
            groups: 1,
            strides: vec![1; rank],
            dilations: vec![1; rank],
            pads: vec![[0, 0]; rank],
            output_padding: vec![0; rank],
        }
    }

    /// The same padding on every side.
    pub fn padding(mut self, pad: usize) -> Conv {
        self.pads.fill([pad, pad]);
        self
    }

    /// The same stride on every axis.
    pub fn stride(mut self, stride: usize) -> Conv {
        self.strides.fill(stride);
        self
    }

    /// Another number of groups.
    pub fn groups(mut self, groups: usize) -> Conv {
        self.groups = groups;
        self
    }

    /// The same dilation on every axis.
    pub fn dilation(mut self, dilation: usize) -> Conv {
        self.dilations.fill(dilation);
        self
    }
}

impl MaxPool {
    /// Windows of `kernel` on each of `rank` axes, no padding, dilation 1.
    pub fn new(rank: usize, kernel: usize, stride: usize) -> MaxPool {
        MaxPool {
            kernel: vec![kernel; rank],
            strides: vec![stride; rank],
            dilations: vec![1; rank],
            pads: vec![[0, 0]; rank],
            ceil: false,
        }
    }

    /// The same padding on every side.
    pub fn padding(mut self, pad: usize) -> MaxPool {
        self.pads.fill([pad, pad]);
        self
    }
}
