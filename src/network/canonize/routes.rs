//! Drops steps that cancel out: transposes, reshapes and resamplings that end where they began.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Editor;
use crate::network::{Activation, Affine, Dim, Node, Op, Resample, Value, ValueId, shape};
use crate::tensor::Tensor;

/// Simplifies until nothing is left to do. Whether anything was.
pub(super) fn simplify(editor: &mut Editor) -> bool {
    let mut any = false;
    while (0..editor.network.nodes.len()).any(|i| cancel(editor, i) || sink(editor, i)) {
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
    if let Op::Transpose { perm } = &node.op
        && shape::keeps_order(perm, &editor.network.value(x).shape)
    {
        let shape = editor.network.value(node.output).shape.clone();
        editor.network.nodes[i].op = Op::Reshape { shape };
        return true;
    }
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

/// Moves the transposes before node i behind it, where they become one of them or meet another further on.
fn sink(editor: &mut Editor, i: usize) -> bool {
    sunk(editor, i).is_some()
}

fn sunk(editor: &mut Editor, i: usize) -> Option<()> {
    let node = &editor.network.nodes[i];
    let transposed = |input: &ValueId| match editor.node(*input)?.1 {
        Node { op: Op::Transpose { perm }, inputs, .. } => Some((perm, *inputs.first()?)),
        _ => None,
    };
    let perm = node.inputs.iter().find_map(transposed)?.0.clone();
    let alone = |input: &ValueId| !editor.is_output(*input) && editor.readers(*input).iter().all(|reader| *reader == i);
    // What each input is before the transposes, or its shape there where it is not transposed but has only one long axis.
    let mut sources = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        let shape = &editor.network.value(*input).shape;
        sources.push(match transposed(input) {
            Some((other, source)) if *other == perm => Ok(source),
            None if shape.len() == perm.len() && shape::keeps_order(&perm, &before(shape, &perm)) => {
                Err(before(shape, &perm))
            }
            _ => return None,
        });
    }
    let output = node.output;
    let op = match &node.op {
        Op::Activation(Activation::PRelu { slope }) if slope.len() > 1 => return None,
        Op::Activation(activation) => Op::Activation(activation.clone()),
        Op::Affine(affine) => {
            let permuted = |tensor: &Option<Arc<Tensor>>| match tensor {
                None => Some(None),
                Some(tensor) => before_transpose(tensor, &perm).map(Some),
            };
            Op::Affine(Affine {
                scale: permuted(&affine.scale)?,
                shift: permuted(&affine.shift)?,
                origin: affine.origin,
            })
        }
        Op::Resample(resample) => Op::Resample(Resample {
            kind: resample.kind,
            maps: resample.maps.iter().map(|(axis, map)| (perm[*axis], map.clone())).collect(),
        }),
        Op::Concat { axis } => Op::Concat { axis: perm[*axis] },
        op @ (Op::Add | Op::Sub | Op::Mul | Op::Div) => op.clone(),
        _ => return None,
    };
    let several = sources.iter().any(|source| *source != sources[0]);
    let shape = before(&editor.network.value(output).shape, &perm);
    // Behind a mean a transpose may move nothing any more. Behind an activation it costs no more, and the activation comes next
    // to the layer that it belongs to.
    let vanishes = matches!(op, Op::Resample(_)) && shape::keeps_order(&perm, &shape);
    let moves = several || matches!(op, Op::Activation(_)) || meets_transpose(editor, output);
    let others = node.inputs.iter().filter(|input| transposed(input).is_some()).all(alone);
    if !(vanishes || moves && others) {
        return None;
    }
    // x → T → f → output becomes x → f → T → output.
    let name = node.name.clone();
    let inputs: Vec<ValueId> = sources
        .into_iter()
        .zip(node.inputs.clone())
        .map(|(source, input)| {
            source.unwrap_or_else(|shape| insert(editor, &name, Op::Reshape { shape: shape.clone() }, input, shape))
        })
        .collect();
    let middle = value(editor, shape);
    let node = &mut editor.network.nodes[i];
    (node.op, node.inputs, node.output) = (op, inputs, middle);
    let name = fresh(editor, &format!("{name}/transpose"));
    editor.network.nodes.push(Node { name, op: Op::Transpose { perm }, inputs: vec![middle], output });
    editor.refresh();
    Some(())
}

/// A new tensor, which no one can ask for by name.
fn value(editor: &mut Editor, shape: Vec<Dim>) -> ValueId {
    editor.network.values.push(Value { name: String::new(), shape });
    ValueId(editor.network.values.len() - 1)
}

/// A new node that reads `input`, on behalf of the node `name`; gives its output.
fn insert(editor: &mut Editor, name: &str, op: Op, input: ValueId, shape: Vec<Dim>) -> ValueId {
    let output = value(editor, shape);
    let name = fresh(editor, &format!("{name}/{}", op.name().to_lowercase()));
    editor.network.nodes.push(Node { name, op, inputs: vec![input], output });
    output
}

/// A name that no node has, like this one.
fn fresh(editor: &Editor, name: &str) -> String {
    let mut name = name.to_string();
    while editor.network.nodes.iter().any(|node| node.name == name) {
        name.push('\'');
    }
    name
}

/// The shape before a transpose by `perm` that ends in `shape`.
fn before(shape: &[Dim], perm: &[usize]) -> Vec<Dim> {
    let mut from = shape.to_vec();
    perm.iter().zip(shape).for_each(|(axis, dim)| from[*axis] = *dim);
    from
}

/// Whether some way from a tensor leads to a transpose through nothing but nodes that transposes move behind.
fn meets_transpose(editor: &Editor, from: ValueId) -> bool {
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(at) = open.pop() {
        for reader in editor.readers(at) {
            let node = &editor.network.nodes[*reader];
            match &node.op {
                Op::Transpose { .. } => return true,
                Op::Activation(_) | Op::Affine(_) | Op::Resample(_) => {}
                // Where another branch is transposed too, the two become one.
                Op::Concat { .. } | Op::Add | Op::Sub | Op::Mul | Op::Div => {
                    let transposed =
                        |input| matches!(editor.node(input), Some((_, Node { op: Op::Transpose { .. }, .. })));
                    if node.inputs.iter().any(|input| *input != at && transposed(*input)) {
                        return true;
                    }
                }
                _ => continue,
            }
            if seen.insert(node.output) {
                open.push(node.output);
            }
        }
    }
    false
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
