// The matrix product of the linear kernels in tiles of TILE_M rows × TILE_N columns, TILE_K of the depth at a time.
//
// A workgroup computes a tile. A thread sums 4 rows × 4 columns, or 8 × 8 (WIDE): rows in fours that lie TILE_M/2 apart,
// columns THREADS_N apart, so that neighbouring threads store neighbouring columns. A step's depth lies in one tap: where
// it reaches is found once. While a step is summed, the next one's values are on their way into registers; with two tiles
// of each kind one barrier a step is enough. Each thread brings one vec4 of weights and four values of a column.
//
// Where four values lie together, they are loaded as a vector: TOGETHER, a column's depths do (planes of one position);
// QUADS, four columns do (planes of whole fours), and a quarter of the threads brings four depths of four columns each.
//
// Software takes ten times longer to compile an unrolled tile: it gets the loop's bound at run time (`depth_blocks`).

#if WIDE
const THREADS_M: u32 = TILE_M / 8u;
const THREADS_N: u32 = TILE_N / 8u;
#else
const THREADS_M: u32 = TILE_M / 4u;
const THREADS_N: u32 = TILE_N / 4u;
#endif
const THREADS: u32 = THREADS_M * THREADS_N;
// The depth in fours.
const BLOCKS: u32 = TILE_K / 4u;
const TILE: u32 = TILE_K * TILE_M / 4u;
const SOURCES: u32 = BLOCKS * TILE_N;

// Two tiles of weights; forward: [depth][four rows], adjoint: [four depths][row].
var<workgroup> tile_weights: array<vec4<f32>, 2u * TILE>;
// Two tiles of source values: [four depths][column].
var<workgroup> tile_source: array<vec4<f32>, 2u * SOURCES>;

// sum + w · x: column k of w holds four rows' weights at depth k.
fn accumulate(sum: vec4<f32>, w: mat4x4<f32>, x: vec4<f32>) -> vec4<f32> {
    let low = fma(w[1], vec4<f32>(x.y), fma(w[0], vec4<f32>(x.x), sum));
    return fma(w[3], vec4<f32>(x.w), fma(w[2], vec4<f32>(x.z), low));
}

// The weights of four depths and four rows of a tile.
fn tile_block(tile: u32, block: u32, row: u32) -> mat4x4<f32> {
#if ADJOINT
    let at = tile * TILE + block * TILE_M + row;
    return transpose(mat4x4<f32>(
        tile_weights[at], tile_weights[at + 1u], tile_weights[at + 2u], tile_weights[at + 3u],
    ));
#else
    let at = tile * TILE + block * TILE_M + row / 4u;
    const PITCH: u32 = TILE_M / 4u;
    return mat4x4<f32>(
        tile_weights[at], tile_weights[at + PITCH], tile_weights[at + 2u * PITCH], tile_weights[at + 3u * PITCH],
    );
#endif
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let number = params.work_first + workgroup_index(workgroup, params.grid_width);
    // A workgroup past the last tile has nothing to sum or store, but goes through the same barriers.
    let is_work = number < params.work;
    let row_tile = number % params.row_tiles;
    let column_tile = (number / params.row_tiles) % params.column_tiles;
    let slice = find_slice(number / (params.row_tiles * params.column_tiles));
    let tap_blocks = (channels() + TILE_K - 1u) / TILE_K;
    let term_steps = select(0u, tap_blocks * slice.taps.x * slice.taps.y * slice.taps.z, is_work);
    let steps = TERMS * term_steps;

#if !POINTWISE
    let sizes = source_sizes();
#endif

    // What this thread brings: four depths of a column, and weights of four rows at a depth, or of four depths of a row.
#if QUADS
    let load_column = thread % (TILE_N / 4u) * 4u;
    let load_block = thread / (TILE_N / 4u);
#else
    let load_column = thread % TILE_N;
    let load_block = thread / TILE_N;
#endif
    let column = find_column(column_tile * TILE_N + load_column, slice);
#if ADJOINT
    let load_depth = (thread % BLOCKS) * 4u;
    let load_row = thread / BLOCKS;
    let load_at = (thread % BLOCKS) * TILE_M + load_row;
    let load_rows = params.rows;
#else
    let load_depth = thread / (TILE_M / 4u);
    let load_row = (thread % (TILE_M / 4u)) * 4u;
    let load_at = thread;
    let load_rows = params.pitch * 4u;
#endif
    let first_row = row_tile * TILE_M + load_row;

    let thread_n = thread % THREADS_N;
    let thread_m = thread / THREADS_N;
    var low_0 = vec4<f32>();
    var low_1 = vec4<f32>();
    var low_2 = vec4<f32>();
    var low_3 = vec4<f32>();
#if WIDE
    var low_4 = vec4<f32>();
    var low_5 = vec4<f32>();
    var low_6 = vec4<f32>();
    var low_7 = vec4<f32>();
    var high_0 = vec4<f32>();
    var high_1 = vec4<f32>();
    var high_2 = vec4<f32>();
    var high_3 = vec4<f32>();
    var high_4 = vec4<f32>();
    var high_5 = vec4<f32>();
    var high_6 = vec4<f32>();
    var high_7 = vec4<f32>();
#endif
    // The next step's term, tap and channel.
    var term = 0u;
    var tap = vec3<u32>();
    var channel = 0u;
    for (var step = 0u; step <= steps; step++) {
        var weights = vec4<f32>();
#if QUADS
        // Four columns' values, for a depth each.
        var values = mat4x4<f32>();
#else
        var values = vec4<f32>();
#endif
        if step < steps {
            let depth = channel + load_depth;
            if first_row < load_rows && depth < channels() {
                weights = weight_at(term, weights_index(slice, tap_number(slice, tap), depth, first_row));
            }
            let c = channel + load_block * 4u;
#if POINTWISE
            let reached = column.origin.x != FAR;
            let at = column.base;
#else
            let shift = tap_shift(slice, tap);
            let reached = reaches(column, shift, sizes);
            let at = column.base + flat(shift, sizes);
#endif
#if QUADS
            if load_block < BLOCKS && reached {
                let plane = source_plane();
                let four = (u32(at) + c * plane) / 4u;
                if c < channels() {
                    values[0] = source_four(term, four);
                }
                if c + 1u < channels() {
                    values[1] = source_four(term, four + plane / 4u);
                }
                if c + 2u < channels() {
                    values[2] = source_four(term, four + plane / 2u);
                }
                if c + 3u < channels() {
                    values[3] = source_four(term, four + plane / 4u * 3u);
                }
            }
#else
            if reached && c < channels() {
                let plane = source_plane();
                let begin = u32(at) + c * plane;
#if TOGETHER
                values = source_four(term, begin / 4u);
#else
                // Whole fours but for the last ones.
                if c + 4u <= channels() {
                    values = vec4<f32>(
                        source_at(term, begin),
                        source_at(term, begin + plane),
                        source_at(term, begin + 2u * plane),
                        source_at(term, begin + 3u * plane),
                    );
                } else {
                    values.x = source_at(term, begin);
                    if c + 1u < channels() {
                        values.y = source_at(term, begin + plane);
                    }
                    if c + 2u < channels() {
                        values.z = source_at(term, begin + 2u * plane);
                    }
                }
#endif
            }
#endif
            channel += TILE_K;
            if channel >= channels() {
                channel = 0u;
                tap = next_tap(tap, slice.taps);
                if tap.x == slice.taps.x {
                    tap = vec3<u32>();
                    term++;
                }
            }
        }
        // The step before, while those values are on their way.
        if step > 0u {
            let tile = (step - 1u) & 1u;
#if UNROLLED
            for (var block = 0u; block < BLOCKS; block++) {
#else
            for (var block = 0u; block < params.depth_blocks; block++) {
#endif
                let at = tile * SOURCES + block * TILE_N + thread_n;
                let low = tile_block(tile, block, thread_m * 4u);
#if WIDE
                let high = tile_block(tile, block, TILE_M / 2u + thread_m * 4u);
#endif
                let x_0 = tile_source[at + 0u * THREADS_N];
                low_0 = accumulate(low_0, low, x_0);
                let x_1 = tile_source[at + 1u * THREADS_N];
                low_1 = accumulate(low_1, low, x_1);
                let x_2 = tile_source[at + 2u * THREADS_N];
                low_2 = accumulate(low_2, low, x_2);
                let x_3 = tile_source[at + 3u * THREADS_N];
                low_3 = accumulate(low_3, low, x_3);
#if WIDE
                let x_4 = tile_source[at + 4u * THREADS_N];
                low_4 = accumulate(low_4, low, x_4);
                high_4 = accumulate(high_4, high, x_4);
                let x_5 = tile_source[at + 5u * THREADS_N];
                low_5 = accumulate(low_5, low, x_5);
                high_5 = accumulate(high_5, high, x_5);
                let x_6 = tile_source[at + 6u * THREADS_N];
                low_6 = accumulate(low_6, low, x_6);
                high_6 = accumulate(high_6, high, x_6);
                let x_7 = tile_source[at + 7u * THREADS_N];
                low_7 = accumulate(low_7, low, x_7);
                high_7 = accumulate(high_7, high, x_7);
                high_0 = accumulate(high_0, high, x_0);
                high_1 = accumulate(high_1, high, x_1);
                high_2 = accumulate(high_2, high, x_2);
                high_3 = accumulate(high_3, high, x_3);
#endif
            }
        }
        let tile = step & 1u;
        tile_weights[tile * TILE + load_at] = weights;
        let source_to = tile * SOURCES + load_block * TILE_N + load_column;
#if QUADS
        if load_block < BLOCKS {
            let depths = transpose(values);
            tile_source[source_to] = depths[0];
            tile_source[source_to + 1u] = depths[1];
            tile_source[source_to + 2u] = depths[2];
            tile_source[source_to + 3u] = depths[3];
        }
#else
        tile_source[source_to] = values;
#endif
        workgroupBarrier();
    }

    if is_work {
        let row = row_tile * TILE_M + thread_m * 4u;
        let first = column_tile * TILE_N + thread_n;
        let ending = make_ending(slice);
        // A bound that is only known at run time: a driver that unrolled the loop would compile up to 64 epilogues.
        for (var j = 0u; j < params.thread_sums; j++) {
            var low = low_0;
#if WIDE
            var high = high_0;
#endif
            switch j {
                case 1u: {
                    low = low_1;
#if WIDE
                    high = high_1;
#endif
                }
                case 2u: {
                    low = low_2;
#if WIDE
                    high = high_2;
#endif
                }
                case 3u: {
                    low = low_3;
#if WIDE
                    high = high_3;
#endif
                }
#if WIDE
                case 4u: {
                    low = low_4;
                    high = high_4;
                }
                case 5u: {
                    low = low_5;
                    high = high_5;
                }
                case 6u: {
                    low = low_6;
                    high = high_6;
                }
                case 7u: {
                    low = low_7;
                    high = high_7;
                }
#endif
                default: {}
            }
            let at = result_index(first + j * THREADS_N, slice);
            store_rows(ending, at, row, low);
#if WIDE
            store_rows(ending, at, row + TILE_M / 2u, high);
#endif
        }
    }
}
