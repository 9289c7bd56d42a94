// The matrix product of the linear kernels without workgroup memory: for few channels or few rows, and for software, where
// barriers cost most.
//
// A workgroup computes 4·ROW_VECS rows × 4·THREADS columns; a thread sums all of the rows for four columns that lie THREADS
// apart. The rows follow from the workgroup alone, so that its threads read the same weights.

const COLUMNS: u32 = 4u * THREADS;

// The values of a term's source for four columns, 0 for those that have none.
fn values(term: u32, at: vec4<u32>, has: vec4<bool>) -> vec4<f32> {
    let found = vec4<f32>(
        source_at(term, at.x),
        source_at(term, at.y),
        source_at(term, at.z),
        source_at(term, at.w),
    );
    return select(vec4<f32>(), found, has);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let number = params.work_first + workgroup_index(workgroup, params.grid_width);
    if number >= params.work {
        return;
    }
    let row = number % params.row_tiles * (4u * ROW_VECS);
    let first = (number / params.row_tiles) % params.column_tiles * COLUMNS + thread;
    let slice = find_slice(number / (params.row_tiles * params.column_tiles));
    let column_0 = find_column(first, slice);
    let column_1 = find_column(first + THREADS, slice);
    let column_2 = find_column(first + 2u * THREADS, slice);
    let column_3 = find_column(first + 3u * THREADS, slice);
    let bases = vec4<i32>(column_0.base, column_1.base, column_2.base, column_3.base);
    // Where the weights of each four rows lie, from the first four's on. Rows past the last are not stored: any will do.
    let rows = vec4<u32>(row / 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let lanes = min(rows, vec4<u32>(params.pitch - 1u)) - vec4<u32>(rows.x);
    // A row's sums for the four columns.
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
#if ROWS_8
    var sum_4 = vec4<f32>();
    var sum_5 = vec4<f32>();
    var sum_6 = vec4<f32>();
    var sum_7 = vec4<f32>();
#endif
#if ROWS_16
    var sum_8 = vec4<f32>();
    var sum_9 = vec4<f32>();
    var sum_10 = vec4<f32>();
    var sum_11 = vec4<f32>();
    var sum_12 = vec4<f32>();
    var sum_13 = vec4<f32>();
    var sum_14 = vec4<f32>();
    var sum_15 = vec4<f32>();
#endif
    let taps = slice.taps.x * slice.taps.y * slice.taps.z;
    var tap = vec3<u32>();
    for (var t = 0u; t < taps; t++) {
        let k = tap_number(slice, tap);
#if POINTWISE
        let origins = vec4<i32>(column_0.origin.x, column_1.origin.x, column_2.origin.x, column_3.origin.x);
        let has = origins != vec4<i32>(FAR);
        let shift = 0;
#else
        let offset = tap_shift(slice, tap);
        let has = vec4<bool>(
            reaches(column_0, offset),
            reaches(column_1, offset),
            reaches(column_2, offset),
            reaches(column_3, offset),
        );
        let shift = flat(offset, source_sizes());
#endif
        var w = weights_index(slice, k, 0u, row);
        // Columns that have no value here read the first one over and over.
        var at = select(vec4<u32>(), vec4<u32>(bases + vec4<i32>(shift)), has);
        let step = select(vec4<u32>(), vec4<u32>(source_plane()), has);
        for (var c = 0u; c < channels(); c++) {
            let x0 = values(0u, at, has);
            let w0_0 = weight_at(0u, w);
            sum_0 = fma(vec4<f32>(w0_0.x), x0, sum_0);
            sum_1 = fma(vec4<f32>(w0_0.y), x0, sum_1);
            sum_2 = fma(vec4<f32>(w0_0.z), x0, sum_2);
            sum_3 = fma(vec4<f32>(w0_0.w), x0, sum_3);
#if ROWS_8
            let w0_1 = weight_at(0u, w + lanes.y);
            sum_4 = fma(vec4<f32>(w0_1.x), x0, sum_4);
            sum_5 = fma(vec4<f32>(w0_1.y), x0, sum_5);
            sum_6 = fma(vec4<f32>(w0_1.z), x0, sum_6);
            sum_7 = fma(vec4<f32>(w0_1.w), x0, sum_7);
#endif
#if ROWS_16
            let w0_2 = weight_at(0u, w + lanes.z);
            sum_8 = fma(vec4<f32>(w0_2.x), x0, sum_8);
            sum_9 = fma(vec4<f32>(w0_2.y), x0, sum_9);
            sum_10 = fma(vec4<f32>(w0_2.z), x0, sum_10);
            sum_11 = fma(vec4<f32>(w0_2.w), x0, sum_11);
            let w0_3 = weight_at(0u, w + lanes.w);
            sum_12 = fma(vec4<f32>(w0_3.x), x0, sum_12);
            sum_13 = fma(vec4<f32>(w0_3.y), x0, sum_13);
            sum_14 = fma(vec4<f32>(w0_3.z), x0, sum_14);
            sum_15 = fma(vec4<f32>(w0_3.w), x0, sum_15);
#endif
#if TWO_TERMS
            let x1 = values(1u, at, has);
            let w1_0 = weight_at(1u, w);
            sum_0 = fma(vec4<f32>(w1_0.x), x1, sum_0);
            sum_1 = fma(vec4<f32>(w1_0.y), x1, sum_1);
            sum_2 = fma(vec4<f32>(w1_0.z), x1, sum_2);
            sum_3 = fma(vec4<f32>(w1_0.w), x1, sum_3);
#if ROWS_8
            let w1_1 = weight_at(1u, w + lanes.y);
            sum_4 = fma(vec4<f32>(w1_1.x), x1, sum_4);
            sum_5 = fma(vec4<f32>(w1_1.y), x1, sum_5);
            sum_6 = fma(vec4<f32>(w1_1.z), x1, sum_6);
            sum_7 = fma(vec4<f32>(w1_1.w), x1, sum_7);
#endif
#if ROWS_16
            let w1_2 = weight_at(1u, w + lanes.z);
            sum_8 = fma(vec4<f32>(w1_2.x), x1, sum_8);
            sum_9 = fma(vec4<f32>(w1_2.y), x1, sum_9);
            sum_10 = fma(vec4<f32>(w1_2.z), x1, sum_10);
            sum_11 = fma(vec4<f32>(w1_2.w), x1, sum_11);
            let w1_3 = weight_at(1u, w + lanes.w);
            sum_12 = fma(vec4<f32>(w1_3.x), x1, sum_12);
            sum_13 = fma(vec4<f32>(w1_3.y), x1, sum_13);
            sum_14 = fma(vec4<f32>(w1_3.z), x1, sum_14);
            sum_15 = fma(vec4<f32>(w1_3.w), x1, sum_15);
#endif
#endif
            at += step;
            w += params.pitch;
        }
        tap = next_tap(tap, slice.taps);
    }

    // A loop with a bound that is only known at run time, so that drivers compile one epilogue.
    for (var i = 0u; i < params.thread_sums; i++) {
        var four = mat4x4<f32>(sum_0, sum_1, sum_2, sum_3);
        switch i / 4u {
#if ROWS_8
            case 1u: {
                four = mat4x4<f32>(sum_4, sum_5, sum_6, sum_7);
            }
#endif
#if ROWS_16
            case 2u: {
                four = mat4x4<f32>(sum_8, sum_9, sum_10, sum_11);
            }
            case 3u: {
                four = mat4x4<f32>(sum_12, sum_13, sum_14, sum_15);
            }
#endif
            default: {}
        }
        let j = i % 4u;
        let sums = vec4<f32>(four[0][j], four[1][j], four[2][j], four[3][j]);
        store_rows(result_index(first + j * THREADS, slice), slice, row + i / 4u * 4u, sums);
    }
}
