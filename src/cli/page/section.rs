//! One sample of the page.

use std::fmt::Write;

use anyhow::Result;
use relprop::heatmap::markup::{escape, hex, number};
use relprop::heatmap::{Map, Range, Shades, Sign, View};

use super::super::findings::percent;
use super::super::items::Item;
use super::super::looks::{Looks, Scene};
use super::super::report::{Class, Input, Target};
use super::super::results::{class_name, target_name};
use super::super::shown::Shown;
use super::picture;

/// How a sample begins.
pub const FOLDED: &str = "<details class=\"input\"";
/// The same, unfolded.
pub const OPEN: &str = "<details class=\"input\" open";
/// Parts of a colour bar.
const STOPS: u32 = 16;

/// What a sample's part of the page is made of.
pub struct Section<'a> {
    pub item: &'a Item,
    pub sample: usize,
    /// How many the item has.
    pub samples: usize,
    pub entry: &'a Input,
    /// What there is to see of the item, for each target.
    pub gallery: &'a [Vec<Shown>],
    pub looks: &'a Looks<'a>,
}

// Writing to a String cannot fail: what `write!` gives is left alone.
impl Section<'_> {
    /// Writes it; whether some map lies over a photo.
    pub fn write(&self, out: &mut String) -> Result<bool> {
        let photo = self.shown(0).find_map(|shown| shown.scene.as_ref()?.photo.as_ref());
        let photo = photo.map(picture::photo).transpose()?;
        // One copy of the photo serves the thumbnail, the photo itself, and every map's ground.
        let style = photo.as_ref().map_or_else(String::new, |photo| format!(" style=\"--photo:url({photo})\""));
        let _ = write!(out, "{FOLDED}{style}>\n<summary>");
        if photo.is_some() {
            out.push_str("<span class=\"thumb\" role=\"img\" aria-label=\"the photo\"></span>");
        }
        let _ = write!(out, "<span class=\"name\">{}", escape(&self.item.source));
        if self.samples > 1 {
            let _ = write!(out, ", sample {}", self.sample);
        }
        let best = self.entry.top.first().map_or_else(String::new, |class| {
            let probability = class.probability.map_or_else(|| number(class.logit), |p| format!("{:.1} %", p * 100.0));
            format!("{} {probability}", class_name(class))
        });
        let _ = writeln!(out, "</span><span class=\"best\">{}</span></summary>", escape(&best));
        out.push_str("<div class=\"body\">\n<div class=\"row\">\n");
        if photo.is_some() {
            out.push_str("<section><h2>what the network saw</h2><div class=\"seen\" role=\"img\" aria-label=\"the photo\"></div></section>\n");
        }
        classes(&self.entry.top, out);
        out.push_str("</div>\n");
        let mut layers = false;
        for (i, target) in self.entry.targets.iter().enumerate() {
            layers |= self.target(i, target, out)?;
        }
        out.push_str("</div>\n</details>\n");
        Ok(layers)
    }

    fn shown(&self, target: usize) -> impl Iterator<Item = &Shown> {
        self.gallery.get(target).into_iter().flatten().filter(|shown| shown.sample == self.sample)
    }

    /// One target: its maps, and what became of its relevance.
    fn target(&self, index: usize, target: &Target, out: &mut String) -> Result<bool> {
        let name = escape(&target_name(&target.target, &target.class));
        let (sum, seed) = (number(target.relevance_sum), number(target.seed));
        // The class that a difference counts from says nothing of the difference.
        let score =
            if target.target.contains("-vs-") { String::new() } else { format!(": {}", number(target.class.logit)) };
        let kept = if target.seed == 0.0 {
            String::new()
        } else {
            format!(", {}", percent(target.relevance_sum / target.seed))
        };
        let _ = writeln!(out, "<section class=\"target\">\n<h2>why {name}{score}</h2>\n<div class=\"maps\">",);
        let mut layers = false;
        for shown in self.shown(index) {
            layers |= self.map(shown, out)?;
        }
        let _ = writeln!(out, "</div>\n<p>relevance {sum} of {seed}{kept}</p>");
        conservation(target, out);
        out.push_str("</section>\n");
        Ok(layers)
    }

    fn map(&self, shown: &Shown, out: &mut String) -> Result<bool> {
        if let Some(text) = &shown.text {
            let shades = self.looks.look.text_shades(text)?;
            let _ = writeln!(out, "<figure class=\"wide\"><p class=\"text\">{}</p>", text.markup(&shades));
            bar(&shades, out);
            out.push_str("</figure>\n");
        }
        let mut layers = false;
        match &shown.scene {
            // The plot shows the same, and the signal.
            Some(scene) if shown.signal.is_none() => layers = figure(scene, out)?,
            _ => {}
        }
        if let Some(signal) = &shown.signal {
            let drawing = self.looks.plot(signal, &shown.caption, |plot, shades| plot.svg_with(shades))?;
            let address = picture::data("image/svg+xml", drawing.as_bytes());
            let _ = writeln!(
                out,
                "<figure class=\"wide\"><img class=\"plot\" loading=\"lazy\" alt=\"the signal on a ground of its relevance\" src=\"{address}\"></figure>"
            );
        }
        Ok(layers)
    }
}

/// A map over its photo, or the heatmap alone.
fn figure(scene: &Scene, out: &mut String) -> Result<bool> {
    let [(_, View::Image(map))] = &scene.views[..] else {
        heatmap(scene, out)?;
        return Ok(false);
    };
    let Some(photo) = &scene.photo else {
        heatmap(scene, out)?;
        return Ok(false);
    };
    let (width, height) = photo.dimensions();
    let _ =
        write!(out, "<figure><div class=\"stack\" style=\"aspect-ratio:{width}/{height}\"><div class=\"photo\"></div>");
    // Parts of both signs can be shown alone, where 0 is neutral.
    let look = scene.shades.look();
    if look.sign == Sign::Both && look.range != Range::MinMax {
        layer(&scene.shades.with_sign(Sign::Positive), map, "positive", out)?;
        layer(&scene.shades.with_sign(Sign::Negative), map, "negative", out)?;
    } else {
        layer(&scene.shades, map, "whole", out)?;
    }
    out.push_str("</div>");
    bar(&scene.shades, out);
    out.push_str("</figure>\n");
    Ok(true)
}

fn layer(shades: &Shades, map: &Map, class: &str, out: &mut String) -> Result<()> {
    let address = picture::layer(&shades.layer(map))?;
    let _ = write!(out, "<img class=\"layer {class}\" loading=\"lazy\" alt=\"relevance\" src=\"{address}\">");
    Ok(())
}

fn heatmap(scene: &Scene, out: &mut String) -> Result<()> {
    let address = picture::png(&scene.heatmap()?)?;
    let _ = write!(
        out,
        "<figure class=\"wide\"><img class=\"heatmap\" loading=\"lazy\" alt=\"relevance\" src=\"{address}\">"
    );
    bar(&scene.shades, out);
    out.push_str("</figure>\n");
    Ok(())
}

/// What the colours mean.
fn bar(shades: &Shades, out: &mut String) {
    let stops: Vec<String> = (0..=STOPS).map(|i| hex(shades.bar(f64::from(i) / f64::from(STOPS)))).collect();
    let (low, high) = shades.ends();
    let _ = writeln!(
        out,
        "<div class=\"colours\">{}<i style=\"background:linear-gradient(to right,{})\"></i>{}</div>",
        number(low),
        stops.join(","),
        number(high)
    );
}

/// The likeliest classes: by probability where it is known, else by the output's value.
fn classes(top: &[Class], out: &mut String) {
    let most = top.iter().fold(0.0, |a: f64, class| a.max(class.logit.abs()));
    out.push_str("<section><h2>the largest outputs</h2>\n<table class=\"classes\">\n");
    for class in top {
        let part = class.probability.unwrap_or(if most > 0.0 { class.logit.abs() / most } else { 0.0 });
        let minus = if class.probability.is_none() && class.logit < 0.0 { " class=\"minus\"" } else { "" };
        let probability = class.probability.map_or_else(String::new, |p| format!("{:.1} %", p * 100.0));
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td><div class=\"meter\"><i{minus} style=\"width:{:.2}%\"></i></div></td><td class=\"n\">{}</td>\
             <td class=\"n\">{probability}</td></tr>",
            escape(&class_name(class)),
            part * 100.0,
            number(class.logit)
        );
    }
    out.push_str("</table></section>\n");
}

/// What came to each layer, and what it handed on.
fn conservation(target: &Target, out: &mut String) {
    if target.conservation.is_empty() {
        return;
    }
    out.push_str(
        "<details class=\"layers\"><summary>layer by layer</summary><div class=\"scroll\"><table>\n<tr><th>layer</th><th>op</th>\
         <th>rule</th><th class=\"n\">arriving</th><th class=\"n\">leaving</th><th class=\"n\">of the seed</th><th></th></tr>\n",
    );
    for layer in &target.conservation {
        let share = layer.leaving / target.seed;
        let (shown, width) =
            if share.is_finite() { (percent(share), share.abs().min(1.0) * 100.0) } else { (String::new(), 0.0) };
        let minus = if share < 0.0 { " class=\"minus\"" } else { "" };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{shown}</td>\
             <td><div class=\"meter\"><i{minus} style=\"width:{width:.2}%\"></i></div></td></tr>",
            escape(&layer.layer),
            escape(&layer.op),
            escape(&layer.rule),
            number(layer.arriving),
            number(layer.leaving)
        );
    }
    out.push_str("</table></div></details>\n");
}
