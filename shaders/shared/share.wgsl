// share(z) = scale · R / st(z), with st(z) = z + ε·sign(z), or sign(z)·max(|z|, ε) when clipping; sign(0) = +1;
// 0 where st(z) is 0: nothing contributed there.

const CLIP: u32 = 1u;
const SIGN_NEGATIVE: u32 = 2u;

// `flags` holds CLIP, and SIGN_NEGATIVE where a mask keeps negative values.
fn share(relevance: f32, z: f32, scale: f32, epsilon: f32, flags: u32) -> f32 {
    let sign = select(-1.0, 1.0, z >= 0.0);
    let moved = z + sign * epsilon;
    let clipped = sign * max(abs(z), epsilon);
    let denominator = select(moved, clipped, (flags & CLIP) != 0u);
    if denominator == 0.0 {
        return 0.0;
    }
    return scale * relevance / denominator;
}

// Whether a mask's value has the sign that is kept; 0 has neither.
fn keeps(mask: f32, flags: u32) -> bool {
    return select(mask > 0.0, mask < 0.0, (flags & SIGN_NEGATIVE) != 0u);
}
