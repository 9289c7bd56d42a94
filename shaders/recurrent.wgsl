// recurrent: one step of a recurrent layer, z = projection + R·h for each gate, then
// LSTM c' = f⊙c + i⊙g, h' = o⊙φ(c'); GRU h' = (1−z)⊙n + z⊙h; simple h' = φ(z).
//
// A GRU without RESET_AFTER takes two dispatches a step: z and r, then with CANDIDATE n and h'.
// Shapes: projection T × N × G·H; weights H × G·H; bias H; states N × H or H; lengths N; output (T + final rows) × N × H;
// trace T × N × TRACES × H (LSTM i, o, f, the candidate's pre-activation, c; GRU z, r, that of n; simple z).
// Dispatch: one thread a unit of a sample, 256 a workgroup, workgroups folded into two dimensions; a dispatch a step.

#include "shared/grid.wgsl"
#include "shared/recurrent.wgsl"

@group(0) @binding(1) var<storage, read> projection: array<real_1>;
@group(0) @binding(2) var<storage, read> weights: array<real_2>;
#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<real_3>;
#endif
#if INITIAL_H
@group(0) @binding(4) var<storage, read> initial_h: array<real_4>;
#endif
#if INITIAL_C
@group(0) @binding(5) var<storage, read> initial_c: array<real_5>;
#endif
#if LENGTHS
@group(0) @binding(6) var<storage, read> lengths: array<real_6>;
#endif
@group(0) @binding(7) var<storage, read_write> output: array<f32>;
@group(0) @binding(8) var<storage, read_write> trace: array<f32>;

// The hidden state before the step, at index i of N × H.
fn hidden_before(i: u32, has: bool) -> f32 {
    if has {
        return output[position_before() * params.len + i];
    }
#if INITIAL_H
    return f32(initial_h[i % params.h_count]);
#else
    return 0.0;
#endif
}

#if LSTM
// The cell state before the step.
fn cell_before(n: u32, j: u32, has: bool) -> f32 {
    if has {
        return trace[trace_index(position_before(), n, 4u, j)];
    }
#if INITIAL_C
    return f32(initial_c[(n * params.hidden + j) % params.c_count]);
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
    let length = sample_length(n);
    let at = params.position * params.len + i;
    if params.position >= length {
        output[at] = 0.0;
        for (var k = 0u; k < TRACES; k++) {
            trace[trace_index(params.position, n, k, j)] = 0.0;
        }
        return;
    }
    let has = has_before(length);
    let first = n * units;
    var h = 0.0;
    var c = 0.0;
#if LSTM
    let row = (params.position * params.batch + n) * 4u * units + j;
    var z = vec4<f32>(
        f32(projection[row]),
        f32(projection[row + units]),
        f32(projection[row + 2u * units]),
        f32(projection[row + 3u * units]),
    );
    for (var k = 0u; k < units; k++) {
        let w = k * 4u * units + j;
        z += hidden_before(first + k, has) * vec4<f32>(
            f32(weights[w]),
            f32(weights[w + units]),
            f32(weights[w + 2u * units]),
            f32(weights[w + 3u * units]),
        );
    }
    let gates = vec3<f32>(squash(z.x, params.gate), squash(z.y, params.gate), squash(z.z, params.gate));
    c = gates.z * cell_before(n, j, has) + gates.x * squash(z.w, params.candidate);
    h = gates.y * squash(c, params.output_function);
    trace[trace_index(params.position, n, 0u, j)] = gates.x;
    trace[trace_index(params.position, n, 1u, j)] = gates.y;
    trace[trace_index(params.position, n, 2u, j)] = gates.z;
    trace[trace_index(params.position, n, 3u, j)] = z.w;
    trace[trace_index(params.position, n, 4u, j)] = c;
#endif
#if GRU
    let row = (params.position * params.batch + n) * 3u * units + j;
#if CANDIDATE
    var z = f32(projection[row + 2u * units]);
    for (var k = 0u; k < units; k++) {
        let gated = trace[trace_index(params.position, n, 1u, k)] * hidden_before(first + k, has);
        z += gated * f32(weights[(k * 3u + 2u) * units + j]);
    }
    let update = trace[trace_index(params.position, n, 0u, j)];
#else
    var gates = vec3<f32>(f32(projection[row]), f32(projection[row + units]), 0.0);
#if BIAS
    gates.z = f32(bias[j]);
#endif
    for (var k = 0u; k < units; k++) {
        let w = k * 3u * units + j;
        var own = vec3<f32>(f32(weights[w]), f32(weights[w + units]), 0.0);
#if RESET_AFTER
        own.z = f32(weights[w + 2u * units]);
#endif
        gates += hidden_before(first + k, has) * own;
    }
    let update = squash(gates.x, params.gate);
    let reset = squash(gates.y, params.gate);
    let z = f32(projection[row + 2u * units]) + reset * gates.z;
    trace[trace_index(params.position, n, 0u, j)] = update;
    trace[trace_index(params.position, n, 1u, j)] = reset;
#if !RESET_AFTER
    // The rest needs r of every unit.
    return;
#endif
#endif
    h = (1.0 - update) * squash(z, params.candidate) + update * hidden_before(i, has);
    trace[trace_index(params.position, n, 2u, j)] = z;
#endif
#if RNN
    var z = f32(projection[at]);
    for (var k = 0u; k < units; k++) {
        z += hidden_before(first + k, has) * f32(weights[k * units + j]);
    }
    h = squash(z, params.candidate);
    trace[at] = z;
#endif
    output[at] = h;
    if is_last(length) {
        if params.final_rows >= 1u {
            output[params.steps * params.len + i] = h;
        }
        if params.final_rows >= 2u {
            output[(params.steps + 1u) * params.len + i] = c;
        }
    }
}
