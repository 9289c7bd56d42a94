//! Files to tensors: photos, texts, signals, `.npy` arrays, labels, and how a model wants its input.

mod description;
mod files;
mod labels;
pub mod npy;
mod preprocess;
mod signal;
mod text;

use std::path::Path;

use image::{DynamicImage, ImageReader};

use crate::error::{Error, Result};

pub use description::{Channels, Fit, LabelSource, ModelDescription, PerChannel, Preset, Size};
pub use files::{EXTENSIONS, Expanded, InputFile, expand};
pub use labels::Labels;
pub use preprocess::{Prepared, Preprocess};
pub use signal::{EncodedSignal, Normalise, Signal, SignalDescription, SignalInput, SignalPart, Windows};
pub use text::{EncodedText, Encoding, Keep, Side, TextDescription, TextInput, TextSamples, Tokens};

/// Reads a PNG or JPEG, told apart by content. An orientation in EXIF is ignored.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Malformed`] when it is no picture, is broken, or would need more
/// than 512 MiB.
pub fn read_image(path: impl AsRef<Path>) -> Result<DynamicImage> {
    let path = path.as_ref();
    let reader = ImageReader::open(path).map_err(Error::io(path))?;
    let reader = reader.with_guessed_format().map_err(Error::io(path))?;
    decode(&path.display().to_string(), reader)
}

/// Reads a PNG or JPEG from the bytes of a file; `name` stands in messages.
///
/// # Errors
/// [`Error::Malformed`] as [`read_image`].
pub fn decode_image(name: &str, bytes: &[u8]) -> Result<DynamicImage> {
    let reader = ImageReader::new(std::io::Cursor::new(bytes));
    let reader = reader.with_guessed_format().map_err(Error::io(name))?;
    decode(name, reader)
}

fn decode<R: std::io::BufRead + std::io::Seek>(name: &str, reader: ImageReader<R>) -> Result<DynamicImage> {
    reader.decode().map_err(|e| {
        Error::malformed(name, format!("cannot be read as a picture (PNG or JPEG, whole and not empty): {e}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_by_content_and_broken_ones_refused() {
        let photo = decode_image("chelsea.png", crate::assets::PHOTO).unwrap();
        assert_eq!((photo.width(), photo.height()), (451, 300));
        let half = &crate::assets::PHOTO[..crate::assets::PHOTO.len() / 2];
        for bytes in [&b""[..], b"not a picture", half] {
            let message = decode_image("x.png", bytes).unwrap_err().to_string();
            assert!(message.starts_with("x.png: cannot be read as a picture"), "{message}");
        }
    }
}
