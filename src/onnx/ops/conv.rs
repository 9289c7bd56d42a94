//! Convolutions, and the windows they share with pooling.

use crate::error::Result;
use crate::network::{Conv, Op, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;

/// The windows of a convolution or pooling, one entry for each spatial axis.
pub(super) struct Windows {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Vec<[usize; 2]>,
    /// Whether the padding was made to fit: then no window is left over.
    pub same: bool,
}

/// Where the padding comes from.
#[derive(Clone, Copy, PartialEq)]
enum AutoPad {
    /// From the attribute `pads`.
    Explicit,
    /// As much as makes the output `⌈size/stride⌉`, an odd one at the end or at the start.
    Same { extra_at_end: bool },
    /// None.
    Valid,
}

fn auto_pad(call: &Call) -> Result<AutoPad> {
    let mode = call.text("auto_pad", "NOTSET")?;
    let auto = match mode.as_str() {
        "NOTSET" | "" => return Ok(AutoPad::Explicit),
        "SAME_UPPER" => AutoPad::Same { extra_at_end: true },
        "SAME_LOWER" => AutoPad::Same { extra_at_end: false },
        "VALID" => AutoPad::Valid,
        other => {
            return Err(call
                .unsupported(format!("attribute auto_pad = {other}"), "NOTSET, SAME_UPPER, SAME_LOWER and VALID are"));
        }
    };
    if call.ints("pads")?.is_some_and(|pads| pads.iter().any(|p| *p != 0)) {
        return Err(call.malformed(format!("attribute pads contradicts auto_pad = {mode}")));
    }
    Ok(auto)
}

/// Reads the attributes of windows over the spatial axes of `x`.
pub(super) fn windows(call: &Call, x: ValueId, kernel: Vec<usize>) -> Result<Windows> {
    let rank = kernel.len();
    let strides = call.sizes("strides", rank, 1)?;
    let dilations = call.sizes("dilations", rank, 1)?;
    if strides.iter().chain(&dilations).chain(&kernel).any(|n| *n == 0) {
        return Err(call.malformed("kernel sizes, strides and dilations must be at least 1"));
    }
    let mut same = false;
    let pads = match auto_pad(call)? {
        AutoPad::Explicit => explicit_pads(call, rank)?,
        AutoPad::Valid => vec![[0, 0]; rank],
        AutoPad::Same { extra_at_end } => {
            same = true;
            let mut pads = Vec::with_capacity(rank);
            for i in 0..rank {
                let size = call.fixed(x, i + 2)?;
                let taps = shape::taps(kernel[i], dilations[i]).map_err(|what| call.shape_error(what))?;
                let covered =
                    (size.div_ceil(strides[i]).max(1) - 1).checked_mul(strides[i]).and_then(|n| n.checked_add(taps));
                let covered = covered.ok_or_else(|| call.shape_error("the windows are too large"))?;
                pads.push(halves(covered.saturating_sub(size), extra_at_end));
            }
            pads
        }
    };
    Ok(Windows { kernel, strides, dilations, pads, same })
}

/// Padding before and after an axis, an odd one at the end or at the start.
fn halves(total: usize, extra_at_end: bool) -> [usize; 2] {
    let half = total / 2;
    if extra_at_end { [half, total - half] } else { [total - half, half] }
}

/// ONNX lists the padding before every axis, then the padding after every axis.
fn explicit_pads(call: &Call, rank: usize) -> Result<Vec<[usize; 2]>> {
    let pads = call.sizes("pads", 2 * rank, 0)?;
    let (before, after) = pads.split_at(rank);
    Ok(before.iter().zip(after).map(|(a, b)| [*a, *b]).collect())
}

/// Weights, groups and kernel of a convolution, checked against each other.
fn start(call: &Call) -> Result<(ValueId, Conv)> {
    let x = call.value(0)?;
    let weight = call.weight(1)?;
    let bias = call.constant(2)?;
    let spatial = call.shape(x).len().saturating_sub(2);
    if !(1..=3).contains(&spatial) || weight.shape().len() != spatial + 2 {
        let (w, x) = (weight.shape(), shape::display(&call.shape(x)));
        return Err(call.shape_error(format!(
            "weights of shape {w:?} do not fit an input of shape {x}, or it has not 1 to 3 spatial axes"
        )));
    }
    let kernel = weight.shape()[2..].to_vec();
    let claimed = call.ints("kernel_shape")?;
    if claimed.is_some() && call.sizes("kernel_shape", spatial, 0)? != kernel {
        return Err(call.malformed(format!(
            "attribute kernel_shape {:?} is not that of the weights, {kernel:?}",
            claimed.unwrap_or_default()
        )));
    }
    let groups = usize::try_from(call.int("group", 1)?).unwrap_or(0);
    if groups == 0 {
        return Err(call.malformed("attribute group must be at least 1"));
    }
    let windows = windows(call, x, kernel)?;
    let conv = Conv {
        weight,
        bias,
        groups,
        strides: windows.strides,
        dilations: windows.dilations,
        pads: windows.pads,
        output_padding: vec![0; spatial],
    };
    Ok((x, conv))
}

/// `Conv`.
pub(super) fn conv(call: &mut Call) -> Result<Vec<Item>> {
    let (x, conv) = start(call)?;
    call.emit(Op::Conv(conv), &[x])
}

/// `ConvTranspose`: padding is cut from the output, whose size may be given instead.
pub(super) fn conv_transpose(call: &mut Call) -> Result<Vec<Item>> {
    let (x, mut conv) = start(call)?;
    let rank = conv.strides.len();
    conv.output_padding = call.sizes("output_padding", rank, 0)?;
    let auto = auto_pad(call)?;
    let wanted = match call.ints("output_shape")? {
        // Some exporters list the batch and channels too.
        Some(list) if list.len() == rank + 2 => Some(list[2..].to_vec()),
        Some(list) if list.len() == rank => Some(list),
        Some(list) => {
            return Err(call.malformed(format!("attribute output_shape {list:?} does not fit {rank} spatial axes")));
        }
        None => None,
    };
    for i in 0..rank {
        let size = call.fixed(x, i + 2)?;
        let taps = shape::taps(conv.weight.shape()[i + 2], conv.dilations[i]).map_err(|what| call.shape_error(what))?;
        let full = size
            .saturating_sub(1)
            .checked_mul(conv.strides[i])
            .and_then(|n| n.checked_add(taps)?.checked_add(conv.output_padding[i]))
            .ok_or_else(|| call.shape_error("the output is too large"))?;
        let target = match (&wanted, auto) {
            (Some(list), _) => usize::try_from(list[i]).unwrap_or(0),
            (None, AutoPad::Same { .. }) => {
                size.checked_mul(conv.strides[i]).ok_or_else(|| call.shape_error("the output is too large"))?
            }
            (None, _) => continue,
        };
        let total = full.checked_sub(target).filter(|_| target > 0).ok_or_else(|| {
            call.unsupported(
                format!("an output of size {target} on axis {}", i + 2),
                format!("at most {full} is covered by the kernel"),
            )
        })?;
        conv.pads[i] = halves(total, auto == AutoPad::Same { extra_at_end: true });
    }
    call.emit(Op::ConvTranspose(conv), &[x])
}
