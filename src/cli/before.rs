//! What an earlier run has done is left out, and shown again on the page.

use std::collections::HashMap;

use anyhow::Result;

use super::args::ExplainArgs;
use super::model::Model;
use super::page::Page;
use super::report::Input;
use super::results::Writer;
use super::resume;
use super::source::Source;

/// What tells whether a source was done before.
pub struct Before<'a> {
    pub args: &'a ExplainArgs,
    pub model: &'a Model,
    /// The network's own batch size, if it fixes one.
    pub fixed: Option<usize>,
    pub writer: &'a Writer<'a>,
    /// Where each source stands.
    pub places: &'a HashMap<String, usize>,
}

impl Before<'_> {
    /// Takes the sources that an earlier run has done out of the list, when the run is to be resumed. Gives the page, if one
    /// is wanted, with these sources, and what is in the report of them. A source that cannot be shown again is left in.
    pub fn leave_out(&self, key: &str, sources: &mut Vec<Source>) -> Result<(Option<Page>, Vec<Input>)> {
        let mut page = if self.args.report { Some(Page::start(&self.args.out)?) } else { None };
        if !self.args.resume {
            return Ok((page, Vec::new()));
        }
        let mut done = resume::done(&self.args.out, key);
        let mut kept = Vec::new();
        sources.retain(|source| {
            let Ok((name, stem, digest)) = source.identity(self.model) else { return true };
            match done.remove(&name) {
                Some(entries) if resume::holds(&entries, &digest, &stem, &self.args.out) => {
                    let entries = resume::moved(entries, &self.args.out);
                    let shown = page.as_mut().map(|page| self.show(page, source, &entries));
                    let again = matches!(shown, Some(Err(_)));
                    if !again {
                        kept.extend(entries);
                    }
                    again
                }
                _ => true,
            }
        });
        Ok((page, kept))
    }

    fn show(&self, page: &mut Page, source: &Source, entries: &[Input]) -> Result<()> {
        let item = source.load(self.model, self.fixed, self.args.device.precision())?;
        let gallery = self.writer.shown_before(&item, entries)?;
        let place = self.places.get(&source.name()).copied().unwrap_or(usize::MAX);
        page.add(place, &item, entries, &gallery, &self.writer.looks)
    }
}
