// lrn: y_c = x_c / d_c^beta, d_c = bias + alpha/size · Σ x_j² over the channels around c.
//
// Shapes: source, output: batch × channels × inner.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"
#include "shared/lrn.wgsl"

@group(0) @binding(2) var<storage, read_write> output: array<real_2>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    let c = (i / params.inner) % params.channels;
    let base = i - c * params.inner;
    output[i] = stored(f32(source[i]) * pow(divisor(base, c), -params.beta));
}
