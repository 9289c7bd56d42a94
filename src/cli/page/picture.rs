//! Pictures inside a page.

use std::collections::HashMap;
use std::io::Cursor;

use anyhow::Result;
use base64::prelude::{BASE64_STANDARD, Engine};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage, RgbaImage};

/// Of a photo, from 1 to 100.
const QUALITY: u8 = 88;

/// Bytes as an address that holds them.
pub fn data(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes))
}

/// A picture as PNG.
pub fn png(picture: &RgbImage) -> Result<String> {
    Ok(data("image/png", &encoded(picture)?))
}

/// A photo, as JPEG or as PNG: whichever is smaller.
pub fn photo(picture: &RgbImage) -> Result<String> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(picture)?;
    let png = encoded(picture)?;
    Ok(if jpeg.len() < png.len() { data("image/jpeg", &jpeg) } else { data("image/png", &png) })
}

fn encoded(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// A layer with transparency as PNG: with a palette where it has at most 256 different pixels, which is a third of the bytes.
pub fn layer(picture: &RgbaImage) -> Result<String> {
    let mut palette: Vec<[u8; 4]> = Vec::new();
    let mut places: HashMap<[u8; 4], u8> = HashMap::new();
    let mut indices = Vec::with_capacity(picture.len() / 4);
    for pixel in picture.pixels() {
        let index = match places.get(&pixel.0) {
            Some(index) => *index,
            None => {
                let Ok(index) = u8::try_from(palette.len()) else {
                    let mut bytes = Cursor::new(Vec::new());
                    picture.write_to(&mut bytes, ImageFormat::Png)?;
                    return Ok(data("image/png", bytes.get_ref()));
                };
                palette.push(pixel.0);
                places.insert(pixel.0, index);
                index
            }
        };
        indices.push(index);
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect::<Vec<u8>>());
    encoder.set_trns(palette.iter().map(|color| color[3]).collect::<Vec<u8>>());
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&indices)?;
    writer.finish()?;
    Ok(data("image/png", &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> image::DynamicImage {
        let (_, text) = address.split_once("base64,").expect("an address");
        image::load_from_memory(&BASE64_STANDARD.decode(text).expect("base64")).expect("a picture")
    }

    #[test]
    fn layers_come_back_with_and_without_a_palette() {
        for (colors, indexed) in [(200u32, true), (256, true), (257, false)] {
            let picture = RgbaImage::from_fn(24, 24, |x, y| {
                let i = (y * 24 + x) % colors;
                image::Rgba([(i % 256) as u8, (i / 256) as u8, 7, (i % 251) as u8])
            });
            let address = layer(&picture).unwrap();
            assert_eq!(read(&address).to_rgba8(), picture, "{colors}");
            let (_, text) = address.split_once("base64,").unwrap();
            let bytes = BASE64_STANDARD.decode(text).unwrap();
            let info = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap().info().color_type;
            assert_eq!(info == png::ColorType::Indexed, indexed, "{colors}");
        }
    }

    #[test]
    fn photos_take_the_smaller_form() {
        let flat = RgbImage::from_pixel(100, 100, image::Rgb([10, 20, 30]));
        assert!(photo(&flat).unwrap().starts_with("data:image/png"));
        let noise = |x: u32, y: u32| (x.wrapping_mul(2654435761).wrapping_add(y.wrapping_mul(40503)) >> 7) as u8;
        let rough = RgbImage::from_fn(100, 100, |x, y| image::Rgb([noise(x, y), noise(y, x), noise(x + y, x)]));
        let address = photo(&rough).unwrap();
        assert!(address.starts_with("data:image/jpeg"));
        assert_eq!(read(&address).to_rgb8().dimensions(), (100, 100));
        assert_eq!(read(&png(&rough).unwrap()).to_rgb8(), rough);
    }
}
