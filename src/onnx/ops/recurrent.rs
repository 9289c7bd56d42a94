//! LSTM, GRU and RNN: a node for each direction, then what the outputs take of them.

use std::sync::Arc;

use crate::error::Result;
use crate::network::{AxisMap, Cell, Dim, Given, Op, Recurrent, Resample, ResampleKind, Squash, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::{Data, Tensor};

/// Names of the operators' inputs, for messages.
const INPUTS: [&str; 8] = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"];

/// `LSTM`, `GRU`, `RNN`.
pub(super) fn recurrent(call: &mut Call) -> Result<Vec<Item>> {
    refuse_variants(call)?;
    let directions = match call.text("direction", "forward")?.as_str() {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return Err(call.malformed(format!("attribute direction = {other}"))),
    };
    let samples_first = call.flag("layout", false)?;
    let cells = cells(call, directions.len())?;
    let x = steps_first(call, call.value(0)?, samples_first, 3, 0)?;
    let dims = call.shape(x);
    let (steps, samples) = match dims.as_slice() {
        &[Dim::Fixed(steps), samples, Dim::Fixed(_)] => (call.positions(steps)?, samples),
        [Dim::Batch(_), _, Dim::Fixed(_)] => {
            let what =
                format!("a sequence along the batch axis, in {} (steps×samples×features)", shape::display(&dims));
            let help = "give the axis of the steps a size: --dim NAME=STEPS";
            return Err(call.unsupported(what, help));
        }
        _ => return Err(call.shape_error(format!("X is {} (steps×samples×features)", shape::display(&dims)))),
    };
    let count = directions.len();
    let [weight, recurrence] = [blocks(call, 1, count)?, blocks(call, 2, count)?];
    let hidden = recurrence[0].shape().last().copied().unwrap_or(0);
    match usize::try_from(call.int("hidden_size", hidden as i64)?) {
        Ok(size) if size == hidden => {}
        _ => return Err(call.malformed(format!("attribute hidden_size is not the {hidden} of R"))),
    }
    let bias = if call.optional(3).is_some() { Some(blocks(call, 3, count)?) } else { None };
    let lengths = lengths(call, steps)?;
    let wanted: Vec<bool> = (0..3).map(|i| call.wanted.get(i).copied().unwrap_or(false)).collect();
    let finals = wanted[1] || wanted[2];

    let mut made = Vec::with_capacity(count);
    for (d, &reverse) in directions.iter().enumerate() {
        let mut inputs = vec![x];
        let mut states = [Given::Default, Given::Default];
        for (i, state) in states.iter_mut().enumerate() {
            let (given, value) = initial_state(call, 5 + i, [d, count], samples_first)?;
            *state = given;
            inputs.extend(value);
        }
        let [initial_h, initial_c] = states;
        inputs.extend(lengths.1);
        let layer = Recurrent {
            cell: cells[d],
            weight: weight[d].clone(),
            recurrence: recurrence[d].clone(),
            bias: match &bias {
                None => None,
                Some(bias) => {
                    let len = bias[d].len();
                    Some(Arc::new(bias[d].as_ref().clone().reshape([len])?))
                }
            },
            reverse,
            initial_h,
            initial_c,
            lengths: lengths.0.clone(),
            finals,
        };
        made.push(call.step(if reverse { "reverse" } else { "forward" }, Op::Recurrent(layer), &inputs)?);
    }
    let rows = steps + if finals { 1 + usize::from(cells[0].has_cell_state()) } else { 0 };
    let mut items: Vec<Item> = vec![x.into(); call.node.output.len().min(3)];
    for (i, item) in items.iter_mut().enumerate().filter(|(i, _)| wanted[*i]) {
        let mut parts = Vec::with_capacity(count);
        for &value in &made {
            let taken = if i == 0 { 0..steps } else { steps + i - 1..steps + i };
            let map = Arc::new(AxisMap::pick(rows, taken)?);
            let mut ops = Vec::new();
            if map.outputs() != rows {
                ops.push(Op::Resample(Resample { kind: ResampleKind::Slice, maps: vec![(0, map)] }));
            }
            if i == 0 {
                let shape = vec![Dim::Fixed(steps), Dim::Fixed(1), samples, Dim::Fixed(hidden)];
                ops.push(Op::Reshape { shape });
            }
            parts.push((value, ops));
        }
        // Y: steps, directions, samples, units; Y_h and Y_c: directions, samples, units.
        let mut last = Vec::new();
        if count > 1 {
            last.push(Op::Concat { axis: usize::from(i == 0) });
        }
        if samples_first {
            last.push(Op::Transpose { perm: if i == 0 { vec![2, 0, 1, 3] } else { vec![1, 0, 2] } });
        }
        *item = output(call, i, parts, last)?;
    }
    Ok(items)
}

/// Applies ops to each part, then more to all of them together; the last makes output i.
fn output(call: &mut Call, i: usize, parts: Vec<(ValueId, Vec<Op>)>, mut last: Vec<Op>) -> Result<Item> {
    let mut values = Vec::with_capacity(parts.len());
    for (mut value, mut ops) in parts {
        if last.is_empty() {
            last.extend(ops.pop());
        }
        for op in ops {
            value = call.step(op.name(), op, &[value])?;
        }
        values.push(value);
    }
    let end = last.pop();
    for op in last {
        values = vec![call.step(op.name(), op, &values)?];
    }
    match (end, values.as_slice()) {
        (Some(op), values) => call.emit_output(i, op, values),
        (None, values) => Ok(values[0].into()),
    }
}

/// Gates that see more than x and the hidden state.
fn refuse_variants(call: &Call) -> Result<()> {
    if call.flag("input_forget", false)? {
        return Err(call.unsupported("attribute input_forget = 1", "input and forget gates of their own are"));
    }
    if call.optional(7).is_some() {
        let what = "input 7 (P), peepholes: gates that see the cell state";
        return Err(call.unsupported(what, "an LSTM without them is"));
    }
    Ok(())
}

/// The cell of each direction.
fn cells(call: &Call, directions: usize) -> Result<Vec<Cell>> {
    let kind = call.node.op_type.clone().unwrap_or_default();
    let default: &[Squash] = match kind.as_str() {
        "LSTM" => &[Squash::Sigmoid, Squash::Tanh, Squash::Tanh],
        "GRU" => &[Squash::Sigmoid, Squash::Tanh],
        _ => &[Squash::Tanh],
    };
    let names = call.texts("activations")?.unwrap_or_default();
    let mut functions = default.repeat(directions);
    if !names.is_empty() {
        if names.len() != functions.len() {
            let what = format!("attribute activations has {} names, not {}", names.len(), functions.len());
            return Err(call.malformed(what));
        }
        for (function, name) in functions.iter_mut().zip(&names) {
            *function = match name.to_ascii_lowercase().as_str() {
                "sigmoid" => Squash::Sigmoid,
                "tanh" => Squash::Tanh,
                "relu" => Squash::Relu,
                _ => {
                    return Err(call.unsupported(format!("the activation {name}"), "Sigmoid, Tanh and Relu are"));
                }
            };
        }
    }
    let reset_after = call.flag("linear_before_reset", false)?;
    let cell = |f: &[Squash]| match *f {
        [gate, candidate, output] => Cell::Lstm { gate, candidate, output },
        [gate, candidate] => Cell::Gru { gate, candidate, reset_after },
        _ => Cell::Rnn { function: f[0] },
    };
    Ok(functions.chunks(default.len()).map(cell).collect())
}

/// A computed tensor of so many axes with the samples behind `at` (steps or directions).
fn steps_first(call: &mut Call, x: ValueId, samples_first: bool, rank: usize, i: usize) -> Result<ValueId> {
    let dims = call.shape(x);
    if dims.len() != rank {
        return Err(call.shape_error(format!(
            "{} has the shape {}, not {rank} axes",
            INPUTS[i],
            shape::display(&dims)
        )));
    }
    if !samples_first {
        return Ok(x);
    }
    call.step(&format!("{} by steps", INPUTS[i]), Op::Transpose { perm: vec![1, 0, 2] }, &[x])
}

/// A constant input split into its directions.
fn blocks(call: &mut Call, i: usize, directions: usize) -> Result<Vec<Arc<Tensor>>> {
    let tensor = call.weight(i)?;
    let rank = if i == 3 { 2 } else { 3 };
    let shape = tensor.shape();
    if shape.len() != rank || shape[0] != directions || tensor.is_empty() {
        let what = format!("{} has shape {shape:?}, not one of {rank} axes for {directions} directions", INPUTS[i]);
        return Err(call.shape_error(what));
    }
    if directions > 1 {
        call.reserve(Some(tensor.len()))?;
    }
    let own = tensor.len() / directions;
    (0..directions).map(|d| part(&tensor, d * own..(d + 1) * own, &shape[1..])).collect()
}

/// A stretch of a constant's values.
fn part(tensor: &Tensor, range: std::ops::Range<usize>, shape: &[usize]) -> Result<Arc<Tensor>> {
    let data = match tensor.data() {
        Data::F32(v) => Data::F32(v[range].to_vec()),
        Data::F64(v) => Data::F64(v[range].to_vec()),
        Data::I64(v) => Data::I64(v[range].to_vec()),
    };
    Ok(Arc::new(Tensor::new(shape, data)?))
}

/// An initial state of direction d of so many, and the tensor that it is where the network computes it.
fn initial_state(
    call: &mut Call,
    i: usize,
    [d, directions]: [usize; 2],
    samples_first: bool,
) -> Result<(Given, Option<ValueId>)> {
    let tensor = match call.optional(i).cloned() {
        None => return Ok((Given::Default, None)),
        Some(Item::Node(x)) => {
            let mut x = steps_first(call, x, samples_first, 3, i)?;
            let dims = call.shape(x);
            if dims[0] != Dim::Fixed(directions) {
                let shape = shape::display(&dims);
                return Err(call.shape_error(format!("{} is {shape}, for {directions} directions", INPUTS[i])));
            }
            if directions > 1 {
                let maps = vec![(0, Arc::new(AxisMap::pick(directions, [d])?))];
                let slice = Op::Resample(Resample { kind: ResampleKind::Slice, maps });
                x = call.step(&format!("{} {d}", INPUTS[i]), slice, &[x])?;
            }
            let state = Op::Reshape { shape: dims[1..].to_vec() };
            return Ok((Given::Input, Some(call.step(INPUTS[i], state, &[x])?)));
        }
        Some(Item::Const(tensor)) => tensor,
        Some(Item::Repeated(repeated)) => repeated.tensor,
        Some(Item::Sizes(_)) => return Err(call.unsupported(INPUTS[i], "it must be a tensor of states")),
    };
    let (dims, at) = (call.dims(i)?, usize::from(samples_first));
    let units = match dims.as_slice() {
        [_, _, Dim::Fixed(units)] if dims[at] == Dim::Fixed(directions) => *units,
        _ => {
            let shape = shape::display(&dims);
            return Err(call.shape_error(format!("{} is {shape}, for {directions} directions", INPUTS[i])));
        }
    };
    let all = tensor.to_vec::<f64>();
    if all.iter().all(|v| *v == 0.0) {
        return Ok((Given::Default, None));
    }
    // What is repeated along the batch has size 1 there, and may have it elsewhere.
    let sizes = tensor.shape();
    let samples = sizes[1 - at];
    let len = call.reserve(samples.checked_mul(units))?;
    let values: Vec<f64> = (0..len)
        .map(|i| {
            let (n, j) = (i / units, i % units);
            let place = if samples_first { [n, d, j] } else { [d, n, j] };
            let at = place.iter().zip(sizes).fold(0, |at, (p, size)| at * size + p.min(&(size - 1)));
            all[at]
        })
        .collect();
    Ok((Given::Constant(Arc::new(Tensor::from_f64([samples, units], values)?)), None))
}

/// The lengths of the sequences, and the tensor that they are where they are not constant.
fn lengths(call: &Call, steps: usize) -> Result<(Given, Option<ValueId>)> {
    let tensor = match call.optional(4) {
        None => return Ok((Given::Default, None)),
        Some(Item::Node(x)) if call.builder.is_given(*x) => return Ok((Given::Input, Some(*x))),
        Some(Item::Node(_)) => {
            let what = "input 4 (sequence_lens) that the network computes";
            return Err(call.unsupported(what, "a constant is, or an input of the network"));
        }
        Some(Item::Const(tensor)) => tensor.clone(),
        Some(Item::Repeated(repeated)) => repeated.tensor.clone(),
        Some(Item::Sizes(_)) => {
            let what = "input 4 (sequence_lens) that depends on the batch size";
            return Err(call.unsupported(what, "a constant is, or an input of the network"));
        }
    };
    if tensor.to_vec::<f64>().iter().all(|v| *v == steps as f64) {
        return Ok((Given::Default, None));
    }
    Ok((Given::Constant(tensor), None))
}
