//! Merges constants into the linear layers beside them: batch norms, biases, scales.
//!
//! Behind a layer, `s·(Wx + b) + t = (sW)x + (sb + t)`; before it, `W(sx + t) + b = (Ws)x + (Wt + b)`, where padding would
//! pad with t and must therefore be absent unless t is 0. Products and sums are taken in float64 and kept so: weights that
//! came as float32 then stand for exactly the network of the file.

use std::sync::Arc;

use super::Editor;
use crate::error::Result;
use crate::network::{Affine, Conv, Dense, Dim, Op};
use crate::tensor::Tensor;

/// Merges one affine layer, behind its linear layer where there is one, else before it. Whether there was any.
pub(super) fn merge(editor: &mut Editor) -> Result<bool> {
    for direction in [behind, before] {
        for i in 0..editor.network.nodes.len() {
            if let Op::Affine(affine) = &editor.network.nodes[i].op {
                let affine = affine.clone();
                if direction(editor, i, &affine)? {
                    editor.refresh();
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Merges affine node i into the linear layer that it follows.
fn behind(editor: &mut Editor, i: usize, affine: &Affine) -> Result<bool> {
    let node = &editor.network.nodes[i];
    let (output, input) = (node.output, node.inputs[0]);
    let Some((linear, before)) = editor.node(input) else {
        return Ok(false);
    };
    let shape = &editor.network.value(output).shape;
    if editor.only_reader(input) != Some(i) {
        return Ok(false);
    }
    let op = match &before.op {
        Op::Conv(conv) => match channels(affine, shape, 1) {
            Some([scale, shift]) => {
                let outputs = conv.weight.shape()[0];
                let weight = scaled(&conv.weight, scale.as_deref(), |at, len| at / (len / outputs))?;
                Op::Conv(Conv { weight, bias: bias(&conv.bias, scale.as_deref(), shift, outputs)?, ..conv.clone() })
            }
            None => return Ok(false),
        },
        Op::ConvTranspose(conv) => match channels(affine, shape, 1) {
            Some([scale, shift]) => {
                let (inputs, own) = (conv.weight.shape()[0], conv.weight.shape()[1]);
                let weight = scaled(&conv.weight, scale.as_deref(), |at, len| {
                    let kernel = len / (inputs * own);
                    let group = at / (kernel * own) / (inputs / conv.groups);
                    group * own + at / kernel % own
                })?;
                let bias = bias(&conv.bias, scale.as_deref(), shift, own * conv.groups)?;
                Op::ConvTranspose(Conv { weight, bias, ..conv.clone() })
            }
            None => return Ok(false),
        },
        Op::Dense(dense) => match channels(affine, shape, shape.len() - 1) {
            Some([scale, shift]) => {
                let outputs = dense.weight.shape()[0];
                let weight = scaled(&dense.weight, scale.as_deref(), |at, len| at / (len / outputs))?;
                Op::Dense(Dense { weight, bias: bias(&dense.bias, scale.as_deref(), shift, outputs)? })
            }
            None => return Ok(false),
        },
        _ => return Ok(false),
    };
    if !is_finite(&op) {
        return Ok(false);
    }
    let node = &mut editor.network.nodes[linear];
    node.op = op;
    node.output = output;
    editor.network.nodes.remove(i);
    Ok(true)
}

/// Merges affine node i into the linear layer that alone reads it.
fn before(editor: &mut Editor, i: usize, affine: &Affine) -> Result<bool> {
    let node = &editor.network.nodes[i];
    let (output, input) = (node.output, node.inputs[0]);
    let Some(linear) = editor.only_reader(output) else {
        return Ok(false);
    };
    let shape = &editor.network.value(output).shape;
    let op = match &editor.network.nodes[linear].op {
        Op::Conv(conv) => match channels(affine, shape, 1) {
            Some([scale, shift]) => {
                let padded = conv.pads.iter().any(|p| *p != [0, 0]);
                if padded && shift.as_ref().is_some_and(|t| t.iter().any(|t| *t != 0.0)) {
                    return Ok(false);
                }
                let (outputs, own) = (conv.weight.shape()[0], conv.weight.shape()[1]);
                let channel = |at: usize, len: usize| {
                    let kernel = len / (outputs * own);
                    let group = at / (kernel * own) / (outputs / conv.groups);
                    group * own + at / kernel % own
                };
                let bias = carried(&conv.weight, &conv.bias, shift.as_deref(), outputs, channel)?;
                Op::Conv(Conv { weight: scaled(&conv.weight, scale.as_deref(), channel)?, bias, ..conv.clone() })
            }
            None => return Ok(false),
        },
        Op::Dense(dense) => match channels(affine, shape, shape.len() - 1) {
            Some([scale, shift]) => {
                let (outputs, inputs) = (dense.weight.shape()[0], dense.weight.shape()[1]);
                let bias = carried(&dense.weight, &dense.bias, shift.as_deref(), outputs, |at, _| at % inputs)?;
                Op::Dense(Dense { weight: scaled(&dense.weight, scale.as_deref(), |at, _| at % inputs)?, bias })
            }
            None => return Ok(false),
        },
        _ => return Ok(false),
    };
    if !is_finite(&op) {
        return Ok(false);
    }
    let node = &mut editor.network.nodes[linear];
    node.op = op;
    node.inputs = vec![input];
    Ok(true)
}

/// Factors and summands, one for each position of `axis`; `None` where they vary along other axes.
fn channels(affine: &Affine, shape: &[Dim], axis: usize) -> Option<[Option<Vec<f64>>; 2]> {
    let Some(Dim::Fixed(count)) = shape.get(axis).copied() else {
        return None;
    };
    let vector = |tensor: &Option<Arc<Tensor>>| -> Option<Option<Vec<f64>>> {
        let Some(tensor) = tensor else {
            return Some(None);
        };
        let own = tensor.shape();
        let at = (axis + own.len()).checked_sub(shape.len());
        let flat = own.iter().enumerate().all(|(i, n)| *n == 1 || Some(i) == at);
        let values = tensor.to_vec::<f64>();
        match values.as_slice() {
            &[value] => Some(Some(vec![value; count])),
            _ => (flat && values.len() == count).then_some(Some(values)),
        }
    };
    Some([vector(&affine.scale)?, vector(&affine.shift)?])
}

/// Weights times the factor of their channel; `channel(at, len)` is that of the weight at a flat index.
fn scaled(weight: &Arc<Tensor>, scale: Option<&[f64]>, channel: impl Fn(usize, usize) -> usize) -> Result<Arc<Tensor>> {
    let Some(scale) = scale else {
        return Ok(weight.clone());
    };
    let len = weight.len();
    let mut values = weight.to_vec::<f64>();
    values.iter_mut().enumerate().for_each(|(at, w)| *w *= scale[channel(at, len)]);
    Ok(Arc::new(Tensor::from_f64(weight.shape(), values)?))
}

/// `s·b + t`.
fn bias(
    bias: &Option<Arc<Tensor>>,
    scale: Option<&[f64]>,
    shift: Option<Vec<f64>>,
    outputs: usize,
) -> Result<Option<Arc<Tensor>>> {
    if bias.is_none() && shift.is_none() {
        return Ok(None);
    }
    let mut values = bias.as_ref().map_or_else(|| vec![0.0; outputs], |b| b.to_vec::<f64>());
    values.iter_mut().zip(scale.unwrap_or_default()).for_each(|(b, s)| *b *= s);
    values.iter_mut().zip(shift.unwrap_or_default()).for_each(|(b, t)| *b += t);
    Ok(Some(Arc::new(Tensor::from_f64([outputs], values)?)))
}

/// `Wt + b`, each output summing over its own weights.
fn carried(
    weight: &Arc<Tensor>,
    bias: &Option<Arc<Tensor>>,
    shift: Option<&[f64]>,
    outputs: usize,
    channel: impl Fn(usize, usize) -> usize,
) -> Result<Option<Arc<Tensor>>> {
    let Some(shift) = shift else {
        return Ok(bias.clone());
    };
    let mut values = bias.as_ref().map_or_else(|| vec![0.0; outputs], |b| b.to_vec::<f64>());
    let len = weight.len();
    for (at, w) in weight.to_vec::<f64>().into_iter().enumerate() {
        values[at / (len / outputs)] += w * shift[channel(at, len)];
    }
    Ok(Some(Arc::new(Tensor::from_f64([outputs], values)?)))
}

fn is_finite(op: &Op) -> bool {
    op.constants().iter().all(|t| t.first_non_finite().is_none())
}
