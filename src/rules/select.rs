//! Which layers an entry of a composite means: by name, kind and position.

use std::fmt;

use crate::error::{Error, Result};
use crate::network::{Network, Node, Op, ValueId};

/// Kinds of layers that rules are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerKind {
    /// Convolutions and dense layers.
    Linear,
    /// Convolutions, transposed ones too.
    Convolution,
    /// Dense layers.
    Dense,
}

impl LayerKind {
    fn includes(self, op: &Op) -> bool {
        match self {
            LayerKind::Linear => is_linear(op),
            LayerKind::Convolution => matches!(op, Op::Conv(_) | Op::ConvTranspose(_)),
            LayerKind::Dense => matches!(op, Op::Dense(_)),
        }
    }
}

/// Whether a rule is chosen for the op.
pub(crate) fn is_linear(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense(_))
}

/// Where in the data flow a layer stands, among the layers of the selector's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// No other layer of the kind comes before it: the first, or all first ones of parallel branches.
    First,
    /// No other layer of the kind comes after it.
    Last,
    /// The n-th, counted from 1 by the longest way from the input.
    Nth(usize),
    /// The layer of that name depends on it.
    Before(String),
}

/// Chooses layers: all conditions that are given must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The layer's name, with `*` and `?` as in file names.
    pub name: Option<String>,
    /// The kind.
    pub kind: LayerKind,
    /// The position.
    pub position: Option<Position>,
}

impl Default for Selector {
    fn default() -> Selector {
        Selector { name: None, kind: LayerKind::Linear, position: None }
    }
}

impl Selector {
    /// Every layer of a kind.
    pub fn of_kind(kind: LayerKind) -> Selector {
        Selector { kind, ..Selector::default() }
    }

    /// The first layer of a kind.
    pub fn first(kind: LayerKind) -> Selector {
        Selector { kind, position: Some(Position::First), ..Selector::default() }
    }

    /// For each node of the network, whether it is chosen.
    ///
    /// # Errors
    /// [`Error::Composite`] when a layer is named that is not there or the name is no valid pattern.
    pub(crate) fn choose(&self, network: &Network, composite: &str) -> Result<Vec<bool>> {
        let nodes = network.nodes();
        let kind: Vec<bool> = nodes.iter().map(|n| self.kind.includes(&n.op)).collect();
        let mut chosen = match &self.position {
            None => kind,
            Some(Position::First) => {
                let after = reach(network, |i| kind[i], Way::Down);
                (0..nodes.len()).map(|i| kind[i] && !after[i]).collect()
            }
            Some(Position::Last) => {
                let before = reach(network, |i| kind[i], Way::Up);
                (0..nodes.len()).map(|i| kind[i] && !before[i]).collect()
            }
            Some(Position::Nth(n)) => {
                let depth = depths(network);
                let mut order: Vec<usize> = (0..nodes.len()).filter(|i| kind[*i]).collect();
                order.sort_by_key(|i| depth[*i]);
                let nth = n.checked_sub(1).and_then(|n| order.get(n)).copied().ok_or_else(|| {
                    let what =
                        format!("there is no layer number {n}; {} has {} such layers", network.name(), order.len());
                    Error::composite(composite, what)
                })?;
                (0..nodes.len()).map(|i| i == nth).collect()
            }
            Some(Position::Before(name)) => {
                let end = network.find(name).map_err(|e| Error::composite(composite, e.to_string()))?;
                let before = reach(network, |i| nodes[i].output == end, Way::Up);
                (0..nodes.len()).map(|i| kind[i] && before[i]).collect()
            }
        };
        if let Some(pattern) = &self.name {
            // A pattern may fit some networks and not others; a plain name that is not there is a mistake.
            let plain = !pattern.contains(['*', '?', '[']);
            if plain && !nodes.iter().any(|n| n.name == *pattern) {
                let near = crate::text::nearest(pattern, nodes.iter().map(|n| n.name.as_str()), 3).join(", ");
                let what = format!("{} has no layer \"{pattern}\"; the nearest names are: {near}", network.name());
                return Err(Error::composite(composite, what));
            }
            let pattern = glob::Pattern::new(pattern)
                .map_err(|e| Error::composite(composite, format!("the name pattern \"{pattern}\": {e}")))?;
            for (chosen, node) in chosen.iter_mut().zip(nodes) {
                *chosen &= pattern.matches(&node.name);
            }
        }
        Ok(chosen)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.position {
            None => write!(f, "every ")?,
            Some(Position::First) => write!(f, "the first ")?,
            Some(Position::Last) => write!(f, "the last ")?,
            Some(Position::Nth(n)) => write!(f, "number {n} of the ")?,
            Some(Position::Before(_)) => {}
        }
        write!(
            f,
            "{}",
            match self.kind {
                LayerKind::Linear => "linear layer",
                LayerKind::Convolution => "convolution",
                LayerKind::Dense => "dense layer",
            }
        )?;
        if let Some(Position::Before(name)) = &self.position {
            write!(f, " before {name}")?;
        }
        match &self.name {
            Some(name) => write!(f, " named {name}"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Down,
    Up,
}

/// For each node, whether another one for which `from` holds comes before it (`Down`) or after it (`Up`).
fn reach(network: &Network, from: impl Fn(usize) -> bool, way: Way) -> Vec<bool> {
    let nodes = network.nodes();
    let mut values = vec![false; network.values.len()];
    let mut reached = vec![false; nodes.len()];
    let mut visit = |i: usize, sources: &[ValueId], sinks: &[ValueId]| {
        reached[i] = sources.iter().any(|v| values[v.0]);
        if reached[i] || from(i) {
            for sink in sinks {
                values[sink.0] = true;
            }
        }
    };
    match way {
        Way::Down => nodes.iter().enumerate().for_each(|(i, n)| visit(i, &n.inputs, &[n.output])),
        Way::Up => nodes.iter().enumerate().rev().for_each(|(i, n)| visit(i, &[n.output], &n.inputs)),
    }
    reached
}

/// The longest way from an input to each node.
fn depths(network: &Network) -> Vec<usize> {
    let mut values = vec![0; network.values.len()];
    let depth = |node: &Node, values: &mut Vec<usize>| {
        let depth = node.inputs.iter().map(|v| values[v.0]).max().unwrap_or(0) + 1;
        values[node.output.0] = depth;
        depth
    };
    network.nodes().iter().map(|n| depth(n, &mut values)).collect()
}
