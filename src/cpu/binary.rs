//! `output[i] = f(a ∘ b)`, both with broadcasting.

use super::activation;
use super::blocks::{BLOCK, for_blocks};
use super::memory::Memory;
use super::operand::Reader;
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
    for_blocks(output, |start, output| {
        let (mut room_a, mut room_b) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
        let a = a.block(start, output.len(), &mut room_a);
        let b = b.block(start, output.len(), &mut room_b);
        let Some(activation) = &step.activation else {
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
        activation::apply(activation, results, output);
    });
}

/// |x|.
#[inline(always)]
pub(super) fn magnitude<T: Real>(x: T) -> T {
    if x < T::ZERO { -x } else { x }
}
