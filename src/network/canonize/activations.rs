//! Recognises activations that exporters write as several nodes.
//!
//! Each of them is a product `c · x · g(u)`, where u is a polynomial of x and g a simpler activation with a factor and a
//! summand:
//!
//! | activation | c · x · g(u) |
//! |---|---|
//! | SiLU | x · σ(x) |
//! | HardSwish | x · HardSigmoid(x), or c · x · clip(a·x + b, 0, h) with c·h = 1 |
//! | Mish | x · tanh(softplus(x)) |
//! | GELU | ½ · x · (1 + erf(x/√2)) |
//! | GELU, by tanh | ½ · x · (1 + tanh(√(2/π)·(x + 0.044715·x³))) |
//!
//! A product is recognised only where nothing else reads what is inside it.

use std::collections::BTreeSet;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use super::Editor;
use crate::network::{Activation, Op, ValueId};
use crate::tensor::Tensor;

/// How far, relatively, a constant may be from the formula's: exporters round, some to four digits.
const TOLERANCE: f64 = 1e-3;

/// The longest form of a GELU has about ten nodes: this bounds the search in other graphs.
const LARGEST: usize = 16;

/// Replaces every product that is a known activation. Outer products are tried first, for they hold the factors.
pub(super) fn recognise(editor: &mut Editor) {
    let mut i = editor.network.nodes.len();
    while i > 0 {
        i -= 1;
        if let Some(found) = find(editor, i) {
            let node = &mut editor.network.nodes[i];
            node.op = Op::Activation(found.activation);
            node.inputs = vec![found.x];
            let output = node.output;
            editor.refresh();
            // Nodes before this one are gone: go on from where it is now.
            i = editor.producer.get(&output).copied().unwrap_or(0);
        }
    }
}

struct Found {
    activation: Activation,
    x: ValueId,
}

/// The activation whose output node `root` makes.
fn find(editor: &Editor, root: usize) -> Option<Found> {
    if !matches!(editor.network.nodes[root].op, Op::Mul | Op::Affine(_)) {
        return None;
    }
    let mut product = Product { factor: 1.0, leaves: Vec::new(), inside: BTreeSet::new() };
    product.expand(editor, root)?;
    let &[a, b] = product.leaves.as_slice() else {
        return None;
    };
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let mut inside = product.inside.clone();
        let activation = gated(editor, product.factor, x, gate, &mut inside)?;
        closed(editor, root, &inside).then_some(Found { activation, x })
    })
}

/// Whether nothing outside of the pattern reads what is inside.
fn closed(editor: &Editor, root: usize, inside: &BTreeSet<usize>) -> bool {
    inside.iter().filter(|i| **i != root).all(|i| {
        let output = editor.network.nodes[*i].output;
        !editor.is_output(output) && editor.readers(output).iter().all(|r| inside.contains(r))
    })
}

/// A product taken apart: a number times other tensors.
struct Product {
    factor: f64,
    leaves: Vec<ValueId>,
    inside: BTreeSet<usize>,
}

impl Product {
    /// Takes apart node i. Inputs that others read too are not taken apart: x always is.
    fn expand(&mut self, editor: &Editor, i: usize) -> Option<()> {
        if self.inside.len() > LARGEST {
            return None;
        }
        let node = &editor.network.nodes[i];
        match &node.op {
            Op::Mul => {}
            Op::Affine(affine) if affine.shift.is_none() => self.factor *= scalar(affine.scale.as_deref()?)?,
            _ => return None,
        }
        self.inside.insert(i);
        for input in &node.inputs {
            let deeper = editor.node(*input).filter(|_| editor.only_reader(*input).is_some());
            match deeper {
                Some((j, _)) if self.leaves.len() < 3 && self.expand(editor, j).is_some() => {}
                _ => self.leaves.push(*input),
            }
        }
        Some(())
    }
}

/// The activation `factor · x · gate(x)`; adds the nodes of the gate to `inside`.
fn gated(editor: &Editor, factor: f64, x: ValueId, gate: ValueId, inside: &mut BTreeSet<usize>) -> Option<Activation> {
    // gate = scale · g + shift
    let (mut scale, mut shift, mut at) = (1.0, 0.0, gate);
    loop {
        let (i, node) = editor.node(at)?;
        inside.insert(i);
        match &node.op {
            _ if inside.len() > LARGEST => return None,
            Op::Affine(affine) => {
                // An affine layer further in comes first.
                let (s, t) = scalar_affine(affine)?;
                shift += scale * t;
                scale *= s;
                at = *node.inputs.first()?;
            }
            Op::Activation(g) => {
                let (c, d) = (factor * scale, factor * shift);
                return activation(editor, c, d, g, *node.inputs.first()?, x, inside);
            }
            _ => return None,
        }
    }
}

/// The activation `x · (c · g(u) + d)`.
fn activation(
    editor: &Editor,
    c: f64,
    d: f64,
    g: &Activation,
    u: ValueId,
    x: ValueId,
    inside: &mut BTreeSet<usize>,
) -> Option<Activation> {
    if let Activation::Tanh = g
        && near(c, 1.0)
        && near(d, 0.0)
    {
        let (i, node) = editor.node(u)?;
        inside.insert(i);
        let plain = matches!(node.op, Op::Activation(Activation::Softplus)) && node.inputs == [x];
        return plain.then_some(Activation::Mish);
    }
    let u = polynomial(editor, u, x, inside)?;
    let linear = |slope: f64, at_zero: f64| like(&u, [at_zero, slope, 0.0, 0.0]);
    match g {
        Activation::Sigmoid if near(c, 1.0) && near(d, 0.0) && linear(1.0, 0.0) => Some(Activation::Silu),
        Activation::HardSigmoid { alpha, beta }
            if near(c, 1.0) && near(d, 0.0) && near(*alpha, 1.0 / 6.0) && near(*beta, 0.5) && linear(1.0, 0.0) =>
        {
            Some(Activation::HardSwish)
        }
        Activation::Clip { low, high }
            if *low == 0.0 && near(c * high, 1.0) && near(d, 0.0) && linear(1.0 / (6.0 * c), 0.5 / c) =>
        {
            Some(Activation::HardSwish)
        }
        Activation::Erf if near(c, 0.5) && near(d, 0.5) && linear(FRAC_1_SQRT_2, 0.0) => {
            Some(Activation::Gelu { tanh: false })
        }
        Activation::Tanh if near(c, 0.5) && near(d, 0.5) => {
            let slope = FRAC_2_PI.sqrt();
            like(&u, [0.0, slope, 0.0, 0.044715 * slope]).then_some(Activation::Gelu { tanh: true })
        }
        _ => None,
    }
}

/// A tensor as a polynomial of x of degree 3, lowest coefficient first; adds the nodes that compute it to `inside`.
fn polynomial(editor: &Editor, at: ValueId, x: ValueId, inside: &mut BTreeSet<usize>) -> Option<[f64; 4]> {
    if at == x {
        return Some([0.0, 1.0, 0.0, 0.0]);
    }
    let (i, node) = editor.node(at)?;
    if inside.len() > LARGEST {
        return None;
    }
    inside.insert(i);
    let mut input = |k: usize| polynomial(editor, *node.inputs.get(k)?, x, inside);
    match &node.op {
        Op::Affine(affine) => {
            let (scale, shift) = scalar_affine(affine)?;
            let mut p = input(0)?.map(|c| c * scale);
            p[0] += shift;
            Some(p)
        }
        Op::Add if node.inputs.len() == 2 => {
            let (p, q) = (input(0)?, input(1)?);
            Some(std::array::from_fn(|k| p[k] + q[k]))
        }
        Op::Mul => {
            let (p, q) = (input(0)?, input(1)?);
            let mut product = [0.0; 4];
            for (i, a) in p.iter().enumerate() {
                for (j, b) in q.iter().enumerate().filter(|(_, b)| a * **b != 0.0) {
                    *product.get_mut(i + j)? += a * b;
                }
            }
            Some(product)
        }
        _ => None,
    }
}

fn like(p: &[f64; 4], q: [f64; 4]) -> bool {
    p.iter().zip(q).all(|(a, b)| near(*a, b))
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * if b == 0.0 { 1.0 } else { b.abs() }
}

fn scalar(tensor: &Tensor) -> Option<f64> {
    tensor.get(0).filter(|_| tensor.len() == 1)
}

/// Factor and summand of an affine layer that treats every value alike.
fn scalar_affine(affine: &crate::network::Affine) -> Option<(f64, f64)> {
    let scale = affine.scale.as_deref().map_or(Some(1.0), scalar)?;
    let shift = affine.shift.as_deref().map_or(Some(0.0), scalar)?;
    Some((scale, shift))
}
