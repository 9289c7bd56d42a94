// quotient: output_k[i] = factor_k[i] · share(Σ denominators at i), share(z) = scale · R[i] / st(z), 0 where the mask has
// not the wanted sign; one output, or two with TWO_PIECES. With DIVIDE_k, output_k is divided once more:
// scale_k · output_k[i] / st(divide_k at i).
//
// An operand is read at (i / inner) % count. A factor counts as it is, negated, as its magnitude, or as what
// remains of the denominator without it. ε is a constant, or a factor times the sample's entry in `rms`.
// Shapes: relevance, mask, outputs: len values; rms: one value a sample of sample_len values.
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
    factor_inner_0: u32,
    factor_count_0: u32,
    factor_how_0: u32,
    factor_inner_1: u32,
    factor_count_1: u32,
    factor_how_1: u32,
    divide_inner_0: u32,
    divide_count_0: u32,
    divide_flags_0: u32,
    scale_0: f32,
    epsilon_0: f32,
    divide_inner_1: u32,
    divide_count_1: u32,
    divide_flags_1: u32,
    scale_1: f32,
    epsilon_1: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> denominator_0: array<real_1>;
#if TWO_OPERANDS
@group(0) @binding(2) var<storage, read> denominator_1: array<real_2>;
#endif
@group(0) @binding(3) var<storage, read> relevance: array<real_3>;
#if MASK
@group(0) @binding(4) var<storage, read> mask: array<real_4>;
#endif
#if RMS
@group(0) @binding(5) var<storage, read> rms: array<real_5>;
#endif
@group(0) @binding(6) var<storage, read_write> output_0: array<f32>;
#if FACTOR_0
@group(0) @binding(7) var<storage, read> factor_0: array<real_7>;
#endif
#if FACTOR_1
@group(0) @binding(8) var<storage, read> factor_1: array<real_8>;
#endif
#if TWO_PIECES
@group(0) @binding(9) var<storage, read_write> output_1: array<f32>;
#endif
#if DIVIDE_0
@group(0) @binding(10) var<storage, read> divide_0: array<real_10>;
#endif
#if DIVIDE_1
@group(0) @binding(11) var<storage, read> divide_1: array<real_11>;
#endif

const NEGATED: u32 = 1u;
const MAGNITUDE: u32 = 2u;
const REMAINDER: u32 = 3u;

fn contribution(x: f32, z: f32, how: u32) -> f32 {
    var value = x;
    if how == NEGATED {
        value = -x;
    } else if how == MAGNITUDE {
        value = abs(x);
    } else if how == REMAINDER {
        value = z - x;
    }
    return value;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    var z = f32(denominator_0[(i / params.inner_0) % params.count_0]);
#if TWO_OPERANDS
    z += f32(denominator_1[(i / params.inner_1) % params.count_1]);
#endif
    var epsilon = params.epsilon;
#if RMS
    epsilon *= f32(rms[i / params.sample_len]);
#endif
    var value = share(f32(relevance[i]), z, params.scale, epsilon, params.flags);
#if MASK
    if !keeps(f32(mask[i]), params.flags) {
        value = 0.0;
    }
#endif
    var value_0 = value;
#if FACTOR_0
    let x_0 = f32(factor_0[(i / params.factor_inner_0) % params.factor_count_0]);
    value_0 *= contribution(x_0, z, params.factor_how_0);
#endif
#if DIVIDE_0
    let z_0 = f32(divide_0[(i / params.divide_inner_0) % params.divide_count_0]);
    value_0 = share(value_0, z_0, params.scale_0, params.epsilon_0, params.divide_flags_0);
#endif
    output_0[i] = value_0;
#if TWO_PIECES
    var value_1 = value;
#if FACTOR_1
    let x_1 = f32(factor_1[(i / params.factor_inner_1) % params.factor_count_1]);
    value_1 *= contribution(x_1, z, params.factor_how_1);
#endif
#if DIVIDE_1
    let z_1 = f32(divide_1[(i / params.divide_inner_1) % params.divide_count_1]);
    value_1 = share(value_1, z_1, params.scale_1, params.epsilon_1, params.divide_flags_1);
#endif
    output_1[i] = value_1;
#endif
}
