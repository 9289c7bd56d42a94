//! The floats that the kernels compute in, as SIMD vectors: the `pulp` crate picks the widest instructions the machine has.

use pulp::Simd;
pub(super) use pulp::WithSimd;

use crate::tensor::Real;

/// A float that the host's kernels compute in: `f32` or `f64`.
pub trait Vector: Real {
    /// As many floats as a register of the instruction set `S` holds.
    #[doc(hidden)]
    type Lanes<S: Simd>: Copy;

    /// How many those are.
    #[doc(hidden)]
    fn lanes<S: Simd>() -> usize;

    /// Whole registers of values, and those left over.
    #[doc(hidden)]
    fn split<S: Simd>(values: &[Self]) -> (&[Self::Lanes<S>], &[Self]);

    /// Whole registers of values, and those left over.
    #[doc(hidden)]
    fn split_mut<S: Simd>(values: &mut [Self]) -> (&mut [Self::Lanes<S>], &mut [Self]);

    /// The values of a register.
    #[doc(hidden)]
    fn values<S: Simd>(register: &Self::Lanes<S>) -> &[Self];

    /// The values of a register.
    #[doc(hidden)]
    fn values_mut<S: Simd>(register: &mut Self::Lanes<S>) -> &mut [Self];

    /// The same value in every lane.
    #[doc(hidden)]
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Lanes<S>;

    /// a + b.
    #[doc(hidden)]
    fn sum<S: Simd>(simd: S, a: Self::Lanes<S>, b: Self::Lanes<S>) -> Self::Lanes<S>;

    /// a · b + c, rounded once where the machine can.
    #[doc(hidden)]
    fn mul_add<S: Simd>(simd: S, a: Self::Lanes<S>, b: Self::Lanes<S>, c: Self::Lanes<S>) -> Self::Lanes<S>;

    /// `x` and `place` where x > best, or where it alone is NaN; `best` and `best_place` elsewhere.
    #[doc(hidden)]
    fn better<S: Simd>(
        simd: S,
        best: [Self::Lanes<S>; 2],
        x: Self::Lanes<S>,
        place: Self::Lanes<S>,
    ) -> [Self::Lanes<S>; 2];

    /// The sum of all lanes.
    #[doc(hidden)]
    fn reduce<S: Simd>(simd: S, a: Self::Lanes<S>) -> Self;
}

macro_rules! vector {
    ($float:ty, $lanes:ident, $count:ident, $split:ident, $split_mut:ident, $splat:ident, $add:ident, $mul_add:ident, $reduce:ident,
     $less:ident, $equal:ident, $or:ident, $and:ident, $not:ident, $select:ident) => {
        impl Vector for $float {
            type Lanes<S: Simd> = S::$lanes;

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$count
            }

            #[inline(always)]
            fn split<S: Simd>(values: &[Self]) -> (&[S::$lanes], &[Self]) {
                S::$split(values)
            }

            #[inline(always)]
            fn split_mut<S: Simd>(values: &mut [Self]) -> (&mut [S::$lanes], &mut [Self]) {
                S::$split_mut(values)
            }

            #[inline(always)]
            fn values<S: Simd>(register: &S::$lanes) -> &[Self] {
                bytemuck::cast_slice(std::slice::from_ref(register))
            }

            #[inline(always)]
            fn values_mut<S: Simd>(register: &mut S::$lanes) -> &mut [Self] {
                bytemuck::cast_slice_mut(std::slice::from_mut(register))
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$lanes {
                simd.$splat(value)
            }

            #[inline(always)]
            fn sum<S: Simd>(simd: S, a: S::$lanes, b: S::$lanes) -> S::$lanes {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$lanes, b: S::$lanes, c: S::$lanes) -> S::$lanes {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn better<S: Simd>(
                simd: S,
                [best, best_place]: [S::$lanes; 2],
                x: S::$lanes,
                place: S::$lanes,
            ) -> [S::$lanes; 2] {
                let nan = simd.$and(simd.$equal(best, best), simd.$not(simd.$equal(x, x)));
                let wins = simd.$or(simd.$less(best, x), nan);
                [simd.$select(wins, x, best), simd.$select(wins, place, best_place)]
            }

            #[inline(always)]
            fn reduce<S: Simd>(simd: S, a: S::$lanes) -> Self {
                simd.$reduce(a)
            }
        }
    };
}

vector!(
    f32,
    f32s,
    F32_LANES,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    add_f32s,
    mul_add_e_f32s,
    reduce_sum_f32s,
    less_than_f32s,
    equal_f32s,
    or_m32s,
    and_m32s,
    not_m32s,
    select_f32s
);
vector!(
    f64,
    f64s,
    F64_LANES,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    add_f64s,
    mul_add_e_f64s,
    reduce_sum_f64s,
    less_than_f64s,
    equal_f64s,
    or_m64s,
    and_m64s,
    not_m64s,
    select_f64s
);

/// Runs an operation with the machine's widest instructions.
#[inline(always)]
pub(super) fn dispatch<O: WithSimd>(operation: O) -> O::Output {
    pulp::Arch::new().dispatch(operation)
}
