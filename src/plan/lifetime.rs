//! Which buffers can share memory: those that are never alive at the same time.

use super::{Buffer, Element, Slot, Step};

/// A buffer before it has a slot.
pub(super) struct Draft {
    pub len: usize,
    pub element: Element,
    pub label: String,
    /// Holds its values from before the first step to after the last.
    pub permanent: bool,
}

/// Gives every buffer a slot. `last_forward` is the number of steps that run once; those after it run once a target, so
/// when `repeats` what they read from before must outlast them.
pub(super) fn assign(drafts: Vec<Draft>, steps: &[&Step], once: usize, repeats: bool) -> (Vec<Buffer>, Vec<Slot>) {
    let count = drafts.len();
    let mut first = vec![usize::MAX; count];
    let mut last = vec![0; count];
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
    // The largest first: each takes the smallest slot that is free for as long as it lives, and no slot has to grow.
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|i| std::cmp::Reverse(drafts[*i].len));
    let mut slots: Vec<Slot> = Vec::new();
    let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut slot_of = vec![0; count];
    for i in order {
        let Draft { len, element, permanent, .. } = drafts[i];
        let life = if permanent || first[i] == usize::MAX { (0, steps.len()) } else { (first[i], last[i]) };
        let free = |k: &usize| {
            slots[*k].element == element && taken[*k].iter().all(|(from, to)| *to < life.0 || life.1 < *from)
        };
        let slot = (0..slots.len()).filter(free).min_by_key(|k| slots[*k].len).unwrap_or(slots.len());
        if slot == slots.len() {
            slots.push(Slot { len, element });
            taken.push(Vec::new());
        }
        taken[slot].push(life);
        slot_of[i] = slot;
    }
    let buffers =
        drafts.into_iter().zip(slot_of).map(|(d, slot)| Buffer { len: d.len, slot, label: d.label }).collect();
    (buffers, slots)
}
