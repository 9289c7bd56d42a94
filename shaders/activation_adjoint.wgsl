// activation_adjoint: output[i] = R[i] · f'(x[i]); guided (ReLU): R where x > 0 and R > 0; deconvnet (ReLU): max(R, 0).
//
// Shapes: source x, relevance R, output: len values; the slope of a PRelu is read at (i / slope_inner) % slope_count.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/activation_params.wgsl"
#include "shared/activation.wgsl"

#if !DECONVNET
@group(0) @binding(2) var<storage, read> source: array<real_2>;
#endif
@group(0) @binding(3) var<storage, read> relevance: array<real_3>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    let r = f32(relevance[i]);
#if DECONVNET
    output[i] = max(r, 0.0);
#else
#if GUIDED
    output[i] = select(0.0, r, f32(source[i]) > 0.0 && r > 0.0);
#else
    output[i] = r * activation_slope(f32(source[i]), params.a, params.b, slope_at(i));
#endif
#endif
}
