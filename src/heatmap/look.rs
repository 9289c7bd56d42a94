//! How relevance is to be looked at: what is shown of it, and which of it gets the strongest colours.

use std::str::FromStr;

use super::shades::Shades;
use super::{ColorMap, Map, TextRelevance, View};
use crate::error::{Error, Result};
use crate::text::nearest;

/// How many even shares of the seed get the strongest colour, unless told otherwise.
const SHARES: f64 = 16.0;

const NONE_NAMED: &str = "no channel is named: give at least one";

/// How relevance is to be looked at. The default is what `relprop explain` writes without options.
///
/// ```
/// use relprop::heatmap::{Look, Range, Sign, View};
///
/// # fn main() -> relprop::Result<()> {
/// let look = Look { range: Range::Fixed(2.0), sign: Sign::Positive, ..Look::default() };
/// let view = View::of(&[2.0, 1.0, 0.0, -2.0], &[1, 2, 2], false)?.expect("a picture");
/// let shades = look.shades(&[&view], 0.0)?;
/// assert_eq!([2.0, 0.0, -2.0].map(|v| shades.color(v)), [[255, 0, 0], [255; 3], [255; 3]]);
/// let picture = shades.render(&view);
/// assert_eq!(picture.dimensions(), (448, 448));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The colours.
    pub colors: ColorMap,
    /// Which relevance gets the strongest colours.
    pub range: Range,
    /// Where a range is taken from the values: how many per cent of them it holds, 0 to 100. What lies beyond gets the
    /// colours of its ends.
    pub percentile: f64,
    /// The exponent γ > 0 that a value's share s of the range is raised to, with its sign: sign(s)·|s|^γ. Below 1 it lifts
    /// what is weak.
    pub gamma: f64,
    /// Which signs are shown.
    pub sign: Sign,
    /// Which channels are shown, and whether as one.
    pub channels: ChannelMaps,
    /// How dense the strongest colour lies over a photo: 0 (not seen) to 1 (nothing of the photo is left).
    pub strength: f64,
}

impl Default for Look {
    fn default() -> Look {
        Look {
            colors: ColorMap::default(),
            range: Range::default(),
            percentile: 99.5,
            gamma: 1.0,
            sign: Sign::default(),
            channels: ChannelMaps::default(),
            strength: 1.0,
        }
    }
}

/// Which relevance gets the strongest colours.
///
/// As text: `symmetric`, `min-max`, `seed`, `seed:K`, or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Range {
    /// From −s to s, where s is the magnitude that [`Look::percentile`] per cent of all do not exceed, whatever their sign:
    /// what is neutral is neutral in every picture.
    #[default]
    Symmetric,
    /// From the smallest to the largest of the values that are shown; a percentile P below 100 leaves out 100 − P per cent
    /// at either end. The neutral colour is in the middle of the range then, not at 0.
    MinMax,
    /// From −s to s for this s: maps of any runs compare.
    Fixed(f64),
    /// From −s to s, where s is this many times the even share, |seed| ÷ number of values: maps compare that started with
    /// different amounts, or have different sizes.
    Seed(f64),
}

/// Which signs of relevance are shown. Channels are summed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sign {
    /// All of it.
    #[default]
    Both,
    /// What speaks for the target; the rest counts as 0.
    Positive,
    /// What speaks against the target; the rest counts as 0.
    Negative,
    /// The magnitude.
    Absolute,
}

/// Which channels are shown. A signal has a row for each in every case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ChannelMaps {
    /// One map, the sum of all channels.
    #[default]
    Sum,
    /// A map for each channel.
    Each,
    /// A map for each of these channels.
    Only(Vec<usize>),
}

impl Look {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Input`] that names the field which is not in its range.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |what: &str, value: f64, want: &str| Err(Error::Input(format!("{what} is {value}, but must be {want}")));
        let positive = |value: f64| value > 0.0 && value.is_finite();
        match self.range {
            Range::Fixed(s) if !positive(s) => return wrong("the range", s, "above 0"),
            Range::Seed(k) if !positive(k) => return wrong("the range's number of even shares", k, "above 0"),
            _ => {}
        }
        if !(0.0..=100.0).contains(&self.percentile) {
            return wrong("the percentile", self.percentile, "from 0 to 100");
        }
        if !positive(self.gamma) {
            return wrong("gamma", self.gamma, "above 0");
        }
        if !(0.0..=1.0).contains(&self.strength) {
            return wrong("the overlay's strength", self.strength, "from 0 to 1");
        }
        Ok(())
    }

    /// The views of one sample of relevance, as [`View::of`], for each picture that is wanted, with the channel that it shows:
    /// `None` for their sum and for signals. Empty when the shape has no picture.
    ///
    /// # Errors
    /// As [`View::of`]; [`Error::Input`] when there is no such channel.
    pub fn views(&self, values: &[f64], shape: &[usize], channels_last: bool) -> Result<Vec<(Option<usize>, View)>> {
        let whole = View::of(values, shape, channels_last)?;
        let Some(whole) = whole else { return Ok(Vec::new()) };
        let count = channel_axis(shape, channels_last).map_or(1, |axis| shape[axis]);
        let wanted: Vec<usize> = match (&self.channels, &whole) {
            (ChannelMaps::Sum, _) | (ChannelMaps::Each, View::Signal(_)) => return Ok(vec![(None, whole)]),
            (ChannelMaps::Each, _) => (0..count).collect(),
            (ChannelMaps::Only(channels), _) if channels.is_empty() => {
                return Err(Error::Input(NONE_NAMED.to_string()));
            }
            (ChannelMaps::Only(channels), _) => channels.clone(),
        };
        let of = |channels: &[usize]| {
            let (values, shape) = pick_channels(values, shape, channels_last, channels)?;
            View::of(&values, &shape, channels_last)
        };
        if let View::Signal(_) = whole {
            return Ok(of(&wanted)?.map(|view| (None, view)).into_iter().collect());
        }
        let mut views = Vec::new();
        for channel in wanted {
            views.extend(of(&[channel])?.map(|view| (Some(channel), view)));
        }
        Ok(views)
    }

    /// The colours of values in these views, which share one range. `seed` is what the pass started with, for
    /// [`Range::Seed`].
    ///
    /// # Errors
    /// As [`Look::check`].
    pub fn shades(&self, views: &[&View], seed: f64) -> Result<Shades> {
        let values: Vec<f64> = views.iter().flat_map(|view| view.maps()).flat_map(Map::values).copied().collect();
        // The even share is that of one picture: each channel of several could have all of the seed.
        let count = values.len() / views.len().max(1);
        self.shades_of(&values, count, self.percentile, seed)
    }

    /// The colours of a text's words. The range holds all of them, whatever the percentile.
    ///
    /// # Errors
    /// As [`Look::check`].
    pub fn text_shades(&self, text: &TextRelevance) -> Result<Shades> {
        let values: Vec<f64> = text.tokens.iter().filter_map(|token| token.relevance).collect();
        self.shades_of(&values, values.len(), 100.0, text.seed)
    }

    fn shades_of(&self, values: &[f64], count: usize, percentile: f64, seed: f64) -> Result<Shades> {
        self.check()?;
        let (low, high) = match self.range {
            Range::Symmetric => symmetric(largest_but(values.iter().map(|v| v.abs()).collect(), percentile)),
            Range::MinMax => {
                let shown: Vec<f64> = values.iter().map(|v| self.sign.of(*v)).collect();
                let lowest = -largest_but(shown.iter().map(|v| -v).collect(), percentile);
                (lowest, largest_but(shown, percentile))
            }
            Range::Fixed(s) => symmetric(s),
            Range::Seed(shares) => symmetric(shares * seed.abs() / count.max(1) as f64),
        };
        Ok(Shades { look: self.clone(), low, high })
    }
}

fn symmetric(s: f64) -> (f64, f64) {
    (-s, s)
}

/// The value that `percent` of all do not exceed; the largest where that is 0. 0 when there are no values.
pub(super) fn largest_but(mut values: Vec<f64>, percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let most = values.last().copied().unwrap_or(0.0);
    let rank = (percent.clamp(0.0, 100.0) / 100.0 * values.len() as f64).ceil() as usize;
    let at = values.get(rank.saturating_sub(1)).copied().unwrap_or(most);
    // Where nearly everything is 0 a percentile would be 0 too; the picture would be flat though there is relevance.
    if at == 0.0 { most } else { at }
}

/// Which axis of a sample holds channels.
fn channel_axis(shape: &[usize], channels_last: bool) -> Option<usize> {
    match shape.len() {
        3 if channels_last => Some(2),
        2..=4 => Some(0),
        _ => None,
    }
}

/// Some channels of a sample of shape `shape`, in the order in which they are named, and the shape then. A sample of one axis
/// is one channel.
///
/// # Errors
/// [`Error::Shape`] when the values are not as many as the shape says; [`Error::Input`] when there is no such channel, or none
/// is named.
pub fn pick_channels(
    values: &[f64],
    shape: &[usize],
    channels_last: bool,
    channels: &[usize],
) -> Result<(Vec<f64>, Vec<usize>)> {
    if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) != Some(values.len()) {
        return Err(Error::shape("heatmap", format!("{} values do not have the shape {shape:?}", values.len())));
    }
    let axis = channel_axis(shape, channels_last);
    let count = axis.map_or(1, |axis| shape[axis]);
    if channels.is_empty() {
        return Err(Error::Input(NONE_NAMED.to_string()));
    }
    if let Some(channel) = channels.iter().find(|channel| **channel >= count) {
        return Err(Error::Input(format!("there is no channel {channel}: they are 0 to {}", count.saturating_sub(1))));
    }
    let Some(axis) = axis else { return Ok((values.to_vec(), shape.to_vec())) };
    let inner: usize = shape[axis + 1..].iter().product();
    let mut picked = Vec::with_capacity(values.len() / count * channels.len());
    for outer in values.chunks(count * inner) {
        for channel in channels {
            picked.extend_from_slice(&outer[channel * inner..(channel + 1) * inner]);
        }
    }
    let mut shape = shape.to_vec();
    shape[axis] = channels.len();
    Ok((picked, shape))
}

impl Sign {
    /// All of them.
    pub const ALL: [Sign; 4] = [Sign::Both, Sign::Positive, Sign::Negative, Sign::Absolute];

    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            Sign::Both => "both",
            Sign::Positive => "positive",
            Sign::Negative => "negative",
            Sign::Absolute => "absolute",
        }
    }

    /// What is shown of a value.
    pub fn of(self, value: f64) -> f64 {
        match self {
            Sign::Both => value,
            Sign::Positive => value.max(0.0),
            Sign::Negative => value.min(0.0),
            Sign::Absolute => value.abs(),
        }
    }
}

impl std::fmt::Display for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sign {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Sign, String> {
        Sign::ALL.into_iter().find(|sign| sign.name() == text).ok_or_else(|| {
            let near = nearest(text, Sign::ALL.iter().map(|s| s.name()), 4).join(", ");
            format!("there is no sign \"{text}\"; it can be: {near}")
        })
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Range::Symmetric => f.write_str("symmetric"),
            Range::MinMax => f.write_str("min-max"),
            Range::Fixed(s) => write!(f, "{s}"),
            Range::Seed(shares) => write!(f, "seed:{shares}"),
        }
    }
}

impl FromStr for Range {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Range, String> {
        let number = |text: &str| text.parse().ok().filter(|v: &f64| *v > 0.0 && v.is_finite());
        let found = match text {
            "symmetric" => Some(Range::Symmetric),
            "min-max" => Some(Range::MinMax),
            "seed" => Some(Range::Seed(SHARES)),
            _ => match text.strip_prefix("seed:") {
                Some(shares) => number(shares).map(Range::Seed),
                None => number(text).map(Range::Fixed),
            },
        };
        found
            .ok_or_else(|| format!("\"{text}\" is no range: give symmetric, min-max, seed, seed:K or a number above 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(values: &[f64]) -> View {
        View::of(values, &[1, 1, values.len()], false).unwrap().unwrap()
    }

    /// Both ends of the range that a look takes from the values.
    fn ends(look: Look, values: &[f64], seed: f64) -> (f64, f64) {
        let shades = look.shades(&[&view(values)], seed).unwrap();
        (shades.low, shades.high)
    }

    #[test]
    fn where_the_strongest_colours_begin() {
        let values = [1.0, -4.0, 2.0, 3.0];
        let look = |range| Look { range, percentile: 100.0, ..Look::default() };
        assert_eq!(ends(look(Range::Symmetric), &values, 8.0), (-4.0, 4.0));
        assert_eq!(ends(look(Range::MinMax), &values, 8.0), (-4.0, 3.0));
        assert_eq!(ends(look(Range::Fixed(0.5)), &values, 8.0), (-0.5, 0.5));
        // Each value's even share of −8 is 2.
        assert_eq!(ends(look(Range::Seed(3.0)), &values, -8.0), (-6.0, 6.0));
        let part = |range| Look { range, percentile: 75.0, ..Look::default() };
        assert_eq!(ends(part(Range::Symmetric), &values, 0.0), (-3.0, 3.0));
        // Three quarters do not exceed 2, three quarters are not below 1.
        assert_eq!(ends(part(Range::MinMax), &values, 0.0), (1.0, 2.0));
        // Signs do not change a symmetric range: halves of one map compare. A range of what is shown does change.
        let sign = |range, sign| Look { range, sign, percentile: 100.0, ..Look::default() };
        assert_eq!(ends(sign(Range::Symmetric, Sign::Positive), &values, 0.0), (-4.0, 4.0));
        assert_eq!(ends(sign(Range::MinMax, Sign::Positive), &values, 0.0), (0.0, 3.0));
        assert_eq!(ends(sign(Range::MinMax, Sign::Absolute), &values, 0.0), (1.0, 4.0));
    }

    #[test]
    fn several_views_share_a_range() {
        let (a, b) = (view(&[1.0, 2.0]), view(&[-5.0, 0.0]));
        let look = Look { percentile: 100.0, ..Look::default() };
        assert_eq!(look.shades(&[&a, &b], 0.0).unwrap().high, 5.0);
        let look = Look { range: Range::Seed(1.0), ..Look::default() };
        assert_eq!(look.shades(&[&a, &b], 8.0).unwrap().high, 4.0);
    }

    #[test]
    fn one_view_for_each_channel_that_is_wanted() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let planes = |channels: ChannelMaps, shape: &[usize], last| {
            let views = Look { channels, ..Look::default() }.views(&values, shape, last).unwrap();
            let of = |(channel, view): (Option<usize>, View)| {
                (channel, view.maps().flat_map(|m| m.values().to_vec()).collect::<Vec<f64>>())
            };
            views.into_iter().map(of).collect::<Vec<_>>()
        };
        let sum = vec![(None, vec![12.0, 15.0, 18.0, 21.0])];
        assert_eq!(planes(ChannelMaps::Sum, &[3, 2, 2], false), sum);
        let each = vec![
            (Some(0), vec![0.0, 1.0, 2.0, 3.0]),
            (Some(1), vec![4.0, 5.0, 6.0, 7.0]),
            (Some(2), vec![8.0, 9.0, 10.0, 11.0]),
        ];
        assert_eq!(planes(ChannelMaps::Each, &[3, 2, 2], false), each);
        assert_eq!(planes(ChannelMaps::Only(vec![2, 0]), &[3, 2, 2], false), [each[2].clone(), each[0].clone()]);
        let last = planes(ChannelMaps::Only(vec![1]), &[2, 2, 3], true);
        assert_eq!(last, [(Some(1), vec![1.0, 4.0, 7.0, 10.0])]);
        let video = planes(ChannelMaps::Only(vec![1]), &[2, 3, 1, 2], false);
        assert_eq!(video, [(Some(1), vec![6.0, 7.0, 8.0, 9.0, 10.0, 11.0])]);
        // A signal has a row for each channel anyway.
        assert_eq!(planes(ChannelMaps::Each, &[3, 4], false), [(None, values.clone())]);
        let rows = planes(ChannelMaps::Only(vec![2, 0]), &[3, 4], false);
        assert_eq!(rows, [(None, vec![8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0])]);
        assert!(planes(ChannelMaps::Each, &[1, 1, 3, 2, 2], false).is_empty());

        let refused = |channels| {
            let look = Look { channels: ChannelMaps::Only(channels), ..Look::default() };
            look.views(&values, &[3, 2, 2], false).unwrap_err().to_string()
        };
        assert!(refused(vec![3]).contains("there is no channel 3: they are 0 to 2"));
        assert!(refused(Vec::new()).contains("no channel is named"));
        assert!(pick_channels(&values, &[5], false, &[0]).is_err());
    }

    #[test]
    fn options_are_read_and_checked() {
        for range in [Range::Symmetric, Range::MinMax, Range::Fixed(0.25), Range::Seed(3.5)] {
            assert_eq!(range.to_string().parse(), Ok(range));
        }
        assert_eq!("seed".parse(), Ok(Range::Seed(16.0)));
        for wrong in ["", "minmax", "0", "-1", "inf", "NaN", "seed:", "seed:0"] {
            assert!(wrong.parse::<Range>().unwrap_err().contains("is no range"), "{wrong}");
        }
        for sign in Sign::ALL {
            assert_eq!(sign.name().parse(), Ok(sign));
        }
        assert!("positiv".parse::<Sign>().unwrap_err().contains("it can be: positive"));
        let refused = |look: Look| look.check().unwrap_err().to_string();
        let look = Look::default;
        assert!(look().check().is_ok());
        assert!(refused(Look { gamma: 0.0, ..look() }).contains("gamma is 0"));
        assert!(refused(Look { gamma: f64::NAN, ..look() }).contains("gamma is NaN"));
        assert!(refused(Look { percentile: 101.0, ..look() }).contains("percentile is 101"));
        assert!(refused(Look { strength: -0.5, ..look() }).contains("strength is -0.5"));
        assert!(refused(Look { range: Range::Fixed(-1.0), ..look() }).contains("range is -1"));
        assert!(refused(Look { range: Range::Seed(f64::INFINITY), ..look() }).contains("shares is inf"));
        assert!(Look { gamma: -1.0, ..look() }.shades(&[], 0.0).is_err(), "a wrong look gives no colours");
    }
}
