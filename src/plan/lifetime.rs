//! Which buffers can share memory: those that are never alive at the same time.

use super::{Buffer, BufferId, Element, Slot, Step};

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
    let mut slots: Vec<Slot> = Vec::new();
    let mut slot_of = vec![usize::MAX; count];
    let mut free: Vec<usize> = Vec::new();
    for (i, draft) in drafts.iter().enumerate() {
        if draft.permanent || first[i] == usize::MAX {
            slot_of[i] = slots.len();
            slots.push(Slot { len: draft.len, element: draft.element });
        }
    }
    for (at, step) in steps.iter().enumerate() {
        for BufferId(i) in step.writes() {
            if slot_of[i] == usize::MAX {
                slot_of[i] = take(&mut slots, &mut free, drafts[i].len, drafts[i].element);
            }
        }
        let mut ended: Vec<usize> = step.reads().into_iter().chain(step.writes()).map(|b| b.0).collect();
        ended.sort_unstable();
        ended.dedup();
        for i in ended {
            if !drafts[i].permanent && last[i] == at {
                free.push(slot_of[i]);
            }
        }
    }
    let buffers =
        drafts.into_iter().zip(slot_of).map(|(d, slot)| Buffer { len: d.len, slot, label: d.label }).collect();
    (buffers, slots)
}

/// The free slot that fits best, grown if it must be, or a new one.
fn take(slots: &mut Vec<Slot>, free: &mut Vec<usize>, len: usize, element: Element) -> usize {
    let fits = |k: &usize| slots[free[*k]].element == element;
    let enough =
        (0..free.len()).filter(fits).filter(|k| slots[free[*k]].len >= len).min_by_key(|k| slots[free[*k]].len);
    let largest = || (0..free.len()).filter(fits).max_by_key(|k| slots[free[*k]].len);
    match enough.or_else(largest) {
        Some(k) => {
            let slot = free.swap_remove(k);
            slots[slot].len = slots[slot].len.max(len);
            slot
        }
        None => {
            slots.push(Slot { len, element });
            slots.len() - 1
        }
    }
}
