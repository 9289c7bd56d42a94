// softmax: output[o,k,i] = e^(x[o,k,i] − max) / Σ_k e^(x[o,k,i] − max), or its logarithm with LOG.
//
// Shapes: source, output: outer × size × inner.
// Dispatch: one workgroup of 256 for each of outer × inner lines, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"
#include "shared/reduce.wgsl"

struct Params {
    grid_width: u32,
    lines: u32,
    size: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<real_1>;
@group(0) @binding(2) var<storage, read_write> output: array<real_2>;

// The largest of every thread's value, known to all threads afterwards.
fn workgroup_max(value: f32, lane: u32) -> f32 {
    partials[lane] = value;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if lane < half {
            partials[lane] = max(partials[lane], partials[lane + half]);
        }
        workgroupBarrier();
    }
    let largest = partials[0];
    workgroupBarrier();
    return largest;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let line = workgroup_index(workgroup, params.grid_width);
    // A workgroup past the last line has nothing to read, but goes through the same barriers.
    let size = select(0u, params.size, line < params.lines);
    let base = (line / params.inner) * params.size * params.inner + line % params.inner;
    var largest = -3.4028234e38;
    for (var k = lane; k < size; k += WORKGROUP) {
        largest = max(largest, f32(source[base + k * params.inner]));
    }
    largest = workgroup_max(largest, lane);
    var sum = 0.0;
    for (var k = lane; k < size; k += WORKGROUP) {
        sum += exp(f32(source[base + k * params.inner]) - largest);
    }
    sum = workgroup_sum(sum, lane);
    for (var k = lane; k < size; k += WORKGROUP) {
        let i = base + k * params.inner;
#if LOG
        output[i] = stored(f32(source[i]) - largest - log(sum));
#else
        output[i] = stored(exp(f32(source[i]) - largest) / sum);
#endif
    }
}
