// max_pool: output[plane, o] = max over k of source[plane, o·stride + k·dilation − pad], padding left out;
// winners[plane, o] = the winner's position in its input plane, the first in row-major order on ties. What is not a
// number wins over numbers, so that it is seen at the output.
//
// Shapes: source: planes × input; output, winners: planes × output (three spatial axes).
// Dispatch: one thread a window, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"
#include "shared/windows.wgsl"

@group(0) @binding(1) var<storage, read> source: array<real_1>;
@group(0) @binding(2) var<storage, read_write> output: array<real_2>;
@group(0) @binding(3) var<storage, read_write> winners: array<u32>;

// By its bits: drivers may assume that x != x is false.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = item_index(workgroup, params.grid_width, lane);
    if index >= params.len {
        return;
    }
    let output_plane = params.output_z * params.output_y * params.output_x;
    let plane = index / output_plane;
    let o = plane_position(index % output_plane, params.output_y, params.output_x);
    let input_base = plane * params.input_z * params.input_y * params.input_x;
    var best = -3.4028234e38;
    var winner = 0u;
    var found = false;
    // A position before the input wraps around to a huge one, so one comparison checks both ends.
    for (var kz = 0u; kz < params.kernel_z; kz++) {
        let z = o.x * params.stride_z + kz * params.dilation_z - params.pad_z;
        if z >= params.input_z {
            continue;
        }
        for (var ky = 0u; ky < params.kernel_y; ky++) {
            let y = o.y * params.stride_y + ky * params.dilation_y - params.pad_y;
            if y >= params.input_y {
                continue;
            }
            for (var kx = 0u; kx < params.kernel_x; kx++) {
                let x = o.z * params.stride_x + kx * params.dilation_x - params.pad_x;
                if x >= params.input_x {
                    continue;
                }
                let position = (z * params.input_y + y) * params.input_x + x;
                let value = f32(source[input_base + position]);
                if !found || value > best || (is_nan(value) && !is_nan(best)) {
                    best = value;
                    winner = position;
                    found = true;
                }
            }
        }
    }
    output[index] = stored(best);
    winners[index] = winner;
}
