//! Padding and cropping.

use std::sync::Arc;

use crate::error::Result;
use crate::network::{Affine, AxisMap, Dim, Op, Resample, ResampleKind, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::Tensor;

/// `Pad`: negative pads crop; what is added is a constant, or taken from the input.
pub(super) fn pad(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let from = call.shape(x);
    let rank = from.len();
    let pads = call.list("pads", 1)?.ok_or_else(|| call.malformed("it has no pads"))?;
    let axes = match call.int_list(3)? {
        Some(axes) => call.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(call.malformed(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let value = match call.number(2)? {
        Some(value) => value,
        None => call.float("value", 0.0)?,
    };
    if value.is_infinite() {
        return Err(call.unsupported(
            format!("the value {value}, which is not finite,"),
            "a number that float32 has, such as -1e9, is",
        ));
    }
    let mode = call.text("mode", "constant")?;
    let mut maps = Vec::new();
    // For each padded axis: where the input begins in the output.
    let mut placed = Vec::new();
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        if before == 0 && after == 0 {
            continue;
        }
        let size = call.positions(call.fixed(x, axis)?)? as i64;
        let len = before.checked_add(after).and_then(|n| n.checked_add(size)).and_then(|n| usize::try_from(n).ok());
        let len = len.ok_or_else(|| {
            call.malformed(format!("pads {before} and {after} do not fit axis {axis} of {}", shape::display(&from)))
        })?;
        let len = call.positions(len)? as i64;
        if size == 0 {
            return Err(call.shape_error(format!("axis {axis} of {} is empty", shape::display(&from))));
        }
        let source = |at: i64| -> Option<i64> {
            let at = at - before;
            match mode.as_str() {
                "constant" => (0..size).contains(&at).then_some(at),
                "edge" => Some(at.clamp(0, size - 1)),
                "wrap" => Some(at.rem_euclid(size)),
                // A reflection does not repeat the edge: positions run 0 … size−1 … 0 with period 2·size − 2.
                _ => {
                    let period = (2 * size - 2).max(1);
                    let at = at.rem_euclid(period);
                    Some(at.min(period - at).min(size - 1))
                }
            }
        };
        if !matches!(mode.as_str(), "constant" | "edge" | "wrap" | "reflect") {
            return Err(call.unsupported(format!("attribute mode = {mode}"), "constant, edge, reflect and wrap are"));
        }
        if mode == "reflect" && (before >= size || after >= size) {
            return Err(call.unsupported(
                format!("a reflection of {before} and {after} positions of {size}"),
                "a reflection is smaller than the axis",
            ));
        }
        let rows = (0..len).map(|at| source(at).map(|s| (s as usize, 1.0)).into_iter().collect());
        maps.push((axis, Arc::new(AxisMap::from_rows(size as usize, rows)?)));
        placed.push((axis, before, size));
    }
    if maps.is_empty() {
        return Ok(vec![x.into()]);
    }
    let op = Op::Resample(Resample { kind: ResampleKind::Pad, maps });
    if mode != "constant" || value == 0.0 {
        return call.emit(op, &[x]);
    }
    let to = shape::infer(&op, &[&from]).map_err(|what| call.shape_error(what))?;
    let shift = border(call, &to, &placed, value)?;
    let fill = Op::Affine(Affine { scale: None, shift: Some(Arc::new(shift)), origin: "Add" });
    call.chain(x, vec![op, fill])
}

/// `value` around the input, 0 where the input lies. Axes that are not padded have size 1.
fn border(call: &mut Call, to: &[Dim], placed: &[(usize, i64, i64)], value: f64) -> Result<Tensor> {
    let padded = |axis: usize| placed.iter().find(|p| p.0 == axis);
    let shape: Vec<usize> =
        to.iter().enumerate().map(|(i, d)| if padded(i).is_some() { d.fixed().unwrap_or(1) } else { 1 }).collect();
    let len = call.reserve(shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)))?;
    let values = (0..len).map(|flat| {
        let mut rest = flat;
        let mut inside = true;
        for axis in (0..shape.len()).rev() {
            let at = (rest % shape[axis]) as i64;
            rest /= shape[axis];
            if let Some((_, before, size)) = padded(axis) {
                inside &= (*before..before + size).contains(&at);
            }
        }
        if inside { 0.0 } else { value }
    });
    Tensor::from_f64(shape.clone(), values.collect())
}
