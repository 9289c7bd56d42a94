// recurrent_adjoint: relevance through one step of a recurrent layer,
// R_d = Σ_m (w_dm·x_d + δ·(b_m + ε·s_m)/N) / (z_m + ε·s_m) · R_m with s = sign(z), sign(0) = +1; gates get nothing.
//
// Two dispatches a step. The first divides R of the new state between what the step keeps of the old one and the candidate
// (N = 2·H), and that of the candidate by its pre-activation. With STATE the second hands it to the hidden state before
// the step (N = C + H).
// Shapes: output, relevance (T + final rows) × N × H; trace as in recurrent; weights H × H; bias 2 × H; states N × H or H;
// lengths N; share T × N × H; spread T × N; carry 5 × N × H: the hidden state's R and the cell's, two rows each that are
// written in turn, and what bias and stabiliser take.
// Dispatch: one thread a unit of a sample, 256 a workgroup, workgroups folded into two dimensions; two dispatches a step.

#include "shared/grid.wgsl"
#include "shared/recurrent.wgsl"

#if STATE
@group(0) @binding(1) var<storage, read> output: array<real_1>;
#if GRU
@group(0) @binding(2) var<storage, read> trace: array<real_2>;
#endif
@group(0) @binding(3) var<storage, read_write> spread: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<real_4>;
@group(0) @binding(8) var<storage, read> share: array<real_8>;
#else
#if GRU
@group(0) @binding(1) var<storage, read> output: array<real_1>;
#endif
@group(0) @binding(2) var<storage, read> trace: array<real_2>;
@group(0) @binding(3) var<storage, read> relevance: array<real_3>;
@group(0) @binding(5) var<storage, read> bias: array<real_5>;
@group(0) @binding(8) var<storage, read_write> share: array<f32>;
#endif
#if INITIAL
// Of the cell state in the first dispatch of an LSTM, else of the hidden state.
@group(0) @binding(6) var<storage, read> initial: array<real_6>;
#endif
#if LENGTHS
@group(0) @binding(7) var<storage, read> lengths: array<real_7>;
#endif
@group(0) @binding(9) var<storage, read_write> carry: array<f32>;

const CELL_ROWS: u32 = 2u;
const TAKEN_ROW: u32 = 4u;

// z + ε·sign(z), sign(0) = +1.
fn stable(z: f32) -> f32 {
    return z + select(-params.epsilon, params.epsilon, z >= 0.0);
}

// a / b, and 0 where b is 0: nothing contributed there.
fn quotient(a: f32, b: f32) -> f32 {
    if b == 0.0 {
        return 0.0;
    }
    return a / b;
}

// What the step after left in a row of the carry and its turn.
fn carried(row: u32, i: u32) -> f32 {
    if params.first != 0u {
        return 0.0;
    }
    return carry[(row + params.parity) * params.len + i];
}

// Where the step before reads that row.
fn next_carry(row: u32, i: u32) -> u32 {
    return (row + 1u - params.parity) * params.len + i;
}

#if STATE

#if !RNN
#if GRU
// r of a unit.
fn reset(n: u32, j: u32) -> f32 {
    return f32(trace[trace_index(params.position, n, 1u, j)]);
}
#endif
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    let units = params.hidden;
    let n = i / units;
    let k = i - n * units;
    let row = params.position * params.batch + n;
    let length = sample_length(n);
    if params.position >= length {
        carry[next_carry(0u, i)] = carried(0u, i);
        if k == 0u {
            spread[row] = 0.0;
        }
        return;
    }
    var sum = 0.0;
    for (var m = 0u; m < units; m++) {
        var s = f32(share[row * units + m]);
#if RESET_AFTER
        s *= reset(n, m);
#endif
        sum += s * f32(weights[m * units + k]);
    }
    var each = 0.0;
    if params.bias_factor != 0.0 {
        for (var m = 0u; m < units; m++) {
            each += carry[TAKEN_ROW * params.len + n * units + m];
        }
        each *= params.bias_factor / f32(params.features + units);
    }
    var lower = 0.0;
    if has_before(length) {
        lower = f32(output[position_before() * params.len + i]);
    } else {
#if INITIAL
        lower = f32(initial[i % params.h_count]);
#endif
    }
#if GRU
#if !RESET_AFTER
    lower *= reset(n, k);
#endif
#endif
    var handed = lower * sum + each;
#if GRU
    handed += carry[next_carry(CELL_ROWS, i)];
#endif
    carry[next_carry(0u, i)] = handed;
    if k == 0u {
        spread[row] = each;
    }
}

#else

// R of the new state: that of the cell in an LSTM.
fn state_relevance(i: u32, last: bool) -> f32 {
    var sum = carried(0u, i) + f32(relevance[params.position * params.len + i]);
    if last && params.final_rows >= 1u {
        sum += f32(relevance[params.steps * params.len + i]);
    }
#if LSTM
    sum += carried(CELL_ROWS, i);
    if last && params.final_rows >= 2u {
        sum += f32(relevance[(params.steps + 1u) * params.len + i]);
    }
#endif
    return sum;
}

#if !RNN
// The new state itself.
fn state(n: u32, j: u32) -> f32 {
#if LSTM
    return f32(trace[trace_index(params.position, n, 4u, j)]);
#else
    return f32(output[params.position * params.len + n * params.hidden + j]);
#endif
}

// The state before the step.
fn state_before(n: u32, j: u32, has: bool) -> f32 {
    let i = n * params.hidden + j;
    if has {
#if LSTM
        return f32(trace[trace_index(position_before(), n, 4u, j)]);
#else
        return f32(output[position_before() * params.len + i]);
#endif
    }
#if INITIAL
#if LSTM
    return f32(initial[i % params.c_count]);
#else
    return f32(initial[i % params.h_count]);
#endif
#else
    return 0.0;
#endif
}
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    let units = params.hidden;
    let n = i / units;
    let j = i - n * units;
    let at = params.position * params.len + i;
    let length = sample_length(n);
    if params.position >= length {
        share[at] = 0.0;
        carry[TAKEN_ROW * params.len + i] = 0.0;
        carry[next_carry(CELL_ROWS, i)] = carried(CELL_ROWS, i);
        return;
    }
    let last = is_last(length);
    var candidate = state_relevance(i, last);
#if !RNN
    var each = 0.0;
    if params.bias_factor != 0.0 {
        for (var k = 0u; k < units; k++) {
            let y = state(n, k);
            each += quotient(state_relevance(n * units + k, last), stable(y)) * (stable(y) - y);
        }
        each *= params.bias_factor / f32(2u * units);
    }
    let divided = quotient(candidate, stable(state(n, j)));
    let before = state_before(n, j, has_before(length));
    let fresh = squash(f32(trace[trace_index(params.position, n, SIGNAL, j)]), params.candidate);
#if LSTM
    let kept = f32(trace[trace_index(params.position, n, 2u, j)]) * before;
    let added = f32(trace[trace_index(params.position, n, 0u, j)]) * fresh;
#else
    let update = f32(trace[trace_index(params.position, n, 0u, j)]);
    let kept = update * before;
    let added = (1.0 - update) * fresh;
#endif
    carry[next_carry(CELL_ROWS, i)] = kept * divided + each;
    candidate = added * divided + each;
#endif
    var z = f32(trace[trace_index(params.position, n, SIGNAL, j)]);
    var own = f32(bias[j]);
#if RESET_AFTER
    own += f32(trace[trace_index(params.position, n, 1u, j)]) * f32(bias[units + j]);
#endif
    if params.zero_bias != 0u {
        z -= own;
        own = 0.0;
    }
    let s = quotient(candidate, stable(z));
    share[at] = s;
    carry[TAKEN_ROW * params.len + i] = (own + stable(z) - z) * s;
}
#endif
