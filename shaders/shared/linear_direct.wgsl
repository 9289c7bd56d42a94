// The linear kernels with one thread an output value: for depthwise and other small groups, where most of a tile would be
// empty, and on software for few columns. `work` counts threads.

const THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = params.work_first + workgroup_index(workgroup, params.grid_width) * THREADS + thread;
    if i >= params.work {
        return;
    }
    // Neighbouring threads take neighbouring rows (weights lie together), or neighbouring columns (values do).
    var row = i % params.rows;
    var place = (i / params.rows) % params.columns;
    if params.rows_fastest == 0u {
        place = i % params.columns;
        row = (i / params.columns) % params.rows;
    }
    let slice = find_slice(i / (params.rows * params.columns));
    let column = find_column(place, slice);
    let weight_step = weight_index(slice, 0u, 1u, 0u) - weight_index(slice, 0u, 0u, 0u);
#if !POINTWISE
    let sizes = source_sizes();
#endif
    let taps = slice.taps.x * slice.taps.y * slice.taps.z;
    var tap = vec3<u32>();
    var sum = 0.0;
    for (var t = 0u; t < taps; t++) {
#if POINTWISE
        let reached = column.origin.x != FAR;
        let shift = 0;
#else
        let offset = tap_shift(slice, tap);
        let reached = reaches(column, offset, sizes);
        let shift = flat(offset, sizes);
#endif
        if reached {
            var w = weight_index(slice, tap_number(slice, tap), 0u, row);
            var x = u32(column.base + shift);
            for (var c = 0u; c < channels(); c++) {
                sum += weight_at(0u, w) * source_at(0u, x);
#if TWO_TERMS
                sum += weight_at(1u, w) * source_at(1u, x);
#endif
                w += weight_step;
                x += source_plane();
            }
        }
        tap = next_tap(tap, slice.taps);
    }
    store(make_ending(slice), result_index(place, slice), row, sum);
}
