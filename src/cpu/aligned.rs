//! Values that begin with a cache line: a register that lies across two takes twice as long to load.

use std::ops::{Deref, DerefMut};

use crate::tensor::Real;

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// A vector of a fixed length that begins with a cache line.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Real> Aligned<T> {
    /// Zeros.
    pub(super) fn zeros(len: usize) -> Aligned<T> {
        let values = vec![T::ZERO; if len == 0 { 0 } else { len + LINE / size_of::<T>() }];
        // Past the room for it, the offset would say that no alignment is to be had: then there is none.
        let start = values.as_ptr().align_offset(LINE).min(values.len() - len);
        Aligned { values, start, len }
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Aligned<T> {
        Aligned { values: Vec::new(), start: 0, len: 0 }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.values[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..][..self.len]
    }
}
