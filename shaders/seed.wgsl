// seed: the relevance a backward pass starts from. For each sample: `amount` at one index, −amount at another for a
// contrast, 0 elsewhere. The index is given, or is that of the value with exactly `rank` values before it when sorted by
// falling value, then by rising index; NONE is no index. Samples of kind VECTOR were uploaded and stay as they are; of kind MASK ones and zeros
// were uploaded, and `amount` replaces the ones.
//
// Shapes: logits, output: samples × sample_len; requests: one (kind, index or rank, index against, whether the amount is
// the logit) a sample.
// Dispatch: one workgroup of 256 a sample, workgroups folded into two dimensions. Rank r takes r + 1 passes over the
// sample, each finding the first value after the previous one in that order.

#include "shared/grid.wgsl"

const KIND_VECTOR: u32 = 0u;
const KIND_INDEX: u32 = 1u;
const KIND_CONTRAST: u32 = 2u;
const KIND_RANK: u32 = 3u;
const KIND_MASK: u32 = 4u;
const NONE: u32 = 0xffffffffu;

struct Params {
    grid_width: u32,
    samples: u32,
    sample_len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<real_1>;
@group(0) @binding(2) var<storage, read> requests: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

var<workgroup> best_values: array<f32, WORKGROUP>;
var<workgroup> best_indices: array<u32, WORKGROUP>;

// Whether value a at index i comes before value b at index j; an index of NONE comes after everything.
fn precedes(a: f32, i: u32, b: f32, j: u32) -> bool {
    return i != NONE && (j == NONE || a > b || (a == b && i < j));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let sample = workgroup_index(workgroup, params.grid_width);
    // A workgroup past the last sample reads the last request, and neither ranks nor writes.
    let inside = sample < params.samples;
    let request = requests[min(sample, params.samples - 1u)];
    let base = sample * params.sample_len;

    let passes = select(0u, request.y + 1u, inside && request.x == KIND_RANK);
    var value = 0.0;
    var index = NONE;
    for (var pass_number = 0u; pass_number < passes; pass_number++) {
        var best_value = 0.0;
        var best = NONE;
        for (var i = lane; i < params.sample_len; i += WORKGROUP) {
            let x = f32(logits[base + i]);
            let later = pass_number == 0u || x < value || (x == value && i > index);
            if later && precedes(x, i, best_value, best) {
                best_value = x;
                best = i;
            }
        }
        best_values[lane] = best_value;
        best_indices[lane] = best;
        workgroupBarrier();
        for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
            if lane < half {
                let other = lane + half;
                if precedes(best_values[other], best_indices[other], best_values[lane], best_indices[lane]) {
                    best_values[lane] = best_values[other];
                    best_indices[lane] = best_indices[other];
                }
            }
            workgroupBarrier();
        }
        value = best_values[0];
        index = best_indices[0];
        workgroupBarrier();
    }

    if inside && request.x != KIND_VECTOR {
        let toward = select(request.y, index, request.x == KIND_RANK);
        let against = select(NONE, request.z, request.x == KIND_CONTRAST);
        for (var i = lane; i < params.sample_len; i += WORKGROUP) {
            let amount = select(1.0, f32(logits[base + i]), request.w != 0u);
            var seed = select(0.0, amount, i == toward) - select(0.0, amount, i == against);
            if request.x == KIND_MASK {
                seed = select(0.0, amount, output[base + i] != 0.0);
            }
            output[base + i] = seed;
        }
    }
}
