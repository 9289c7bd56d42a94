// binary: output[i] = stored(f(a ∘ b), with a and b read at (i / inner) % count); ∘ is chosen by a flag, f by another after
// ACTIVATE (shared/activation.wgsl).
//
// Shapes: output: len values; the operands broadcast to it.
// Dispatch: one thread a value, 256 a workgroup, workgroups folded into two dimensions.

#include "shared/grid.wgsl"
#include "shared/stored.wgsl"
#if ACTIVATE
#include "shared/activation.wgsl"
#endif

struct Params {
    grid_width: u32,
    len: u32,
    a_inner: u32,
    a_count: u32,
    b_inner: u32,
    b_count: u32,
    activation_a: f32,
    activation_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> operand_a: array<real_1>;
@group(0) @binding(2) var<storage, read> operand_b: array<real_2>;
@group(0) @binding(3) var<storage, read_write> output: array<real_3>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = item_index(workgroup, params.grid_width, lane);
    if i >= params.len {
        return;
    }
    let a = f32(operand_a[(i / params.a_inner) % params.a_count]);
    let b = f32(operand_b[(i / params.b_inner) % params.b_count]);
#if ADD
    let value = a + b;
#endif
#if SUB
    let value = a - b;
#endif
#if MUL
    let value = a * b;
#endif
#if MUL_NEGATED
    let value = -a * b;
#endif
#if DIV
    let value = a / b;
#endif
#if ADD_MAGNITUDES
    let value = abs(a) + abs(b);
#endif
#if ACTIVATE
    output[i] = stored(activate(value, params.activation_a, params.activation_b, 0.0));
#else
    output[i] = stored(value);
#endif
}
