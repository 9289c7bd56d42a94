// transpose: output[i] = source[Σ_d index_d(i) · stride_d], index_d(i) being the coordinates of i in the output's shape.
//
// Shapes: the output has dims dim_0 … dim_5 (1s in front); the source holds the same values with its axes in another order.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"

struct Params {
    grid_width: u32,
    len: u32,
    dim_0: u32,
    dim_1: u32,
    dim_2: u32,
    dim_3: u32,
    dim_4: u32,
    dim_5: u32,
    stride_0: u32,
    stride_1: u32,
    stride_2: u32,
    stride_3: u32,
    stride_4: u32,
    stride_5: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<real_1>;
@group(0) @binding(2) var<storage, read_write> output: array<real_2>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    var rest = i;
    var position = (rest % params.dim_5) * params.stride_5;
    rest /= params.dim_5;
    position += (rest % params.dim_4) * params.stride_4;
    rest /= params.dim_4;
    position += (rest % params.dim_3) * params.stride_3;
    rest /= params.dim_3;
    position += (rest % params.dim_2) * params.stride_2;
    rest /= params.dim_2;
    position += (rest % params.dim_1) * params.stride_1;
    rest /= params.dim_1;
    position += (rest % params.dim_0) * params.stride_0;
    output[i] = stored(f32(source[position]));
}
