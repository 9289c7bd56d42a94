//! The forward pass: each op as steps.

use super::linear::layer;
use super::planner::{Pass, Planner, three};
use super::*;
use crate::error::{Error, Result};
use crate::network::{Activation as Function, Affine, Node, Op, Resample as Resampling};

/// Axes in the transpose kernel.
const MAX_AXES: usize = 6;

impl Planner<'_> {
    /// Adds a node's forward steps.
    pub fn add_forward(&mut self, node: &Node) -> Result<()> {
        let input = node.inputs[0];
        let output = match &node.op {
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense(_) => {
                let (from, to) = (self.shape(input), self.shape(node.output));
                match layer(node, &from, &to) {
                    Some(layer) => self.linear_forward(node, &layer)?,
                    None => return Err(Error::shape(self.place(node), "is not linear")),
                }
            }
            Op::Affine(affine) => self.affine(node, affine)?,
            Op::Activation(activation) => {
                let slope = self.slope(node, activation);
                let source = self.value(input)?;
                let len = self.len(input);
                let output = self.buffer(len, &node.name);
                let activation = activation.clone();
                self.forward.push(Step::Activation(ActivationForward { activation, slope, source, output, len }));
                output
            }
            Op::MaxPool(_) => self.max_pool(node)?,
            Op::Resample(resampling) => self.resample(node, resampling)?,
            Op::Add | Op::Sub | Op::Mul | Op::Div => self.arithmetic(node)?,
            Op::Concat { axis } => self.concat(node, *axis)?,
            Op::Transpose { perm } => {
                let from = self.shape(input);
                let source = self.value(input)?;
                let step = self.transpose(node, perm, &from, source)?;
                let output = step.output;
                self.forward.push(Step::Transpose(step));
                output
            }
            Op::Reshape { .. } => self.value(input)?,
            Op::Softmax { axis, log } => {
                let shape = self.shape(input);
                let source = self.value(input)?;
                let output = self.buffer(shape.iter().product(), &node.name);
                self.forward.push(Step::Softmax(Softmax {
                    source,
                    output,
                    outer: shape[..*axis].iter().product(),
                    size: shape[*axis],
                    inner: shape[axis + 1..].iter().product(),
                    log: *log,
                }));
                output
            }
            Op::Recurrent(layer) => self.recurrent_forward(node, layer)?,
            Op::Embedding(embedding) => self.embedding_forward(node, embedding)?,
            Op::Lrn(_) => {
                let output = self.buffer(self.len(input), &node.name);
                let step = self.lrn(node, output)?;
                self.forward.push(Step::Lrn(step));
                output
            }
            Op::Distances(distances) => self.distances(node, distances)?,
            Op::SoftMin { gamma } => self.soft_min(node, *gamma)?,
        };
        self.values[node.output.0] = Some(output);
        Ok(())
    }

    /// The slopes of a PRelu, along the channels.
    pub fn slope(&mut self, node: &Node, activation: &Function) -> Option<Operand> {
        let Function::PRelu { slope } = activation else { return None };
        let shape = self.shape(node.inputs[0]);
        let inner = shape.iter().skip(2).product();
        let buffer = self.constant(slope.to_vec(), format!("slopes of {}", node.name));
        Some(Operand { buffer, inner, count: slope.len() })
    }

    /// The step of an LRN node.
    pub fn lrn(&self, node: &Node, output: BufferId) -> Result<LrnForward> {
        let Op::Lrn(lrn) = node.op else {
            return Err(Error::shape(self.place(node), "is not a local response normalisation"));
        };
        let shape = self.shape(node.inputs[0]);
        Ok(LrnForward {
            lrn,
            batch: shape[0],
            channels: shape[1],
            inner: shape[2..].iter().product(),
            source: self.value(node.inputs[0])?,
            output,
        })
    }

    fn affine(&mut self, node: &Node, affine: &Affine) -> Result<BufferId> {
        let shape = self.shape(node.inputs[0]);
        let len = shape.iter().product();
        let mut value = self.value(node.inputs[0])?;
        let parts = [(BinaryOp::Mul, &affine.scale), (BinaryOp::Add, &affine.shift)];
        for (op, constant) in parts.into_iter().filter_map(|(op, c)| Some((op, c.as_ref()?))) {
            let b = self.constant_operand(constant, &shape, &node.name)?;
            let a = self.whole(value);
            value = self.buffer(len, &node.name);
            self.forward.push(Step::Binary(Binary { op, a, b, activation: None, output: value, len }));
        }
        Ok(value)
    }

    fn max_pool(&mut self, node: &Node) -> Result<BufferId> {
        let Op::MaxPool(pool) = &node.op else {
            return Err(Error::shape(self.place(node), "is not a max pooling"));
        };
        let (from, to) = (self.shape(node.inputs[0]), self.shape(node.output));
        let before: Vec<usize> = pool.pads.iter().map(|p| p[0]).collect();
        let windows = Windows {
            planes: from[0] * from[1],
            input: three(&from[2..], 1),
            output: three(&to[2..], 1),
            kernel: three(&pool.kernel, 1),
            stride: three(&pool.strides, 1),
            dilation: three(&pool.dilations, 1),
            pad: three(&before, 0),
        };
        let len = to.iter().product();
        let source = self.value(node.inputs[0])?;
        let output = self.buffer(len, &node.name);
        let winners = self.index_buffer(len, format!("winners of {}", node.name));
        self.forward.push(Step::MaxPool(MaxPool { windows, source, output, winners }));
        Ok(output)
    }

    fn resample(&mut self, node: &Node, resampling: &Resampling) -> Result<BufferId> {
        let mut shape = self.shape(node.inputs[0]);
        let mut value = self.value(node.inputs[0])?;
        for (axis, map) in &resampling.maps {
            shape[*axis] = map.outputs();
            value = self.along(map, &shape, *axis, value, None, Pass::Forward, &node.name);
        }
        Ok(value)
    }

    fn arithmetic(&mut self, node: &Node) -> Result<BufferId> {
        let op = match node.op {
            Op::Sub => BinaryOp::Sub,
            Op::Mul => BinaryOp::Mul,
            Op::Div => BinaryOp::Div,
            _ => BinaryOp::Add,
        };
        let shape = self.shape(node.output);
        let len = shape.iter().product();
        let mut sum = self.operand(node.inputs[0], &shape)?;
        for input in &node.inputs[1..] {
            let b = self.operand(*input, &shape)?;
            let output = self.buffer(len, &node.name);
            self.forward.push(Step::Binary(Binary { op, a: sum, b, activation: None, output, len }));
            sum = self.whole(output);
        }
        Ok(sum.buffer)
    }

    fn concat(&mut self, node: &Node, axis: usize) -> Result<BufferId> {
        let shape = self.shape(node.output);
        let output = self.buffer(shape.iter().product(), &node.name);
        let mut offset = 0;
        for input in &node.inputs {
            let size = self.shape(*input)[axis];
            let step = Resample {
                map: Arc::new(AxisMap::pick(size, 0..size)?),
                outer: shape[..axis].iter().product(),
                inner: shape[axis + 1..].iter().product(),
                source: self.value(*input)?,
                output,
                output_axis: shape[axis],
                offset,
                factor: None,
            };
            self.forward.push(Step::Resample(step));
            offset += size;
        }
        Ok(output)
    }

    /// A transposition of a buffer of shape `from`, into a new buffer.
    pub fn transpose(&mut self, node: &Node, perm: &[usize], from: &[usize], source: BufferId) -> Result<Transpose> {
        // Axes of size 1 do not count.
        let axes: Vec<usize> = perm.iter().copied().filter(|a| from[*a] != 1).collect();
        if axes.len() > MAX_AXES {
            let what = format!("a transposition of {} axes", axes.len());
            return Err(Error::unsupported(self.place(node), what, format!("at most {MAX_AXES} are")));
        }
        let (mut dims, mut strides) = ([1; MAX_AXES], [0; MAX_AXES]);
        for (slot, axis) in (MAX_AXES - axes.len()..).zip(axes) {
            dims[slot] = from[axis];
            strides[slot] = from[axis + 1..].iter().product();
        }
        let output = self.buffer(from.iter().product(), &node.name);
        Ok(Transpose { source, output, dims, strides })
    }
}
