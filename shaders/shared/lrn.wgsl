// What both kernels of local response normalisation share: d_c = bias + alpha/size · Σ_j x_j² over the channels j of
// c's window, c − before … c + after, as far as they exist.

struct Params {
    grid_width: u32,
    len: u32,
    channels: u32,
    inner: u32,
    before: u32,
    after: u32,
    alpha_over_size: f32,
    beta: f32,
    bias: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<real_1>;

// The first channel of the window before..=after around c.
fn window_begin(c: u32, before: u32) -> u32 {
    return c - min(c, before);
}

// One past the last channel of the window before..=after around c.
fn window_end(c: u32, after: u32) -> u32 {
    return min(c + after + 1u, params.channels);
}

// d_c; `base` is the index of channel 0 at this position.
fn divisor(base: u32, c: u32) -> f32 {
    var sum = 0.0;
    for (var j = window_begin(c, params.before); j < window_end(c, params.after); j++) {
        let x = f32(source[base + j * params.inner]);
        sum += x * x;
    }
    return params.bias + params.alpha_over_size * sum;
}
