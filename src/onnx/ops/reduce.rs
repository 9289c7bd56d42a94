//! Means and sums over axes.

use std::sync::Arc;

use crate::error::Result;
use crate::network::{Activation, AxisMap, Dim, Op, Resample, ResampleKind};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::{Data, Tensor};

/// The axes to reduce and the shape that is left; no axes where nothing is to be done.
pub(super) fn plan(call: &Call) -> Result<(Vec<usize>, Vec<Dim>, Vec<Dim>)> {
    let from = call.dims(0)?;
    let given = call.list("axes", 1)?.filter(|axes| !axes.is_empty());
    let axes = match given {
        Some(axes) => call.axes(&axes, from.len())?,
        None if call.flag("noop_with_empty_axes", false)? => Vec::new(),
        None => (0..from.len()).collect(),
    };
    let to = if call.flag("keepdims", true)? {
        (0..from.len()).map(|i| if axes.contains(&i) { Dim::Fixed(1) } else { from[i] }).collect()
    } else {
        (0..from.len()).filter(|i| !axes.contains(i)).map(|i| from[i]).collect()
    };
    Ok((axes, from, to))
}

/// `ReduceMean`, `ReduceSum`, and sums with a function of each value before or after them.
pub(super) fn reduce(call: &mut Call) -> Result<Vec<Item>> {
    let Item::Node(x) = call.input(0)?.clone() else {
        return reduce_known(call);
    };
    let op = call.node.op_type.clone().unwrap_or_default();
    let mean = op == "ReduceMean";
    let x = match op.as_str() {
        "ReduceL1" => call.step("Abs", Op::Activation(Activation::Abs), &[x])?,
        "ReduceL2" | "ReduceSumSquare" => call.step("square", Op::Mul, &[x, x])?,
        "ReduceLogSumExp" => call.step("Exp", Op::Activation(Activation::Exp), &[x])?,
        _ => x,
    };
    let kind = if mean { ResampleKind::ReduceMean } else { ResampleKind::ReduceSum };
    let (axes, _, to) = plan(call)?;
    let mut maps = Vec::with_capacity(axes.len());
    for axis in axes {
        let size = call.fixed(x, axis)?;
        maps.push((axis, Arc::new(AxisMap::reduce(size, if mean { 1.0 / size as f64 } else { 1.0 })?)));
    }
    let mut ops = Vec::new();
    if !maps.is_empty() {
        ops.push(Op::Resample(Resample { kind, maps }));
    }
    ops.push(Op::Reshape { shape: to });
    match op.as_str() {
        "ReduceL2" => ops.push(Op::Activation(Activation::Sqrt)),
        "ReduceLogSum" | "ReduceLogSumExp" => ops.push(Op::Activation(Activation::Log)),
        _ => {}
    }
    call.chain(x, ops)
}

/// `CumSum`: along an axis, from its start or its end, with or without the position itself.
pub(super) fn cumulative(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let axis = call.number(1)?.ok_or_else(|| call.malformed("it has no axis"))?;
    let axis = call.axis(axis as i64, dims.len())?;
    let (exclusive, reverse) = (call.flag("exclusive", false)?, call.flag("reverse", false)?);
    let size = dims[axis].fixed().ok_or_else(|| {
        call.unsupported(format!("a sum along axis {axis}, the batch,"), "samples must stay independent of each other")
    })?;
    // Half of size² entries.
    if size > 5792 {
        return Err(call.unsupported(format!("cumulative sums of {size} positions"), "at most 5792 are"));
    }
    let within = |at: usize| match (reverse, exclusive) {
        (false, false) => 0..at + 1,
        (false, true) => 0..at,
        (true, false) => at..size,
        (true, true) => at + 1..size,
    };
    match call.input(0)?.clone() {
        Item::Node(x) => {
            let rows = (0..size).map(|at| within(at).map(|source| (source, 1.0)).collect());
            let maps = vec![(axis, Arc::new(AxisMap::from_rows(size, rows)?))];
            call.emit(Op::Resample(Resample { kind: ResampleKind::ReduceSum, maps }), &[x])
        }
        Item::Const(tensor) => {
            call.reserve(Some(tensor.len()))?;
            let inner = tensor.shape()[axis + 1..].iter().product::<usize>().max(1);
            let mut sums = tensor.to_vec::<f64>();
            for first in (0..sums.len()).filter(|i| i / inner % size == 0) {
                let mut sum = 0.0;
                for step in 0..size {
                    let at = first + inner * if reverse { size - 1 - step } else { step };
                    let value = sums[at];
                    sums[at] = if exclusive { sum } else { sum + value };
                    sum += value;
                }
            }
            let data = match tensor.data() {
                Data::I64(_) => Data::I64(sums.into_iter().map(|v| v as i64).collect()),
                Data::F32(_) => Data::F32(sums.into_iter().map(|v| v as f32).collect()),
                Data::F64(_) => Data::F64(sums),
            };
            Ok(vec![Tensor::new(tensor.shape(), data)?.into()])
        }
        _ => Err(call.unsupported("a sum of sizes", "computed tensors and constants are")),
    }
}

/// Any reduction of a constant.
pub(super) fn reduce_known(call: &mut Call) -> Result<Vec<Item>> {
    let tensor = match call.input(0)? {
        Item::Const(tensor) => tensor.clone(),
        _ => {
            return Err(call.unsupported("a computed tensor", "other reductions are, this one on constants alone"));
        }
    };
    let (axes, _, to) = plan(call)?;
    let shape: Vec<usize> = to.iter().filter_map(|d| d.fixed()).collect();
    let from = tensor.shape();
    let mut kept = from.to_vec();
    axes.iter().for_each(|a| kept[*a] = 1);
    let len = call.reserve(Some(kept.iter().product()))?;
    let count: usize = axes.iter().map(|a| from[*a]).product();
    let op = call.node.op_type.as_deref().unwrap_or_default();
    let (start, fold): (f64, fn(f64, f64) -> f64) = match op {
        "ReduceProd" => (1.0, |a, b| a * b),
        "ReduceMax" => (f64::NEG_INFINITY, f64::max),
        "ReduceMin" => (f64::INFINITY, f64::min),
        "ReduceL1" => (0.0, |a, b| a + b.abs()),
        "ReduceL2" | "ReduceSumSquare" => (0.0, |a, b| a + b * b),
        "ReduceLogSumExp" => (0.0, |a, b| a + b.exp()),
        _ => (0.0, |a, b| a + b),
    };
    // The step in the result along each axis of the constant.
    let mut strides = vec![0; from.len()];
    let mut step = 1;
    for i in (0..from.len()).rev() {
        if !axes.contains(&i) {
            strides[i] = step;
            step *= from[i];
        }
    }
    let mut values = vec![start; len];
    for (at, value) in super::fold::walk(from, &strides, tensor.len()).into_iter().zip(tensor.to_vec::<f64>()) {
        values[at] = fold(values[at], value);
    }
    if op == "ReduceMean" {
        values.iter_mut().for_each(|v| *v /= count as f64);
    }
    match op {
        "ReduceL2" => values.iter_mut().for_each(|v| *v = v.sqrt()),
        "ReduceLogSum" | "ReduceLogSumExp" => values.iter_mut().for_each(|v| *v = v.ln()),
        _ => {}
    }
    let data = match tensor.data() {
        Data::I64(_) => Data::I64(values.into_iter().map(|v| v as i64).collect()),
        Data::F32(_) => Data::F32(values.into_iter().map(|v| v as f32).collect()),
        Data::F64(_) => Data::F64(values),
    };
    Ok(vec![Tensor::new(shape, data)?.into()])
}
