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
    let free = match step {
        Step::Linear(Linear { epilogue: Epilogue::Bias { activation: None, .. }, .. }) => true,
        Step::Binary(Binary { activation: None, .. }) => true,
        _ => false,
    };
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
}
