// distances_adjoint: output[n,i] = Σ_j d² · relevance[n,j], or with GRADIENT Σ_j 2d · relevance[n,j], d = source[n,i] − vectors[j,i].
//
// Shapes: source, output: rows × len; vectors: count × len; relevance: rows × count. Four sums run side by side.
// Dispatch: one thread for each of rows × len values, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"

struct Params {
    grid_width: u32,
    values: u32,
    count: u32,
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<real_1>;
@group(0) @binding(2) var<storage, read> vectors: array<real_2>;
@group(0) @binding(3) var<storage, read> relevance: array<real_3>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = item_index(workgroup, params.grid_width, lane);
    if index >= params.values {
        return;
    }
    let r = index / params.len * params.count;
    let i = index % params.len;
    let x = f32(source[index]);
    var sums = vec4<f32>();
    for (var j = 0u; j < params.count; j++) {
        let difference = x - f32(vectors[j * params.len + i]);
#if GRADIENT
        let slope = 2.0 * difference;
#else
        let slope = difference * difference;
#endif
        sums[j % 4u] += slope * f32(relevance[r + j]);
    }
    output[index] = (sums.x + sums.y) + (sums.z + sums.w);
}
