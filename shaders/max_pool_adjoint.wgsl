// max_pool_adjoint: output[plane, i] = Σ relevance[plane, o] over the windows o that i won; with DIVIDE
// scale · that / st(denominator) (shared/share.wgsl), the denominator being read at (index / divide_inner) % divide_count.
//
// Shapes: winners, relevance: planes × output; output: planes × input (three spatial axes).
// Dispatch: one thread a value of the input, 256 a workgroup, workgroups folded into two dimensions. Each looks through
// the windows it lies in, so nothing is added atomically.

#include "shared/grid.wgsl"
#include "shared/windows.wgsl"
#if DIVIDE
#include "shared/share.wgsl"
#endif

@group(0) @binding(1) var<storage, read> winners: array<u32>;
@group(0) @binding(2) var<storage, read> relevance: array<real_2>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;
#if DIVIDE
@group(0) @binding(4) var<storage, read> denominator: array<real_4>;
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = item_index(workgroup, params.grid_width, lane);
    if index >= params.len {
        return;
    }
    let input_plane = params.input_z * params.input_y * params.input_x;
    let plane = index / input_plane;
    let position = index % input_plane;
    let i = plane_position(position, params.input_y, params.input_x);
    let output_base = plane * params.output_z * params.output_y * params.output_x;
    var sum = 0.0;
    // A window that would begin before the first one wraps around to a huge number, which is past the last one too.
    for (var kz = 0u; kz < params.kernel_z; kz++) {
        let z = i.x + params.pad_z - kz * params.dilation_z;
        let oz = z / params.stride_z;
        if oz >= params.output_z || z % params.stride_z != 0u {
            continue;
        }
        for (var ky = 0u; ky < params.kernel_y; ky++) {
            let y = i.y + params.pad_y - ky * params.dilation_y;
            let oy = y / params.stride_y;
            if oy >= params.output_y || y % params.stride_y != 0u {
                continue;
            }
            for (var kx = 0u; kx < params.kernel_x; kx++) {
                let x = i.z + params.pad_x - kx * params.dilation_x;
                let ox = x / params.stride_x;
                if ox >= params.output_x || x % params.stride_x != 0u {
                    continue;
                }
                let o = output_base + (oz * params.output_y + oy) * params.output_x + ox;
                if winners[o] == position {
                    sum += f32(relevance[o]);
                }
            }
        }
    }
#if DIVIDE
    let denominator_value = f32(denominator[(index / params.divide_inner) % params.divide_count]);
    sum = share(sum, denominator_value, params.scale, params.epsilon, params.divide_flags);
#endif
    output[index] = sum;
}
