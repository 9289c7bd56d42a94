//! Files to tensors: photos, texts, signals, `.npy` arrays, labels, and how a model wants its input.

mod description;
mod files;
mod labels;
pub mod npy;
mod preprocess;
mod signal;
mod text;

use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};

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

/// The most bytes of a picture, as it is stored and as three channels of 8 bits.
const MOST_BYTES: u64 = 512 << 20;

fn decode<R: std::io::BufRead + std::io::Seek>(name: &str, reader: ImageReader<R>) -> Result<DynamicImage> {
    let broken = |e: image::ImageError| {
        Error::malformed(name, format!("cannot be read as a picture (PNG or JPEG, whole and not empty): {e}"))
    };
    let decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if decoder.total_bytes().max(3 * u64::from(width) * u64::from(height)) > MOST_BYTES {
        let what = format!("a picture of {width}×{height} pixels, which takes more than 512 MiB; make it smaller");
        return Err(Error::malformed(name, what));
    }
    DynamicImage::from_decoder(decoder).map_err(broken)
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

    /// A few bytes claim a picture that takes gigabytes once it has three channels.
    #[test]
    fn pictures_too_large_are_refused_before_they_are_decoded() {
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::new_luma8(8, 8).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        let mut bytes = bytes.into_inner();
        let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0x50, 0x00, 0x27, 0x00]);
        let message = decode_image("x.jpg", &bytes).unwrap_err().to_string();
        assert!(message.contains("9984×20480 pixels") && message.contains("512 MiB"), "{message}");
    }
}
