// The matrix product of the linear kernels in tiles of TILE_M rows × TILE_N columns, TILE_K of the depth at a time.
// The kernel supplies the loaders `load_weights`, `describe_depth`, `find_column` and `load_source`, and `column_index`.
//
// Drivers unroll the innermost loop, TILE_UNROLL of the depth; the loop around it has a bound that is only known at run
// time, `unrolled_blocks` = TILE_K / TILE_UNROLL, so that they do not unroll that too: software compiles for minutes then.
//
// A workgroup has TILE_M/4 × TILE_N/4 threads. A thread sums 4 consecutive rows × 4 columns that lie TILE_N/4 apart, so
// that neighbouring threads read and store neighbouring columns.

const THREADS_M: u32 = TILE_M / 4u;
const THREADS_N: u32 = TILE_N / 4u;
const THREADS: u32 = THREADS_M * THREADS_N;

// Weights, depth-major, four rows a value.
var<workgroup> tile_weights: array<vec4<f32>, TILE_K * THREADS_M>;
// Source values, depth-major.
var<workgroup> tile_source: array<f32, TILE_K * TILE_N>;
#if !POINTWISE
// For each depth of this step and of the next: offset of its channel, or −1 past the end, and its tap's offsets.
var<workgroup> depths: array<vec4<i32>, 2u * TILE_K>;
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let tile = workgroup_index(workgroup, params.grid_width);
    let row_tile = tile % params.row_tiles;
    let column_tile = (tile / params.row_tiles) % params.column_tiles;
    let group = tile / (params.row_tiles * params.column_tiles);
    // A workgroup past the last tile has nothing to sum or store, but goes through the same barriers.
    let inside = tile < params.work;
    let steps = select(0u, (params.depth + TILE_K - 1u) / TILE_K, inside);

    let load_column = thread % TILE_N;
    let load_depth = thread / TILE_N;
    let column = find_column(column_tile * TILE_N + load_column, group);

    let thread_n = thread % THREADS_N;
    let thread_m = thread / THREADS_N;
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();

#if !POINTWISE
    for (var k = thread; k < TILE_K; k += THREADS) {
        depths[k] = describe_depth(k);
    }
    workgroupBarrier();
#endif
    for (var step = 0u; step < TERMS * steps; step++) {
        let term = select(0u, 1u, step >= steps);
        let first = (step - term * steps) * TILE_K;
        load_weights(term, group, row_tile, first, thread);
        for (var k = load_depth; k < TILE_K; k += THREADS / TILE_N) {
#if POINTWISE
            tile_source[k * TILE_N + load_column] = load_source(term, column, first + k);
#else
            tile_source[k * TILE_N + load_column] = load_source(term, column, depths[(step & 1u) * TILE_K + k]);
#endif
        }
#if !POINTWISE
        // Meanwhile the next step's depths; the second term begins anew.
        let next = select(first + TILE_K, 0u, step + 1u == steps);
        for (var k = thread; k < TILE_K; k += THREADS) {
            depths[((step + 1u) & 1u) * TILE_K + k] = describe_depth(next + k);
        }
#endif
        workgroupBarrier();
        for (var block = 0u; block < params.unrolled_blocks; block++) {
            for (var u = 0u; u < TILE_UNROLL; u++) {
                let k = block * TILE_UNROLL + u;
                let w = tile_weights[k * THREADS_M + thread_m];
                let at = k * TILE_N + thread_n;
                sum_0 += w * tile_source[at];
                sum_1 += w * tile_source[at + THREADS_N];
                sum_2 += w * tile_source[at + 2u * THREADS_N];
                sum_3 += w * tile_source[at + 3u * THREADS_N];
            }
        }
        workgroupBarrier();
    }

    if inside {
        let row = row_tile * TILE_M + thread_m * 4u;
        let column = column_tile * TILE_N + thread_n;
        // Loops with bounds that are only known at run time: a driver that unrolled them would compile sixteen epilogues.
        let rows = min(4u, params.rows - min(row, params.rows));
        let columns = min(4u, (params.columns + THREADS_N - 1u - min(column, params.columns)) / THREADS_N);
        for (var j = 0u; j < columns; j++) {
            let low = select(sum_0, sum_1, j == 1u);
            let high = select(sum_2, sum_3, j == 3u);
            let sums = select(low, high, j >= 2u);
            for (var r = 0u; r < rows; r++) {
                store(column + j * THREADS_N, group, row + r, sums[r]);
            }
        }
    }
}
