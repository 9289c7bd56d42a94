//! Values under another shape or in another order, whether computed or known.

use std::sync::Arc;

use super::constant;
use super::fold;
use crate::error::Result;
use crate::network::{AxisMap, Dim, Op, Resample, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::{Item, Repeated, Size};

/// Positions chosen along one axis.
pub(super) struct Pick {
    pub axis: usize,
    pub sources: Vec<usize>,
}

impl Call<'_> {
    /// The shape of input i, whatever it is.
    pub(super) fn dims(&self, i: usize) -> Result<Vec<Dim>> {
        Ok(match self.input(i)? {
            Item::Node(id) => self.shape(*id),
            Item::Repeated(r) => r.shape.clone(),
            known => known.known_shape().unwrap_or_default().iter().map(|n| Dim::Fixed(*n)).collect(),
        })
    }

    /// Applies ops one after the other, leaving out reshapes that change nothing. The last one makes the output.
    pub(super) fn chain(&mut self, x: ValueId, ops: Vec<Op>) -> Result<Vec<Item>> {
        let mut current = self.shape(x);
        let mut kept = Vec::with_capacity(ops.len());
        for op in ops {
            if matches!(&op, Op::Reshape { shape } if *shape == current) {
                continue;
            }
            current = shape::infer(&op, &[&current]).map_err(|what| self.shape_error(what))?;
            kept.push(op);
        }
        let Some(last) = kept.pop() else {
            return Ok(vec![x.into()]);
        };
        let mut x = x;
        for op in kept {
            x = self.step(op.name(), op, &[x])?;
        }
        self.emit(last, &[x])
    }

    /// The op that chooses positions, or `None` where all stay in place.
    pub(super) fn pick_op(&self, shape: &[Dim], kind: ResampleKind, picks: Vec<Pick>) -> Result<Option<Op>> {
        let mut maps = Vec::new();
        for pick in picks {
            let Some(Dim::Fixed(size)) = shape.get(pick.axis).copied() else {
                let what = format!("axis {} of {}, the batch,", pick.axis, shape::display(shape));
                return Err(self.unsupported(what, "samples must stay independent of each other and of their number"));
            };
            if !pick.sources.iter().copied().eq(0..size) {
                maps.push((pick.axis, Arc::new(AxisMap::pick(size, pick.sources)?)));
            }
        }
        Ok((!maps.is_empty()).then_some(Op::Resample(Resample { kind, maps })))
    }

    /// Chooses positions of a known item.
    pub(super) fn pick_known(&mut self, item: &Item, picks: &[Pick]) -> Result<Item> {
        let Some(shape) = item.known_shape() else {
            return Err(
                self.unsupported("a constant that is repeated along the batch", "computed tensors and constants are")
            );
        };
        let mut sources: Option<Vec<usize>> = None;
        let mut shape = shape.to_vec();
        for Pick { axis, sources: chosen } in picks {
            let (outer, inner): (usize, usize) = (shape[..*axis].iter().product(), shape[*axis + 1..].iter().product());
            let size = shape[*axis];
            shape[*axis] = chosen.len();
            let len = self.reserve(outer.checked_mul(inner).and_then(|n| n.checked_mul(chosen.len())))?;
            let mut next = Vec::with_capacity(len);
            for o in 0..outer {
                for c in chosen {
                    let first = (o * size + c) * inner;
                    next.extend(first..first + inner);
                }
            }
            sources = Some(match sources {
                None => next,
                Some(before) => next.into_iter().filter_map(|i: usize| before.get(i).copied()).collect(),
            });
        }
        match sources {
            None => Ok(item.clone()),
            Some(sources) => {
                item.picked(shape, &sources).ok_or_else(|| self.malformed("a chosen position does not exist"))
            }
        }
    }

    /// The position list 0, 1, … of an axis, if it is small enough to list.
    pub(super) fn positions(&self, size: usize) -> Result<usize> {
        if size > 1 << 24 {
            return Err(self.unsupported(format!("an axis of {size} positions"), "at most 2^24 positions are"));
        }
        Ok(size)
    }

    /// Gives input 0 another shape.
    fn reform(&mut self, dims: Vec<Dim>) -> Result<Vec<Item>> {
        let known = match self.input(0)?.clone() {
            Item::Node(x) => return self.reshape(x, dims),
            Item::Repeated(r) => {
                let shape: Vec<usize> = dims.iter().map(|d| d.fixed().unwrap_or(1)).collect();
                let tensor = Arc::new(r.tensor.as_ref().clone().reshape(shape)?);
                return Ok(vec![Item::Repeated(Repeated { shape: dims, tensor })]);
            }
            known => known,
        };
        let Some(shape) = constant::fixed(&dims) else {
            return Err(self.unsupported("a constant with the shape of a batch", "constants have a fixed shape"));
        };
        let reshaped = match known {
            Item::Const(tensor) => Arc::unwrap_or_clone(tensor).reshape(shape)?.into(),
            Item::Sizes(mut sizes) => {
                if sizes.values.len() != shape.iter().product::<usize>() {
                    return Err(self.shape_error(format!("{:?} cannot become {shape:?}", sizes.shape)));
                }
                sizes.shape = shape;
                Item::Sizes(sizes)
            }
            other => other,
        };
        Ok(vec![reshaped])
    }
}

/// `Reshape`.
pub(super) fn reshape(call: &mut Call) -> Result<Vec<Item>> {
    let from = call.dims(0)?;
    let target = call.input(1)?.sizes();
    let target = target.ok_or_else(|| {
        call.unsupported("a shape that is computed from the input's values", "shapes have to be constant")
    })?;
    let keep_zero = call.flag("allowzero", false)?;
    let mut open = None;
    let mut dims = Vec::with_capacity(target.values.len());
    for (i, size) in target.values.iter().enumerate() {
        dims.push(match size {
            Size::Int(-1) if open.replace(i).is_some() => return Err(call.malformed("the shape has -1 twice")),
            Size::Int(-1) => Dim::Fixed(1),
            Size::Int(0) if !keep_zero => *from.get(i).ok_or_else(|| {
                call.malformed(format!("the shape keeps axis {i}, which {} does not have", shape::display(&from)))
            })?,
            Size::Int(0) => return Err(call.unsupported("a shape with the size 0", "tensors hold at least one value")),
            size => size.dim().ok_or_else(|| call.malformed(format!("the shape has the size {size:?}")))?,
        });
    }
    let misfit = |call: &Call| {
        let mut what = format!("{} cannot become {:?}", shape::display(&from), target.values);
        if from.iter().any(|d| d.fixed().is_none()) {
            what += "; if the file fixes the batch size here, give the input's batch axis that size";
        }
        call.shape_error(what)
    };
    let (have, rest) = (shape::volume(&from), shape::volume(&dims));
    let (Some((have, power)), Some((rest, used))) = (have, rest) else {
        return Err(misfit(call));
    };
    match open {
        Some(i) => {
            let fits = rest > 0 && have.is_multiple_of(rest);
            dims[i] = match power.checked_sub(used) {
                Some(0) if fits => Dim::Fixed(have / rest),
                Some(1) if fits => Dim::Batch(have / rest),
                _ => return Err(misfit(call)),
            };
        }
        None if (have, power) != (rest, used) => return Err(misfit(call)),
        None => {}
    }
    call.reform(dims)
}

/// `Flatten`: two axes, those before and those from `axis`.
pub(super) fn flatten(call: &mut Call) -> Result<Vec<Item>> {
    let from = call.dims(0)?;
    let at = match call.int("axis", 1)? {
        axis if usize::try_from(axis) == Ok(from.len()) => from.len(),
        axis => call.axis(axis, from.len())?,
    };
    let join = |part: &[Dim]| match shape::volume(part) {
        Some((n, 0)) => Ok(Dim::Fixed(n)),
        Some((n, 1)) => Ok(Dim::Batch(n)),
        _ => Err(call.shape_error(format!("{} cannot be flattened", shape::display(&from)))),
    };
    let dims = vec![join(&from[..at])?, join(&from[at..])?];
    call.reform(dims)
}

/// `Squeeze`: without the given axes, all of size 1.
pub(super) fn squeeze(call: &mut Call) -> Result<Vec<Item>> {
    let from = call.dims(0)?;
    let axes = match call.list("axes", 1)? {
        Some(axes) => call.axes(&axes, from.len())?,
        None if from.iter().any(|d| d.fixed().is_none()) => {
            let help = "name the axes: a batch of one would lose its axis";
            return Err(call.unsupported("a missing attribute axes", help));
        }
        None => (0..from.len()).filter(|i| from[*i] == Dim::Fixed(1)).collect(),
    };
    if let Some(axis) = axes.iter().find(|a| from[**a] != Dim::Fixed(1)) {
        return Err(call.shape_error(format!("axis {axis} of {} has not size 1", shape::display(&from))));
    }
    let dims = (0..from.len()).filter(|i| !axes.contains(i)).map(|i| from[i]).collect();
    call.reform(dims)
}

/// `Unsqueeze`: with further axes of size 1.
pub(super) fn unsqueeze(call: &mut Call) -> Result<Vec<Item>> {
    let from = call.dims(0)?;
    let axes = call.list("axes", 1)?.ok_or_else(|| call.malformed("it has no axes"))?;
    let rank = from.len() + axes.len();
    let axes = call.axes(&axes, rank)?;
    let mut rest = from.into_iter();
    let dims = (0..rank).filter_map(|i| if axes.contains(&i) { Some(Dim::Fixed(1)) } else { rest.next() }).collect();
    call.reform(dims)
}

/// `Transpose`: axes in another order, reversed if none is given.
pub(super) fn transpose(call: &mut Call) -> Result<Vec<Item>> {
    let from = call.dims(0)?;
    let perm = match call.ints("perm")? {
        None => (0..from.len()).rev().collect(),
        Some(perm) if perm.len() == from.len() => call.axes(&perm, from.len())?,
        Some(perm) => return Err(call.malformed(format!("perm {perm:?} does not fit {}", shape::display(&from)))),
    };
    match call.input(0)?.clone() {
        Item::Node(x) => call.emit(Op::Transpose { perm }, &[x]),
        Item::Repeated(_) => {
            Err(call.unsupported("a constant that is repeated along the batch", "computed tensors and constants are"))
        }
        known => {
            let shape = known.known_shape().unwrap_or_default();
            let mut steps = vec![1; shape.len()];
            for i in (1..shape.len()).rev() {
                steps[i - 1] = steps[i] * shape[i];
            }
            let to: Vec<usize> = perm.iter().map(|p| shape[*p]).collect();
            let strides: Vec<usize> = perm.iter().map(|p| steps[*p]).collect();
            let len = call.reserve(Some(to.iter().product()))?;
            let sources = fold::walk(&to, &strides, len);
            Ok(known.picked(to, &sources).into_iter().collect())
        }
    }
}

/// `Expand`: copies along axes of size 1.
pub(super) fn expand(call: &mut Call) -> Result<Vec<Item>> {
    let from = call.dims(0)?;
    let to = constant::dims(call, 1)?;
    let to = shape::broadcast(&from, &to).map_err(|what| call.shape_error(what))?;
    match call.input(0)?.clone() {
        Item::Node(x) => {
            let ops = expand_ops(call, &from, &to)?;
            call.chain(x, ops)
        }
        Item::Const(tensor) => {
            let missing = to.len() - tensor.shape().len();
            let mut shape = vec![1; missing];
            shape.extend(tensor.shape());
            let item = Item::from(tensor.as_ref().clone().reshape(shape)?);
            let mut picks = Vec::new();
            for (axis, dim) in to.iter().enumerate() {
                if let (Some(Dim::Fixed(1)) | None, Dim::Fixed(n)) = (axis.checked_sub(missing).map(|i| from[i]), dim) {
                    picks.push(Pick { axis, sources: vec![0; call.positions(*n)?] });
                }
            }
            let item = call.pick_known(&item, &picks)?;
            Ok(match item {
                Item::Const(tensor) if to.iter().any(|d| d.fixed().is_none()) => {
                    vec![Item::Repeated(Repeated { shape: to, tensor })]
                }
                item => vec![item],
            })
        }
        _ => Err(call.unsupported("expanding a shape that depends on the batch", "computed tensors and constants are")),
    }
}

/// The ops that broadcast a computed tensor to a shape that it broadcasts to.
pub(super) fn expand_ops(call: &Call, from: &[Dim], to: &[Dim]) -> Result<Vec<Op>> {
    let missing = to.len().saturating_sub(from.len());
    let mut shape = vec![Dim::Fixed(1); missing];
    shape.extend(from);
    let mut maps = Vec::new();
    for (axis, (have, want)) in shape.iter().zip(to).enumerate() {
        match (have, want) {
            (have, want) if have == want => {}
            (Dim::Fixed(1), Dim::Fixed(n)) => {
                let n = call.positions(*n)?;
                maps.push((axis, Arc::new(AxisMap::pick(1, std::iter::repeat_n(0, n))?)));
            }
            _ => {
                let what = format!("expanding {} to {}", shape::display(from), shape::display(to));
                return Err(call.unsupported(what, "axes of size 1 can be expanded to a fixed size"));
            }
        }
    }
    let mut ops = vec![Op::Reshape { shape }];
    if !maps.is_empty() {
        ops.push(Op::Resample(Resample { kind: ResampleKind::Expand, maps }));
    }
    Ok(ops)
}

/// `DepthToSpace`: blocks of channels become blocks of pixels.
pub(super) fn depth_to_space(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let block = block(call)?;
    let (n, [c, h, w]) = picture(call, x)?;
    let channels = block.checked_mul(block).filter(|b| c.is_multiple_of(*b)).map(|b| c / b);
    let channels = channels.ok_or_else(|| call.shape_error(format!("{c} channels are not a multiple of {block}²")))?;
    let (f, b) = (Dim::Fixed, Dim::Fixed(block));
    let (split, perm) = match call.text("mode", "DCR")?.as_str() {
        "DCR" => (vec![n, b, b, f(channels), f(h), f(w)], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => (vec![n, f(channels), b, b, f(h), f(w)], vec![0, 1, 4, 2, 5, 3]),
        mode => return Err(call.unsupported(format!("attribute mode = {mode}"), "DCR and CRD are")),
    };
    let joined = vec![n, f(channels), scaled(call, h, block)?, scaled(call, w, block)?];
    call.chain(x, vec![Op::Reshape { shape: split }, Op::Transpose { perm }, Op::Reshape { shape: joined }])
}

/// `SpaceToDepth`: blocks of pixels become channels.
pub(super) fn space_to_depth(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let block = block(call)?;
    let (n, [c, h, w]) = picture(call, x)?;
    if !h.is_multiple_of(block) || !w.is_multiple_of(block) {
        return Err(call.shape_error(format!("{h}×{w} pixels are not a multiple of {block}")));
    }
    let (f, b) = (Dim::Fixed, Dim::Fixed(block));
    let perm = match call.text("mode", "DCR")?.as_str() {
        "DCR" => vec![0, 3, 5, 1, 2, 4],
        "CRD" => vec![0, 1, 3, 5, 2, 4],
        mode => return Err(call.unsupported(format!("attribute mode = {mode}"), "DCR and CRD are")),
    };
    let split = vec![n, f(c), f(h / block), b, f(w / block), b];
    let channels = block.checked_mul(block).and_then(|b| b.checked_mul(c));
    let channels = channels.ok_or_else(|| call.shape_error("too many channels"))?;
    let joined = vec![n, f(channels), f(h / block), f(w / block)];
    call.chain(x, vec![Op::Reshape { shape: split }, Op::Transpose { perm }, Op::Reshape { shape: joined }])
}

fn block(call: &Call) -> Result<usize> {
    let block = usize::try_from(call.int("blocksize", 0)?).unwrap_or(0);
    if block == 0 {
        return Err(call.malformed("attribute blocksize must be at least 1"));
    }
    Ok(block)
}

fn scaled(call: &Call, size: usize, block: usize) -> Result<Dim> {
    size.checked_mul(block).map(Dim::Fixed).ok_or_else(|| call.shape_error("the result is too large"))
}

fn picture(call: &Call, x: ValueId) -> Result<(Dim, [usize; 3])> {
    let shape = call.shape(x);
    let &[n, _, _, _] = shape.as_slice() else {
        return Err(call.shape_error(format!("takes N×C×H×W, not {}", shape::display(&shape))));
    };
    Ok((n, [call.fixed(x, 1)?, call.fixed(x, 2)?, call.fixed(x, 3)?]))
}

/// `Identity`: the same tensor under a second name.
pub(super) fn identity(call: &mut Call) -> Result<Vec<Item>> {
    Ok(vec![call.input(0)?.clone()])
}

/// `Dropout`: nothing, outside of training.
pub(super) fn dropout(call: &mut Call) -> Result<Vec<Item>> {
    if call.number(2)?.is_some_and(|training| training != 0.0) {
        return Err(call.unsupported("training mode", "export the model for inference"));
    }
    identity(call)
}
