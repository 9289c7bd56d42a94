//! `output[i] = f(a ∘ b)`, both with broadcasting.

use pulp::Simd;

use super::activation;
use super::blocks::{BLOCK, for_blocks};
use super::memory::Memory;
use super::operand::Reader;
use super::vector::{WithSimd, dispatch};
use crate::network::Activation;
use crate::plan::{Binary, BinaryOp};
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &Binary, memory: &Memory<T>, output: &mut [T]) {
    match step.op {
        BinaryOp::Add => each(step, memory, output, |a, b| a + b),
        BinaryOp::Sub => each(step, memory, output, |a, b| a - b),
        BinaryOp::Mul => each(step, memory, output, |a, b| a * b),
        BinaryOp::MulNegated => each(step, memory, output, |a, b| -a * b),
        BinaryOp::Div => each(step, memory, output, |a, b| a / b),
        BinaryOp::AddMagnitudes => each(step, memory, output, |a, b| magnitude(a) + magnitude(b)),
    }
}

fn each<T: Real>(step: &Binary, memory: &Memory<T>, output: &mut [T], f: impl Fn(T, T) -> T + Sync) {
    let layout = memory.layout(step.output);
    let (a, b) = (Reader::new(&step.a, memory, layout), Reader::new(&step.b, memory, layout));
    let activation = step.activation.as_ref();
    for_blocks(output, |start, output| dispatch(Block { a: &a, b: &b, f: &f, activation, start, output }));
}

/// The positions `start..`, with the machine's widest instructions.
struct Block<'a, 'b, T, F> {
    a: &'a Reader<'b, T>,
    b: &'a Reader<'b, T>,
    f: &'a F,
    activation: Option<&'a Activation>,
    start: usize,
    output: &'a mut [T],
}

impl<T: Real, F: Fn(T, T) -> T> WithSimd for Block<'_, '_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Block { a, b, f, activation, start, output } = self;
        let (mut room_a, mut room_b) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
        let a = a.block(start, output.len(), &mut room_a);
        let b = b.block(start, output.len(), &mut room_b);
        let Some(activation) = activation else {
            for ((y, a), b) in output.iter_mut().zip(a).zip(b) {
                *y = f(*a, *b);
            }
            return;
        };
        let mut results = [T::ZERO; BLOCK];
        let results = &mut results[..output.len()];
        for ((y, a), b) in results.iter_mut().zip(a).zip(b) {
            *y = f(*a, *b);
        }
        match activation {
            Activation::Relu | Activation::Clip { .. } => activation::limit(activation, results, output),
            activation => activation::apply(activation, results, output),
        }
    }
}

/// |x|.
#[inline(always)]
pub(super) fn magnitude<T: Real>(x: T) -> T {
    if x < T::ZERO { -x } else { x }
}
