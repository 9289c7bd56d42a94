//! Interpolation: a sparse map along each axis.

use std::sync::Arc;

use crate::error::Result;
use crate::network::{AxisMap, Dim, Op, Resample, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::{Item, Size};

/// How positions are interpolated.
enum Mode {
    /// The nearest position.
    Nearest(Rounding),
    /// Between two positions.
    Linear,
    /// Between four positions, with the coefficient a of Keys' kernel.
    Cubic {
        a: f64,
        /// Whether positions outside get no weight, rather than the edge's value.
        exclude_outside: bool,
    },
}

/// What nearest means.
#[derive(Clone, Copy)]
enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// Where an output position lies in the input.
#[derive(Clone, Copy)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNn,
}

/// One axis: sizes and scale.
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
}

impl Coordinates {
    /// The position in the input, by the formulas of the ONNX standard.
    fn of(self, x: usize, axis: &Axis) -> f64 {
        let (from, to) = (axis.from as f64, axis.to as f64);
        let half = (x as f64 + 0.5) / axis.scale - 0.5;
        match self {
            Coordinates::HalfPixel => half,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = to / (axis.scale * from);
                from / 2.0 * (1.0 - adjustment) + half
            }
            Coordinates::PytorchHalfPixel if axis.to > 1 => half,
            Coordinates::PytorchHalfPixel => 0.0,
            Coordinates::AlignCorners if axis.to > 1 => x as f64 * (from - 1.0) / (to - 1.0),
            Coordinates::AlignCorners => 0.0,
            Coordinates::Asymmetric => x as f64 / axis.scale,
            Coordinates::TfHalfPixelForNn => (x as f64 + 0.5) / axis.scale,
        }
    }
}

/// `Resize`.
pub(super) fn resize(call: &mut Call) -> Result<Vec<Item>> {
    if call.flag("antialias", false)? {
        return Err(call.unsupported("attribute antialias = 1", "antialias = 0 is"));
    }
    let first = call.opset < 11;
    let default = if first { "asymmetric" } else { "half_pixel" };
    let coordinates = match call.text("coordinate_transformation_mode", default)?.as_str() {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
        other => {
            let help = "half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric and tf_half_pixel_for_nn are";
            return Err(call.unsupported(format!("attribute coordinate_transformation_mode = {other}"), help));
        }
    };
    let rounding = match call.text("nearest_mode", if first { "floor" } else { "round_prefer_floor" })?.as_str() {
        "round_prefer_floor" => Rounding::PreferFloor,
        "round_prefer_ceil" => Rounding::PreferCeil,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => {
            let help = "round_prefer_floor, round_prefer_ceil, floor and ceil are";
            return Err(call.unsupported(format!("attribute nearest_mode = {other}"), help));
        }
    };
    let mode = match call.text("mode", "nearest")?.as_str() {
        "nearest" => Mode::Nearest(rounding),
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic {
            a: call.float("cubic_coeff_a", -0.75)?,
            exclude_outside: call.flag("exclude_outside", false)?,
        },
        other => return Err(call.unsupported(format!("attribute mode = {other}"), "nearest, linear and cubic are")),
    };
    if !matches!(mode, Mode::Cubic { .. }) && call.flag("exclude_outside", false)? {
        return Err(call.unsupported("attribute exclude_outside = 1", "it is for mode = cubic"));
    }
    let x = call.value(0)?;
    let rank = call.shape(x).len();
    let axes = match call.ints("axes")? {
        Some(axes) => call.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    let scales = given(call, if first { 1 } else { 2 })?;
    let sizes = call.optional(3).and_then(Item::sizes).filter(|s| !s.values.is_empty());
    let targets = match (scales, sizes) {
        (Some(scales), None) => scales.into_iter().map(Target::Scale).collect(),
        (None, Some(sizes)) => fitted(call, x, &axes, sizes.values)?,
        _ => {
            return Err(call.unsupported(
                "Resize without constant scales or sizes, or with both",
                "exactly one of them is needed",
            ));
        }
    };
    build(call, x, &axes, targets, coordinates, &mode)
}

/// `Upsample`: Resize before operator set 10.
pub(super) fn upsample(call: &mut Call) -> Result<Vec<Item>> {
    let mode = match call.text("mode", "nearest")?.as_str() {
        "nearest" => Mode::Nearest(Rounding::Floor),
        "linear" | "bilinear" => Mode::Linear,
        other => return Err(call.unsupported(format!("attribute mode = {other}"), "nearest and linear are")),
    };
    let x = call.value(0)?;
    let scales = match call.floats("scales")? {
        Some(scales) => Some(scales.into_iter().map(f64::from).collect()),
        None => given(call, 1)?,
    };
    let scales: Vec<f64> = scales.ok_or_else(|| call.malformed("it has no scales"))?;
    let axes: Vec<usize> = (0..call.shape(x).len()).collect();
    build(call, x, &axes, scales.into_iter().map(Target::Scale).collect(), Coordinates::Asymmetric, &mode)
}

/// The numbers of input i, unless it is left out or empty.
fn given(call: &Call, i: usize) -> Result<Option<Vec<f64>>> {
    Ok(call.constant(i)?.map(|t| t.to_vec()).filter(|v: &Vec<f64>| !v.is_empty()))
}

/// What an axis becomes.
enum Target {
    Scale(f64),
    Size(Size),
    /// A size that comes from a scale, which is not exactly their quotient.
    Rounded {
        size: usize,
        scale: f64,
    },
}

/// The sizes that are wanted, or those with one scale for all axes that come nearest from below or above.
fn fitted(call: &Call, x: ValueId, axes: &[usize], sizes: Vec<Size>) -> Result<Vec<Target>> {
    let choose = match call.text("keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => return Ok(sizes.into_iter().map(Target::Size).collect()),
        "not_larger" => f64::min,
        "not_smaller" => f64::max,
        other => {
            let what = format!("attribute keep_aspect_ratio_policy = {other}");
            return Err(call.unsupported(what, "stretch, not_larger and not_smaller are"));
        }
    };
    let mut have = Vec::with_capacity(axes.len());
    let mut scale: Option<f64> = None;
    for (axis, size) in axes.iter().zip(&sizes) {
        let (from, Size::Int(to)) = (call.fixed(x, *axis)?, *size) else {
            return Err(call.unsupported("a size that depends on the batch", "constant sizes are"));
        };
        let own = to as f64 / from as f64;
        scale = Some(scale.map_or(own, |s| choose(s, own)));
        have.push(from);
    }
    let scale = scale.unwrap_or(1.0);
    if !(scale > 0.0 && scale.is_finite()) || have.len() != sizes.len() {
        return Err(call.malformed(format!("the sizes {sizes:?} do not fit")));
    }
    let size = |from: usize| (from as f64 * scale + 0.5).floor() as usize;
    Ok(have.into_iter().map(|from| Target::Rounded { size: size(from).max(1), scale }).collect())
}

fn build(
    call: &mut Call,
    x: ValueId,
    axes: &[usize],
    targets: Vec<Target>,
    coordinates: Coordinates,
    mode: &Mode,
) -> Result<Vec<Item>> {
    if targets.len() != axes.len() {
        return Err(call.malformed(format!("{} scales or sizes for {} axes", targets.len(), axes.len())));
    }
    let from = call.shape(x);
    let mut maps = Vec::new();
    for (&axis, target) in axes.iter().zip(targets) {
        let resized = match (from[axis], target) {
            (dim, Target::Size(size)) if size == Size::from(dim) => continue,
            (_, Target::Scale(1.0)) => continue,
            (Dim::Fixed(from), Target::Rounded { size, scale }) => {
                Axis { from: call.positions(from)?, to: call.positions(size)?, scale }
            }
            (Dim::Fixed(size), Target::Scale(scale)) => {
                // ONNX: ⌊size · scale⌋ in float32.
                let to = (size as f32 * scale as f32).floor();
                if !(scale > 0.0 && (1.0..1e9).contains(&to)) {
                    return Err(call.malformed(format!("scale {scale} of axis {axis} is not possible")));
                }
                // Runtimes and the standard disagree on which corners these are.
                if matches!(coordinates, Coordinates::AlignCorners) && to != size as f32 * scale as f32 {
                    let what = format!("scale {scale} of the {size} positions of axis {axis} with align_corners");
                    return Err(call.unsupported(what, "scales that give a whole size are; or give the size"));
                }
                Axis { from: call.positions(size)?, to: call.positions(to as usize)?, scale }
            }
            (Dim::Fixed(size), Target::Size(Size::Int(to))) => {
                let to = usize::try_from(to).ok().filter(|to| *to > 0 && size > 0);
                let to = to.ok_or_else(|| call.malformed(format!("the size of axis {axis} must be at least 1")))?;
                Axis { from: call.positions(size)?, to: call.positions(to)?, scale: to as f64 / size as f64 }
            }
            _ => {
                let what = format!("resizing axis {axis} of {}", shape::display(&from));
                return Err(call.unsupported(what, "the batch keeps its size, other axes get a fixed one"));
            }
        };
        let rows = (0..resized.to).map(|to| row(coordinates.of(to, &resized), &resized, mode));
        maps.push((axis, Arc::new(AxisMap::from_rows(resized.from, rows)?)));
    }
    if maps.is_empty() {
        return Ok(vec![x.into()]);
    }
    call.emit(Op::Resample(Resample { kind: ResampleKind::Resize, maps }), &[x])
}

/// The weights of the positions that an output position is made of.
fn row(at: f64, axis: &Axis, mode: &Mode) -> Vec<(usize, f64)> {
    let last = axis.from.saturating_sub(1);
    let clamped = |p: f64| p.clamp(0.0, last as f64) as usize;
    match mode {
        Mode::Nearest(rounding) => {
            let nearest = match rounding {
                Rounding::PreferFloor => (at - 0.5).ceil(),
                Rounding::PreferCeil => (at + 0.5).floor(),
                Rounding::Floor => at.floor(),
                Rounding::Ceil => at.ceil(),
            };
            vec![(clamped(nearest), 1.0)]
        }
        Mode::Linear => {
            let at = at.clamp(0.0, last as f64);
            let (low, part) = (at.floor() as usize, at.fract());
            if part == 0.0 { vec![(low, 1.0)] } else { vec![(low, 1.0 - part), ((low + 1).min(last), part)] }
        }
        Mode::Cubic { a, exclude_outside } => {
            let low = at.floor();
            let mut weights: Vec<(usize, f64)> = Vec::with_capacity(4);
            let mut total = 0.0;
            for tap in [-1.0, 0.0, 1.0, 2.0] {
                let position = low + tap;
                if *exclude_outside && !(0.0..=last as f64).contains(&position) {
                    continue;
                }
                let weight = keys((at - position).abs(), *a);
                total += weight;
                let position = clamped(position);
                match weights.iter_mut().find(|(p, _)| *p == position) {
                    Some((_, sum)) => *sum += weight,
                    None => weights.push((position, weight)),
                }
            }
            if *exclude_outside && total != 0.0 {
                weights.iter_mut().for_each(|(_, w)| *w /= total);
            }
            weights
        }
    }
}

/// Keys' cubic kernel (1981) at a distance d.
fn keys(d: f64, a: f64) -> f64 {
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}
