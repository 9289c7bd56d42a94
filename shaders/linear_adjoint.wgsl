// linear_adjoint: y[n,c,q] = epilogue(Σ_terms Σ_{m,k} W[m,c,k] · part(x[n,m, (q + pad − k·dilation)/stride])), over the
// taps for which the division leaves no remainder: the transposed map of linear_forward, gathered.
//
// Epilogues: as linear_forward's, with channels c. A term reads its own source and weights.
// Shapes: source: batch × M × output; output, factor's positions: batch × C × input, "input" and "output" being those of
// the convolution; weights: shared/linear.wgsl.
// As a matrix product: rows are c, columns (n, q), the depth (tap, m) with m fastest.
// STRIDED: the outputs q ≡ o (mod stride) are a phase of their own, for every o: all of them have the same taps, those with
// k·dilation ≡ o + pad, and the product of a phase has no holes. Its columns are (n, j) with q = j·stride + o.
// MERGED: all phases are rows of one product, (o, c) with c fastest; its taps are the shifts that lead some phase to a
// value, with weights of 0 for the others. For few channels: each value is read once for all phases.
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

fn input_sizes() -> vec3<u32> {
    return axes(params.input_z, params.input_y, params.input_x);
}

fn result_channel(slice: Slice, row: u32) -> u32 {
    return (params.group_first + slice.group) * params.c_per_group + row;
}

fn phase_sizes() -> vec3<u32> {
    return axes(params.phase_z, params.phase_y, params.phase_x);
}

// Sample and number in the phase of a column.
fn column_place(column: u32) -> vec2<u32> {
    let plane = params.phase_z * params.phase_y * params.phase_x;
    return vec2<u32>(column / plane, column % plane);
}

fn is_inside(q: vec3<u32>) -> bool {
    return q.x < params.input_z && q.y < params.input_y && q.z < params.input_x;
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
    let steps = axes(params.tap_step_z, params.tap_step_y, params.tap_step_x);
    let first = vec3<u32>(vec3<i32>(z.y, y.y, x.y)) * kernel_strides();
    // Whole numbers: a step is the least for which they are.
    let shifts = vec3<i32>(steps * axes(params.dilation_z, params.dilation_y, params.dilation_x) / strides);
    let numbers = steps * kernel_strides();
    return Slice(i / phases, taps, first.x + first.y + first.z, numbers, vec3<i32>(z.z, y.z, x.z), -shifts, offset);
}

// The output position of a column.
fn result_position(number: u32, slice: Slice) -> vec3<u32> {
    return unflat(number, phase_sizes()) * axes(params.stride_z, params.stride_y, params.stride_x) + slice.offset;
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
    let dilations = vec3<i32>(axes(params.dilation_z, params.dilation_y, params.dilation_x));
    return Slice(i, kernel_sizes(), 0u, kernel_strides(), vec3<i32>(), -dilations, vec3<u32>());
}

#if MERGED
// The column, or NOWHERE: where its outputs lie, only the rows know.
fn result_index(column: u32, slice: Slice) -> u32 {
    return select(NOWHERE, column, column < params.columns);
}

// Stores four rows' sums of a column, as far as there are so many rows and their phases so many positions.
fn store_rows(ending: Ending, column: u32, row: u32, sums: vec4<f32>) {
    if column == NOWHERE {
        return;
    }
    let strides = axes(params.stride_z, params.stride_y, params.stride_x);
    let place = column_place(column);
    let corner = unflat(place.y, phase_sizes()) * strides;
    let count = min(4u, ending.rows - min(row, ending.rows));
    for (var r = 0u; r < count; r++) {
        let phase = (row + r) / params.c_per_group;
        let q = corner + unflat(phase, strides);
        if is_inside(q) {
            let at = place.x * params.c_total * params.input_plane + u32(flat(vec3<i32>(q), input_sizes()));
            finish(ending, at, ending.channel + row + r - phase * params.c_per_group, sums[r]);
        }
    }
}
#else
// The index of a column's output in channel 0, or NOWHERE.
fn result_index(column: u32, slice: Slice) -> u32 {
    let n = column / params.input_plane;
    return select(NOWHERE, n * (params.c_total - 1u) * params.input_plane + column, column < params.columns);
}
#endif
#endif

// The index of a sample's first source value.
fn source_base(n: u32, slice: Slice) -> i32 {
    let channel = (params.group_first + slice.group) * params.m_per_group + params.m_first;
    return i32((n * params.m_total + channel) * params.output_plane);
}

// The column of a position: of an input, or with STRIDED and MERGED of a phase's one.
fn column_at(n: u32, position: vec3<u32>, slice: Slice) -> Column {
#if STRIDED
    let origin = vec3<i32>(position);
#else
    let origin = vec3<i32>(position + axes(params.pad_z, params.pad_y, params.pad_x));
#endif
    return Column(source_base(n, slice) + flat(origin, source_sizes()), origin);
}

fn find_column(column: u32, slice: Slice) -> Column {
#if POINTWISE
    let n = column / params.input_plane;
    let at = source_base(n, slice) + i32(column % params.input_plane);
    return Column(at, vec3<i32>(select(FAR, 0, column < params.columns), 0, 0));
#else
#if PHASES
    let place = column_place(column);
    let position = unflat(place.y, phase_sizes());
    let n = place.x;
#else
    let position = unflat(column % params.input_plane, input_sizes());
    let n = column / params.input_plane;
#endif
    var inside = column < params.columns;
#if STRIDED
    inside = inside && is_inside(result_position(place.y, slice));
#endif
    var found = column_at(n, position, slice);
    found.origin.x = select(FAR, found.origin.x, inside);
    return found;
#endif
}

#if WINDOW
fn grid_sizes() -> vec3<u32> {
#if STRIDED
    return phase_sizes();
#else
    return input_sizes();
#endif
}

// Rows of the source from an output's value to that of the one below.
fn window_step() -> u32 {
    return 1u;
}

// All taps are one walk, from the last one to the first: that is how their values follow each other.
fn walks() -> u32 {
    return 1u;
}

fn find_walk(slice: Slice, r: u32) -> Walk {
    let last = slice.taps.y - 1u;
    return Walk(slice.taps.y, slice.shift.y - i32(last), last * slice.numbers.y, -i32(slice.numbers.y));
}

// The index of an output in channel 0, and from there to the one below.
fn result_at(n: u32, position: vec3<u32>, slice: Slice) -> u32 {
#if STRIDED
    let q = position * axes(params.stride_z, params.stride_y, params.stride_x) + slice.offset;
#else
    let q = position;
#endif
    return n * params.c_total * params.input_plane + u32(flat(vec3<i32>(q), input_sizes()));
}

fn result_step() -> u32 {
#if STRIDED
    return params.stride_y * params.input_x;
#else
    return params.input_x;
#endif
}

// How many outputs of a window there are.
fn results_below(position: vec3<u32>, slice: Slice) -> u32 {
#if STRIDED
    let q = position * axes(params.stride_z, params.stride_y, params.stride_x) + slice.offset;
    let rows = (params.input_y - min(q.y, params.input_y) + params.stride_y - 1u) / params.stride_y;
    return select(0u, min(HEIGHT, rows), q.x < params.input_z && q.z < params.input_x);
#else
    return min(HEIGHT, params.input_y - min(position.y, params.input_y));
#endif
}
#endif

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
