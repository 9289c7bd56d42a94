// linear_forward: y[n,m,p] = epilogue(Σ_terms Σ_{c,k} W[m,c,k] · part(x[n,c, p·stride + k·dilation − pad])).
//
// Epilogues: f(sum + bias + summand) (BIAS, SUMMAND, and ACTIVATE with f's flag); scale·R/st(sum + bias), masked (SHARE); part(factor) · sum, added to what the output
// holds with `accumulate` (MULTIPLY), and then scale·(that)/st(denominator) (DIVIDE). A term reads its own source and weights.
// Shapes: source: batch × C × input; output, relevance, mask: batch × M × output; bias: M; weights: shared/linear.wgsl.
// As a matrix product: rows are m, columns (n, p), the depth (tap, c) with c fastest.
// Dispatch: one workgroup a tile of a group's product, row tiles fastest, then column tiles, then groups (with DIRECT:
// one thread a value, 64 a workgroup); workgroups folded into two dimensions.

#include "shared/linear.wgsl"

fn store(column: u32, group: u32, row: u32, sum: f32) {
    let n = column / params.output_plane;
    let p = column % params.output_plane;
    let channel = (params.group_first + group) * params.m_per_group + params.m_first + row;
    finish((n * params.m_total + channel) * params.output_plane + p, channel, sum);
}

// Where a column's values lie: `base` is the index of channel 0 of the group, `origin` the position of tap 0.
struct Column {
    base: u32,
    origin: vec3<i32>,
    inside: bool,
}

fn find_column(column: u32, group: u32) -> Column {
    let n = column / params.output_plane;
    let p = column % params.output_plane;
    let base = (n * params.c_total + (params.group_first + group) * params.c_per_group) * params.input_plane;
    let inside = column < params.columns;
#if POINTWISE
    return Column(base + p, vec3<i32>(), inside);
#else
    let z = p / (params.output_y * params.output_x);
    let y = (p / params.output_x) % params.output_y;
    let x = p % params.output_x;
    let begin = vec3<i32>(vec3<u32>(z * params.stride_z, y * params.stride_y, x * params.stride_x));
    return Column(base, begin - vec3<i32>(vec3<u32>(params.pad_z, params.pad_y, params.pad_x)), inside);
#endif
}

#if !POINTWISE
// The index of a position relative to its channel, or −1 in the padding.
fn position_index(position: vec3<i32>) -> i32 {
    // A negative coordinate becomes a huge unsigned one, so one comparison checks both ends.
    let p = vec3<u32>(position);
    if p.x >= params.input_z || p.y >= params.input_y || p.z >= params.input_x {
        return -1;
    }
    return i32((p.x * params.input_y + p.y) * params.input_x + p.z);
}
#endif

#if DIRECT
fn direct_sum(column: u32, group: u32, row: u32) -> f32 {
    let at = find_column(column, group);
    let row_pitch = params.pitch * 4u;
    var sum = 0.0;
    for (var term = 0u; term < TERMS; term++) {
        for (var tap = 0u; tap < params.taps; tap++) {
#if POINTWISE
            let position = 0;
#else
            let position = position_index(at.origin + tap_offset(tap));
            if position < 0 {
                continue;
            }
#endif
            let weights = (group * params.taps + tap) * params.c_per_group * row_pitch + row;
            let values = at.base + u32(position);
            for (var c = 0u; c < params.c_per_group; c++) {
                sum += weight_at(term, weights + c * row_pitch) * source_at(term, values + c * params.input_plane);
            }
        }
    }
    return sum;
}
#include "shared/linear_direct.wgsl"
#else
#if POINTWISE
fn load_source(term: u32, column: Column, depth: u32) -> f32 {
    if !column.inside || depth >= params.depth {
        return 0.0;
    }
    return source_at(term, column.base + depth * params.input_plane);
}
#else
fn describe_depth(depth: u32) -> vec4<i32> {
    let tap = depth / params.c_per_group;
    let c = depth % params.c_per_group;
    let offset = select(-1, i32(c * params.input_plane), depth < params.depth);
    return vec4<i32>(offset, tap_offset(tap));
}

fn load_source(term: u32, column: Column, depth: vec4<i32>) -> f32 {
    let position = position_index(column.origin + depth.yzw);
    if !column.inside || depth.x < 0 || position < 0 {
        return 0.0;
    }
    return source_at(term, column.base + u32(depth.x + position));
}
#endif
#include "shared/linear_tiles.wgsl"

fn load_weights(term: u32, group: u32, row_tile: u32, first: u32, thread: u32) {
    for (var i = thread; i < TILE_K * THREADS_M; i += THREADS) {
        let depth = first + i / THREADS_M;
        let m = row_tile * THREADS_M + i % THREADS_M;
        var weights = vec4<f32>();
        if depth < params.depth && m < params.pitch {
            weights = weight_at(term, (group * params.depth + depth) * params.pitch + m);
        }
        tile_weights[i] = weights;
    }
}
#endif
