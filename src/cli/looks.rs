//! How results are looked at: the options, and the pictures they ask for.

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use image::RgbImage;
use relprop::heatmap::{
    ChannelMaps, ColorMap, Look, Map, Range, Shades, Sign, SignalPlot, View, annotated, grid, pick_channels,
};
use relprop::input::Channels;

use super::Usage;
use super::args::percent;
use super::model::Model;

/// Pictures of channels stand in at most this many columns.
const COLUMNS: usize = 4;

#[derive(Args, Debug)]
#[command(next_help_heading = "Results")]
pub struct LookArgs {
    /// Colours of the heatmaps: bwr, seismic, coldnhot, red-blue, purple-orange, coolwarm; of magnitudes alone: hot, viridis,
    /// plasma, cividis, inferno, magma, turbo, grey, grey-reversed
    #[arg(long, default_value_t)]
    pub colormap: ColorMap,
    /// The strongest colours begin at the magnitude that this percentage of all do not exceed; 100 is the largest
    #[arg(long, value_name = "PERCENT", default_value_t = Look::default().percentile, value_parser = percent)]
    pub percentile: f64,
    /// What gets the strongest colours: symmetric, by --percentile; min-max, from the smallest to the largest value; a
    /// number; seed:K, K times the even share of what the output starts with, so that runs compare (seed alone: 16 times)
    #[arg(long, value_name = "symmetric|min-max|seed[:K]|NUMBER", default_value_t)]
    pub range: Range,
    /// Exponent of a value's share of the range; below 1 it lifts what is weak
    #[arg(long, value_name = "G", default_value_t = 1.0, value_parser = positive)]
    pub gamma: f64,
    /// Which signs are shown: both, positive, negative, or absolute, the magnitude
    #[arg(long, default_value_t)]
    pub sign: Sign,
    /// One map, the sum of channels, or one for each: sum, each, or names or numbers with commas between them (R,G,B of photos)
    #[arg(long, value_name = "sum|each|NAME,…", default_value = "sum")]
    pub channel_maps: String,
    /// How dense the strongest colour lies over the photo, 0 to 1
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = part)]
    pub overlay_strength: f64,
    /// Write STEM.contour.png too: the photo with outlines around its most relevant pixels, that many per cent of them
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub contour: Option<f64>,
    /// Write STEM.masked.png too: the photo where it is most relevant, that many per cent of its pixels; the rest is dark
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub mask: Option<f64>,
    /// Blur relevance over that many pixels of the photo before --contour and --mask choose some
    #[arg(long, value_name = "PIXELS", default_value_t = 4.0, value_parser = smooth)]
    pub smooth: f64,
    /// Write class, score and sum of relevance above heatmaps, and a colour bar with numbers below
    #[arg(long)]
    pub annotate: bool,
    /// What is written: png and svg (pictures), npy (relevance); npz (relevance, input, output, target in one file), png16
    /// (grey, 16 bits: the middle is 0, a text in the file tells the scale), tiff (float32)
    #[arg(long = "format", value_name = "F,F", value_enum, value_delimiter = ',', default_value = "png,svg,npy")]
    pub formats: Vec<Format>,
}

/// A kind of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Png,
    Svg,
    Npy,
    Npz,
    Png16,
    Tiff,
}

impl LookArgs {
    pub fn wants(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }
}

/// Makes pictures as the options ask for.
pub struct Looks<'a> {
    pub args: &'a LookArgs,
    pub look: Look,
    pub model: &'a Model,
    /// What channels are called, where they have names.
    names: &'static [&'static str],
}

/// One sample's relevance, made ready to be looked at.
pub struct Scene {
    /// What there is to see; several channels have a view each, and its name.
    pub views: Vec<(String, View)>,
    pub shades: Shades,
    /// What is known of a photo it explains.
    pub photo: Option<RgbImage>,
}

impl<'a> Looks<'a> {
    pub fn new(args: &'a LookArgs, model: &'a Model) -> Result<Looks<'a>> {
        let names: &[&str] = match model.preprocess.as_ref().ok().map(|p| p.channels()) {
            Some(Channels::Rgb) => &["R", "G", "B"],
            Some(Channels::Bgr) => &["B", "G", "R"],
            _ => &[],
        };
        let look = Look {
            colors: args.colormap,
            range: args.range,
            percentile: args.percentile,
            gamma: args.gamma,
            sign: args.sign,
            channels: channels(&args.channel_maps, names)?,
            strength: args.overlay_strength,
        };
        look.check().map_err(|error| Usage(error.to_string()))?;
        Ok(Looks { args, look, model, names })
    }

    /// One sample's relevance of shape `shape`, which explains `input`. `photo` is what the network saw, where it is known.
    /// `None` where the shape has no picture.
    pub fn scene(
        &self,
        relevance: &[f64],
        shape: &[usize],
        input: &[f64],
        photo: Option<RgbImage>,
        seed: f64,
    ) -> relprop::Result<Option<Scene>> {
        let views = self.look.views(relevance, shape, self.channels_last())?;
        if views.is_empty() {
            return Ok(None);
        }
        let shades = self.look.shades(&views.iter().map(|(_, view)| view).collect::<Vec<_>>(), seed)?;
        let name = |channel: Option<usize>| channel.map_or_else(String::new, |c| self.channel(c));
        let views: Vec<(String, View)> = views.into_iter().map(|(channel, view)| (name(channel), view)).collect();
        let is_image = matches!(views.first(), Some((_, View::Image(_))));
        let photo = photo.filter(|_| is_image).or_else(|| self.model.told().filter(|_| is_image)?.invert(input));
        Ok(Some(Scene { views, shades, photo }))
    }

    fn channels_last(&self) -> bool {
        self.model.preprocess.as_ref().is_ok_and(|p| p.channels_last())
    }

    fn channel(&self, channel: usize) -> String {
        self.names.get(channel).map_or_else(|| format!("channel {channel}"), ToString::to_string)
    }

    /// Plots a signal, of whose channels those that are wanted are shown.
    pub fn plot<T>(&self, signal: &Signal, caption: &str, draw: impl FnOnce(&SignalPlot, &Shades) -> T) -> Result<T> {
        let (rows, width) = (signal.relevance.height(), signal.relevance.width());
        let numbers: Vec<usize> = match &self.look.channels {
            ChannelMaps::Only(numbers) => numbers.clone(),
            _ => (0..rows).collect(),
        };
        let pick = |values: &[f64]| pick_channels(values, &[rows, width], false, &numbers).map(|(values, _)| values);
        let (values, relevance) = (pick(&signal.values)?, pick(signal.relevance.values())?);
        let relevance = Map::new(width, numbers.len(), relevance)?;
        let shades = self.look.shades(&[&View::Signal(relevance.clone())], signal.seed)?;
        let plot = SignalPlot::new(&values, &relevance)?;
        let plot = plot.sample_rate(signal.rate).start(signal.start).caption(caption).channels(&numbers);
        Ok(draw(&plot, &shades))
    }

    /// A picture with its title and what its colours mean, where that is wanted.
    pub fn titled(&self, picture: RgbImage, title: &str, shades: Option<&Shades>) -> RgbImage {
        if self.args.annotate { annotated(&picture, title, shades) } else { picture }
    }
}

/// A signal and its relevance.
pub struct Signal {
    pub values: Vec<f64>,
    pub relevance: Map,
    /// What the output starts with.
    pub seed: f64,
    /// Values in a second; 0 where it is not known.
    pub rate: f64,
    /// The number of its first value in the recording.
    pub start: f64,
}

impl Scene {
    /// The heatmap; several channels stand beside each other.
    pub fn heatmap(&self) -> relprop::Result<RgbImage> {
        self.tiles(self.views.iter().map(|(name, view)| (name, self.shades.render(view))))
    }

    /// The heatmap over the photo, where there is one.
    pub fn overlay(&self) -> relprop::Result<Option<RgbImage>> {
        let Some(photo) = &self.photo else { return Ok(None) };
        let over =
            |(name, view): &'_ (String, View)| Some((name.clone(), self.shades.overlay(photo, view.maps().next()?)));
        self.tiles(self.views.iter().filter_map(over)).map(Some)
    }

    fn tiles<S: AsRef<str>>(&self, tiles: impl Iterator<Item = (S, RgbImage)>) -> relprop::Result<RgbImage> {
        let mut tiles: Vec<(S, RgbImage)> = tiles.collect();
        match tiles.pop() {
            Some((_, only)) if tiles.is_empty() => Ok(only),
            last => {
                tiles.extend(last);
                grid(&tiles, tiles.len().min(COLUMNS))
            }
        }
    }

    /// Everything that is shown, as maps.
    pub fn maps(&self) -> Vec<&Map> {
        self.views.iter().flat_map(|(_, view)| view.maps()).collect()
    }

    /// The sum of the channels that are shown.
    pub fn sum(&self) -> relprop::Result<Map> {
        let maps = self.maps();
        let (width, height) = maps.first().map_or((0, 0), |map| (map.width(), map.height()));
        let mut sums = vec![0.0; width * height];
        for map in maps {
            sums.iter_mut().zip(map.values()).for_each(|(sum, value)| *sum += value);
        }
        Map::new(width, height, sums)
    }
}

/// Reads `sum`, `each`, or channels by name or number.
fn channels(text: &str, names: &[&str]) -> Result<ChannelMaps> {
    let number = |name: &str| {
        let name = name.trim();
        let found = names.iter().position(|known| known.eq_ignore_ascii_case(name)).or_else(|| name.parse().ok());
        found.ok_or_else(|| {
            let names = if names.is_empty() { String::new() } else { format!("{} or ", names.join(", ")) };
            anyhow!(Usage(format!(
                "--channel-maps: there is no channel \"{name}\"; give {names}its number, counted from 0"
            )))
        })
    };
    match text {
        "sum" => Ok(ChannelMaps::Sum),
        "each" => Ok(ChannelMaps::Each),
        _ => Ok(ChannelMaps::Only(text.split(',').map(number).collect::<Result<_>>()?)),
    }
}

fn number(text: &str, fits: impl Fn(f64) -> bool, want: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| fits(*v)).ok_or_else(|| format!("give a number {want}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |v| v > 0.0 && v.is_finite(), "above 0")
}

fn part(text: &str) -> Result<f64, String> {
    number(text, |v| (0.0..=1.0).contains(&v), "from 0 to 1")
}

fn smooth(text: &str) -> Result<f64, String> {
    number(text, |v| (0.0..=1000.0).contains(&v), "from 0 to 1000")
}
