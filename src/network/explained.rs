//! Which tensor is explained where an output is asked for.

use super::shape::keeps_order;
use super::{Network, Op, ValueId};

impl Network {
    /// The tensor that is explained for an output: the outlier score of a one-class machine, the logits before a softmax, or
    /// else the output itself.
    pub fn explained(&self, output: ValueId) -> ValueId {
        self.outlier_score(output).unwrap_or_else(|| self.before_softmax(output))
    }

    /// Follows a tensor back through a softmax at the output, and what behind it keeps the order of values, to the logits.
    /// Where the softmax stands between a transpose and its inverse, they are what goes into the transpose.
    fn before_softmax(&self, output: ValueId) -> ValueId {
        let mut value = output;
        let mut moved: Option<&[usize]> = None;
        while let Some(node) = self.producer(value) {
            let input = node.inputs[0];
            match (&node.op, moved) {
                (Op::Softmax { .. }, None) => return input,
                (Op::Softmax { .. }, Some(back)) => {
                    return match self.producer(input).map(|n| (&n.op, n.inputs[0])) {
                        Some((Op::Transpose { perm }, logits)) if back.iter().map(|a| perm[*a]).eq(0..perm.len()) => {
                            logits
                        }
                        _ => output,
                    };
                }
                (Op::Reshape { .. }, None) => {}
                (Op::Transpose { perm }, None) if keeps_order(perm, &self.value(input).shape) => {}
                (Op::Transpose { perm }, None) => moved = Some(perm),
                _ => break,
            }
            value = input;
        }
        output
    }
}
