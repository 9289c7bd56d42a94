//! Bringing a network into the form that plans are made from, without changing what it computes.
//!
//! 1. Activations written as several nodes are recognised ([`activations`]); this comes first, for what follows would
//!    take their constants apart.
//! 2. Transposes, reshapes and other steps that cancel out are dropped ([`routes`]).
//! 3. Batch norms and other constants are merged into the linear layers beside them ([`merge`]), in float64.
//! 4. What no output needs is dropped, and the nodes are put into data-flow order.

mod activations;
mod merge;
mod routes;

use std::collections::{BTreeSet, HashMap};

use super::{Network, Node, ValueId};
use crate::error::{Error, Result};

/// Merges batch norms and constants into linear layers, recognises composed activations, drops what no output needs.
pub(super) fn canonize(network: Network) -> Result<Network> {
    let mut editor = Editor::new(network);
    activations::recognise(&mut editor);
    while routes::simplify(&mut editor) || merge::merge(&mut editor)? {}
    editor.finish()
}

/// A network that is being rewritten: who makes and who reads each tensor.
struct Editor {
    network: Network,
    /// The node that makes each tensor.
    producer: HashMap<ValueId, usize>,
    /// The nodes that read each tensor, one entry for each time they do.
    readers: HashMap<ValueId, Vec<usize>>,
}

impl Editor {
    fn new(network: Network) -> Editor {
        let mut editor = Editor { network, producer: HashMap::new(), readers: HashMap::new() };
        editor.refresh();
        editor
    }

    /// Drops what no output needs, and finds out anew who makes and who reads each tensor.
    fn refresh(&mut self) {
        let producer: HashMap<ValueId, usize> =
            self.network.nodes.iter().enumerate().map(|(i, n)| (n.output, i)).collect();
        let mut live = vec![false; self.network.nodes.len()];
        let mut stack = self.network.outputs.clone();
        while let Some(id) = stack.pop() {
            if let Some(i) = producer.get(&id)
                && !std::mem::replace(&mut live[*i], true)
            {
                stack.extend(&self.network.nodes[*i].inputs);
            }
        }
        let mut keep = live.into_iter();
        self.network.nodes.retain(|_| keep.next().unwrap_or(false));
        self.producer = self.network.nodes.iter().enumerate().map(|(i, n)| (n.output, i)).collect();
        self.readers.clear();
        for (i, node) in self.network.nodes.iter().enumerate() {
            for input in &node.inputs {
                self.readers.entry(*input).or_default().push(i);
            }
        }
    }

    /// The node that makes a tensor.
    fn node(&self, id: ValueId) -> Option<(usize, &Node)> {
        let i = *self.producer.get(&id)?;
        Some((i, self.network.nodes.get(i)?))
    }

    /// The nodes that read a tensor.
    fn readers(&self, id: ValueId) -> &[usize] {
        self.readers.get(&id).map_or(&[], Vec::as_slice)
    }

    fn is_output(&self, id: ValueId) -> bool {
        self.network.outputs.contains(&id)
    }

    /// The only node that reads a tensor, if nothing else needs it.
    fn only_reader(&self, id: ValueId) -> Option<usize> {
        match self.readers(id) {
            [only] if !self.is_output(id) => Some(*only),
            _ => None,
        }
    }

    /// Lets all readers of `old` read `new`, which holds the same values. False where an output would lose its name.
    fn substitute(&mut self, old: ValueId, new: ValueId) -> bool {
        if self.is_output(old) {
            if self.network.inputs.contains(&new) || self.is_output(new) {
                return false;
            }
            let name = std::mem::take(&mut self.network.values[old.0].name);
            let other = std::mem::replace(&mut self.network.values[new.0].name, name);
            self.network.values[old.0].name = other;
            self.network.outputs.iter_mut().filter(|o| **o == old).for_each(|o| *o = new);
        }
        for input in self.network.nodes.iter_mut().flat_map(|n| &mut n.inputs).filter(|i| **i == old) {
            *input = new;
        }
        self.refresh();
        true
    }

    /// The network in data-flow order. Tensors that nothing makes any more lose their names, so that they are not found.
    fn finish(mut self) -> Result<Network> {
        self.refresh();
        let mut waiting: Vec<usize> = self
            .network
            .nodes
            .iter()
            .map(|n| n.inputs.iter().filter(|i| self.producer.contains_key(i)).count())
            .collect();
        let mut ready: BTreeSet<usize> = (0..waiting.len()).filter(|i| waiting[*i] == 0).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(i) = ready.pop_first() {
            order.push(i);
            for reader in self.readers(self.network.nodes[i].output) {
                waiting[*reader] -= 1;
                if waiting[*reader] == 0 {
                    ready.insert(*reader);
                }
            }
        }
        if order.len() != waiting.len() {
            return Err(Error::malformed(self.network.name, "the graph has a cycle"));
        }
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.network.nodes).into_iter().map(Some).collect();
        self.network.nodes = order.into_iter().filter_map(|i| nodes[i].take()).collect();
        for (i, value) in self.network.values.iter_mut().enumerate() {
            let id = ValueId(i);
            if !self.producer.contains_key(&id) && !self.network.inputs.contains(&id) {
                value.name.clear();
            }
        }
        Ok(self.network)
    }
}
