//! Drops steps that cancel out: transposes, reshapes and resamplings that end where they began.

use std::sync::Arc;

use super::Editor;
use crate::network::{Activation, Affine, Op, Resample, ValueId};
use crate::tensor::Tensor;

/// Simplifies until nothing is left to do. Whether anything was.
pub(super) fn simplify(editor: &mut Editor) -> bool {
    let mut any = false;
    while (0..editor.network.nodes.len()).any(|i| cancel(editor, i) || swap(editor, i)) {
        any = true;
    }
    any
}

/// Drops node i where it changes nothing, or joins it with the one before it.
fn cancel(editor: &mut Editor, i: usize) -> bool {
    let node = &editor.network.nodes[i];
    let &[x] = node.inputs.as_slice() else {
        return false;
    };
    let idle = match &node.op {
        Op::Transpose { perm } => perm.iter().copied().eq(0..perm.len()),
        Op::Reshape { shape } => *shape == editor.network.value(x).shape,
        Op::Resample(resample) => is_identity(resample),
        Op::Affine(affine) => affine.scale.is_none() && affine.shift.is_none(),
        Op::Concat { .. } | Op::Add => true,
        _ => false,
    };
    let output = node.output;
    if idle && editor.substitute(output, x) {
        return true;
    }
    let node = &editor.network.nodes[i];
    let before = editor.node(x).map(|(_, n)| n);
    let joined = match (&node.op, before.map(|n| (&n.op, n.inputs.as_slice()))) {
        (Op::Transpose { perm }, Some((Op::Transpose { perm: first }, &[source]))) => {
            Some((Op::Transpose { perm: perm.iter().map(|p| first[*p]).collect() }, source))
        }
        (Op::Reshape { shape }, Some((Op::Reshape { .. }, &[source]))) => {
            Some((Op::Reshape { shape: shape.clone() }, source))
        }
        _ => None,
    };
    let Some((op, source)) = joined else {
        return false;
    };
    let node = &mut editor.network.nodes[i];
    node.op = op;
    node.inputs = vec![source];
    editor.refresh();
    true
}

fn is_identity(resample: &Resample) -> bool {
    resample.maps.iter().all(|(_, map)| {
        map.outputs() == map.inputs()
            && map.sources().len() == map.inputs()
            && map.starts().iter().copied().eq(0..=map.inputs() as u32)
            && map.sources().iter().copied().eq(0..map.inputs() as u32)
            && map.weights().iter().all(|w| *w == 1.0)
    })
}

/// Moves a transpose behind the elementwise node i where another transpose waits there for it to cancel.
fn swap(editor: &mut Editor, i: usize) -> bool {
    swapped(editor, i).is_some()
}

fn swapped(editor: &mut Editor, i: usize) -> Option<()> {
    let node = &editor.network.nodes[i];
    let &[middle] = node.inputs.as_slice() else {
        return None;
    };
    let (first, transpose) = editor.node(middle)?;
    let Op::Transpose { perm } = &transpose.op else {
        return None;
    };
    let second = editor.only_reader(node.output)?;
    if editor.only_reader(middle) != Some(i) || !matches!(editor.network.nodes[second].op, Op::Transpose { .. }) {
        return None;
    }
    let op = match &node.op {
        Op::Activation(Activation::PRelu { slope }) if slope.len() > 1 => return None,
        Op::Activation(activation) => Op::Activation(activation.clone()),
        Op::Affine(affine) => {
            let permuted = |tensor: &Option<Arc<Tensor>>| match tensor {
                None => Some(None),
                Some(tensor) => before_transpose(tensor, perm).map(Some),
            };
            Op::Affine(Affine {
                scale: permuted(&affine.scale)?,
                shift: permuted(&affine.shift)?,
                origin: affine.origin,
            })
        }
        _ => return None,
    };
    // x → T → middle → f → output becomes x → f → middle → T → output.
    let x: ValueId = *transpose.inputs.first()?;
    let output = node.output;
    let shape = editor.network.value(x).shape.clone();
    editor.network.values[middle.0].shape = shape;
    let node = &mut editor.network.nodes[i];
    node.op = op;
    node.inputs = vec![x];
    node.output = middle;
    let transpose = &mut editor.network.nodes[first];
    transpose.inputs = vec![middle];
    transpose.output = output;
    editor.refresh();
    Some(())
}

/// A constant that varies along one axis at most, as it is before the transpose by `perm`.
fn before_transpose(tensor: &Arc<Tensor>, perm: &[usize]) -> Option<Arc<Tensor>> {
    let shape = tensor.shape();
    let missing = perm.len().checked_sub(shape.len())?;
    let mut long = (0..shape.len()).filter(|i| shape[*i] != 1);
    let Some(axis) = long.next() else {
        return Some(tensor.clone());
    };
    if long.next().is_some() {
        return None;
    }
    let mut to = vec![1; perm.len()];
    to[perm[axis + missing]] = shape[axis];
    tensor.as_ref().clone().reshape(to).ok().map(Arc::new)
}
