// What both kernels of recurrent layers share: their parameters, functions, and which positions count. A sample's first
// step begins with the initial state; positions from its length on do not count. Exactly one of LSTM, GRU and RNN is set.

#include "shared/functions.wgsl"

struct Params {
    grid_width: u32,
    // N·H.
    len: u32,
    batch: u32,
    hidden: u32,
    steps: u32,
    position: u32,
    reverse: u32,
    final_rows: u32,
    gate: u32,
    candidate: u32,
    output_function: u32,
    // Values of the initial states: N·H, or H for all samples.
    h_count: u32,
    c_count: u32,
    // Of recurrent_adjoint: C, whether the carry holds nothing yet, which of its rows is read, whether z has no bias.
    features: u32,
    first: u32,
    parity: u32,
    zero_bias: u32,
    epsilon: f32,
    bias_factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

#if LSTM
const TRACES: u32 = 5u;
const SIGNAL: u32 = 3u;
#endif
#if GRU
const TRACES: u32 = 3u;
const SIGNAL: u32 = 2u;
#endif
#if RNN
const TRACES: u32 = 1u;
const SIGNAL: u32 = 0u;
#endif

const SQUASH_TANH: u32 = 1u;
const SQUASH_RELU: u32 = 2u;

// Sigmoid, tanh or ReLU.
fn squash(x: f32, how: u32) -> f32 {
    var y = sigmoid(x);
    if how == SQUASH_TANH {
        y = tanh_stable(x);
    } else if how == SQUASH_RELU {
        // Not max: what is not a number stays so.
        y = select(x, 0.0, x < 0.0);
    }
    return y;
}

// Whether a step came before that at the position, in a sample of so many.
fn has_before(length: u32) -> bool {
    return select(params.position > 0u, params.position + 1u < length, params.reverse != 0u);
}

// The position of the step before.
fn position_before() -> u32 {
    return select(params.position - 1u, params.position + 1u, params.reverse != 0u);
}

// Whether the position is that of a sample's last step.
fn is_last(length: u32) -> bool {
    return params.position == select(length - 1u, 0u, params.reverse != 0u);
}

// Where a trace of a position's unit lies.
fn trace_index(position: u32, n: u32, which: u32, j: u32) -> u32 {
    return ((position * params.batch + n) * TRACES + which) * params.hidden + j;
}

// How many positions of a sample count; `lengths` is the includer's.
fn sample_length(n: u32) -> u32 {
#if LENGTHS
    return min(u32(max(f32(lengths[n]), 0.0)), params.steps);
#else
    return params.steps;
#endif
}
