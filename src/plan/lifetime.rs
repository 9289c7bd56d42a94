//! Which buffers can share memory: those that are never alive at the same time.

use super::{Buffer, BufferId, Element, Plan, Slot, Step};

/// A buffer before it has a slot.
pub(super) struct Draft {
    pub len: usize,
    pub element: Element,
    pub label: String,
    /// Holds its values from before the first step to after the last.
    pub permanent: bool,
}

/// Gives every buffer a slot. `once` is the number of steps that run once; those after it run once a target, so when `repeats`
/// what they read from before must outlast them.
pub(super) fn assign(drafts: Vec<Draft>, steps: &[&Step], once: usize, repeats: bool) -> (Vec<Buffer>, Vec<Slot>) {
    let permanent: Vec<bool> = drafts.iter().map(|draft| draft.permanent).collect();
    let pieces: Vec<(usize, Element)> = drafts.iter().map(|draft| (draft.len, draft.element)).collect();
    let (slot_of, slots) = pack(&pieces, &lives(&permanent, steps, once, repeats));
    let slots = slots.into_iter().map(|(len, element)| Slot { len, element }).collect();
    let buffers =
        drafts.into_iter().zip(slot_of).map(|(d, slot)| Buffer { len: d.len, slot, label: d.label }).collect();
    (buffers, slots)
}

/// The first and last step at which each buffer holds something.
fn lives(permanent: &[bool], steps: &[&Step], once: usize, repeats: bool) -> Vec<(usize, usize)> {
    let mut first = vec![usize::MAX; permanent.len()];
    let mut last = vec![0; permanent.len()];
    for (at, step) in steps.iter().enumerate() {
        for buffer in step.writes() {
            first[buffer.0] = first[buffer.0].min(at);
            last[buffer.0] = last[buffer.0].max(at);
        }
        for buffer in step.reads() {
            let from_before = first[buffer.0] < once;
            last[buffer.0] = if repeats && at >= once && from_before { steps.len() } else { last[buffer.0].max(at) };
        }
    }
    let life = |i: usize| if permanent[i] || first[i] == usize::MAX { (0, steps.len()) } else { (first[i], last[i]) };
    (0..permanent.len()).map(life).collect()
}

/// Puts pieces of a size and kind into slots, pieces that live at the same time into different ones. Gives each piece's slot,
/// and each slot's size and kind.
fn pack<S: Copy + Ord, K: Copy + PartialEq>(pieces: &[(S, K)], lives: &[(usize, usize)]) -> (Vec<usize>, Vec<(S, K)>) {
    // The largest first: each takes the smallest slot that is free for as long as it lives, and no slot has to grow.
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(pieces[*i].0));
    let mut slots: Vec<(S, K)> = Vec::new();
    let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut slot_of = vec![0; pieces.len()];
    for i in order {
        let ((size, kind), life) = (pieces[i], lives[i]);
        let free = |k: &usize| slots[*k].1 == kind && taken[*k].iter().all(|(from, to)| *to < life.0 || life.1 < *from);
        let slot = (0..slots.len()).filter(free).min_by_key(|k| slots[*k].0).unwrap_or(slots.len());
        if slot == slots.len() {
            slots.push((size, kind));
            taken.push(Vec::new());
        }
        taken[slot].push(life);
        slot_of[i] = slot;
    }
    (slot_of, slots)
}

impl Plan {
    /// Slots for an executor that stores buffers in so many bytes each: the slot of each buffer, and the bytes of each slot.
    /// As with the plan's own, buffers that share one never live at the same time.
    pub(crate) fn pack(&self, bytes: impl Fn(BufferId) -> u64) -> (Vec<usize>, Vec<u64>) {
        let steps: Vec<&Step> = self.prologue.iter().chain(&self.forward).chain(&self.backward).collect();
        let once = self.prologue.len() + self.forward.len();
        let mut permanent = vec![false; self.buffers.len()];
        let ports = self.inputs.iter().chain(&self.outputs).chain(&self.relevances).map(|port| port.buffer);
        let constants = self.constants.iter().map(|constant| constant.buffer);
        let made_once = self.prologue.iter().flat_map(Step::writes);
        ports.chain(constants).chain(made_once).chain(self.sums).for_each(|buffer| permanent[buffer.0] = true);
        // Slots that let the backward pass run again say that it may.
        let mut lives = lives(&permanent, &steps, once, true);
        if !self.fits(&lives) {
            lives = self::lives(&permanent, &steps, once, false);
        }
        let kind = |buffer: &Buffer| self.slots[buffer.slot].element;
        let pieces: Vec<(u64, Element)> =
            self.buffers.iter().enumerate().map(|(i, buffer)| (bytes(BufferId(i)), kind(buffer))).collect();
        let (slot_of, slots) = pack(&pieces, &lives);
        (slot_of, slots.into_iter().map(|(bytes, _)| bytes).collect())
    }

    /// Whether no two buffers that share a slot live at the same time.
    fn fits(&self, lives: &[(usize, usize)]) -> bool {
        let mut by_slot: Vec<_> = self.buffers.iter().zip(lives).map(|(buffer, life)| (buffer.slot, *life)).collect();
        by_slot.sort_unstable();
        by_slot.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1.1 < pair[1].1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architectures::by_name;
    use crate::plan::PlanOptions;
    use crate::rules::Composite;

    fn plan(several_targets: bool) -> Plan {
        let network = by_name("resnet18").unwrap().build(64).unwrap();
        let output = network.outputs()[0];
        let options = PlanOptions { batch: 1, output, layers: Vec::new(), conservation: true.into(), several_targets };
        Plan::explain(&network, &Composite::parse("epsilon-gamma-box:-1,1").unwrap(), &options).unwrap()
    }

    #[test]
    fn packing_at_the_plan_s_own_sizes_takes_what_the_plan_takes() {
        let (one, several) = (plan(false), plan(true));
        for plan in [&one, &several] {
            let (slots, bytes) = plan.pack(|buffer| plan.buffers[buffer.0].len as u64 * 4);
            assert_eq!(slots, plan.buffers.iter().map(|buffer| buffer.slot).collect::<Vec<_>>());
            assert_eq!(bytes, plan.slots.iter().map(|slot| slot.len as u64 * 4).collect::<Vec<_>>());
        }
        // Several backward passes after one forward pass need more: the two were told apart.
        assert!(several.memory(4).1 > one.memory(4).1);
    }
}
