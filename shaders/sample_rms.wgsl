// sample_rms: output[n] = √(mean of source[n,·]²).
//
// Shapes: source: samples × sample_len; output: samples.
// Dispatch: one workgroup of 256 a sample, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/sample.wgsl"
#include "shared/reduce.wgsl"

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let sample = workgroup_index(workgroup, params.grid_width);
    // A workgroup past the last sample has nothing to read, but goes through the same barriers.
    let inside = sample < params.samples;
    let len = select(0u, params.sample_len, inside);
    let base = sample * params.sample_len;
    var sum = 0.0;
    for (var i = lane; i < len; i += WORKGROUP) {
        let x = f32(source[base + i]);
        sum += x * x;
    }
    let total = workgroup_sum(sum, lane);
    if inside && lane == 0u {
        output[params.first + sample] = sqrt(total / f32(params.sample_len));
    }
}
