// Pointwise products of few columns (dense layers on a few samples): bound by reading the weights, which are read once for
// COLUMNS columns, in long runs.
//
// A workgroup of 256 threads computes a tile of COLUMNS columns × 32 rows (forward: 8 threads of four rows × 32 portions
// of the depth) or × 8 rows (adjoint: 8 rows × 32 portions, whose threads lie along the depth, as the weights do). The
// portions' sums are added in a fixed order.

const COLUMNS: u32 = 4u;
const PORTIONS: u32 = 32u;
const LANES: u32 = 8u;
const THREADS: u32 = PORTIONS * LANES;

var<workgroup> sums: array<vec4<f32>, THREADS>;

#if ADJOINT
const ROWS: u32 = LANES;

// For COLUMNS columns, what four depths of a row give.
fn product(term: u32, columns: array<u32, COLUMNS>, slice: Slice, depth: u32, row: u32) -> vec4<f32> {
    let w = weight_at(term, weights_index(slice, 0u, depth, row));
    var sum = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if depth + i < channels() {
            let at = (depth + i) * source_plane();
            let x = vec4<f32>(
                source_at(term, columns[0] + at),
                source_at(term, columns[1] + at),
                source_at(term, columns[2] + at),
                source_at(term, columns[3] + at),
            );
            sum += w[i] * x;
        }
    }
    return sum;
}
#else
const ROWS: u32 = 4u * LANES;
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let number = params.work_first + workgroup_index(workgroup, params.grid_width);
    let is_work = number < params.work;
    let first = (number / params.row_tiles) % params.column_tiles * COLUMNS;
    let slice = find_slice(number / (params.row_tiles * params.column_tiles));
    // Columns past the last read the last one; they are not stored.
    let last = params.columns - 1u;
    let columns = array<u32, COLUMNS>(
        u32(find_column(min(first, last), slice).base),
        u32(find_column(min(first + 1u, last), slice).base),
        u32(find_column(min(first + 2u, last), slice).base),
        u32(find_column(min(first + 3u, last), slice).base),
    );
#if ADJOINT
    let portion = thread % PORTIONS;
    let lane = thread / PORTIONS;
    let row = number % params.row_tiles * ROWS + lane;
    var sum = vec4<f32>();
    if is_work && row < params.rows {
        for (var depth = 4u * portion; depth < channels(); depth += 4u * PORTIONS) {
            sum += product(0u, columns, slice, depth, row);
#if TWO_TERMS
            sum += product(1u, columns, slice, depth, row);
#endif
        }
    }
    sums[lane * PORTIONS + portion] = sum;
    workgroupBarrier();
    for (var half = PORTIONS / 2u; half > 0u; half /= 2u) {
        if portion < half {
            sums[lane * PORTIONS + portion] += sums[lane * PORTIONS + portion + half];
        }
        workgroupBarrier();
    }
    if is_work && row < params.rows && portion < COLUMNS && first + portion < params.columns {
        let at = result_index(first + portion, slice);
        store(make_ending(slice), at, row, sums[lane * PORTIONS][portion]);
    }
#else
    let lane = thread % LANES;
    let portion = thread / LANES;
    let row = number % params.row_tiles * ROWS + lane * 4u;
    // Four rows, for each column.
    var columns_sums = array<vec4<f32>, COLUMNS>();
    if is_work && row < params.rows {
        for (var depth = portion; depth < channels(); depth += PORTIONS) {
            let at = depth * source_plane();
            let w = weight_at(0u, weights_index(slice, 0u, depth, row));
            columns_sums[0] += w * source_at(0u, columns[0] + at);
            columns_sums[1] += w * source_at(0u, columns[1] + at);
            columns_sums[2] += w * source_at(0u, columns[2] + at);
            columns_sums[3] += w * source_at(0u, columns[3] + at);
#if TWO_TERMS
            let v = weight_at(1u, weights_index(slice, 0u, depth, row));
            columns_sums[0] += v * source_at(1u, columns[0] + at);
            columns_sums[1] += v * source_at(1u, columns[1] + at);
            columns_sums[2] += v * source_at(1u, columns[2] + at);
            columns_sums[3] += v * source_at(1u, columns[3] + at);
#endif
        }
    }
    for (var j = 0u; j < COLUMNS; j++) {
        sums[portion * LANES + lane] = columns_sums[j];
        workgroupBarrier();
        for (var half = PORTIONS / 2u; half > 0u; half /= 2u) {
            if portion < half {
                sums[portion * LANES + lane] += sums[(portion + half) * LANES + lane];
            }
            workgroupBarrier();
        }
        if is_work && portion == 0u && first + j < params.columns {
            store_rows(make_ending(slice), result_index(first + j, slice), row, sums[lane]);
        }
        workgroupBarrier();
    }
#endif
}
