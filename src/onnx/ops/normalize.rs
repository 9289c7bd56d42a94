//! Normalisations: batch norm, local response normalisation, softmax. Those by a sample's own statistics are in `statistics`.

use std::sync::Arc;

use crate::error::Result;
use crate::network::{Affine, Dim, Lrn, Op, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::{Data, Tensor};

/// `BatchNormalization` at inference: `x·s + (β − μ·s)` with s = γ/√(σ²+ε), for each channel (axis 1).
pub(super) fn batch_norm(call: &mut Call) -> Result<Vec<Item>> {
    let training = call.flag("training_mode", false)?;
    if let Item::Const(tensor) = call.input(0)?.clone() {
        return standardised_weight(call, &tensor, training);
    }
    if training {
        return Err(call.unsupported("attribute training_mode = 1", "export the model for inference"));
    }
    if !call.flag("spatial", true)? {
        return Err(call.unsupported("attribute spatial = 0", "spatial = 1 is"));
    }
    let epsilon = call.float("epsilon", f64::from(1e-5f32))?;
    let x = call.value(0)?;
    let shape = call.shape(x);
    let channels = match shape.get(1) {
        Some(Dim::Fixed(channels)) => *channels,
        _ => return Err(call.shape_error(format!("{} has no channel axis", shape::display(&shape)))),
    };
    let mut constants = Vec::with_capacity(4);
    for i in 1..=4 {
        let tensor = call.weight(i)?;
        if tensor.shape() != [channels] {
            return Err(
                call.shape_error(format!("input {i} of shape {:?} does not fit {channels} channels", tensor.shape()))
            );
        }
        constants.push(tensor.to_vec::<f64>());
    }
    let [gamma, beta, mean, variance] = constants.as_slice() else {
        return Err(call.malformed("it takes five inputs"));
    };
    if let Some(c) = variance.iter().position(|v| v.is_nan() || v + epsilon <= 0.0) {
        return Err(call.malformed(format!("variance {} of channel {c} plus epsilon is not above 0", variance[c])));
    }
    let scale: Vec<f64> = (0..channels).map(|c| gamma[c] / (variance[c] + epsilon).sqrt()).collect();
    let shift: Vec<f64> = (0..channels).map(|c| beta[c] - mean[c] * scale[c]).collect();
    let mut column = vec![1; shape.len() - 1];
    column[0] = channels;
    let scale = Some(Arc::new(Tensor::from_f64(column.clone(), scale)?));
    let shift = Some(Arc::new(Tensor::from_f64(column, shift)?));
    call.emit(Op::Affine(Affine { scale, shift, origin: "BatchNormalization" }), &[x])
}

/// `BatchNormalization` of a constant: exports of networks with standardised weights compute them so, with the weights' own
/// statistics where training mode is on.
fn standardised_weight(call: &mut Call, tensor: &Tensor, training: bool) -> Result<Vec<Item>> {
    let epsilon = call.float("epsilon", f64::from(1e-5f32))?;
    let (channels, inner) = match tensor.shape() {
        [_, channels, rest @ ..] => (*channels, rest.iter().product::<usize>()),
        shape => return Err(call.shape_error(format!("a constant of shape {shape:?} has no channel axis"))),
    };
    let mut constants = Vec::with_capacity(4);
    for i in 1..=4 {
        let values = call.weight(i)?;
        if values.len() != channels {
            return Err(call.shape_error(format!("input {i} has {} values, not {channels}", values.len())));
        }
        constants.push(values.to_vec::<f64>());
    }
    call.reserve(Some(tensor.len()))?;
    let mut values = tensor.to_vec::<f64>();
    let channel = |at: usize| at / inner % channels;
    if training {
        let count = (values.len() / channels.max(1)) as f64;
        let mut mean = vec![0.0; channels];
        values.iter().enumerate().for_each(|(i, v)| mean[channel(i)] += v / count);
        let mut variance = vec![0.0; channels];
        values.iter().enumerate().for_each(|(i, v)| variance[channel(i)] += (v - mean[channel(i)]).powi(2) / count);
        (constants[2], constants[3]) = (mean, variance);
    }
    let [scale, shift, mean, variance] = constants.as_slice() else {
        return Err(call.malformed("it takes five inputs"));
    };
    if let Some(c) = variance.iter().position(|v| v.is_nan() || v + epsilon <= 0.0) {
        return Err(call.malformed(format!("variance {} of channel {c} plus epsilon is not above 0", variance[c])));
    }
    for (i, v) in values.iter_mut().enumerate() {
        let c = channel(i);
        *v = (*v - mean[c]) / (variance[c] + epsilon).sqrt() * scale[c] + shift[c];
    }
    let folded = Tensor::from_f64(tensor.shape(), values)?;
    let folded = match tensor.data() {
        Data::F64(_) => folded,
        _ => Tensor::from_f32(tensor.shape(), folded.to_vec())?,
    };
    Ok(vec![folded.into()])
}

/// `LRN`.
pub(super) fn lrn(call: &mut Call) -> Result<Vec<Item>> {
    let size = usize::try_from(call.int("size", 0)?).unwrap_or(0);
    if size == 0 {
        return Err(call.malformed("attribute size must be at least 1"));
    }
    let lrn = Lrn {
        size,
        alpha: call.float("alpha", f64::from(1e-4f32))?,
        beta: call.float("beta", 0.75)?,
        bias: call.float("bias", 1.0)?,
    };
    let x = call.value(0)?;
    call.emit(Op::Lrn(lrn), &[x])
}

/// `Softmax` and `LogSoftmax`: along one axis, before operator set 13 over all axes from `axis` on.
pub(super) fn softmax(call: &mut Call) -> Result<Vec<Item>> {
    let log = call.node.op_type.as_deref() == Some("LogSoftmax");
    let x = call.value(0)?;
    let from = call.shape(x);
    let flattens = call.opset < 13;
    let axis = call.axis(call.int("axis", if flattens { 1 } else { -1 })?, from.len())?;
    let one = |dims: &[Dim]| dims.iter().all(|d| *d == Dim::Fixed(1));
    if !flattens || one(&from[axis + 1..]) {
        call.fixed(x, axis)?;
        return call.emit(Op::Softmax { axis, log }, &[x]);
    }
    let Some((size, 0)) = shape::volume(&from[axis..]) else {
        return Err(call.unsupported(
            format!("attribute axis = {axis} over the batch"),
            "samples must stay independent of each other",
        ));
    };
    let mut flat = from[..axis].to_vec();
    flat.push(Dim::Fixed(size));
    call.chain(x, vec![Op::Reshape { shape: flat }, Op::Softmax { axis, log }, Op::Reshape { shape: from }])
}
