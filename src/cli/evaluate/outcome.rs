//! What the records say of each method: means with intervals, ranks, and tests against the best.

use relprop::evaluate::Better;
use relprop::evaluate::statistics::{Band, Bootstrap, Summary, holm, paired_test, ranks};
use serde_json::{Map, Value, json};

use super::Run;
use super::records::Record;
use crate::cli::table;

/// Curves are drawn anew this often for their bands: fewer than for values, for a picture shows no more of them.
const BAND_RESAMPLES: usize = 2_000;
/// Patterns of signs for a test.
const FLIPS: usize = 10_000;

/// What is known of all methods by all metrics.
pub struct Outcome {
    pub metrics: Vec<OfMetric>,
}

/// What is known of all methods by one metric.
pub struct OfMetric {
    pub name: String,
    /// What its curve runs over, and what it shows.
    pub axes: Option<[&'static str; 2]>,
    /// Names of its values, and which are good.
    pub values: Vec<(&'static str, Better)>,
    /// In the order of the methods that were given.
    pub methods: Vec<OfMethod>,
}

/// What is known of one method by one metric.
pub struct OfMethod {
    pub name: String,
    pub values: Vec<OfValue>,
    /// The mean curve; `None` where the metric has none, or samples' curves have different lengths.
    pub curve: Option<Band>,
    /// Samples that were measured, and such as could not be.
    pub n: usize,
    pub failed: usize,
    pub explain_seconds: f64,
    pub measure_seconds: f64,
}

/// One value of a method.
pub struct OfValue {
    pub summary: Summary,
    /// Among the methods, by the mean; NaN without one.
    pub rank: f64,
    /// The mean of the ranks in each sample that all methods have a value of; NaN without such.
    pub mean_rank: f64,
    /// How it differs from the best one.
    pub test: Option<Test>,
}

/// A method compared with the best one.
#[derive(Clone)]
pub struct Test {
    pub best: String,
    pub difference: f64,
    pub p: f64,
    /// Corrected for the number of methods.
    pub corrected: f64,
    pub n: usize,
}

impl Outcome {
    pub fn of(run: &Run) -> relprop::Result<Outcome> {
        let metrics = (0..run.metrics.len()).map(|metric| OfMetric::of(run, metric));
        Ok(Outcome { metrics: metrics.collect::<relprop::Result<_>>()? })
    }

    /// The list of `evaluation.json`.
    pub fn entries(&self) -> Vec<Value> {
        let entries = self.metrics.iter().flat_map(|metric| metric.methods.iter().map(|method| metric.entry(method)));
        entries.collect()
    }

    /// Tables for people, best first.
    pub fn tables(&self) -> String {
        self.metrics.iter().map(|metric| metric.table() + "\n").collect::<Vec<_>>().join("\n")
    }
}

impl OfMetric {
    fn of(run: &Run, number: usize) -> relprop::Result<OfMetric> {
        let (name, metric) = &run.metrics[number];
        let values = metric.values();
        let places: Vec<(usize, usize)> =
            run.places.iter().enumerate().flat_map(|(p, place)| (0..place.samples).map(move |s| (p, s))).collect();
        let records: Vec<Vec<Option<&Record>>> = (0..run.methods.len())
            .map(|m| places.iter().map(|(p, s)| run.records.get((m, number, *p, *s))).collect())
            .collect();
        let mut methods = Vec::new();
        for ((method, _), records) in run.methods.iter().zip(&records) {
            methods.push(of_method(method, records, values.len(), run.args.seed));
        }
        for (i, (_, better)) in values.iter().enumerate() {
            // A value for each sample, of each method.
            let value = |record: &Option<&Record>| record.and_then(|r| r.values.get(i).copied()).unwrap_or(f64::NAN);
            let columns: Vec<Vec<f64>> = records.iter().map(|records| records.iter().map(value).collect()).collect();
            compare(&mut methods, i, *better, &columns, run.args.seed)?;
        }
        Ok(OfMetric { name: name.clone(), axes: metric.curve(), values, methods })
    }

    /// The methods' numbers, best first by the first value that can be good; in their own order where none can.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.methods.len()).collect();
        if let Some(value) = self.first_judged() {
            let rank = |i: &usize| self.methods[*i].values[value].rank;
            // NaN is last.
            order.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
        }
        order
    }

    fn first_judged(&self) -> Option<usize> {
        self.values.iter().position(|(_, better)| *better != Better::Neither)
    }

    fn entry(&self, method: &OfMethod) -> Value {
        let named = |of: &dyn Fn(&OfValue) -> Value| -> Value {
            let pairs = self.values.iter().zip(&method.values).map(|((name, _), value)| (name.to_string(), of(value)));
            Value::Object(pairs.collect::<Map<String, Value>>())
        };
        let mut entry = Map::new();
        entry.insert("method".to_string(), json!(method.name));
        entry.insert("metric".to_string(), json!(self.name));
        for ((name, _), value) in self.values.iter().zip(&method.values) {
            entry.insert(name.to_string(), json!(value.summary.mean));
        }
        let better = |better: Better| match better {
            Better::Higher => "higher",
            Better::Lower => "lower",
            Better::Neither => "neither",
        };
        let directions = self.values.iter().map(|(name, which)| (name.to_string(), json!(better(*which))));
        let test = |value: &OfValue| match &value.test {
            Some(test) => json!({
                "against": test.best, "difference": test.difference, "p": test.p, "p_corrected": test.corrected, "n": test.n,
            }),
            None => Value::Null,
        };
        let rest = [
            ("intervals", named(&|value| json!(value.summary.interval))),
            ("n", json!(method.n)),
            ("n_failed", json!(method.failed)),
            ("n_not_applicable", named(&|value| json!(value.summary.missing))),
            ("better", Value::Object(directions.collect())),
            ("ranks", named(&|value| json!(value.rank))),
            ("mean_ranks", named(&|value| json!(value.mean_rank))),
            ("tests", named(&test)),
            ("seconds_per_sample", json!(method.explain_seconds)),
            ("measuring_seconds_per_sample", json!(method.measure_seconds)),
        ];
        entry.extend(rest.into_iter().map(|(name, value)| (name.to_string(), value)));
        Value::Object(entry)
    }

    fn table(&self) -> String {
        let judged = self.first_judged();
        let mut head = vec![self.name.clone()];
        for (name, better) in &self.values {
            let arrow = match better {
                Better::Higher => " ↑",
                Better::Lower => " ↓",
                Better::Neither => "",
            };
            head.extend([format!("{name}{arrow}"), "95 %".to_string()]);
        }
        head.extend(
            ["p".to_string(), "n".to_string(), "s/sample".to_string()].into_iter().skip(usize::from(judged.is_none())),
        );
        let row = |i: &usize| {
            let method = &self.methods[*i];
            let mut row = vec![method.name.clone()];
            for value in &method.values {
                let [low, high] = value.summary.interval;
                let interval =
                    if low.is_nan() { String::new() } else { format!("{} to {}", digits(low), digits(high)) };
                row.extend([digits(value.summary.mean), interval]);
            }
            if let Some(value) = judged.and_then(|judged| method.values.get(judged)) {
                row.push(match &value.test {
                    Some(test) if test.corrected.is_nan() => String::new(),
                    Some(test) => format!("{:.4}", test.corrected),
                    None if value.rank == 1.0 => "best".to_string(),
                    None => String::new(),
                });
            }
            let missing = method.values.iter().map(|value| value.summary.missing).max().unwrap_or(0);
            let counts = [(missing, "not applicable"), (method.failed, "failed")];
            let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
            row.push(format!("{}{}", method.n - missing, counts.collect::<String>()));
            row.push(if method.n == 0 { String::new() } else { format!("{:.4}", method.explain_seconds) });
            row
        };
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(self.order().iter().map(row)).collect();
        let right: Vec<usize> = (1..rows[0].len()).collect();
        table::render(&rows, &right)
    }
}

/// What one method's records say by themselves; comparisons come later.
fn of_method(name: &str, records: &[Option<&Record>], values: usize, seed: u64) -> OfMethod {
    let known: Vec<&Record> = records.iter().flatten().copied().collect();
    let n = known.len();
    let bootstrap = Bootstrap { seed, ..Bootstrap::default() };
    let value = |i: usize| {
        let column: Vec<f64> = known.iter().map(|record| record.values.get(i).copied().unwrap_or(f64::NAN)).collect();
        OfValue { summary: bootstrap.mean(&column), rank: f64::NAN, mean_rank: f64::NAN, test: None }
    };
    let curves: Vec<&[f64]> = known.iter().map(|record| record.curve.as_slice()).collect();
    let band = Bootstrap { resamples: BAND_RESAMPLES, ..bootstrap }.band(&curves);
    let mean = |seconds: fn(&Record) -> f64| known.iter().map(|record| seconds(record)).sum::<f64>() / n as f64;
    OfMethod {
        name: name.to_string(),
        values: (0..values).map(value).collect(),
        curve: band.ok().filter(|band| band.n > 0),
        n,
        failed: records.len() - n,
        explain_seconds: mean(|record| record.explain_seconds),
        measure_seconds: mean(|record| record.measure_seconds),
    }
}

/// Ranks the methods by value number `i`, and tests each against the best.
fn compare(methods: &mut [OfMethod], i: usize, better: Better, columns: &[Vec<f64>], seed: u64) -> relprop::Result<()> {
    let means: Vec<f64> = methods.iter().map(|method| method.values[i].summary.mean).collect();
    let by_mean = ranks(&means, better);
    let mean_ranks = mean_ranks(columns, better);
    for ((method, rank), mean_rank) in methods.iter_mut().zip(&by_mean).zip(mean_ranks) {
        (method.values[i].rank, method.values[i].mean_rank) = (*rank, mean_rank);
    }
    let ranked = (0..methods.len()).filter(|m| !by_mean[*m].is_nan());
    let Some(best) = ranked.min_by(|a, b| by_mean[*a].total_cmp(&by_mean[*b])) else { return Ok(()) };
    let name = methods[best].name.clone();
    let others: Vec<usize> = (0..methods.len()).filter(|m| *m != best).collect();
    let tests = others.iter().map(|m| paired_test(&columns[*m], &columns[best], FLIPS, seed));
    let tests = tests.collect::<relprop::Result<Vec<_>>>()?;
    let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
    for ((m, test), corrected) in others.into_iter().zip(tests).zip(corrected) {
        let (difference, p, n) = (test.difference, test.p, test.n);
        methods[m].values[i].test = Some(Test { best: name.clone(), difference, p, corrected, n });
    }
    Ok(())
}

/// The mean of each method's ranks over the samples that all methods have a value of.
fn mean_ranks(columns: &[Vec<f64>], better: Better) -> Vec<f64> {
    let samples = columns.first().map_or(0, Vec::len);
    let (mut sums, mut count) = (vec![0.0; columns.len()], 0);
    for sample in 0..samples {
        let values: Vec<f64> = columns.iter().map(|column| column[sample]).collect();
        if values.iter().all(|v| !v.is_nan()) {
            sums.iter_mut().zip(ranks(&values, better)).for_each(|(sum, rank)| *sum += rank);
            count += 1;
        }
    }
    sums.into_iter().map(|sum| if count == 0 { f64::NAN } else { sum / f64::from(count) }).collect()
}

/// A number with four digits that count; empty for NaN.
fn digits(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value.is_nan() => String::new(),
        0.0 => "0".to_string(),
        s if (1e-2..1e3).contains(&s) => format!("{value:.4}"),
        s if (1e3..1e6).contains(&s) => format!("{value:.1}"),
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_in_samples_that_all_have() {
        let nan = f64::NAN;
        let columns = [vec![1.0, 5.0, nan, 3.0], vec![2.0, 4.0, 1.0, 3.0]];
        // The first is second, first, and shares a place.
        assert_eq!(mean_ranks(&columns, Better::Higher), [4.5 / 3.0, 4.5 / 3.0]);
        assert!(mean_ranks(&[vec![nan], vec![1.0]], Better::Lower)[0].is_nan());
    }

    #[test]
    fn methods_are_tested_against_the_best() {
        let records: Vec<Record> = (0..12)
            .flat_map(|sample| [0.1, 0.3].map(|shift| (sample, shift)))
            .map(|(sample, shift)| Record {
                method: String::new(),
                metric: String::new(),
                way: String::new(),
                input: String::new(),
                digest: String::new(),
                sample,
                class: 0,
                values: vec![sample as f64 + shift],
                curve: vec![1.0, sample as f64],
                explain_seconds: 0.5,
                measure_seconds: 0.25,
            })
            .collect();
        let rows = |which: usize| records.iter().skip(which).step_by(2).map(Some).collect::<Vec<_>>();
        let mut methods = vec![of_method("worse", &rows(1), 1, 0), of_method("better", &rows(0), 1, 0)];
        let column = |rows: &[Option<&Record>]| rows.iter().map(|r| r.map_or(f64::NAN, |r| r.values[0])).collect();
        compare(&mut methods, 0, Better::Lower, &[column(&rows(1)), column(&rows(0))], 0).unwrap();
        let test = methods[0].values[0].test.as_ref().unwrap();
        // 0.2 in each of 12 pairs: two of 4096 patterns of signs are as far from 0.
        assert!((test.difference - 0.2).abs() < 1e-12 && test.corrected == 2.0 / 4096.0 && test.best == "better");
        assert!(methods[1].values[0].test.is_none() && methods[1].values[0].rank == 1.0);
        let of = OfMetric { name: "m".to_string(), axes: None, values: vec![("v", Better::Lower)], methods };
        assert_eq!(of.order(), [1, 0]);
        let table = of.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("m ") && lines[2].starts_with("better") && lines[2].contains("best"), "{table}");
        assert!(lines[3].contains("0.0005") && lines[3].ends_with("0.5000"), "{table}");
        let entry = of.entry(&of.methods[0]);
        assert_eq!((&entry["n"], &entry["tests"]["v"]["against"]), (&json!(12), &json!("better")));
        assert_eq!(of.methods[0].curve.as_ref().unwrap().mean, [1.0, 5.5]);
    }
}
