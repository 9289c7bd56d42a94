// activation: output[i] = f(source[i]), f being chosen by a flag (shared/activation.wgsl).
//
// Shapes: source, output: len values; the slope of a PRelu is read at (i / slope_inner) % slope_count.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"
#include "shared/activation_params.wgsl"
#include "shared/activation.wgsl"

@group(0) @binding(2) var<storage, read> source: array<real_2>;
@group(0) @binding(3) var<storage, read_write> output: array<real_3>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    output[i] = stored(activate(f32(source[i]), params.a, params.b, slope_at(i)));
}
