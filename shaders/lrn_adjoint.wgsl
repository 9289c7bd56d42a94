// lrn_adjoint: R_j = R'_j·d_j^−beta − 2·alpha·beta/size · x_j · Σ_{c: j in window of c} R'_c·x_c·d_c^(−beta−1).
//
// Shapes: source x, relevance R', output R: batch × channels × inner.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/lrn.wgsl"

@group(0) @binding(2) var<storage, read> relevance: array<real_2>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    let j = (i / params.inner) % params.channels;
    let base = i - j * params.inner;
    var sum = 0.0;
    // The channels whose windows hold j are the mirrored window around j.
    for (var c = window_begin(j, params.after); c < window_end(j, params.before); c++) {
        let at = base + c * params.inner;
        sum += f32(relevance[at]) * f32(source[at]) * pow(divisor(base, c), -params.beta - 1.0);
    }
    let direct = f32(relevance[i]) * pow(divisor(base, j), -params.beta);
    output[i] = direct - 2.0 * params.alpha_over_size * params.beta * f32(source[i]) * sum;
}
