//! Normalisations by a sample's own statistics: layer, group, instance and RMS norm, and division by a norm.
//!
//! They become means, a difference, a root and a quotient, so that relevance treats them as it treats the same formula
//! written out: the divisor is a gate that gets nothing (the statistics are held constant), and what is left is linear.

use std::sync::Arc;

use super::arithmetic::number;
use super::extreme::largest;
use crate::error::Result;
use crate::network::{Activation, Affine, AxisMap, Dim, Op, Resample, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::Tensor;

/// `LayerNormalization`: over all axes from `axis` on.
pub(super) fn layer_norm(call: &mut Call) -> Result<Vec<Item>> {
    trailing(call, true)
}

/// `RMSNormalization`: the same without the mean and without a bias.
pub(super) fn rms_norm(call: &mut Call) -> Result<Vec<Item>> {
    trailing(call, false)
}

fn trailing(call: &mut Call, centred: bool) -> Result<Vec<Item>> {
    stash(call)?;
    let epsilon = epsilon(call)?;
    let x = call.value(0)?;
    let rank = call.shape(x).len();
    let axis = call.axis(call.int("axis", -1)?, rank)?;
    let (scale, shift) = (call.weight(1)?, call.constant(2)?);
    let Normalised { y, mean, deviation } = normalised(call, x, (axis..rank).collect(), epsilon, centred)?;
    let origin = if centred { "LayerNormalization" } else { "RMSNormalization" };
    let mut made = call.emit(Op::Affine(Affine { scale: Some(scale), shift, origin }), &[y])?;
    // The mean and 1/deviation are outputs too, though networks for inference have no use for them.
    if call.wanted.iter().skip(1).any(|wanted| *wanted) {
        made.extend(mean.map(Item::from));
        made.push(call.emit_output(2, Op::Activation(Activation::Reciprocal), &[deviation])?);
    }
    Ok(made)
}

/// `InstanceNormalization`: over each channel's positions.
pub(super) fn instance_norm(call: &mut Call) -> Result<Vec<Item>> {
    let epsilon = epsilon(call)?;
    let x = call.value(0)?;
    let rank = call.shape(x).len();
    if rank < 3 {
        return Err(call.shape_error(format!("{} has no positions", shape::display(&call.shape(x)))));
    }
    let channels = call.fixed(x, 1)?;
    let (scale, shift) = (column(call, 1, channels, channels, rank)?, column(call, 2, channels, channels, rank)?);
    let y = normalised(call, x, (2..rank).collect(), epsilon, true)?.y;
    call.emit(Op::Affine(Affine { scale: Some(scale), shift: Some(shift), origin: "InstanceNormalization" }), &[y])
}

/// `GroupNormalization`: over groups of channels. Before operator set 21, scale and bias have one value for each group.
pub(super) fn group_norm(call: &mut Call) -> Result<Vec<Item>> {
    stash(call)?;
    let epsilon = epsilon(call)?;
    let x = call.value(0)?;
    let from = call.shape(x);
    if from.len() < 2 {
        return Err(call.shape_error(format!("{} has no channel axis", shape::display(&from))));
    }
    let channels = call.fixed(x, 1)?;
    let groups = usize::try_from(call.int("num_groups", 0)?).unwrap_or(0);
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(call.malformed(format!("attribute num_groups does not divide the {channels} channels")));
    }
    let given = if call.opset < 21 { groups } else { channels };
    let (scale, shift) = (column(call, 1, given, channels, from.len())?, column(call, 2, given, channels, from.len())?);
    let Some((size, 0)) = shape::volume(&from[1..]) else {
        return Err(call.unsupported("an axis that depends on the batch", "only the first axis may be the batch"));
    };
    let grouped = vec![from[0], Dim::Fixed(groups), Dim::Fixed(size / groups)];
    let x = call.step("groups", Op::Reshape { shape: grouped }, &[x])?;
    let y = normalised(call, x, vec![2], epsilon, true)?.y;
    let affine = Affine { scale: Some(scale), shift: Some(shift), origin: "GroupNormalization" };
    call.chain(y, vec![Op::Reshape { shape: from }, Op::Affine(affine)])
}

/// `LpNormalization`: x over the sum of its magnitudes along an axis, or over the root of the sum of its squares.
pub(super) fn lp_norm(call: &mut Call) -> Result<Vec<Item>> {
    let p = call.int("p", 2)?;
    let x = call.value(0)?;
    let axis = call.axis(call.int("axis", -1)?, call.shape(x).len())?;
    match p {
        1 => divided_by_norm(call, x, axis, "L1"),
        2 => divided_by_norm(call, x, axis, "L2"),
        other => Err(call.unsupported(format!("attribute p = {other}"), "1 and 2 are")),
    }
}

/// x over its norm along an axis: L1, L2, or MAX, the largest magnitude.
pub(super) fn divided_by_norm(call: &mut Call, x: ValueId, axis: usize, norm: &str) -> Result<Vec<Item>> {
    let sum = over(call, &[axis], x, ResampleKind::ReduceSum)?;
    let norm = match norm {
        "L1" | "MAX" => {
            let size = call.step("Abs", Op::Activation(Activation::Abs), &[x])?;
            if norm == "L1" { call.step("ReduceSum", sum, &[size])? } else { largest(call, size, axis)? }
        }
        "L2" => {
            let square = call.step("square", Op::Mul, &[x, x])?;
            let total = call.step("ReduceSum", sum, &[square])?;
            call.step("Sqrt", Op::Activation(Activation::Sqrt), &[total])?
        }
        other => return Err(call.malformed(format!("attribute norm is {other}, not L1, L2 or MAX"))),
    };
    // 0 over the norm 0 is 0: the smallest normal float32 is below every other norm that float32 keeps the digits of.
    let above = Activation::Clip { low: f64::from(f32::MIN_POSITIVE), high: f64::INFINITY };
    let norm = call.step("above", Op::Activation(above), &[norm])?;
    call.emit(Op::Div, &[x, norm])
}

/// `MeanVarianceNormalization`: (x − mean) / (deviation + 1e-9) over some axes.
pub(super) fn mean_variance_norm(call: &mut Call) -> Result<Vec<Item>> {
    let mut x = call.value(0)?;
    let axes = call.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = call.axes(&axes, call.shape(x).len())?;
    let mean = over(call, &axes, x, ResampleKind::ReduceMean)?;
    let middle = call.step("mean", mean.clone(), &[x])?;
    x = call.step("centred", Op::Sub, &[x, middle])?;
    let square = call.step("square", Op::Mul, &[x, x])?;
    let variance = call.step("variance", mean, &[square])?;
    let deviation = call.step("deviation", Op::Activation(Activation::Sqrt), &[variance])?;
    let shift = Some(Arc::new(number(1e-9)?));
    let above = call.step("above", Op::Affine(Affine { scale: None, shift, origin: "Add" }), &[deviation])?;
    call.emit(Op::Div, &[x, above])
}

/// A normalised tensor and its statistics.
struct Normalised {
    y: ValueId,
    /// Where it is centred.
    mean: Option<ValueId>,
    deviation: ValueId,
}

/// (x − mean) / √(variance + ε) over some axes; x / √(mean of squares + ε) where it is not centred.
fn normalised(call: &mut Call, x: ValueId, axes: Vec<usize>, epsilon: f64, centred: bool) -> Result<Normalised> {
    let mean = || ResampleKind::ReduceMean;
    let (mut x, mut middle_of) = (x, None);
    if centred {
        let op = over(call, &axes, x, mean())?;
        let middle = call.step("mean", op, &[x])?;
        middle_of = Some(middle);
        x = call.step("centred", Op::Sub, &[x, middle])?;
    }
    let square = call.step("square", Op::Mul, &[x, x])?;
    let op = over(call, &axes, x, mean())?;
    let variance = call.step("variance", op, &[square])?;
    let shift = Some(Arc::new(number(epsilon)?));
    let moved = call.step("epsilon", Op::Affine(Affine { scale: None, shift, origin: "Add" }), &[variance])?;
    let deviation = call.step("deviation", Op::Activation(Activation::Sqrt), &[moved])?;
    let y = call.step("normalised", Op::Div, &[x, deviation])?;
    Ok(Normalised { y, mean: middle_of, deviation })
}

/// The mean or sum over axes, which stay with size 1.
fn over(call: &Call, axes: &[usize], x: ValueId, kind: ResampleKind) -> Result<Op> {
    let mut maps = Vec::with_capacity(axes.len());
    for axis in axes {
        let size = call.fixed(x, *axis)?;
        let weight = if kind == ResampleKind::ReduceMean { 1.0 / size as f64 } else { 1.0 };
        maps.push((*axis, Arc::new(AxisMap::reduce(size, weight)?)));
    }
    Ok(Op::Resample(Resample { kind, maps }))
}

fn epsilon(call: &Call) -> Result<f64> {
    let epsilon = call.float("epsilon", f64::from(1e-5f32))?;
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(call.malformed(format!("attribute epsilon is {epsilon}")));
    }
    Ok(epsilon)
}

/// Statistics in float32; in coarser floats they would be another function.
fn stash(call: &Call) -> Result<()> {
    match call.int("stash_type", 1)? {
        1 | 11 => Ok(()),
        other => Err(call.unsupported(format!("attribute stash_type = {other}"), "1 (float32) and 11 (float64) are")),
    }
}

/// Input i, `given` values for `channels` channels in order, along axis 1 of `rank` axes.
fn column(call: &Call, i: usize, given: usize, channels: usize, rank: usize) -> Result<Arc<Tensor>> {
    let tensor = call.weight(i)?;
    if tensor.shape() != [given] {
        return Err(call.shape_error(format!("input {i} of shape {:?} does not have {given} values", tensor.shape())));
    }
    let mut shape = vec![1; rank - 1];
    shape[0] = channels;
    let values = tensor.to_vec::<f64>();
    let each = channels / given;
    Ok(Arc::new(Tensor::from_f64(shape, (0..channels).map(|c| values[c / each]).collect())?))
}
