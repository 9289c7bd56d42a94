//! `report.html`: what a run found, as one page that needs nothing else.

mod picture;
mod section;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use relprop::heatmap::markup::escape;

use super::files;
use super::items::Item;
use super::looks::Looks;
use super::report::{Input, Report};
use super::shown::Shown;
use section::Section;

/// Up to this many samples are shown unfolded.
const UNFOLDED: usize = 3;
/// From this many samples on they can be searched by name.
const SEARCHED: usize = 9;

/// The page while it grows: samples wait in a file of their own, for there may be many.
pub struct Page {
    path: PathBuf,
    waiting: PathBuf,
    file: File,
    pieces: Vec<Piece>,
    /// Whether there is a photo under some map.
    layers: bool,
}

/// An item's part of the waiting file.
struct Piece {
    /// Where it stands among the inputs.
    place: usize,
    start: u64,
    len: u64,
    samples: usize,
}

impl Page {
    /// A page of no inputs.
    pub fn start(out: &Path) -> Result<Page> {
        let path = out.join("report.html");
        let waiting = out.join("report.html.samples");
        let options = || File::options().read(true).write(true).create(true).truncate(true).open(&waiting);
        let file = options().with_context(|| format!("cannot write {}", waiting.display()))?;
        Ok(Page { path, waiting, file, pieces: Vec::new(), layers: false })
    }

    /// Adds an item's samples: what the report tells of them, and what there is to see for each target.
    pub fn add(
        &mut self,
        place: usize,
        item: &Item,
        entries: &[Input],
        gallery: &[Vec<Shown>],
        looks: &Looks,
    ) -> Result<()> {
        let mut text = String::new();
        for (sample, entry) in entries.iter().enumerate() {
            let section = Section { item, sample, samples: entries.len(), entry, gallery, looks };
            self.layers |= section.write(&mut text)?;
        }
        let cannot = || format!("cannot write {}", self.waiting.display());
        let start = self.file.seek(SeekFrom::End(0)).with_context(cannot)?;
        self.file.write_all(text.as_bytes()).with_context(cannot)?;
        self.pieces.push(Piece { place, start, len: text.len() as u64, samples: entries.len() });
        Ok(())
    }

    /// Writes the page.
    pub fn finish(mut self, report: &Report) -> Result<PathBuf> {
        self.pieces.sort_by_key(|piece| piece.place);
        let samples = self.pieces.iter().map(|piece| piece.samples).sum();
        let head = head(report, samples, self.layers);
        let (pieces, mut file) = (std::mem::take(&mut self.pieces), self.file);
        files::write_with(&self.path, |page| {
            page.write_all(head.as_bytes())?;
            let mut before = 0;
            for piece in &pieces {
                file.seek(SeekFrom::Start(piece.start))?;
                let mut text = String::new();
                Read::by_ref(&mut file).take(piece.len).read_to_string(&mut text)?;
                // The first ones are open.
                let open = UNFOLDED.saturating_sub(before);
                page.write_all(text.replacen(section::FOLDED, section::OPEN, open).as_bytes())?;
                before += piece.samples;
            }
            page.write_all(TAIL_BEFORE_SCRIPT.as_bytes())?;
            page.write_all(include_str!("page.js").as_bytes())?;
            page.write_all(TAIL.as_bytes())
        })?;
        // One that stays is written over.
        let _ = fs::remove_file(&self.waiting);
        Ok(self.path)
    }
}

const TAIL_BEFORE_SCRIPT: &str = "</main>\n<script>\n";
const TAIL: &str = "</script>\n</body>\n</html>\n";

/// Everything before the samples.
fn head(report: &Report, samples: usize, layers: bool) -> String {
    let title = escape(&report.model);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>relprop: {title}</title>\n<style>\n{}</style>\n\
         </head>\n<body>\n<h1>What {title} decided, and why</h1>\n",
        include_str!("page.css")
    );
    out.push_str(&facts(report, samples));
    out.push_str(&failures(report));
    out.push_str(&controls(samples, layers));
    out.push_str("<main>\n");
    out
}

/// What the run was.
fn facts(report: &Report, samples: usize) -> String {
    let device = &report.device;
    let on = format!(
        "{} in {}: {}, {} ({})",
        device.backend, device.precision, device.adapter, device.driver, device.reason
    );
    let time = &report.timings;
    let run = match time.samples {
        0 => String::new(),
        1 => " for one sample".to_string(),
        n => format!(" for {n} samples"),
    };
    let took = format!(
        "{:.2} s: {:.2} s reading the network, {:.2} s preparing it, {:.2} s running it{run}",
        time.total_seconds, time.load_seconds, time.build_seconds, time.run_seconds
    );
    let command: Vec<String> = std::env::args().skip(1).map(|arg| quoted(&arg)).collect();
    let rows = [
        (
            "method",
            if report.method == "lrp" { "layer-wise relevance propagation".to_string() } else { report.method.clone() },
        ),
        ("composite", report.composite.clone()),
        ("output", format!("{}, seed: {}", report.output, report.seed)),
        ("samples", samples.to_string()),
        ("device", on),
        ("time", took),
    ];
    let mut out = "<dl>\n".to_string();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        out.push_str(&format!("<dt>{name}</dt><dd id=\"{name}\">{}</dd>\n", escape(value)));
    }
    let command = escape(&format!("relprop {}", command.join(" ")));
    out + &format!("<dt>command</dt><dd><code>{command}</code></dd>\n</dl>\n")
}

/// An argument as a shell takes it.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@+%~".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.to_string()
    } else {
        format!("'{}'", arg.replace('\'', "'\\''"))
    }
}

fn failures(report: &Report) -> String {
    if report.failed.is_empty() {
        return String::new();
    }
    let count = report.failed.len();
    let mut out = format!("<section class=\"failed\">\n<h2>{count} failed</h2>\n<ul>\n");
    for failure in &report.failed {
        let error = failure.error.strip_prefix(&format!("{}: ", failure.input)).unwrap_or(&failure.error);
        out.push_str(&format!("<li><code>{}</code>: {}</li>\n", escape(&failure.input), escape(error)));
    }
    out + "</ul>\n</section>\n"
}

/// What the reader can turn.
fn controls(samples: usize, layers: bool) -> String {
    let mut out = String::new();
    if layers {
        out.push_str(
            "<label>map over the photo <input type=\"range\" id=\"overlay\" min=\"0\" max=\"1\" step=\"0.01\" value=\"1\">\n\
             <output id=\"overlay-shown\">100 %</output></label>\n<fieldset>\n\
             <label><input type=\"radio\" name=\"sign\" value=\"both\" checked> both</label>\n\
             <label><input type=\"radio\" name=\"sign\" value=\"positive\"> for</label>\n\
             <label><input type=\"radio\" name=\"sign\" value=\"negative\"> against</label>\n</fieldset>\n\
             <label><input type=\"checkbox\" id=\"colour\"> photo in colour</label>\n",
        );
    }
    if samples >= SEARCHED {
        out.push_str(
            "<input type=\"search\" id=\"filter\" placeholder=\"find an input\" aria-label=\"find an input\">\n",
        );
    }
    if out.is_empty() { out } else { format!("<div class=\"controls\">\n{out}</div>\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_can_be_pasted_into_a_shell() {
        let got = ["top:3", "a b", "", "it's", "<b>"].map(quoted);
        assert_eq!(got, ["top:3", "'a b'", "''", "'it'\\''s'", "'<b>'"]);
    }
}
