//! The slots of a plan as vectors, and scratch memory that kernels borrow.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use super::aligned::Aligned;
use super::layout::{Blocked, Layouts};
use super::stages::Copied;
use crate::error::{Error, Result};
use crate::plan::{BufferId, Element, Plan};
use crate::tensor::Real;

/// The slots of a plan. A slot has values in one of the two lists and is empty in the other.
#[derive(Debug)]
pub(super) struct Memory<T> {
    reals: Vec<Aligned<T>>,
    indices: Vec<Vec<u32>>,
    /// Slot and length of each buffer.
    places: Vec<(usize, usize)>,
    layouts: Layouts,
}

impl<T: Real> Memory<T> {
    /// Zeroed slots for a checked plan and the copies its stages make.
    pub(super) fn new(plan: &Plan, mut layouts: Layouts, copies: &[Copied]) -> Memory<T> {
        let first = plan.slots.len();
        let elements = plan.slots.iter().map(|s| s.element);
        let lens: Vec<usize> = copies.iter().map(|copy| plan.buffers[copy.of.0].len).collect();
        layouts.extend(lens);
        // A copy's slot is one of two, for floats or indices.
        let copy = |c: &Copied| first + 2 * c.slot + usize::from(plan.slots[plan.slot(c.of)].element == Element::Index);
        let slots: Vec<usize> = plan.buffers.iter().map(|b| b.slot).chain(copies.iter().map(copy)).collect();
        let more = copies.iter().map(|c| c.slot + 1).max().unwrap_or(0);
        let elements: Vec<Element> = elements.chain([Element::Real, Element::Index].repeat(more)).collect();
        let places: Vec<(usize, usize)> =
            slots.iter().enumerate().map(|(buffer, slot)| (*slot, layouts.len(BufferId(buffer)))).collect();
        let mut sizes = vec![0; elements.len()];
        for (slot, len) in &places {
            sizes[*slot] = sizes[*slot].max(*len);
        }
        let size = |element| {
            let sizes = sizes.iter().zip(&elements);
            sizes.map(move |(len, of)| if *of == element { *len } else { 0 })
        };
        Memory {
            reals: size(Element::Real).map(Aligned::zeros).collect(),
            indices: size(Element::Index).map(|n| vec![0; n]).collect(),
            places,
            layouts,
        }
    }

    /// Bytes of all slots.
    pub(super) fn bytes(&self) -> u64 {
        let reals = self.reals.iter().map(|values| size_of_val(&values[..]));
        (reals.chain(self.indices.iter().map(|values| size_of_val(&values[..]))).sum::<usize>()) as u64
    }

    /// The layout of a buffer; `None` is row-major.
    pub(super) fn layout(&self, buffer: BufferId) -> Option<Blocked> {
        self.layouts.of(buffer)
    }

    /// The layouts of all buffers.
    pub(super) fn layouts(&self) -> &Layouts {
        &self.layouts
    }

    /// Puts row-major values into a buffer.
    pub(super) fn load(&mut self, buffer: BufferId, plain: &[T]) {
        match self.layout(buffer) {
            None => self.write(buffer, |_, values| values.copy_from_slice(plain)),
            Some(layout) => self.write(buffer, |_, values| layout.pack(plain, values, |x| x)),
        }
    }

    /// The values of a buffer in row-major order.
    pub(super) fn read(&self, buffer: BufferId) -> Vec<T> {
        let values = self.real(buffer);
        let Some(layout) = self.layout(buffer) else { return values.to_vec() };
        let mut plain = vec![T::ZERO; layout.samples * layout.channels * layout.plane];
        layout.unpack(values, &mut plain);
        plain
    }

    /// Copies a blocked buffer into a row-major one.
    pub(super) fn unpack(&mut self, blocked: BufferId, plain: BufferId) {
        let Some(layout) = self.layout(blocked) else { return };
        let (slot, len) = self.places[plain.0];
        if self.indices[slot].is_empty() {
            self.write(plain, |memory, plain| layout.unpack(memory.real(blocked), plain));
        } else {
            let mut values = std::mem::take(&mut self.indices[slot]);
            layout.unpack(self.index(blocked), &mut values[..len]);
            self.indices[slot] = values;
        }
    }

    /// Copies a row-major buffer into a blocked one.
    pub(super) fn pack(&mut self, plain: BufferId, blocked: BufferId) {
        let Some(layout) = self.layout(blocked) else { return };
        let (slot, len) = self.places[blocked.0];
        if self.indices[slot].is_empty() {
            self.write(blocked, |memory, values| layout.pack(memory.real(plain), values, |x| x));
        } else {
            let mut values = std::mem::take(&mut self.indices[slot]);
            layout.pack(self.index(plain), &mut values[..len], |x| x);
            self.indices[slot] = values;
        }
    }

    /// The values of a buffer of floats.
    pub(super) fn real(&self, buffer: BufferId) -> &[T] {
        let (slot, len) = self.places[buffer.0];
        &self.reals[slot][..len]
    }

    /// The values of an index buffer.
    pub(super) fn index(&self, buffer: BufferId) -> &[u32] {
        let (slot, len) = self.places[buffer.0];
        &self.indices[slot][..len]
    }

    /// Writes a buffer of floats while the others can be read.
    pub(super) fn write(&mut self, buffer: BufferId, kernel: impl FnOnce(&Memory<T>, &mut [T])) {
        let (slot, len) = self.places[buffer.0];
        let mut values = std::mem::take(&mut self.reals[slot]);
        kernel(self, &mut values[..len]);
        self.reals[slot] = values;
    }

    /// Writes two buffers of floats while the others can be read.
    pub(super) fn write_two(
        &mut self,
        first: BufferId,
        second: BufferId,
        kernel: impl FnOnce(&Memory<T>, &mut [T], &mut [T]),
    ) {
        let (slot, len) = self.places[second.0];
        let mut values = std::mem::take(&mut self.reals[slot]);
        self.write(first, |memory, first| kernel(memory, first, &mut values[..len]));
        self.reals[slot] = values;
    }

    /// Writes three buffers of floats while the others can be read.
    pub(super) fn write_three(
        &mut self,
        [first, second, third]: [BufferId; 3],
        kernel: impl FnOnce(&Memory<T>, &mut [T], &mut [T], &mut [T]),
    ) {
        let (slot, len) = self.places[third.0];
        let mut values = std::mem::take(&mut self.reals[slot]);
        self.write_two(first, second, |memory, first, second| kernel(memory, first, second, &mut values[..len]));
        self.reals[slot] = values;
    }

    /// Writes a buffer of floats and one of indices while the others can be read.
    pub(super) fn write_indexed(
        &mut self,
        buffer: BufferId,
        winners: BufferId,
        kernel: impl FnOnce(&Memory<T>, &mut [T], &mut [u32]),
    ) {
        let (slot, len) = self.places[winners.0];
        let mut indices = std::mem::take(&mut self.indices[slot]);
        self.write(buffer, |memory, values| kernel(memory, values, &mut indices[..len]));
        self.indices[slot] = indices;
    }
}

/// Refuses a plan, at `bytes` a float, that the machine's memory cannot hold: to begin with it would end in the program's
/// being killed, not in an error.
pub(super) fn check(plan: &Plan, bytes: usize) -> Result<()> {
    let (weights, slots) = plan.memory(bytes);
    let need = weights.saturating_add(slots);
    let full = |place: &str, have| Error::Memory {
        what: format!("a run of {} samples", plan.batch),
        need,
        place: place.to_string(),
        have,
        help: "use a smaller batch or input".to_string(),
    };
    if let Some(have) = available().filter(|have| need > *have) {
        return Err(full("this machine's memory", have));
    }
    // A process may be allowed less than the machine has; what is only reserved costs nothing.
    let fits = |bytes: &u64| usize::try_from(*bytes).is_ok_and(|n| Vec::<u8>::new().try_reserve_exact(n).is_ok());
    if fits(&need) {
        return Ok(());
    }
    let have = (1..u64::BITS).map(|halvings| need >> halvings).find(fits).unwrap_or(0);
    Err(full("the memory that this process may take", have))
}

/// Bytes of memory that are free, as Linux estimates them; `None` elsewhere.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Scratch vectors that outlive a run, so that hot loops neither allocate nor touch fresh pages.
#[derive(Debug, Default)]
pub(super) struct Scratch<T>(Mutex<Vec<Aligned<T>>>);

/// A scratch vector on loan; its values are whatever its last user left.
pub(super) struct Loan<'a, T> {
    scratch: &'a Scratch<T>,
    values: Aligned<T>,
    len: usize,
}

impl<T: Real> Scratch<T> {
    /// No vectors yet.
    pub(super) fn new() -> Scratch<T> {
        Scratch(Mutex::new(Vec::new()))
    }

    /// Bytes of the vectors that are not on loan.
    pub(super) fn bytes(&self) -> u64 {
        let kept = self.0.lock().map(|kept| kept.iter().map(|values| size_of_val(&values[..])).sum::<usize>());
        kept.unwrap_or_default() as u64
    }

    /// Lends `len` values.
    pub(super) fn lend(&self, len: usize) -> Loan<'_, T> {
        let kept = self.0.lock().ok().and_then(|mut kept| kept.pop());
        let mut values = kept.unwrap_or_default();
        if values.len() < len {
            values = Aligned::zeros(len);
        }
        Loan { scratch: self, values, len }
    }

    /// Lends `len` zeros.
    pub(super) fn lend_zeros(&self, len: usize) -> Loan<'_, T> {
        let mut loan = self.lend(len);
        loan.fill(T::ZERO);
        loan
    }
}

impl<T> Deref for Loan<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.values[..self.len]
    }
}

impl<T> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[..self.len]
    }
}

impl<T> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        // A poisoned lock means that another thread panicked: then the vector is merely freed.
        if let Ok(mut kept) = self.scratch.0.lock() {
            kept.push(std::mem::take(&mut self.values));
        }
    }
}
