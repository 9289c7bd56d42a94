// The matrix product of the linear kernels without workgroup memory: for few channels or few rows, and for software, where
// barriers cost most.
//
// A workgroup computes 4·ROW_VECS rows × 2·THREADS columns; a thread sums all of the rows for two columns that lie THREADS
// apart. The rows follow from the workgroup alone, so that its threads read the same weights.

const COLUMNS: u32 = 2u * THREADS;

#if !ADJOINT
fn row_weights(term: u32, slice: Slice, tap: u32, channel: u32, row: u32) -> vec4<f32> {
    // Rows past the last are not stored: any weights will do.
    return weight_at(term, weights_index(slice, tap, channel, min(row, params.pitch * 4u - 4u)));
}
#else
fn row_weights(term: u32, slice: Slice, tap: u32, channel: u32, row: u32) -> vec4<f32> {
    let at = weight_index(slice, tap, channel, 0u);
    let pitch = params.pitch * 4u;
    let last = params.rows - 1u;
    return vec4<f32>(
        weight_at(term, at + min(row, last) * pitch),
        weight_at(term, at + min(row + 1u, last) * pitch),
        weight_at(term, at + min(row + 2u, last) * pitch),
        weight_at(term, at + min(row + 3u, last) * pitch),
    );
}
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let number = params.work_first + workgroup_index(workgroup, params.grid_width);
    if number >= params.work {
        return;
    }
    let row = number % params.row_tiles * (4u * ROW_VECS);
    let first = (number / params.row_tiles) % params.column_tiles * COLUMNS + thread;
    let slice = find_slice(number / (params.row_tiles * params.column_tiles));
    let column_a = find_column(first, slice);
    let column_b = find_column(first + THREADS, slice);
    var a_0 = vec4<f32>();
    var b_0 = vec4<f32>();
#if ROWS_8
    var a_1 = vec4<f32>();
    var b_1 = vec4<f32>();
#endif
#if ROWS_16
    var a_2 = vec4<f32>();
    var b_2 = vec4<f32>();
    var a_3 = vec4<f32>();
    var b_3 = vec4<f32>();
#endif
    let taps = slice.taps.x * slice.taps.y * slice.taps.z;
    var tap = vec3<u32>();
    for (var t = 0u; t < taps; t++) {
        let k = tap_number(slice, tap);
#if POINTWISE
        let has_a = column_a.origin.x != FAR;
        let has_b = column_b.origin.x != FAR;
        let shift = 0;
#else
        let offset = tap_shift(slice, tap);
        let has_a = reaches(column_a, offset);
        let has_b = reaches(column_b, offset);
        let shift = flat(offset, source_sizes());
#endif
        var at_a = select(0u, u32(column_a.base + shift), has_a);
        var at_b = select(0u, u32(column_b.base + shift), has_b);
        let step_a = select(0u, source_plane(), has_a);
        let step_b = select(0u, source_plane(), has_b);
        for (var c = 0u; c < channels(); c++) {
            let x0_a = select(0.0, source_at(0u, at_a), has_a);
            let x0_b = select(0.0, source_at(0u, at_b), has_b);
            let w0_0 = row_weights(0u, slice, k, c, row);
            a_0 = fma(w0_0, vec4<f32>(x0_a), a_0);
            b_0 = fma(w0_0, vec4<f32>(x0_b), b_0);
#if ROWS_8
            let w0_1 = row_weights(0u, slice, k, c, row + 4u);
            a_1 = fma(w0_1, vec4<f32>(x0_a), a_1);
            b_1 = fma(w0_1, vec4<f32>(x0_b), b_1);
#endif
#if ROWS_16
            let w0_2 = row_weights(0u, slice, k, c, row + 8u);
            a_2 = fma(w0_2, vec4<f32>(x0_a), a_2);
            b_2 = fma(w0_2, vec4<f32>(x0_b), b_2);
            let w0_3 = row_weights(0u, slice, k, c, row + 12u);
            a_3 = fma(w0_3, vec4<f32>(x0_a), a_3);
            b_3 = fma(w0_3, vec4<f32>(x0_b), b_3);
#endif
#if TWO_TERMS
            let x1_a = select(0.0, source_at(1u, at_a), has_a);
            let x1_b = select(0.0, source_at(1u, at_b), has_b);
            let w1_0 = row_weights(1u, slice, k, c, row);
            a_0 = fma(w1_0, vec4<f32>(x1_a), a_0);
            b_0 = fma(w1_0, vec4<f32>(x1_b), b_0);
#if ROWS_8
            let w1_1 = row_weights(1u, slice, k, c, row + 4u);
            a_1 = fma(w1_1, vec4<f32>(x1_a), a_1);
            b_1 = fma(w1_1, vec4<f32>(x1_b), b_1);
#endif
#if ROWS_16
            let w1_2 = row_weights(1u, slice, k, c, row + 8u);
            a_2 = fma(w1_2, vec4<f32>(x1_a), a_2);
            b_2 = fma(w1_2, vec4<f32>(x1_b), b_2);
            let w1_3 = row_weights(1u, slice, k, c, row + 12u);
            a_3 = fma(w1_3, vec4<f32>(x1_a), a_3);
            b_3 = fma(w1_3, vec4<f32>(x1_b), b_3);
#endif
#endif
            at_a += step_a;
            at_b += step_b;
        }
        tap = next_tap(tap, slice.taps);
    }

    let to_a = result_index(first, slice);
    let to_b = result_index(first + THREADS, slice);
    store_rows(to_a, slice, row, a_0);
    store_rows(to_b, slice, row, b_0);
#if ROWS_8
    store_rows(to_a, slice, row + 4u, a_1);
    store_rows(to_b, slice, row + 4u, b_1);
#endif
#if ROWS_16
    store_rows(to_a, slice, row + 8u, a_2);
    store_rows(to_b, slice, row + 8u, b_2);
    store_rows(to_a, slice, row + 12u, a_3);
    store_rows(to_b, slice, row + 12u, b_3);
#endif
}
