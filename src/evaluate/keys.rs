//! Metrics with parameters of the form `key=value`, as text.

use std::fmt;
use std::str::FromStr;

use super::{Fill, Flipping, FlippingKind, Order, Road};
use crate::error::{Error, Result};
use crate::text::nearest;

/// What stands for a default that depends on the input.
const AUTO: &str = "auto";
/// The largest count.
const MOST: usize = 1_000_000;

/// Counts as they are read, with slashes between them.
pub(super) struct Counts<'a>(pub &'a [usize]);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(AUTO);
        }
        self.0.iter().enumerate().try_for_each(|(i, n)| write!(f, "{}{n}", if i == 0 { "" } else { "/" }))
    }
}

/// The parameters of a metric; `text` is the whole of it, for messages.
pub(super) struct Keys<'a> {
    text: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Keys<'a> {
    /// `key=value,…`, each key one of `known` and given once.
    pub fn parse(text: &'a str, parameters: &'a str, known: &[&str]) -> Result<Keys<'a>> {
        let mut keys = Keys { text, pairs: Vec::new() };
        for part in parameters.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(
                    keys.wrong(&format!("\"{part}\" is not of the form key=value; keys are {}", known.join(", ")))
                );
            };
            let (key, value) = (key.trim(), value.trim());
            if !known.contains(&key) {
                let near = nearest(key, known.iter().copied(), 1).join("");
                let all = known.join(", ");
                return Err(keys.wrong(&format!("there is no \"{key}\" (nearest: {near}); there are {all}")));
            }
            if keys.get(key).is_some() {
                return Err(keys.wrong(&format!("\"{key}\" is given twice")));
            }
            keys.pairs.push((key, value));
        }
        Ok(keys)
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Input(format!("metric \"{}\": {what}", self.text))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    /// A value that is right, or the default.
    pub fn value<T: FromStr>(&self, key: &str, default: T, right: impl Fn(&T) -> bool, what: &str) -> Result<T> {
        let Some(text) = self.get(key) else { return Ok(default) };
        let value = text.parse().ok().filter(right);
        value.ok_or_else(|| self.wrong(&format!("{key}={text} is not {what}")))
    }

    /// A whole number from `least` up.
    pub fn count(&self, key: &str, least: usize, default: usize) -> Result<usize> {
        let what = format!("a whole number from {least} to {MOST}");
        self.value(key, default, |n| (least..=MOST).contains(n), &what)
    }

    /// A whole number from 1 up; `auto` is none, for what is right for the input.
    pub fn count_or_auto(&self, key: &str, default: Option<usize>) -> Result<Option<usize>> {
        match self.get(key) {
            None => Ok(default),
            Some(AUTO) => Ok(None),
            Some(_) => Ok(Some(self.count(key, 1, 1)?)),
        }
    }

    /// Whole numbers from 1 up, with slashes between them; `auto`, the default, is none.
    pub fn counts(&self, key: &str) -> Result<Vec<usize>> {
        let Some(text) = self.get(key).filter(|text| *text != AUTO) else { return Ok(Vec::new()) };
        let count = |part: &str| part.parse().ok().filter(|n| (1..=MOST).contains(n));
        let counts: Option<Vec<usize>> = text.split('/').map(count).collect();
        let what = format!("whole numbers from 1 to {MOST} with / between them, or {AUTO}");
        counts.ok_or_else(|| self.wrong(&format!("{key}={text} is not {what}")))
    }

    /// Any number, or with `positive` one above 0.
    pub fn number(&self, key: &str, positive: bool, default: f64) -> Result<f64> {
        let what = if positive { "a number above 0" } else { "a number" };
        self.value(key, default, |v| v.is_finite() && (*v > 0.0 || !positive), what)
    }

    /// One of some words; the first is the default.
    pub fn word<T: Copy + Default>(&self, key: &str, words: &[(&str, T)]) -> Result<T> {
        let Some(text) = self.get(key) else { return Ok(words.first().map_or(T::default(), |w| w.1)) };
        let names = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let found = words.iter().find(|(word, _)| *word == text).map(|w| w.1);
        found.ok_or_else(|| self.wrong(&format!("{key}={text} is none of {}", names())))
    }

    fn order(&self, default: Order) -> Result<Order> {
        let Some(text) = self.get("order") else { return Ok(default) };
        let found = Order::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, order)| order);
        found.ok_or_else(|| self.wrong(&format!("order={text}: it is morf, lrf or random")))
    }

    fn fill(&self, default: Fill) -> Result<Fill> {
        let Some(text) = self.get("fill") else { return Ok(default) };
        let (name, number) = text.split_once('/').map_or((text, None), |(name, number)| (name, Some(number)));
        let wrong = || {
            let all =
                "zero, mean, blur or blur/SHARE (above 0, up to 1), noise, inpaint or inpaint/DEVIATION (from 0 to 1)";
            self.wrong(&format!("fill={text}: it is {all}"))
        };
        let number = number.map(|text| text.parse::<f64>().ok().filter(|v| (0.0..=1.0).contains(v)).ok_or_else(wrong));
        match (name, number.transpose()?) {
            ("zero", None) => Ok(Fill::Zero),
            ("mean", None) => Ok(Fill::Mean),
            ("noise", None) => Ok(Fill::Noise),
            ("blur", None) => Ok(Fill::BLUR),
            ("blur", Some(share)) if share > 0.0 => Ok(Fill::Blur(share)),
            ("inpaint", None) => Ok(Fill::INPAINT),
            ("inpaint", Some(deviation)) => Ok(Fill::Inpaint(deviation)),
            _ => Err(wrong()),
        }
    }
}

impl Flipping {
    /// A metric of that name, with parameters.
    pub(super) fn parse(kind: FlippingKind, text: &str, parameters: &str) -> Result<Flipping> {
        let keys = Keys::parse(text, parameters, &["size", "order", "steps", "upto", "fill", "normalised"])?;
        let usual = kind.usual();
        Ok(Flipping {
            kind,
            size: keys.count_or_auto("size", usual.size)?,
            order: keys.order(usual.order)?,
            steps: keys.count("steps", 1, usual.steps)?,
            upto: keys.value("upto", usual.upto, |share| *share > 0.0 && *share <= 1.0, "a share above 0, up to 1")?,
            fill: keys.fill(usual.fill)?,
            normalised: keys.value("normalised", usual.normalised, |_| true, "true or false")?,
        })
    }
}

impl Road {
    /// `road` or `road-combined`, with parameters.
    pub(super) fn parse(name: &str, text: &str, parameters: &str) -> Result<Road> {
        let (combined, usual) = (name == "road-combined", Road::default());
        let known: &[&str] = if combined { &["noise"] } else { &["order", "noise"] };
        let keys = Keys::parse(text, parameters, known)?;
        let order = if combined { None } else { Some(keys.order(Order::Morf)?) };
        let noise = keys.value("noise", usual.noise, |noise| (0.0..=1.0).contains(noise), "a number from 0 to 1")?;
        Ok(Road { order, noise })
    }
}

impl fmt::Display for Flipping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flipping { kind, size, order, steps, upto, fill, normalised } = self;
        write!(
            f,
            "{}:size={},order={},steps={steps},upto={upto},fill={fill},",
            kind.name(),
            Counts(size.as_slice()),
            order.name()
        )?;
        write!(f, "normalised={normalised}")
    }
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.order {
            Some(order) => write!(f, "road:order={},noise={}", order.name(), self.noise),
            None => write!(f, "road-combined:noise={}", self.noise),
        }
    }
}
