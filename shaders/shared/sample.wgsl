// Parameters of the kernels that reduce each sample to one value.

struct Params {
    grid_width: u32,
    samples: u32,
    sample_len: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<real_1>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
