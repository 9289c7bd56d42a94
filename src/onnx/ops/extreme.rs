//! Largest and smallest values: limits, maxima of several tensors, maxima over axes. Maxima are poolings: the winner takes
//! all, the first one on ties.

use std::sync::Arc;

use super::arithmetic::{computed_and_known, number};
use super::reduce::{plan, reduce_known};
use super::route::expand_ops;
use crate::error::Result;
use crate::network::{Activation, Affine, Dim, MaxPool, Op, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;

/// `Max` and `Min`: of computed tensors, of constants, or of a computed tensor and constant numbers, which are limits.
pub(super) fn extreme(call: &mut Call) -> Result<Vec<Item>> {
    let smallest = call.node.op_type.as_deref() == Some("Min");
    let op = if smallest { "Min" } else { "Max" };
    let (nodes, known) = computed_and_known(call, op)?;
    let x = match (nodes.as_slice(), &known) {
        ([], Some(known)) => return Ok(vec![known.clone()]),
        ([only], None) => return Ok(vec![(*only).into()]),
        ([only], Some(_)) => *only,
        (_, None) => return among(call, &nodes, smallest),
        _ => {
            let what = "the extreme of several computed tensors and a constant";
            return Err(call.unsupported(what, "of computed tensors, or of one and a constant number is"));
        }
    };
    let limit = match &known {
        Some(Item::Const(tensor)) if tensor.len() == 1 && tensor.shape().len() <= call.shape(x).len() => tensor.get(0),
        _ => None,
    };
    let Some(limit) = limit else {
        return Err(call.unsupported("a limit that is not one number", "a limit that is a constant number is"));
    };
    if limit.is_nan() {
        return Err(call.malformed("the limit is not a number"));
    }
    let (low, high) = if smallest { (f64::NEG_INFINITY, limit) } else { (limit, f64::INFINITY) };
    call.emit(Op::Activation(Activation::Clip { low, high }), &[x])
}

/// The extreme among tensors, by a pooling along an axis on which they are joined.
fn among(call: &mut Call, nodes: &[ValueId], smallest: bool) -> Result<Vec<Item>> {
    let mut to = call.shape(nodes[0]);
    for id in &nodes[1..] {
        to = shape::broadcast(&to, &call.shape(*id)).map_err(|what| call.shape_error(what))?;
    }
    let (rows, columns) = rows(call, &to)?;
    let mut joined = Vec::with_capacity(nodes.len());
    for id in nodes {
        let mut x = *id;
        let mut ops = Vec::new();
        let from = call.shape(x);
        if from != to {
            ops = expand_ops(call, &from, &to)?;
        }
        ops.push(Op::Reshape { shape: vec![rows, Dim::Fixed(columns), Dim::Fixed(1)] });
        for op in ops {
            x = call.step(op.name(), op, &[x])?;
        }
        joined.push(x);
    }
    let x = call.step("Concat", Op::Concat { axis: 2 }, &joined)?;
    let mut ops = pooling(nodes.len(), smallest)?;
    ops.push(Op::Reshape { shape: to });
    call.chain(x, ops)
}

/// `ReduceMax` and `ReduceMin`: a pooling over all positions of the axes, which are brought to the end.
pub(super) fn reduce(call: &mut Call) -> Result<Vec<Item>> {
    let Item::Node(x) = call.input(0)?.clone() else {
        return reduce_known(call);
    };
    let smallest = call.node.op_type.as_deref() == Some("ReduceMin");
    let (axes, from, to) = plan(call)?;
    let mut size = 1usize;
    for axis in &axes {
        size = size.checked_mul(call.fixed(x, *axis)?).ok_or_else(|| call.malformed("too many values"))?;
    }
    let kept: Vec<usize> = (0..from.len()).filter(|i| !axes.contains(i)).collect();
    let (rows, columns) = rows(call, &kept.iter().map(|i| from[*i]).collect::<Vec<_>>())?;
    let perm: Vec<usize> = kept.iter().copied().chain((0..from.len()).filter(|i| axes.contains(i))).collect();
    let mut ops = Vec::new();
    if !perm.iter().copied().eq(0..from.len()) {
        ops.push(Op::Transpose { perm });
    }
    ops.push(Op::Reshape { shape: vec![rows, Dim::Fixed(columns), Dim::Fixed(size)] });
    ops.extend(pooling(size, smallest)?);
    ops.push(Op::Reshape { shape: to });
    call.chain(x, ops)
}

/// The largest value along an axis, which is the last and stays with size 1.
pub(super) fn largest(call: &mut Call, x: ValueId, axis: usize) -> Result<ValueId> {
    let size = call.fixed(x, axis)?;
    let mut to = call.shape(x);
    to[axis] = Dim::Fixed(1);
    let (rows, columns) = rows(call, &to)?;
    let x = call.step("lines", Op::Reshape { shape: vec![rows, Dim::Fixed(columns), Dim::Fixed(size)] }, &[x])?;
    let x = call.step("MaxPool", Op::MaxPool(MaxPool::new(1, size, 1)), &[x])?;
    call.step("largest", Op::Reshape { shape: to }, &[x])
}

/// A shape as rows, which may be the batch, and the product of what follows.
fn rows(call: &Call, shape: &[Dim]) -> Result<(Dim, usize)> {
    let (first, rest) = match shape.split_first() {
        Some((first, rest)) => (*first, rest),
        None => (Dim::Fixed(1), shape),
    };
    match shape::volume(rest) {
        Some((columns, 0)) => Ok((first, columns)),
        _ => {
            Err(call.unsupported(format!("the shape {}", shape::display(shape)), "the batch has to be the first axis"))
        }
    }
}

/// The largest, or smallest, of `size` values on the last of three axes. The smallest is −max(−x).
fn pooling(size: usize, smallest: bool) -> Result<Vec<Op>> {
    let pool = Op::MaxPool(MaxPool::new(1, size, 1));
    if !smallest {
        return Ok(vec![pool]);
    }
    let minus = Arc::new(number(-1.0)?);
    let turn = || Op::Affine(Affine { scale: Some(minus.clone()), shift: None, origin: "Neg" });
    Ok(vec![turn(), pool, turn()])
}
