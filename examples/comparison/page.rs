//! The page that says what came of the studies.

use std::fmt::Write;

use anyhow::{Context, Result};
use relprop::evaluate::Better;
use relprop::evaluate::statistics::{Bootstrap, Summary, holm, paired_test};
use relprop::heatmap::{CurveChart, RankChart};

use super::{Done, Row, mean};
use crate::common::{Options, data};

/// Sign flips of a paired test.
const FLIPS: usize = 10_000;
/// Curves that one chart can show.
const MOST_CURVES: usize = 7;
/// Whose curves are shown, as far as there is room: what people compare first.
const SHOWN: [&str; MOST_CURVES] = [
    "epsilon-plus",
    "epsilon-gamma-box",
    "gradient-times-input",
    "integrated-gradients",
    "grad-cam",
    "occlusion",
    "random",
];

/// Writes `comparison.md` and its pictures.
pub fn write(studies: &[Done], options: &Options) -> Result<()> {
    let pictures = options.path("comparison");
    std::fs::create_dir_all(&pictures).with_context(|| pictures.display().to_string())?;
    let head = data("comparison/head.md");
    let mut page = std::fs::read_to_string(&head).with_context(|| head.display().to_string())?;
    for done in studies {
        section(done, options, &mut page)?;
    }
    let path = options.path("comparison.md");
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    println!("page: {}", path.display());
    Ok(())
}

fn section(done: &Done, options: &Options, page: &mut String) -> Result<()> {
    let (study, rows) = (&done.study, &done.rows);
    let samples = study.input.shape()[0];
    let first = &study.metrics[0];
    writeln!(page, "\n## {}: {samples} decisions\n", study.name)?;
    writeln!(page, "Ranked by `{first}`; run on {}.\n", done.device)?;

    let mut ranks = RankChart::new(format!("{}: how fast the score falls", study.name), "AOPC, higher is better");
    for row in rows {
        let aopc = mean(&row.values[0][0]);
        ranks.add(&row.method, aopc.mean, aopc.interval)?;
    }
    options.save(&format!("comparison/{}-ranks.png", study.stem), &ranks.png())?;
    let mut curves = CurveChart::new(
        format!("{}: the most relevant first", study.name),
        "share of the steps",
        "probability of the class, as a part of what it was",
    );
    for row in SHOWN.iter().filter_map(|name| rows.iter().find(|row| is_named(row, name))) {
        let band = Bootstrap::default().band(&row.curves)?;
        let last = (band.mean.len() - 1).max(1) as f64;
        let places: Vec<f64> = (0..band.mean.len()).map(|k| k as f64 / last).collect();
        let intervals: Vec<[f64; 2]> = band.low.iter().zip(&band.high).map(|(low, high)| [*low, *high]).collect();
        curves.add(&row.method, &places, &band.mean, &intervals)?;
    }
    options.save(&format!("comparison/{}-curves.png", study.stem), &curves.png())?;
    writeln!(page, "![AOPC by method](comparison/{}-ranks.png)\n", study.stem)?;
    writeln!(page, "![curves of some methods](comparison/{}-curves.png)\n", study.stem)?;

    table(done, page)?;
    for (method, why) in &done.failed {
        writeln!(page, "\n`{method}` could not be used: {why}.")?;
    }
    Ok(())
}

/// Whether a row is of the method of that name, whatever its parameters.
fn is_named(row: &Row, name: &str) -> bool {
    row.method.split([':', '(', ',', ' ']).next() == Some(name)
}

fn table(done: &Done, page: &mut String) -> Result<()> {
    let (study, rows) = (&done.study, &done.rows);
    let Some(best) = rows.first() else { return Ok(()) };
    let mut tests = Vec::new();
    for row in rows.iter().skip(1) {
        tests.push(paired_test(&best.values[0][0], &row.values[0][0], FLIPS, 0)?.p);
    }
    let p = holm(&tests);
    let names = study.metrics.iter().skip(1).flat_map(|metric| {
        let order = if metric.to_string().contains("order=lrf") { ", least first" } else { "" };
        let arrow = |better| match better {
            Better::Higher => " ↑",
            Better::Lower => " ↓",
            Better::Neither => "",
        };
        metric.values().into_iter().take(1).map(move |(name, better)| format!("{name}{order}{}", arrow(better)))
    });
    let names: Vec<String> = names.collect();
    write!(page, "| | method | AOPC ↑ | 95 % | p against the best |")?;
    names.iter().try_for_each(|name| write!(page, " {name} |"))?;
    writeln!(page, " Σ R / f | seconds |")?;
    writeln!(page, "|--:|---|--:|---|--:|{}--:|--:|", "--:|".repeat(names.len()))?;
    for (i, row) in rows.iter().enumerate() {
        let aopc = mean(&row.values[0][0]);
        let p = i.checked_sub(1).map_or_else(String::new, |i| probability(p[i]));
        let [low, high] = aopc.interval;
        write!(page, "| {} | `{}` | {:.3} | {low:.3} – {high:.3} | {p} |", i + 1, row.method, aopc.mean)?;
        for values in row.values.iter().skip(1) {
            write!(page, " {} |", told(mean(&values[0])))?;
        }
        let conserved = row.conserved.as_ref().map_or_else(|| "–".to_string(), |shares| told(mean(shares)));
        writeln!(page, " {conserved} | {} |", seconds(row.seconds))?;
    }
    Ok(())
}

fn told(summary: Summary) -> String {
    if summary.mean.is_nan() { "–".to_string() } else { format!("{:.3}", summary.mean) }
}

fn probability(p: f64) -> String {
    match p {
        p if p.is_nan() => "–".to_string(),
        p if p < 0.001 => "< 0.001".to_string(),
        p => format!("{p:.3}"),
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 0.001 { format!("{seconds:.5}") } else { format!("{seconds:.3}") }
}
