// The linear kernels with HEIGHT outputs a thread (four, or with TALL eight), one above another: for depthwise and other small groups, whose taps lie
// a line apart or whole strides. From one tap to the next below, all but one of the outputs take a value that another one
// took before: each is read once and handed on. `work` counts threads; neighbours take neighbouring positions of a line.

const THREADS: u32 = 64u;

// A value of a term's source, or 0 where there is none.
fn value_at(term: u32, i: i32, has: bool) -> f32 {
    return select(0.0, source_at(term, select(0u, u32(i), has)), has);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = params.work_first + workgroup_index(workgroup, params.grid_width) * THREADS + thread;
    let is_work = i < params.work;
    // Quotients and remainders one by one: software divides thread by thread.
    let grid = grid_sizes();
    let blocks = (grid.y + HEIGHT - 1u) / HEIGHT;
    let positions = grid.x * blocks * grid.z;
    let row_slice = i / params.column_tiles;
    let place = i - row_slice * params.column_tiles;
    let part = row_slice / params.rows;
    let row = row_slice - part * params.rows;
    let n = place / positions;
    let in_sample = place - n * positions;
    let line = in_sample / grid.z;
    let x = in_sample - line * grid.z;
    let z = line / blocks;
    let first = vec3<u32>(z, (line - z * blocks) * HEIGHT, x);

    let slice = find_slice(part);
    let column = column_at(n, first, slice);
    let sizes = source_sizes();
    let plane = i32(source_plane());
    let depth = channels();
    let width = i32(sizes.z);
    let row_step = i32(window_step());
    let weights_0 = weight_index(slice, 0u, 0u, row);
    let weights_tap = i32(weight_index(slice, 1u, 0u, row) - weights_0);
    let weights_channel = weight_index(slice, 0u, 1u, row) - weights_0;
    let all_walks = select(0u, walks(), is_work);
    var sums = vec4<f32>();
#if TALL
    var sums_below = vec4<f32>();
#endif
    for (var r = 0u; r < all_walks; r++) {
        let walk = find_walk(slice, r);
        let top = column.origin.y + walk.shift;
        let weights_step = walk.numbers * weights_tap;
        for (var tap_z = 0u; tap_z < slice.taps.x; tap_z++) {
            let at_z = slice.shift.x + i32(tap_z) * slice.shifts.x;
            for (var tap_x = 0u; tap_x < slice.taps.z; tap_x++) {
                let at_x = slice.shift.z + i32(tap_x) * slice.shifts.z;
                let inside = u32(column.origin.x + at_z) < sizes.x && u32(column.origin.z + at_x) < sizes.z;
                var begin = column.base + flat(vec3<i32>(at_z, walk.shift, at_x), sizes);
                var weights_at = weights_0
                    + u32(i32(slice.number + tap_z * slice.numbers.x + tap_x * slice.numbers.z + walk.number)
                        * weights_tap);
                for (var c = 0u; c < depth; c++) {
                    var at = begin;
                    var y = top;
                    var w = weights_at;
                    var window_0 = vec4<f32>();
#if TALL
                    var below_0 = vec4<f32>();
#endif
#if TWO_TERMS
                    var window_1 = vec4<f32>();
#if TALL
                    var below_1 = vec4<f32>();
#endif
#endif
                    // The first values only fill the window.
                    for (var u = 1u; u < walk.count + HEIGHT; u++) {
                        let has = inside && u32(y) < sizes.y;
#if TALL
                        window_0 = vec4<f32>(window_0.yzw, below_0.x);
                        below_0 = vec4<f32>(below_0.yzw, value_at(0u, at, has));
#else
                        window_0 = vec4<f32>(window_0.yzw, value_at(0u, at, has));
#endif
#if TWO_TERMS
#if TALL
                        window_1 = vec4<f32>(window_1.yzw, below_1.x);
                        below_1 = vec4<f32>(below_1.yzw, value_at(1u, at, has));
#else
                        window_1 = vec4<f32>(window_1.yzw, value_at(1u, at, has));
#endif
#endif
                        if u >= HEIGHT {
                            let w_0 = vec4<f32>(weight_at(0u, w));
                            sums = fma(w_0, window_0, sums);
#if TALL
                            sums_below = fma(w_0, below_0, sums_below);
#endif
#if TWO_TERMS
                            let w_1 = vec4<f32>(weight_at(1u, w));
                            sums = fma(w_1, window_1, sums);
#if TALL
                            sums_below = fma(w_1, below_1, sums_below);
#endif
#endif
                            w = u32(i32(w) + weights_step);
                        }
                        y += row_step;
                        at += row_step * width;
                    }
                    begin += plane;
                    weights_at += weights_channel;
                }
            }
        }
    }

    let ending = make_ending(slice);
    let at = result_at(n, first, slice);
    let step = result_step();
    let count = select(0u, results_below(first, slice), is_work);
    for (var j = 0u; j < count; j++) {
#if TALL
        let sum = select(sums, sums_below, j >= 4u)[j % 4u];
#else
        let sum = sums[j];
#endif
        finish(ending, at + j * step, ending.channel + row, sum);
    }
}
