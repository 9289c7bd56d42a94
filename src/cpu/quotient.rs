//! `output_k[i] = factor_k[i] · scale · R[i] / st(Σ denominator operands at i)`, 0 where the mask says so; then, where a piece
//! has a denominator of its own, divided by that one too.

use pulp::Simd;

use super::binary::magnitude;
use super::blocks::{BLOCK, for_block_pairs, for_blocks};
use super::memory::Memory;
use super::operand::Reader;
use super::share::{Divider, Sharer};
use super::vector::{WithSimd, dispatch};
use crate::plan::{Contribution, Piece, Quotient};
use crate::tensor::Real;

/// Runs a step of one piece.
pub(super) fn run<T: Real>(step: &Quotient, memory: &Memory<T>, output: &mut [T]) {
    let call = Call::new(step, memory);
    for_blocks(output, |start, output| dispatch(Block { call: &call, start, pieces: [output] }));
}

/// Runs a step of two pieces.
pub(super) fn run_two<T: Real>(step: &Quotient, memory: &Memory<T>, first: &mut [T], second: &mut [T]) {
    let call = Call::new(step, memory);
    for_block_pairs(first, second, |start, first, second| {
        dispatch(Block { call: &call, start, pieces: [first, second] });
    });
}

/// The positions `start..` of each piece, with the machine's widest instructions.
struct Block<'a, 'b, T, const PIECES: usize> {
    call: &'a Call<'b, T>,
    start: usize,
    pieces: [&'a mut [T]; PIECES],
}

impl<T: Real, const PIECES: usize> WithSimd for Block<'_, '_, T, PIECES> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Block { call, start, mut pieces } = self;
        let Some((first, others)) = pieces.split_first_mut() else { return };
        let mut room = [T::ZERO; BLOCK];
        let z = call.share(start, first, &mut room);
        for (i, other) in others.iter_mut().enumerate() {
            other.copy_from_slice(first);
            call.finish(1 + i, start, z, other);
        }
        call.finish(0, start, z, first);
    }
}

struct Call<'a, T> {
    denominator: Vec<Reader<'a, T>>,
    share: Sharer<'a, T>,
    factors: Vec<Option<(Reader<'a, T>, Contribution)>>,
    divides: Vec<Option<Divider<'a, T>>>,
}

impl<'a, T: Real> Call<'a, T> {
    fn new(step: &Quotient, memory: &'a Memory<T>) -> Call<'a, T> {
        let layout = step.pieces.first().and_then(|p| memory.layout(p.output));
        let factor = |piece: &Piece| piece.factor.map(|(operand, how)| (Reader::new(&operand, memory, layout), how));
        let divide = |piece: &Piece| piece.divide.map(|divide| Divider::new(&divide, memory, layout));
        Call {
            denominator: step.denominator.iter().map(|o| Reader::new(o, memory, layout)).collect(),
            share: Sharer::new(&step.share, memory, layout),
            factors: step.pieces.iter().map(factor).collect(),
            divides: step.pieces.iter().map(divide).collect(),
        }
    }

    /// Puts the shares of positions `start..` into `output` and gives their denominators.
    #[inline(always)]
    fn share<'b>(&self, start: usize, output: &mut [T], z: &'b mut [T; BLOCK]) -> &'b [T] {
        let mut room = [T::ZERO; BLOCK];
        let z = &mut z[..output.len()];
        for reader in &self.denominator {
            for (z, x) in z.iter_mut().zip(reader.block(start, output.len(), &mut room)) {
                *z += *x;
            }
        }
        self.share.apply(start, z, output);
        z
    }

    /// Multiplies the shares of a piece with its factor and divides them by its denominator.
    #[inline(always)]
    fn finish(&self, piece: usize, start: usize, z: &[T], values: &mut [T]) {
        self.multiply(piece, start, z, values);
        if let Some(divide) = &self.divides[piece] {
            divide.apply(start, values);
        }
    }

    #[inline(always)]
    fn multiply(&self, piece: usize, start: usize, z: &[T], values: &mut [T]) {
        let Some((factor, how)) = &self.factors[piece] else { return };
        let mut room = [T::ZERO; BLOCK];
        let factor = factor.block(start, values.len(), &mut room).iter();
        let values = values.iter_mut().zip(factor);
        match how {
            Contribution::Plain => values.for_each(|(y, x)| *y *= *x),
            Contribution::Negated => values.for_each(|(y, x)| *y *= -*x),
            Contribution::Magnitude => values.for_each(|(y, x)| *y *= magnitude(*x)),
            Contribution::Remainder => values.zip(z).for_each(|((y, x), z)| *y *= *z - *x),
        }
    }
}
