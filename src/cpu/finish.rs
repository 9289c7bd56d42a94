//! What a linear step does with its sums before they are stored.

use pulp::Simd;

use super::activation;
use super::blocks::BLOCK;
use super::layout::Blocked;
use super::memory::Memory;
use super::operand::{Reader, part_of};
use super::share::{Divider, Sharer};
use super::vector::{WithSimd, dispatch};
use crate::network::Activation;
use crate::plan::{Epilogue, Part};
use crate::tensor::Real;

/// An [`Epilogue`] with its buffers at hand.
pub(super) struct Finish<'a, T> {
    /// Values of a plane of the output.
    plane: usize,
    /// Channels of the output.
    channels: usize,
    bias: Option<&'a [T]>,
    summand: Option<&'a [T]>,
    then: Then<'a, T>,
}

/// [`Finish::apply`] with the machine's widest instructions.
struct Apply<'a, 'b, T> {
    finish: &'a Finish<'b, T>,
    start: usize,
    acc: &'a mut [T],
    output: &'a mut [T],
}

impl<T: Real> WithSimd for Apply<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.finish.apply_wide(self.start, self.acc, self.output);
    }
}

enum Then<'a, T> {
    Store,
    Activate(Activation),
    Share(Sharer<'a, T>),
    Multiply { factor: Option<(Reader<'a, T>, Part)>, accumulate: bool, divide: Option<Divider<'a, T>> },
}

impl<'a, T: Real> Finish<'a, T> {
    /// `plane`, `channels` and `layout` are those of the step's output.
    pub(super) fn new(
        epilogue: &Epilogue,
        plane: usize,
        channels: usize,
        layout: Option<Blocked>,
        memory: &'a Memory<T>,
    ) -> Finish<'a, T> {
        let (bias, then) = match epilogue {
            Epilogue::Bias { bias, activation: None, .. } => (*bias, Then::Store),
            Epilogue::Bias { bias, activation: Some(f), .. } => (*bias, Then::Activate(f.clone())),
            Epilogue::Share { bias, share } => (*bias, Then::Share(Sharer::new(share, memory, layout))),
            Epilogue::Multiply { factor, accumulate, divide } => {
                let factor = factor.as_ref().map(|(operand, part)| (Reader::new(operand, memory, layout), *part));
                let divide = divide.as_ref().map(|divide| Divider::new(divide, memory, layout));
                (None, Then::Multiply { factor, accumulate: *accumulate, divide })
            }
        };
        let summand = match epilogue {
            Epilogue::Bias { summand, .. } => *summand,
            _ => None,
        };
        let [bias, summand] = [bias, summand].map(|b| b.map(|b| memory.real(b)));
        Finish { plane, channels, bias, summand, then }
    }

    /// Takes the bias away, for sums that begin with it.
    pub(super) fn take_bias(&mut self) -> Option<&'a [T]> {
        self.bias.take()
    }

    /// Ends the sums of the output positions `start..`: `acc` holds them, `output` gets the results.
    pub(super) fn apply(&self, start: usize, acc: &mut [T], output: &mut [T]) {
        dispatch(Apply { finish: self, start, acc, output });
    }

    #[inline(always)]
    fn apply_wide(&self, start: usize, acc: &mut [T], output: &mut [T]) {
        if let Some(bias) = self.bias {
            self.add_bias(bias, start, acc);
        }
        if let Some(summand) = self.summand {
            acc.iter_mut().zip(&summand[start..]).for_each(|(y, x)| *y += *x);
        }
        match &self.then {
            Then::Store => output.copy_from_slice(acc),
            Then::Activate(f @ (Activation::Relu | Activation::Clip { .. })) => activation::limit(f, acc, output),
            Then::Activate(f) => activation::apply(f, acc, output),
            Then::Share(share) => share.apply(start, acc, output),
            Then::Multiply { factor, accumulate, divide } => {
                if let Some((factor, part)) = factor {
                    let mut room = [T::ZERO; BLOCK];
                    for (i, acc) in acc.chunks_mut(BLOCK).enumerate() {
                        let factor = factor.block(start + i * BLOCK, acc.len(), &mut room);
                        for (y, x) in acc.iter_mut().zip(factor) {
                            *y *= part_of(*part, *x);
                        }
                    }
                }
                if *accumulate {
                    for (y, x) in output.iter_mut().zip(acc.iter()) {
                        *y += *x;
                    }
                } else {
                    output.copy_from_slice(acc);
                }
                if let Some(divide) = divide {
                    divide.apply(start, output);
                }
            }
        }
    }

    #[inline(always)]
    fn add_bias(&self, bias: &[T], start: usize, acc: &mut [T]) {
        let mut done = 0;
        while done < acc.len() {
            let at = start + done;
            let channel = at / self.plane % self.channels;
            if self.plane == 1 {
                let run = (self.channels - channel).min(acc.len() - done);
                for (y, b) in acc[done..done + run].iter_mut().zip(&bias[channel..]) {
                    *y += *b;
                }
                done += run;
            } else {
                let run = (self.plane - at % self.plane).min(acc.len() - done);
                for y in &mut acc[done..done + run] {
                    *y += bias[channel];
                }
                done += run;
            }
        }
    }
}
