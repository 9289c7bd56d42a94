//! The bodies of the linear kernels: how a product is shared out among threads, and which body suits which product.

use super::device::{AdapterInfo, Gpu};
use super::executor::GpuOptions;
use super::phases::{Merged, grid, is_strided};
use super::tune::Tuned;
use super::weights::Layout;
use crate::plan::{Direction, Geometry, Linear};

/// How a linear kernel is computed. All give the same sums up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearBody {
    /// Tiles of 128 × 128 outputs in workgroup memory, 256 threads with 8 × 8 each.
    Tiles128,
    /// Tiles of 64 × 64 outputs in workgroup memory, 256 threads with 4 × 4 each.
    Tiles64,
    /// Tiles of 32 × 32 outputs in workgroup memory, 64 threads with 4 × 4 each.
    Tiles32,
    /// Without workgroup memory: a thread sums up to 16 rows for four columns.
    Rows,
    /// For pointwise products of few columns: the depth is split among the threads of a workgroup. Other products take
    /// [`LinearBody::Direct`] instead.
    Dense,
    /// One thread an output or a few neighbouring ones, without workgroup memory.
    Direct,
}

/// What linear kernels are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// A graphics card.
    Hardware,
    /// Software on the processor.
    Software,
    /// Software whose subgroups are all of `BROADCAST_THREADS` threads, which hand values to each other.
    SoftwareWithSubgroups,
}

/// Fewest lines of outputs that are worth a window of them for each thread.
const LEAST_LINES: usize = 4;

/// Threads of a subgroup that [`Machine::SoftwareWithSubgroups`] has: a whole workgroup of [`LinearBody::Rows`].
const BROADCAST_THREADS: u32 = 8;

impl Machine {
    /// What an adapter is.
    pub(super) fn of(adapter: &AdapterInfo) -> Machine {
        match (adapter.is_software, adapter.subgroup_size) {
            (false, _) => Machine::Hardware,
            (true, Some(BROADCAST_THREADS)) => Machine::SoftwareWithSubgroups,
            (true, _) => Machine::Software,
        }
    }

    fn is_software(self) -> bool {
        self != Machine::Hardware
    }
}

/// The product that a dispatch computes, as a body sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Product {
    pub direction: Direction,
    pub pointwise: bool,
    /// Outputs of a group, of all samples and positions (for a strided adjoint: of a phase), and products summed for each.
    pub rows: usize,
    pub columns: usize,
    /// Channels that are summed over for each tap.
    pub channels: usize,
    pub taps: usize,
    /// Groups times phases.
    pub slices: usize,
}

/// What decides on bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    /// How every kernel is computed; none chooses by its size.
    pub body: Option<LinearBody>,
    /// What kernels are made for.
    pub machine: Machine,
    /// Most multiply-adds of a dispatch.
    pub max_work: u64,
    /// What was found fastest.
    tuned: Tuned,
}

/// Multiply-adds that even a slow card (500 GFLOP/s) does in 100 ms: a dispatch that takes seconds is stopped by some
/// systems.
const MAX_WORK: u64 = 20_000_000_000;

/// Tiles that occupy a card: with fewer, smaller ones do better.
const ENOUGH_TILES: usize = 96;

impl Tiling {
    pub fn suited(gpu: &Gpu, options: &GpuOptions) -> Tiling {
        let is_software = gpu.info().is_software;
        let machine = options.machine.unwrap_or_else(|| Machine::of(gpu.info()));
        // Nothing stops software.
        let most = if is_software { u64::MAX } else { MAX_WORK };
        // What was tuned on software was asked for: it does not hold for others.
        let tuned = if options.tune.unwrap_or(!is_software) { gpu.tuned() } else { Tuned::new() };
        Tiling { body: options.body, machine, max_work: options.max_work.unwrap_or(most), tuned }
    }

    /// Every kernel computed by one body.
    pub fn forced(body: LinearBody, machine: Machine, max_work: u64) -> Tiling {
        Tiling { body: Some(body), machine, max_work, tuned: Tuned::new() }
    }

    /// The body for a step, and the order in which it reads the step's weights.
    pub fn choose(&self, linear: &Linear) -> (LinearBody, Layout) {
        let (direction, geometry) = (linear.direction, &linear.geometry);
        let m_per_group = geometry.out_channels / geometry.groups;
        let body = self.body(&Product::of(direction, geometry, geometry.groups, m_per_group));
        let layout = match (direction, body, Merged::of(direction, geometry)) {
            (Direction::Adjoint, LinearBody::Rows, Some(merged)) => Layout::Merged(merged),
            (Direction::Adjoint, LinearBody::Rows, None) => Layout::InputsFastest,
            _ => Layout::OutputsFastest,
        };
        (body, layout)
    }

    /// The body for a product.
    fn body(&self, product: &Product) -> LinearBody {
        let tuned = || self.tuned.get(product).copied();
        let body = self.body.or_else(tuned).unwrap_or_else(|| product.suited(self.machine.is_software()));
        if body == LinearBody::Dense && !product.pointwise { LinearBody::Direct } else { body }
    }
}

impl Product {
    /// What [`launches`](super::linear::launches) computes with all of a layer's outputs m in a chunk of so many.
    pub fn of(direction: Direction, geometry: &Geometry, groups: usize, m_len: usize) -> Product {
        let c_len = geometry.in_channels / geometry.groups;
        let (rows, channels) = match direction {
            Direction::Forward => (m_len, c_len),
            Direction::Adjoint => (c_len, m_len),
        };
        let plane: usize = grid(direction, geometry).iter().product();
        let phases = if is_strided(direction, geometry) { geometry.stride.iter().product() } else { 1 };
        Product {
            direction,
            pointwise: geometry.is_pointwise(),
            rows,
            columns: geometry.batch * plane,
            channels,
            taps: geometry.taps(),
            slices: groups * phases,
        }
    }

    /// The same with all phases as rows.
    pub fn merged(self, merged: &Merged) -> Product {
        let (rows, slices) = (self.rows * merged.phases, self.slices / merged.phases);
        Product { rows, slices, taps: merged.taps.iter().product(), ..self }
    }

    /// The bodies that may be fastest on hardware. All read the same weights.
    pub fn candidates(&self) -> Vec<LinearBody> {
        use LinearBody::{Dense, Direct, Tiles32, Tiles64, Tiles128};
        match self.suited(false) {
            Dense => vec![Dense, Tiles32],
            Tiles128 | Tiles64 | Tiles32 if self.rows > 64 && self.columns > 64 => vec![Tiles128, Tiles64, Tiles32],
            Tiles64 | Tiles32 if self.rows > 32 && self.columns > 32 => vec![Tiles64, Tiles32],
            Direct if self.rows >= 8 => vec![Direct, Tiles32],
            only => vec![only],
        }
    }

    /// The body that suits by size alone.
    fn suited(&self, is_software: bool) -> LinearBody {
        let tiles = |size: usize| self.rows.div_ceil(size) * self.columns.div_ceil(size) * self.slices;
        if is_software {
            // Rows computes at least 4 rows for 64 columns.
            let wasteful = self.columns < 8 || self.rows < 3;
            return if wasteful { LinearBody::Direct } else { LinearBody::Rows };
        }
        if self.pointwise && self.columns <= 8 && self.channels >= 64 {
            LinearBody::Dense
        } else if self.rows < 3 || self.columns < 8 {
            LinearBody::Direct
        } else if self.rows < 12 || self.channels < 6 {
            // Most of a tile would be empty.
            LinearBody::Rows
        } else if self.rows > 64 && self.columns > 64 && tiles(128) >= ENOUGH_TILES {
            LinearBody::Tiles128
        } else if self.rows > 32 && self.columns > 32 && tiles(64) >= ENOUGH_TILES {
            LinearBody::Tiles64
        } else {
            LinearBody::Tiles32
        }
    }
}

impl LinearBody {
    /// Every body.
    pub const ALL: [LinearBody; 6] = [
        LinearBody::Tiles128,
        LinearBody::Tiles64,
        LinearBody::Tiles32,
        LinearBody::Rows,
        LinearBody::Dense,
        LinearBody::Direct,
    ];

    /// Whether the body takes several outputs a thread, one above another: where from one tap to the next below, an output
    /// takes the value that another one took before.
    pub(super) fn is_windowed(self, direction: Direction, geometry: &Geometry) -> bool {
        let [_, stride, _] = geometry.stride;
        let shares = geometry.kernel[1] > stride && stride % geometry.dilation[1] == 0;
        self == LinearBody::Direct && shares && grid(direction, geometry)[1] >= LEAST_LINES
    }

    /// Rows, columns and depth of a tile, for bodies with tiles in workgroup memory. Each is as deep as two tiles of
    /// weights and two of values fit into 16 KiB, the least that a device has.
    fn tile(self) -> Option<[u32; 3]> {
        match self {
            LinearBody::Tiles128 => Some([128, 128, 8]),
            LinearBody::Tiles64 => Some([64, 64, 16]),
            LinearBody::Tiles32 => Some([32, 32, 8]),
            LinearBody::Rows | LinearBody::Dense | LinearBody::Direct => None,
        }
    }

    /// Whether it has tiles in workgroup memory.
    pub(super) fn is_tiled(self) -> bool {
        self.tile().is_some()
    }

    /// How the body computes a product of so many rows.
    pub(super) fn variant(self, direction: Direction, rows: usize, machine: Machine) -> Variant {
        let is_software = machine.is_software();
        let mut flags = Vec::new();
        let mut constants = Vec::new();
        let (mut tile, mut threads, mut depth_blocks, mut thread_sums) = ([1, 1], 1, 0, 0);
        let adjoint = direction == Direction::Adjoint;
        match self {
            LinearBody::Tiles128 | LinearBody::Tiles64 | LinearBody::Tiles32 => {
                let [m, n, k] = self.tile().unwrap_or([32, 32, 8]);
                constants.extend([("TILE_M", m), ("TILE_N", n), ("TILE_K", k)]);
                tile = [m as usize, n as usize];
                depth_blocks = k / 4;
                thread_sums = if self == LinearBody::Tiles128 { 8 } else { 4 };
                flags.extend((self == LinearBody::Tiles128).then_some("WIDE"));
                // Software compiles an unrolled tile ten times as long, and does not run it faster.
                flags.extend((!is_software).then_some("UNROLLED"));
            }
            LinearBody::Rows => {
                // Whole wavefronts on hardware. Software's vectors are short, and it takes most of its time to load: eight
                // columns a thread make the most of a weight.
                let (lanes, thread_columns): (u32, u32) = if is_software { (BROADCAST_THREADS, 8) } else { (64, 4) };
                let vectors = rows.div_ceil(4).clamp(1, 4) as u32;
                constants.extend([("THREADS", lanes), ("ROW_VECS", vectors)]);
                tile = [4 * vectors as usize, (thread_columns * lanes) as usize];
                thread_sums = thread_columns * vectors;
                flags.push("ROWS");
                flags.extend((vectors >= 2).then_some("ROWS_8"));
                flags.extend((vectors >= 3).then_some("ROWS_12"));
                flags.extend((vectors >= 4).then_some("ROWS_16"));
                flags.extend(is_software.then_some("COLUMNS_8"));
                flags.extend((machine == Machine::SoftwareWithSubgroups).then_some("BROADCAST"));
            }
            LinearBody::Dense => {
                tile = [if adjoint { 8 } else { 32 }, 4];
                flags.push("DENSE");
            }
            LinearBody::Direct => {
                threads = 64;
                flags.extend(["DIRECT", "SCALAR_WEIGHTS"]);
            }
        }
        flags.extend(adjoint.then_some("ADJOINT"));
        Variant { flags, constants, tile, threads, depth_blocks, thread_sums }
    }
}

/// A body's shader and grid.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub flags: Vec<&'static str>,
    pub constants: Vec<(&'static str, u32)>,
    /// Rows and columns that a unit of work computes.
    pub tile: [usize; 2],
    /// Units of work of a workgroup.
    pub threads: usize,
    /// The depth of a tile in fours.
    pub depth_blocks: u32,
    /// Vectors of four rows that a thread sums, or pairs of them: each is an epilogue.
    pub thread_sums: u32,
}

impl Variant {
    /// [`LinearBody::Direct`] with a window of outputs a thread: hardware needs many threads, software short ways to begin.
    pub fn windowed(mut self, machine: Machine) -> Variant {
        let height = if machine.is_software() { 8 } else { 4 };
        self.flags.push("WINDOW");
        self.flags.extend(machine.is_software().then_some("TALL"));
        self.constants.push(("HEIGHT", height));
        self.tile = [1, height as usize];
        self
    }
}
