// Reductions over a workgroup in a fixed order, so that a result never changes between runs: each thread folds every
// 256th value, then the partial results are folded as a tree.

var<workgroup> partials: array<f32, WORKGROUP>;

// Σ of every thread's value, known to all threads afterwards.
fn workgroup_sum(value: f32, lane: u32) -> f32 {
    partials[lane] = value;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if lane < half {
            partials[lane] += partials[lane + half];
        }
        workgroupBarrier();
    }
    let sum = partials[0];
    workgroupBarrier();
    return sum;
}
