//! What an ONNX tensor is while a file is being read: computed by the network, or known already.

use std::sync::Arc;

use crate::network::{Dim, ValueId};
use crate::tensor::{Data, Tensor};

/// An ONNX tensor.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Computed when the network runs.
    Node(ValueId),
    /// Known.
    Const(Arc<Tensor>),
    /// Known integers, at least one of them a multiple of the batch size: shapes on their way to a Reshape.
    Sizes(Sizes),
    /// Known values that are repeated along the batch.
    Repeated(Repeated),
}

/// Integers, some of them multiples of the batch size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<Size>,
}

/// An integer, or a multiple of the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The integer.
    Int(i64),
    /// This many times the batch size; never 0.
    Batch(i64),
}

/// A constant that is repeated along the batch: `tensor`, of size 1 on the batch axes of `shape`.
#[derive(Clone, Debug)]
pub(super) struct Repeated {
    /// The shape it counts as.
    pub shape: Vec<Dim>,
    /// The values.
    pub tensor: Arc<Tensor>,
}

impl From<ValueId> for Item {
    fn from(id: ValueId) -> Item {
        Item::Node(id)
    }
}

impl From<Tensor> for Item {
    fn from(tensor: Tensor) -> Item {
        Item::Const(Arc::new(tensor))
    }
}

impl From<Dim> for Size {
    fn from(dim: Dim) -> Size {
        // Dimensions come from i64 or from products checked against memory: they fit.
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        match dim {
            Dim::Fixed(n) => Size::Int(int(n)),
            Dim::Batch(0) => Size::Int(0),
            Dim::Batch(k) => Size::Batch(int(k)),
        }
    }
}

impl Size {
    /// The size of an axis, unless it is negative.
    pub fn dim(self) -> Option<Dim> {
        match self {
            Size::Int(n) => usize::try_from(n).ok().map(Dim::Fixed),
            Size::Batch(k) => usize::try_from(k).ok().map(Dim::Batch),
        }
    }
}

impl Sizes {
    /// The item: a plain constant where no value depends on the batch.
    pub fn into_item(self) -> Item {
        let plain: Option<Vec<i64>> =
            self.values.iter().map(|v| if let Size::Int(n) = v { Some(*n) } else { None }).collect();
        match plain.map(|values| Tensor::from_i64(self.shape.clone(), values)) {
            Some(Ok(tensor)) => tensor.into(),
            _ => Item::Sizes(self),
        }
    }
}

impl Item {
    /// The shape of a known item.
    pub fn known_shape(&self) -> Option<&[usize]> {
        match self {
            Item::Const(t) => Some(t.shape()),
            Item::Sizes(s) => Some(&s.shape),
            Item::Node(_) | Item::Repeated(_) => None,
        }
    }

    /// The values as integers and multiples of the batch size, if it holds integers.
    pub fn sizes(&self) -> Option<Sizes> {
        match self {
            Item::Sizes(s) => Some(s.clone()),
            Item::Const(t) => {
                let values = t.as_i64()?.iter().map(|n| Size::Int(*n)).collect();
                Some(Sizes { shape: t.shape().to_vec(), values })
            }
            Item::Node(_) | Item::Repeated(_) => None,
        }
    }

    /// A known item of another shape whose value i is this one's value `sources[i]`. The caller keeps the sources in range.
    pub fn picked(&self, shape: Vec<usize>, sources: &[usize]) -> Option<Item> {
        fn pick<T: Copy>(values: &[T], sources: &[usize]) -> Option<Vec<T>> {
            sources.iter().map(|s| values.get(*s).copied()).collect()
        }
        match self {
            Item::Const(t) => {
                let data = match t.data() {
                    Data::F32(v) => Data::F32(pick(v, sources)?),
                    Data::F64(v) => Data::F64(pick(v, sources)?),
                    Data::I64(v) => Data::I64(pick(v, sources)?),
                };
                Some(Tensor::new(shape, data).ok()?.into())
            }
            Item::Sizes(s) => Some(Sizes { shape, values: pick(&s.values, sources)? }.into_item()),
            Item::Node(_) | Item::Repeated(_) => None,
        }
    }
}
