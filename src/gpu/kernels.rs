//! Dispatches of every step but the linear ones.

use std::sync::Arc;

use super::launch::{Binding, Grid, Launch, Resource, axes, read, u32_of, write};
use super::linear::share_flags;
use super::params::*;
use super::recurrent;
use super::shader::ShaderKey;
use crate::error::{Error, Result};
use crate::network::{Activation, AxisMap};
use crate::plan::*;

/// The sparse maps that resampling steps share.
#[derive(Debug, Default)]
pub(super) struct Maps(Vec<Arc<AxisMap>>);

impl Maps {
    /// The number of a map, the same for equal maps.
    fn number(&mut self, map: &Arc<AxisMap>) -> usize {
        if let Some(number) = self.0.iter().position(|known| Arc::ptr_eq(known, map) || known == map) {
            return number;
        }
        self.0.push(Arc::clone(map));
        self.0.len() - 1
    }

    /// The maps by number.
    pub fn iter(&self) -> impl Iterator<Item = &AxisMap> {
        self.0.iter().map(Arc::as_ref)
    }
}

/// The dispatches of a step that is not linear; none for one that has nothing to write.
pub(super) fn launches(step: &Step, maps: &mut Maps) -> Result<Vec<Launch>> {
    let launch = match step {
        Step::Recurrent(s) => return recurrent::forward(s),
        Step::RecurrentAdjoint(s) => return recurrent::adjoint(s),
        Step::Embedding(s) => Some(recurrent::embedding(s)?),
        Step::Linear(_) => return Err(Error::unsupported("gpu", "a linear step here", "it has its own module")),
        Step::Quotient(s) => quotient(s)?,
        Step::Resample(s) => resample(s, maps)?,
        Step::Transpose(s) => transpose(s)?,
        Step::MaxPool(s) => max_pool(s)?,
        Step::MaxPoolAdjoint(s) => max_pool_adjoint(s)?,
        Step::Activation(s) => activation(s)?,
        Step::ActivationAdjoint(s) => activation_adjoint(s)?,
        Step::Binary(s) => binary(s)?,
        Step::Softmax(s) => softmax(s)?,
        Step::Lrn(s) => lrn(s)?,
        Step::LrnAdjoint(s) => lrn_adjoint(s)?,
        Step::Distances(s) => distances(s)?,
        Step::DistancesAdjoint(s) => distances_adjoint(s)?,
        Step::SampleRms(s) => sample("sample_rms", s.source, s.output, s.samples, s.sample_len, 0)?,
        Step::SampleSum(s) => sample("sample_sum", s.source, s.output, s.samples, s.sample_len, s.row * s.samples)?,
        Step::Seed(s) => seed(s)?,
    };
    Ok(launch.into_iter().collect())
}

/// A dispatch, unless its grid has no items.
fn dispatch<P: bytemuck::Pod>(
    items: usize,
    shader: ShaderKey,
    params: P,
    bindings: Vec<Binding>,
    grid: Grid,
) -> Option<Launch> {
    (items > 0).then(|| Launch { shader, params: bytemuck::bytes_of(&params).to_vec(), bindings, grid })
}

/// The fields of [`QuotientParams`] that there are for each result.
#[derive(Default)]
struct PieceParams {
    factor: [u32; 2],
    how: u32,
    divide: [u32; 2],
    clip: u32,
    scale: f32,
    epsilon: f32,
}

fn quotient(step: &Quotient) -> Result<Option<Launch>> {
    let grid = Grid::of_items(step.len)?;
    let share = &step.share;
    let mut flags = Vec::new();
    let mut bindings = vec![read(3, share.relevance)];
    let mut params = QuotientParams {
        grid_width: grid.width,
        len: u32_of(step.len)?,
        sample_len: 1,
        flags: share_flags(share),
        scale: share.scale as f32,
        ..QuotientParams::default()
    };
    match step.denominator.as_slice() {
        [first] | [first, _] => {
            bindings.push(read(1, first.buffer));
            (params.inner_0, params.count_0) = (u32_of(first.inner)?, u32_of(first.count)?);
        }
        other => {
            let what = format!("{} denominators in a quotient step", other.len());
            return Err(Error::unsupported("gpu", what, "a step has one or two"));
        }
    }
    let mut pieces = [PieceParams::default(), PieceParams::default()];
    let names = [("FACTOR_0", "DIVIDE_0", [6, 7, 10]), ("FACTOR_1", "DIVIDE_1", [9, 8, 11])];
    for ((piece, (factored, divided, at)), params) in step.pieces.iter().zip(names).zip(&mut pieces) {
        bindings.push(write(at[0], piece.output));
        if let Some((factor, how)) = &piece.factor {
            flags.push(factored);
            bindings.push(read(at[1], factor.buffer));
            (params.factor, params.how) = ([u32_of(factor.inner)?, u32_of(factor.count)?], *how as u32);
        }
        if let Some(Divide { denominator, scale, epsilon, clip }) = &piece.divide {
            flags.push(divided);
            bindings.push(read(at[2], denominator.buffer));
            (params.divide, params.clip) = ([u32_of(denominator.inner)?, u32_of(denominator.count)?], u32::from(*clip));
            (params.scale, params.epsilon) = (*scale as f32, *epsilon as f32);
        }
    }
    let [first, second] = &pieces;
    [params.factor_inner_0, params.factor_count_0] = first.factor;
    [params.factor_inner_1, params.factor_count_1] = second.factor;
    (params.factor_how_0, params.factor_how_1) = (first.how, second.how);
    [params.divide_inner_0, params.divide_count_0] = first.divide;
    [params.divide_inner_1, params.divide_count_1] = second.divide;
    (params.divide_flags_0, params.divide_flags_1) = (first.clip, second.clip);
    (params.scale_0, params.epsilon_0) = (first.scale, first.epsilon);
    (params.scale_1, params.epsilon_1) = (second.scale, second.epsilon);
    if step.pieces.len() == 2 {
        flags.push("TWO_PIECES");
    }
    if let Some(second) = step.denominator.get(1) {
        flags.push("TWO_OPERANDS");
        bindings.push(read(2, second.buffer));
        (params.inner_1, params.count_1) = (u32_of(second.inner)?, u32_of(second.count)?);
    }
    if let Some((mask, _)) = share.mask {
        flags.push("MASK");
        bindings.push(read(4, mask));
    }
    match share.epsilon {
        Epsilon::Constant(epsilon) => params.epsilon = epsilon as f32,
        Epsilon::PerSample { buffer, sample_len, factor } => {
            flags.push("RMS");
            bindings.push(read(5, buffer));
            params.epsilon = factor as f32;
            params.sample_len = u32_of(sample_len)?;
        }
    }
    Ok(dispatch(step.len, ShaderKey::new("quotient", flags), params, bindings, grid))
}

fn resample(step: &Resample, maps: &mut Maps) -> Result<Option<Launch>> {
    let len = step.outer * step.map.outputs() * step.inner;
    let grid = Grid::of_items(len)?;
    let params = ResampleParams {
        grid_width: grid.width,
        len: u32_of(len)?,
        rows: u32_of(step.map.outputs())?,
        inputs: u32_of(step.map.inputs())?,
        inner: u32_of(step.inner)?,
        output_axis: u32_of(step.output_axis)?,
        offset: u32_of(step.offset)?,
    };
    let map = maps.number(&step.map);
    let mut flags = Vec::new();
    let mut bindings = vec![
        read(1, step.source),
        Binding { index: 2, resource: Resource::MapStarts(map), written: false },
        Binding { index: 3, resource: Resource::MapEntries(map), written: false },
        write(5, step.output),
    ];
    if let Some(factor) = step.factor {
        flags.push("FACTOR");
        bindings.push(read(4, factor));
    }
    Ok(dispatch(len, ShaderKey::new("resample", flags), params, bindings, grid))
}

fn transpose(step: &Transpose) -> Result<Option<Launch>> {
    let len = step.dims.iter().product();
    let grid = Grid::of_items(len)?;
    let [d, s] = [step.dims, step.strides];
    let params = TransposeParams {
        grid_width: grid.width,
        len: u32_of(len)?,
        dim_0: u32_of(d[0])?,
        dim_1: u32_of(d[1])?,
        dim_2: u32_of(d[2])?,
        dim_3: u32_of(d[3])?,
        dim_4: u32_of(d[4])?,
        dim_5: u32_of(d[5])?,
        stride_0: u32_of(s[0])?,
        stride_1: u32_of(s[1])?,
        stride_2: u32_of(s[2])?,
        stride_3: u32_of(s[3])?,
        stride_4: u32_of(s[4])?,
        stride_5: u32_of(s[5])?,
    };
    let bindings = vec![read(1, step.source), write(2, step.output)];
    Ok(dispatch(len, ShaderKey::new("transpose", vec![]), params, bindings, grid))
}

fn windows(windows: &Windows, len: usize, grid: Grid) -> Result<WindowsParams> {
    let [input_z, input_y, input_x] = axes(windows.input)?;
    let [output_z, output_y, output_x] = axes(windows.output)?;
    let [kernel_z, kernel_y, kernel_x] = axes(windows.kernel)?;
    let [stride_z, stride_y, stride_x] = axes(windows.stride)?;
    let [dilation_z, dilation_y, dilation_x] = axes(windows.dilation)?;
    let [pad_z, pad_y, pad_x] = axes(windows.pad)?;
    Ok(WindowsParams {
        grid_width: grid.width,
        len: u32_of(len)?,
        input_z,
        input_y,
        input_x,
        output_z,
        output_y,
        output_x,
        kernel_z,
        kernel_y,
        kernel_x,
        stride_z,
        stride_y,
        stride_x,
        dilation_z,
        dilation_y,
        dilation_x,
        pad_z,
        pad_y,
        pad_x,
        ..WindowsParams::default()
    })
}

fn max_pool(step: &MaxPool) -> Result<Option<Launch>> {
    let len = step.windows.planes * step.windows.output.iter().product::<usize>();
    let grid = Grid::of_items(len)?;
    let bindings = vec![read(1, step.source), write(2, step.output), write(3, step.winners)];
    let params = windows(&step.windows, len, grid)?;
    Ok(dispatch(len, ShaderKey::new("max_pool", vec![]), params, bindings, grid))
}

fn max_pool_adjoint(step: &MaxPoolAdjoint) -> Result<Option<Launch>> {
    let len = step.windows.planes * step.windows.input.iter().product::<usize>();
    let grid = Grid::of_items(len)?;
    let mut flags = Vec::new();
    let mut bindings = vec![read(1, step.winners), read(2, step.relevance), write(3, step.output)];
    let mut params = windows(&step.windows, len, grid)?;
    if let Some(divide) = &step.divide {
        flags.push("DIVIDE");
        bindings.push(read(4, divide.denominator.buffer));
        params.divide_inner = u32_of(divide.denominator.inner)?;
        params.divide_count = u32_of(divide.denominator.count)?;
        params.divide_flags = u32::from(divide.clip);
        params.scale = divide.scale as f32;
        params.epsilon = divide.epsilon as f32;
    }
    Ok(dispatch(len, ShaderKey::new("max_pool_adjoint", flags), params, bindings, grid))
}

/// The flag that names an activation, and its two parameters.
pub(super) fn function(activation: &Activation) -> (&'static str, f64, f64) {
    // Shaders have no infinity to compare with: the largest float is beyond every finite limit as well.
    let finite = |x: f64| x.clamp(f64::from(f32::MIN), f64::from(f32::MAX));
    match *activation {
        Activation::Relu => ("RELU", 0.0, 0.0),
        Activation::Clip { low, high } => ("CLIP", finite(low), finite(high)),
        Activation::LeakyRelu { alpha } => ("LEAKY_RELU", alpha, 0.0),
        Activation::PRelu { .. } => ("PRELU", 0.0, 0.0),
        Activation::Elu { alpha } => ("ELU", alpha, 0.0),
        Activation::Selu { alpha, gamma } => ("SELU", alpha, gamma),
        Activation::Celu { alpha } => ("CELU", alpha, 0.0),
        Activation::Gelu { tanh: false } => ("GELU", 0.0, 0.0),
        Activation::Gelu { tanh: true } => ("GELU_TANH", 0.0, 0.0),
        Activation::Silu => ("SILU", 0.0, 0.0),
        Activation::HardSwish => ("HARD_SWISH", 0.0, 0.0),
        Activation::HardSigmoid { alpha, beta } => ("HARD_SIGMOID", alpha, beta),
        Activation::Sigmoid => ("SIGMOID", 0.0, 0.0),
        Activation::Tanh => ("TANH", 0.0, 0.0),
        Activation::Softplus => ("SOFTPLUS", 0.0, 0.0),
        Activation::Softsign => ("SOFTSIGN", 0.0, 0.0),
        Activation::Mish => ("MISH", 0.0, 0.0),
        Activation::Erf => ("ERF", 0.0, 0.0),
        Activation::Sqrt => ("SQRT", 0.0, 0.0),
        Activation::Exp => ("EXP", 0.0, 0.0),
        Activation::Log => ("LOG", 0.0, 0.0),
        Activation::Abs => ("ABS", 0.0, 0.0),
        Activation::Reciprocal => ("RECIPROCAL", 0.0, 0.0),
        Activation::Pow { exponent } => ("POW", exponent, parity(exponent)),
    }
}

/// 2 for an even whole number, 1 for an odd one, 0 for any other.
fn parity(exponent: f64) -> f64 {
    if exponent.fract() != 0.0 { 0.0 } else { 2.0 - (exponent % 2.0).abs() }
}

/// Flags, bindings and parameters that both activation kernels have.
fn activation_parts(
    activation: &Activation,
    slope: &Option<Operand>,
    len: usize,
    grid: Grid,
) -> Result<(Vec<&'static str>, Vec<Binding>, ActivationParams)> {
    let (flag, a, b) = function(activation);
    let mut params = ActivationParams {
        grid_width: grid.width,
        len: u32_of(len)?,
        slope_inner: 1,
        slope_count: 1,
        a: a as f32,
        b: b as f32,
    };
    let mut bindings = Vec::new();
    if flag == "PRELU" {
        let slope =
            slope.ok_or_else(|| Error::unsupported("gpu", "a PRelu step without slopes", "give it an operand"))?;
        bindings.push(read(1, slope.buffer));
        (params.slope_inner, params.slope_count) = (u32_of(slope.inner)?, u32_of(slope.count)?);
    }
    Ok((vec![flag], bindings, params))
}

fn activation(step: &ActivationForward) -> Result<Option<Launch>> {
    let grid = Grid::of_items(step.len)?;
    let (flags, mut bindings, params) = activation_parts(&step.activation, &step.slope, step.len, grid)?;
    bindings.extend([read(2, step.source), write(3, step.output)]);
    Ok(dispatch(step.len, ShaderKey::new("activation", flags), params, bindings, grid))
}

fn activation_adjoint(step: &ActivationAdjoint) -> Result<Option<Launch>> {
    let grid = Grid::of_items(step.len)?;
    let (mut flags, mut bindings, params) = activation_parts(&step.activation, &step.slope, step.len, grid)?;
    if step.mode != ActivationMode::Gradient && !matches!(step.activation, Activation::Relu) {
        let what = format!("{:?} through {}", step.mode, step.activation.name());
        return Err(Error::unsupported("gpu", what, "guided backpropagation and deconvnet are for Relu"));
    }
    match step.mode {
        ActivationMode::Gradient => {}
        ActivationMode::Guided => flags.push("GUIDED"),
        ActivationMode::Deconvnet => flags.push("DECONVNET"),
    }
    if step.mode != ActivationMode::Deconvnet {
        bindings.push(read(2, step.source));
    }
    bindings.extend([read(3, step.relevance), write(4, step.output)]);
    Ok(dispatch(step.len, ShaderKey::new("activation_adjoint", flags), params, bindings, grid))
}

/// The flag that names an operation.
fn operation(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "ADD",
        BinaryOp::Sub => "SUB",
        BinaryOp::Mul => "MUL",
        BinaryOp::MulNegated => "MUL_NEGATED",
        BinaryOp::Div => "DIV",
        BinaryOp::AddMagnitudes => "ADD_MAGNITUDES",
    }
}

fn binary(step: &Binary) -> Result<Option<Launch>> {
    let grid = Grid::of_items(step.len)?;
    let mut flags = vec![operation(step.op)];
    let (mut a, mut b) = (0.0, 0.0);
    if let Some(activation) = &step.activation {
        let flag;
        (flag, a, b) = function(activation);
        flags.extend(["ACTIVATE", flag]);
    }
    let params = BinaryParams {
        grid_width: grid.width,
        len: u32_of(step.len)?,
        a_inner: u32_of(step.a.inner)?,
        a_count: u32_of(step.a.count)?,
        b_inner: u32_of(step.b.inner)?,
        b_count: u32_of(step.b.count)?,
        activation_a: a as f32,
        activation_b: b as f32,
    };
    let bindings = vec![read(1, step.a.buffer), read(2, step.b.buffer), write(3, step.output)];
    Ok(dispatch(step.len, ShaderKey::new("binary", flags), params, bindings, grid))
}

fn softmax(step: &Softmax) -> Result<Option<Launch>> {
    let lines = step.outer * step.inner;
    let grid = Grid::of(lines as u64)?;
    let params = SoftmaxParams {
        grid_width: grid.width,
        lines: u32_of(lines)?,
        size: u32_of(step.size)?,
        inner: u32_of(step.inner)?,
    };
    let flags = if step.log { vec!["LOG"] } else { Vec::new() };
    let bindings = vec![read(1, step.source), write(2, step.output)];
    Ok(dispatch(lines, ShaderKey::new("softmax", flags), params, bindings, grid))
}

fn lrn_params(step: &LrnForward, len: usize, grid: Grid) -> Result<LrnParams> {
    let size = step.lrn.size.max(1);
    Ok(LrnParams {
        grid_width: grid.width,
        len: u32_of(len)?,
        channels: u32_of(step.channels)?,
        inner: u32_of(step.inner)?,
        before: u32_of((size - 1) / 2)?,
        after: u32_of(size / 2)?,
        alpha_over_size: (step.lrn.alpha / size as f64) as f32,
        beta: step.lrn.beta as f32,
        bias: step.lrn.bias as f32,
    })
}

fn lrn(step: &LrnForward) -> Result<Option<Launch>> {
    let len = step.batch * step.channels * step.inner;
    let grid = Grid::of_items(len)?;
    let bindings = vec![read(1, step.source), write(2, step.output)];
    Ok(dispatch(len, ShaderKey::new("lrn", vec![]), lrn_params(step, len, grid)?, bindings, grid))
}

fn lrn_adjoint(step: &LrnAdjoint) -> Result<Option<Launch>> {
    let len = step.forward.batch * step.forward.channels * step.forward.inner;
    let grid = Grid::of_items(len)?;
    let params = lrn_params(&step.forward, len, grid)?;
    let bindings = vec![read(1, step.forward.source), read(2, step.relevance), write(3, step.output)];
    Ok(dispatch(len, ShaderKey::new("lrn_adjoint", vec![]), params, bindings, grid))
}

fn distances_params(step: &Distances, values: usize, grid: Grid) -> Result<DistancesParams> {
    // What the vectors are read at must be a 32-bit number too.
    u32_of(step.count.saturating_mul(step.len))?;
    Ok(DistancesParams {
        grid_width: grid.width,
        values: u32_of(values)?,
        count: u32_of(step.count)?,
        len: u32_of(step.len)?,
    })
}

fn distances(step: &Distances) -> Result<Option<Launch>> {
    let values = step.rows * step.count;
    let grid = Grid::of_items(values)?;
    let bindings = vec![read(1, step.source), read(2, step.vectors), write(3, step.output)];
    let params = distances_params(step, values, grid)?;
    Ok(dispatch(values, ShaderKey::new("distances", vec![]), params, bindings, grid))
}

fn distances_adjoint(step: &DistancesAdjoint) -> Result<Option<Launch>> {
    let forward = &step.forward;
    let values = forward.rows * forward.len;
    let grid = Grid::of_items(values)?;
    let bindings =
        vec![read(1, forward.source), read(2, forward.vectors), read(3, step.relevance), write(4, step.output)];
    let flags = if step.gradient { vec!["GRADIENT"] } else { Vec::new() };
    let params = distances_params(forward, values, grid)?;
    Ok(dispatch(values, ShaderKey::new("distances_adjoint", flags), params, bindings, grid))
}

fn sample(
    kernel: &'static str,
    source: BufferId,
    output: BufferId,
    samples: usize,
    sample_len: usize,
    first: usize,
) -> Result<Option<Launch>> {
    let grid = Grid::of(samples as u64)?;
    let params = SampleParams {
        grid_width: grid.width,
        samples: u32_of(samples)?,
        sample_len: u32_of(sample_len)?,
        first: u32_of(first)?,
    };
    let bindings = vec![read(1, source), write(2, output)];
    Ok(dispatch(samples, ShaderKey::new(kernel, vec![]), params, bindings, grid))
}

fn seed(step: &Seed) -> Result<Option<Launch>> {
    let grid = Grid::of(step.samples as u64)?;
    let params =
        SeedParams { grid_width: grid.width, samples: u32_of(step.samples)?, sample_len: u32_of(step.sample_len)? };
    let requests = Binding { index: 2, resource: Resource::Requests, written: false };
    let bindings = vec![read(1, step.logits), requests, write(3, step.output)];
    Ok(dispatch(step.samples, ShaderKey::new("seed", vec![]), params, bindings, grid))
}

/// Every variant that [`launches`] can ask for.
#[cfg(test)]
pub(super) fn permutations() -> Vec<ShaderKey> {
    let mut keys: Vec<ShaderKey> =
        ["transpose", "max_pool", "max_pool_adjoint", "lrn", "lrn_adjoint", "sample_rms", "sample_sum", "seed"]
            .into_iter()
            .chain(["distances", "distances_adjoint"])
            .map(|name| ShaderKey::new(name, vec![]))
            .collect();
    keys.push(ShaderKey::new("distances_adjoint", vec!["GRADIENT"]));
    // Each names a buffer, beside a denominator, the relevance and an output.
    let named = ["TWO_OPERANDS", "MASK", "RMS", "FACTOR_0", "DIVIDE_0", "TWO_PIECES", "FACTOR_1", "DIVIDE_1"]
        .iter()
        .enumerate();
    for choice in 0..256 {
        let flags: Vec<_> = named.clone().filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, flag)| *flag).collect();
        let has = |flag| flags.contains(&flag);
        // Two results are made of one denominator only.
        let made = if has("TWO_PIECES") { !has("TWO_OPERANDS") } else { !has("FACTOR_1") && !has("DIVIDE_1") };
        if made && flags.len() + 3 <= Quotient::MOST_BUFFERS {
            keys.push(ShaderKey::new("quotient", flags));
        }
    }
    keys.push(ShaderKey::new("max_pool_adjoint", vec!["DIVIDE"]));
    for flags in [vec![], vec!["FACTOR"]] {
        keys.push(ShaderKey::new("resample", flags));
    }
    for flags in [vec![], vec!["LOG"]] {
        keys.push(ShaderKey::new("softmax", flags));
    }
    for activation in super::tests::every_activation() {
        let (flag, ..) = function(&activation);
        keys.push(ShaderKey::new("activation", vec![flag]));
        keys.push(ShaderKey::new("activation_adjoint", vec![flag]));
    }
    keys.push(ShaderKey::new("activation_adjoint", vec!["RELU", "GUIDED"]));
    keys.push(ShaderKey::new("activation_adjoint", vec!["RELU", "DECONVNET"]));
    for op in
        [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::MulNegated, BinaryOp::Div, BinaryOp::AddMagnitudes]
    {
        keys.push(ShaderKey::new("binary", vec![operation(op)]));
        for activation in super::tests::fusible_activations() {
            keys.push(ShaderKey::new("binary", vec![operation(op), "ACTIVATE", function(&activation).0]));
        }
    }
    keys
}
