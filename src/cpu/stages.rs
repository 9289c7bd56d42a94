//! The steps of a plan as the executor runs them: where a step cannot read or write buffers in the layout they have, copies
//! take its place before and after it.

use super::layout::Layouts;
use crate::plan::{BufferId, Plan, Step};

/// A step, and what is copied for it.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Blocked buffers and where their values go in row-major order.
    pub(super) unpacked: Vec<(BufferId, BufferId)>,
    /// The step on the copies.
    pub(super) step: Step,
    /// Blocked buffers and where their values come from.
    pub(super) packed: Vec<(BufferId, BufferId)>,
}

/// The stages of a plan, and what copies need of memory.
#[derive(Clone, Debug)]
pub(super) struct Stages {
    pub(super) prologue: Vec<Stage>,
    pub(super) forward: Vec<Stage>,
    pub(super) backward: Vec<Stage>,
    /// The buffers that hold copies, in place of which: they follow those of the plan.
    pub(super) copies: Vec<Copied>,
}

/// A buffer that holds a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    /// What it is a copy of.
    pub(super) of: BufferId,
    /// Copies of the same number are never alive at the same time.
    pub(super) slot: usize,
}

impl Stages {
    /// One stage for each step.
    pub(super) fn new(plan: &Plan, layouts: &Layouts) -> Stages {
        let mut copies = Vec::new();
        let mut stages = |steps: &[Step]| steps.iter().map(|step| stage(step, plan, layouts, &mut copies)).collect();
        let [prologue, forward, backward] = [&plan.prologue, &plan.forward, &plan.backward].map(|steps| stages(steps));
        Stages { prologue, forward, backward, copies }
    }
}

fn stage(step: &Step, plan: &Plan, layouts: &Layouts, copies: &mut Vec<Copied>) -> Stage {
    if let Some(step) = layouts.runs(step) {
        return Stage { unpacked: Vec::new(), step, packed: Vec::new() };
    }
    let mut step = step.clone();
    let (reads, writes) = (step.reads(), step.writes());
    let mut made: Vec<(BufferId, BufferId)> = Vec::new();
    step.for_each_buffer(|buffer| {
        if layouts.of(*buffer).is_none() {
            return;
        }
        let copy = match made.iter().find(|(of, _)| of == buffer) {
            Some((_, copy)) => *copy,
            None => {
                let copy = BufferId(plan.buffers.len() + copies.len());
                copies.push(Copied { of: *buffer, slot: made.len() });
                made.push((*buffer, copy));
                copy
            }
        };
        *buffer = copy;
    });
    // A step may leave some of what it writes as it was.
    let unpacked = made.clone().into_iter().filter(|(of, _)| reads.contains(of) || writes.contains(of)).collect();
    let packed = made.into_iter().filter(|(of, _)| writes.contains(of)).collect();
    Stage { unpacked, step, packed }
}
