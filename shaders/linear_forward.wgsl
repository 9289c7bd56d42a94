// linear_forward: y[n,m,p] = epilogue(Σ_terms Σ_{c,k} W[m,c,k] · part(x[n,c, p·stride + k·dilation − pad])).
//
// Epilogues: f(sum + bias + summand) (BIAS, SUMMAND, and ACTIVATE with f's flag); scale·R/st(sum + bias), masked (SHARE); part(factor) · sum, added to what the output
// holds with `accumulate` (MULTIPLY), and then scale·(that)/st(denominator) (DIVIDE). A term reads its own source and weights.
// Shapes: source: batch × C × input; output, relevance, mask: batch × M × output; bias: M; weights: shared/linear.wgsl.
// As a matrix product: rows are m, columns (n, p), the depth (tap, c) with c fastest.
// Dispatch: row tiles fastest, then column tiles, then groups, in workgroups folded into two dimensions; what a tile is
// says the body's file.

#include "shared/linear.wgsl"

fn channels() -> u32 {
    return params.c_per_group;
}

fn source_plane() -> u32 {
    return params.input_plane;
}

fn source_sizes() -> vec3<u32> {
    return axes(params.input_z, params.input_y, params.input_x);
}

fn result_plane() -> u32 {
    return params.output_plane;
}

fn result_channel(slice: Slice, row: u32) -> u32 {
    return (params.group_first + slice.group) * params.m_per_group + params.m_first + row;
}

fn find_slice(i: u32) -> Slice {
    let dilations = vec3<i32>(axes(params.dilation_z, params.dilation_y, params.dilation_x));
    return Slice(i, kernel_sizes(), 0u, kernel_strides(), vec3<i32>(), dilations, vec3<u32>());
}

// The index of a column's output in channel 0, or NOWHERE.
fn result_index(column: u32, slice: Slice) -> u32 {
    let n = column / params.output_plane;
    return select(NOWHERE, n * (params.m_total - 1u) * params.output_plane + column, column < params.columns);
}

// The index of a sample's first source value.
fn source_base(n: u32, slice: Slice) -> i32 {
    return i32((n * params.c_total + (params.group_first + slice.group) * params.c_per_group) * params.input_plane);
}

fn output_sizes() -> vec3<u32> {
    return axes(params.output_z, params.output_y, params.output_x);
}

// The column of an output position.
fn column_at(n: u32, position: vec3<u32>, slice: Slice) -> Column {
    let begin = position * axes(params.stride_z, params.stride_y, params.stride_x);
    let origin = vec3<i32>(begin) - vec3<i32>(axes(params.pad_z, params.pad_y, params.pad_x));
    return Column(source_base(n, slice) + flat(origin, source_sizes()), origin);
}

fn find_column(column: u32, slice: Slice) -> Column {
    let n = column / params.output_plane;
    let p = column % params.output_plane;
#if POINTWISE
    return Column(source_base(n, slice) + i32(p), vec3<i32>(select(FAR, 0, column < params.columns), 0, 0));
#else
    var found = column_at(n, unflat(p, output_sizes()), slice);
    found.origin.x = select(FAR, found.origin.x, column < params.columns);
    return found;
#endif
}

#if WINDOW
fn grid_sizes() -> vec3<u32> {
    return output_sizes();
}

// Rows of the source from an output's value to that of the one below.
fn window_step() -> u32 {
    return params.stride_y;
}

// Taps that are whole strides apart are a walk.
fn walks() -> u32 {
    return min(params.tap_step_y, params.kernel_y);
}

fn find_walk(slice: Slice, r: u32) -> Walk {
    let count = (params.kernel_y - 1u - r) / params.tap_step_y + 1u;
    return Walk(count, i32(r * params.dilation_y), r * params.kernel_x, i32(params.tap_step_y * params.kernel_x));
}

// The index of an output in channel 0, and from there to the one below.
fn result_at(n: u32, position: vec3<u32>, slice: Slice) -> u32 {
    return n * params.m_total * params.output_plane + u32(flat(vec3<i32>(position), output_sizes()));
}

fn result_step() -> u32 {
    return params.output_x;
}

// How many outputs of a window there are.
fn results_below(position: vec3<u32>, slice: Slice) -> u32 {
    return min(HEIGHT, params.output_y - min(position.y, params.output_y));
}
#endif

#if SCALAR_WEIGHTS
// The index of a row's weight for a tap (its number) and channel.
fn weight_index(slice: Slice, tap: u32, channel: u32, row: u32) -> u32 {
    return ((slice.group * params.taps + tap) * params.c_per_group + channel) * params.pitch * 4u + row;
}
#else
// The index of four rows' weights for a tap (its number) and channel.
fn weights_index(slice: Slice, tap: u32, channel: u32, row: u32) -> u32 {
    return ((slice.group * params.taps + tap) * params.c_per_group + channel) * params.pitch + row / 4u;
}
#endif

#if DIRECT
#if WINDOW
#include "shared/linear_window.wgsl"
#else
#include "shared/linear_direct.wgsl"
#endif
#else
#if ROWS
#include "shared/linear_rows.wgsl"
#else
#if DENSE
#include "shared/linear_dense.wgsl"
#else
#include "shared/linear_tiles.wgsl"
#endif
#endif
#endif
