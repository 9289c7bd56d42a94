//! Constants of an ONNX file as host tensors, from the file itself or from external files beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use rten_onnx::onnx::{DataLocation, DataType, TensorProto};

use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// Converts a constant, taking its bytes. `folder` is the model's, where external data lies; `place` is for messages.
///
/// # Errors
/// [`Error::Unsupported`] for strings, complex and quantised types; [`Error::Malformed`] when the claimed shape does not
/// fit the values there are; [`Error::Io`] when external data cannot be read.
pub(super) fn tensor(mut proto: TensorProto, folder: Option<&Path>, place: &str) -> Result<Tensor> {
    let place = format!("{place}: tensor \"{}\"", proto.name.as_deref().unwrap_or_default());
    let shape: Option<Vec<usize>> = proto.dims.iter().map(|d| usize::try_from(*d).ok()).collect();
    let len = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |n, d| n.checked_mul(*d)));
    let (Some(shape), Some(len)) = (shape, len) else {
        return Err(Error::malformed(place, format!("the shape {:?} is impossible", proto.dims)));
    };
    let data_type = proto.data_type.unwrap_or(DataType(0));
    let width = width(data_type).ok_or_else(|| {
        let help = "float, float16, bfloat16, double, bool and integer constants are";
        Error::unsupported(&place, format!("data type {data_type}"), help)
    })?;
    let raw = if proto.data_location == Some(DataLocation::EXTERNAL) {
        Some(external(&proto, folder, len, width, &place)?)
    } else {
        proto.raw_data.take().map(|cell| cell.into_inner())
    };
    let data = match raw {
        Some(bytes) => {
            let want = len.checked_mul(width);
            if want != Some(bytes.len()) {
                let what = format!("shape {shape:?} of type {data_type} does not fit {} bytes of data", bytes.len());
                return Err(Error::malformed(place, what));
            }
            decode(data_type, &bytes)
        }
        None => typed(data_type, proto),
    };
    if data.len() != len {
        let what = format!("shape {shape:?} does not fit the {} values of type {data_type} there are", data.len());
        return Err(Error::malformed(place, what));
    }
    Tensor::new(shape, data)
}

/// Bytes of one value, for the types that are supported.
fn width(data_type: DataType) -> Option<usize> {
    Some(match data_type {
        DataType::BOOL | DataType::UINT8 | DataType::INT8 => 1,
        DataType::FLOAT16 | DataType::BFLOAT16 | DataType::UINT16 | DataType::INT16 => 2,
        DataType::FLOAT | DataType::INT32 | DataType::UINT32 => 4,
        DataType::DOUBLE | DataType::INT64 => 8,
        _ => return None,
    })
}

fn decode(data_type: DataType, bytes: &[u8]) -> Data {
    fn each<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|chunk| of(*chunk)).collect()
    }
    match data_type {
        DataType::FLOAT => Data::F32(each(bytes, f32::from_le_bytes)),
        DataType::FLOAT16 => Data::F32(each(bytes, |b| f16::from_le_bytes(b).to_f32())),
        DataType::BFLOAT16 => Data::F32(each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        DataType::DOUBLE => Data::F64(each(bytes, f64::from_le_bytes)),
        DataType::INT64 => Data::I64(each(bytes, i64::from_le_bytes)),
        DataType::INT32 => Data::I64(each(bytes, |b| i64::from(i32::from_le_bytes(b)))),
        DataType::UINT32 => Data::I64(each(bytes, |b| i64::from(u32::from_le_bytes(b)))),
        DataType::INT16 => Data::I64(each(bytes, |b| i64::from(i16::from_le_bytes(b)))),
        DataType::UINT16 => Data::I64(each(bytes, |b| i64::from(u16::from_le_bytes(b)))),
        DataType::INT8 => Data::I64(each(bytes, |b| i64::from(i8::from_le_bytes(b)))),
        _ => Data::I64(each(bytes, |b: [u8; 1]| i64::from(b[0]))),
    }
}

/// The values of the typed fields. Small types share int32_data, float16 as its bits.
fn typed(data_type: DataType, proto: TensorProto) -> Data {
    match data_type {
        DataType::FLOAT => Data::F32(proto.float_data),
        DataType::DOUBLE => Data::F64(proto.double_data),
        DataType::FLOAT16 => Data::F32(proto.int32_data.iter().map(|v| f16::from_bits(*v as u16).to_f32()).collect()),
        DataType::BFLOAT16 => Data::F32(proto.int32_data.iter().map(|v| bf16::from_bits(*v as u16).to_f32()).collect()),
        DataType::INT64 => Data::I64(proto.int64_data),
        _ => Data::I64(proto.int32_data.iter().map(|v| i64::from(*v)).collect()),
    }
}

/// Reads a constant's bytes from a file in the model's folder.
fn external(proto: &TensorProto, folder: Option<&Path>, len: usize, width: usize, place: &str) -> Result<Vec<u8>> {
    let entry = |key: &str| {
        let found = proto.external_data.iter().find(|e| e.key.as_deref() == Some(key));
        found.and_then(|e| e.value.as_deref())
    };
    let number = |key: &str| -> Result<Option<u64>> {
        let parse = |text: &str| {
            let what = || format!("the external data's {key} \"{text}\" is not a number of bytes");
            text.parse::<u64>().map_err(|_| Error::malformed(place, what()))
        };
        entry(key).map(parse).transpose()
    };
    let location = entry("location").ok_or_else(|| Error::malformed(place, "external data has no location"))?;
    let folder = folder.ok_or_else(|| {
        Error::unsupported(place, "external data of a model without a folder", "load the model from its file")
    })?;
    let path = inside(folder, location, place)?;
    let offset = number("offset")?.unwrap_or(0);
    let mut file = File::open(&path).map_err(Error::io(&path))?;
    let size = file.metadata().map_err(Error::io(&path))?.len();
    let want = len.checked_mul(width).and_then(|n| u64::try_from(n).ok());
    let have = size.saturating_sub(offset);
    let claimed = number("length")?.or(want);
    if claimed != want || want.is_none_or(|w| w > have) {
        let what = format!(
            "its {len} values of {width} bytes do not fit {} bytes at offset {offset} of {}, which has {size}",
            claimed.unwrap_or(have),
            path.display()
        );
        return Err(Error::malformed(place, what));
    }
    file.seek(SeekFrom::Start(offset)).map_err(Error::io(&path))?;
    let mut bytes = vec![0; len * width];
    file.read_exact(&mut bytes).map_err(Error::io(&path))?;
    Ok(bytes)
}

/// The path of an external file, which must lie inside the model's folder: a model must not read what it pleases.
fn inside(folder: &Path, location: &str, place: &str) -> Result<PathBuf> {
    let escape = || Error::malformed(place, format!("external data at \"{location}\" leaves the model's folder"));
    let relative = Path::new(location);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(escape());
    }
    let path = folder.join(relative);
    // Symbolic links are followed before the check.
    let real = path.canonicalize().map_err(Error::io(&path))?;
    let root = folder.canonicalize().map_err(Error::io(folder))?;
    if real.starts_with(root) { Ok(real) } else { Err(escape()) }
}
