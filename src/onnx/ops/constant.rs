//! Constants and shapes: what is known when the file is read.

use half::{bf16, f16};
use rten_onnx::onnx::DataType;

use crate::error::Result;
use crate::network::Dim;
use crate::onnx::call::Call;
use crate::onnx::item::{Item, Repeated, Size, Sizes};
use crate::onnx::weights;
use crate::tensor::{Data, Tensor};

/// `Constant`: a tensor, or numbers, as an attribute.
pub(super) fn constant(call: &mut Call) -> Result<Vec<Item>> {
    if let Some(proto) = call.tensor("value")? {
        return Ok(vec![weights::tensor(proto, None, &call.place)?.into()]);
    }
    let tensor = if let Some(list) = call.floats("value_floats")? {
        Tensor::from_f32([list.len()], list)?
    } else if let Some(list) = call.ints("value_ints")? {
        Tensor::from_i64([list.len()], list)?
    } else if call.has("value_float") {
        Tensor::from_f32([], vec![call.float("value_float", 0.0)? as f32])?
    } else if call.has("value_int") {
        Tensor::from_i64([], vec![call.int("value_int", 0)?])?
    } else {
        return Err(call.malformed("it has no value"));
    };
    Ok(vec![tensor.into()])
}

/// `ConstantOfShape`: one value everywhere.
pub(super) fn constant_of_shape(call: &mut Call) -> Result<Vec<Item>> {
    let value = match call.tensor("value")? {
        Some(proto) => weights::tensor(proto, None, &call.place)?,
        None => Tensor::from_f32([1], vec![0.0])?,
    };
    if value.len() != 1 {
        return Err(call.malformed(format!("attribute value has {} values, not one", value.len())));
    }
    let item = Item::from(value);
    let dims = dims(call, 0)?;
    if let Some(shape) = fixed(&dims) {
        let len = call.reserve(shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)))?;
        let Item::Const(value) = item else { return Ok(item.picked(shape, &vec![0; len]).into_iter().collect()) };
        let data = match value.data() {
            Data::F32(v) => Data::F32(vec![v[0]; len]),
            Data::F64(v) => Data::F64(vec![v[0]; len]),
            Data::I64(v) => Data::I64(vec![v[0]; len]),
        };
        return Ok(vec![Tensor::new(shape, data)?.into()]);
    }
    let scalar = item.picked(vec![1; dims.len()], &[0]);
    Ok(match scalar {
        Some(Item::Const(tensor)) => vec![Item::Repeated(Repeated { shape: dims, tensor })],
        _ => Vec::new(),
    })
}

/// Input i as a list of sizes that are not negative.
pub(super) fn dims(call: &Call, i: usize) -> Result<Vec<Dim>> {
    let sizes = call.input(i)?.sizes();
    let sizes = sizes.ok_or_else(|| {
        call.unsupported("a shape that is computed from the input's values", "shapes have to be constant")
    })?;
    let dims: Option<Vec<Dim>> = sizes.values.iter().map(|v| v.dim()).collect();
    dims.ok_or_else(|| call.malformed(format!("the shape {:?} has a negative size", sizes.values)))
}

/// The shape as plain numbers, unless it depends on the batch.
pub(super) fn fixed(dims: &[Dim]) -> Option<Vec<usize>> {
    dims.iter().map(|d| d.fixed()).collect()
}

/// `Range`: start, start + delta, … before limit.
pub(super) fn range(call: &mut Call) -> Result<Vec<Item>> {
    let (start, limit, delta) = (call.weight(0)?, call.weight(1)?, call.weight(2)?);
    let one = |t: &Tensor| t.get(0).filter(|_| t.len() == 1);
    let (Some(a), Some(b), Some(d)) = (one(&start), one(&limit), one(&delta)) else {
        return Err(call.malformed("start, limit and delta must be single numbers"));
    };
    let count = ((b - a) / d).ceil().max(0.0);
    if !count.is_finite() {
        return Err(call.malformed(format!("a range from {a} to {b} by {d} has no end")));
    }
    let count = call.reserve((count < 1e15).then_some(count as usize))?;
    let values = (0..count).map(|i| a + i as f64 * d);
    let data = match start.data() {
        Data::I64(_) => Data::I64(values.map(|v| v as i64).collect()),
        Data::F32(_) => Data::F32(values.map(|v| v as f32).collect()),
        Data::F64(_) => Data::F64(values.collect()),
    };
    Ok(vec![Tensor::new([count], data)?.into()])
}

/// `Shape`: the sizes of the axes from `start` to `end`.
pub(super) fn shape(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let rank = dims.len() as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank) as usize;
    let (start, end) = (place(call.int("start", 0)?), place(call.int("end", rank)?));
    let values: Vec<Size> = dims.get(start..end).unwrap_or_default().iter().map(|d| Size::from(*d)).collect();
    Ok(vec![Sizes { shape: vec![values.len()], values }.into_item()])
}

/// `Size`: the number of values.
pub(super) fn size(call: &mut Call) -> Result<Vec<Item>> {
    let dims = call.dims(0)?;
    let value = match crate::network::shape::volume(&dims) {
        Some((n, 0)) => Size::from(Dim::Fixed(n)),
        Some((n, 1)) => Size::from(Dim::Batch(n)),
        _ => {
            return Err(
                call.unsupported("the number of values of this tensor", "it must be a multiple of the batch size")
            );
        }
    };
    Ok(vec![Sizes { shape: Vec::new(), values: vec![value] }.into_item()])
}

/// `CastLike`: a cast to the kind of input 1, where that is floats.
pub(super) fn cast_like(call: &mut Call) -> Result<Vec<Item>> {
    let float = |item: &Item| match item {
        Item::Node(_) => true,
        Item::Const(tensor) => !matches!(tensor.data(), Data::I64(_)),
        Item::Repeated(r) => !matches!(r.tensor.data(), Data::I64(_)),
        Item::Sizes(_) => false,
    };
    if !float(call.input(1)?) {
        return Err(call.unsupported("a cast to the type of integers", "casts to that of floats are"));
    }
    Ok(vec![match call.input(0)? {
        Item::Const(tensor) if tensor.as_i64().is_some() => {
            Tensor::from_f32(tensor.shape(), tensor.to_vec::<f64>().into_iter().map(|v| v as f32).collect())?.into()
        }
        item => item.clone(),
    }])
}

/// `Cast`: nothing for computed tensors, which are floats throughout.
pub(super) fn cast(call: &mut Call) -> Result<Vec<Item>> {
    let to = DataType(i32::try_from(call.int("to", 0)?).unwrap_or(0));
    let float = matches!(to, DataType::FLOAT | DataType::FLOAT16 | DataType::BFLOAT16 | DataType::DOUBLE);
    let whole = matches!(
        to,
        DataType::INT64
            | DataType::INT32
            | DataType::INT16
            | DataType::INT8
            | DataType::UINT8
            | DataType::UINT16
            | DataType::UINT32
            | DataType::UINT64
    );
    if !float && !whole && to != DataType::BOOL {
        return Err(call.unsupported(format!("attribute to = {to}"), "floats, integers and bool are"));
    }
    let tensor = match call.input(0)? {
        item @ Item::Node(_) if float => return Ok(vec![item.clone()]),
        item @ Item::Node(id) if whole && call.is_integer(*id) => return Ok(vec![item.clone()]),
        Item::Node(_) => {
            let what = format!("attribute to = {to} on a computed tensor");
            return Err(call.unsupported(what, "relevance cannot pass through integers; casts between floats are"));
        }
        // Whole numbers either way.
        item @ Item::Sizes(_) => return Ok(vec![item.clone()]),
        item @ Item::Repeated(_) if float => return Ok(vec![item.clone()]),
        Item::Repeated(r) => r.tensor.clone(),
        Item::Const(tensor) => tensor.clone(),
    };
    let values = tensor.to_vec::<f64>();
    let data = match to {
        DataType::DOUBLE => Data::F64(values),
        DataType::FLOAT => Data::F32(values.into_iter().map(|v| v as f32).collect()),
        DataType::FLOAT16 => Data::F32(values.into_iter().map(|v| f16::from_f64(v).to_f32()).collect()),
        DataType::BFLOAT16 => Data::F32(values.into_iter().map(|v| bf16::from_f64(v).to_f32()).collect()),
        DataType::BOOL => Data::I64(values.into_iter().map(|v| i64::from(v != 0.0)).collect()),
        _ => match tensor.data() {
            Data::I64(v) => Data::I64(v.clone()),
            _ => Data::I64(values.into_iter().map(|v| v as i64).collect()),
        },
    };
    Ok(vec![Tensor::new(tensor.shape(), data)?.into()])
}
