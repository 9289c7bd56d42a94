//! Checks the protobuf framing of a file before it is parsed.
//!
//! The parser takes a field's claimed length at its word, and does not notice a packed list that ends inside a number.
//! Here every length is held against the message around it, so that a damaged file ends in a message instead of an
//! allocation of its claimed size.

use std::io::{BufRead, Seek};

/// Messages inside messages; ONNX itself needs about a dozen levels, one more for each nested subgraph.
const MAX_DEPTH: usize = 64;

/// The messages that the parser descends into.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    SequenceType,
    Shape,
    Flat,
}

impl Message {
    /// The message in a field, by the numbers of onnx.proto.
    fn child(self, field: u64) -> Option<Message> {
        Some(match (self, field) {
            (Message::Model, 7) | (Message::Attribute, 6) => Message::Graph,
            (Message::Graph, 1) => Message::Node,
            (Message::Graph, 5) | (Message::Attribute, 5) => Message::Tensor,
            (Message::Graph, 11..=13) => Message::ValueInfo,
            (Message::Node, 5) => Message::Attribute,
            (Message::ValueInfo, 2) | (Message::SequenceType, 1) => Message::Type,
            (Message::Type, 1) => Message::TensorType,
            (Message::Type, 4) => Message::SequenceType,
            (Message::TensorType, 2) => Message::Shape,
            (Message::Model, 8 | 14) | (Message::Tensor, 13) | (Message::Shape, 1) => Message::Flat,
            _ => return None,
        })
    }

    /// The packed list in a field: a tensor's float, int32, int64 and double values.
    fn packed(self, field: u64) -> Option<Packing> {
        match (self, field) {
            (Message::Tensor, 4) => Some(Packing::Fixed(4)),
            (Message::Tensor, 5 | 7) => Some(Packing::Varint),
            (Message::Tensor, 10) => Some(Packing::Fixed(8)),
            _ => None,
        }
    }
}

/// How a list of numbers is packed.
#[derive(Clone, Copy)]
enum Packing {
    Varint,
    Fixed(u64),
}

/// What the parser leaves out but must not be ignored.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Findings {
    /// The graph has sparse weights.
    pub sparse_initializer: bool,
}

/// Walks the framing of the model in `reader`, which holds `len` bytes. The error says what is wrong with it.
pub(super) fn check<R: BufRead + Seek>(reader: R, len: u64) -> Result<Findings, String> {
    let mut walk = Walk { reader, position: 0, findings: Findings::default() };
    walk.message(Message::Model, len, 0)?;
    Ok(walk.findings)
}

struct Walk<R> {
    reader: R,
    position: u64,
    findings: Findings,
}

impl<R: BufRead + Seek> Walk<R> {
    fn message(&mut self, message: Message, end: u64, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("messages are nested deeper than {MAX_DEPTH} levels"));
        }
        while self.position < end {
            let tag = self.varint(end)?;
            let field = tag >> 3;
            match tag & 7 {
                0 => {
                    self.varint(end)?;
                }
                1 => self.skip(8, end)?,
                2 => {
                    let len = self.varint(end)?;
                    let stop = self.position.checked_add(len).filter(|stop| *stop <= end);
                    let stop =
                        stop.ok_or_else(|| self.error(format!("a field claims {len} bytes, more than there are")))?;
                    match (message.child(field), message.packed(field)) {
                        (Some(child), _) => self.message(child, stop, depth + 1)?,
                        (None, Some(packing)) => self.packed(packing, stop)?,
                        (None, None) => self.skip(len, end)?,
                    }
                    self.findings.sparse_initializer |= message == Message::Graph && field == 15;
                }
                5 => self.skip(4, end)?,
                kind => return Err(self.error(format!("a field has the unknown wire type {kind}"))),
            }
        }
        Ok(())
    }

    /// Reads up to ten bytes of seven bits each, the lowest first.
    fn varint(&mut self, end: u64) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            if self.position >= end {
                return Err(self.error("a number runs past the end of its message".to_string()));
            }
            let mut byte = [0];
            self.reader.read_exact(&mut byte).map_err(|e| self.error(e.to_string()))?;
            self.position += 1;
            let [byte] = byte;
            // The tenth byte holds one bit.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("a number has more than 64 bits".to_string()))
    }

    /// A list of numbers without tags between them.
    fn packed(&mut self, packing: Packing, stop: u64) -> Result<(), String> {
        let len = stop - self.position;
        match packing {
            Packing::Varint => {
                while self.position < stop {
                    self.varint(stop)?;
                }
                Ok(())
            }
            Packing::Fixed(width) if len.is_multiple_of(width) => self.skip(len, stop),
            Packing::Fixed(width) => Err(self.error(format!("a list of {width}-byte numbers has {len} bytes"))),
        }
    }

    fn skip(&mut self, len: u64, end: u64) -> Result<(), String> {
        let stop = self.position.checked_add(len).filter(|stop| *stop <= end);
        let stop = stop.ok_or_else(|| self.error("the file ends in the middle of a field".to_string()))?;
        let step = i64::try_from(len).map_err(|_| self.error("a field is too long".to_string()))?;
        self.reader.seek_relative(step).map_err(|e| self.error(e.to_string()))?;
        self.position = stop;
        Ok(())
    }

    fn error(&self, what: String) -> String {
        format!("not a valid ONNX file: {what} (at byte {})", self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn run(bytes: &[u8]) -> Result<Findings, String> {
        check(Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn lengths_stay_inside_their_message() {
        // ModelProto.graph (field 7) of 4 bytes holding an initializer (field 5) of 2 bytes.
        assert!(run(&[0x3a, 4, 0x2a, 2, 0x08, 1]).is_ok());
        // The initializer claims more than its graph has.
        assert!(run(&[0x3a, 4, 0x2a, 9, 0x08, 1, 0, 0, 0, 0, 0, 0, 0]).unwrap_err().contains("claims 9 bytes"));
        // Lengths near 2^64 must not overflow.
        assert!(run(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
        assert!(run(&[0x3a]).is_err());
        assert!(run(&[0x3b, 0]).unwrap_err().contains("wire type 3"));
        assert!(run(&[0xff; 20]).unwrap_err().contains("64 bits"));
    }

    #[test]
    fn packed_lists_end_with_a_whole_number() {
        // A graph with an initializer whose int64_data (field 7) or float_data (field 4) is given.
        let tensor = |list: &[u8]| {
            let n = list.len() as u8;
            run(&[&[0x3a, n + 2, 0x2a, n], list].concat())
        };
        assert!(tensor(&[0x3a, 2, 0x80, 1]).is_ok());
        assert!(tensor(&[0x3a, 2, 1, 0x80]).is_err());
        assert!(tensor(&[0x22, 4, 0, 0, 0, 0]).is_ok());
        assert!(tensor(&[0x22, 3, 0, 0, 0]).unwrap_err().contains("has 3 bytes"));
    }

    #[test]
    fn nesting_is_limited() {
        // Graph in attribute in node in graph, and so on.
        let mut bytes = Vec::new();
        for _ in 0..60 {
            for tag in [0x32, 0x2a, 0x0a] {
                let mut outer = vec![tag];
                let mut len = bytes.len();
                while len >= 0x80 {
                    outer.push(len as u8 | 0x80);
                    len >>= 7;
                }
                outer.push(len as u8);
                outer.extend(&bytes);
                bytes = outer;
            }
        }
        let mut model = vec![0x3a, bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8];
        model.extend(&bytes);
        assert!(run(&model).unwrap_err().contains("nested deeper"));
    }

    #[test]
    fn sparse_weights_are_reported() {
        assert_eq!(run(&[0x3a, 2, 0x7a, 0]), Ok(Findings { sparse_initializer: true }));
    }
}
