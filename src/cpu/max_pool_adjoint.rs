//! `output[i] = Σ_{windows won by i} relevance[window]`, then `scale · that / st(denominator[i])` if it is asked for.

use rayon::prelude::*;

use super::memory::Memory;
use super::share::Divider;
use crate::plan::MaxPoolAdjoint;
use crate::tensor::Real;

/// Runs the step.
pub(super) fn run<T: Real>(step: &MaxPoolAdjoint, memory: &Memory<T>, output: &mut [T]) {
    let layout = memory.layout(step.output);
    // Values of a position that lie one after the other.
    let block = layout.map_or(1, |layout| layout.block);
    let input = step.windows.input.iter().product::<usize>() * block;
    let windows = step.windows.output.iter().product::<usize>() * block;
    let divide = step.divide.as_ref().map(|divide| Divider::new(divide, memory, layout));
    let planes = output.par_chunks_mut(input).enumerate();
    let planes = planes.zip(memory.real(step.relevance).par_chunks(windows));
    let planes = planes.zip(memory.index(step.winners).par_chunks(windows));
    planes.with_min_len((4096 / input).max(1)).for_each(|(((plane, output), relevance), winners)| {
        output.fill(T::ZERO);
        for (relevance, winners) in relevance.chunks_exact(block).zip(winners.chunks_exact(block)) {
            for (lane, (r, winner)) in relevance.iter().zip(winners).enumerate() {
                // Winners lie in the plane unless the index buffer was never written.
                if let Some(y) = output.get_mut(*winner as usize * block + lane) {
                    *y += *r;
                }
            }
        }
        if let Some(divide) = &divide {
            divide.apply(plane * input, output);
        }
    });
}
