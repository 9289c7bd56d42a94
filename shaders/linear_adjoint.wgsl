// linear_adjoint: y[n,c,q] = epilogue(Σ_terms Σ_{m,k} W[m,c,k] · part(x[n,m, (q + pad − k·dilation)/stride])), over the
// taps for which the division leaves no remainder: the transposed map of linear_forward, gathered.
//
// Epilogues: as linear_forward's, with channels c. A term reads its own source and weights.
// Shapes: source: batch × M × output; output, factor's positions: batch × C × input, "input" and "output" being those of
// the convolution; weights: shared/linear.wgsl.
// As a matrix product: rows are c, columns (n, q), the depth (tap, m) with m fastest, padded to whole vec4s.
// Dispatch: one workgroup a tile of a group's product, row tiles fastest, then column tiles, then groups (with DIRECT:
// one thread a value, 64 a workgroup); workgroups folded into two dimensions.

#include "shared/linear.wgsl"

fn store(column: u32, group: u32, row: u32, sum: f32) {
    let n = column / params.input_plane;
    let q = column % params.input_plane;
    let channel = (params.group_first + group) * params.c_per_group + row;
    finish((n * params.c_total + channel) * params.input_plane + q, channel, sum);
}

// Where a column's values lie: `base` is the index of channel m_first of the group, `origin` is q + pad.
struct Column {
    base: u32,
    origin: vec3<i32>,
    inside: bool,
}

fn find_column(column: u32, group: u32) -> Column {
    let n = column / params.input_plane;
    let q = column % params.input_plane;
    let channel = (params.group_first + group) * params.m_per_group + params.m_first;
    let base = (n * params.m_total + channel) * params.output_plane;
    let inside = column < params.columns;
#if POINTWISE
    return Column(base + q, vec3<i32>(), inside);
#else
    let z = q / (params.input_y * params.input_x) + params.pad_z;
    let y = (q / params.input_x) % params.input_y + params.pad_y;
    let x = q % params.input_x + params.pad_x;
    return Column(base, vec3<i32>(vec3<u32>(z, y, x)), inside);
#endif
}

#if !POINTWISE
// The index of a position (times the stride) relative to its channel, or −1 where no output lies.
fn position_index(position: vec3<i32>) -> i32 {
    if position.x < 0 || position.y < 0 || position.z < 0 {
        return -1;
    }
    let p = vec3<u32>(position);
#if STRIDED
    let strides = vec3<u32>(params.stride_z, params.stride_y, params.stride_x);
    let o = p / strides;
    if any(o * strides != p) {
        return -1;
    }
#else
    let o = p;
#endif
    if o.x >= params.output_z || o.y >= params.output_y || o.z >= params.output_x {
        return -1;
    }
    return i32((o.x * params.output_y + o.y) * params.output_x + o.z);
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
            let position = position_index(at.origin - tap_offset(tap));
            if position < 0 {
                continue;
            }
#endif
            let weights = ((group * params.taps + tap) * params.c_per_group + row) * row_pitch;
            let values = at.base + u32(position);
            for (var m = 0u; m < params.m_len; m++) {
                sum += weight_at(term, weights + m) * source_at(term, values + m * params.output_plane);
            }
        }
    }
    return sum;
}
#include "shared/linear_direct.wgsl"
#else
#if POINTWISE
fn load_source(term: u32, column: Column, depth: u32) -> f32 {
    if !column.inside || depth >= params.m_len {
        return 0.0;
    }
    return source_at(term, column.base + depth * params.output_plane);
}
#else
fn describe_depth(depth: u32) -> vec4<i32> {
    let tap = depth / (params.pitch * 4u);
    let m = depth % (params.pitch * 4u);
    let offset = select(-1, i32(m * params.output_plane), depth < params.depth && m < params.m_len);
    return vec4<i32>(offset, tap_offset(tap));
}

fn load_source(term: u32, column: Column, depth: vec4<i32>) -> f32 {
    let position = position_index(column.origin - depth.yzw);
    if !column.inside || depth.x < 0 || position < 0 {
        return 0.0;
    }
    return source_at(term, column.base + u32(depth.x + position));
}
#endif
#include "shared/linear_tiles.wgsl"

// Four depths (m) of row c, four of them a vec4 in memory; 0 past the last row or depth.
fn row_weights(term: u32, group: u32, c: u32, depth: u32) -> vec4<f32> {
    if c >= params.c_per_group || depth >= params.depth {
        return vec4<f32>();
    }
    let tap = (depth / 4u) / params.pitch;
    let m = (depth / 4u) % params.pitch;
    return weight_at(term, ((group * params.taps + tap) * params.c_per_group + c) * params.pitch + m);
}

fn load_weights(term: u32, group: u32, row_tile: u32, first: u32, thread: u32) {
    // A thread turns blocks of 4 rows × 4 depths around.
    for (var i = thread; i < TILE_K / 4u * THREADS_M; i += THREADS) {
        let k = (i % (TILE_K / 4u)) * 4u;
        let row = i / (TILE_K / 4u);
        let c = row_tile * TILE_M + row * 4u;
        let block = transpose(mat4x4<f32>(
            row_weights(term, group, c, first + k),
            row_weights(term, group, c + 1u, first + k),
            row_weights(term, group, c + 2u, first + k),
            row_weights(term, group, c + 3u, first + k),
        ));
        tile_weights[k * THREADS_M + row] = block[0];
        tile_weights[(k + 1u) * THREADS_M + row] = block[1];
        tile_weights[(k + 2u) * THREADS_M + row] = block[2];
        tile_weights[(k + 3u) * THREADS_M + row] = block[3];
    }
}
#endif
