// distances: output[n,j] = Σ_i (source[n,i] − vectors[j,i])².
//
// Shapes: source: rows × len; vectors: count × len; output: rows × count. Differences come before squares: ‖x‖² − 2xᵀu + ‖u‖²
// would lose the digits of small distances. Four sums run side by side, which rounds less than one.
// Dispatch: one thread for each of rows × count values, 256 a workgroup, workgroups folded into two dimensions.

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
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = item_index(workgroup, params.grid_width, lane);
    if index >= params.values {
        return;
    }
    let x = index / params.count * params.len;
    let u = index % params.count * params.len;
    var sums = vec4<f32>();
    for (var i = 0u; i < params.len; i++) {
        let difference = f32(source[x + i]) - f32(vectors[u + i]);
        sums[i % 4u] += difference * difference;
    }
    output[index] = (sums.x + sums.y) + (sums.z + sums.w);
}
