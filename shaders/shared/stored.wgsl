// How a kernel stores a value: as it is, or, with HALF, as the nearest float16. One beyond ±65504, the largest float16, is
// stored as that and noted in `overflow`, so that the host sees it; infinities count, what is not a number stays so.

#if HALF
@group(0) @binding(10) var<storage, read_write> overflow: atomic<u32>;

const LARGEST_HALF: f32 = 65504.0;

fn stored(value: f32) -> f16 {
    let too_large = abs(value) > LARGEST_HALF;
    if too_large {
        atomicStore(&overflow, 1u);
    }
    return f16(select(value, sign(value) * LARGEST_HALF, too_large));
}
#else
fn stored(value: f32) -> f32 {
    return value;
}
#endif
