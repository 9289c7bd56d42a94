//! Maximum and average pooling.

use std::sync::Arc;

use super::conv::windows;
use crate::error::Result;
use crate::network::{Activation, AxisMap, MaxPool, Op, Resample, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;

/// Input 0 and its spatial rank.
fn spatial(call: &Call) -> Result<(ValueId, usize)> {
    let x = call.value(0)?;
    let rank = call.shape(x).len().saturating_sub(2);
    if !(1..=3).contains(&rank) {
        return Err(
            call.shape_error(format!("takes 1 to 3 spatial axes, not the shape {}", shape::display(&call.shape(x))))
        );
    }
    Ok((x, rank))
}

fn kernel(call: &Call, rank: usize) -> Result<Vec<usize>> {
    if !call.has("kernel_shape") {
        return Err(call.malformed("attribute kernel_shape is missing"));
    }
    call.sizes("kernel_shape", rank, 0)
}

/// `MaxPool`; its second output, the positions, must not be used.
pub(super) fn max_pool(call: &mut Call) -> Result<Vec<Item>> {
    let (x, rank) = spatial(call)?;
    if call.int("storage_order", 0)? != 0 {
        return Err(call.unsupported("attribute storage_order = 1", "storage_order = 0 is"));
    }
    let windows = windows(call, x, kernel(call, rank)?)?;
    let pool = MaxPool {
        kernel: windows.kernel,
        strides: windows.strides,
        dilations: windows.dilations,
        pads: windows.pads,
        ceil: call.flag("ceil_mode", false)? && !windows.same,
    };
    call.emit(Op::MaxPool(pool), &[x])
}

/// `AveragePool`: a mean along each axis.
pub(super) fn average_pool(call: &mut Call) -> Result<Vec<Item>> {
    let (x, rank) = spatial(call)?;
    let windows = windows(call, x, kernel(call, rank)?)?;
    let ceil = call.flag("ceil_mode", false)? && !windows.same;
    let count_pad = call.flag("count_include_pad", false)?;
    let mut maps = Vec::with_capacity(rank);
    for i in 0..rank {
        let map = AxisMap::average(
            call.fixed(x, i + 2)?,
            windows.kernel[i],
            windows.strides[i],
            windows.dilations[i],
            windows.pads[i],
            ceil,
            count_pad,
        )?;
        maps.push((i + 2, Arc::new(map)));
    }
    call.emit(Op::Resample(Resample { kind: ResampleKind::AveragePool, maps }), &[x])
}

/// `GlobalAveragePool`.
pub(super) fn global_average_pool(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let mut maps = Vec::new();
    for axis in 2..call.shape(x).len() {
        let size = call.fixed(x, axis)?;
        maps.push((axis, Arc::new(AxisMap::reduce(size, 1.0 / size as f64)?)));
    }
    call.emit(Op::Resample(Resample { kind: ResampleKind::AveragePool, maps }), &[x])
}

/// `LpPool`: (Σ |x|^p)^(1/p) over windows; padding adds nothing.
pub(super) fn lp_pool(call: &mut Call) -> Result<Vec<Item>> {
    let (x, rank) = spatial(call)?;
    let windows = windows(call, x, kernel(call, rank)?)?;
    let ceil = call.flag("ceil_mode", false)? && !windows.same;
    let mut maps = Vec::with_capacity(rank);
    for i in 0..rank {
        let size = call.fixed(x, i + 2)?;
        let (kernel, stride, dilation) = (windows.kernel[i], windows.strides[i], windows.dilations[i]);
        let mean = AxisMap::average(size, kernel, stride, dilation, windows.pads[i], ceil, true)?;
        let rows = mean.starts().windows(2).map(|w| {
            mean.sources()[w[0] as usize..w[1] as usize].iter().map(|source| (*source as usize, 1.0)).collect()
        });
        maps.push((i + 2, Arc::new(AxisMap::from_rows(size, rows)?)));
    }
    norm(call, x, maps)
}

/// `GlobalLpPool`: the same over all positions.
pub(super) fn global_lp_pool(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let mut maps = Vec::new();
    for axis in 2..call.shape(x).len() {
        maps.push((axis, Arc::new(AxisMap::reduce(call.fixed(x, axis)?, 1.0)?)));
    }
    norm(call, x, maps)
}

/// The p-norm by sums along axes.
fn norm(call: &mut Call, x: ValueId, maps: Vec<(usize, Arc<AxisMap>)>) -> Result<Vec<Item>> {
    let p = call.int("p", 2)?;
    if p < 1 {
        return Err(call.malformed(format!("attribute p is {p}, not 1 or more")));
    }
    let sum = Op::Resample(Resample { kind: ResampleKind::ReduceSum, maps });
    if p == 2 {
        let square = call.step("square", Op::Mul, &[x, x])?;
        return call.chain(square, vec![sum, Op::Activation(Activation::Sqrt)]);
    }
    let mut ops = vec![Op::Activation(Activation::Abs), sum];
    if p != 1 {
        let power = |exponent: f64| Op::Activation(Activation::Pow { exponent });
        ops.insert(1, power(p as f64));
        ops.push(power(1.0 / p as f64));
    }
    call.chain(x, ops)
}

/// `GlobalMaxPool`: one window over everything.
pub(super) fn global_max_pool(call: &mut Call) -> Result<Vec<Item>> {
    let (x, rank) = spatial(call)?;
    let kernel = (0..rank).map(|i| call.fixed(x, i + 2)).collect::<Result<Vec<_>>>()?;
    let pool =
        MaxPool { kernel, strides: vec![1; rank], dilations: vec![1; rank], pads: vec![[0, 0]; rank], ceil: false };
    call.emit(Op::MaxPool(pool), &[x])
}
