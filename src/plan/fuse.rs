//! Steps that another step can do on the way: fewer passes over memory, and fewer buffers.
//!
//! Each fusion looks at who writes and who reads a buffer, never at networks or rules. What it needs to know of them is in
//! [`Planner::positive_only`].

use super::planner::Planner;
use super::*;
use crate::network::Activation;

/// Fuses what can be fused in a plan whose steps are complete.
pub(super) fn fuse(planner: &mut Planner) {
    activations(planner);
    residual_sums(planner);
    sums(planner);
    divisions(planner);
}

/// An activation becomes the last thing that the step in front of it does: `z = Wx + b; y = f(z)` is `y = f(Wx + b)`.
///
/// That takes z away, so everything else that reads z must read y as well as z.
fn activations(planner: &mut Planner) {
    let mut at = 0;
    while at < planner.forward.len() {
        match activation_at(planner, at) {
            Some((producer, z, y, activation)) => {
                planner.forward.remove(at);
                let slot = match &mut planner.forward[producer] {
                    Step::Linear(Linear { epilogue: Epilogue::Bias { activation, .. }, .. }) => Some(activation),
                    Step::Binary(binary) => Some(&mut binary.activation),
                    _ => None,
                };
                if let Some(slot) = slot {
                    *slot = Some(activation);
                }
                rename(planner, z, y);
            }
            None => at += 1,
        }
    }
}

/// The activation that step `at` of the forward pass is, with its producer, input and output, if they can be one step.
fn activation_at(planner: &Planner, at: usize) -> Option<(usize, BufferId, BufferId, Activation)> {
    let Step::Activation(ActivationForward { activation, slope: None, source, output, .. }) = &planner.forward[at]
    else {
        return None;
    };
    let (z, y) = (*source, *output);
    if planner.drafts[z.0].permanent {
        return None;
    }
    let mut producers = planner.forward.iter().enumerate().filter(|(_, step)| step.writes().contains(&z));
    let (producer, step) = producers.next()?;
    let free = matches!(
        step,
        Step::Linear(Linear { epilogue: Epilogue::Bias { activation: None, .. }, .. })
            | Step::Binary(Binary { activation: None, .. })
    );
    let others = planner.forward.iter().enumerate().filter(|(i, _)| *i != at && *i != producer).map(|(_, step)| step);
    let alike = |step: &Step| !touches(step, z) || reads_output_as_well(planner, step, z, activation);
    let fits = free && producers.next().is_none() && others.chain(&planner.backward).all(alike);
    fits.then(|| (producer, z, y, activation.clone()))
}

/// Whether a step that reads z computes the same from y = f(z).
fn reads_output_as_well(planner: &Planner, step: &Step, z: BufferId, f: &Activation) -> bool {
    // How often the step names z where y will do.
    let alike = match step {
        // Where R is 0 so is the share, whatever divides it; elsewhere y = z.
        Step::Quotient(q) if planner.positive_only.contains(&(q.share.relevance, z)) && keeps_positive_values(f) => {
            q.denominator.iter().filter(|o| o.buffer == z).count() + usize::from(masks_alike(&q.share, z, f))
        }
        Step::Quotient(q) => usize::from(masks_alike(&q.share, z, f)),
        Step::Linear(Linear { epilogue: Epilogue::Share { share, .. }, .. }) => usize::from(masks_alike(share, z, f)),
        Step::ActivationAdjoint(a) => usize::from(a.source == z && a.activation == *f && knows_slope(f)),
        _ => 0,
    };
    let mut named = 0;
    step.clone().for_each_buffer(|buffer| named += usize::from(*buffer == z));
    named == alike
}

/// Whether the mask is z and keeps the same positions as f(z).
fn masks_alike(share: &Share, z: BufferId, f: &Activation) -> bool {
    let positive = match *f {
        Activation::Relu => true,
        Activation::Clip { low, high } => low == 0.0 && high > 0.0,
        _ => false,
    };
    share.mask == Some((z, Sign::Positive)) && positive
}

/// f(z) = z for z > 0.
fn keeps_positive_values(f: &Activation) -> bool {
    matches!(f, Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } | Activation::Celu { .. })
}

/// f'(f(z)) = f'(z) for all z, so that gradients, guided ones too, need no z.
fn knows_slope(f: &Activation) -> bool {
    match *f {
        Activation::Relu => true,
        Activation::LeakyRelu { alpha } => alpha >= 0.0,
        Activation::Clip { low, high } => low < high,
        _ => false,
    }
}

/// A residual sum becomes the last thing that the linear step of its later branch does:
/// `z = Wx + b; y = f(z + a)` is `y = f(Wx + b + a)`.
///
/// That takes z away. The sum's own quotient, which multiplies with z, multiplies with y − a instead: rounding makes that
/// differ from z by a rounding of y, and the relevance `(y − a)·R/st(y)` by a rounding of R.
fn residual_sums(planner: &mut Planner) {
    let mut at = 0;
    while at < planner.forward.len() {
        match residual_sum_at(planner, at) {
            Some((producer, z, a)) => {
                if let Step::Binary(sum) = planner.forward.remove(at)
                    && let Step::Linear(linear) = &mut planner.forward[producer]
                {
                    let Epilogue::Bias { bias, .. } = linear.epilogue else { continue };
                    linear.epilogue = Epilogue::Bias { bias, summand: Some(a), activation: sum.activation };
                    linear.output = sum.output;
                }
                for step in &mut planner.backward {
                    let Step::Quotient(quotient) = step else { continue };
                    for factor in quotient.pieces.iter_mut().filter_map(|piece| piece.factor.as_mut()) {
                        if factor.0.buffer == z {
                            *factor = (Operand { buffer: a, ..factor.0 }, Contribution::Remainder);
                        }
                    }
                }
            }
            None => at += 1,
        }
    }
}

/// If step `at` of the forward pass is a sum that a linear step can do: that step, what it writes now, and the other summand.
fn residual_sum_at(planner: &Planner, at: usize) -> Option<(usize, BufferId, BufferId)> {
    let Step::Binary(Binary { op: BinaryOp::Add, a, b, activation, output, len }) = &planner.forward[at] else {
        return None;
    };
    let whole = |o: &Operand| planner.is_whole(o, *len);
    if a.buffer == b.buffer || !whole(a) || !whole(b) {
        return None;
    }
    let written = |buffer: BufferId| planner.forward.iter().rposition(|step| step.writes().contains(&buffer));
    let fits = |z: BufferId, other: BufferId| {
        let producer = written(z)?;
        let free = matches!(
            planner.forward[producer],
            Step::Linear(Linear { epilogue: Epilogue::Bias { summand: None, activation: None, .. }, .. })
        );
        let known = written(other).is_none_or(|i| i < producer);
        let others = planner.forward.iter().enumerate().filter(|(i, _)| *i != at && *i != producer);
        let unread = others.clone().all(|(_, step)| !touches(step, z));
        let alike = |step: &Step| !touches(step, z) || multiplies_with_summand(planner, step, z, *output, activation);
        let gone = !planner.drafts[z.0].permanent && unread && planner.backward.iter().all(alike);
        (free && known && gone).then_some((producer, z, other))
    };
    fits(a.buffer, b.buffer).or_else(|| fits(b.buffer, a.buffer))
}

/// Whether all that a step does with z is `z · R / st(y)`, y being f of a sum of z: and y that sum wherever R is not 0.
fn multiplies_with_summand(
    planner: &Planner,
    step: &Step,
    z: BufferId,
    y: BufferId,
    activation: &Option<Activation>,
) -> bool {
    let Step::Quotient(Quotient { denominator, share, pieces, len }) = step else { return false };
    let sum = activation
        .as_ref()
        .is_none_or(|f| keeps_positive_values(f) && planner.positive_only.contains(&(share.relevance, y)));
    let divides = matches!(denominator.as_slice(), [own] if own.buffer == y && planner.is_whole(own, *len));
    let factors = pieces.iter().filter(
        |piece| matches!(piece.factor, Some((x, Contribution::Plain)) if x.buffer == z && planner.is_whole(&x, *len)),
    );
    let mut named = 0;
    step.clone().for_each_buffer(|buffer| named += usize::from(*buffer == z));
    sum && divides && named == factors.count()
}

/// A relevance that a linear step computes only for it to be added to another adds to that one itself.
///
/// `P = …; Q = x ⊙ Wᵀs; S = P + Q` is `S = …; S += x ⊙ Wᵀs`, where nobody wants P or Q for themselves.
fn sums(planner: &mut Planner) {
    let mut at = 0;
    while at < planner.backward.len() {
        match sum_at(planner, at) {
            Some((first, [p, q], s)) => {
                if let Step::Linear(Linear { epilogue: Epilogue::Multiply { accumulate, .. }, .. }) =
                    &mut planner.backward[first]
                {
                    *accumulate = true;
                }
                planner.backward.remove(at);
                rename(planner, p, s);
                rename(planner, q, s);
            }
            None => at += 1,
        }
    }
}

/// If step `at` of the backward pass adds two relevances and the later one can do it: the first step that writes that one,
/// the two (it is the second), and their sum.
fn sum_at(planner: &Planner, at: usize) -> Option<(usize, [BufferId; 2], BufferId)> {
    let Step::Binary(Binary { op: BinaryOp::Add, a, b, activation: None, output, len }) = &planner.backward[at] else {
        return None;
    };
    let whole = |o: &Operand| planner.is_whole(o, *len);
    if a.buffer == b.buffer || !whole(a) || !whole(b) {
        return None;
    }
    let uses = Uses { planner, at };
    let fits = |p: BufferId, q: BufferId| {
        let (p_written, q_written) = (uses.writers(p)?, uses.writers(q)?);
        let (first, last) = (*q_written.first()?, *p_written.last()?);
        let adds = matches!(
            planner.backward[first],
            Step::Linear(Linear { epilogue: Epilogue::Multiply { accumulate: false, divide: None, .. }, .. })
        );
        let alone = uses.readers(q).all(|i| q_written.contains(&i)) && uses.readers(p).all(|i| i < first);
        (adds && alone && last < first).then_some((first, [p, q], *output))
    };
    fits(a.buffer, b.buffer).or_else(|| fits(b.buffer, a.buffer))
}

/// A relevance that is divided and used for nothing else is divided by the linear step, max pooling or residual sum that
/// computes it: `R = x ⊙ Wᵀs; s' = R/st(z)` is `s' = (x ⊙ Wᵀs)/st(z)`.
fn divisions(planner: &mut Planner) {
    let mut at = 0;
    while at < planner.backward.len() {
        match division_at(planner, at) {
            Some((last, relevance, share, by)) => {
                match &mut planner.backward[last] {
                    Step::Linear(Linear { epilogue: Epilogue::Multiply { divide, .. }, .. })
                    | Step::MaxPoolAdjoint(MaxPoolAdjoint { divide, .. }) => *divide = Some(by),
                    Step::Quotient(quotient) => {
                        let mut pieces = quotient.pieces.iter_mut();
                        if let Some(piece) = pieces.find(|piece| piece.output == relevance) {
                            piece.divide = Some(by);
                        }
                    }
                    _ => {}
                }
                planner.backward.remove(at);
                rename(planner, relevance, share);
            }
            None => at += 1,
        }
    }
}

/// If step `at` of the backward pass divides a relevance and the last step that writes it can do it: that step, the
/// relevance, the quotient, and the division.
fn division_at(planner: &Planner, at: usize) -> Option<(usize, BufferId, BufferId, Divide)> {
    let Step::Quotient(Quotient { denominator, share, pieces, .. }) = &planner.backward[at] else { return None };
    let ([z], [Piece { factor: None, divide: None, output }]) = (denominator.as_slice(), pieces.as_slice()) else {
        return None;
    };
    let Share { relevance, scale, epsilon: Epsilon::Constant(epsilon), clip, mask: None } = *share else { return None };
    let uses = Uses { planner, at };
    let written = uses.writers(relevance)?;
    let last = *written.last()?;
    let divides = match &planner.backward[last] {
        Step::Linear(Linear { epilogue: Epilogue::Multiply { divide: None, .. }, .. })
        | Step::MaxPoolAdjoint(MaxPoolAdjoint { divide: None, .. }) => true,
        Step::Quotient(quotient) => {
            let mut pieces = quotient.pieces.iter();
            quotient.buffers() < Quotient::MOST_BUFFERS
                && pieces.any(|piece| piece.output == relevance && piece.divide.is_none())
        }
        _ => false,
    };
    // z must be there by then.
    let known =
        z.buffer != relevance && planner.backward.iter().skip(last).all(|step| !step.writes().contains(&z.buffer));
    let alone = uses.readers(relevance).all(|i| written.contains(&i));
    let by = Divide { denominator: *z, scale, epsilon, clip };
    (divides && known && alone).then_some((last, relevance, *output, by))
}

/// Who uses a buffer of the backward pass, the step `at` aside.
struct Uses<'a> {
    planner: &'a Planner<'a>,
    at: usize,
}

impl Uses<'_> {
    /// The steps of the backward pass that write it, if it lives there alone and dies there.
    fn writers(&self, buffer: BufferId) -> Option<Vec<usize>> {
        if self.planner.drafts[buffer.0].permanent || self.planner.forward.iter().any(|step| touches(step, buffer)) {
            return None;
        }
        let steps = self.planner.backward.iter().enumerate();
        Some(steps.filter(|(i, step)| *i != self.at && step.writes().contains(&buffer)).map(|(i, _)| i).collect())
    }

    /// The steps of the backward pass that read it.
    fn readers(&self, buffer: BufferId) -> impl Iterator<Item = usize> {
        let steps = self.planner.backward.iter().enumerate();
        steps.filter(move |(i, step)| *i != self.at && step.reads().contains(&buffer)).map(|(i, _)| i)
    }
}

fn touches(step: &Step, buffer: BufferId) -> bool {
    step.reads().contains(&buffer) || step.writes().contains(&buffer)
}

/// Makes every step that uses `from` use `to`.
fn rename(planner: &mut Planner, from: BufferId, to: BufferId) {
    for step in planner.forward.iter_mut().chain(&mut planner.backward) {
        step.for_each_buffer(|buffer| {
            if *buffer == from {
                *buffer = to;
            }
        });
    }
    let renamed = |buffer| if buffer == from { to } else { buffer };
    planner.positive_only = planner.positive_only.iter().map(|(r, z)| (renamed(*r), renamed(*z))).collect();
}
