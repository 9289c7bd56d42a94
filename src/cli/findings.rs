//! What `relprop check` concludes from sums of relevance, in plain words.

use relprop::{Composite, LayerConservation};
use serde::Serialize;

/// A part of the seed that is worth a word.
const MUCH: f64 = 0.25;
/// A layer that magnifies relevance by more than this divides by sums near 0.
const AMPLIFIES: f64 = 100.0;
/// Magnitudes that sum up to more than this times the seed say that most of them cancel.
const GROWS: f64 = 1000.0;
/// Less than this part of the seed is little, more than its inverse is too much.
pub const LITTLE: f64 = 0.1;
/// A map that float32 moves by more than this, as a part of its rms, is not one to rely on.
const IMPRECISE: f64 = 0.01;

/// Sums at one layer, of one sample.
#[derive(Serialize)]
pub struct Layer {
    pub layer: String,
    pub op: &'static str,
    pub rule: String,
    pub arriving: f64,
    pub leaving: f64,
    /// What the bias absorbed.
    pub bias: f64,
    /// What the stabiliser absorbed, or denominators that are 0.
    pub rest: f64,
    /// Σ|R| that leaves.
    pub magnitude: f64,
    /// Σ|R| that leaves ÷ Σ|R| that comes.
    pub amplification: Option<f64>,
    /// How far off the sum that leaves is in float32, as a part of Σ|R| that leaves.
    pub float32_error: Option<f64>,
}

impl Layer {
    /// From the sums in float64, and in float32 where there are any.
    pub fn new(exact: &LayerConservation, rounded: Option<&LayerConservation>) -> Layer {
        let magnitude = exact.detail.as_ref().map(|detail| detail.leaving_magnitude[0]);
        let off = |rounded: &LayerConservation| {
            let difference = (rounded.leaving[0] - exact.leaving[0]).abs();
            if difference == 0.0 { Some(0.0) } else { Some(difference / magnitude?) }
        };
        Layer {
            layer: exact.layer.clone(),
            op: exact.op,
            rule: exact.rule.clone(),
            arriving: exact.arriving[0],
            leaving: exact.leaving[0],
            bias: exact.detail.as_ref().map_or(0.0, |detail| detail.bias[0]),
            rest: exact.rest(0),
            magnitude: magnitude.unwrap_or(f64::NAN),
            amplification: exact.amplification(0),
            float32_error: rounded.and_then(off),
        }
    }

    /// Whether there is anything to see: more than a hundredth of the seed goes or comes, magnitudes double, or float32 is off.
    pub fn stands_out(&self, seed: f64) -> bool {
        let quiet = |part: f64| part.abs() <= 0.01 * seed.abs();
        let even = self.amplification.is_none_or(|a| a < 2.0);
        !(quiet(self.bias) && quiet(self.rest) && even && self.float32_error.is_none_or(|e| e < 1e-3))
    }

    /// A row of the table, sums as parts of the seed.
    pub fn row(&self, seed: f64) -> Vec<String> {
        let part = |sum: f64| percent(sum / seed);
        let amplification =
            self.amplification.map_or(String::new(), |a| if a >= 1e4 { format!("{a:.1e}") } else { format!("{a:.3}") });
        let off = self.float32_error.map_or(String::new(), |e| format!("{e:.0e}"));
        let (layer, op, rule) = (self.layer.clone(), self.op.to_string(), self.rule.clone());
        vec![
            layer,
            op,
            rule,
            part(self.arriving),
            part(self.leaving),
            part(self.bias),
            part(self.rest),
            amplification,
            off,
        ]
    }
}

/// The map in float32 beside float64.
#[derive(Serialize)]
pub struct Float32 {
    /// Sum of the relevance of the inputs.
    pub arrived: f64,
    /// Largest difference ÷ largest value.
    pub largest: f64,
    /// rms of differences ÷ rms of values.
    pub rms: f64,
}

impl Float32 {
    /// From the sum in float32 and pairs of values, float64 first.
    pub fn new(arrived: f64, pairs: impl Iterator<Item = (f64, f64)>) -> Float32 {
        let (mut difference, mut value) = ((0f64, 0f64), (0f64, 0f64));
        for (exact, rounded) in pairs {
            let d = (exact - rounded).abs();
            // `max` would hide a NaN.
            difference.0 = if d.is_nan() || difference.0.is_nan() { f64::NAN } else { difference.0.max(d) };
            value.0 = value.0.max(exact.abs());
            difference.1 += d * d;
            value.1 += exact * exact;
        }
        let part = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a / b };
        Float32 { arrived, largest: part(difference.0, value.0), rms: part(difference.1, value.1).sqrt() }
    }
}

/// Sums over all layers.
pub struct Totals {
    pub seed: f64,
    /// Parts of the seed.
    pub kept: f64,
    pub bias: f64,
    pub rest: f64,
}

/// A part as people read it.
pub fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    match percent.abs() {
        0.0 => "0 %".to_string(),
        p if !p.is_finite() => format!("{percent}"),
        p if !(0.01..1e5).contains(&p) => format!("{percent:.1e} %"),
        p if p >= 10.0 => format!("{percent:.0} %"),
        _ => format!("{percent:.2} %"),
    }
}

/// The layer that magnifies most, if one does or their product did.
fn amplifies(layers: &[Layer], grown: bool) -> Option<String> {
    let amplifying = layers.iter().filter_map(|layer| Some((layer, layer.amplification?)));
    let (layer, factor) = amplifying.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, a)| grown || *a > AMPLIFIES)?;
    let Layer { layer, op, rule, .. } = layer;
    let advice = match *op {
        "Add" | "Sub" => "its branches cancel; consider --residual bounded",
        _ if rule.contains("zero-bias") => "without biases its denominators come near 0; leave out --zero-bias",
        _ => "its denominators come near 0; give it gamma or z+, or a larger epsilon",
    };
    Some(format!("\"{layer}\" ({op}) amplifies {} ×: {advice}", factor_text(factor)))
}

fn factor_text(factor: f64) -> String {
    if factor >= 1e4 { format!("{factor:.1e}") } else { format!("{factor:.1}") }
}

/// What biases and stabilisers absorb, where it is much.
fn losses(totals: &Totals, layers: &[Layer]) -> Vec<String> {
    let most = |of: fn(&Layer) -> f64| {
        let layer = layers.iter().max_by(|a, b| of(a).abs().total_cmp(&of(b).abs()));
        layer.map_or(String::new(), |l| format!("{} at \"{}\"", percent(of(l) / totals.seed), l.layer))
    };
    let mut losses = Vec::new();
    if totals.bias.abs() > MUCH {
        let verb = if totals.bias > 0.0 { "absorbed" } else { "added" };
        let gamma = match layers.iter().any(|layer| layer.rule.starts_with("gamma")) {
            true => "",
            false => ", or epsilon-gamma-box, in which they weigh less",
        };
        let advice = format!(
            "consider --zero-bias, which leaves them out of the denominators (then these can come near 0){gamma}; check again"
        );
        losses.push(format!(
            "{} is {verb} by biases (most, {}): {advice}",
            percent(totals.bias.abs()),
            most(|l| l.bias)
        ));
    }
    if totals.rest.abs() > MUCH {
        let advice = "a smaller epsilon loses less; where a layer has no contributions of the sign that its rule wants, gamma \
                      or epsilon hands on what z+ cannot";
        let (rest, most) = (percent(totals.rest.abs()), most(|l| l.rest));
        losses.push(format!("{rest} is lost in stabilisers and in denominators that are 0 (most, {most}): {advice}"));
    }
    losses
}

/// What a user should know, with what to do about it. `failure` is what float32 failed with.
pub fn findings(
    totals: Totals,
    layers: &[Layer],
    float32: Option<&Float32>,
    failure: Option<&str>,
    composite: &Composite,
) -> Vec<String> {
    if totals.seed == 0.0 {
        return vec![
            "the target's value is 0: there is no relevance to hand out; --seed one in `explain` starts with 1".into(),
        ];
    }
    let mut findings = Vec::new();
    if let Some(layer) = layers.iter().find(|l| l.arriving.is_finite() && !l.leaving.is_finite()) {
        let Layer { layer, op, rule, .. } = layer;
        findings.push(format!(
            "relevance is not finite from \"{layer}\" ({op}, rule {rule}) on, in float64 too: a division by 0 or an overflow; \
             give that layer a larger epsilon, or z+ or gamma"
        ));
    }
    if let Some(failure) = failure {
        findings.push(format!("float32 fails: {failure}"));
    }
    if !composite.conserves() {
        findings
            .push("this composite multiplies with derivatives: sums are not conserved, nor meant to be".to_string());
        return findings;
    }
    let grown = layers.iter().map(|l| l.magnitude / totals.seed.abs()).fold(0.0, f64::max);
    match amplifies(layers, grown > GROWS) {
        Some(finding) => {
            let grown =
                if grown > GROWS { format!("; magnitudes grow to {grown:.0e} × the seed") } else { String::new() };
            findings.push(format!("{finding}{grown}"));
        }
        // Where magnitudes cancel, parts of the seed say nothing.
        None => findings.extend(losses(&totals, layers)),
    }
    let explained = !findings.is_empty();
    if totals.kept.abs() < LITTLE || totals.kept.abs() > 1.0 / LITTLE || (totals.kept < 0.0) {
        let why = if explained { "for the reasons above" } else { "a little is lost or added at many layers (--all)" };
        findings.push(format!(
            "{} of the seed arrives at the inputs, {why}: do not read the map's sum as the score",
            percent(totals.kept)
        ));
    }
    if let Some(float32) = float32.filter(|f| f.rms.is_nan() || f.rms > IMPRECISE) {
        let rms = float32.rms;
        findings.push(format!(
            "float32 moves the map by {rms:.0e} of its rms: the composite divides by sums that cancel here; use --precision f64, \
             or a composite with gamma or z+"
        ));
    }
    if findings.is_empty() {
        findings.push("nothing stands out: what the output starts with arrives, in float32 as in float64".to_string());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, op: &'static str, sums: [f64; 4], amplification: f64) -> Layer {
        let [arriving, leaving, bias, rest] = sums;
        Layer {
            layer: name.to_string(),
            op,
            rule: "zplus".to_string(),
            arriving,
            leaving,
            bias,
            rest,
            magnitude: leaving.abs(),
            amplification: Some(amplification),
            float32_error: Some(1e-7),
        }
    }

    fn told(kept: f64, bias: f64, rest: f64, layers: &[Layer], rms: f64) -> Vec<String> {
        let composite = Composite::parse("epsilon-plus").unwrap();
        let float32 = Float32 { arrived: kept, largest: rms, rms };
        findings(Totals { seed: 2.0, kept, bias, rest }, layers, Some(&float32), None, &composite)
    }

    #[test]
    fn what_is_lost_is_told_with_the_layer_and_what_to_do() {
        let even = || layer("even", "Conv", [2.0, 2.0, 0.0, 0.0], 1.0);
        let cases: [(Vec<String>, &[&str]); 6] = [
            (told(0.99, 0.01, 0.0, &[even()], 1e-6), &["nothing stands out"]),
            (
                told(0.26, 0.74, 0.0, &[even(), layer("taker", "Conv", [2.0, 0.52, 1.48, 0.0], 0.3)], 1e-6),
                &["74 % is absorbed by biases", "at \"taker\"", "--zero-bias"],
            ),
            (
                told(0.05, 0.0, 0.95, &[layer("empty", "Conv", [2.0, 0.1, 0.0, 1.9], 0.1)], 1e-6),
                &["95 % is lost in stabilisers", "\"empty\"", "5.00 % of the seed arrives"],
            ),
            (
                told(1.0, 0.0, 0.0, &[even(), layer("sum", "Add", [2.0, 2.0, 0.0, 0.0], 1e6)], 1e-6),
                &["\"sum\" (Add) amplifies 1.0e6 ×", "--residual bounded"],
            ),
            (
                told(-1e5, 0.0, 1e5, &[layer("grows", "Conv", [2.0, -2e5, 0.0, 2e5], 9.0)], 1e-6),
                &["\"grows\" (Conv) amplifies 9.0 ×", "grow to 1e5 × the seed", "arrives at the inputs"],
            ),
            (told(1.0, 0.0, 0.0, &[even()], 0.2), &["float32 moves the map by 2e-1", "--precision f64"]),
        ];
        for (findings, parts) in cases {
            let text = findings.join("\n");
            parts.iter().for_each(|part| assert!(text.contains(part), "{part} is not in:\n{text}"));
        }
    }

    #[test]
    fn what_is_not_finite_is_told_with_the_layer_where_it_began() {
        let layers =
            [layer("breaks", "Dense", [1.0, f64::NAN, 0.0, 0.0], 1.0), layer("after", "Conv", [f64::NAN; 4], 1.0)];
        let text = told(f64::NAN, f64::NAN, f64::NAN, &layers, f64::NAN).join("\n");
        assert!(text.contains("not finite from \"breaks\"") && text.contains("--precision f64"), "{text}");
        assert!(!text.contains("nothing stands out"), "{text}");
    }

    #[test]
    fn float32_is_compared_by_its_largest_difference_and_by_root_mean_squares() {
        let float32 = Float32::new(1.0, [(3.0, 3.0), (-4.0, -4.5)].into_iter());
        assert_eq!((float32.largest, float32.rms), (0.125, 0.1));
        assert!(Float32::new(1.0, [(1.0, f64::NAN), (1.0, 1.0)].into_iter()).largest.is_nan());
    }
}
