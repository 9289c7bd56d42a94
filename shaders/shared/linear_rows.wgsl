// The matrix product of the linear kernels without workgroup memory: for few channels or few rows, and for software, where
// barriers cost most.
//
// A workgroup computes 4·ROW_VECS rows × 4·THREADS columns (COLUMNS_8: 8·THREADS); a thread sums all of the rows for four
// columns (COLUMNS_8: eight) that lie THREADS apart. The rows follow from the workgroup alone, so that its threads read the
// same weights.

#if COLUMNS_8
const THREAD_COLUMNS: u32 = 8u;
#else
const THREAD_COLUMNS: u32 = 4u;
#endif
const COLUMNS: u32 = THREAD_COLUMNS * THREADS;
// Blocks of four rows × four columns that a thread sums.
const BLOCKS: u32 = ROW_VECS * THREAD_COLUMNS / 4u;

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

// The weights of sixteen rows, in fours. They lie `lanes` apart; those that a tile lacks are never read.
fn row_weights(term: u32, w: u32, lanes: vec4<u32>, own_lane: u32) -> mat4x4<f32> {
#if BROADCAST
    // A software adapter loads for each thread, even what is the same for all: every thread loads other rows, and hands
    // them to the rest.
    let own = weight_at(term, w + own_lane);
    return mat4x4<f32>(
        subgroupBroadcast(own, 0u),
        subgroupBroadcast(own, 1u),
        subgroupBroadcast(own, 2u),
        subgroupBroadcast(own, 3u),
    );
#else
    return mat4x4<f32>(
        weight_at(term, w),
        weight_at(term, w + lanes.y),
        weight_at(term, w + lanes.z),
        weight_at(term, w + lanes.w),
    );
#endif
}

// Four rows' sums (each for four columns) with what their weights give for the columns' values.
fn add_product(sums: mat4x4<f32>, w: vec4<f32>, x: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4<f32>(w.x), x, sums[0]),
        fma(vec4<f32>(w.y), x, sums[1]),
        fma(vec4<f32>(w.z), x, sums[2]),
        fma(vec4<f32>(w.w), x, sums[3]),
    );
}

// Four of a thread's columns, as Column is one.
struct Columns {
    base: vec4<i32>,
    z: vec4<i32>,
    y: vec4<i32>,
    x: vec4<i32>,
}

fn find_columns(first: u32, slice: Slice) -> Columns {
    let a = find_column(first, slice);
    let b = find_column(first + THREADS, slice);
    let c = find_column(first + 2u * THREADS, slice);
    let d = find_column(first + 3u * THREADS, slice);
    return Columns(
        vec4<i32>(a.base, b.base, c.base, d.base),
        vec4<i32>(a.origin.x, b.origin.x, c.origin.x, d.origin.x),
        vec4<i32>(a.origin.y, b.origin.y, c.origin.y, d.origin.y),
        vec4<i32>(a.origin.z, b.origin.z, c.origin.z, d.origin.z),
    );
}

// Where the outputs of four of a thread's columns lie, as result_index.
fn result_indices(first: u32, slice: Slice) -> vec4<u32> {
    return vec4<u32>(
        result_index(first, slice),
        result_index(first + THREADS, slice),
        result_index(first + 2u * THREADS, slice),
        result_index(first + 3u * THREADS, slice),
    );
}

#if !POINTWISE
// Which of four positions lie inside of an axis of this size: below 0 is a huge unsigned number.
fn inside(positions: vec4<i32>, shift: i32, size: u32) -> vec4<bool> {
    return vec4<u32>(positions + vec4<i32>(shift)) < vec4<u32>(size);
}
#endif

// Which of four columns have a value at some tap of a line.
fn in_line(columns: Columns, shift: vec3<i32>, sizes: vec3<u32>) -> vec4<bool> {
#if POINTWISE
    return columns.z != vec4<i32>(FAR);
#else
    return inside(columns.z, shift.x, sizes.x) & inside(columns.y, shift.y, sizes.y);
#endif
}

// Which of them have one at a tap of that line.
fn in_source(columns: Columns, line: vec4<bool>, shift: vec3<i32>, sizes: vec3<u32>) -> vec4<bool> {
#if POINTWISE
    return line;
#else
    return line & inside(columns.x, shift.z, sizes.z);
#endif
}

// Where their values lie. Columns that have none read what lies at 0, and a channel further each time as all do.
fn places(columns: Columns, value: i32, has: vec4<bool>) -> vec4<u32> {
    return select(vec4<u32>(), vec4<u32>(columns.base + vec4<i32>(value)), has);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
#if BROADCAST
    @builtin(subgroup_invocation_id) subgroup_thread: u32,
#endif
) {
    let number = params.work_first + workgroup_index(workgroup, params.grid_width);
    let row = number % params.row_tiles * (4u * ROW_VECS);
    let first = (number / params.row_tiles) % params.column_tiles * COLUMNS + thread;
    let slice = find_slice(number / (params.row_tiles * params.column_tiles));
    let columns_0 = find_columns(first, slice);
#if COLUMNS_8
    let columns_1 = find_columns(first + 4u * THREADS, slice);
#endif
    // Where the weights of each four rows lie, from the first four's on. Rows past the last are not stored: any will do.
    let rows = vec4<u32>(row / 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let lanes = min(rows, vec4<u32>(params.pitch - 1u)) - vec4<u32>(rows.x);
#if BROADCAST
    let own_lane = lanes[min(subgroup_thread, 3u)];
#else
    let own_lane = 0u;
#endif
    let pitch = params.pitch;
    let depth = channels();
    let plane = source_plane();
    let sizes = source_sizes();
    // How much further weights and values lie from one tap to the next, in each axis.
    let weights_0 = weights_index(slice, 0u, 0u, row);
    let weights_tap = weights_index(slice, 1u, 0u, row) - weights_0;
    let weights_steps = slice.numbers * weights_tap;
    let value_steps = slice.shifts * vec3<i32>(i32(sizes.y * sizes.z), i32(sizes.z), 1);
    let weights_next = weights_steps.z - depth * pitch;
    // A workgroup past the last tile sums and stores nothing. To return at once would make software mask all the rest.
    let is_work = number < params.work;
    // Four rows' sums for four columns: sum_RC.
    var sum_00 = mat4x4<f32>();
#if ROWS_8
    var sum_10 = mat4x4<f32>();
#endif
#if ROWS_12
    var sum_20 = mat4x4<f32>();
#endif
#if ROWS_16
    var sum_30 = mat4x4<f32>();
#endif
#if COLUMNS_8
    var sum_01 = mat4x4<f32>();
#if ROWS_8
    var sum_11 = mat4x4<f32>();
#endif
#if ROWS_12
    var sum_21 = mat4x4<f32>();
#endif
#if ROWS_16
    var sum_31 = mat4x4<f32>();
#endif
#endif
    var shift = slice.shift;
    var weights_z = weights_0 + slice.number * weights_tap;
    var values_z = flat(slice.shift, sizes);
    let taps_z = select(0u, slice.taps.x, is_work);
    for (var tap_z = 0u; tap_z < taps_z; tap_z++) {
        var weights_y = weights_z;
        var values_y = values_z;
        shift.y = slice.shift.y;
        for (var tap_y = 0u; tap_y < slice.taps.y; tap_y++) {
            shift.z = slice.shift.z;
            let line_0 = in_line(columns_0, shift, sizes);
            var has_0 = in_source(columns_0, line_0, shift, sizes);
            var at_0 = places(columns_0, values_y, has_0);
#if COLUMNS_8
            let line_1 = in_line(columns_1, shift, sizes);
            var has_1 = in_source(columns_1, line_1, shift, sizes);
            var at_1 = places(columns_1, values_y, has_1);
#endif
            var w = weights_y;
            var value = values_y;
            var channel = 0u;
            // The taps of a line and their channels are one loop: software takes long to begin and to end one.
            for (var i = 0u; i < slice.taps.z * depth; i++) {
                let x_0 = values(0u, at_0, has_0);
#if COLUMNS_8
                let x_1 = values(0u, at_1, has_1);
#endif
                let ws = row_weights(0u, w, lanes, own_lane);
                sum_00 = add_product(sum_00, ws[0], x_0);
#if COLUMNS_8
                sum_01 = add_product(sum_01, ws[0], x_1);
#endif
#if ROWS_8
                sum_10 = add_product(sum_10, ws[1], x_0);
#if COLUMNS_8
                sum_11 = add_product(sum_11, ws[1], x_1);
#endif
#endif
#if ROWS_12
                sum_20 = add_product(sum_20, ws[2], x_0);
#if COLUMNS_8
                sum_21 = add_product(sum_21, ws[2], x_1);
#endif
#endif
#if ROWS_16
                sum_30 = add_product(sum_30, ws[3], x_0);
#if COLUMNS_8
                sum_31 = add_product(sum_31, ws[3], x_1);
#endif
#endif
#if TWO_TERMS
                let v_0 = values(1u, at_0, has_0);
#if COLUMNS_8
                let v_1 = values(1u, at_1, has_1);
#endif
                let us = row_weights(1u, w, lanes, own_lane);
                sum_00 = add_product(sum_00, us[0], v_0);
#if COLUMNS_8
                sum_01 = add_product(sum_01, us[0], v_1);
#endif
#if ROWS_8
                sum_10 = add_product(sum_10, us[1], v_0);
#if COLUMNS_8
                sum_11 = add_product(sum_11, us[1], v_1);
#endif
#endif
#if ROWS_12
                sum_20 = add_product(sum_20, us[2], v_0);
#if COLUMNS_8
                sum_21 = add_product(sum_21, us[2], v_1);
#endif
#endif
#if ROWS_16
                sum_30 = add_product(sum_30, us[3], v_0);
#if COLUMNS_8
                sum_31 = add_product(sum_31, us[3], v_1);
#endif
#endif
#endif
                w += pitch;
                at_0 += vec4<u32>(plane);
#if COLUMNS_8
                at_1 += vec4<u32>(plane);
#endif
                channel++;
                if channel == depth {
                    channel = 0u;
                    w += weights_next;
                    value += value_steps.z;
                    shift.z += slice.shifts.z;
                    has_0 = in_source(columns_0, line_0, shift, sizes);
                    at_0 = places(columns_0, value, has_0);
#if COLUMNS_8
                    has_1 = in_source(columns_1, line_1, shift, sizes);
                    at_1 = places(columns_1, value, has_1);
#endif
                }
            }
            weights_y += weights_steps.y;
            values_y += value_steps.y;
            shift.y += slice.shifts.y;
        }
        weights_z += weights_steps.x;
        values_z += value_steps.x;
        shift.x += slice.shifts.x;
    }

    let ends_0 = result_indices(first, slice);
#if COLUMNS_8
    let ends_1 = result_indices(first + 4u * THREADS, slice);
#endif
    // Loops with bounds that are only known at run time, so that drivers compile one epilogue.
    let ending = make_ending(slice);
    let block_columns = params.thread_sums / BLOCKS;
    let blocks = select(0u, params.thread_sums / 4u, is_work);
    for (var i = 0u; i < blocks; i++) {
        var four = sum_00;
        switch i {
#if ROWS_8
            case 1u: {
                four = sum_10;
            }
#endif
#if ROWS_12
            case 2u: {
                four = sum_20;
            }
#endif
#if ROWS_16
            case 3u: {
                four = sum_30;
            }
#endif
#if COLUMNS_8
            case ROW_VECS: {
                four = sum_01;
            }
#if ROWS_8
            case ROW_VECS + 1u: {
                four = sum_11;
            }
#endif
#if ROWS_12
            case ROW_VECS + 2u: {
                four = sum_21;
            }
#endif
#if ROWS_16
            case ROW_VECS + 3u: {
                four = sum_31;
            }
#endif
#endif
            default: {}
        }
#if COLUMNS_8
        let ends = select(ends_0, ends_1, i >= ROW_VECS);
#else
        let ends = ends_0;
#endif
        for (var j = 0u; j < block_columns; j++) {
            let sums = vec4<f32>(four[0][j], four[1][j], four[2][j], four[3][j]);
            store_rows(ending, ends[j], row + i % ROW_VECS * 4u, sums);
        }
    }
}
