//! Layers of distances: to vectors, and soft minima of them (Kauffmann, Müller, Montavon 2020).
//!
//! ```text
//! d_j = ‖x − u_j‖²,  h_j = d_j + b_j,  o = −(1/γ) log Σ_j exp(−γ h_j),  p = softmax(−γ h)
//! R_j = p_j · R_o,   R_i = Σ_j (x_i − u_ij)² · R_j / st(d_j)
//! ```
//!
//! The soft minimum is computed as `Σ_j p_j·(h_j + log(p_j)/γ)`: every summand in brackets is o, softmax takes the largest exponent
//! out, and nothing overflows or underflows.

use super::planner::{Pass, Planner};
use super::*;
use crate::error::{Error, Result};
use crate::network::{Activation as Function, AxisMap, Distances as Distance, Node, Op};
use crate::rules::PoolingRule;

impl Planner<'_> {
    /// The forward steps of distances; gives the distances with their offsets, and puts those without aside.
    pub fn distances(&mut self, node: &Node, distances: &Distance) -> Result<BufferId> {
        let output = self.buffer(self.len(node.output), &node.name);
        let step = self.distance_step(node, distances, output)?;
        self.forward.push(Step::Distances(step));
        self.aside[node.output.0] = Some(output);
        let Some(offsets) = &distances.offsets else { return Ok(output) };
        let b = self.constant_operand(offsets, &self.shape(node.output), &node.name)?;
        Ok(self.forward_binary(BinaryOp::Add, self.whole(output), b, &node.name))
    }

    fn distance_step(&mut self, node: &Node, distances: &Distance, output: BufferId) -> Result<Distances> {
        let &[count, len] = distances.vectors.shape() else {
            return Err(Error::shape(self.place(node), "its vectors are not a matrix"));
        };
        let source = self.value(node.inputs[0])?;
        let rows = self.len(node.inputs[0]) / len;
        let vectors = self.constant(distances.vectors.to_vec(), format!("vectors of {}", node.name));
        Ok(Distances { rows, count, len, source, vectors, output })
    }

    /// The forward steps of a soft minimum over the last axis; puts the shares of its values aside.
    pub fn soft_min(&mut self, node: &Node, gamma: f64) -> Result<BufferId> {
        let (source, len) = (self.value(node.inputs[0])?, self.len(node.inputs[0]));
        let lines = self.len(node.output);
        let size = len / lines;
        let mut number = |value: f64| {
            let buffer = self.constant(vec![value], format!("gamma of {}", node.name));
            Operand { buffer, inner: len, count: 1 }
        };
        let (turn, back) = (number(-gamma), number(1.0 / gamma));
        let exponents = self.forward_binary(BinaryOp::Mul, self.whole(source), turn, &node.name);
        let logs = self.buffer(len, &node.name);
        let softmax = Softmax { source: exponents, output: logs, outer: lines, size, inner: 1, log: true };
        self.forward.push(Step::Softmax(softmax));
        let shares = self.buffer(len, format!("shares of {}", node.name));
        let exp = ActivationForward { activation: Function::Exp, slope: None, source: logs, output: shares, len };
        self.forward.push(Step::Activation(exp));
        self.aside[node.output.0] = Some(shares);
        let above = self.forward_binary(BinaryOp::Mul, self.whole(logs), back, &node.name);
        let minimum = self.forward_binary(BinaryOp::Add, self.whole(source), self.whole(above), &node.name);
        let weighted = self.forward_binary(BinaryOp::Mul, self.whole(minimum), self.whole(shares), &node.name);
        let map = Arc::new(AxisMap::reduce(size, 1.0)?);
        Ok(self.along(&map, &[lines, 1], 1, weighted, None, Pass::Forward, &node.name))
    }

    /// A new buffer of the first operand's length with `a ∘ b`, by a step of the forward pass.
    fn forward_binary(&mut self, op: BinaryOp, a: Operand, b: Operand, label: &str) -> BufferId {
        let len = a.inner * a.count;
        let output = self.buffer(len, label);
        self.forward.push(Step::Binary(Binary { op, a, b, activation: None, output, len }));
        output
    }

    fn put_aside(&self, node: &Node) -> Result<BufferId> {
        let missing = || Error::shape(self.place(node), "is explained before it is computed");
        self.aside[node.output.0].ok_or_else(missing)
    }

    /// What each coordinate has of every distance; under gradients the derivative.
    pub fn distance_relevance(&mut self, node: &Node, how: PoolingRule, relevance: BufferId) -> Result<BufferId> {
        let Op::Distances(distances) = &node.op else {
            return Err(Error::shape(self.place(node), "has no distances"));
        };
        let own = self.put_aside(node)?;
        let forward = self.distance_step(node, distances, own)?;
        let gradient = how == PoolingRule::Gradient;
        let relevance = if gradient { relevance } else { self.quotient(own, relevance, &node.name) };
        let output = self.buffer(self.len(node.inputs[0]), format!("relevance of the input of {}", node.name));
        self.backward.push(Step::DistancesAdjoint(DistancesAdjoint { forward, relevance, output, gradient }));
        Ok(output)
    }

    /// What each value has of the soft minimum, which is its derivative too.
    pub fn soft_min_relevance(&mut self, node: &Node, relevance: BufferId) -> Result<BufferId> {
        let shares = self.put_aside(node)?;
        let (len, lines) = (self.len(node.inputs[0]), self.len(node.output));
        let whole = Operand { buffer: relevance, inner: len / lines, count: lines };
        let label = format!("relevance of the input of {}", node.name);
        Ok(self.binary(BinaryOp::Mul, self.whole(shares), whole, len, &label))
    }
}
