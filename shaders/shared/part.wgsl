// The part of a value that a kernel takes: all of it, max(x, 0) or min(x, 0).

const PART_POSITIVE: u32 = 1u;
const PART_NEGATIVE: u32 = 2u;

fn take_part(x: f32, part: u32) -> f32 {
    return select(select(x, min(x, 0.0), part == PART_NEGATIVE), max(x, 0.0), part == PART_POSITIVE);
}

// take_part of four values.
fn take_parts(x: vec4<f32>, part: u32) -> vec4<f32> {
    let zero = vec4<f32>();
    return select(select(x, min(x, zero), part == PART_NEGATIVE), max(x, zero), part == PART_POSITIVE);
}
