//! What `--target` means.

use std::ops::Range;

use anyhow::Result;
use relprop::Target;
use relprop::input::Labels;

use super::{Usage, slug};

/// A target, and its part in the names of files.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTarget {
    pub name: String,
    pub target: Target,
}

/// Reads `best`, `top:K`, a number, a label, `A~B`, `CLASS@POSITIONS`, or several with commas between them, for an output whose
/// samples have a shape; `outlier` and `inlier` where it is the score of a one-class machine. A label that holds a comma may
/// stand alone.
pub fn parse(text: &str, labels: &Labels, shape: &[usize], one_class: bool) -> Result<Vec<NamedTarget>> {
    let mut targets: Vec<NamedTarget> = Vec::new();
    let whole = labels.find(text).is_ok();
    for part in text.split(',').filter(|_| !whole).chain(whole.then_some(text)) {
        for mut target in one(part.trim(), labels, shape, one_class)? {
            let same = |t: &NamedTarget| t.target == target.target && t.name.trim_end_matches('_') == target.name;
            if targets.contains(&target) || targets.iter().any(same) {
                continue;
            }
            // Other targets' files must not be overwritten, on file systems that ignore case neither.
            while targets.iter().any(|t| t.name.to_lowercase() == target.name.to_lowercase()) {
                target.name.push('_');
            }
            targets.push(target);
        }
    }
    Ok(targets)
}

fn one(text: &str, labels: &Labels, shape: &[usize], one_class: bool) -> Result<Vec<NamedTarget>> {
    let values = shape.iter().product();
    let named = |name: &str, target: Target| NamedTarget { name: slug(name), target };
    if text == "best" {
        return Ok(vec![named("best", Target::Best)]);
    }
    if let Some(target) = outlier(text).filter(|_| labels.find(text).is_err()) {
        if one_class {
            return Ok(vec![named(text, target)]);
        }
        let what = format!("--target {text}: the output is not the score of a one-class support vector machine (RBF)");
        return Err(Usage(what).into());
    }
    if let Some(count) = text.strip_prefix("top:") {
        let count = count.parse().ok().filter(|k| (1..=values).contains(k));
        let count: usize = count.ok_or_else(|| {
            Usage(format!("--target {text}: K must be a whole number from 1 to {values}, the number of values"))
        })?;
        return Ok((0..count).map(|k| named(&format!("top{}", k + 1), Target::Top(k))).collect());
    }
    if let Some((a, b)) = text.split_once('~') {
        let (a, b) = (class(a.trim(), labels, values)?, class(b.trim(), labels, values)?);
        let name = |class: usize| labels.get(class).map_or_else(|| class.to_string(), str::to_string);
        return Ok(vec![named(&format!("{}-vs-{}", name(a), name(b)), Target::Difference(a, b))]);
    }
    if labels.find(text).is_err()
        && let Some((of, positions)) = text.rsplit_once('@')
    {
        let class = class(of.trim(), labels, shape.first().copied().unwrap_or(0))?;
        let name = labels.get(class).map_or_else(|| class.to_string(), str::to_string);
        let target = region(text, positions.trim(), class, shape)?;
        return Ok(vec![named(&format!("{name}-at-{}", positions.trim().replace(':', "to")), target)]);
    }
    let class = class(text, labels, values)?;
    // The label as the list has it, or the number.
    let name = if text.parse::<i64>().is_ok() { text } else { labels.get(class).unwrap_or(text) };
    Ok(vec![named(name, Target::Index(class))])
}

/// The two sides of a one-class machine.
fn outlier(text: &str) -> Option<Target> {
    match text {
        "outlier" => Some(Target::Outlier),
        "inlier" => Some(Target::Inlier),
        _ => None,
    }
}

/// A class over `ROWxCOLUMN`: for each axis after that of classes a position, a range A:B of which either may be left out, or
/// all of it (`:`).
fn region(text: &str, positions: &str, class: usize, shape: &[usize]) -> Result<Target> {
    let sizes = shape.get(1..).unwrap_or_default();
    let number = |text: &str, without: usize| if text.is_empty() { Some(without) } else { text.parse().ok() };
    let range = |(part, size): (&str, &usize)| -> Option<Range<usize>> {
        match part.trim().split_once(':') {
            Some((from, to)) => Some(number(from.trim(), 0)?..number(to.trim(), *size)?),
            None => part.trim().parse().ok().map(|at: usize| at..at.saturating_add(1)),
        }
    };
    let parts: Vec<&str> = positions.split('x').collect();
    let ranges: Option<Vec<Range<usize>>> = parts.iter().copied().zip(sizes).map(range).collect();
    match ranges {
        Some(ranges) if parts.len() == sizes.len() => {
            Ok(Target::region(shape, class, &ranges).map_err(|e| Usage(format!("--target {text}: {e}")))?)
        }
        _ => {
            let what = format!(
                "--target {text}: an output of shape {shape:?} wants {} positions with x between them after @, each a \
                 number, A:B or :",
                sizes.len()
            );
            Err(Usage(what).into())
        }
    }
}

/// A class by its number or label.
fn class(text: &str, labels: &Labels, values: usize) -> Result<usize> {
    let class = match text.parse::<i128>() {
        Ok(number) => usize::try_from(number).ok(),
        Err(_) => Some(labels.find(text).map_err(|e| Usage(format!("--target: {e}")))?),
    };
    let class = class.filter(|c| *c < values);
    Ok(class.ok_or_else(|| {
        Usage(format!(
            "--target {text}: the output has {values} values; give a number from 0 to {}",
            values.saturating_sub(1)
        ))
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Target)>> {
        let labels = Labels::from_text("tabby\ntiger_cat\nnail, drawing pin\nbus\na b\na/b");
        Ok(parse(text, &labels, &[6], false)?.into_iter().map(|t| (t.name, t.target)).collect())
    }

    #[test]
    fn targets_are_read() {
        let cases = [
            ("best", vec![("best", Target::Best)]),
            ("top:2", vec![("top1", Target::Top(0)), ("top2", Target::Top(1))]),
            ("3", vec![("3", Target::Index(3))]),
            ("Tiger cat", vec![("tiger_cat", Target::Index(1))]),
            ("nail, drawing pin", vec![("nail__drawing_pin", Target::Index(2))]),
            ("tabby, 3,tabby", vec![("tabby", Target::Index(0)), ("3", Target::Index(3))]),
            ("a b,a/b,a/b", vec![("a_b", Target::Index(4)), ("a_b_", Target::Index(5))]),
            ("tabby ~ bus", vec![("tabby-vs-bus", Target::Difference(0, 3))]),
        ];
        for (text, want) in cases {
            let want: Vec<(String, Target)> = want.into_iter().map(|(n, t)| (n.to_string(), t)).collect();
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn positions_are_read() {
        let labels = Labels::from_text("road\ncat@home");
        let read =
            |text: &str| parse(text, &labels, &[2, 2, 3], false).map(|t| (t[0].name.clone(), t[0].target.clone()));
        let sum = |name: &str, indices: &[usize]| (name.to_string(), Target::Sum(indices.to_vec()));
        assert_eq!(read("road@1x2").unwrap(), sum("road-at-1x2", &[5]));
        assert_eq!(read("1@:x1:").unwrap(), sum("cat_home-at-tox1to", &[7, 8, 10, 11]));
        assert_eq!(read("cat@home@0x0:2").unwrap(), sum("cat_home-at-0x0to2", &[6, 7]));
        assert_eq!(read("cat@home").unwrap().1, Target::Index(1));
        for (text, want) in [
            ("road@1", "wants 2 positions"),
            ("road@1x2x3", "wants 2 positions"),
            ("road@ax2", "wants 2 positions"),
            ("road@2x0", "no positions 2:3 on axis 1"),
            ("road@18446744073709551615x0", "no positions"),
            ("2@0x0", "from 0 to 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn the_sides_of_a_one_class_machine_are_read() {
        let none = Labels::default();
        let read = |one_class: bool| parse("outlier,inlier", &none, &[1], one_class);
        let targets: Vec<_> = read(true).unwrap().into_iter().map(|t| (t.name, t.target)).collect();
        assert_eq!(targets, [("outlier".to_string(), Target::Outlier), ("inlier".to_string(), Target::Inlier)]);
        let error = read(false).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("not the score of a one-class"), "{error}");
        // A class of that name is meant before them.
        let labels = Labels::from_text("inlier\noutlier");
        assert_eq!(parse("outlier", &labels, &[2], false).unwrap()[0].target, Target::Index(1));
    }

    #[test]
    fn wrong_targets_say_what_there_is() {
        let cases = [
            ("6", "from 0 to 5"),
            ("-1", "from 0 to 5"),
            ("99999999999999999999", "from 0 to 5"),
            ("top:0", "from 1 to 6"),
            ("top:7", "from 1 to 6"),
            ("tabbi", "nearest names are: tabby"),
            ("tabby,", "no class \"\""),
            ("tabby~9", "from 0 to 5"),
        ];
        for (text, want) in cases {
            let error = read(text).unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains(want), "{text}: {error}");
        }
    }
}
