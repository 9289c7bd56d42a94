//! Parts and copies of a tensor: Slice, Split, Gather, Tile.

use std::sync::Arc;

use super::constant;
use super::route::Pick;
use crate::error::Result;
use crate::network::{Dim, Embedding, Op, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::{Item, Size};

/// Chosen positions of input 0, computed or known, under a new shape.
fn pick(call: &mut Call, kind: ResampleKind, picks: Vec<Pick>, then: Option<Vec<Dim>>) -> Result<Vec<Item>> {
    match call.input(0)?.clone() {
        Item::Node(x) => {
            let op = call.pick_op(&call.shape(x), kind, picks)?;
            call.chain(x, op.into_iter().chain(then.map(|shape| Op::Reshape { shape })).collect())
        }
        known => {
            let item = call.pick_known(&known, &picks)?;
            Ok(vec![match then.as_deref().and_then(constant::fixed) {
                Some(shape) => {
                    let len = shape.iter().product();
                    item.picked(shape, &(0..len).collect::<Vec<_>>()).unwrap_or(item)
                }
                None => item,
            }])
        }
    }
}

/// `Slice`: from start to end by step along some axes.
pub(super) fn slice(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let list = |call: &Call, name: &str, i: usize| -> Result<Option<Vec<Size>>> {
        if let Some(list) = call.ints(name)? {
            return Ok(Some(list.into_iter().map(Size::Int).collect()));
        }
        let Some(item) = call.optional(i) else {
            return Ok(None);
        };
        let sizes = item
            .sizes()
            .ok_or_else(|| call.unsupported(format!("a computed input {i}"), "positions have to be constant"))?;
        Ok(Some(sizes.values))
    };
    let missing = |call: &Call| call.malformed("it has no starts or no ends");
    let starts = list(call, "starts", 1)?.ok_or_else(|| missing(call))?;
    let ends = list(call, "ends", 2)?.ok_or_else(|| missing(call))?;
    let axes = match call.list("axes", 3)? {
        Some(axes) => call.axes(&axes, dims.len())?,
        None => (0..starts.len()).collect(),
    };
    let steps = call.int_list(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err(call.malformed("starts, ends, axes and steps differ in length"));
    }
    let mut picks = Vec::new();
    for (i, &axis) in axes.iter().enumerate() {
        let Some(&dim) = dims.get(axis) else {
            return Err(call.malformed(format!("there is no axis {axis} in {}", shape::display(&dims))));
        };
        let size = match dim {
            Dim::Fixed(size) => size,
            Dim::Batch(_) if whole_batch(dim, starts[i], ends[i], steps[i]) => continue,
            Dim::Batch(_) => {
                let help = "samples must stay independent of each other; the whole batch may be taken";
                return Err(call.unsupported(format!("a part of axis {axis}, the batch,"), help));
            }
        };
        let (Size::Int(start), Size::Int(end)) = (starts[i], ends[i]) else {
            return Err(call.unsupported("a position that depends on the batch size", "constant positions are"));
        };
        let sources = positions(call.positions(size)?, start, end, steps[i]);
        picks.push(Pick { axis, sources: sources.ok_or_else(|| call.malformed("a step is 0"))? });
    }
    pick(call, ResampleKind::Slice, picks, None)
}

/// Whether a slice of the batch axis takes all of it, whatever the batch size.
fn whole_batch(dim: Dim, start: Size, end: Size, step: i64) -> bool {
    let to_end = match end {
        Size::Int(end) => end >= i64::from(i32::MAX),
        end => end == Size::from(dim),
    };
    start == Size::Int(0) && step == 1 && to_end
}

/// The positions of a slice, with ONNX's clamping.
fn positions(size: usize, start: i64, end: i64, step: i64) -> Option<Vec<usize>> {
    let n = i64::try_from(size).ok()?;
    let from_start = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let walk = |low: i64, high: i64| -> Option<Vec<usize>> {
        // A step beyond the axis takes one position.
        let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        (low < high).then(|| (low as usize..high as usize).step_by(stride).collect()).or(Some(Vec::new()))
    };
    match step {
        0 => None,
        1.. => walk(from_start(start).clamp(0, n), from_start(end).clamp(0, n)),
        _ => {
            // Backwards from start: the same walk on the mirrored axis.
            let mirror = |at: i64| n - 1 - at;
            let (start, end) = (from_start(start).max(0).min(n - 1), from_start(end).max(-1).min(n - 1));
            Some(walk(mirror(start), mirror(end))?.into_iter().filter_map(|at| (size - 1).checked_sub(at)).collect())
        }
    }
}

/// `Split`: parts along an axis, one output each.
pub(super) fn split(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let axis = call.axis(call.int("axis", 0)?, dims.len())?;
    let Dim::Fixed(size) = dims[axis] else {
        return Err(call
            .unsupported(format!("splitting axis {axis}, the batch,"), "samples must stay independent of each other"));
    };
    let size = call.positions(size)?;
    let count = call.node.output.len();
    let parts: Vec<usize> = match call.list("split", 1)? {
        Some(list) => {
            let parts: Option<Vec<usize>> = list.iter().map(|n| usize::try_from(*n).ok()).collect();
            let total = parts.as_ref().and_then(|p| p.iter().try_fold(0usize, |n, p| n.checked_add(*p)));
            match parts {
                Some(parts) if total == Some(size) && parts.len() == count => parts,
                _ => {
                    let what = format!("parts {list:?} do not fit {count} outputs and the size {size} of axis {axis}");
                    return Err(call.malformed(what));
                }
            }
        }
        None => {
            let wanted = call.int("num_outputs", count as i64)?;
            if count == 0 || usize::try_from(wanted) != Ok(count) {
                return Err(call.malformed(format!("num_outputs is {wanted}, but there are {count} outputs")));
            }
            if !call.has("num_outputs") && !size.is_multiple_of(count) {
                return Err(call.malformed(format!("axis {axis} of size {size} has no {count} equal parts")));
            }
            // The last part is smaller where they cannot be equal.
            let part = size.div_ceil(count);
            (0..count).map(|i| part.min(size.saturating_sub(i * part))).collect()
        }
    };
    let mut start = 0;
    let mut items = Vec::with_capacity(count);
    let input = call.input(0)?.clone();
    for (i, part) in parts.into_iter().enumerate() {
        let picks = vec![Pick { axis, sources: (start..start + part).collect() }];
        start += part;
        items.push(match &input {
            // Nothing reads it: the input stands for it.
            Item::Node(_) if !call.wanted.get(i).copied().unwrap_or(false) => input.clone(),
            Item::Node(x) => match call.pick_op(&dims, ResampleKind::Slice, picks)? {
                Some(op) => call.emit_output(i, op, &[*x])?,
                None => input.clone(),
            },
            known => call.pick_known(known, &picks)?,
        });
    }
    Ok(items)
}

/// Rows of a constant at given ids: an embedding.
fn embedding(call: &mut Call, ids: ValueId) -> Result<Vec<Item>> {
    if !matches!(call.input(0)?, Item::Const(_)) {
        return Err(call.unsupported("a computed tensor at computed indices", "rows of a constant table are"));
    }
    let table = call.weight(0)?;
    if !call.builder.is_given(ids) {
        let help = "they have to be an input of the network, at most reshaped, transposed or cut";
        return Err(call.unsupported("indices that the network computes", help));
    }
    let [rows, rest @ ..] = table.shape() else {
        return Err(call.shape_error("the table has no axes"));
    };
    if call.axis(call.int("axis", 0)?, table.shape().len())? != 0 {
        return Err(call.unsupported("computed indices along another axis than the first", "rows of a table are"));
    }
    let mut shape = call.shape(ids);
    shape.extend(rest.iter().map(|n| Dim::Fixed(*n)));
    let (rows, width) = (*rows, rest.iter().product());
    let table = Arc::new(Arc::unwrap_or_clone(table).reshape([rows, width])?);
    call.chain(ids, vec![Op::Embedding(Embedding { table }), Op::Reshape { shape }])
}

/// `Gather` at constant positions: one axis becomes those of the indices. At given ones: an embedding.
pub(super) fn gather(call: &mut Call) -> Result<Vec<Item>> {
    if let Item::Node(ids) = *call.input(1)? {
        return embedding(call, ids);
    }
    let dims = call.dims(0)?;
    let axis = call.axis(call.int("axis", 0)?, dims.len())?;
    let indices = call.weight(1)?;
    let Dim::Fixed(size) = dims[axis] else {
        return Err(call.unsupported(
            format!("gathering from axis {axis}, the batch,"),
            "samples must stay independent of each other",
        ));
    };
    let size = call.positions(size)?;
    let list = indices.as_i64().ok_or_else(|| call.malformed("its indices are not integers"))?;
    let mut sources = Vec::with_capacity(list.len());
    for index in list {
        sources
            .push(call.axis(*index, size).map_err(|_| {
                call.malformed(format!("index {index} is outside the {size} positions of axis {axis}"))
            })?);
    }
    let mut shape = dims[..axis].to_vec();
    shape.extend(indices.shape().iter().map(|n| Dim::Fixed(*n)));
    shape.extend(&dims[axis + 1..]);
    pick(call, ResampleKind::Gather, vec![Pick { axis, sources }], Some(shape))
}

/// `Tile`: copies of the whole, one after the other.
pub(super) fn tile(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let repeats = call.int_list(1)?.unwrap_or_default();
    if repeats.len() != dims.len() {
        return Err(call.malformed(format!("{} repeats for {} axes", repeats.len(), dims.len())));
    }
    let mut picks = Vec::new();
    for (axis, (dim, times)) in dims.iter().zip(repeats).enumerate().filter(|(_, (_, times))| *times != 1) {
        let Dim::Fixed(size) = *dim else {
            return Err(call.unsupported("repeating the batch", "the batch axis can be repeated once"));
        };
        let times = usize::try_from(times).map_err(|_| call.malformed("a negative repeat"))?;
        let len = size.checked_mul(times).ok_or_else(|| call.malformed("too many repeats"))?;
        picks.push(Pick { axis, sources: (0..call.positions(len)?).map(|i| i % size).collect() });
    }
    pick(call, ResampleKind::Expand, picks, None)
}

#[cfg(test)]
mod tests {
    use super::positions;

    #[test]
    fn slices_clamp_as_onnx_does() {
        assert_eq!(positions(5, 1, 4, 1), Some(vec![1, 2, 3]));
        assert_eq!(positions(5, -2, i64::MAX, 1), Some(vec![3, 4]));
        assert_eq!(positions(5, 0, -1, 2), Some(vec![0, 2]));
        assert_eq!(positions(5, -1, i64::MIN, -1), Some(vec![4, 3, 2, 1, 0]));
        assert_eq!(positions(5, 3, 0, -2), Some(vec![3, 1]));
        assert_eq!(positions(5, 10, -10, i64::MIN), Some(vec![4]));
        assert_eq!(positions(5, 4, 2, 1), Some(vec![]));
        assert_eq!(positions(5, 0, 1, 0), None);
        assert_eq!(positions(0, -1, i64::MIN, -1), Some(vec![]));
    }
}
