//! Dispatches of the two linear kernels.

use super::kernels::function;
use super::launch::{Binding, Grid, Launch, Resource, axes, read, u32_of, write};
use super::params::LinearParams;
use super::shader::ShaderKey;
use super::weights::Chunk;
use crate::error::{Error, Result};
use crate::plan::{Direction, Epilogue, Epsilon, Geometry, Linear, Part, Share, Sign};

/// How a linear kernel is computed. All give the same sums up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearBody {
    /// Tiles of 64 × 64 outputs in workgroup memory, 256 threads.
    Tiles64,
    /// Tiles of 32 × 32 outputs in workgroup memory, 64 threads.
    Tiles32,
    /// One thread an output, without workgroup memory.
    Direct,
}

/// Depth of a tile.
const TILE_K: u32 = 16;

/// What a device is good at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    /// How kernels are computed; none chooses by their size.
    pub body: Option<LinearBody>,
    /// How much of a tile's depth is unrolled: a divisor of its depth. It changes no result.
    pub unroll: u32,
}

impl Tiling {
    /// Software takes ten times longer to compile an unrolled tile, and does not run it faster.
    pub fn suited(is_software: bool, body: Option<LinearBody>) -> Tiling {
        Tiling { body, unroll: if is_software { 1 } else { 4 } }
    }
}
/// Threads of a workgroup of [`LinearBody::Direct`].
const DIRECT_THREADS: usize = 64;
/// Workgroups below which smaller tiles occupy a device better.
const FEW_TILES: usize = 64;

impl LinearBody {
    /// Rows and columns of a tile.
    fn tile(self) -> Option<usize> {
        match self {
            LinearBody::Tiles64 => Some(64),
            LinearBody::Tiles32 => Some(32),
            LinearBody::Direct => None,
        }
    }

    /// What suits a product of `rows × columns` in each of `groups` groups.
    fn suited(rows: usize, columns: usize, groups: usize) -> LinearBody {
        let large_tiles = rows.div_ceil(64) * columns.div_ceil(64) * groups;
        if rows < 8 || columns < 8 {
            LinearBody::Direct
        } else if rows > 32 && columns > 32 && large_tiles >= FEW_TILES {
            LinearBody::Tiles64
        } else {
            LinearBody::Tiles32
        }
    }
}

/// A linear kernel's variant.
fn shader(direction: Direction, body: LinearBody, unroll: u32, mut flags: Vec<&'static str>) -> ShaderKey {
    let name = match direction {
        Direction::Forward => "linear_forward",
        Direction::Adjoint => "linear_adjoint",
    };
    let mut constants = Vec::new();
    match body.tile() {
        Some(tile) => {
            let tile = tile as u32;
            constants.extend([("TILE_M", tile), ("TILE_N", tile), ("TILE_K", TILE_K), ("TILE_UNROLL", unroll)]);
        }
        None => flags.push("DIRECT"),
    }
    ShaderKey { name, flags, constants }
}

/// The flags that follow from the geometry.
fn geometry_flags(direction: Direction, geometry: &Geometry) -> Vec<&'static str> {
    if geometry.is_pointwise() {
        vec!["POINTWISE"]
    } else if direction == Direction::Adjoint && geometry.stride != [1; 3] {
        vec!["STRIDED"]
    } else {
        Vec::new()
    }
}

/// The dispatches of a linear step, one for each chunk of its weights.
///
/// Where chunks split the outputs of an adjoint, each adds to what those before it left, and the last one finishes.
pub(super) fn launches(linear: &Linear, chunks: &[Chunk], tiling: Tiling) -> Result<Vec<Launch>> {
    let geometry = &linear.geometry;
    if linear.terms.is_empty() || linear.terms.len() > 2 {
        let what = format!("{} terms in a linear step", linear.terms.len());
        return Err(Error::unsupported("gpu", what, "a step has one or two terms"));
    }
    let splits_sums =
        |chunk: &Chunk| linear.direction == Direction::Adjoint && chunk.m_len < geometry.out_channels / geometry.groups;
    let mut launches = Vec::with_capacity(chunks.len());
    for (index, chunk) in chunks.iter().enumerate() {
        let split = splits_sums(chunk);
        let first = chunk.m_first == 0;
        let last = chunk.m_first + chunk.m_len == geometry.out_channels / geometry.groups;
        let unfinished = Epilogue::Multiply { factor: None, accumulate: !first, divide: None };
        // Σ_m factor·W·x can be added up as it is; a bias, a function or a division needs the whole sum.
        let (epilogue, continues) = match &linear.epilogue {
            Epilogue::Multiply { factor, accumulate, divide } => {
                let accumulate = *accumulate || (split && !first);
                let divide = divide.filter(|_| !split || last);
                (&Epilogue::Multiply { factor: *factor, accumulate, divide }, false)
            }
            _ if split && !last => (&unfinished, false),
            whole => (whole, split && !first),
        };
        launches.push(launch(linear, chunk, index, epilogue, continues, tiling)?);
    }
    Ok(launches)
}

/// One chunk's dispatch. With `continues` the sum so far is in the output.
fn launch(
    linear: &Linear,
    chunk: &Chunk,
    index: usize,
    epilogue: &Epilogue,
    continues: bool,
    tiling: Tiling,
) -> Result<Launch> {
    let geometry = &linear.geometry;
    let c_per_group = geometry.in_channels / geometry.groups;
    let m_per_group = geometry.out_channels / geometry.groups;
    let input_plane: usize = geometry.input.iter().product();
    let output_plane: usize = geometry.output.iter().product();
    let (rows, columns, depth) = match linear.direction {
        Direction::Forward => (chunk.m_len, geometry.batch * output_plane, geometry.taps() * c_per_group),
        Direction::Adjoint => (c_per_group, geometry.batch * input_plane, geometry.taps() * chunk.pitch() * 4),
    };
    let body = tiling.body.unwrap_or_else(|| LinearBody::suited(rows, columns, chunk.groups));
    let (row_tiles, column_tiles) = match body.tile() {
        Some(tile) => (rows.div_ceil(tile), columns.div_ceil(tile)),
        None => (rows, columns),
    };
    let work = row_tiles * column_tiles * chunk.groups;
    let grid = Grid::of(if body.tile().is_some() { work } else { work.div_ceil(DIRECT_THREADS) } as u64)?;

    let [input_z, input_y, input_x] = axes(geometry.input)?;
    let [output_z, output_y, output_x] = axes(geometry.output)?;
    let [_, kernel_y, kernel_x] = axes(geometry.kernel)?;
    let [stride_z, stride_y, stride_x] = axes(geometry.stride)?;
    let [dilation_z, dilation_y, dilation_x] = axes(geometry.dilation)?;
    let [pad_z, pad_y, pad_x] = axes(geometry.pad)?;
    let mut params = LinearParams {
        grid_width: grid.width,
        work: u32_of(work)?,
        row_tiles: u32_of(row_tiles)?,
        column_tiles: u32_of(column_tiles)?,
        rows: u32_of(rows)?,
        columns: u32_of(columns)?,
        depth: u32_of(depth)?,
        // With few columns the weights are most of what is read: neighbouring threads take neighbouring rows.
        rows_fastest: u32::from(columns < rows && columns < 32),
        groups: u32_of(chunk.groups)?,
        group_first: u32_of(chunk.group_first)?,
        m_first: u32_of(chunk.m_first)?,
        m_len: u32_of(chunk.m_len)?,
        pitch: u32_of(chunk.pitch())?,
        c_per_group: u32_of(c_per_group)?,
        m_per_group: u32_of(m_per_group)?,
        c_total: u32_of(geometry.in_channels)?,
        m_total: u32_of(geometry.out_channels)?,
        taps: u32_of(geometry.taps())?,
        input_plane: u32_of(input_plane)?,
        output_plane: u32_of(output_plane)?,
        input_z,
        input_y,
        input_x,
        output_z,
        output_y,
        output_x,
        kernel_y,
        kernel_x,
        stride_z,
        stride_y,
        stride_x,
        dilation_z,
        dilation_y,
        dilation_x,
        pad_z,
        pad_y,
        pad_x,
        accumulate: u32::from(continues),
        unrolled_blocks: TILE_K / tiling.unroll,
        ..LinearParams::default()
    };

    let mut flags = geometry_flags(linear.direction, geometry);
    let mut bindings = Vec::with_capacity(9);
    for (term, at) in linear.terms.iter().zip([1, 3]) {
        let resource = Resource::Weight { weight: term.weight, groups: geometry.groups, chunk: index };
        bindings.extend([read(at, term.source), Binding { index: at + 1, resource, written: false }]);
    }
    params.part_0 = part(linear.terms[0].part);
    if let Some(second) = linear.terms.get(1) {
        flags.push("TWO_TERMS");
        params.part_1 = part(second.part);
    }
    match epilogue {
        Epilogue::Bias { bias, .. } | Epilogue::Share { bias, .. } => {
            if let Some(bias) = bias {
                flags.push("BIAS");
                bindings.push(read(5, *bias));
            }
        }
        Epilogue::Multiply { factor, accumulate, divide } => {
            flags.push("MULTIPLY");
            params.accumulate = u32::from(*accumulate);
            if let Some((operand, factor_part)) = factor {
                flags.push("FACTOR");
                bindings.push(read(8, operand.buffer));
                params.factor_inner = u32_of(operand.inner)?;
                params.factor_count = u32_of(operand.count)?;
                params.factor_part = part(*factor_part);
            }
            if let Some(divide) = divide {
                flags.push("DIVIDE");
                bindings.push(read(6, divide.denominator.buffer));
                params.divide_inner = u32_of(divide.denominator.inner)?;
                params.divide_count = u32_of(divide.denominator.count)?;
                params.epsilon = divide.epsilon as f32;
                params.scale = divide.scale as f32;
                params.share_flags = u32::from(divide.clip);
            }
        }
    }
    if let Epilogue::Bias { summand: Some(summand), .. } = epilogue {
        flags.push("SUMMAND");
        bindings.push(read(7, *summand));
    }
    if let Epilogue::Bias { activation: Some(activation), .. } = epilogue {
        let (flag, a, b) = function(activation);
        flags.extend(["ACTIVATE", flag]);
        (params.activation_a, params.activation_b) = (a as f32, b as f32);
    }
    if let Epilogue::Share { share, .. } = epilogue {
        flags.push("SHARE");
        bindings.push(read(6, share.relevance));
        if let Some((mask, _)) = share.mask {
            flags.push("MASK");
            bindings.push(read(7, mask));
        }
        let Epsilon::Constant(epsilon) = share.epsilon else {
            return Err(Error::unsupported("gpu", "a stabiliser by sample in a linear step", "use a quotient step"));
        };
        params.epsilon = epsilon as f32;
        params.scale = share.scale as f32;
        params.share_flags = share_flags(share);
    }
    bindings.push(write(9, linear.output));
    Ok(Launch {
        shader: shader(linear.direction, body, tiling.unroll, flags),
        params: bytemuck::bytes_of(&params).to_vec(),
        bindings,
        grid,
    })
}

/// `PART_…` of `shaders/shared/part.wgsl`.
fn part(part: Part) -> u32 {
    match part {
        Part::All => 0,
        Part::Positive => 1,
        Part::Negative => 2,
    }
}

/// `CLIP` and `SIGN_NEGATIVE` of `shaders/shared/share.wgsl`.
pub(super) fn share_flags(share: &Share) -> u32 {
    let negative = matches!(share.mask, Some((_, Sign::Negative)));
    u32::from(share.clip) | u32::from(negative) << 1
}

/// Every variant that [`launches`] can ask for.
#[cfg(test)]
pub(super) fn permutations() -> Vec<ShaderKey> {
    let epilogues: [&[&'static str]; 12] = [
        &[],
        &["BIAS"],
        &["SUMMAND"],
        &["BIAS", "SUMMAND"],
        &["SHARE"],
        &["BIAS", "SHARE"],
        &["SHARE", "MASK"],
        &["BIAS", "SHARE", "MASK"],
        &["MULTIPLY"],
        &["MULTIPLY", "FACTOR"],
        &["MULTIPLY", "DIVIDE"],
        &["MULTIPLY", "FACTOR", "DIVIDE"],
    ];
    let mut keys = Vec::new();
    for direction in [Direction::Forward, Direction::Adjoint] {
        let geometries: &[&[&'static str]] = match direction {
            Direction::Forward => &[&[], &["POINTWISE"]],
            Direction::Adjoint => &[&[], &["POINTWISE"], &["STRIDED"]],
        };
        let suited = |is_software| Tiling::suited(is_software, None).unroll;
        for (body, unroll) in [
            (LinearBody::Tiles64, suited(true)),
            (LinearBody::Tiles64, suited(false)),
            (LinearBody::Tiles32, suited(true)),
            (LinearBody::Tiles32, suited(false)),
            (LinearBody::Direct, 1),
        ] {
            for geometry in geometries {
                for terms in [&[] as &[&'static str], &["TWO_TERMS"]] {
                    for epilogue in epilogues {
                        keys.push(shader(direction, body, unroll, [geometry, terms, epilogue].concat()));
                    }
                    keys.push(shader(
                        direction,
                        body,
                        unroll,
                        [geometry, terms, &["BIAS", "ACTIVATE", "RELU"]].concat(),
                    ));
                }
            }
        }
    }
    // Functions have nothing to do with how a sum is made: each once, with a bias or summand and without.
    for activation in super::tests::fusible_activations() {
        let flag = function(&activation).0;
        for before in [&[] as &[&'static str], &["BIAS"], &["SUMMAND"], &["BIAS", "SUMMAND"]] {
            keys.push(shader(Direction::Forward, LinearBody::Direct, 1, [before, &["ACTIVATE", flag]].concat()));
        }
    }
    keys
}
