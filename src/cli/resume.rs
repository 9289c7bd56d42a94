//! What an earlier run into the same folder has done, for `--resume`.
//!
//! An input is done when the report or the journal tells so, both were written by a run with the same key (program, network,
//! options, device), the input's bytes are the same, and every file that was written for it is still there. The journal gets
//! a line as soon as an input's files are whole: a run may be interrupted at any moment. It is gone when the report is
//! written to the end.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use relprop::{Data, Tensor};

use super::files;
use super::model::Model;
use super::report::Input;

const JOURNAL: &str = "report.jsonl";

/// A fingerprint of bytes and settings, to tell whether they changed.
#[derive(Default)]
pub struct Digest(DefaultHasher);

impl Digest {
    /// Adds a text, apart from what comes before and after it.
    pub fn text(&mut self, text: &str) {
        self.0.write_usize(text.len());
        self.0.write(text.as_bytes());
    }

    /// Adds a tensor.
    pub fn values(&mut self, tensor: &Tensor) {
        self.text(&format!("{:?}", tensor.shape()));
        match tensor.data() {
            Data::F32(values) => values.iter().for_each(|v| self.0.write_u32(v.to_bits())),
            Data::F64(values) => values.iter().for_each(|v| self.0.write_u64(v.to_bits())),
            Data::I64(values) => values.iter().for_each(|v| self.0.write_i64(*v)),
            // A kind that is not known yet.
            other => self.text(&format!("{other:?}")),
        }
    }

    /// Adds a file's bytes.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        let mut buffer = vec![0; 1 << 16];
        let mut len = 0;
        loop {
            let n = file.read(&mut buffer).with_context(|| path.display().to_string())?;
            if n == 0 {
                self.0.write_usize(len);
                return Ok(());
            }
            self.0.write(&buffer[..n]);
            len += n;
        }
    }

    /// Adds a network with what is known of it, read from `path` or built in.
    pub fn model(&mut self, model: &Model, path: Option<&Path>) -> Result<()> {
        if let Some(path) = path {
            self.file(path)?;
        }
        for value in model.network.inputs() {
            self.text(&format!("{:?}", model.network.value(*value)));
        }
        // Weights may lie in files of their own.
        for weight in model.network.nodes().iter().flat_map(|node| node.op.constants()) {
            self.values(weight);
        }
        self.text(&format!("{:?} {:?} {:?}", model.labels, model.preprocess, model.sequences));
        Ok(())
    }

    /// The fingerprint of files.
    pub fn of_files(paths: &[&Path]) -> Result<String> {
        let mut digest = Digest::default();
        paths.iter().try_for_each(|path| digest.file(path))?;
        Ok(digest.finish())
    }

    /// The fingerprint as text.
    pub fn finish(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

/// What of a report matters here.
#[derive(Deserialize)]
struct Earlier {
    key: String,
    inputs: Vec<Input>,
}

/// A line of the journal: an input's samples.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    key: String,
    inputs: T,
}

/// What earlier runs with this key have done in a folder, by the input's name. What cannot be read has not been done.
pub fn done(folder: &Path, key: &str) -> HashMap<String, Vec<Input>> {
    let mut done: HashMap<String, Vec<Input>> = HashMap::new();
    let report = fs::read(folder.join("report.json")).ok();
    let report = report.and_then(|text| serde_json::from_slice::<Earlier>(&text).ok());
    for input in report.into_iter().filter(|r| r.key == key).flat_map(|r| r.inputs) {
        done.entry(input.input.clone()).or_default().push(input);
    }
    for inputs in noted::<Input>(&folder.join(JOURNAL), key) {
        if let Some(first) = inputs.first() {
            done.insert(first.input.clone(), inputs);
        }
    }
    done
}

/// What runs with this key noted in a journal, note by note.
pub fn noted<T: DeserializeOwned>(path: &Path, key: &str) -> Vec<Vec<T>> {
    // The last line may have been cut off.
    let journal = fs::read(path).unwrap_or_default();
    let lines =
        journal.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line<Vec<T>>>(line).ok());
    lines.filter(|line| line.key == key).map(|line| line.inputs).collect()
}

/// Whether what was done for an input is still what a run would write for it: the same bytes (`digest`), files whose names
/// begin with `stem`, all of them there.
pub fn holds(entries: &[Input], digest: &str, stem: &str, folder: &Path) -> bool {
    let files = || entries.iter().flat_map(|e| &e.targets).flat_map(|t| &t.files).map(|f| name(f));
    entries.iter().all(|e| e.digest == digest)
        && files().count() > 0
        && files().all(|f| f.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.')) && folder.join(f).is_file())
}

/// Gives the files the folder's present name.
pub fn moved(mut entries: Vec<Input>, folder: &Path) -> Vec<Input> {
    for file in entries.iter_mut().flat_map(|e| &mut e.targets).flat_map(|t| &mut t.files) {
        *file = folder.join(name(file)).display().to_string();
    }
    entries
}

fn name(file: &str) -> &str {
    Path::new(file).file_name().and_then(|n| n.to_str()).unwrap_or(file)
}

/// The journal of a run.
pub struct Journal {
    path: PathBuf,
    file: File,
    key: String,
}

impl Journal {
    /// An empty journal, in place of one that is there.
    pub fn start(folder: &Path, key: &str) -> Result<Journal> {
        Journal::with::<Input>(folder.join(JOURNAL), key, &[])
    }

    /// A journal that begins with what an earlier run noted, in place of one that is there: in one step, so that nothing of
    /// that is lost.
    pub fn with<T: Serialize>(path: PathBuf, key: &str, kept: &[T]) -> Result<Journal> {
        let first = if kept.is_empty() { String::new() } else { line(key, kept)? };
        files::write(&path, first.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Journal { path, file, key: key.to_string() })
    }

    /// Notes that all files of an input are written, or whatever belongs together.
    pub fn note<T: Serialize>(&mut self, inputs: &[T]) -> Result<()> {
        let line = line(&self.key, inputs)?;
        self.file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Removes the journal: the report tells everything.
    pub fn end(self) {
        // One that stays tells what is so.
        let _ = fs::remove_file(&self.path);
    }
}

/// A note.
fn line<T: Serialize>(key: &str, inputs: &[T]) -> Result<String> {
    Ok(serde_json::to_string(&Line { key: key.to_string(), inputs }).context("journal")? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, digest: &str) -> Input {
        let (input, digest) = (name.to_string(), digest.to_string());
        Input { input, digest, sample: 0, top: Vec::new(), targets: Vec::new() }
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::start(folder.path(), "k").unwrap();
        journal.note(&[input("a.png", "1")]).unwrap();
        journal.note(&[input("b.png", "2")]).unwrap();
        let path = folder.path().join(JOURNAL);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(done(folder.path(), "k").len(), 2);
        fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert_eq!(done(folder.path(), "k").into_keys().collect::<Vec<_>>(), ["a.png"]);
        assert!(done(folder.path(), "other").is_empty());
        journal.end();
        assert!(!path.exists());
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let digest = |texts: &[&str]| {
            let mut digest = Digest::default();
            texts.iter().for_each(|t| digest.text(t));
            digest.finish()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
    }
}
