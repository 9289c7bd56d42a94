// Windows over three spatial axes, and the parameters of both pooling kernels.

struct Params {
    grid_width: u32,
    len: u32,
    input_z: u32,
    input_y: u32,
    input_x: u32,
    output_z: u32,
    output_y: u32,
    output_x: u32,
    kernel_z: u32,
    kernel_y: u32,
    kernel_x: u32,
    stride_z: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_z: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_z: u32,
    pad_y: u32,
    pad_x: u32,
    // Of max_pool_adjoint with DIVIDE.
    divide_inner: u32,
    divide_count: u32,
    divide_flags: u32,
    scale: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Coordinates (z, y, x) of a position in a plane whose two last axes have sizes `size_y` and `size_x`.
fn plane_position(i: u32, size_y: u32, size_x: u32) -> vec3<u32> {
    return vec3<u32>(i / (size_y * size_x), (i / size_x) % size_y, i % size_x);
}
