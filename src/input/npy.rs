//! NumPy's `.npy` files, read and written.
//!
//! Format: the magic `\x93NUMPY`, a version (1.0, 2.0 or 3.0), the length of the header, the header (a Python dictionary
//! with `descr`, `fortran_order` and `shape`), then the values. See
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::Read;
use std::path::Path;

use half::f16;

use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Arrays have at most this many axes in NumPy.
const MAX_RANK: usize = 64;

/// Reads an array. float16 and float32 become `f32`, float64 stays `f64`, integers and booleans become `i64`. Any byte
/// order, C or Fortran order.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, otherwise as [`parse`].
pub fn read(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    parse(&path.display().to_string(), &bytes)
}

/// The shape that an array's file claims, without reading its values.
///
/// # Errors
/// As [`read`], for the header.
pub fn read_shape(path: impl AsRef<Path>) -> Result<Vec<usize>> {
    let path = path.as_ref();
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut start = Vec::new();
    // The longest header of version 1; NumPy writes longer ones for structures alone.
    file.take(10 + (1 << 16)).read_to_end(&mut start).map_err(Error::io(path))?;
    Ok(split(&path.display().to_string(), &start)?.0.shape)
}

/// Reads an array from the bytes of a file; `name` stands in messages.
///
/// # Errors
/// [`Error::Malformed`] when the header is broken or the values are not as many as it says; [`Error::Unsupported`] for
/// complex numbers, text, structures and objects.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Tensor> {
    let malformed = |what: String| Error::malformed(name, what);
    let (header, values) = split(name, bytes)?;
    let element = Element::parse(&header.descr).ok_or_else(|| {
        Error::unsupported(name, format!("type {:?}", header.descr), "save it as float32 (array.astype('float32'))")
    })?;
    let count = header.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let need = count.and_then(|n| n.checked_mul(element.size));
    if need != Some(values.len()) {
        let need = need.map_or_else(|| "more bytes than there can be".to_string(), |n| format!("{n} bytes"));
        let (shape, descr, have) = (&header.shape, &header.descr, values.len());
        return Err(malformed(format!("shape {shape:?} of {descr} needs {need}, but the file holds {have}")));
    }
    let data = element.decode(values).map_err(malformed)?;
    let data = if header.fortran_order { c_order(data, &header.shape) } else { data };
    Tensor::new(header.shape, data)
}

/// The header, and the bytes of the values.
fn split<'a>(name: &str, bytes: &'a [u8]) -> Result<(Header, &'a [u8])> {
    let malformed = |what: String| Error::malformed(name, what);
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| malformed("this is not a .npy file: it does not begin with \\x93NUMPY".to_string()))?;
    let short = || malformed("the file ends within its header".to_string());
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (length, rest) = match version[0] {
        1 => {
            let (n, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            (usize::from(u16::from_le_bytes(*n)), rest)
        }
        2 | 3 => {
            let (n, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            (u32::from_le_bytes(*n) as usize, rest)
        }
        other => return Err(malformed(format!("version {other} of the .npy format is not known; 1 to 3 are"))),
    };
    let (header, values) = rest.split_at_checked(length).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|_| malformed("the header is not text".to_string()))?;
    let header = Header::parse(header).map_err(|what| malformed(format!("header: {what}")))?;
    Ok((header, values))
}

/// Writes an array as version 1.0, C order, little endian: `<f4`, `<f8` or `<i8`.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn write(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let path = path.as_ref();
    std::fs::write(path, encode(tensor)).map_err(Error::io(path))
}

/// The bytes of a `.npy` file. See [`write()`].
pub fn encode(tensor: &Tensor) -> Vec<u8> {
    let descr = match tensor.data() {
        Data::F32(_) => "<f4",
        Data::F64(_) => "<f8",
        Data::I64(_) => "<i8",
    };
    let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let shape = if sizes.len() == 1 { format!("({},)", sizes[0]) } else { format!("({})", sizes.join(", ")) };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The values begin at a multiple of 64 bytes; a newline ends the header. Version 1 has 10 bytes before it.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    match u16::try_from(header.len()) {
        Ok(length) => {
            bytes.extend([1, 0]);
            bytes.extend(length.to_le_bytes());
        }
        Err(_) => {
            bytes.extend([2, 0]);
            bytes.extend((header.len() as u32).to_le_bytes());
        }
    }
    bytes.extend(header.as_bytes());
    match tensor.data() {
        Data::F32(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::F64(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::I64(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
    }
    bytes
}

/// Fortran order (first axis fastest) to C order (last axis fastest).
fn c_order(data: Data, shape: &[usize]) -> Data {
    fn permute<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
        let mut strides = Vec::with_capacity(shape.len());
        let mut stride = 1;
        for size in shape {
            strides.push(stride);
            stride *= size;
        }
        let mut index = vec![0; shape.len()];
        let mut at = 0;
        let mut out = Vec::with_capacity(values.len());
        for _ in 0..values.len() {
            out.push(values[at]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                at -= strides[axis] * shape[axis];
                index[axis] = 0;
            }
        }
        out
    }
    match data {
        Data::F32(v) => Data::F32(permute(&v, shape)),
        Data::F64(v) => Data::F64(permute(&v, shape)),
        Data::I64(v) => Data::I64(permute(&v, shape)),
    }
}

/// How one value is stored.
struct Element {
    big_endian: bool,
    kind: u8,
    size: usize,
}

impl Element {
    /// From `<f4` and the like; `None` for what is not a number.
    fn parse(descr: &str) -> Option<Element> {
        let &[order, kind, size] = descr.as_bytes() else { return None };
        let size = usize::from(size.checked_sub(b'0')?);
        let known = match kind {
            b'f' => matches!(size, 2 | 4 | 8),
            b'i' | b'u' => matches!(size, 1 | 2 | 4 | 8),
            b'b' => size == 1,
            _ => false,
        };
        let big_endian = match order {
            b'<' | b'|' => false,
            b'>' => true,
            b'=' => cfg!(target_endian = "big"),
            _ => return None,
        };
        known.then_some(Element { big_endian, kind, size })
    }

    fn decode(&self, bytes: &[u8]) -> Result<Data, String> {
        /// Values of `N` bytes each.
        fn map<const N: usize, T>(bytes: &[u8], big_endian: bool, of: impl Fn([u8; N]) -> T) -> Vec<T> {
            let (chunks, _) = bytes.as_chunks::<N>();
            let little = |mut b: [u8; N]| {
                if big_endian {
                    b.reverse();
                }
                b
            };
            chunks.iter().map(|c| of(little(*c))).collect()
        }
        let big = self.big_endian;
        Ok(match (self.kind, self.size) {
            (b'f', 2) => Data::F32(map(bytes, big, |b| f16::from_le_bytes(b).to_f32())),
            (b'f', 4) => Data::F32(map(bytes, big, f32::from_le_bytes)),
            (b'f', _) => Data::F64(map(bytes, big, f64::from_le_bytes)),
            (b'i', 1) => Data::I64(map(bytes, big, |b| i64::from(i8::from_le_bytes(b)))),
            (b'i', 2) => Data::I64(map(bytes, big, |b| i64::from(i16::from_le_bytes(b)))),
            (b'i', 4) => Data::I64(map(bytes, big, |b| i64::from(i32::from_le_bytes(b)))),
            (b'i', _) => Data::I64(map(bytes, big, i64::from_le_bytes)),
            (b'u', 2) => Data::I64(map(bytes, big, |b| i64::from(u16::from_le_bytes(b)))),
            (b'u', 4) => Data::I64(map(bytes, big, |b| i64::from(u32::from_le_bytes(b)))),
            (b'u', 8) => {
                let values = map(bytes, big, u64::from_le_bytes).into_iter().map(i64::try_from);
                let values: Result<Vec<i64>, _> = values.collect();
                Data::I64(values.map_err(|_| "a uint64 value is past 2^63-1".to_string())?)
            }
            // u1 and b1.
            _ => Data::I64(bytes.iter().map(|b| i64::from(*b)).collect()),
        })
    }
}

/// The dictionary in front of the values.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Header, String> {
        let mut reader = Literal { text, at: 0 };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        reader.expect('{')?;
        while !reader.take('}') {
            let key = reader.string()?;
            reader.expect(':')?;
            match key {
                "descr" if reader.peek() == Some('[') => {
                    return Err("arrays of structures are not supported; save one field alone".to_string());
                }
                "descr" => descr = Some(reader.string()?.to_string()),
                "fortran_order" => fortran_order = Some(reader.boolean()?),
                "shape" => shape = Some(reader.sizes()?),
                _ => return Err(format!("unknown key {key:?}")),
            }
            if !reader.take(',') {
                reader.expect('}')?;
                break;
            }
        }
        if reader.peek().is_some() {
            return Err("there is something after the dictionary".to_string());
        }
        let missing = |key| move || format!("the key {key:?} is missing");
        Ok(Header {
            descr: descr.ok_or_else(missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(missing("fortran_order"))?,
            shape: shape.ok_or_else(missing("shape"))?,
        })
    }
}

/// Reads the few Python literals a header is made of.
struct Literal<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Literal<'a> {
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn peek(&mut self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, token: char) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(other) => format!("expected {token:?}, found {other:?}"),
            None => format!("expected {token:?}, found the end"),
        })
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = self.peek().filter(|c| matches!(c, '\'' | '"')).ok_or("expected a text in quotes")?;
        let body = &self.rest()[1..];
        let end = body.find(quote).ok_or("a text in quotes does not end")?;
        self.at += end + 2;
        Ok(&body[..end])
    }

    fn boolean(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        for (word, value) in [("True", true), ("False", false)] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err("fortran_order is neither True nor False".to_string())
    }

    fn sizes(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut sizes = Vec::new();
        while !self.take(')') {
            let rest = self.rest();
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let size = rest[..digits].parse().map_err(|_| "shape is not a tuple of sizes".to_string())?;
            self.at += digits;
            // Python 2 wrote 3L.
            self.take('L');
            sizes.push(size);
            if sizes.len() > MAX_RANK {
                return Err(format!("more than {MAX_RANK} axes"));
            }
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, values: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        bytes
    }

    fn header(descr: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}          \n")
    }

    #[test]
    fn every_type_and_byte_order() {
        let cases: [(&str, Vec<u8>, Data); 12] = [
            ("<f4", [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect(), Data::F32(vec![1.5, -2.0])),
            (">f4", [1.5f32, -2.0].iter().flat_map(|x| x.to_be_bytes()).collect(), Data::F32(vec![1.5, -2.0])),
            (">f8", [1e300, -2.0].iter().flat_map(|x: &f64| x.to_be_bytes()).collect(), Data::F64(vec![1e300, -2.0])),
            ("<f2", vec![0x00, 0x3c, 0x00, 0xc0], Data::F32(vec![1.0, -2.0])),
            (">f2", vec![0x3c, 0x00, 0xc0, 0x00], Data::F32(vec![1.0, -2.0])),
            ("<i8", [-1i64, 7].iter().flat_map(|x| x.to_le_bytes()).collect(), Data::I64(vec![-1, 7])),
            (">i4", [-1i32, 7].iter().flat_map(|x| x.to_be_bytes()).collect(), Data::I64(vec![-1, 7])),
            ("<i2", vec![0xff, 0xff, 7, 0], Data::I64(vec![-1, 7])),
            ("|i1", vec![0xff, 7], Data::I64(vec![-1, 7])),
            ("|u1", vec![0xff, 7], Data::I64(vec![255, 7])),
            ("<u2", vec![0xff, 0xff, 7, 0], Data::I64(vec![65535, 7])),
            ("|b1", vec![1, 0], Data::I64(vec![1, 0])),
        ];
        for (descr, bytes, want) in cases {
            let tensor = parse("x.npy", &file(&header(descr, "False", "(2,)"), &bytes)).unwrap();
            assert_eq!((tensor.shape(), tensor.data()), (&[2][..], &want), "{descr}");
        }
    }

    #[test]
    fn fortran_order_is_turned() {
        // [[0, 1, 2], [3, 4, 5]] with the first axis running fastest.
        let tensor = parse("x.npy", &file(&header("|u1", "True", "(2, 3)"), &[0, 3, 1, 4, 2, 5])).unwrap();
        assert_eq!(tensor, Tensor::from_i64([2, 3], vec![0, 1, 2, 3, 4, 5]).unwrap());
        let cube = parse("x.npy", &file(&header("|u1", "True", "(2, 2, 2)"), &[0, 4, 2, 6, 1, 5, 3, 7])).unwrap();
        assert_eq!(cube.as_i64().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn headers_of_versions_2_and_3_and_of_python_2() {
        let text = "{'shape': (2L, 1L), \"fortran_order\": False, 'descr': '|u1'}";
        for version in [2, 3] {
            let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
            bytes.extend([8, 9]);
            assert_eq!(parse("x.npy", &bytes).unwrap().shape(), [2, 1]);
        }
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        let cases = [
            (b"PK\x03\x04".to_vec(), "not a .npy file"),
            (b"\x93NUMPY\x01".to_vec(), "ends within its header"),
            (b"\x93NUMPY\x07\x00aaaa".to_vec(), "version 7"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(), "ends within its header"),
            (file(&header("<f4", "False", "(2, 3)"), &[0; 20]), "needs 24 bytes, but the file holds 20"),
            (file(&header("<f4", "False", "(4294967296, 4294967296, 9)"), &[0; 4]), "more bytes than there can be"),
            (file(&header("<f4", "False", "(99999999999999999999999,)"), &[]), "tuple of sizes"),
            (file(&header("<f4", "Maybe", "(1,)"), &[]), "neither True nor False"),
            (file(&header("<f4", "False", "(-1,)"), &[]), "tuple of sizes"),
            (file("{'descr': [('a', '<f4')], }", &[]), "structures"),
            (file("{'descr': '<f4', }", &[]), "\"fortran_order\" is missing"),
            (file(&header("<c8", "False", "(1,)"), &[0; 8]), "\"<c8\" is not supported"),
            (file(&header("|O", "False", "(1,)"), &[0; 8]), "not supported"),
            (file(&header("<u8", "False", "(1,)"), &[0xff; 8]), "past 2^63-1"),
        ];
        for (bytes, want) in cases {
            let message = parse("x.npy", &bytes).unwrap_err().to_string();
            assert!(message.contains(want) && message.starts_with("x.npy"), "{message:?} does not say {want:?}");
        }
    }

    #[test]
    fn values_begin_at_a_multiple_of_64() {
        for rank in 0..30 {
            let tensor = Tensor::from_f32(vec![1; rank], vec![2.5]).unwrap();
            let bytes = encode(&tensor);
            assert_eq!((bytes.len() - 4) % 64, 0, "rank {rank}");
            assert_eq!(parse("x.npy", &bytes).unwrap(), tensor);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(shape in prop::collection::vec(0usize..5, 0..5), seed in any::<i64>()) {
            let count = shape.iter().product::<usize>() as i64;
            let ints: Vec<i64> = (0..count).map(|i| seed.wrapping_mul(i + 1)).collect();
            let floats: Vec<f64> = ints.iter().map(|i| *i as f64).collect();
            let singles: Vec<f32> = ints.iter().map(|i| *i as f32).collect();
            for data in [Data::I64(ints), Data::F64(floats), Data::F32(singles)] {
                let tensor = Tensor::new(shape.clone(), data).unwrap();
                prop_assert_eq!(parse("x.npy", &encode(&tensor)).unwrap(), tensor);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("x.npy", &bytes);
        }

        #[test]
        fn no_header_panics(text in "[{}()\\[\\]'\":,L0-9a-z<|fué ]{0,60}", values in prop::collection::vec(any::<u8>(), 0..9)) {
            let _ = parse("x.npy", &file(&text, &values));
        }

        #[test]
        fn a_changed_file_does_not_panic(at in 0usize..140, byte in any::<u8>(), cut in 0usize..140) {
            let tensor = Tensor::from_f32([2, 3], vec![0.0; 6]).unwrap();
            let mut bytes = encode(&tensor);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut % 40));
            let _ = parse("x.npy", &bytes);
        }
    }
}
