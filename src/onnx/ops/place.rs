//! Values picked from and put to constant places: GatherND, GatherElements, ScatterND, ScatterElements, Compress,
//! ReverseSequence, Trilu, CenterCropPad. All are maps of a flattened axis; relevance goes back the way the values came.

use std::collections::HashMap;
use std::sync::Arc;

use super::fold;
use crate::error::Result;
use crate::network::{Affine, AxisMap, Dim, Op, Resample, ResampleKind, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::Tensor;

/// Fixed sizes of axes that values are picked across.
fn fixed(call: &Call, dims: &[Dim]) -> Result<Vec<usize>> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|d| d.fixed()).collect();
    sizes.ok_or_else(|| {
        let what = format!("places along the batch of {}", shape::display(dims));
        call.unsupported(
            what,
            "samples must stay independent of each other; a file with a fixed batch size can be read",
        )
    })
}

fn product(call: &Call, sizes: &[usize]) -> Result<usize> {
    let product = sizes.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
    call.positions(product.ok_or_else(|| call.shape_error(format!("{sizes:?} is too large")))?)
}

/// An axis map over a tensor seen as 1 × positions × rest.
fn mapped(call: &Call, kind: ResampleKind, from: [usize; 2], map: AxisMap, to: Vec<usize>) -> Result<Vec<Op>> {
    call.positions(from[0])?;
    Ok(vec![
        Op::Reshape { shape: vec![Dim::Fixed(1), Dim::Fixed(from[0]), Dim::Fixed(from[1])] },
        Op::Resample(Resample { kind, maps: vec![(1, Arc::new(map))] }),
        Op::Reshape { shape: to.into_iter().map(Dim::Fixed).collect() },
    ])
}

/// Positions of input 0, seen as positions × rest, under a new shape.
fn picked(call: &mut Call, from: [usize; 2], sources: Vec<usize>, to: Vec<usize>) -> Result<Vec<Item>> {
    match call.input(0)?.clone() {
        Item::Node(x) => {
            let ops = mapped(call, ResampleKind::Gather, from, AxisMap::pick(from[0], sources)?, to)?;
            call.chain(x, ops)
        }
        known => {
            call.reserve(sources.len().checked_mul(from[1]))?;
            let flat: Vec<usize> = sources.iter().flat_map(|s| s * from[1]..(s + 1) * from[1]).collect();
            let item = known.picked(to, &flat);
            Ok(vec![item.ok_or_else(|| call.unsupported("a constant that is repeated along the batch", "others are"))?])
        }
    }
}

/// Input i, constant integers.
fn indices(call: &Call, i: usize) -> Result<Arc<Tensor>> {
    let tensor = call.weight(i)?;
    match tensor.as_i64() {
        Some(_) => Ok(tensor),
        None => Err(call.malformed(format!("input {i} does not hold integers"))),
    }
}

/// Flat positions that index tuples name within `sizes`: one for each row of the last axis of `indices`.
fn tuples(call: &Call, indices: &Tensor, sizes: &[usize]) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(indices.len() / sizes.len().max(1));
    for tuple in indices.as_i64().unwrap_or_default().chunks(sizes.len().max(1)) {
        let mut flat = 0;
        for (index, size) in tuple.iter().zip(sizes) {
            flat = flat * size + call.axis(*index, *size).map_err(|_| outside(call, *index, *size))?;
        }
        found.push(flat);
    }
    Ok(found)
}

fn outside(call: &Call, index: i64, size: usize) -> crate::Error {
    call.malformed(format!("index {index} is outside the {size} positions of its axis"))
}

/// `GatherND`: the parts that index tuples name.
pub(super) fn gather_nd(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let indices = indices(call, 1)?;
    let batch = usize::try_from(call.int("batch_dims", 0)?).unwrap_or(usize::MAX);
    let Some((&tuple, leading)) = indices.shape().split_last() else {
        return Err(call.malformed("the indices have no axis"));
    };
    let places = batch.checked_add(tuple).filter(|n| *n <= dims.len() && batch <= leading.len() && tuple > 0);
    let Some(places) = places else {
        let what = format!("tuples of {tuple} after {batch} batch axes do not fit {}", shape::display(&dims));
        return Err(call.malformed(what));
    };
    let (sizes, rest) = (fixed(call, &dims[..places])?, fixed(call, &dims[places..])?);
    if leading[..batch] != sizes[..batch] {
        return Err(
            call.shape_error(format!("the batch axes of {leading:?} are not those of {}", shape::display(&dims)))
        );
    }
    let (positions, inner) = (product(call, &sizes)?, product(call, &rest)?);
    let mut sources = tuples(call, &indices, &sizes[batch..])?;
    let (each, part) = (leading[batch..].iter().product::<usize>(), sizes[batch..].iter().product::<usize>());
    sources.iter_mut().enumerate().for_each(|(i, s)| *s += i / each.max(1) * part);
    let to = [leading, &rest].concat();
    picked(call, [positions, inner], sources, to)
}

/// Flat positions in a tensor of shape `sizes`, one for each index, which replaces the position along `axis`.
fn elements(call: &Call, indices: &Tensor, sizes: &[usize], axis: usize) -> Result<Vec<usize>> {
    let fits = indices.shape().len() == sizes.len()
        && indices.shape().iter().zip(sizes).enumerate().all(|(i, (n, size))| i == axis || n <= size);
    if !fits {
        return Err(call.shape_error(format!("indices of shape {:?} do not fit {sizes:?}", indices.shape())));
    }
    let mut strides = vec![1; sizes.len()];
    (1..sizes.len()).rev().for_each(|i| strides[i - 1] = strides[i] * sizes[i]);
    let along = std::mem::replace(&mut strides[axis], 0);
    let starts = fold::walk(indices.shape(), &strides, indices.len());
    starts
        .into_iter()
        .zip(indices.as_i64().unwrap_or_default())
        .map(|(start, index)| {
            let at = call.axis(*index, sizes[axis]).map_err(|_| outside(call, *index, sizes[axis]))?;
            Ok(start + at * along)
        })
        .collect()
}

/// `GatherElements`: each index names a position along the axis.
pub(super) fn gather_elements(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let axis = call.axis(call.int("axis", 0)?, dims.len())?;
    let (sizes, indices) = (fixed(call, &dims)?, indices(call, 1)?);
    let sources = elements(call, &indices, &sizes, axis)?;
    let positions = product(call, &sizes)?;
    picked(call, [positions, 1], sources, indices.shape().to_vec())
}

/// `ScatterND`: the parts that index tuples name are replaced, or added to.
pub(super) fn scatter_nd(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let (sizes, indices) = (fixed(call, &dims)?, indices(call, 1)?);
    let Some((&tuple, leading)) = indices.shape().split_last().filter(|(n, _)| (1..=sizes.len()).contains(*n)) else {
        return Err(call.malformed(format!("indices of shape {:?} do not fit {sizes:?}", indices.shape())));
    };
    let updates = call.dims(2)?;
    let wanted: Vec<Dim> = leading.iter().chain(&sizes[tuple..]).map(|n| Dim::Fixed(*n)).collect();
    if updates != wanted {
        let (have, want) = (shape::display(&updates), shape::display(&wanted));
        return Err(call.shape_error(format!("updates of shape {have}, not {want}")));
    }
    let places = tuples(call, &indices, &sizes[..tuple])?;
    scatter(call, &sizes, tuple, &places)
}

/// `ScatterElements`, `Scatter`: each index names the position along the axis that an update goes to.
pub(super) fn scatter_elements(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let axis = call.axis(call.int("axis", 0)?, dims.len())?;
    let (sizes, indices) = (fixed(call, &dims)?, indices(call, 1)?);
    let wanted: Vec<Dim> = indices.shape().iter().map(|n| Dim::Fixed(*n)).collect();
    if call.dims(2)? != wanted {
        let have = shape::display(&call.dims(2)?);
        return Err(call.shape_error(format!("updates of shape {have} for indices of shape {:?}", indices.shape())));
    }
    let places = elements(call, &indices, &sizes, axis)?;
    scatter(call, &sizes, sizes.len(), &places)
}

/// Input 0 with input 2 at `places` among the positions of the first `outer` axes.
fn scatter(call: &mut Call, sizes: &[usize], outer: usize, places: &[usize]) -> Result<Vec<Item>> {
    let add = match call.text("reduction", "none")?.as_str() {
        "none" => false,
        "add" => true,
        other => return Err(call.unsupported(format!("attribute reduction = {other}"), "none and add are")),
    };
    let (positions, inner) = (product(call, &sizes[..outer])?, product(call, &sizes[outer..])?);
    // The updates that each place takes: the last one, or all of them.
    let mut put: HashMap<usize, Vec<usize>> = HashMap::with_capacity(places.len());
    for (update, place) in places.iter().enumerate() {
        let at = put.entry(*place).or_default();
        if !add {
            at.clear();
        }
        at.push(update);
    }
    let sources = |updates: bool, at: usize| -> Vec<usize> {
        match (updates, put.get(&at)) {
            (true, found) => found.cloned().unwrap_or_default(),
            (false, Some(_)) if !add => Vec::new(),
            (false, _) => vec![at],
        }
    };
    let (data, updates) = (call.input(0)?.clone(), call.input(2)?.clone());
    // Constants become a shift; computed values are joined, data first, and routed.
    let mut computed = Vec::with_capacity(2);
    let mut starts = Vec::with_capacity(2);
    let mut shift: Option<Vec<f64>> = None;
    let mut total = 0;
    for (item, count, updates) in [(data, positions, false), (updates, places.len(), true)] {
        match item {
            Item::Node(x) => {
                let seen = vec![Dim::Fixed(1), Dim::Fixed(count), Dim::Fixed(inner)];
                computed.push(match call.shape(x) == seen {
                    true => x,
                    false => call.step("positions", Op::Reshape { shape: seen }, &[x])?,
                });
                starts.push((updates, total));
                total += count;
            }
            Item::Const(tensor) => {
                let values = tensor.to_vec::<f64>();
                let len = call.reserve(positions.checked_mul(inner))?;
                let shift = shift.get_or_insert_with(|| vec![0.0; len]);
                for at in 0..positions {
                    for source in sources(updates, at) {
                        let from = &values[source * inner..(source + 1) * inner];
                        shift[at * inner..].iter_mut().zip(from).for_each(|(s, v)| *s += v);
                    }
                }
            }
            _ => return Err(call.unsupported("sizes among computed values", "constants are")),
        }
    }
    let joined = match computed.as_slice() {
        [] => return Err(call.unsupported("data and updates that are both constant", "one has to be computed")),
        [only] => *only,
        both => call.step("Concat", Op::Concat { axis: 1 }, both)?,
    };
    let kind = if add { ResampleKind::ReduceSum } else { ResampleKind::Gather };
    let rows = (0..positions).map(|at| {
        let of = |(updates, start): &(bool, usize)| {
            let start = *start;
            sources(*updates, at).into_iter().map(move |s| (start + s, 1.0))
        };
        starts.iter().flat_map(of).collect()
    });
    let mut ops = mapped(call, kind, [total, inner], AxisMap::from_rows(total, rows)?, sizes.to_vec())?;
    if let Some(values) = shift {
        let shift = Some(Arc::new(Tensor::from_f64(sizes, values)?));
        ops.push(Op::Affine(Affine { scale: None, shift, origin: "Add" }));
    }
    call.chain(joined, ops)
}

/// `Compress`: the positions where a constant condition holds.
pub(super) fn compress(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let condition = call.weight(1)?;
    let flat = !call.has("axis");
    let axis = if flat { 0 } else { call.axis(call.int("axis", 0)?, dims.len())? };
    let sizes = fixed(call, if flat { &dims } else { &dims[axis..=axis] })?;
    let size = product(call, &sizes)?;
    let sources: Vec<usize> = (0..condition.len()).filter(|i| condition.get(*i) != Some(0.0)).collect();
    if sources.last().is_some_and(|last| *last >= size) {
        return Err(call.malformed(format!("the condition has {} values for {size} positions", condition.len())));
    }
    if flat {
        let count = sources.len();
        return picked(call, [size, 1], sources, vec![count]);
    }
    let x = call.value(0)?;
    let maps = vec![(axis, Arc::new(AxisMap::pick(size, sources)?))];
    call.emit(Op::Resample(Resample { kind: ResampleKind::Gather, maps }), &[x])
}

/// `ReverseSequence`: the beginning of each sequence, of constant length, in reverse order.
pub(super) fn reverse_sequence(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let (batch, time) = (call.int("batch_axis", 1)?, call.int("time_axis", 0)?);
    if dims.len() < 2 || !matches!((batch, time), (0, 1) | (1, 0)) {
        return Err(call.malformed(format!("batch_axis {batch} and time_axis {time} are not the first two axes")));
    }
    let time = usize::from(time == 1);
    let lens = indices(call, 1)?;
    let steps = call.positions(fixed(call, &dims[time..=time])?[0])?;
    let mut lengths = Vec::with_capacity(lens.len());
    for len in lens.as_i64().unwrap_or_default() {
        let fits = usize::try_from(*len).ok().filter(|n| *n <= steps);
        lengths.push(fits.ok_or_else(|| call.malformed(format!("a sequence of {len} among {steps} steps")))?);
    }
    let reversed = |at: usize, len: usize| if at < len { len - 1 - at } else { at };
    let sizes = fixed(call, &dims)?;
    let (count, inner) = (sizes[1 - time], product(call, &sizes[2..])?);
    if lengths.len() != count {
        return Err(call.shape_error(format!("{} lengths for {count} sequences", lengths.len())));
    }
    let positions = product(call, &sizes[..2])?;
    let sources = (0..positions).map(|at| {
        let (a, b) = (at / sizes[1], at % sizes[1]);
        if time == 0 { reversed(a, lengths[b]) * sizes[1] + b } else { a * sizes[1] + reversed(b, lengths[a]) }
    });
    picked(call, [positions, inner], sources.collect(), sizes)
}

/// `Trilu`: zeros below (or above) a diagonal of the last two axes.
pub(super) fn trilu(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let upper = call.flag("upper", true)?;
    let diagonal = call.number(1)?.unwrap_or(0.0);
    let Some(split) = dims.len().checked_sub(2) else {
        return Err(call.shape_error(format!("{} is not a matrix", shape::display(&dims))));
    };
    let matrix = fixed(call, &dims[split..])?;
    let (len, columns) = (product(call, &matrix)?, matrix[1]);
    let keeps = |at: usize| {
        let off = (at % columns) as f64 - (at / columns) as f64;
        if upper { off >= diagonal } else { off <= diagonal }
    };
    match call.input(0)?.clone() {
        Item::Node(x) => {
            let flat = [&dims[..split], &[Dim::Fixed(len)]].concat();
            let rows = (0..len).map(|at| if keeps(at) { vec![(at, 1.0)] } else { Vec::new() });
            let maps = vec![(split, Arc::new(AxisMap::from_rows(len, rows)?))];
            let keep = Op::Resample(Resample { kind: ResampleKind::Pad, maps });
            call.chain(x, vec![Op::Reshape { shape: flat }, keep, Op::Reshape { shape: dims }])
        }
        Item::Const(tensor) => {
            call.reserve(Some(tensor.len()))?;
            // Chosen, not multiplied: constants of masks are infinite.
            let mask = (0..len).map(|at| i64::from(keeps(at))).collect();
            let zero = match tensor.as_i64() {
                Some(_) => Tensor::from_i64([], vec![0])?,
                None => Tensor::from_f32([], vec![0.0])?,
            };
            let mask = Tensor::from_i64(matrix, mask)?;
            Ok(vec![fold::select(call, &mask, &Item::Const(tensor), &zero.into())?])
        }
        _ => Err(call.unsupported("a constant that is repeated along the batch", "computed tensors and constants are")),
    }
}

/// `CenterCropPad`: cut or filled with zeros around the middle to a constant size.
pub(super) fn center_crop_pad(call: &mut Call) -> Result<Vec<Item>> {
    let x = call.value(0)?;
    let dims = call.shape(x);
    let axes = match call.ints("axes")? {
        Some(axes) => call.axes(&axes, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    let wanted = super::constant::dims(call, 1)?;
    if wanted.len() != axes.len() {
        return Err(call.malformed(format!("{} sizes for {} axes", wanted.len(), axes.len())));
    }
    let mut maps = Vec::new();
    for (axis, to) in axes.into_iter().zip(wanted) {
        if to == dims[axis] {
            continue;
        }
        let (size, to) = (call.positions(call.fixed(x, axis)?)?, fixed(call, &[to])?[0]);
        let to = call.positions(to)?;
        let (cut, pad) = (size.saturating_sub(to) / 2, to.saturating_sub(size) / 2);
        let rows = (0..to).map(|at| match (at + cut).checked_sub(pad) {
            Some(source) if source < size => vec![(source, 1.0)],
            _ => Vec::new(),
        });
        maps.push((axis, Arc::new(AxisMap::from_rows(size, rows)?)));
    }
    if maps.is_empty() {
        return Ok(vec![x.into()]);
    }
    call.emit(Op::Resample(Resample { kind: ResampleKind::Pad, maps }), &[x])
}
