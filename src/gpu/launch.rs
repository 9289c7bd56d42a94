//! One dispatch as data: which kernel variant, its parameters, what is bound, and the grid.

use super::shader::ShaderKey;
use super::weights::Layout;
use crate::error::{Error, Result};
use crate::plan::{BufferId, WeightId};

/// Most workgroups in a dimension of a dispatch, on any device.
pub(super) const MAX_WORKGROUPS: u64 = 65_535;

/// Threads of a workgroup of the kernels that have one thread an item.
pub(super) const WORKGROUP: u64 = 256;

/// One dispatch.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub shader: ShaderKey,
    /// The kernel's parameter block.
    pub params: Vec<u8>,
    pub bindings: Vec<Binding>,
    pub grid: Grid,
}

/// What is bound to an index of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub index: u32,
    pub resource: Resource,
    /// Whether the kernel writes it.
    pub written: bool,
}

/// A buffer that a kernel sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// A buffer of the plan.
    Buffer(BufferId),
    /// One chunk of a prepared weight, laid out for so many groups.
    Weight { weight: WeightId, groups: usize, layout: Layout, chunk: usize },
    /// Where the rows of a sparse map begin.
    MapStarts(usize),
    /// Positions and weights of a sparse map.
    MapEntries(usize),
    /// The seed requests of the samples.
    Requests,
    /// The word that tells whether a value was too large for its buffer.
    Overflow(BufferId),
}

/// A grid of workgroups folded into two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub width: u32,
    pub height: u32,
}

impl Grid {
    /// A grid of at least `workgroups`, as square as need be and not much larger.
    ///
    /// # Errors
    /// [`Error::Device`] when even a folded grid cannot hold them.
    pub fn of(workgroups: u64) -> Result<Grid> {
        let height = workgroups.div_ceil(MAX_WORKGROUPS).max(1);
        let width = workgroups.div_ceil(height).max(1);
        match (u32::try_from(width), u32::try_from(height)) {
            (Ok(width), Ok(height)) if u64::from(height) <= MAX_WORKGROUPS => Ok(Grid { width, height }),
            _ => Err(Error::Device(format!(
                "{workgroups} workgroups are more than a dispatch can have; use a smaller batch"
            ))),
        }
    }

    /// One thread an item, [`WORKGROUP`] a workgroup.
    pub fn of_items(items: usize) -> Result<Grid> {
        Grid::of((items as u64).div_ceil(WORKGROUP))
    }
}

/// A count or position as kernels have it.
///
/// # Errors
/// [`Error::Device`] when it does not fit into 32 bits.
pub(super) fn u32_of(value: usize) -> Result<u32> {
    u32::try_from(value)
        .map_err(|_| Error::Device(format!("{value} does not fit into a kernel's 32-bit index; use a smaller batch")))
}

/// [`u32_of`] for three axes.
pub(super) fn axes(values: [usize; 3]) -> Result<[u32; 3]> {
    Ok([u32_of(values[0])?, u32_of(values[1])?, u32_of(values[2])?])
}

/// A binding that the kernel reads.
pub(super) fn read(index: u32, buffer: BufferId) -> Binding {
    Binding { index, resource: Resource::Buffer(buffer), written: false }
}

/// A binding that the kernel writes.
pub(super) fn write(index: u32, buffer: BufferId) -> Binding {
    Binding { index, resource: Resource::Buffer(buffer), written: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_fold_at_the_limit_and_waste_little() {
        for workgroups in [1, 2, 65_535, 65_536, 100_000, 131_070, 131_071, 4_000_000_000] {
            let grid = Grid::of(workgroups).unwrap();
            let held = u64::from(grid.width) * u64::from(grid.height);
            assert!(u64::from(grid.width.max(grid.height)) <= MAX_WORKGROUPS);
            assert!(held >= workgroups && held - workgroups < u64::from(grid.height), "{workgroups}: {grid:?}");
        }
        assert!(Grid::of(u64::MAX / 2).is_err());
    }
}
