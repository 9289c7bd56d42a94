// linear_adjoint: y[n,c,q] = epilogue(Σ_terms Σ_{m,k} W[m,c,k] · part(x[n,m, (q + pad − k·dilation)/stride])), over the
// taps for which the division leaves no remainder: the transposed map of linear_forward, gathered.
//
// Epilogues: as linear_forward's, with channels c. A term reads its own source and weights.
// Shapes: source: batch × M × output; output, factor's positions: batch × C × input, "input" and "output" being those of
// the convolution; weights: shared/linear.wgsl.
// As a matrix product: rows are c, columns (n, q), the depth (tap, m) with m fastest.
// STRIDED: the outputs q ≡ o (mod stride) are a phase of their own, for every o: all of them have the same taps, those with
// k·dilation ≡ o + pad, and the product of a phase has no holes. Its columns are (n, j) with q = j·stride + o.
// Dispatch: row tiles fastest, then column tiles, then phases, then groups, in workgroups folded into two dimensions; what
// a tile is says the body's file.

#include "shared/linear.wgsl"

fn channels() -> u32 {
    return params.m_len;
}

fn source_plane() -> u32 {
    return params.output_plane;
}

fn source_sizes() -> vec3<u32> {
    return axes(params.output_z, params.output_y, params.output_x);
}

fn result_plane() -> u32 {
    return params.input_plane;
}

fn result_channel(slice: Slice, row: u32) -> u32 {
    return (params.group_first + slice.group) * params.c_per_group + row;
}

#if STRIDED
// What is to be known of one axis of a phase that begins at `offset`: its taps, the first of them, and that one's shift.
fn axis_taps(offset: u32, pad: u32, stride: u32, dilation: u32, kernel: u32, step: u32) -> vec3<i32> {
    let residue = (offset + pad) % stride;
    var first = 0u;
    while first < min(step, kernel) && first * dilation % stride != residue {
        first++;
    }
    // No tap reaches the phase.
    if first >= min(step, kernel) {
        return vec3<i32>();
    }
    let shift = (i32(offset + pad) - i32(first * dilation)) / i32(stride);
    return vec3<i32>(i32((kernel - 1u - first) / step + 1u), i32(first), shift);
}

fn find_slice(i: u32) -> Slice {
    let strides = axes(params.stride_z, params.stride_y, params.stride_x);
    let phases = strides.x * strides.y * strides.z;
    let offset = unflat(i % phases, strides);
    let kernel = kernel_sizes();
    let z = axis_taps(offset.x, params.pad_z, strides.x, params.dilation_z, kernel.x, params.tap_step_z);
    let y = axis_taps(offset.y, params.pad_y, strides.y, params.dilation_y, kernel.y, params.tap_step_y);
    let x = axis_taps(offset.z, params.pad_x, strides.z, params.dilation_x, kernel.z, params.tap_step_x);
    var taps = vec3<u32>(vec3<i32>(z.x, y.x, x.x));
    if taps.x * taps.y * taps.z == 0u {
        taps = vec3<u32>();
    }
    return Slice(i / phases, taps, vec3<u32>(vec3<i32>(z.y, y.y, x.y)), vec3<i32>(z.z, y.z, x.z), offset);
}

fn tap_shift(slice: Slice, tap: vec3<u32>) -> vec3<i32> {
    let strides = axes(params.stride_z, params.stride_y, params.stride_x);
    let steps = axes(params.tap_step_z, params.tap_step_y, params.tap_step_x);
    let dilations = axes(params.dilation_z, params.dilation_y, params.dilation_x);
    // A whole number: a step is the least for which it is.
    return slice.shift - vec3<i32>(tap * (steps * dilations / strides));
}

fn tap_number(slice: Slice, tap: vec3<u32>) -> u32 {
    let k = slice.first + tap * axes(params.tap_step_z, params.tap_step_y, params.tap_step_x);
    return (k.x * params.kernel_y + k.y) * params.kernel_x + k.z;
}

fn phase_sizes() -> vec3<u32> {
    return axes(params.phase_z, params.phase_y, params.phase_x);
}

// Sample and number in the phase of a column.
fn column_place(column: u32) -> vec2<u32> {
    let plane = params.phase_z * params.phase_y * params.phase_x;
    return vec2<u32>(column / plane, column % plane);
}

// The output position of a column.
fn result_position(number: u32, slice: Slice) -> vec3<u32> {
    return unflat(number, phase_sizes()) * axes(params.stride_z, params.stride_y, params.stride_x) + slice.offset;
}

fn is_inside(q: vec3<u32>) -> bool {
    return q.x < params.input_z && q.y < params.input_y && q.z < params.input_x;
}

// The index of a column's output in channel 0, or NOWHERE.
fn result_index(column: u32, slice: Slice) -> u32 {
    let place = column_place(column);
    let q = result_position(place.y, slice);
    let at = place.x * params.c_total * params.input_plane + (q.x * params.input_y + q.y) * params.input_x + q.z;
    return select(NOWHERE, at, column < params.columns && is_inside(q));
}
#else
fn find_slice(i: u32) -> Slice {
    return Slice(i, kernel_sizes(), vec3<u32>(), vec3<i32>(), vec3<u32>());
}

fn tap_shift(slice: Slice, tap: vec3<u32>) -> vec3<i32> {
    return -vec3<i32>(tap * axes(params.dilation_z, params.dilation_y, params.dilation_x));
}

fn tap_number(slice: Slice, tap: vec3<u32>) -> u32 {
    return (tap.x * params.kernel_y + tap.y) * params.kernel_x + tap.z;
}

// The index of a column's output in channel 0, or NOWHERE.
fn result_index(column: u32, slice: Slice) -> u32 {
    let n = column / params.input_plane;
    return select(NOWHERE, n * (params.c_total - 1u) * params.input_plane + column, column < params.columns);
}
#endif

fn find_column(column: u32, slice: Slice) -> Column {
    let channel = (params.group_first + slice.group) * params.m_per_group + params.m_first;
#if STRIDED
    let place = column_place(column);
    let inside = column < params.columns && is_inside(result_position(place.y, slice));
    let n = place.x;
    var origin = vec3<i32>(unflat(place.y, phase_sizes()));
#else
    let n = column / params.input_plane;
    let q = column % params.input_plane;
    let inside = column < params.columns;
#endif
    let base = i32((n * params.m_total + channel) * params.output_plane);
#if POINTWISE
    return Column(base + i32(q), vec3<i32>(select(FAR, 0, inside), 0, 0));
#else
#if !STRIDED
    let position = unflat(q, axes(params.input_z, params.input_y, params.input_x));
    var origin = vec3<i32>(position + axes(params.pad_z, params.pad_y, params.pad_x));
#endif
    let at = base + flat(origin, source_sizes());
    origin.x = select(FAR, origin.x, inside);
    return Column(at, origin);
#endif
}

#if SCALAR_WEIGHTS
// The index of a row's weight for a tap (its number) and channel.
fn weight_index(slice: Slice, tap: u32, channel: u32, row: u32) -> u32 {
    return ((slice.group * params.taps + tap) * params.c_per_group + row) * params.pitch * 4u + channel;
}
#else
#if ROWS
// The index of four rows' weights for a tap (its number) and channel; they lie turned around, rows fastest.
fn weights_index(slice: Slice, tap: u32, channel: u32, row: u32) -> u32 {
    return ((slice.group * params.taps + tap) * params.m_len + channel) * params.pitch + row / 4u;
}
#else
// The index of a row's weights for a tap (its number) and four channels.
fn weights_index(slice: Slice, tap: u32, channel: u32, row: u32) -> u32 {
    return ((slice.group * params.taps + tap) * params.c_per_group + row) * params.pitch + channel / 4u;
}
#endif
#endif

#if DIRECT
#include "shared/linear_direct.wgsl"
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
