//! Photos to tensors, and back.

use image::imageops::{self, FilterType};
use image::{DynamicImage, Rgb, RgbImage};

use super::{Channels, Fit, ModelDescription, PerChannel, Preset};
use crate::error::{Error, Result};
use crate::network::Dim;
use crate::network::shape;
use crate::tensor::Tensor;

/// What is done to a photo before a network sees it: a [`ModelDescription`] with everything filled in for one input.
///
/// 1. The file is decoded to 8 bits a channel; transparency is laid on white; an orientation in EXIF is ignored.
/// 2. `crop`: the largest middle part of the input's shape is cut out, smaller by size/resize, and brought to size.
///    `letterbox`: the whole photo is brought into the middle of a black picture. `stretch`: the photo is brought to size.
///    Resampling is linear with antialiasing (the triangle filter), as Pillow's and torchvision's default.
/// 3. Channels are ordered, and `(v·scale − mean) / std` is taken of each pixel's v in 0..255.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    height: usize,
    width: usize,
    channels: Channels,
    channels_last: bool,
    fit: Fit,
    resize: usize,
    scale: f64,
    mean: Vec<f64>,
    std: Vec<f64>,
    range_known: bool,
    assumed: Option<Preset>,
}

/// A photo made ready for a network.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// One sample, of the network's input shape with a batch axis of 1.
    pub tensor: Tensor,
    /// What the network saw of the photo, at a whole multiple of its resolution.
    pub photo: RgbImage,
}

/// The mean colour of ImageNet in RGB, of 0..1, and its deviation: torchvision's numbers.
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
/// The mean colour of ImageNet in BGR, of 0..255: the numbers of Caffe's VGG.
const CAFFE_MEAN: [f64; 3] = [103.939, 116.779, 123.68];

/// Pictures are shown with at least this many pixels along the longer side.
const SHOWN: usize = 448;

impl Preprocess {
    /// How photos become the input called `name` of shape `shape`: `N×C×H×W`, or `N×H×W×C`, with 1 or 3 channels.
    /// Without a preset, `imagenet` is assumed for 3 channels and `raw` for 1, unless the description says how values
    /// are scaled.
    ///
    /// # Errors
    /// [`Error::Input`] when photos cannot become such an input; [`Error::Malformed`] when the description does not fit it.
    pub fn new(description: &ModelDescription, name: &str, shape: &[Dim]) -> Result<Preprocess> {
        let shown = shape::display(shape);
        let sizes: Vec<Option<usize>> = shape.iter().skip(1).map(|d| d.fixed()).collect();
        let (count, height, width, channels_last) = match sizes[..] {
            [Some(c @ (1 | 3)), Some(h), Some(w)] => (c, h, w, false),
            [Some(h), Some(w), Some(c @ (1 | 3))] => (c, h, w, true),
            _ => {
                return Err(Error::Input(format!(
                    "input \"{name}\" has the shape {shown}: pictures become N×C×H×W with 1 or 3 channels; give it as .npy"
                )));
            }
        };
        let misfit = |key: &str, what: String| Error::malformed(format!("input \"{name}\", key \"{key}\""), what);
        if let Some(size) = description.size.filter(|s| (s.height, s.width) != (height, width)) {
            let what = format!("{}×{} is not the size of the network's input, {shown}", size.height, size.width);
            return Err(misfit("size", what));
        }

        let says_values = description.scale.is_some() || description.mean.is_some() || description.std.is_some();
        let (preset, assumed) = match description.preset {
            Some(preset) => (preset, None),
            None if says_values => (Preset::Raw, None),
            None if count == 3 => (Preset::Imagenet, Some(Preset::Imagenet)),
            None => (Preset::Raw, Some(Preset::Raw)),
        };
        let channels = description.channels.unwrap_or(match (count, preset) {
            (1, _) => Channels::Grey,
            (_, Preset::Caffe) => Channels::Bgr,
            _ => Channels::Rgb,
        });
        if channels.count() != count {
            let what = format!("{channels} has {} channels, the network's input is {shown}", channels.count());
            return Err(misfit("channels", what));
        }
        if preset != Preset::Raw && count != 3 {
            return Err(misfit("preset", format!("{preset} is for 3 channels, the network's input is {shown}")));
        }
        // The preset's numbers, in the order of the network's channels.
        let ordered = |mut rgb: [f64; 3]| {
            if channels == Channels::Bgr {
                rgb.reverse();
            }
            rgb.to_vec()
        };
        let [b, g, r] = CAFFE_MEAN;
        let (scale, mean, std) = match preset {
            Preset::Imagenet => (1.0 / 255.0, ordered(IMAGENET_MEAN), ordered(IMAGENET_STD)),
            Preset::Caffe => (1.0, ordered([r, g, b]), vec![1.0; 3]),
            Preset::Raw => (1.0, vec![0.0; count], vec![1.0; count]),
        };
        let per_channel = |key: &str, given: &Option<PerChannel>, default: Vec<f64>| match given {
            None => Ok(default),
            Some(PerChannel(v)) if v.len() == 1 => Ok(vec![v[0]; count]),
            Some(PerChannel(v)) if v.len() == count => Ok(v.clone()),
            Some(PerChannel(v)) => Err(misfit(key, format!("{} values for {count} channels", v.len()))),
        };
        let shorter = height.min(width);
        let resize = description.resize.unwrap_or(match preset {
            Preset::Raw => shorter,
            _ => shorter.saturating_mul(256) / 224,
        });
        if resize < shorter {
            return Err(misfit(
                "resize",
                format!("{resize} is less than the shorter side of the network's input, {shown}"),
            ));
        }
        Ok(Preprocess {
            height,
            width,
            channels,
            channels_last,
            fit: description.fit.unwrap_or(Fit::Crop),
            resize,
            scale: description.scale.unwrap_or(scale),
            mean: per_channel("mean", &description.mean, mean)?,
            std: per_channel("std", &description.std, std)?,
            range_known: says_values || preset != Preset::Raw,
            assumed,
        })
    }

    /// The preset that was assumed because the description named none.
    pub fn assumed(&self) -> Option<Preset> {
        self.assumed
    }

    /// The order of its channels.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// Whether channels are the last axis.
    pub fn channels_last(&self) -> bool {
        self.channels_last
    }

    /// What black and white become, one value for each channel in the network's order: the bounds of the box rule.
    /// `None` when only [`Preset::Raw`] is known of the input.
    pub fn bounds(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let of = |v: f64| (0..self.channels.count()).map(|c| self.value(v, c)).collect::<Vec<f64>>();
        let (black, white) = (of(0.0), of(255.0));
        let low = black.iter().zip(&white).map(|(b, w)| b.min(*w)).collect();
        let high = black.iter().zip(&white).map(|(b, w)| b.max(*w)).collect();
        self.range_known.then_some((low, high))
    }

    /// A photo as the network wants it, and what it sees of it.
    pub fn apply(&self, photo: &DynamicImage) -> Prepared {
        let photo = flatten(photo);
        let seen = self.fitted(&photo, 1);
        let mut values = Vec::with_capacity(self.height * self.width * self.channels.count());
        let channels = self.channels.count();
        if self.channels_last {
            for pixel in seen.pixels() {
                values.extend((0..channels).map(|c| self.value(self.channel(pixel, c), c) as f32));
            }
        } else {
            for c in 0..channels {
                values.extend(seen.pixels().map(|pixel| self.value(self.channel(pixel, c), c) as f32));
            }
        }
        let shape = if self.channels_last {
            [1, self.height, self.width, channels]
        } else {
            [1, channels, self.height, self.width]
        };
        let tensor = Tensor::from_f32(shape, values).expect("as many values as pixels and channels");
        let factor = SHOWN.div_ceil(self.height.max(self.width)).max(1);
        let photo = if factor == 1 { seen } else { self.fitted(&photo, factor) };
        Prepared { tensor, photo }
    }

    /// Which pixels of the network's input a mask of a photo covers, cut and scaled as the photo is: row by row, 1 where more
    /// than half of a pixel is above 0 and not transparent in the mask, else 0.
    pub fn mask(&self, mask: &DynamicImage) -> Vec<f32> {
        let own = mask.to_luma_alpha16();
        let (width, height) = own.dimensions();
        let inside = |x, y| own.get_pixel(x, y).0.iter().all(|v| *v > 0);
        let plain = RgbImage::from_fn(width, height, |x, y| Rgb([if inside(x, y) { 255 } else { 0 }; 3]));
        self.fitted(&plain, 1).pixels().map(|pixel| f32::from(u8::from(pixel.0[0] > 127))).collect()
    }

    /// The picture that a preprocessed sample was made from, or `None` when only [`Preset::Raw`] is known of it or the
    /// values are not as many as the input has.
    pub fn invert(&self, sample: &[f64]) -> Option<RgbImage> {
        let (channels, plane) = (self.channels.count(), self.height * self.width);
        if !self.range_known || sample.len() != channels * plane {
            return None;
        }
        let at = |pixel: usize, c: usize| {
            let index = if self.channels_last { pixel * channels + c } else { c * plane + pixel };
            ((sample[index] * self.std[c] + self.mean[c]) / self.scale).round() as u8
        };
        Some(RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let pixel = y as usize * self.width + x as usize;
            Rgb(match self.channels {
                Channels::Rgb => [at(pixel, 0), at(pixel, 1), at(pixel, 2)],
                Channels::Bgr => [at(pixel, 2), at(pixel, 1), at(pixel, 0)],
                Channels::Grey => [at(pixel, 0); 3],
            })
        }))
    }

    /// What the network is given for a pixel's value of 0..255.
    fn value(&self, v: f64, channel: usize) -> f64 {
        (v * self.scale - self.mean[channel]) / self.std[channel]
    }

    fn channel(&self, Rgb([r, g, b]): &Rgb<u8>, channel: usize) -> f64 {
        let [r, g, b] = [r, g, b].map(|v| f64::from(*v));
        match self.channels {
            Channels::Rgb => [r, g, b][channel],
            Channels::Bgr => [b, g, r][channel],
            Channels::Grey => 0.299 * r + 0.587 * g + 0.114 * b,
        }
    }

    /// The part of a photo that the network sees, at `factor` times its resolution.
    fn fitted(&self, photo: &RgbImage, factor: usize) -> RgbImage {
        let (width, height) = ((self.width * factor) as u32, (self.height * factor) as u32);
        let (w, h) = photo.dimensions();
        match self.fit {
            Fit::Stretch => imageops::resize(photo, width, height, FilterType::Triangle),
            Fit::Crop => {
                let (x, y, w, h) = self.crop(w, h);
                let part = imageops::crop_imm(photo, x, y, w, h).to_image();
                imageops::resize(&part, width, height, FilterType::Triangle)
            }
            Fit::Letterbox => {
                let scale = (f64::from(width) / f64::from(w)).min(f64::from(height) / f64::from(h));
                let side = |n: u32, most: u32| ((f64::from(n) * scale).round() as u32).clamp(1, most);
                let inner = imageops::resize(photo, side(w, width), side(h, height), FilterType::Triangle);
                let mut whole = RgbImage::new(width, height);
                let (x, y) = ((width - inner.width()) / 2, (height - inner.height()) / 2);
                imageops::replace(&mut whole, &inner, i64::from(x), i64::from(y));
                whole
            }
        }
    }

    /// Corner and size of the middle part of a `w`×`h` photo that is kept.
    fn crop(&self, w: u32, h: u32) -> (u32, u32, u32, u32) {
        // Pixels of the photo for a pixel of the input, were the photo's shorter side `resize` long.
        let (width, height) = (self.width as f64, self.height as f64);
        let shorter = width.min(height);
        let whole = (f64::from(w) / width).min(f64::from(h) / height);
        let step = whole * shorter / self.resize as f64;
        let side = |n: f64, most: u32| ((n * step).round() as u32).clamp(1, most);
        let (cw, ch) = (side(width, w), side(height, h));
        ((w - cw) / 2, (h - ch) / 2, cw, ch)
    }
}

/// 8-bit RGB; transparency on white.
fn flatten(photo: &DynamicImage) -> RgbImage {
    if !photo.color().has_alpha() {
        return photo.to_rgb8();
    }
    let rgba = photo.to_rgba8();
    RgbImage::from_fn(photo.width(), photo.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|v| ((v * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgba, RgbaImage};

    use super::*;

    fn nchw(c: usize, h: usize, w: usize) -> Vec<Dim> {
        vec![Dim::Batch(1), Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)]
    }

    fn with(text: &str, shape: &[Dim]) -> Result<Preprocess> {
        Preprocess::new(&ModelDescription::from_toml("m.toml", text).unwrap(), "x", shape)
    }

    fn pixel(color: [u8; 3]) -> DynamicImage {
        DynamicImage::ImageRgb8(RgbImage::from_pixel(5, 4, Rgb(color)))
    }

    #[test]
    fn presets_scale_and_order() {
        let imagenet = with("preset = 'imagenet'", &nchw(3, 1, 1)).unwrap().apply(&pixel([255, 0, 51])).tensor;
        let want = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225];
        for (got, want) in imagenet.to_vec::<f64>().iter().zip(want) {
            // f32 rounding of numbers near 2.
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        let caffe = with("preset = 'caffe'", &nchw(3, 1, 1)).unwrap().apply(&pixel([255, 0, 51])).tensor;
        assert_eq!(caffe.to_vec::<f32>(), [51.0 - 103.939, -116.779, 255.0 - 123.68].map(|v: f64| v as f32));
        let rgb =
            with("preset = 'caffe'\nchannels = 'RGB'", &nchw(3, 1, 1)).unwrap().apply(&pixel([255, 0, 51])).tensor;
        assert_eq!(rgb.to_vec::<f32>(), [255.0 - 123.68, -116.779, 51.0 - 103.939].map(|v: f64| v as f32));
        let grey = with("preset = 'raw'", &nchw(1, 1, 1)).unwrap().apply(&pixel([255, 0, 100])).tensor;
        assert_eq!(grey.to_vec::<f32>(), [(0.299 * 255.0 + 11.4) as f32]);
    }

    #[test]
    fn channels_last() {
        let shape = [Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(4), Dim::Fixed(3)];
        let p = with("preset = 'raw'\nscale = 1", &shape).unwrap();
        let tensor = p.apply(&pixel([1, 2, 3])).tensor;
        assert_eq!((tensor.shape(), &tensor.to_vec::<f32>()[..4]), (&[1, 2, 4, 3][..], &[1.0, 2.0, 3.0, 1.0][..]));
        assert_eq!(p.invert(&tensor.to_vec::<f64>()).unwrap().get_pixel(3, 1), &Rgb([1, 2, 3]));
    }

    #[test]
    fn bounds_are_black_and_white() {
        let (low, high) = with("preset = 'caffe'", &nchw(3, 8, 8)).unwrap().bounds().unwrap();
        assert_eq!(low, [-103.939, -116.779, -123.68]);
        assert_eq!(high, [255.0 - 103.939, 255.0 - 116.779, 255.0 - 123.68]);
        let (low, high) = with("scale = -1", &nchw(1, 8, 8)).unwrap().bounds().unwrap();
        assert_eq!((low[0], high[0]), (-255.0, 0.0));
        assert_eq!(with("preset = 'raw'", &nchw(3, 8, 8)).unwrap().bounds(), None);
    }

    #[test]
    fn what_is_not_said_is_assumed_and_told() {
        assert_eq!(with("", &nchw(3, 8, 8)).unwrap().assumed(), Some(Preset::Imagenet));
        assert_eq!(with("", &nchw(1, 8, 8)).unwrap().assumed(), Some(Preset::Raw));
        assert_eq!(with("preset = 'raw'", &nchw(1, 8, 8)).unwrap().assumed(), None);
        assert_eq!(with("scale = 1", &nchw(3, 8, 8)).unwrap().assumed(), None);
    }

    #[test]
    fn descriptions_that_do_not_fit_the_network() {
        let cases = [
            ("size = 9", nchw(3, 8, 8), "key \"size\": 9×9 is not the size of the network's input, N×3×8×8"),
            ("channels = 'grey'", nchw(3, 8, 8), "key \"channels\""),
            ("preset = 'imagenet'", nchw(1, 8, 8), "key \"preset\""),
            ("mean = [1, 2]", nchw(3, 8, 8), "key \"mean\": 2 values for 3 channels"),
            ("resize = 7", nchw(3, 8, 8), "key \"resize\""),
            ("", nchw(2, 8, 8), "give it as .npy"),
            ("", vec![Dim::Batch(1), Dim::Fixed(3)], "give it as .npy"),
        ];
        for (text, shape, want) in cases {
            let message = with(text, &shape).unwrap_err().to_string();
            assert!(message.contains(want), "{message:?} lacks {want:?}");
        }
    }

    /// A photo whose pixel values say where they were: red is the column, green the row.
    fn map(w: u32, h: u32) -> DynamicImage {
        DynamicImage::ImageRgb8(RgbImage::from_fn(w, h, |x, y| Rgb([x as u8, y as u8, 0])))
    }

    #[test]
    fn the_middle_is_cropped() {
        let p = with("preset = 'raw'", &nchw(3, 8, 8)).unwrap();
        assert_eq!(p.crop(20, 8), (6, 0, 8, 8));
        let seen = p.apply(&map(20, 8)).tensor.to_vec::<f32>();
        assert_eq!((seen[0], seen[7]), (6.0, 13.0));
        // imagenet: 224 of 256.
        let p = with("preset = 'imagenet'", &nchw(3, 224, 224)).unwrap();
        assert_eq!(p.crop(512, 256), (144, 16, 224, 224));
        // A wide input of a square photo.
        let p = with("preset = 'raw'", &nchw(3, 10, 20)).unwrap();
        assert_eq!(p.crop(100, 100), (0, 25, 100, 50));
    }

    #[test]
    fn letterbox_and_stretch() {
        let white = DynamicImage::ImageRgb8(RgbImage::from_pixel(40, 20, Rgb([255; 3])));
        let seen = with("preset = 'raw'\nfit = 'letterbox'", &nchw(1, 8, 8)).unwrap().apply(&white).tensor;
        let row = |y: usize| seen.to_vec::<f32>()[y * 8];
        assert_eq!([row(0), row(1), row(2), row(5), row(6)], [0.0, 0.0, 255.0, 255.0, 0.0]);
        let seen = with("preset = 'raw'\nfit = 'stretch'", &nchw(1, 8, 8)).unwrap().apply(&white).tensor;
        assert!(seen.to_vec::<f32>().iter().all(|v| *v == 255.0));
    }

    #[test]
    fn thin_pictures_do_not_vanish() {
        for (w, h) in [(1, 4000), (4000, 1), (1, 1)] {
            for fit in ["crop", "letterbox", "stretch"] {
                let p = with(&format!("preset = 'raw'\nfit = '{fit}'"), &nchw(3, 8, 6)).unwrap();
                assert_eq!(p.apply(&map(w, h)).tensor.shape(), [1, 3, 8, 6]);
            }
        }
    }

    #[test]
    fn transparency_lies_on_white_and_grey_becomes_rgb() {
        let glass = RgbaImage::from_pixel(2, 2, Rgba([10, 20, 30, 0]));
        let p = with("preset = 'raw'", &nchw(3, 1, 1)).unwrap();
        assert_eq!(p.apply(&DynamicImage::ImageRgba8(glass)).tensor.to_vec::<f32>(), [255.0; 3]);
        let grey = GrayImage::from_pixel(2, 2, Luma([7]));
        assert_eq!(p.apply(&DynamicImage::ImageLuma8(grey)).tensor.to_vec::<f32>(), [7.0; 3]);
    }

    #[test]
    fn inverting_gives_the_photo_back() {
        for text in ["preset = 'caffe'", "preset = 'imagenet'"] {
            let p = with(text, &nchw(3, 8, 8)).unwrap();
            let prepared = p.apply(&pixel([200, 100, 3]));
            let back = p.invert(&prepared.tensor.to_vec::<f64>()).unwrap();
            assert_eq!(back.get_pixel(2, 2), &Rgb([200, 100, 3]));
        }
    }

    /// The middle 4×4 of 8×4 pixels is seen.
    #[test]
    fn masks_are_cut_as_photos_are() {
        let mask = GrayImage::from_fn(8, 4, |x, y| Luma([u8::from(x > 3 || (x, y) == (2, 0))]));
        let p = with("preset = 'raw'", &nchw(3, 2, 2)).unwrap();
        assert_eq!(p.mask(&DynamicImage::ImageLuma8(mask)), [0.0, 1.0, 0.0, 1.0]);
        let glass = RgbaImage::from_fn(2, 2, |x, _| Rgba([9, 9, 9, (x * 255) as u8]));
        assert_eq!(p.mask(&DynamicImage::ImageRgba8(glass)), [0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn photos_are_shown_at_a_multiple_of_the_input() {
        let p = with("preset = 'raw'", &nchw(3, 100, 50)).unwrap();
        assert_eq!(p.apply(&map(30, 30)).photo.dimensions(), (250, 500));
    }

    #[test]
    fn the_sample_photo_is_what_the_reference_saw() {
        let description = ModelDescription::from_toml("m", crate::assets::SQUEEZENET_DESCRIPTION).unwrap();
        let p = Preprocess::new(&description, "data", &nchw(3, 227, 227)).unwrap();
        let seen = p.apply(&image::load_from_memory(crate::assets::PHOTO).unwrap()).tensor.to_vec::<f64>();
        // Pillow's numbers for: crop the middle 300×300, resize to 227×227 with BILINEAR, BGR less the mean. It rounds
        // between the two passes of the resize, so single pixels may differ by one step.
        let pillow = [
            (0, -54.006),
            (226, 15.994),
            (7877, -22.006),
            (17089, -43.006),
            (25764, 18.994),
            (48600, 28.994),
            (52620, 8.331),
            (70608, 18.331),
            (95939, -96.669),
            (101201, 18.331),
            (108631, 30.321),
            (137993, 40.321),
            (152315, 59.321),
        ];
        for (index, want) in pillow {
            assert!((seen[index] - want).abs() <= 1.0 + 1e-4, "value {index}: {} is not {want}", seen[index]);
        }
        let mean = seen.iter().sum::<f64>() / seen.len() as f64;
        assert!((mean + 2.16633).abs() < 0.05, "{mean}");
    }
}
