//! Dispatches of recurrent layers, one or two a step, and of embeddings.

use super::launch::{Binding, Grid, Launch, read, u32_of, write};
use super::params::{EmbeddingParams, RecurrentParams};
use super::shader::ShaderKey;
use crate::error::Result;
use crate::network::{Cell, Squash};
use crate::plan::{Embedding, Recurrence, Recurrent, RecurrentAdjoint};

/// `SQUASH_…` of `shaders/shared/recurrent.wgsl`.
fn function(squash: Squash) -> u32 {
    match squash {
        Squash::Sigmoid => 0,
        Squash::Tanh => 1,
        Squash::Relu => 2,
    }
}

/// The flags of a cell.
fn flags(cell: Cell) -> Vec<&'static str> {
    match cell {
        Cell::Lstm { .. } => vec!["LSTM"],
        Cell::Gru { reset_after: false, .. } => vec!["GRU"],
        Cell::Gru { reset_after: true, .. } => vec!["GRU", "RESET_AFTER"],
        Cell::Rnn { .. } => vec!["RNN"],
    }
}

/// What is the same for all steps.
fn params(r: &Recurrence, grid: Grid) -> Result<RecurrentParams> {
    let (gate, candidate, output) = match r.cell {
        Cell::Lstm { gate, candidate, output } => (gate, candidate, output),
        Cell::Gru { gate, candidate, .. } => (gate, candidate, candidate),
        Cell::Rnn { function } => (function, function, function),
    };
    // Every index of the largest buffer must fit.
    u32_of(r.steps * r.batch * r.hidden * r.traces().max(r.cell.gates()))?;
    Ok(RecurrentParams {
        grid_width: grid.width,
        len: u32_of(r.batch * r.hidden)?,
        batch: u32_of(r.batch)?,
        hidden: u32_of(r.hidden)?,
        steps: u32_of(r.steps)?,
        reverse: u32::from(r.reverse),
        final_rows: u32_of(r.final_rows)?,
        gate: function(gate),
        candidate: function(candidate),
        output_function: function(output),
        h_count: u32_of(r.initial_h.map_or(1, |o| o.count))?,
        c_count: u32_of(r.initial_c.map_or(1, |o| o.count))?,
        ..RecurrentParams::default()
    })
}

/// The steps forward in time.
pub(super) fn forward(step: &Recurrent) -> Result<Vec<Launch>> {
    let r = &step.recurrence;
    let grid = Grid::of_items(r.batch * r.hidden)?;
    let mut params = params(r, grid)?;
    let mut flags = flags(r.cell);
    let mut bindings = vec![read(1, step.projection), read(2, step.weights)];
    let given = [
        ("BIAS", 3, step.bias),
        ("INITIAL_H", 4, r.initial_h.map(|o| o.buffer)),
        ("INITIAL_C", 5, r.initial_c.map(|o| o.buffer)),
        ("LENGTHS", 6, r.lengths),
    ];
    for (flag, at, buffer) in given {
        let Some(buffer) = buffer else { continue };
        flags.push(flag);
        bindings.push(read(at, buffer));
    }
    bindings.extend([write(7, step.output), write(8, step.trace)]);
    let mut phases = vec![ShaderKey::new("recurrent", flags.clone())];
    if matches!(r.cell, Cell::Gru { reset_after: false, .. }) {
        flags.push("CANDIDATE");
        phases.push(ShaderKey::new("recurrent", flags));
    }
    let mut launches = Vec::with_capacity(r.steps * phases.len());
    for position in (0..r.steps).map(|i| r.position(i)) {
        params.position = u32_of(position)?;
        launches.extend(phases.iter().map(|shader| launch(shader, params, &bindings, grid)));
    }
    Ok(launches)
}

/// The steps backward in time.
pub(super) fn adjoint(step: &RecurrentAdjoint) -> Result<Vec<Launch>> {
    let r = &step.recurrence;
    let grid = Grid::of_items(r.batch * r.hidden)?;
    let mut params = RecurrentParams {
        features: u32_of(step.features)?,
        zero_bias: u32::from(step.zero_bias),
        epsilon: step.epsilon as f32,
        bias_factor: step.bias_factor as f32,
        ..params(r, grid)?
    };
    let is_gru = matches!(r.cell, Cell::Gru { .. });
    let kept = match r.cell {
        Cell::Lstm { .. } => r.initial_c,
        Cell::Gru { .. } => r.initial_h,
        Cell::Rnn { .. } => None,
    };
    let mut divide = vec![read(2, step.trace), read(3, step.relevance), read(5, step.bias), write(8, step.share)];
    divide.extend(is_gru.then(|| read(1, step.output)));
    let mut hand_on = vec![read(1, step.output), write(3, step.spread), read(4, step.weights), read(8, step.share)];
    hand_on.extend(is_gru.then(|| read(2, step.trace)));
    let mut phases = Vec::with_capacity(2);
    for (mut bindings, initial, state) in [(divide, kept, None), (hand_on, r.initial_h, Some("STATE"))] {
        let mut flags = flags(r.cell);
        flags.extend(state);
        for (flag, at, buffer) in [("INITIAL", 6, initial.map(|o| o.buffer)), ("LENGTHS", 7, r.lengths)] {
            let Some(buffer) = buffer else { continue };
            flags.push(flag);
            bindings.push(read(at, buffer));
        }
        bindings.push(write(9, step.carry));
        phases.push((ShaderKey::new("recurrent_adjoint", flags), bindings));
    }
    let mut launches = Vec::with_capacity(2 * r.steps);
    for i in 0..r.steps {
        params.position = u32_of(r.position(r.steps - 1 - i))?;
        (params.first, params.parity) = (u32::from(i == 0), (i % 2) as u32);
        launches.extend(phases.iter().map(|(shader, bindings)| launch(shader, params, bindings, grid)));
    }
    Ok(launches)
}

fn launch(shader: &ShaderKey, params: RecurrentParams, bindings: &[Binding], grid: Grid) -> Launch {
    Launch { shader: shader.clone(), params: bytemuck::bytes_of(&params).to_vec(), bindings: bindings.to_vec(), grid }
}

/// The rows of a table.
pub(super) fn embedding(step: &Embedding) -> Result<Launch> {
    let len = step.count * step.width;
    let grid = Grid::of_items(len)?;
    u32_of(step.rows * step.width)?;
    let params = EmbeddingParams {
        grid_width: grid.width,
        len: u32_of(len)?,
        rows: u32_of(step.rows)?,
        width: u32_of(step.width)?,
    };
    Ok(Launch {
        shader: ShaderKey::new("embedding", vec![]),
        params: bytemuck::bytes_of(&params).to_vec(),
        bindings: vec![read(1, step.table), read(2, step.ids), write(3, step.output)],
        grid,
    })
}

/// Every variant that this module can ask for.
#[cfg(test)]
pub(super) fn permutations() -> Vec<ShaderKey> {
    let (gate, candidate, output) = (Squash::Sigmoid, Squash::Tanh, Squash::Tanh);
    let cells = [
        Cell::Lstm { gate, candidate, output },
        Cell::Gru { gate, candidate, reset_after: false },
        Cell::Gru { gate, candidate, reset_after: true },
        Cell::Rnn { function: candidate },
    ];
    let mut keys = vec![ShaderKey::new("embedding", vec![])];
    // Every choice of the flags.
    let subsets = |of: &[&'static str]| -> Vec<Vec<&'static str>> {
        let chosen = |choice: usize| of.iter().enumerate().filter(move |(i, _)| choice >> i & 1 == 1).map(|(_, f)| *f);
        (0..1 << of.len()).map(|choice| chosen(choice).collect()).collect()
    };
    for cell in cells {
        let own = flags(cell);
        let forward: &[&'static str] = match cell {
            Cell::Lstm { .. } => &["INITIAL_H", "INITIAL_C", "LENGTHS"],
            Cell::Gru { reset_after: true, .. } => &["BIAS", "INITIAL_H", "LENGTHS"],
            Cell::Gru { .. } => &["INITIAL_H", "LENGTHS", "CANDIDATE"],
            Cell::Rnn { .. } => &["INITIAL_H", "LENGTHS"],
        };
        keys.extend(subsets(forward).into_iter().map(|f| ShaderKey::new("recurrent", [own.clone(), f].concat())));
        let adjoint = subsets(&["STATE", "INITIAL", "LENGTHS"]).into_iter();
        keys.extend(adjoint.map(|f| ShaderKey::new("recurrent_adjoint", [own.clone(), f].concat())));
    }
    keys
}
