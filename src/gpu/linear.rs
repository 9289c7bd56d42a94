//! Dispatches of the two linear kernels.

use super::body::{LinearBody, Product, Tiling, Variant};
use super::kernels::function;
use super::launch::{Binding, Grid, Launch, Resource, axes, read, u32_of, write};
use super::params::LinearParams;
use super::phases::{grid, is_strided, phase};
use super::shader::ShaderKey;
use super::weights::{Chunk, Layout};
use crate::error::{Error, Result};
use crate::plan::{Direction, Epilogue, Epsilon, Geometry, Linear, Part, Share, Sign};

/// A linear kernel's variant.
fn shader(direction: Direction, variant: &Variant, geometry: &[&'static str], epilogue: &[&'static str]) -> ShaderKey {
    let name = match direction {
        Direction::Forward => "linear_forward",
        Direction::Adjoint => "linear_adjoint",
    };
    let flags = [&variant.flags, geometry, epilogue].concat();
    ShaderKey { constants: variant.constants.clone(), ..ShaderKey::new(name, flags) }
}

/// The flags that follow from the geometry.
fn geometry_flags(direction: Direction, geometry: &Geometry, layout: Layout) -> &'static [&'static str] {
    if matches!(layout, Layout::Merged(_)) {
        &["MERGED", "PHASES"]
    } else if geometry.is_pointwise() {
        &["POINTWISE"]
    } else if is_strided(direction, geometry) {
        &["STRIDED", "PHASES"]
    } else {
        &[]
    }
}

/// The flags for values of the source that lie together in fours, so that tiles load them as vectors.
fn vector_flags(direction: Direction, geometry: &Geometry, chunk: &Chunk, body: LinearBody) -> &'static [&'static str] {
    if !body.is_tiled() || !geometry.is_pointwise() {
        return &[];
    }
    let plane: usize = geometry.input.iter().product();
    // What is summed over lies together where a plane is one position: all that begins there must be whole fours.
    let depth = match direction {
        Direction::Forward => geometry.in_channels / geometry.groups,
        Direction::Adjoint => chunk.m_len,
    };
    let per_group = match direction {
        Direction::Forward => depth,
        Direction::Adjoint => geometry.out_channels / geometry.groups,
    };
    if plane.is_multiple_of(4) {
        &["VECTORS", "QUADS"]
    } else if plane == 1 && depth.is_multiple_of(4) && per_group.is_multiple_of(4) {
        &["VECTORS", "TOGETHER"]
    } else {
        &[]
    }
}

/// The greatest number that divides both.
fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}

/// The dispatches of a linear step, one or several for each chunk of its weights.
///
/// Where chunks split the outputs of an adjoint, each adds to what those before it left, and the last one finishes.
pub(super) fn launches(linear: &Linear, chunks: &[Chunk], tiling: &Tiling) -> Result<Vec<Launch>> {
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
        launches.extend(chunk_launches(linear, chunk, index, epilogue, continues, tiling)?);
    }
    Ok(launches)
}

/// One chunk's dispatches. With `continues` the sum so far is in the output.
fn chunk_launches(
    linear: &Linear,
    chunk: &Chunk,
    index: usize,
    epilogue: &Epilogue,
    continues: bool,
    tiling: &Tiling,
) -> Result<Vec<Launch>> {
    let geometry = &linear.geometry;
    let c_per_group = geometry.in_channels / geometry.groups;
    let m_per_group = geometry.out_channels / geometry.groups;
    let input_plane: usize = geometry.input.iter().product();
    let output_plane: usize = geometry.output.iter().product();
    let (body, layout) = tiling.choose(linear);
    let mut product = Product::of(linear.direction, geometry, chunk.groups, chunk.m_len);
    // With its phases merged, a product has a kernel without strides of its own.
    let Geometry { mut kernel, mut dilation, mut pad, .. } = *geometry;
    if let Layout::Merged(merged) = &layout {
        product = product.merged(merged);
        (kernel, dilation, pad) = (merged.taps, [1; 3], merged.pad);
    }
    let Product { rows, columns, .. } = product;
    let mut variant = body.variant(linear.direction, rows, tiling.machine);
    if body.is_windowed(linear.direction, geometry) {
        variant = variant.windowed(tiling.machine);
    }
    let [tile_rows, tile_columns] = variant.tile;
    let (row_tiles, mut column_tiles) = (rows.div_ceil(tile_rows), columns.div_ceil(tile_columns));
    if body.is_windowed(linear.direction, geometry) {
        let [z, y, x] = grid(linear.direction, geometry);
        column_tiles = geometry.batch * z * y.div_ceil(tile_columns) * x;
    }
    let work = row_tiles * column_tiles * product.slices;

    let [input_z, input_y, input_x] = axes(geometry.input)?;
    let [output_z, output_y, output_x] = axes(geometry.output)?;
    let [_, kernel_y, kernel_x] = axes(kernel)?;
    let [stride_z, stride_y, stride_x] = axes(geometry.stride)?;
    let [dilation_z, dilation_y, dilation_x] = axes(dilation)?;
    let [pad_z, pad_y, pad_x] = axes(pad)?;
    let [phase_z, phase_y, phase_x] = axes(phase(geometry))?;
    // How far apart the taps of a phase are: k·dilation has the same remainder.
    let step = |axis: usize| geometry.stride[axis] / common(geometry.stride[axis], geometry.dilation[axis]);
    let [tap_step_z, tap_step_y, tap_step_x] = axes([step(0), step(1), step(2)])?;
    let mut params = LinearParams {
        row_tiles: u32_of(row_tiles)?,
        column_tiles: u32_of(column_tiles)?,
        rows: u32_of(rows)?,
        columns: u32_of(columns)?,
        depth: u32_of(product.taps * product.channels)?,
        // With few columns the weights are most of what is read: neighbouring threads take neighbouring rows.
        rows_fastest: u32::from(columns < rows && columns < 32),
        group_first: u32_of(chunk.group_first)?,
        m_first: u32_of(chunk.m_first)?,
        m_len: u32_of(chunk.m_len)?,
        pitch: u32_of(chunk.pitch(geometry, layout))?,
        c_per_group: u32_of(c_per_group)?,
        m_per_group: u32_of(m_per_group)?,
        c_total: u32_of(geometry.in_channels)?,
        m_total: u32_of(geometry.out_channels)?,
        taps: u32_of(product.taps)?,
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
        depth_blocks: variant.depth_blocks,
        thread_sums: variant.thread_sums,
        phase_z,
        phase_y,
        phase_x,
        tap_step_z,
        tap_step_y,
        tap_step_x,
        ..LinearParams::default()
    };

    let mut flags = vector_flags(linear.direction, geometry, chunk, body).to_vec();
    let mut bindings = Vec::with_capacity(9);
    for (term, at) in linear.terms.iter().zip([1, 3]) {
        let resource = Resource::Weight { weight: term.weight, groups: geometry.groups, layout, chunk: index };
        bindings.extend([read(at, term.source), Binding { index: at + 1, resource, written: false }]);
    }
    params.part_0 = part(linear.terms[0].part);
    if let Some(second) = linear.terms.get(1) {
        flags.push("TWO_TERMS");
        params.part_1 = part(second.part);
    }
    flags.extend(linear.terms.iter().any(|term| term.part != Part::All).then_some("PARTS"));
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
    let key = shader(linear.direction, &variant, geometry_flags(linear.direction, geometry, layout), &flags);
    let sums = (tile_rows * tile_columns).min(rows * columns) as u64;
    let multiply_adds = sums * (product.taps * product.channels * linear.terms.len()) as u64;
    let units = usize::try_from(tiling.max_work / multiply_adds.max(1)).unwrap_or(usize::MAX);
    let whole_groups = units.max(variant.threads).min(work) / variant.threads * variant.threads;
    let launch = |first: usize| {
        let units = (work - first).min(whole_groups.max(variant.threads));
        let grid = Grid::of(units.div_ceil(variant.threads) as u64)?;
        params.grid_width = grid.width;
        params.work_first = u32_of(first)?;
        params.work = u32_of(first + units)?;
        let (shader, params) = (key.clone(), bytemuck::bytes_of(&params).to_vec());
        Ok(Launch { shader, params, bindings: bindings.clone(), grid })
    };
    (0..work).step_by(whole_groups.max(variant.threads)).map(launch).collect()
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
    use super::body::Machine;

    let epilogues: [&[&'static str]; 13] = [
        &["BIAS", "ACTIVATE", "RELU"],
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
        let mut geometries: Vec<&[&'static str]> =
            vec![&[], &["POINTWISE"], &["POINTWISE", "VECTORS", "QUADS"], &["POINTWISE", "VECTORS", "TOGETHER"]];
        if direction == Direction::Adjoint {
            geometries.extend([&["STRIDED", "PHASES"], &["MERGED", "PHASES"]] as [&[_]; 2]);
        }
        for body in LinearBody::ALL {
            // Rows that lead to each variant.
            let rows: &[usize] = if body == LinearBody::Rows { &[4, 8, 12, 16] } else { &[16] };
            let machines: &[Machine] = match body {
                LinearBody::Dense | LinearBody::Direct => &[Machine::Hardware],
                LinearBody::Rows => &[Machine::Hardware, Machine::Software, Machine::SoftwareWithSubgroups],
                _ => &[Machine::Hardware, Machine::Software],
            };
            let plain = rows.iter().flat_map(|rows| machines.iter().map(|m| body.variant(direction, *rows, *m)));
            let mut variants: Vec<Variant> = plain.collect();
            if body == LinearBody::Direct {
                let windowed = [Machine::Hardware, Machine::Software].map(|m| variants[0].clone().windowed(m));
                variants.extend(windowed);
            }
            for variant in variants {
                let suits = |geometry: &[&str]| {
                    let has = |flag| geometry.contains(&flag);
                    match body {
                        LinearBody::Dense => geometry == ["POINTWISE"],
                        LinearBody::Rows => !has("VECTORS"),
                        LinearBody::Direct if variant.flags.contains(&"WINDOW") => !has("POINTWISE") && !has("MERGED"),
                        LinearBody::Direct => !has("VECTORS") && !has("MERGED"),
                        _ => !has("MERGED"),
                    }
                };
                for geometry in geometries.iter().filter(|geometry| suits(geometry)) {
                    for terms in [&[] as &[&'static str], &["PARTS"], &["TWO_TERMS"], &["TWO_TERMS", "PARTS"]] {
                        for epilogue in epilogues {
                            keys.push(shader(direction, &variant, geometry, &[terms, epilogue].concat()));
                        }
                    }
                }
            }
        }
    }
    // Functions have nothing to do with how a sum is made: each once, with a bias or summand and without.
    for activation in super::tests::fusible_activations() {
        let flag = function(&activation).0;
        for before in [&[] as &[&'static str], &["BIAS"], &["SUMMAND"], &["BIAS", "SUMMAND"]] {
            let variant = LinearBody::Direct.variant(Direction::Forward, 16, Machine::Hardware);
            keys.push(shader(Direction::Forward, &variant, &[], &[before, &["ACTIVATE", flag]].concat()));
        }
    }
    keys
}
