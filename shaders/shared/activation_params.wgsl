// Parameters of both activation kernels.

struct Params {
    grid_width: u32,
    len: u32,
    slope_inner: u32,
    slope_count: u32,
    a: f32,
    b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if PRELU
@group(0) @binding(1) var<storage, read> slopes: array<real_1>;
#endif

// The slope of a PRelu at position i; unused by other functions.
fn slope_at(i: u32) -> f32 {
#if PRELU
    return f32(slopes[(i / params.slope_inner) % params.slope_count]);
#else
    return 0.0;
#endif
}
