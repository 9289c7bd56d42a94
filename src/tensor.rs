//! Host tensors: a shape and its values in row-major order.

use crate::error::{Error, Result};

/// A host tensor: a shape and as many values, the last axis running fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// The values of a [`Tensor`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit integers (shapes, axes, indices).
    I64(Vec<i64>),
}

mod sealed {
    /// Keeps [`Real`](super::Real) to the types the matrix products know.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A float type the CPU path can compute in: `f32` or `f64`.
pub trait Real:
    sealed::Sealed
    + Copy
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
    + Default
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Converts from `f64`, rounding to nearest.
    fn of(value: f64) -> Self;
    /// Converts to `f64` exactly.
    fn to_f64(self) -> f64;
    /// Wraps values of this type as tensor data.
    fn data(values: Vec<Self>) -> Data;
    /// The values of tensor data, if it is of this type.
    fn view(data: &Data) -> Option<&[Self]>;
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    fn of(value: f64) -> f32 {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn data(values: Vec<f32>) -> Data {
        Data::F32(values)
    }
    fn view(data: &Data) -> Option<&[f32]> {
        match data {
            Data::F32(values) => Some(values),
            _ => None,
        }
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    fn of(value: f64) -> f64 {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn data(values: Vec<f64>) -> Data {
        Data::F64(values)
    }
    fn view(data: &Data) -> Option<&[f64]> {
        match data {
            Data::F64(values) => Some(values),
            _ => None,
        }
    }
}

impl Data {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(v) => v.len(),
            Data::F64(v) => v.len(),
            Data::I64(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of values is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, data: Data) -> Result<Tensor> {
        let shape = shape.into();
        let want = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if want != Some(data.len()) {
            return Err(Error::shape("tensor", format!("shape {shape:?} does not hold {} values", data.len())));
        }
        Ok(Tensor { shape, data })
    }

    /// A float32 tensor. See [`Tensor::new`].
    pub fn from_f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Tensor> {
        Tensor::new(shape, Data::F32(values))
    }

    /// A float64 tensor. See [`Tensor::new`].
    pub fn from_f64(shape: impl Into<Vec<usize>>, values: Vec<f64>) -> Result<Tensor> {
        Tensor::new(shape, Data::F64(values))
    }

    /// An int64 tensor. See [`Tensor::new`].
    pub fn from_i64(shape: impl Into<Vec<usize>>, values: Vec<i64>) -> Result<Tensor> {
        Tensor::new(shape, Data::I64(values))
    }

    /// A tensor of this shape and, where it holds floating-point numbers, of this precision.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are not as many values.
    pub(crate) fn with_values(&self, values: Vec<f64>) -> Result<Tensor> {
        match self.data {
            Data::F32(_) => Tensor::from_f32(self.shape(), values.into_iter().map(|v| v as f32).collect()),
            _ => Tensor::from_f64(self.shape(), values),
        }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether the tensor holds no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as `T`, converted where needed.
    pub fn to_vec<T: Real>(&self) -> Vec<T> {
        match &self.data {
            Data::F32(v) => v.iter().map(|x| T::of(f64::from(*x))).collect(),
            Data::F64(v) => v.iter().map(|x| T::of(*x)).collect(),
            Data::I64(v) => v.iter().map(|x| T::of(*x as f64)).collect(),
        }
    }

    /// The value at a flat index as `f64`, or `None` past the end.
    pub fn get(&self, index: usize) -> Option<f64> {
        match &self.data {
            Data::F32(v) => v.get(index).map(|x| f64::from(*x)),
            Data::F64(v) => v.get(index).copied(),
            Data::I64(v) => v.get(index).map(|x| *x as f64),
        }
    }

    /// The integers of an int64 tensor, or `None` for floats.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            Data::I64(v) => Some(v),
            _ => None,
        }
    }

    /// The same values under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the sizes differ.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Tensor> {
        Tensor::new(shape, self.data)
    }

    /// Rows `start..end` of the first axis.
    ///
    /// # Errors
    /// [`Error::Shape`] when the tensor has no first axis or the range leaves it.
    pub fn rows(&self, start: usize, end: usize) -> Result<Tensor> {
        let first = *self.shape.first().ok_or_else(|| Error::shape("tensor", "a scalar has no rows"))?;
        if start > end || end > first {
            return Err(Error::shape("tensor", format!("rows {start}..{end} of {first}")));
        }
        let row = self.len().checked_div(first).unwrap_or(0);
        let mut shape = self.shape.clone();
        shape[0] = end - start;
        let range = start * row..end * row;
        let data = match &self.data {
            Data::F32(v) => Data::F32(v[range].to_vec()),
            Data::F64(v) => Data::F64(v[range].to_vec()),
            Data::I64(v) => Data::I64(v[range].to_vec()),
        };
        Tensor::new(shape, data)
    }

    /// Joins tensors along the first axis.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is nothing to join, or the other axes or the types differ.
    pub fn stack_rows(parts: &[Tensor]) -> Result<Tensor> {
        let first = parts.first().ok_or_else(|| Error::shape("tensor", "there is nothing to join"))?;
        let mut joined = first.clone();
        for part in &parts[1..] {
            let same = !part.shape.is_empty()
                && part.shape.len() == joined.shape.len()
                && part.shape[1..] == joined.shape[1..];
            match (&mut joined.data, &part.data) {
                (Data::F32(a), Data::F32(b)) if same => a.extend_from_slice(b),
                (Data::F64(a), Data::F64(b)) if same => a.extend_from_slice(b),
                (Data::I64(a), Data::I64(b)) if same => a.extend_from_slice(b),
                _ => {
                    let what = format!("cannot join {:?} and {:?} along the first axis", joined.shape, part.shape);
                    return Err(Error::shape("tensor", what));
                }
            }
            joined.shape[0] += part.shape[0];
        }
        Ok(joined)
    }

    /// The flat index of the first NaN or infinite value, if there is one.
    pub fn first_non_finite(&self) -> Option<usize> {
        match &self.data {
            Data::F32(v) => v.iter().position(|x| !x.is_finite()),
            Data::F64(v) => v.iter().position(|x| !x.is_finite()),
            Data::I64(_) => None,
        }
    }
}
