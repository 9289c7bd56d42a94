//! What `--target` means.

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

/// Reads `best`, `top:K`, a number, a label, `A~B`, or several with commas between them, for an output of `values` values a
/// sample. A label that holds a comma may stand alone.
pub fn parse(text: &str, labels: &Labels, values: usize) -> Result<Vec<NamedTarget>> {
    let mut targets: Vec<NamedTarget> = Vec::new();
    let whole = labels.find(text).is_ok();
    for part in text.split(',').filter(|_| !whole).chain(whole.then_some(text)) {
        for mut target in one(part.trim(), labels, values)? {
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

fn one(text: &str, labels: &Labels, values: usize) -> Result<Vec<NamedTarget>> {
    let named = |name: &str, target: Target| NamedTarget { name: slug(name), target };
    if text == "best" {
        return Ok(vec![named("best", Target::Best)]);
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
    let class = class(text, labels, values)?;
    // The label as the list has it, or the number.
    let name = if text.parse::<i64>().is_ok() { text } else { labels.get(class).unwrap_or(text) };
    Ok(vec![named(name, Target::Index(class))])
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
        Ok(parse(text, &labels, 6)?.into_iter().map(|t| (t.name, t.target)).collect())
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
