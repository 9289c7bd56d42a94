//! Shapes with an open batch size, and what each op makes of them.

use super::op::{Affine, Conv, Dense, Distances, MaxPool, Op, Resample};
use crate::tensor::Tensor;

/// The size of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known when the network is loaded.
    Fixed(usize),
    /// This many times the batch size.
    Batch(usize),
}

impl From<usize> for Dim {
    fn from(size: usize) -> Dim {
        Dim::Fixed(size)
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Batch(1) => write!(f, "N"),
            Dim::Batch(k) => write!(f, "{k}N"),
        }
    }
}

impl Dim {
    /// The size at a batch size.
    pub fn at(self, batch: usize) -> usize {
        match self {
            Dim::Fixed(n) => n,
            Dim::Batch(k) => k * batch,
        }
    }

    /// The size, unless it depends on the batch.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Dim::Fixed(n) => Some(n),
            Dim::Batch(_) => None,
        }
    }
}

/// A shape as `N×3×224×224`.
pub(crate) fn display(shape: &[Dim]) -> String {
    if shape.is_empty() {
        return "scalar".to_string();
    }
    shape.iter().map(Dim::to_string).collect::<Vec<_>>().join("×")
}

/// The number of values: (factor, power of the batch size).
pub(crate) fn volume(shape: &[Dim]) -> Option<(usize, u32)> {
    shape.iter().try_fold((1usize, 0), |(n, power), dim| match dim {
        Dim::Fixed(k) => Some((n.checked_mul(*k)?, power)),
        Dim::Batch(k) => Some((n.checked_mul(*k)?, power + 1)),
    })
}

/// The most values a tensor may have; more could not be held by any machine.
pub(crate) const MOST_VALUES: usize = 1 << 40;

/// Whether a sample of that shape holds values, and could be held by any machine.
pub(crate) fn is_possible(shape: &[Dim]) -> bool {
    volume(shape).is_some_and(|(n, _)| n > 0) && values(shape, 1).is_some()
}

/// The number of values at a batch size, unless no machine could hold them.
pub(crate) fn values(shape: &[Dim], batch: usize) -> Option<usize> {
    let (factor, power) = volume(shape)?;
    batch.checked_pow(power)?.checked_mul(factor).filter(|n| *n < MOST_VALUES)
}

/// The shape of an op's output. The error says what does not fit; the caller knows where.
pub(crate) fn infer(op: &Op, inputs: &[&[Dim]]) -> Result<Vec<Dim>, String> {
    let arity = match op {
        Op::Add => 2..=usize::MAX,
        Op::Concat { .. } => 1..=usize::MAX,
        Op::Sub | Op::Mul | Op::Div => 2..=2,
        Op::Recurrent(r) => {
            let inputs = 1 + r.given().iter().flatten().count();
            inputs..=inputs
        }
        _ => 1..=1,
    };
    if !arity.contains(&inputs.len()) {
        return Err(format!("takes {} inputs, not {}", arity.start(), inputs.len()));
    }
    let x = inputs[0];
    match op {
        Op::Conv(conv) => convolution(conv, x),
        Op::ConvTranspose(conv) => transposed_convolution(conv, x),
        Op::Dense(dense) => dense_layer(dense, x),
        Op::Affine(affine) => affine_layer(affine, x),
        Op::Distances(distances) => distance_layer(distances, x),
        Op::SoftMin { gamma } => soft_min(*gamma, x),
        Op::Activation(super::Activation::PRelu { slope }) => {
            let channels = x.get(1).copied().and_then(Dim::fixed).unwrap_or(1);
            if slope.len() != 1 && slope.len() != channels {
                return Err(format!("{} slopes for an input of shape {}", slope.len(), display(x)));
            }
            Ok(x.to_vec())
        }
        Op::Activation(_) => Ok(x.to_vec()),
        Op::MaxPool(pool) => max_pool(pool, x),
        Op::Resample(resample) => resampled(resample, x),
        Op::Add | Op::Sub | Op::Mul | Op::Div => inputs[1..].iter().try_fold(x.to_vec(), |a, b| broadcast(&a, b)),
        Op::Concat { axis } => concatenated(*axis, inputs),
        Op::Transpose { perm } => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..x.len()) {
                return Err(format!("{perm:?} does not order the axes of {}", display(x)));
            }
            Ok(perm.iter().map(|p| x[*p]).collect())
        }
        Op::Reshape { shape } => {
            if volume(shape).is_none() || volume(shape) != volume(x) {
                return Err(format!("cannot reshape {} to {}", display(x), display(shape)));
            }
            Ok(shape.clone())
        }
        Op::Softmax { axis, .. } => {
            fixed_axis(x, *axis)?;
            Ok(x.to_vec())
        }
        Op::Lrn(lrn) => {
            fixed_axis(x, 1)?;
            if lrn.size == 0 {
                return Err("size is 0".to_string());
            }
            Ok(x.to_vec())
        }
        Op::Recurrent(recurrent) => recurrent.infer(inputs),
        Op::Embedding(embedding) => embedding.infer(x),
    }
}

/// NumPy's broadcasting of two shapes.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(Dim::Fixed(1), |k| s[k]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (p, q) if p == q => Ok(p),
            (Dim::Fixed(1), q) => Ok(q),
            (p, Dim::Fixed(1)) => Ok(p),
            _ => Err(format!("shapes {} and {} do not broadcast", display(a), display(b))),
        })
        .collect()
}

fn fixed_axis(x: &[Dim], axis: usize) -> Result<usize, String> {
    match x.get(axis) {
        Some(Dim::Fixed(n)) => Ok(*n),
        Some(Dim::Batch(_)) => Err(format!("axis {axis} of {} is the batch axis", display(x))),
        None => Err(format!("there is no axis {axis} in {}", display(x))),
    }
}

/// The spatial rank of a windowed op on `x`, checked against the lengths of its attribute lists.
fn spatial_rank(x: &[Dim], lengths: &[usize]) -> Result<usize, String> {
    let rank = x.len().saturating_sub(2);
    if !(1..=3).contains(&rank) {
        return Err(format!("takes 1 to 3 spatial axes, not the shape {}", display(x)));
    }
    if lengths.iter().any(|n| *n != rank) {
        return Err(format!("attributes for {lengths:?} axes do not fit the {rank} spatial axes of {}", display(x)));
    }
    Ok(rank)
}

pub(crate) fn taps(kernel: usize, dilation: usize) -> Result<usize, String> {
    if kernel == 0 || dilation == 0 {
        return Err("kernel sizes and dilations must be at least 1".to_string());
    }
    (kernel - 1)
        .checked_mul(dilation)
        .and_then(|n| n.checked_add(1))
        .ok_or_else(|| "the window is too large".to_string())
}

/// Strides, dilations and pads are at most this: the kernels count positions in 32 bits, with their signs.
const MOST_STEP: usize = 1 << 24;
/// Positions of a plane that differ by less than the stride have taps of their own, and are listed. Real networks have some
/// thousand.
const MOST_PHASES: usize = 1 << 18;

/// Windows whose positions can be counted.
fn check_windows(x: &[Dim], strides: &[usize], dilations: &[usize], pads: &[[usize; 2]]) -> Result<(), String> {
    let all = strides.iter().chain(dilations).chain(pads.as_flattened());
    if let Some(n) = all.copied().find(|n| *n > MOST_STEP) {
        return Err(format!("{n} is too much for a stride, dilation or pad; at most 2^24 is possible"));
    }
    if strides.contains(&0) {
        return Err("strides must be at least 1".to_string());
    }
    let axes = x.iter().skip(2).zip(strides).map(|(dim, stride)| dim.fixed().unwrap_or(1).min(*stride));
    if axes.fold(1, usize::saturating_mul) > MOST_PHASES {
        return Err(format!("strides {strides:?} are too large; their product can be 2^18"));
    }
    Ok(())
}

fn check_conv(conv: &Conv, x: &[Dim]) -> Result<(usize, usize), String> {
    let rank =
        spatial_rank(x, &[conv.strides.len(), conv.dilations.len(), conv.pads.len(), conv.output_padding.len()])?;
    let weight = conv.weight.shape();
    if weight.len() != rank + 2 {
        return Err(format!("weights of shape {weight:?} do not fit an input of shape {}", display(x)));
    }
    if conv.groups == 0 || !weight[0].is_multiple_of(conv.groups) {
        return Err(format!("{} groups do not divide the weights' {} rows", conv.groups, weight[0]));
    }
    check_windows(x, &conv.strides, &conv.dilations, &conv.pads)?;
    Ok((rank, fixed_axis(x, 1)?))
}

fn check_bias(bias: Option<&Tensor>, outputs: usize) -> Result<(), String> {
    match bias {
        Some(b) if b.len() != outputs => Err(format!("{} biases for {outputs} outputs", b.len())),
        _ => Ok(()),
    }
}

fn convolution(conv: &Conv, x: &[Dim]) -> Result<Vec<Dim>, String> {
    let (rank, channels) = check_conv(conv, x)?;
    let weight = conv.weight.shape();
    if weight[1].checked_mul(conv.groups) != Some(channels) {
        let (groups, shape) = (conv.groups, display(x));
        return Err(format!("weights of shape {weight:?} with {groups} groups do not fit an input of shape {shape}"));
    }
    check_bias(conv.bias.as_deref(), weight[0])?;
    let mut shape = vec![x[0], Dim::Fixed(weight[0])];
    for i in 0..rank {
        let size = padded(fixed_axis(x, i + 2)?, conv.pads[i])?;
        let taps = taps(weight[i + 2], conv.dilations[i])?;
        if size < taps {
            return Err(format!("a window of {taps} does not fit the padded size {size} of axis {}", i + 2));
        }
        shape.push(Dim::Fixed((size - taps) / conv.strides[i] + 1));
    }
    Ok(shape)
}

fn transposed_convolution(conv: &Conv, x: &[Dim]) -> Result<Vec<Dim>, String> {
    let (rank, channels) = check_conv(conv, x)?;
    let weight = conv.weight.shape();
    if weight[0] != channels {
        return Err(format!("weights of shape {weight:?} do not fit an input of shape {}", display(x)));
    }
    let outputs = weight[1].checked_mul(conv.groups).ok_or("too many channels")?;
    check_bias(conv.bias.as_deref(), outputs)?;
    let mut shape = vec![x[0], Dim::Fixed(outputs)];
    for i in 0..rank {
        let size = fixed_axis(x, i + 2)?;
        let taps = taps(weight[i + 2], conv.dilations[i])?;
        let full = size
            .checked_sub(1)
            .and_then(|n| n.checked_mul(conv.strides[i]))
            .and_then(|n| n.checked_add(taps)?.checked_add(conv.output_padding[i]))
            .ok_or_else(|| format!("axis {} has an impossible size", i + 2))?;
        let cut = conv.pads[i][0].checked_add(conv.pads[i][1]).filter(|cut| *cut < full);
        let cut = cut.ok_or_else(|| format!("pads {:?} leave nothing of axis {}", conv.pads[i], i + 2))?;
        shape.push(Dim::Fixed(full - cut));
    }
    Ok(shape)
}

fn padded(size: usize, pads: [usize; 2]) -> Result<usize, String> {
    size.checked_add(pads[0]).and_then(|n| n.checked_add(pads[1])).ok_or_else(|| format!("pads {pads:?} are too large"))
}

fn dense_layer(dense: &Dense, x: &[Dim]) -> Result<Vec<Dim>, String> {
    let &[outputs, inputs] = dense.weight.shape() else {
        return Err(format!("weights of shape {:?} are not a matrix", dense.weight.shape()));
    };
    if x.last() != Some(&Dim::Fixed(inputs)) {
        return Err(format!("weights for {inputs} inputs do not fit the last axis of {}", display(x)));
    }
    check_bias(dense.bias.as_deref(), outputs)?;
    let mut shape = x.to_vec();
    shape[x.len() - 1] = Dim::Fixed(outputs);
    Ok(shape)
}

fn distance_layer(distances: &Distances, x: &[Dim]) -> Result<Vec<Dim>, String> {
    let &[outputs, inputs] = distances.vectors.shape() else {
        return Err(format!("vectors of shape {:?} are not a matrix", distances.vectors.shape()));
    };
    if x.last() != Some(&Dim::Fixed(inputs)) {
        return Err(format!("vectors of {inputs} values do not fit the last axis of {}", display(x)));
    }
    match &distances.offsets {
        Some(offsets) if offsets.shape() != [outputs] => {
            Err(format!("offsets of shape {:?} for {outputs} vectors", offsets.shape()))
        }
        _ => Ok([&x[..x.len() - 1], &[Dim::Fixed(outputs)]].concat()),
    }
}

fn soft_min(gamma: f64, x: &[Dim]) -> Result<Vec<Dim>, String> {
    if !(gamma > 0.0 && gamma.is_finite()) {
        return Err(format!("gamma is {gamma}: it has to be a number above 0"));
    }
    let last = x.len().checked_sub(1).ok_or("a scalar has no axis")?;
    fixed_axis(x, last)?;
    Ok([&x[..last], &[Dim::Fixed(1)]].concat())
}

fn affine_layer(affine: &Affine, x: &[Dim]) -> Result<Vec<Dim>, String> {
    for constant in affine.scale.iter().chain(&affine.shift) {
        let shape: Vec<Dim> = constant.shape().iter().map(|n| Dim::Fixed(*n)).collect();
        if broadcast(x, &shape)? != x {
            return Err(format!("a constant of shape {} does not broadcast to {}", display(&shape), display(x)));
        }
    }
    Ok(x.to_vec())
}

fn max_pool(pool: &MaxPool, x: &[Dim]) -> Result<Vec<Dim>, String> {
    let lists = [pool.kernel.len(), pool.strides.len(), pool.dilations.len(), pool.pads.len()];
    let rank = spatial_rank(x, &lists)?;
    check_windows(x, &pool.strides, &pool.dilations, &pool.pads)?;
    fixed_axis(x, 1)?;
    let mut shape = x[..2].to_vec();
    for i in 0..rank {
        let size = fixed_axis(x, i + 2)?;
        let taps = taps(pool.kernel[i], pool.dilations[i])?;
        shape.push(Dim::Fixed(window_count(size, taps, pool.strides[i], pool.pads[i], pool.ceil)?));
    }
    Ok(shape)
}

/// How many windows of `taps` positions fit. With `ceil`, a last one that begins inside the input or its left padding
/// counts too (as in PyTorch and ONNX).
pub(crate) fn window_count(
    size: usize,
    taps: usize,
    stride: usize,
    pads: [usize; 2],
    ceil: bool,
) -> Result<usize, String> {
    if stride == 0 {
        return Err("strides must be at least 1".to_string());
    }
    if pads.iter().any(|p| *p >= taps) {
        return Err(format!(
            "pads {pads:?} are not smaller than the window of {taps}: a window could lie in padding alone"
        ));
    }
    let room = padded(size, pads)?
        .checked_sub(taps)
        .ok_or_else(|| format!("a window of {taps} does not fit the size {size} with pads {pads:?}"))?;
    let mut count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
    if ceil && (count - 1) * stride >= size + pads[0] {
        count -= 1;
    }
    Ok(count)
}

fn resampled(resample: &Resample, x: &[Dim]) -> Result<Vec<Dim>, String> {
    let mut shape = x.to_vec();
    for (axis, map) in &resample.maps {
        let size = fixed_axis(x, *axis)?;
        if size != map.inputs() {
            return Err(format!("a map of {} positions does not fit axis {axis} of {}", map.inputs(), display(x)));
        }
        shape[*axis] = Dim::Fixed(map.outputs());
    }
    Ok(shape)
}

fn concatenated(axis: usize, inputs: &[&[Dim]]) -> Result<Vec<Dim>, String> {
    let mut shape = inputs[0].to_vec();
    let mut size = 0usize;
    for x in inputs {
        size = size.checked_add(fixed_axis(x, axis)?).ok_or("the joined axis is too large")?;
        let fits = x.len() == shape.len() && (0..x.len()).all(|i| i == axis || x[i] == shape[i]);
        if !fits {
            return Err(format!("{} and {} cannot be joined along axis {axis}", display(inputs[0]), display(x)));
        }
    }
    shape[axis] = Dim::Fixed(size);
    Ok(shape)
}

/// Whether a transpose of a tensor of this shape moves nothing but axes of size 1: the values stay where they are.
pub(crate) fn keeps_order(perm: &[usize], shape: &[Dim]) -> bool {
    perm.iter().filter(|axis| shape[**axis] != Dim::Fixed(1)).is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_with_and_without_ceil() {
        assert_eq!(window_count(7, 3, 2, [0, 0], false), Ok(3));
        assert_eq!(window_count(8, 3, 2, [0, 0], false), Ok(3));
        assert_eq!(window_count(8, 3, 2, [0, 0], true), Ok(4));
        // The last window would begin in the right padding: it does not count.
        assert_eq!(window_count(4, 2, 2, [1, 1], true), Ok(3));
        assert_eq!(window_count(3, 2, 3, [1, 1], true), Ok(2));
        assert!(window_count(2, 3, 1, [0, 0], false).is_err());
        assert!(window_count(8, 3, 2, [3, 0], false).is_err());
    }

    #[test]
    fn broadcasting() {
        let n = Dim::Batch(1);
        let f = Dim::Fixed;
        assert_eq!(broadcast(&[n, f(8), f(4)], &[f(8), f(1)]), Ok(vec![n, f(8), f(4)]));
        assert!(broadcast(&[n, f(8)], &[f(2), f(8)]).is_err());
    }
}
