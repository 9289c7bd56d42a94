//! Signals to tensors: WAV files, columns of numbers, windows.

use std::io::Cursor;
use std::path::Path;

use serde::Deserialize;

use super::description::words;
use super::npy;
use crate::error::{Error, Result};
use crate::heatmap::Map;
use crate::network::{Dim, shape};
use crate::tensor::Tensor;

/// How a network wants signals: the table `[signal]` of a [`ModelDescription`](super::ModelDescription).
///
/// ```
/// use relprop::input::ModelDescription;
///
/// # fn main() -> relprop::Result<()> {
/// let text = r#"
///     sample_rate = 16000        # in hertz; a WAV file of another rate is refused
///     [signal]
///     hop = 512                  # from one window to the next; by default the window's length
///     context = 64               # values of a window that are those before its place, 0 before the signal's begin
///     windows = "axis"           # each window is a sample ("samples"), or the first axis of one sample counts them
///     normalise = "window"       # to a mean of 0 and a variance of 1: each "window", the whole "signal", or "none"
/// "#;
/// assert!(ModelDescription::from_toml("model.toml", text)?.signal.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalDescription {
    /// The input that takes the signal; may be left out when there is one alone.
    pub input: Option<String>,
    /// Values from the begin of one window to that of the next.
    pub hop: Option<usize>,
    /// Values at the begin of each window that lie before its place.
    #[serde(default)]
    pub context: usize,
    /// What windows are.
    #[serde(default)]
    pub windows: Windows,
    /// What is brought to a mean of 0 and a variance of 1, channel by channel.
    #[serde(default)]
    pub normalise: Normalise,
}

/// What the windows of a signal are to a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Windows {
    /// Each is a sample.
    #[default]
    Samples,
    /// The first axis of one sample counts them.
    Axis,
}

/// What is brought to a mean of 0 and a variance of 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalise {
    /// Nothing.
    #[default]
    None,
    /// The whole signal.
    Signal,
    /// Each window alone.
    Window,
}

words!(Windows, "use of windows", "samples" => Samples, "axis" => Axis);
words!(Normalise, "normalisation", "none" => None, "signal" => Signal, "window" => Window);

/// A signal of one or several channels, all equally long.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    channels: Vec<Vec<f64>>,
    sample_rate: Option<u32>,
}

impl Signal {
    /// A signal of these channels; `name` stands in messages.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no value, when channels differ in length, or when a value is not finite.
    pub fn new(name: &str, channels: Vec<Vec<f64>>, sample_rate: Option<u32>) -> Result<Signal> {
        let length = channels.first().map_or(0, Vec::len);
        if length == 0 {
            return Err(Error::Input(format!("{name}: there are no values in it")));
        }
        for (channel, values) in channels.iter().enumerate() {
            if values.len() != length {
                let have = values.len();
                return Err(Error::Input(format!(
                    "{name}: channel {channel} has {have} values, channel 0 has {length}"
                )));
            }
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                let value = values[at];
                return Err(Error::Input(format!(
                    "{name}: value {at} of channel {channel} is {value}; values must be finite"
                )));
            }
        }
        Ok(Signal { channels, sample_rate })
    }

    /// Reads a WAV file (`.wav`; integers of 8 to 32 bits become −1..1, floats stay), an array (`.npy`; values, or channels
    /// × values), or a text of numbers: a row for each moment, a column for each channel, with spaces, commas or semicolons
    /// between them; empty lines and those that begin with `#` do not count, nor does a first line without a number.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Malformed`] when it is broken, otherwise as [`Signal::new`].
    pub fn read(path: impl AsRef<Path>) -> Result<Signal> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let is = |extension: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension));
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        if is("wav") {
            Signal::from_wav(&name, &bytes)
        } else if is("npy") {
            let array = npy::parse(&name, &bytes)?;
            let values = array.to_vec::<f64>();
            match *array.shape() {
                [_] => Signal::new(&name, vec![values], None),
                [_, n] if n > 0 => Signal::new(&name, values.chunks(n).map(<[f64]>::to_vec).collect(), None),
                ref other => {
                    let what = format!("shape {other:?} is not that of a signal: values, or channels × values");
                    Err(Error::malformed(name, what))
                }
            }
        } else {
            let text = std::str::from_utf8(&bytes).map_err(|_| Error::malformed(&name, "this is not text"))?;
            Signal::from_columns(&name, text)
        }
    }

    /// A signal from the bytes of a WAV file; `name` stands in messages. See [`Signal::read`].
    ///
    /// # Errors
    /// As [`Signal::read`].
    pub fn from_wav(name: &str, bytes: &[u8]) -> Result<Signal> {
        let broken = |e: hound::Error| Error::malformed(name, format!("cannot be read as a WAV file: {e}"));
        let mut reader = hound::WavReader::new(Cursor::new(bytes)).map_err(broken)?;
        let spec = reader.spec();
        let full = f64::powi(2.0, i32::from(spec.bits_per_sample.clamp(1, 32)) - 1);
        let values: Result<Vec<f64>> = match spec.sample_format {
            hound::SampleFormat::Int => {
                reader.samples::<i32>().map(|v| Ok(f64::from(v.map_err(broken)?) / full)).collect()
            }
            hound::SampleFormat::Float => reader.samples::<f32>().map(|v| Ok(f64::from(v.map_err(broken)?))).collect(),
        };
        let values = values?;
        let count = usize::from(spec.channels).max(1);
        let channels = (0..count).map(|c| values.iter().skip(c).step_by(count).copied().collect()).collect();
        Signal::new(name, channels, Some(spec.sample_rate))
    }

    /// A signal from a text of numbers; `name` stands in messages. See [`Signal::read`].
    ///
    /// # Errors
    /// [`Error::Malformed`] with the line that is wrong, otherwise as [`Signal::new`].
    pub fn from_columns(name: &str, text: &str) -> Result<Signal> {
        let mut channels: Vec<Vec<f64>> = Vec::new();
        let mut header = true;
        for (i, line) in text.lines().enumerate() {
            let fields = || line.split([' ', '\t', ',', ';']).map(str::trim).filter(|f| !f.is_empty());
            if line.trim_start().starts_with('#') || fields().next().is_none() {
                continue;
            }
            let numbers: Vec<Option<f64>> = fields().map(|f| f.parse().ok()).collect();
            if std::mem::take(&mut header) && numbers.iter().all(Option::is_none) {
                continue;
            }
            if channels.is_empty() {
                channels = vec![Vec::new(); numbers.len()];
            }
            if numbers.len() != channels.len() {
                let what = format!("{} columns, but {} above", numbers.len(), channels.len());
                return Err(Error::malformed(format!("{name}, line {}", i + 1), what));
            }
            for ((channel, number), field) in channels.iter_mut().zip(numbers).zip(fields()) {
                let number = number.ok_or_else(|| {
                    Error::malformed(format!("{name}, line {}", i + 1), format!("{field:?} is not a number"))
                })?;
                channel.push(number);
            }
        }
        Signal::new(name, channels, None)
    }

    /// The values of each channel.
    pub fn channels(&self) -> &[Vec<f64>] {
        &self.channels
    }

    /// Number of values in each channel, at least 1.
    pub fn length(&self) -> usize {
        self.channels[0].len()
    }

    /// Values in a second, in hertz, where the file tells.
    pub fn sample_rate(&self) -> Option<u32> {
        self.sample_rate
    }
}

/// How signals become one input of a network, and the input's relevance becomes that of a signal's values.
#[derive(Clone, Debug)]
pub struct SignalInput {
    description: SignalDescription,
    sample_rate: Option<u32>,
    channels: usize,
    /// Values in a window.
    window: usize,
    hop: usize,
    /// Windows in a sample.
    windows: usize,
    /// A sample's shape with a batch axis of 1.
    shape: Vec<usize>,
}

/// A signal made ready for a network.
#[derive(Clone, Debug)]
pub struct EncodedSignal {
    /// The samples, of the input's shape.
    pub tensor: Tensor,
    /// Number of samples.
    pub samples: usize,
    /// Values in a second, in hertz, where the file or the description tells.
    pub sample_rate: Option<u32>,
    signal: Signal,
}

/// The part of a signal that a sample holds, with its relevance.
#[derive(Clone, Debug)]
pub struct SignalPart {
    /// The number of its first value in the signal.
    pub start: usize,
    /// The values as the file has them, channel after channel.
    pub values: Vec<f64>,
    /// Their relevance, a row for each channel.
    pub relevance: Map,
}

impl SignalInput {
    /// How signals become the input called `name` of shape `shape`: `N×L`, `N×C×L`, or with windows along an axis `F×L`.
    /// `sample_rate` is that of the network in hertz, if known.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the description does not fit the input.
    pub fn new(
        description: &SignalDescription,
        sample_rate: Option<u32>,
        name: &str,
        shape: &[Dim],
    ) -> Result<SignalInput> {
        let misfit =
            |key: &str, what: String| Error::malformed(format!("input \"{name}\", key \"signal.{key}\""), what);
        let sizes: Vec<Option<usize>> =
            shape.iter().map(|d| if *d == Dim::Batch(1) { None } else { d.fixed() }).collect();
        let (windows, channels, window) = match (description.windows, &sizes[..]) {
            (Windows::Samples, [None | Some(1), Some(window)]) => (1, 1, *window),
            (Windows::Samples, [None | Some(1), Some(channels), Some(window)]) => (1, *channels, *window),
            (Windows::Axis, [Some(windows), Some(window)]) => (*windows, 1, *window),
            (kind, _) => {
                let wanted = match kind {
                    Windows::Samples => "N×L or N×C×L",
                    Windows::Axis => "F×L",
                };
                let help = "an axis that the file leaves open gets its size by dims = { F = 100 }";
                let shown = shape::display(shape);
                return Err(misfit("windows", format!("{kind} wants the shape {wanted}, this is {shown}; {help}")));
            }
        };
        if window == 0 || channels == 0 || windows == 0 {
            return Err(misfit("windows", "the input has no values".to_string()));
        }
        let context = description.context;
        if context >= window {
            return Err(misfit("context", format!("{context} is not less than the window's {window} values")));
        }
        let hop = description.hop.unwrap_or(window - context);
        if hop == 0 || hop > window - context {
            let what = format!("{hop} must be from 1 to {}, the window's values without context", window - context);
            return Err(misfit("hop", what));
        }
        let shape = sizes.iter().map(|size| size.unwrap_or(1)).collect();
        Ok(SignalInput { description: description.clone(), sample_rate, channels, window, hop, windows, shape })
    }

    /// Values of the signal from the begin of one sample to that of the next.
    fn step(&self) -> usize {
        self.hop * self.windows
    }

    /// A signal as the network wants it: as many samples as it takes, the last filled up with 0 after normalisation.
    ///
    /// # Errors
    /// [`Error::Input`] when it has another number of channels or another sample rate than the network wants.
    pub fn apply(&self, name: &str, signal: Signal) -> Result<EncodedSignal> {
        if signal.channels.len() != self.channels {
            let (have, want) = (signal.channels.len(), self.channels);
            return Err(Error::Input(format!("{name}: {have} channels, but the network takes {want}")));
        }
        if let (Some(have), Some(want)) = (signal.sample_rate, self.sample_rate)
            && have != want
        {
            let help = "resample it, with ffmpeg -ar or sox -r for instance";
            return Err(Error::Input(format!("{name}: {have} Hz, but the network wants {want} Hz; {help}")));
        }
        let prepared: Vec<Vec<f64>> = match self.description.normalise {
            Normalise::Signal => signal.channels.iter().map(|values| normalised(values)).collect(),
            Normalise::None | Normalise::Window => signal.channels.clone(),
        };
        let samples = signal.length().div_ceil(self.step()).max(1);
        // The last sample need not be there when the one before reaches to the end.
        let reach = self.window - self.description.context + (self.windows - 1) * self.hop;
        let samples =
            if signal.length() <= reach { 1 } else { samples.min((signal.length() - reach).div_ceil(self.step()) + 1) };
        let mut values = Vec::new();
        for sample in 0..samples {
            for window in 0..self.windows {
                for channel in &prepared {
                    let part = self.part(channel, sample * self.step() + window * self.hop);
                    let part = if self.description.normalise == Normalise::Window { self.within(part) } else { part };
                    values.extend(part.into_iter().map(|v| v.unwrap_or(0.0) as f32));
                }
            }
        }
        let mut shape = self.shape.clone();
        shape[0] *= samples;
        let sample_rate = signal.sample_rate.or(self.sample_rate);
        Ok(EncodedSignal { tensor: Tensor::from_f32(shape, values)?, samples, sample_rate, signal })
    }

    /// The values of one window, `None` outside of the signal. `start` is where its values without context begin.
    fn part(&self, channel: &[f64], start: usize) -> Vec<Option<f64>> {
        let at = |i: usize| (start + i).checked_sub(self.description.context).and_then(|i| channel.get(i).copied());
        (0..self.window).map(at).collect()
    }

    /// A window with a mean of 0 and a variance of 1 of those of its values that there are.
    fn within(&self, part: Vec<Option<f64>>) -> Vec<Option<f64>> {
        let there: Vec<f64> = part.iter().flatten().copied().collect();
        let mut values = normalised(&there).into_iter();
        part.into_iter().map(|v| v.and_then(|_| values.next())).collect()
    }

    /// What sample `sample` of a signal holds, with its relevance: that of the sample's values in the input. Where windows
    /// overlap, relevance is summed; that of the filling is left out.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are more or fewer values than a sample has, or no such sample.
    pub fn relevance(&self, signal: &EncodedSignal, sample: usize, relevance: &[f64]) -> Result<SignalPart> {
        if relevance.len() != self.windows * self.channels * self.window || sample >= signal.samples {
            let what = format!("{} values of relevance for sample {sample} of {}", relevance.len(), signal.samples);
            return Err(Error::shape("signal", what));
        }
        let (context, length) = (self.description.context, signal.signal.length());
        let begin = sample * self.step();
        let start = begin.saturating_sub(context).min(length - 1);
        let end = (begin + (self.windows - 1) * self.hop + self.window - context).clamp(start + 1, length);
        let width = end - start;
        let mut sums = vec![0.0; self.channels * width];
        for (row, values) in relevance.chunks(self.window).enumerate() {
            let (window, channel) = (row / self.channels, row % self.channels);
            for (i, value) in values.iter().enumerate() {
                let at = (begin + window * self.hop + i).checked_sub(context);
                if let Some(at) = at.filter(|at| (start..end).contains(at)) {
                    sums[channel * width + at - start] += value;
                }
            }
        }
        let values = signal.signal.channels.iter().flat_map(|c| c[start..end].iter().copied()).collect();
        Ok(SignalPart { start, values, relevance: Map::new(width, self.channels, sums)? })
    }
}

/// Values with a mean of 0 and a variance of 1; constant ones become 0.
fn normalised(values: &[f64]) -> Vec<f64> {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    // Rounding leaves a trace of variance in constants.
    if variance.sqrt() <= 1e-12 * mean.abs() {
        return vec![0.0; values.len()];
    }
    values.iter().map(|v| (v - mean) / variance.sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const N: Dim = Dim::Batch(1);

    fn wav(bits: u16, format: hound::SampleFormat, channels: u16, values: &[i32]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let spec = hound::WavSpec { channels, sample_rate: 8000, bits_per_sample: bits, sample_format: format };
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for value in values {
            match format {
                hound::SampleFormat::Int => writer.write_sample(*value).unwrap(),
                hound::SampleFormat::Float => writer.write_sample(*value as f32 / 4.0).unwrap(),
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn input(keys: &str, shape: &[Dim]) -> Result<SignalInput> {
        SignalInput::new(&toml::from_str(keys).unwrap(), Some(8000), "x", shape)
    }

    fn line(length: usize) -> Signal {
        Signal::new("s", vec![(1..=length).map(|i| i as f64).collect()], None).unwrap()
    }

    #[test]
    fn wav_files_of_every_width() {
        use hound::SampleFormat::{Float, Int};
        for (bits, format, full) in [(8, Int, 128.0), (16, Int, 32768.0), (24, Int, 8388608.0), (32, Float, 4.0)] {
            let signal = Signal::from_wav("a.wav", &wav(bits, format, 2, &[1, -2, 3, 100])).unwrap();
            let want = [vec![1.0 / full, 3.0 / full], vec![-2.0 / full, 100.0 / full]];
            assert_eq!((signal.channels(), signal.sample_rate()), (&want[..], Some(8000)), "{bits}");
        }
        let refused = |bytes: &[u8]| Signal::from_wav("a.wav", bytes).unwrap_err().to_string();
        assert!(refused(&wav(16, Int, 1, &[])).contains("a.wav: there are no values in it"));
        assert!(refused(b"RIFF").contains("a.wav: cannot be read as a WAV file"));
        let whole = wav(16, Int, 1, &[1; 100]);
        for end in [12, 30, 44, 45, 100, 243] {
            refused(&whole[..end]);
        }
    }

    #[test]
    fn columns_of_numbers() {
        let signal = Signal::from_columns("a.csv", "# EEG\nleft; right\n1; 2\n\n 3,4\n5\t-6e1\n").unwrap();
        assert_eq!(signal.channels(), [vec![1.0, 3.0, 5.0], vec![2.0, 4.0, -60.0]]);
        let cases = [
            ("", "there are no values"),
            ("1 2\n3", "a.csv, line 2: 1 columns, but 2 above"),
            ("1 2\nx y", "a.csv, line 2: \"x\" is not a number"),
            ("1 y", "a.csv, line 1: \"y\" is not a number"),
            ("1\ninf", "value 1 of channel 0 is inf"),
        ];
        for (text, want) in cases {
            let message = Signal::from_columns("a.csv", text).unwrap_err().to_string();
            assert!(message.contains(want), "{text:?}: {message:?} lacks {want:?}");
        }
    }

    proptest! {
        /// Broken files are errors, never panics.
        #[test]
        fn any_bytes_are_read_or_refused(
            changes in prop::collection::vec((0usize..144, any::<u8>()), 0..6),
            end in 0usize..144,
            channels in 1u16..4,
            text in "[-0-9.,; e\n#a]{0,40}",
        ) {
            let mut bytes = wav(16, hound::SampleFormat::Int, channels, &[5; 48]);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            for bytes in [&bytes[..], &bytes[..end.min(bytes.len())], text.as_bytes()] {
                if let Ok(signal) = Signal::from_wav("a.wav", bytes) {
                    prop_assert!(signal.length() * signal.channels().len() <= 144);
                }
            }
            if let Ok(signal) = Signal::from_columns("a.csv", &text) {
                prop_assert!(signal.length() >= 1 && signal.channels().iter().flatten().all(|v| v.is_finite()));
            }
        }
    }

    #[test]
    fn each_window_is_a_sample() {
        let input = input("", &[N, Dim::Fixed(1), Dim::Fixed(4)]).unwrap();
        let encoded = input.apply("s", line(6)).unwrap();
        assert_eq!((encoded.tensor.shape(), encoded.samples, encoded.sample_rate), (&[2, 1, 4][..], 2, Some(8000)));
        assert_eq!(encoded.tensor.to_vec::<f64>(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
        let part = input.relevance(&encoded, 1, &[0.5, 0.25, 9.0, 9.0]).unwrap();
        assert_eq!((part.start, &part.values[..], part.relevance.values()), (4, &[5.0, 6.0][..], &[0.5, 0.25][..]));
        assert!(input.relevance(&encoded, 2, &[0.0; 4]).is_err() && input.relevance(&encoded, 0, &[0.0]).is_err());
    }

    #[test]
    fn overlapping_windows_with_context_along_an_axis() {
        let input = input("windows = 'axis'\nhop = 2\ncontext = 1", &[Dim::Fixed(3), Dim::Fixed(3)]).unwrap();
        let encoded = input.apply("s", line(5)).unwrap();
        assert_eq!(encoded.tensor.shape(), [3, 3]);
        assert_eq!(encoded.tensor.to_vec::<f64>(), [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 0.0]);
        let part = input.relevance(&encoded, 0, &[9.0, 1.0, 2.0, 0.5, 3.0, 4.0, 0.25, 5.0, 9.0]).unwrap();
        assert_eq!(part.relevance.values(), [1.0, 2.5, 3.0, 4.25, 5.0]);
        // A second sample begins where the first's windows end.
        let encoded = input.apply("s", line(7)).unwrap();
        assert_eq!((encoded.samples, encoded.tensor.shape()), (2, &[6, 3][..]));
        let part = input.relevance(&encoded, 1, &[1.0; 9]).unwrap();
        assert_eq!((part.start, part.relevance.values()), (5, &[1.0, 1.0][..]));
    }

    #[test]
    fn mean_and_variance() {
        let encode =
            |keys: &str| input(keys, &[N, Dim::Fixed(2)]).unwrap().apply("s", line(4)).unwrap().tensor.to_vec::<f64>();
        assert_eq!(encode("normalise = 'window'"), [-1.0, 1.0, -1.0, 1.0]);
        let whole = encode("normalise = 'signal'");
        // Variance 1.25; values are stored as float32.
        assert!((whole[0] + 1.5 / 1.25f64.sqrt()).abs() < 1e-6 && (whole[3] + whole[0]).abs() < 1e-6, "{whole:?}");
        assert_eq!((normalised(&[0.1; 3]), normalised(&[0.0; 2])), (vec![0.0; 3], vec![0.0; 2]));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let refused = |keys: &str, shape: &[Dim]| input(keys, shape).unwrap_err().to_string();
        assert!(refused("hop = 5", &[N, Dim::Fixed(4)]).contains("key \"signal.hop\": 5 must be from 1 to 4"));
        assert!(refused("context = 4", &[N, Dim::Fixed(4)]).contains("key \"signal.context\""));
        assert!(refused("windows = 'axis'", &[N, Dim::Fixed(4)]).contains("axis wants the shape F×L"));
        assert!(refused("", &[N]).contains("samples wants the shape N×L or N×C×L"));
        let input = input("", &[N, Dim::Fixed(4)]).unwrap();
        let refused = |signal: Signal| input.apply("s.wav", signal).unwrap_err().to_string();
        let fast = Signal::new("s", vec![vec![1.0]], Some(44100)).unwrap();
        assert!(refused(fast).contains("s.wav: 44100 Hz, but the network wants 8000 Hz; resample it"));
        assert!(
            refused(Signal::new("s", vec![vec![1.0]; 2], None).unwrap())
                .contains("2 channels, but the network takes 1")
        );
        assert!(Signal::new("s", vec![vec![1.0], vec![]], None).unwrap_err().to_string().contains("channel 1 has 0"));
    }
}
