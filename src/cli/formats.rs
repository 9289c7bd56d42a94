//! Relevance as files of other kinds: 16-bit PNG, float TIFF, NumPy's npz.

use std::io::{Cursor, Write};

use anyhow::{Context, Result, bail};
use relprop::Tensor;
use relprop::heatmap::Map;
use relprop::input::npy;
use tiff::encoder::{TiffEncoder, colortype};
use zip::write::SimpleFileOptions;

/// The grey that stands for 0.
const MIDDLE: f64 = 32768.0;
/// Steps to either side of it.
const STEPS: f64 = 32767.0;

/// Maps below each other as a grey picture of 16 bits: 32768 is 0, and one step is the largest magnitude ÷ 32767. That
/// magnitude stands in a text chunk, `relprop:scale`.
pub fn png16(maps: &[&Map]) -> Result<Vec<u8>> {
    let scale = maps.iter().flat_map(|m| m.values()).fold(0.0, |a: f64, v| a.max(v.abs()));
    let step = |v: &f64| (MIDDLE + if scale > 0.0 { (v / scale * STEPS).round() } else { 0.0 }) as u16;
    let width = maps.first().map_or(0, |m| m.width());
    let height: usize = maps.iter().map(|m| m.height()).sum();
    let bytes: Vec<u8> = maps.iter().flat_map(|m| m.values()).flat_map(|v| step(v).to_be_bytes()).collect();
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.add_text_chunk("relprop:scale".to_string(), scale.to_string())?;
    let meaning = "relevance = (grey - 32768) / 32767 * relprop:scale";
    encoder.add_text_chunk("relprop:meaning".to_string(), meaning.to_string())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()?;
    Ok(out)
}

/// Maps as the pages of a TIFF file of float32.
pub fn tiff(maps: &[&Map]) -> Result<Vec<u8>> {
    let mut out = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut out)?;
    for map in maps {
        let values: Vec<f32> = map.values().iter().map(|v| *v as f32).collect();
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            bail!("relevance {at} is {:e}, which float32 does not hold: take npy", map.values()[at]);
        }
        let (width, height) = (u32::try_from(map.width())?, u32::try_from(map.height())?);
        encoder.write_image::<colortype::Gray32Float>(width, height, &values)?;
    }
    Ok(out.into_inner())
}

/// Arrays in one file, as NumPy's `savez` writes them.
pub fn npz(arrays: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in arrays {
        let bytes = npy::encode(tensor);
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let options = options.large_file(u32::try_from(bytes.len()).is_err());
        archive.start_file(format!("{name}.npy"), options).with_context(|| name.clone())?;
        archive.write_all(&bytes).with_context(|| name.clone())?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_lead_back_to_relevance() {
        let maps = [Map::new(2, 1, vec![0.0, -2.5]).unwrap(), Map::new(2, 1, vec![1.25, 2.5]).unwrap()];
        let bytes = png16(&[&maps[0], &maps[1]]).unwrap();
        let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
        let mut grey = vec![0; 8];
        reader.next_frame(&mut grey).unwrap();
        let info = reader.info();
        assert_eq!((info.width, info.height, info.bit_depth), (2, 2, png::BitDepth::Sixteen));
        let grey: Vec<u16> = grey.chunks(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
        // Half of 32767 steps is 16383.5, which is rounded away from 0.
        assert_eq!(grey, [32768, 1, 49152, 65535]);
        let texts: Vec<_> =
            info.uncompressed_latin1_text.iter().map(|t| (t.keyword.as_str(), t.text.as_str())).collect();
        assert_eq!(texts[0], ("relprop:scale", "2.5"));
        assert!(texts[1].1.contains("(grey - 32768) / 32767"));
        let zero = Map::new(1, 1, vec![0.0]).unwrap();
        assert!(png16(&[&zero]).is_ok());
    }

    #[test]
    fn floats_stay_as_they_are() {
        let maps =
            [Map::new(3, 2, vec![0.0, -2.5, 1e-20, 3.0, 4.0, 1e30]).unwrap(), Map::new(1, 1, vec![7.5]).unwrap()];
        let bytes = tiff(&[&maps[0], &maps[1]]).unwrap();
        let mut decoder = tiff::decoder::Decoder::new(Cursor::new(bytes)).unwrap();
        for (page, map) in maps.iter().enumerate() {
            assert_eq!(decoder.dimensions().unwrap(), (map.width() as u32, map.height() as u32));
            let tiff::decoder::DecodingResult::F32(values) = decoder.read_image().unwrap() else { panic!("no floats") };
            assert_eq!(values, map.values().iter().map(|v| *v as f32).collect::<Vec<_>>());
            assert_eq!(decoder.more_images(), page == 0);
            if page == 0 {
                decoder.next_image().unwrap();
            }
        }
        let large = Map::new(1, 1, vec![1e39]).unwrap();
        assert!(super::tiff(&[&large]).unwrap_err().to_string().contains("relevance 0 is 1e39"));
    }

    #[test]
    fn arrays_come_back_by_their_names() {
        let arrays = [
            ("relevance".to_string(), Tensor::from_f32([1, 2], vec![1.5, -2.0]).unwrap()),
            ("target".to_string(), Tensor::from_i64([1], vec![7]).unwrap()),
        ];
        let mut archive = zip::ZipArchive::new(Cursor::new(npz(&arrays).unwrap())).unwrap();
        assert_eq!(archive.len(), 2);
        for (name, tensor) in &arrays {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut archive.by_name(&format!("{name}.npy")).unwrap(), &mut bytes).unwrap();
            assert_eq!(&npy::parse(name, &bytes).unwrap(), tensor);
        }
    }
}
