// resample: output[o, offset + j, i] = factor · Σ_k weight[k] · source[o, position[k], i], k over row j of a sparse map.
//
// Shapes: source: outer × inputs × inner; output and factor: outer × output_axis × inner; starts: rows + 1 entries;
// entries: (position, bits of the weight) of each entry of the map. Rows of the output outside offset..offset+rows stay.
// Dispatch: one thread for each of outer × rows × inner values, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"

struct Params {
    grid_width: u32,
    len: u32,
    rows: u32,
    inputs: u32,
    inner: u32,
    output_axis: u32,
    offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<real_1>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> entries: array<vec2<u32>>;
#if FACTOR
@group(0) @binding(4) var<storage, read> factor: array<real_4>;
#endif
@group(0) @binding(5) var<storage, read_write> output: array<real_5>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = item_index(workgroup, params.grid_width, lane);
    if index >= params.len {
        return;
    }
    let i = index % params.inner;
    let j = (index / params.inner) % params.rows;
    let o = index / (params.inner * params.rows);
    let base = o * params.inputs * params.inner + i;
    var sum = 0.0;
    for (var k = starts[j]; k < starts[j + 1u]; k++) {
        let entry = entries[k];
        sum += bitcast<f32>(entry.y) * f32(source[base + entry.x * params.inner]);
    }
    let target_index = (o * params.output_axis + params.offset + j) * params.inner + i;
#if FACTOR
    sum *= f32(factor[target_index]);
#endif
    output[target_index] = stored(sum);
}
