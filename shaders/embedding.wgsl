// embedding: output[i, e] = table[ids[i], e]; negative ids count from the end, those outside take the nearest row.
//
// Shapes: table rows × width; ids: one a row of the output, which is count × width; len = count · width.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"

struct Params {
    grid_width: u32,
    len: u32,
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<real_1>;
@group(0) @binding(2) var<storage, read> ids: array<real_2>;
@group(0) @binding(3) var<storage, read_write> output: array<real_3>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    let at = i / params.width;
    let id = i32(f32(ids[at]));
    let row = clamp(select(id, id + i32(params.rows), id < 0), 0, i32(params.rows) - 1);
    output[i] = stored(f32(table[u32(row) * params.width + i - at * params.width]));
}
