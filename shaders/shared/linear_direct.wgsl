// The linear kernels without tiles, one thread an output value: for depthwise and other small groups, and for a dense
// layer on few samples, where most of a tile would be empty. The kernel supplies `direct_sum`.

const THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_index(workgroup, params.grid_width) * THREADS + thread;
    if i >= params.work {
        return;
    }
    // Neighbouring threads take neighbouring rows (weights lie together), or neighbouring columns (values do).
    var row = i % params.rows;
    var column = (i / params.rows) % params.columns;
    if params.rows_fastest == 0u {
        column = i % params.columns;
        row = (i / params.columns) % params.rows;
    }
    let group = i / (params.rows * params.columns);
    store(column, group, row, direct_sum(column, group, row));
}
