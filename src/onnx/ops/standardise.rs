//! Normalisations by each sample's own statistics: layers, instances, groups, root mean squares.
//!
//! They become the arithmetic that they are: `(x − mean) / √(variance + ε)`, then scale and shift. So relevance is handed back
//! as if the divisor were constant (a divisor is a gate), and gradients go through the divisor as well.

use std::sync::Arc;

use crate::error::Result;
use crate::network::{Activation, Affine, AxisMap, Dim, Op, Resample, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::Tensor;

/// Mean over axes, which stay with size 1.
fn mean(call: &mut Call, name: &str, x: ValueId, axes: &[usize]) -> Result<ValueId> {
    let mut maps = Vec::with_capacity(axes.len());
    for axis in axes {
        let size = call.fixed(x, *axis)?;
        if size == 0 {
            return Err(call.shape_error(format!("there is no mean along axis {axis} of size 0")));
        }
        maps.push((*axis, Arc::new(AxisMap::reduce(size, 1.0 / size as f64)?)));
    }
    call.step(name, Op::Resample(Resample { kind: ResampleKind::ReduceMean, maps }), &[x])
}

/// `x / √(mean of x² over axes + ε)`, of x with its mean taken away if it is to be `centred`.
fn standardise(call: &mut Call, mut x: ValueId, axes: &[usize], epsilon: f64, centred: bool) -> Result<ValueId> {
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(call.malformed(format!("attribute epsilon = {epsilon} is not a number of 0 or more")));
    }
    if centred {
        let mean = mean(call, "mean", x, axes)?;
        x = call.step("centred", Op::Sub, &[x, mean])?;
    }
    let square = call.step("square", Op::Mul, &[x, x])?;
    let variance = mean(call, "variance", square, axes)?;
    let shift = Some(Arc::new(Tensor::from_f64([], vec![epsilon])?));
    let variance =
        call.step("variance+epsilon", Op::Affine(Affine { scale: None, shift, origin: "Add" }), &[variance])?;
    let deviation = call.step("deviation", Op::Activation(Activation::Power { exponent: 0.5 }), &[variance])?;
    call.step("standardised", Op::Div, &[x, deviation])
}

/// The epsilon attribute; 1e-5 is the default of all of them.
fn epsilon(call: &Call) -> Result<f64> {
    call.float("epsilon", f64::from(1e-5f32))
}

/// Fails when a statistic is read, as training does.
fn only_the_result(call: &Call) -> Result<()> {
    match (1..call.wanted.len()).find(|i| call.wanted[*i]) {
        Some(i) => Err(call.unsupported(format!("output {i}"), "the normalised tensor, output 0, is")),
        None => Ok(()),
    }
}

/// A scale or shift of a value for each of `len`, as a column for `rank` axes of which channels are the second.
fn column(call: &Call, i: usize, len: usize, repeat: usize, rank: usize) -> Result<Arc<Tensor>> {
    let tensor = call.weight(i)?;
    if tensor.shape() != [len] {
        return Err(call.shape_error(format!("input {i} of shape {:?} does not fit {len} values", tensor.shape())));
    }
    let values = tensor.to_vec::<f64>().into_iter().flat_map(|v| std::iter::repeat_n(v, repeat));
    let mut shape = vec![1; rank - 1];
    shape[0] = len * repeat;
    Ok(Arc::new(Tensor::from_f64(shape, values.collect())?))
}

/// The channels of `N×C×…` with one axis more at least.
fn channels(call: &Call, x: ValueId) -> Result<(Vec<Dim>, usize)> {
    let from = call.shape(x);
    match (from.get(1), from.len()) {
        (Some(Dim::Fixed(channels)), 3..) => Ok((from.clone(), *channels)),
        _ => Err(call.shape_error(format!("{} has no channels with positions", shape::display(&from)))),
    }
}

/// `LayerNormalization` and `RMSNormalization`: over all axes from `axis` on.
pub(super) fn layer_norm(call: &mut Call) -> Result<Vec<Item>> {
    only_the_result(call)?;
    let centred = call.node.op_type.as_deref() == Some("LayerNormalization");
    let x = call.value(0)?;
    let from = call.shape(x);
    let axis = call.axis(call.int("axis", -1)?, from.len())?;
    let constant = |call: &Call, i: usize| -> Result<Option<Arc<Tensor>>> {
        let Some(tensor) = call.constant(i)? else { return Ok(None) };
        let fits = tensor.shape().len() <= from.len() - axis
            && tensor.shape().iter().rev().zip(from.iter().rev()).all(|(n, d)| *n == 1 || *d == Dim::Fixed(*n));
        match fits {
            true => Ok(Some(tensor)),
            false => {
                let what = format!("input {i} of shape {:?} does not fit {}", tensor.shape(), shape::display(&from));
                Err(call.shape_error(what))
            }
        }
    };
    call.input(1)?;
    let (scale, shift) = (constant(call, 1)?, constant(call, 2)?);
    let axes: Vec<usize> = (axis..from.len()).collect();
    let epsilon = epsilon(call)?;
    let y = standardise(call, x, &axes, epsilon, centred)?;
    let origin = if centred { "LayerNormalization" } else { "RMSNormalization" };
    call.emit(Op::Affine(Affine { scale, shift, origin }), &[y])
}

/// `InstanceNormalization`: over all positions of each channel.
pub(super) fn instance_norm(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let (from, count) = channels(call, x)?;
    let constant = |i| column(call, i, count, 1, from.len());
    let (scale, shift) = (Some(constant(1)?), Some(constant(2)?));
    let axes: Vec<usize> = (2..from.len()).collect();
    let epsilon = epsilon(call)?;
    let y = standardise(call, x, &axes, epsilon, true)?;
    call.emit(Op::Affine(Affine { scale, shift, origin: "InstanceNormalization" }), &[y])
}

/// `GroupNormalization`: over all positions of some neighbouring channels. Scale and shift have a value for each channel, before
/// operator set 21 for each group.
pub(super) fn group_norm(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let (from, count) = channels(call, x)?;
    let groups = usize::try_from(call.int("num_groups", 0)?).unwrap_or(0);
    if groups == 0 || !count.is_multiple_of(groups) {
        return Err(call.malformed(format!("attribute num_groups = {groups} does not divide {count} channels")));
    }
    let (len, repeat) = if call.opset < 21 { (groups, count / groups) } else { (count, 1) };
    let constant = |i| column(call, i, len, repeat, from.len());
    let (scale, shift) = (Some(constant(1)?), Some(constant(2)?));
    let Some((size, 0)) = shape::volume(&from[1..]) else {
        let what = format!("{} with more than one axis that depends on the batch", shape::display(&from));
        return Err(call.unsupported(what, "a fixed size of each sample is"));
    };
    let grouped = vec![from[0], Dim::Fixed(groups), Dim::Fixed(size / groups)];
    let y = call.step("groups", Op::Reshape { shape: grouped }, &[x])?;
    let epsilon = epsilon(call)?;
    let y = standardise(call, y, &[2], epsilon, true)?;
    let y = call.step("channels", Op::Reshape { shape: from }, &[y])?;
    call.emit(Op::Affine(Affine { scale, shift, origin: "GroupNormalization" }), &[y])
}
