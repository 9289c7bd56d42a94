//! Concat: tensors joined along an axis, constants among them.

use std::sync::Arc;

use crate::error::Result;
use crate::network::{Affine, AxisMap, Dim, Op, Resample, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::{Item, Size, Sizes};
use crate::tensor::{Data, Tensor};

/// `Concat`. Constants beside computed tensors become zeros that a shift fills.
pub(super) fn concat(call: &mut Call) -> Result<Vec<Item>> {
    let rank = call.dims(0)?.len();
    let axis = call.axis(call.int("axis", 0)?, rank)?;
    let mut parts = Vec::new();
    let mut total = 0usize;
    let first = call.dims(0)?;
    for i in 0..call.inputs.len() {
        let dims = call.dims(i)?;
        let fits = dims.len() == rank && (0..rank).all(|d| d == axis || dims[d] == first[d]);
        if !fits {
            let (a, b) = (shape::display(&first), shape::display(&dims));
            return Err(call.shape_error(format!("{a} and {b} cannot be joined along axis {axis}")));
        }
        let Dim::Fixed(size) = dims[axis] else {
            return Err(call.unsupported("joining along the batch", "samples must stay independent of each other"));
        };
        total = total.checked_add(size).ok_or_else(|| call.shape_error("the joined axis is too large"))?;
        // Parts without values are dropped.
        if size > 0 {
            parts.push((call.input(i)?.clone(), size));
        }
    }
    let nodes: Vec<ValueId> =
        parts.iter().filter_map(|(item, _)| if let Item::Node(id) = item { Some(*id) } else { None }).collect();
    if nodes.is_empty() {
        return known(call, axis, &parts);
    }
    if nodes.len() == parts.len() {
        return match nodes.as_slice() {
            [only] => Ok(vec![(*only).into()]),
            _ => call.emit(Op::Concat { axis }, &nodes),
        };
    }

    // The computed tensors side by side, spread to their places, and the constants added in between.
    let total = call.positions(total)?;
    let joined = match nodes.as_slice() {
        [only] => *only,
        _ => call.step("Concat", Op::Concat { axis }, &nodes)?,
    };
    let mut rows = Vec::with_capacity(total);
    let mut next = 0;
    for (item, size) in &parts {
        let computed = matches!(item, Item::Node(_));
        rows.extend((0..*size).map(|i| if computed { vec![(next + i, 1.0)] } else { Vec::new() }));
        next += if computed { *size } else { 0 };
    }
    let shift = shift(call, axis, total, &first, &parts)?;
    let spread = Op::Resample(Resample {
        kind: ResampleKind::Pad,
        maps: vec![(axis, Arc::new(AxisMap::from_rows(next, rows)?))],
    });
    let fill = Op::Affine(Affine { scale: None, shift: Some(Arc::new(shift)), origin: "Add" });
    call.chain(joined, vec![spread, fill])
}

/// The constants in their places, zeros elsewhere, of the joined shape but for the batch axis.
fn shift(call: &mut Call, axis: usize, total: usize, dims: &[Dim], parts: &[(Item, usize)]) -> Result<Tensor> {
    let mut shape: Vec<usize> = dims.iter().map(|d| d.fixed().unwrap_or(1)).collect();
    shape[axis] = total;
    let len = call.reserve(shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)))?;
    let (outer, inner): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
    let mut values = vec![0.0; len];
    let mut start = 0;
    for (item, size) in parts {
        let tensor = match item {
            Item::Node(_) => None,
            Item::Const(tensor) => Some(tensor),
            Item::Repeated(repeated) => Some(&repeated.tensor),
            Item::Sizes(_) => return Err(call.unsupported("sizes among computed values", "constants are")),
        };
        if let Some(tensor) = tensor {
            // A repeated constant may have fewer values than its shape: one for each axis it is constant on.
            let own: Vec<usize> = (0..shape.len()).map(|d| if d == axis { *size } else { shape[d] }).collect();
            let source =
                broadcast(tensor, &own).ok_or_else(|| call.shape_error("a constant does not fit its neighbours"))?;
            for o in 0..outer {
                let to = (o * total + start) * inner;
                values[to..to + size * inner].copy_from_slice(&source[o * size * inner..(o + 1) * size * inner]);
            }
        }
        start += size;
    }
    Tensor::from_f64(shape, values)
}

fn broadcast(tensor: &Tensor, shape: &[usize]) -> Option<Vec<f64>> {
    let have = tensor.shape();
    let mut strides = vec![0; shape.len()];
    let mut step = 1;
    for i in (0..have.len()).rev() {
        let d = (i + shape.len()).checked_sub(have.len())?;
        match have[i] {
            1 => {}
            n if n == shape[d] => strides[d] = step,
            _ => return None,
        }
        step *= have[i];
    }
    let values = tensor.to_vec::<f64>();
    super::fold::walk(shape, &strides, shape.iter().product()).into_iter().map(|i| values.get(i).copied()).collect()
}

/// Joins constants, or shapes on their way to a Reshape.
fn known(call: &mut Call, axis: usize, parts: &[(Item, usize)]) -> Result<Vec<Item>> {
    let Some((first, _)) = parts.first() else {
        return Ok(vec![call.input(0)?.clone()]);
    };
    let none =
        |call: &Call| call.unsupported("joining constants that are repeated along the batch", "plain constants are");
    let mut shape = first.known_shape().ok_or_else(|| none(call))?.to_vec();
    shape[axis] = parts.iter().map(|(_, size)| size).sum();
    call.reserve(shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)))?;
    let outer: usize = shape[..axis].iter().product();
    let all: Option<Vec<Sizes>> = parts.iter().map(|(item, _)| item.sizes()).collect();
    if let Some(sizes) = all {
        let values: Vec<&[Size]> = sizes.iter().map(|s| s.values.as_slice()).collect();
        return Ok(vec![Sizes { shape, values: interleave(outer, &values) }.into_item()]);
    }
    let tensors: Option<Vec<&Tensor>> =
        parts.iter().map(|(item, _)| if let Item::Const(t) = item { Some(t.as_ref()) } else { None }).collect();
    let tensors = tensors.ok_or_else(|| none(call))?;
    let floats: Option<Vec<&[f32]>> =
        tensors.iter().map(|t| if let Data::F32(v) = t.data() { Some(v.as_slice()) } else { None }).collect();
    let data = match floats {
        Some(floats) => Data::F32(interleave(outer, &floats)),
        None => {
            let values: Vec<Vec<f64>> = tensors.iter().map(|t| t.to_vec()).collect();
            Data::F64(interleave(outer, &values.iter().map(Vec::as_slice).collect::<Vec<_>>()))
        }
    };
    Ok(vec![Tensor::new(shape, data)?.into()])
}

/// For each of `outer` rows, the row of every part after the other.
fn interleave<T: Copy>(outer: usize, parts: &[&[T]]) -> Vec<T> {
    let mut joined = Vec::with_capacity(parts.iter().map(|p| p.len()).sum());
    for o in 0..outer {
        for part in parts {
            let row = part.len() / outer;
            joined.extend_from_slice(&part[o * row..(o + 1) * row]);
        }
    }
    joined
}
