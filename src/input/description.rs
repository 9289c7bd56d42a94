//! How a model wants its input: a small TOML file beside the ONNX file, or options that say the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::{Labels, SignalDescription, TextDescription};
use crate::error::{Error, Result};

/// How a model wants its input. `M.toml` beside `M.onnx`; every key may be left out.
///
/// A pixel v of 0..255 becomes `(v·scale − mean) / std`. Tables for other kinds of data: [`TextDescription`],
/// [`SignalDescription`].
///
/// ```
/// use relprop::input::{Channels, ModelDescription};
///
/// # fn main() -> relprop::Result<()> {
/// let text = r#"
///     preset = "caffe"                 # "imagenet", "caffe" or "raw": defaults for the keys below
///     channels = "BGR"                 # "RGB", "BGR" or "grey"
///     size = [227, 227]                # height and width, or one number for both
///     resize = 256                     # the shorter side, in pixels, before the crop
///     fit = "crop"                     # "crop", "letterbox" or "stretch"
///     scale = 1.0
///     mean = [104.0, 116.7, 122.7]     # in the order of the channels, or one number for all
///     std = 1.0
///     labels = "labels.txt"            # a file beside this one, or a list of names
///     sample_rate = 16000              # of sound, in hertz
///     dims = { height = 227 }          # sizes for the open axes of the ONNX file
///     fill = { h = 0, c = 0 }          # inputs that are not given, and what they are filled with
/// "#;
/// let description = ModelDescription::from_toml("model.toml", text)?;
/// assert_eq!(description.channels, Some(Channels::Bgr));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDescription {
    /// Defaults for the other keys.
    pub preset: Option<Preset>,
    /// Height and width of the network's input.
    pub size: Option<Size>,
    /// Length of the photo's shorter side before the centre is cropped, in pixels of the network's input.
    pub resize: Option<usize>,
    /// What happens to a photo of another shape.
    pub fit: Option<Fit>,
    /// Order of the channels.
    pub channels: Option<Channels>,
    /// Factor of a pixel's value of 0..255.
    pub scale: Option<f64>,
    /// What is subtracted after scaling, in the order of the channels.
    pub mean: Option<PerChannel>,
    /// What is divided by in the end, in the order of the channels.
    pub std: Option<PerChannel>,
    /// Names of the classes.
    pub labels: Option<LabelSource>,
    /// Sample rate of sound, in hertz.
    pub sample_rate: Option<u32>,
    /// How texts become its input.
    pub text: Option<TextDescription>,
    /// How signals become its input.
    pub signal: Option<SignalDescription>,
    /// Inputs that are not given, and the number that they are filled with.
    #[serde(default)]
    pub fill: BTreeMap<String, f64>,
    /// Sizes for the open axes of the ONNX file, by name.
    #[serde(default)]
    pub dims: BTreeMap<String, usize>,
}

/// Defaults for the keys of a [`ModelDescription`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// As torchvision's models: RGB, 0..1, less the mean of ImageNet, divided by its deviation; the middle of a photo
    /// whose shorter side is 256/224 of the input.
    Imagenet,
    /// As Caffe's models: BGR, 0..255, less the mean of ImageNet; the middle of a photo as with `imagenet`.
    Caffe,
    /// Pixels as they are, 0..255; the largest middle part of a photo. Says nothing about the range of values, so the
    /// box rule has no bounds unless they are given.
    Raw,
}

/// What happens to a photo whose shape is not that of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Its middle is cut out.
    Crop,
    /// It is made to fit whole, with black bars.
    Letterbox,
    /// It is stretched.
    Stretch,
}

/// Order of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as OpenCV and Pillow).
    Grey,
}

impl Channels {
    /// Number of channels.
    pub fn count(self) -> usize {
        match self {
            Channels::Rgb | Channels::Bgr => 3,
            Channels::Grey => 1,
        }
    }
}

/// Parsing a word out of a fixed list, for TOML and for options.
macro_rules! words {
    ($type:ident, $what:literal, $($word:literal => $variant:ident),+ $(,)?) => {
        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> std::result::Result<$type, String> {
                match text.to_ascii_lowercase().as_str() {
                    $($word => Ok($type::$variant),)+
                    _ => Err(format!(concat!("{:?} is not a ", $what, ": {}"), text, [$($word),+].join(", "))),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $($type::$variant => $word,)+
                })
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<$type, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use words;

words!(Preset, "preset", "imagenet" => Imagenet, "caffe" => Caffe, "raw" => Raw);
words!(Fit, "fit", "crop" => Crop, "letterbox" => Letterbox, "stretch" => Stretch);
words!(Channels, "channel order", "rgb" => Rgb, "bgr" => Bgr, "grey" => Grey);

/// Height and width. In TOML `[height, width]` or one number; as an option `HEIGHTxWIDTH`, `HEIGHT,WIDTH` or one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl Size {
    fn of(sizes: &[usize]) -> Result<Size, String> {
        match *sizes {
            [side] if side > 0 => Ok(Size { height: side, width: side }),
            [height, width] if height > 0 && width > 0 => Ok(Size { height, width }),
            _ => Err(format!("{sizes:?} is not a size: give the height and the width, or one number for both")),
        }
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Size, String> {
        let sizes: Result<Vec<usize>, _> = text.split(['x', ',', '×']).map(|t| t.trim().parse()).collect();
        Size::of(&sizes.map_err(|_| format!("{text:?} is not a size such as 224 or 224x320 (height, width)"))?)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        let sizes = OneOrMany::deserialize(deserializer)?.into_vec();
        Size::of(&sizes).map_err(serde::de::Error::custom)
    }
}

/// One number for all channels, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct PerChannel(
    /// One or several finite numbers.
    pub Vec<f64>,
);

impl PerChannel {
    fn of(values: Vec<f64>) -> Result<PerChannel, String> {
        if values.is_empty() || values.iter().any(|v| !v.is_finite()) {
            return Err(format!("{values:?}: give one finite number, or one for each channel"));
        }
        Ok(PerChannel(values))
    }
}

impl FromStr for PerChannel {
    type Err = String;
    fn from_str(text: &str) -> Result<PerChannel, String> {
        let values: Result<Vec<f64>, _> = text.split(',').map(|t| t.trim().parse()).collect();
        PerChannel::of(values.map_err(|_| format!("{text:?} is not a number, or several with commas between them"))?)
    }
}

impl<'de> Deserialize<'de> for PerChannel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PerChannel, D::Error> {
        let values = OneOrMany::deserialize(deserializer)?.into_vec();
        PerChannel::of(values).map_err(serde::de::Error::custom)
    }
}

/// `x` or `[x, …]`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or a list of numbers")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMany::One(x) => vec![x],
            OneOrMany::Many(v) => v,
        }
    }
}

/// Where labels come from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected the name of a file or a list of names")]
pub enum LabelSource {
    /// A file with one label a line, beside the description.
    File(String),
    /// The labels themselves.
    List(Vec<String>),
}

impl ModelDescription {
    /// A description from TOML; `name` stands in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the line and the key.
    pub fn from_toml(name: &str, text: &str) -> Result<ModelDescription> {
        let description: ModelDescription =
            toml::from_str(text).map_err(|e| Error::malformed(name, e.to_string().trim_end()))?;
        description.check(&|key| format!("{name}: key \"{key}\""))?;
        Ok(description)
    }

    /// The description beside an ONNX file (`M.toml` beside `M.onnx`), or `None` when there is none. Files of labels and
    /// vocabularies are taken from where it lies.
    ///
    /// # Errors
    /// [`Error::Io`] when it is there but cannot be read, otherwise as [`ModelDescription::from_toml`].
    pub fn beside(model: impl AsRef<Path>) -> Result<Option<ModelDescription>> {
        let path = model.as_ref().with_extension("toml");
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let mut description = ModelDescription::from_toml(&path.display().to_string(), &text)?;
        let vocabulary = description.text.as_mut().map(|text| &mut text.vocabulary);
        for source in description.labels.as_mut().into_iter().chain(vocabulary) {
            if let LabelSource::File(file) = source {
                let folder = path.parent().unwrap_or(Path::new(""));
                *file = folder.join(&*file).display().to_string();
            }
        }
        Ok(Some(description))
    }

    /// This description with what `other` says in place of it. A preset in `other` replaces everything that a preset
    /// speaks for.
    pub fn overridden_by(self, other: ModelDescription) -> ModelDescription {
        let base = if other.preset.is_some() {
            ModelDescription { resize: None, fit: None, channels: None, scale: None, mean: None, std: None, ..self }
        } else {
            self
        };
        let mut dims = base.dims;
        dims.extend(other.dims);
        ModelDescription {
            preset: other.preset.or(base.preset),
            size: other.size.or(base.size),
            resize: other.resize.or(base.resize),
            fit: other.fit.or(base.fit),
            channels: other.channels.or(base.channels),
            scale: other.scale.or(base.scale),
            mean: other.mean.or(base.mean),
            std: other.std.or(base.std),
            labels: other.labels.or(base.labels),
            sample_rate: other.sample_rate.or(base.sample_rate),
            text: other.text.or(base.text),
            signal: other.signal.or(base.signal),
            fill: if other.fill.is_empty() { base.fill } else { other.fill },
            dims,
        }
    }

    /// The labels, empty when the description names none.
    ///
    /// # Errors
    /// As [`Labels::read`].
    pub fn read_labels(&self) -> Result<Labels> {
        match &self.labels {
            None => Ok(Labels::default()),
            Some(LabelSource::File(file)) => Labels::read(file),
            Some(LabelSource::List(names)) => Ok(Labels::new(names.clone())),
        }
    }

    /// Refuses values that make no sense; `place` turns a key into where it stands, for messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the key.
    pub fn check(&self, place: &dyn Fn(&str) -> String) -> Result<()> {
        let refuse = |key: &str, what: &str| Err(Error::malformed(place(key), what));
        if self.resize == Some(0) {
            return refuse("resize", "must be at least 1");
        }
        if self.scale.is_some_and(|s| !s.is_finite() || s == 0.0) {
            return refuse("scale", "must be a finite number other than 0");
        }
        if self.std.as_ref().is_some_and(|s| s.0.iter().any(|v| *v <= 0.0)) {
            return refuse("std", "must be above 0");
        }
        if self.sample_rate == Some(0) {
            return refuse("sample_rate", "must be at least 1 hertz");
        }
        if let Some((name, _)) = self.fill.iter().find(|(_, value)| !value.is_finite()) {
            return refuse(&format!("fill.{name}"), "must be a finite number");
        }
        if self.text.is_some() && self.signal.is_some() {
            return refuse("signal", "there is a table \"text\" too; a network's own input is one or the other");
        }
        if matches!(&self.text, Some(TextDescription { vocabulary: LabelSource::List(list), .. }) if list.is_empty()) {
            return refuse("text.vocabulary", "the list is empty");
        }
        if let Some((name, _)) = self.dims.iter().find(|(_, size)| **size == 0) {
            return refuse(&format!("dims.{name}"), "must be at least 1");
        }
        if matches!(&self.labels, Some(LabelSource::List(names)) if names.is_empty()) {
            return refuse("labels", "the list is empty");
        }
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            let (Some(values), Some(channels)) = (values, self.channels) else { continue };
            if values.0.len() != 1 && values.0.len() != channels.count() {
                let what = format!("{} values for {} channels ({channels})", values.0.len(), channels.count());
                return refuse(key, &what);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ModelDescription> {
        ModelDescription::from_toml("m.toml", text)
    }

    #[test]
    fn every_key_is_read() {
        let d = read(
            "preset = 'caffe'\nsize = [10, 20]\nresize = 30\nfit = 'letterbox'\nchannels = 'Grey'\nscale = 2\nmean = 3\n\
             std = [0.5]\nlabels = ['a', 'b']\nsample_rate = 16000\nfill = { h = 0.5 }\n\
             [dims]\nT = 7\n[signal]\nhop = 3\n",
        )
        .unwrap();
        let want = ModelDescription {
            preset: Some(Preset::Caffe),
            size: Some(Size { height: 10, width: 20 }),
            resize: Some(30),
            fit: Some(Fit::Letterbox),
            channels: Some(Channels::Grey),
            scale: Some(2.0),
            mean: Some(PerChannel(vec![3.0])),
            std: Some(PerChannel(vec![0.5])),
            labels: Some(LabelSource::List(vec!["a".to_string(), "b".to_string()])),
            sample_rate: Some(16000),
            text: None,
            signal: Some(SignalDescription { hop: Some(3), ..SignalDescription::default() }),
            fill: BTreeMap::from([("h".to_string(), 0.5)]),
            dims: BTreeMap::from([("T".to_string(), 7)]),
        };
        assert_eq!(d, want);
        assert_eq!(d.read_labels().unwrap().find("B").unwrap(), 1);
    }

    #[test]
    fn mistakes_name_file_and_key() {
        let cases = [
            ("colour = 1", "colour"),
            ("preset = 'imagnet'", "\"imagnet\" is not a preset: imagenet, caffe, raw"),
            ("channels = 'RBG'", "\"RBG\" is not a channel order"),
            ("fit = 3", "fit = 3"),
            ("size = [1, 2, 3]", "size = [1, 2, 3]"),
            ("size = 0", "not a size"),
            ("resize = 0", "key \"resize\""),
            ("scale = 0", "key \"scale\""),
            ("scale = nan", "key \"scale\""),
            ("mean = ['a']", "a number or a list of numbers"),
            ("std = [1, 0, 1]", "key \"std\""),
            ("mean = [inf]", "finite number"),
            ("mean = [1, 2]\nchannels = 'BGR'", "key \"mean\": 2 values for 3 channels (bgr)"),
            ("labels = 3", "the name of a file or a list of names"),
            ("labels = []", "key \"labels\""),
            ("sample_rate = 0", "key \"sample_rate\""),
            ("dims = { T = 0 }", "key \"dims.T\""),
            ("fill = { h = nan }", "key \"fill.h\""),
            ("[signal]\n[text]\nvocabulary = ['a']", "there is a table \"text\" too"),
            ("[text]\nvocabulary = []", "key \"text.vocabulary\""),
            ("[text]\n", "vocabulary"),
            ("size = [1,", "line 1"),
        ];
        for (text, want) in cases {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with("m.toml") && message.contains(want), "{text}: {message:?} lacks {want:?}");
        }
    }

    #[test]
    fn options_override() {
        let file = read("channels = 'BGR'\nmean = 5\nsize = 4\ndims = { a = 1, b = 2 }").unwrap();
        let option = ModelDescription { mean: Some("1,2,3".parse().unwrap()), ..Default::default() };
        let both = file.clone().overridden_by(option);
        assert_eq!((both.channels, both.mean), (Some(Channels::Bgr), Some(PerChannel(vec![1.0, 2.0, 3.0]))));
        let preset = ModelDescription {
            preset: Some(Preset::Imagenet),
            dims: BTreeMap::from([("b".to_string(), 3)]),
            ..Default::default()
        };
        let both = file.overridden_by(preset);
        assert_eq!((both.channels, both.mean, both.size), (None, None, Some(Size { height: 4, width: 4 })));
        assert_eq!(both.dims, BTreeMap::from([("a".to_string(), 1), ("b".to_string(), 3)]));
    }

    #[test]
    fn sizes_as_options() {
        assert_eq!("224".parse(), Ok(Size { height: 224, width: 224 }));
        assert_eq!("224x320".parse(), Ok(Size { height: 224, width: 320 }));
        assert!("0".parse::<Size>().is_err() && "ax3".parse::<Size>().is_err() && "1x2x3".parse::<Size>().is_err());
    }

    #[test]
    fn a_description_lies_beside_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        assert_eq!(ModelDescription::beside(&model).unwrap(), None);
        std::fs::write(folder.path().join("m.toml"), "labels = 'l.txt'").unwrap();
        std::fs::write(folder.path().join("l.txt"), "yes\nno\n").unwrap();
        let labels = ModelDescription::beside(&model).unwrap().unwrap().read_labels().unwrap();
        assert_eq!(labels.get(1), Some("no"));
    }

    #[test]
    fn the_embedded_description_is_valid() {
        let d = ModelDescription::from_toml("squeezenet1_1.toml", crate::assets::SQUEEZENET_DESCRIPTION).unwrap();
        assert_eq!(d.channels, Some(Channels::Bgr));
    }
}
