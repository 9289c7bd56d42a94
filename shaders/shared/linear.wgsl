// What both linear kernels share: parameters, bindings, weights and epilogues.
//
// Weights lie as [group][tap][c][m], m fastest and padded with zeros to whole vec4s (`pitch` of them). Both kernels
// read this one layout, but for ROWS of the adjoint, which reads [group][tap][m][c], c padded; with MERGED, phases and c. A layer whose weights exceed a binding is run in chunks of groups, or of outputs m: then a
// dispatch sees `groups` groups from `group_first` on, and `m_len` outputs of each from `m_first` on.

#include "shared/grid.wgsl"
#include "shared/part.wgsl"
#include "shared/share.wgsl"
#include "shared/stored.wgsl"
#if ACTIVATE
#include "shared/activation.wgsl"
#endif

struct Params {
    grid_width: u32,
    // The tiles (with DIRECT: threads) of this dispatch: from `work_first` on, before `work`.
    work_first: u32,
    work: u32,
    row_tiles: u32,
    column_tiles: u32,
    // The product is rows × depth times depth × columns, for each group.
    rows: u32,
    columns: u32,
    depth: u32,
    rows_fastest: u32,
    group_first: u32,
    m_first: u32,
    m_len: u32,
    pitch: u32,
    c_per_group: u32,
    m_per_group: u32,
    c_total: u32,
    m_total: u32,
    taps: u32,
    input_plane: u32,
    output_plane: u32,
    input_z: u32,
    input_y: u32,
    input_x: u32,
    output_z: u32,
    output_y: u32,
    output_x: u32,
    kernel_y: u32,
    kernel_x: u32,
    stride_z: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_z: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_z: u32,
    pad_y: u32,
    pad_x: u32,
    part_0: u32,
    part_1: u32,
    accumulate: u32,
    factor_inner: u32,
    factor_count: u32,
    factor_part: u32,
    share_flags: u32,
    scale: f32,
    epsilon: f32,
    depth_blocks: u32,
    thread_sums: u32,
    // Positions of a phase of a strided adjoint, and from one of its taps to the next.
    phase_z: u32,
    phase_y: u32,
    phase_x: u32,
    tap_step_z: u32,
    tap_step_y: u32,
    tap_step_x: u32,
    activation_a: f32,
    activation_b: f32,
    divide_inner: u32,
    divide_count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if VECTORS
@group(0) @binding(1) var<storage, read> source_0: array<vec4<real_1>>;
#else
@group(0) @binding(1) var<storage, read> source_0: array<real_1>;
#endif
#if SCALAR_WEIGHTS
@group(0) @binding(2) var<storage, read> weight_0: array<real_2>;
#else
@group(0) @binding(2) var<storage, read> weight_0: array<vec4<real_2>>;
#endif
#if TWO_TERMS
#if VECTORS
@group(0) @binding(3) var<storage, read> source_1: array<vec4<real_3>>;
#else
@group(0) @binding(3) var<storage, read> source_1: array<real_3>;
#endif
#if SCALAR_WEIGHTS
@group(0) @binding(4) var<storage, read> weight_1: array<real_4>;
#else
@group(0) @binding(4) var<storage, read> weight_1: array<vec4<real_4>>;
#endif
#endif
#if BIAS
@group(0) @binding(5) var<storage, read> bias: array<real_5>;
#endif
#if SHARE
@group(0) @binding(6) var<storage, read> relevance: array<real_6>;
#endif
#if DIVIDE
@group(0) @binding(6) var<storage, read> denominator: array<real_6>;
#endif
#if SUMMAND
@group(0) @binding(7) var<storage, read> summand: array<real_7>;
#endif
#if MASK
@group(0) @binding(7) var<storage, read> mask: array<real_7>;
#endif
#if FACTOR
@group(0) @binding(8) var<storage, read> factor: array<real_8>;
#endif
@group(0) @binding(9) var<storage, read_write> output: array<real_9>;

#if SCALAR_WEIGHTS
alias Weight = f32;
#else
alias Weight = vec4<f32>;
#endif

#if TWO_TERMS
const TERMS: u32 = 2u;
#else
const TERMS: u32 = 1u;
#endif

// Where a column's values lie: `origin` is the source's position that a shift of 0 reaches, and `base` the index of that
// position in the group's first channel. Both may lie outside of the source: `reaches` tells.
struct Column {
    base: i32,
    origin: vec3<i32>,
}

// Part of the product: a group, and for a strided adjoint one phase of its output positions. It sums over `taps` taps in
// each axis; the first one's number in the kernel is `number` and its shift `shift`, and from one tap to the next they grow
// by `numbers` and `shifts`. `offset` is the first output position.
struct Slice {
    group: u32,
    taps: vec3<u32>,
    number: u32,
    numbers: vec3<u32>,
    shift: vec3<i32>,
    shifts: vec3<i32>,
    offset: vec3<u32>,
}

#if WINDOW
// `count` taps of one x and z whose values lie one output's step apart: the first one's shift in y and its number in the
// kernel beside those of the slice's first tap, and how the number grows from one to the next.
struct Walk {
    count: u32,
    shift: i32,
    number: u32,
    numbers: i32,
}
#endif

// A position that no shift leads back from.
const FAR: i32 = 0x20000000;

// The index of no output.
const NOWHERE: u32 = 0xffffffffu;

fn axes(z: u32, y: u32, x: u32) -> vec3<u32> {
    return vec3<u32>(z, y, x);
}

fn flat(position: vec3<i32>, sizes: vec3<u32>) -> i32 {
    return (position.x * i32(sizes.y) + position.y) * i32(sizes.z) + position.z;
}

// Position number i of a box.
fn unflat(i: u32, sizes: vec3<u32>) -> vec3<u32> {
    let line = i / sizes.z;
    return vec3<u32>(line / sizes.y, line % sizes.y, i % sizes.z);
}

fn kernel_sizes() -> vec3<u32> {
    return axes(params.taps / (params.kernel_y * params.kernel_x), params.kernel_y, params.kernel_x);
}

// How far apart the numbers of a kernel's neighbours are, in each axis.
fn kernel_strides() -> vec3<u32> {
    return vec3<u32>(params.kernel_y * params.kernel_x, params.kernel_x, 1u);
}

fn tap_number(slice: Slice, tap: vec3<u32>) -> u32 {
    let steps = tap * slice.numbers;
    return slice.number + steps.x + steps.y + steps.z;
}

fn tap_shift(slice: Slice, tap: vec3<u32>) -> vec3<i32> {
    return slice.shift + vec3<i32>(tap) * slice.shifts;
}

// The tap after this one; x is fastest.
fn next_tap(tap: vec3<u32>, taps: vec3<u32>) -> vec3<u32> {
    var next = tap + vec3<u32>(0u, 0u, 1u);
    if next.z == taps.z {
        next = vec3<u32>(next.x, next.y + 1u, 0u);
        if next.y == taps.y {
            next = vec3<u32>(next.x + 1u, 0u, 0u);
        }
    }
    return next;
}

#if VECTORS
// The wanted part of four values of a term's source that lie together; number i of such fours.
fn source_four(term: u32, i: u32) -> vec4<f32> {
#if TWO_TERMS
    if term == 1u {
#if PARTS
        return take_parts(vec4<f32>(source_1[i]), params.part_1);
#else
        return vec4<f32>(source_1[i]);
#endif
    }
#endif
#if PARTS
    return take_parts(vec4<f32>(source_0[i]), params.part_0);
#else
    return vec4<f32>(source_0[i]);
#endif
}
#else
// The wanted part of a value of a term's source; without PARTS it is all of it.
fn source_at(term: u32, i: u32) -> f32 {
#if TWO_TERMS
    if term == 1u {
#if PARTS
        return take_part(f32(source_1[i]), params.part_1);
#else
        return f32(source_1[i]);
#endif
    }
#endif
#if PARTS
    return take_part(f32(source_0[i]), params.part_0);
#else
    return f32(source_0[i]);
#endif
}
#endif

// A weight (four, where the tile kernels read them) of a term.
fn weight_at(term: u32, i: u32) -> Weight {
#if TWO_TERMS
    if term == 1u {
        return Weight(weight_1[i]);
    }
#endif
    return Weight(weight_0[i]);
}

// What an epilogue needs of the parameters. Software reads a parameter for every thread anew within a loop or branch: an
// Ending is made before.
struct Ending {
    // Rows of the slice, the first one's channel, and values of a channel.
    rows: u32,
    channel: u32,
    plane: u32,
    accumulate: u32,
#if FACTOR
    factor_inner: u32,
    factor_count: u32,
    factor_part: u32,
#endif
#if DIVIDE
    divide_inner: u32,
    divide_count: u32,
#endif
    share_flags: u32,
    scale: f32,
    epsilon: f32,
    activation_a: f32,
    activation_b: f32,
}

fn make_ending(slice: Slice) -> Ending {
    return Ending(
        params.rows,
        result_channel(slice, 0u),
        result_plane(),
        params.accumulate,
#if FACTOR
        params.factor_inner,
        params.factor_count,
        params.factor_part,
#endif
#if DIVIDE
        params.divide_inner,
        params.divide_count,
#endif
        params.share_flags,
        params.scale,
        params.epsilon,
        params.activation_a,
        params.activation_b,
    );
}

// Stores a finished sum of a channel; `at` is the index of its position in channel 0.
fn finish(ending: Ending, at: u32, channel: u32, sum: f32) {
    let index = at + channel * ending.plane;
    var value = sum;
#if MULTIPLY
#if FACTOR
    value *= take_part(f32(factor[(index / ending.factor_inner) % ending.factor_count]), ending.factor_part);
#endif
    if ending.accumulate != 0u {
        value += f32(output[index]);
    }
#if DIVIDE
    let z = f32(denominator[(index / ending.divide_inner) % ending.divide_count]);
    value = share(value, z, ending.scale, ending.epsilon, ending.share_flags);
#endif
#else
    // Sums of the chunks that ran before this one.
    if ending.accumulate != 0u {
        value += f32(output[index]);
    }
#if BIAS
    value += f32(bias[channel]);
#endif
#if SUMMAND
    value += f32(summand[index]);
#endif
#if ACTIVATE
    value = activate(value, ending.activation_a, ending.activation_b, 0.0);
#endif
#if SHARE
    value = share(f32(relevance[index]), value, ending.scale, ending.epsilon, ending.share_flags);
#if MASK
    if !keeps(f32(mask[index]), ending.share_flags) {
        value = 0.0;
    }
#endif
#endif
#endif
    output[index] = stored(value);
}

#if !MERGED
// Stores a row's sum of a column whose result_index is `at`.
fn store(ending: Ending, at: u32, row: u32, sum: f32) {
    if at != NOWHERE && row < ending.rows {
        finish(ending, at, ending.channel + row, sum);
    }
}

// Stores four rows' sums of a column, as far as there are so many rows.
fn store_rows(ending: Ending, at: u32, row: u32, sums: vec4<f32>) {
    if at == NOWHERE {
        return;
    }
    let count = min(4u, ending.rows - min(row, ending.rows));
    for (var r = 0u; r < count; r++) {
        store(ending, at, row + r, sums[r]);
    }
}
#endif

#if !POINTWISE
// Whether a shift from a column leads to a value of the source of these sizes: below 0 is a huge unsigned number.
fn reaches(column: Column, shift: vec3<i32>, sizes: vec3<u32>) -> bool {
    let position = vec3<u32>(column.origin + shift);
    return position.x < sizes.x && position.y < sizes.y && position.z < sizes.z;
}
#endif
