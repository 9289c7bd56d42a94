//! A comparison as one page that needs nothing beside it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relprop::heatmap::ColorMap;
use relprop::heatmap::markup::{escape, hex};

use super::picture::Tiles;
use super::{Compared, Failure, Report};

const STYLE: &str = include_str!("page.css");

/// The page of a sample and a target.
pub(super) fn html<'a>(
    report: &Report,
    compared: &Compared,
    tiles: &Tiles,
    colors: ColorMap,
    failed: impl Iterator<Item = &'a Failure>,
) -> String {
    let title = escape(&compared.title());
    let (model, output, relprop) = (escape(&report.model), escape(&report.output), report.relprop);
    let (backend, precision, adapter) =
        (report.device.backend, report.device.precision, escape(&report.device.adapter));
    // What is neutral must leave the photo as it is: white in a product, black in the complement of one.
    let bright = colors.color(0.0).iter().map(|c| u32::from(*c)).sum::<u32>() > 3 * 127;
    let (blend, under) = match bright {
        true => ("multiply", "contrast(.55) brightness(1.4)"),
        false => ("screen", "brightness(.6)"),
    };
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}:root {{ --blend: {blend}; --under: {under}; --photo: url(\"{}\") }}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"dim\">{model}, output {output}; {backend}, {precision}, {adapter}; relprop {relprop}</p>\n",
        data(&tiles.input)
    );
    failures(&mut out, failed);
    maps(&mut out, compared, tiles);
    numbers(&mut out, compared);
    likeness(&mut out, compared);
    out.push_str("</body>\n</html>\n");
    out
}

/// What failed.
fn failures<'a>(out: &mut String, failed: impl Iterator<Item = &'a Failure>) {
    let lines: Vec<String> = failed
        .map(|failure| {
            let method = failure.method.as_ref().map(|method| format!("{method}: ")).unwrap_or_default();
            format!("<p>{}</p>\n", escape(&format!("{method}{}", failure.error)))
        })
        .collect();
    if !lines.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(out, "<div class=\"failed\"><b>Failed</b>\n{}</div>\n", lines.concat());
    }
}

/// The input and the maps.
fn maps(out: &mut String, compared: &Compared, tiles: &Tiles) {
    if tiles.fit {
        out.push_str("<label class=\"over\"><input type=\"checkbox\" id=\"over\"> maps over the photo</label>\n");
    }
    let wide = tiles.size.0 > 3 * tiles.size.1;
    let class = if wide { "maps wide" } else { "maps" };
    let _ = write!(
        out,
        "<div class=\"{class}\">\n<figure><figcaption><b>{}</b><span>{}, f = {:.4}</span></figcaption>\
         <div class=\"stack\"><img src=\"{}\" alt=\"the input\"></div></figure>\n",
        escape(&compared.place()),
        escape(&compared.what()),
        compared.score,
        data(&tiles.input)
    );
    for (told, map) in compared.maps.iter().zip(&tiles.maps) {
        let method = escape(&told.method);
        let kept = if told.conservation.is_some() { format!(", sum / f {}", told.kept()) } else { String::new() };
        let under = if tiles.fit { " under" } else { "" };
        let _ = writeln!(
            out,
            "<figure><figcaption><b>{method}</b><span>{}{kept}</span></figcaption><div class=\"stack{under}\">\
             <img class=\"map\" src=\"{}\" alt=\"map of {method}\"></div></figure>",
            told.time(),
            data(map)
        );
    }
    out.push_str("</div>\n");
}

/// Times and sums.
fn numbers(out: &mut String, compared: &Compared) {
    out.push_str(
        "<h2>Times and sums</h2>\n<p class=\"dim\">Times are of this input alone, after what is built once. A sum is told as a \
         part of f where the method means to keep f.</p>\n<div class=\"scroll\"><table>\n\
         <tr><th>method</th><th class=\"n\">time</th><th class=\"n\">sum</th><th class=\"n\">sum / f</th></tr>\n",
    );
    for told in &compared.maps {
        let (method, time, sum, kept) = (escape(&told.method), told.time(), told.relevance_sum, told.kept());
        let _ = writeln!(
            out,
            "<tr><td>{method}</td><td class=\"n\">{time}</td><td class=\"n\">{sum:.4}</td><td class=\"n\">{kept}</td></tr>"
        );
    }
    out.push_str("</table></div>\n");
}

/// How alike the maps are.
fn likeness(out: &mut String, compared: &Compared) {
    out.push_str(
        "<h2>How alike are the maps?</h2>\n<p class=\"dim\">Spearman's rank correlation of their sums over channels: 1 where they \
         order all places alike, 0 where they have nothing in common, −1 where the order is reversed.</p>\n\
         <div class=\"scroll\"><table class=\"alike\">\n<thead><tr><th></th>",
    );
    let names: Vec<String> = compared.maps.iter().map(|told| escape(&told.method)).collect();
    for name in &names {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("</tr></thead>\n");
    for (name, row) in names.iter().zip(&compared.spearman) {
        let _ = write!(out, "<tr><th>{name}</th>");
        for value in row {
            let _ = match value {
                Some(value) => {
                    // Halved, so that the numbers can be read on it.
                    let color = hex(ColorMap::RedBlue.color(value * 0.6));
                    // Without the sign that −0.001 would leave.
                    let value = (value * 100.0).round() / 100.0 + 0.0;
                    write!(out, "<td style=\"background:{color}\">{value:.2}</td>")
                }
                None => write!(out, "<td>–</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

/// A PNG file as an address that holds it.
fn data(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}
