//! Products of a computed tensor with a constant along named axes: Einsum, and MatMul with a batch of constant matrices.

use std::collections::HashMap;
use std::sync::Arc;

use super::fold;
use crate::error::Result;
use crate::network::{Affine, AxisMap, Dense, Dim, Op, Resample, ResampleKind, ValueId, shape};
use crate::onnx::call::Call;
use crate::onnx::item::Item;
use crate::tensor::Tensor;

/// The most constant matrices of a batch: each becomes a dense layer of its own.
const MOST_MATRICES: usize = 256;

/// The name of an axis. Those of an ellipsis lie behind all letters.
type Label = u32;

/// `Einsum` of one computed tensor, which may be multiplied by a constant: sums, transpositions, products of matrices.
pub(super) fn einsum(call: &mut Call) -> Result<Vec<Item>> {
    let equation: String = call.text("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != call.inputs.len() {
        return Err(call.malformed(format!("the equation {equation} does not have one term for each input")));
    }
    let mut axes = Vec::with_capacity(terms.len());
    for (i, term) in terms.iter().enumerate() {
        let rank = call.dims(i)?.len();
        let labels = labels(term, rank);
        axes.push(labels.ok_or_else(|| {
            call.malformed(format!("the term {term} of the equation {equation} does not fit {rank} axes"))
        })?);
    }
    let wanted = match right {
        Some(right) => {
            let given: Vec<Label> = axes.iter().flatten().copied().collect();
            let dots = given.iter().filter(|l| **l >= DOTS).max().map_or(0, |l| (l - DOTS + 1) as usize);
            let rank = right.replace("...", "").chars().count() + if right.contains("...") { dots } else { 0 };
            let found = labels(right, rank).filter(|l| distinct(l) && l.iter().all(|label| given.contains(label)));
            found.ok_or_else(|| call.malformed(format!("the equation {equation} has no such output")))?
        }
        None => implied(&axes),
    };
    match (call.inputs.as_slice(), axes.as_slice()) {
        ([Some(Item::Node(x))], [of_x]) => contract(call, *x, of_x, None, &wanted),
        ([Some(Item::Node(x)), Some(Item::Const(c))], [of_x, of_c])
        | ([Some(Item::Const(c)), Some(Item::Node(x))], [of_c, of_x]) => {
            let c = c.clone();
            contract(call, *x, of_x, Some((&c, of_c)), &wanted)
        }
        ([_, _, _, ..], _) => Err(call.unsupported(
            format!("an equation of {} operands", terms.len()),
            "one computed tensor is, and one times a constant",
        )),
        _ => {
            Err(call.unsupported("operands of this kind", "one computed tensor is supported, and one times a constant"))
        }
    }
}

/// Where the labels of an ellipsis begin, counted from its last axis.
const DOTS: Label = 1 << 24;

/// The labels of a term for a tensor of `rank` axes.
fn labels(term: &str, rank: usize) -> Option<Vec<Label>> {
    let (before, after) = term.split_once("...").map_or((term, None), |(before, after)| (before, Some(after)));
    let letters = |part: &str| -> Option<Vec<Label>> {
        part.chars().map(|c| c.is_ascii_alphabetic().then_some(Label::from(c))).collect()
    };
    let (mut found, after) = (letters(before)?, after.map(letters));
    match after {
        None => (found.len() == rank).then_some(found),
        Some(after) => {
            let after = after?;
            let dots = rank.checked_sub(found.len() + after.len())?;
            found.extend((0..dots).rev().map(|i| DOTS + i as Label));
            found.extend(after);
            Some(found)
        }
    }
}

/// The output where the equation names none: the ellipsis, then the letters that appear once, in order.
fn implied(axes: &[Vec<Label>]) -> Vec<Label> {
    let mut counts: HashMap<Label, usize> = HashMap::new();
    axes.iter().flatten().for_each(|label| *counts.entry(*label).or_default() += 1);
    let mut labels: Vec<Label> =
        counts.into_iter().filter(|(label, count)| *label >= DOTS || *count == 1).map(|(label, _)| label).collect();
    labels.sort_by_key(|label| if *label >= DOTS { (0, Label::MAX - *label) } else { (1, *label) });
    labels
}

fn distinct(labels: &[Label]) -> bool {
    labels.iter().enumerate().all(|(i, label)| !labels[..i].contains(label))
}

/// `MatMul` of a computed tensor and a constant of any rank, with broadcasting of the leading axes.
pub(super) fn batched(call: &mut Call, x: ValueId, constant: &Tensor, constant_first: bool) -> Result<Vec<Item>> {
    let (of_x, of_c) = (call.shape(x), constant.shape());
    let (matrix, batch) = (|rank: usize| rank.min(2), |rank: usize| rank.saturating_sub(2));
    // Rows and columns of the product, the axis in between, and the leading axes from the last one on.
    let (rows, between, columns, leading) = (0, 1, 2, 3);
    let own = |rank: usize, first: bool| match (matrix(rank), first) {
        (2, true) => vec![rows, between],
        (2, false) => vec![between, columns],
        (1, _) => vec![between],
        _ => Vec::new(),
    };
    let (mut x_axes, mut c_axes, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    let (mut x_shape, mut c_shape) = (Vec::new(), Vec::new());
    let most = batch(of_x.len()).max(batch(of_c.len()));
    for i in (0..most).rev() {
        let label = leading + i as Label;
        let at = |rank: usize| batch(rank).checked_sub(i + 1);
        let (in_x, in_c) = (at(of_x.len()).map(|a| of_x[a]), at(of_c.len()).map(|a| of_c[a]));
        // An axis of size 1 is left to the other operand.
        let in_c = in_c.filter(|n| *n != 1 || in_x.is_none());
        let in_x = in_x.filter(|n| *n != Dim::Fixed(1) || in_c.is_none());
        if let Some(dim) = in_x {
            x_axes.push(label);
            x_shape.push(dim);
        }
        if let Some(size) = in_c {
            c_axes.push(label);
            c_shape.push(size);
        }
        wanted.push(label);
    }
    let (of_first, of_second) = if constant_first { (of_c.len(), of_x.len()) } else { (of_x.len(), of_c.len()) };
    wanted.extend((of_first > 1).then_some(rows));
    wanted.extend((of_second > 1).then_some(columns));
    x_axes.extend(own(of_x.len(), !constant_first));
    c_axes.extend(own(of_c.len(), constant_first));
    x_shape.extend(&of_x[batch(of_x.len())..]);
    c_shape.extend(&of_c[batch(of_c.len())..]);
    let constant = constant.clone().reshape(c_shape)?;
    let x = reshaped(call, x, x_shape)?;
    contract(call, x, &x_axes, Some((&constant, &c_axes)), &wanted)
}

fn reshaped(call: &mut Call, x: ValueId, shape: Vec<Dim>) -> Result<ValueId> {
    if call.shape(x) == shape {
        return Ok(x);
    }
    call.step("reshaped", Op::Reshape { shape }, &[x])
}

/// `y[wanted] = Σ x[of_x] · c[of_c]` over every label that `wanted` does not have; x alone without a constant.
fn contract(
    call: &mut Call,
    x: ValueId,
    of_x: &[Label],
    constant: Option<(&Tensor, &[Label])>,
    wanted: &[Label],
) -> Result<Vec<Item>> {
    let of_c = constant.map_or(&[][..], |(_, labels)| labels);
    if !distinct(of_x) || !distinct(of_c) {
        return Err(call.unsupported("a diagonal", "an axis may appear once in an operand"));
    }
    let dims = call.shape(x);
    let mut sizes: HashMap<Label, Dim> = of_x.iter().copied().zip(dims).collect();
    for (label, size) in of_c.iter().zip(constant.map_or(&[][..], |(c, _)| c.shape())) {
        if *sizes.entry(*label).or_insert(Dim::Fixed(*size)) != Dim::Fixed(*size) {
            return Err(call.shape_error(format!(
                "{} and a constant of shape {:?} do not fit",
                shape::display(&call.shape(x)),
                constant.map_or(&[][..], |(c, _)| c.shape())
            )));
        }
    }
    let size = |call: &Call, labels: &[Label]| -> Result<usize> {
        let dims: Vec<Dim> = labels.iter().map(|l| sizes[l]).collect();
        match shape::volume(&dims) {
            Some((n, 0)) => Ok(n),
            _ => Err(call.unsupported("a sum over the batch", "samples must stay independent of each other")),
        }
    };
    let axes = |labels: &[Label]| -> Vec<Dim> { labels.iter().map(|l| sizes[l]).collect() };
    let choose = |labels: &[Label], f: &dyn Fn(Label) -> bool| -> Vec<Label> {
        labels.iter().copied().filter(|l| f(*l)).collect()
    };

    // What x alone is summed over comes first.
    let alone = choose(of_x, &|l| !of_c.contains(&l) && !wanted.contains(&l));
    let left = choose(of_x, &|l| !alone.contains(&l));
    let mut x = x;
    if !alone.is_empty() {
        let mut maps = Vec::with_capacity(alone.len());
        for (axis, label) in of_x.iter().enumerate().filter(|(_, l)| alone.contains(l)) {
            maps.push((axis, Arc::new(AxisMap::reduce(size(call, &[*label])?, 1.0)?)));
        }
        x = call.step("sum", Op::Resample(Resample { kind: ResampleKind::ReduceSum, maps }), &[x])?;
        x = reshaped(call, x, axes(&left))?;
    }
    let order = |from: &[Label], to: &[Label]| -> Option<Op> {
        let perm: Vec<usize> = to.iter().filter_map(|l| from.iter().position(|f| f == l)).collect();
        (!perm.iter().copied().eq(0..perm.len())).then_some(Op::Transpose { perm })
    };
    let Some((constant, _)) = constant else {
        return call.chain(x, order(&left, wanted).into_iter().collect());
    };

    let kept = choose(&left, &|l| !of_c.contains(&l));
    let shared = choose(&left, &|l| of_c.contains(&l) && wanted.contains(&l));
    let summed = choose(&left, &|l| of_c.contains(&l) && !wanted.contains(&l));
    let new = choose(of_c, &|l| !left.contains(&l) && wanted.contains(&l));
    let (groups, inputs, outputs) = (size(call, &shared)?, size(call, &summed)?, size(call, &new)?);
    if groups > MOST_MATRICES && !(summed.is_empty() && new.is_empty()) {
        let what = format!("a batch of {groups} constant matrices");
        return Err(call.unsupported(what, format!("batches of at most {MOST_MATRICES} are")));
    }
    let weights = matrices(call, constant, of_c, &[&shared, &new, &summed])?;
    let mut ops: Vec<Op> = order(&left, &[kept.as_slice(), &shared, &summed].concat()).into_iter().collect();
    if summed.is_empty() && new.is_empty() {
        let sizes: Vec<usize> = axes(&shared).iter().filter_map(|d| d.fixed()).collect();
        let scale = Some(Arc::new(Tensor::from_f64(sizes, weights)?));
        ops.push(Op::Affine(Affine { scale, shift: None, origin: "Mul" }));
        ops.extend(order(&[kept.as_slice(), &shared].concat(), wanted));
        return call.chain(x, ops);
    }
    let mut rows = axes(&kept);
    if groups > 1 || rows.is_empty() {
        rows.push(Dim::Fixed(groups));
    }
    ops.push(Op::Reshape { shape: [rows.as_slice(), &[Dim::Fixed(inputs)]].concat() });
    let made = [kept.as_slice(), &shared, &new].concat();
    let mut last = vec![Op::Reshape { shape: axes(&made) }];
    last.extend(order(&made, wanted));
    let dense = |group: usize| -> Result<Op> {
        let one = &weights[group * outputs * inputs..][..outputs * inputs];
        let weight = Arc::new(Tensor::from_f64([outputs, inputs], one.to_vec())?);
        Ok(Op::Dense(Dense { weight, bias: None }))
    };
    if groups == 1 {
        ops.push(dense(0)?);
        ops.extend(last);
        return call.chain(x, ops);
    }
    for op in ops {
        x = call.step(op.name(), op, &[x])?;
    }
    let axis = kept.len();
    let mut products = Vec::with_capacity(groups);
    for group in 0..groups {
        let maps = vec![(axis, Arc::new(AxisMap::pick(groups, [group])?))];
        let part = call.step("Slice", Op::Resample(Resample { kind: ResampleKind::Slice, maps }), &[x])?;
        products.push(call.step("MatMul", dense(group)?, &[part])?);
    }
    let joined = call.step("Concat", Op::Concat { axis }, &products)?;
    call.chain(joined, last)
}

/// The constant's values in the order of `blocks`, summed over the axes that none of them has.
fn matrices(call: &mut Call, constant: &Tensor, of_c: &[Label], blocks: &[&[Label]]) -> Result<Vec<f64>> {
    let to: Vec<Label> = blocks.concat();
    let size = |label: &Label| of_c.iter().position(|l| l == label).map_or(1, |axis| constant.shape()[axis]);
    let len = call.reserve(to.iter().try_fold(1usize, |n, l| n.checked_mul(size(l))))?;
    let mut strides = vec![0; of_c.len()];
    let mut step = 1;
    for label in to.iter().rev() {
        if let Some(axis) = of_c.iter().position(|l| l == label) {
            strides[axis] = step;
        }
        step *= size(label);
    }
    let mut values = vec![0.0; len];
    let places = fold::walk(constant.shape(), &strides, constant.len());
    places.into_iter().zip(constant.to_vec::<f64>()).for_each(|(at, value)| values[at] += value);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_an_equation() {
        let l = |text: &str| text.chars().map(Label::from).collect::<Vec<_>>();
        assert_eq!(labels("bij", 3), Some(l("bij")));
        assert_eq!(labels("bij", 2), None);
        assert_eq!(labels("b..j", 2), None);
        assert_eq!(labels("b...j", 4), Some([l("b"), vec![DOTS + 1, DOTS], l("j")].concat()));
        assert_eq!(labels("...", 0), Some(Vec::new()));
        assert_eq!(implied(&[l("ij"), l("jk")]), l("ik"));
        assert_eq!(implied(&[vec![DOTS + 1, DOTS, 98], vec![98, 97]]), vec![DOTS + 1, DOTS, 97]);
    }
}
