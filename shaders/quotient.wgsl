// quotient: output[i] = share(Σ denominators at i) = scale · R[i] / st(z), 0 where the mask has not the wanted sign.
//
// A denominator operand is read at (i / inner) % count. ε is a constant, or a factor times the sample's entry in `rms`.
// Shapes: relevance, mask, output: len values; rms: one value a sample of sample_len values.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/share.wgsl"

struct Params {
    grid_width: u32,
    len: u32,
    inner_0: u32,
    count_0: u32,
    inner_1: u32,
    count_1: u32,
    sample_len: u32,
    flags: u32,
    scale: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> denominator_0: array<f32>;
#if TWO_OPERANDS
@group(0) @binding(2) var<storage, read> denominator_1: array<f32>;
#endif
@group(0) @binding(3) var<storage, read> relevance: array<f32>;
#if MASK
@group(0) @binding(4) var<storage, read> mask: array<f32>;
#endif
#if RMS
@group(0) @binding(5) var<storage, read> rms: array<f32>;
#endif
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    var z = denominator_0[(i / params.inner_0) % params.count_0];
#if TWO_OPERANDS
    z += denominator_1[(i / params.inner_1) % params.count_1];
#endif
    var epsilon = params.epsilon;
#if RMS
    epsilon *= rms[i / params.sample_len];
#endif
    var value = share(relevance[i], z, params.scale, epsilon, params.flags);
#if MASK
    if !keeps(mask[i], params.flags) {
        value = 0.0;
    }
#endif
    output[i] = value;
}
