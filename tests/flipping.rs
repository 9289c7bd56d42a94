//! Pixel flipping and its relatives, against restatements, Quantus, and what is known of simple networks.

mod support;

use relprop::evaluate::{Fill, FlippingKind, Metric, NAMES, Order, Road, Score, ScoreOf, Settings, Subject};
use relprop::methods::{Method, Runner};
use relprop::{Backend, Conv, Network, Precision, Predictor, Tensor};
use support::distance;
use support::random::Random;

const EXACT: (Backend, Precision) = (Backend::Cpu, Precision::F64);
const CHANNELS: usize = 2;
const HEIGHT: usize = 6;
const WIDTH: usize = 7;
const POSITIONS: usize = HEIGHT * WIDTH;
const LOGITS: Settings = Settings { channels_last: false, score: ScoreOf::Logit, seed: 3 };
const PROBABILITIES: Settings = Settings { score: ScoreOf::Probability, ..LOGITS };

/// Measures the second class of every sample.
fn measure_on(
    (backend, precision): (Backend, Precision),
    network: &Network,
    metric: &str,
    [input, map]: [&Tensor; 2],
    settings: &Settings,
    batch: usize,
) -> relprop::Result<Vec<Score>> {
    let mut runner = Runner::new(network)?.backend(backend).precision(precision).batch(batch);
    let classes = vec![1; input.shape()[0]];
    let subject = Subject { input, classes: &classes, map, method: &Method::Gradient, truth: None };
    metric.parse::<Metric>()?.measure(&mut runner, &subject, settings)
}

fn measure(network: &Network, metric: &str, subject: [&Tensor; 2], settings: &Settings) -> Vec<Score> {
    measure_on(EXACT, network, metric, subject, settings, 8).unwrap()
}

/// A convolution, ReLU and a dense layer to three classes.
fn network() -> Network {
    let mut random = Random::new(5);
    let mut net = Network::builder("small");
    let x = net.input("x", &[CHANNELS, HEIGHT, WIDTH]);
    let h = net.conv("conv", x, Conv::new(random.tensor(&[4, CHANNELS, 3, 3], 0.5), None).padding(1)).unwrap();
    let h = net.relu("relu", h).unwrap();
    let h = net.flatten("flat", h).unwrap();
    let y = net.dense("y", h, random.tensor(&[3, 4 * POSITIONS], 0.15), Some(random.tensor(&[3], 0.3))).unwrap();
    net.output(y);
    net.build().unwrap()
}

/// Samples and maps for it.
fn subject(samples: usize) -> [Tensor; 2] {
    let mut random = Random::new(11);
    let shape = [samples, CHANNELS, HEIGHT, WIDTH];
    [random.tensor(&shape, 1.0), random.tensor(&shape, 1.0)]
}

/// SplitMix64, as the library's random numbers are.
struct Splitmix(u64);

impl Splitmix {
    fn stream(seed: u64, stream: u64) -> Splitmix {
        let first = Splitmix(seed.wrapping_mul(0x1_0000_0001).wrapping_add(stream)).next();
        Splitmix(first)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, ((self.next() as u128 * (last + 1) as u128) >> 64) as usize);
        }
        order
    }
}

/// The region of each position, and the regions in the order in which they go.
fn naive_order(map: &[f64], size: usize, order: &str) -> (Vec<usize>, Vec<usize>) {
    let columns = WIDTH.div_ceil(size);
    let region_of: Vec<usize> = (0..POSITIONS).map(|p| p / WIDTH / size * columns + p % WIDTH / size).collect();
    let regions = columns * HEIGHT.div_ceil(size);
    if order == "random" {
        return (region_of, Splitmix::stream(LOGITS.seed, 1 << 40).order(regions));
    }
    let mut sums = vec![0.0; regions];
    map.iter().enumerate().for_each(|(at, r)| sums[region_of[at % POSITIONS]] += r);
    let mut ordered: Vec<usize> = (0..regions).collect();
    let sign = if order == "morf" { -1.0 } else { 1.0 };
    ordered.sort_by(|a, b| (sign * sums[*a]).partial_cmp(&(sign * sums[*b])).unwrap().then(a.cmp(b)));
    (region_of, ordered)
}

/// A channel with positions replaced.
fn naive_fill(channel: usize, x: &[f64], away: &[bool], fill: &str) -> Vec<f64> {
    let (low, high) = x.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let mut random = Splitmix::stream(LOGITS.seed, (2 << 40) + channel as u64);
    let apart = |a: usize, b: usize| [(a / WIDTH).abs_diff(b / WIDTH), (a % WIDTH).abs_diff(b % WIDTH)];
    let mut made = x.to_vec();
    match fill {
        "zero" => (0..POSITIONS).filter(|p| away[*p]).for_each(|p| made[p] = 0.0),
        "mean" => (0..POSITIONS).filter(|p| away[*p]).for_each(|p| made[p] = mean),
        "noise" => {
            let noise: Vec<f64> = (0..POSITIONS).map(|_| low + (high - low) * random.uniform()).collect();
            (0..POSITIONS).filter(|p| away[*p]).for_each(|p| made[p] = noise[p]);
        }
        "blur/0.2" => {
            // Of the shorter side, 6 rows; 3 deviations are 3.6, so 4 positions.
            let deviation = 0.2 * HEIGHT as f64;
            let weight = |[dy, dx]: [usize; 2]| match dy.max(dx) {
                0..=4 => (-0.5 * (dy * dy + dx * dx) as f64 / (deviation * deviation)).exp(),
                _ => 0.0,
            };
            for p in (0..POSITIONS).filter(|p| away[*p]) {
                let whole: f64 = (0..POSITIONS).map(|q| weight(apart(p, q))).sum();
                made[p] = (0..POSITIONS).map(|q| weight(apart(p, q)) * x[q]).sum::<f64>() / whole;
            }
        }
        _ => {
            // Each missing value again and again the mean of its neighbours (Gauss and Seidel).
            let weight = |p: usize, q: usize| match apart(p, q) {
                [0, 1] | [1, 0] => 1.0 / 6.0,
                [1, 1] => 1.0 / 12.0,
                _ => 0.0,
            };
            if away.iter().all(|away| *away) {
                made = vec![mean; POSITIONS];
            }
            for _ in 0..2000 {
                for p in (0..POSITIONS).filter(|p| away[*p] && away.contains(&false)) {
                    let whole: f64 = (0..POSITIONS).map(|q| weight(p, q)).sum();
                    made[p] = (0..POSITIONS).map(|q| weight(p, q) * made[q]).sum::<f64>() / whole;
                }
            }
            for p in 0..POSITIONS {
                let noise = 0.01 * (high - low) * random.normal();
                made[p] += if away[p] { noise } else { 0.0 };
            }
        }
    }
    made
}

/// The outputs for a sample with `away` replaced.
fn naive_output(predictor: &mut Predictor, x: &[f64], away: &[bool], fill: &str) -> Vec<f64> {
    let made = x.chunks(POSITIONS).enumerate().flat_map(|(channel, x)| naive_fill(channel, x, away, fill)).collect();
    let made = Tensor::from_f64([1, CHANNELS, HEIGHT, WIDTH], made).unwrap();
    predictor.run(&[made]).unwrap().remove(0).1.to_vec()
}

fn softmax(output: &[f64], class: usize) -> f64 {
    output[class].exp() / output.iter().map(|y| y.exp()).sum::<f64>()
}

#[test]
fn curves_are_those_of_a_restatement_for_every_fill_and_order() {
    let network = network();
    let [x, map] = subject(2);
    let (values, maps) = (x.to_vec::<f64>(), map.to_vec::<f64>());
    let mut predictor = Predictor::new(&network, 1, EXACT.0, EXACT.1, None).unwrap();
    let len = CHANNELS * POSITIONS;
    for fill in ["zero", "mean", "blur/0.2", "noise", "inpaint"] {
        for (order, size, steps, upto) in
            [("morf", 1, 5, 1.0), ("lrf", 2, 100, 1.0), ("random", 3, 4, 0.7), ("morf", 4, 3, 1.0), ("lrf", 1, 7, 0.4)]
        {
            let text = format!("order={order},size={size},steps={steps},upto={upto},fill={fill}");
            let flipping = measure(&network, &format!("pixel-flipping:{text}"), [&x, &map], &PROBABILITIES);
            let deletion = measure(&network, &format!("deletion:{text}"), [&x, &map], &PROBABILITIES);
            let insertion = measure(&network, &format!("insertion:{text}"), [&x, &map], &PROBABILITIES);
            for sample in 0..2 {
                let part = sample * len..(sample + 1) * len;
                let (region_of, ordered) = naive_order(&maps[part.clone()], size, order);
                let regions = ordered.len();
                let last = (upto * regions as f64).round() as usize;
                let steps = steps.min(last);
                let mut scores = |regions: &[usize]| {
                    let away: Vec<bool> = region_of.iter().map(|region| regions.contains(region)).collect();
                    softmax(&naive_output(&mut predictor, &values[part.clone()], &away, fill), 1)
                };
                let counts: Vec<usize> = (0..=steps).map(|k| k * last / steps).collect();
                let gone: Vec<f64> = counts.iter().map(|count| scores(&ordered[..*count])).collect();
                let come: Vec<f64> = counts.iter().map(|count| scores(&ordered[*count..])).collect();
                // The mean height, with each step as wide as the regions that went in it.
                let area = |curve: &[f64]| {
                    let parts =
                        (0..steps).map(|k| (curve[k] + curve[k + 1]) / 2.0 * (counts[k + 1] - counts[k]) as f64);
                    parts.sum::<f64>() / last as f64
                };
                let aopc = gone.iter().map(|f| gone[0] - f).sum::<f64>() / (steps + 1) as f64;
                let part_of_first: Vec<f64> = gone.iter().map(|f| f / gone[0]).collect();
                // Rounding, and what inpainting leaves unsolved.
                let same =
                    |found: &[f64], want: &[f64]| assert!(distance(found, want) < 1e-8, "{text} {found:?} {want:?}");
                same(&flipping[sample].curve, &part_of_first);
                same(&flipping[sample].values, &[aopc / gone[0], area(&gone) / gone[0]]);
                same(&deletion[sample].curve, &gone);
                same(&deletion[sample].values, &[area(&gone)]);
                same(&insertion[sample].curve, &come);
                same(&insertion[sample].values, &[area(&come)]);
            }
        }
    }
}

#[test]
fn normalised_insertion_is_a_part_of_the_whole_sample_s_score() {
    let network = network();
    let [x, map] = subject(2);
    let run = |metric: &str| measure(&network, metric, [&x, &map], &PROBABILITIES);
    let plain = run("insertion:steps=6,upto=0.5");
    let whole = run("deletion:steps=1");
    for (score, (plain, whole)) in
        run("insertion:steps=6,upto=0.5,normalised=true").iter().zip(plain.iter().zip(&whole))
    {
        let want: Vec<f64> = plain.curve.iter().map(|f| f / whole.curve[0]).collect();
        assert!(distance(&score.curve, &want) < 1e-12);
        assert!(distance(&score.values, &[plain.values[0] / whole.curve[0]]) < 1e-12);
    }
}

#[test]
fn road_is_a_restatement() {
    let network = network();
    let [x, map] = subject(2);
    let (values, maps) = (x.to_vec::<f64>(), map.to_vec::<f64>());
    let mut predictor = Predictor::new(&network, 1, EXACT.0, EXACT.1, None).unwrap();
    let len = CHANNELS * POSITIONS;
    let mut naive = |sample: usize, order: &str| -> (Vec<f64>, f64) {
        let part = sample * len..(sample + 1) * len;
        let (_, ordered) = naive_order(&maps[part.clone()], 1, order);
        let output = |percent: usize| {
            let gone = &ordered[..percent * POSITIONS / 100];
            let away: Vec<bool> = (0..POSITIONS).map(|p| gone.contains(&p)).collect();
            naive_output(&mut predictor, &values[part.clone()], &away, "inpaint")
        };
        let outputs: Vec<Vec<f64>> = (0..10).map(|tenth| 10 * tenth).map(output).collect();
        let right = outputs[1..].iter().filter(|y| y[1] > y[0] && y[1] > y[2]).count();
        (outputs.iter().map(|y| softmax(y, 1)).collect(), right as f64 / 9.0)
    };
    let mean = |curve: &[f64]| curve[1..].iter().sum::<f64>() / 9.0;
    let found = ["road", "road:order=lrf", "road:order=random", "road-combined"]
        .map(|metric| measure(&network, metric, [&x, &map], &PROBABILITIES));
    for sample in 0..2 {
        let wanted = ["morf", "lrf", "random"].map(|order| naive(sample, order));
        for (found, (curve, accuracy)) in found.iter().zip(&wanted) {
            assert!(distance(&found[sample].curve, curve) < 1e-8);
            assert!(distance(&found[sample].values, &[mean(curve), *accuracy]) < 1e-8);
        }
        let [(morf, morf_right), (lrf, lrf_right), _] = &wanted;
        let half: Vec<f64> = lrf.iter().zip(morf).map(|(l, m)| (l - m) / 2.0).collect();
        assert!(distance(&found[3][sample].curve, &half) < 1e-8);
        let want = [mean(&half), (lrf_right - morf_right) / 2.0];
        assert!(distance(&found[3][sample].values, &want) < 1e-8);
    }
}

/// What Quantus 0.6 says of a small network with one channel, in float32: it flips each channel of a position alone. Its curves
/// of pixel flipping and ROAD leave x_0 out, and its area under the curve counts each step as 1 wide, without x_0.
#[test]
fn curves_are_those_of_quantus() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/evaluate");
    let network = Network::from_onnx(folder.join("flipping.onnx")).unwrap();
    let read = |name: &str| relprop::input::npy::read(folder.join(format!("{name}.npy"))).unwrap();
    let rows = |name: &str, width: usize| -> Vec<Vec<f64>> {
        read(name).to_vec::<f64>().chunks(width).map(<[f64]>::to_vec).collect()
    };
    let (input, map) = (read("flipping-x"), read("flipping-maps"));
    let classes: Vec<usize> = read("flipping-classes").to_vec::<f64>().iter().map(|class| *class as usize).collect();
    let run = |metric: &str| {
        let mut runner = Runner::new(&network).unwrap().backend(Backend::Cpu).batch(4);
        let subject = Subject { input: &input, classes: &classes, map: &map, method: &Method::Gradient, truth: None };
        metric.parse::<Metric>().unwrap().measure(&mut runner, &subject, &PROBABILITIES).unwrap()
    };
    // Both compute in float32.
    let same =
        |found: &[f64], want: &[f64], what: &str| assert!(distance(found, want) < 1e-5, "{what}: {found:?} {want:?}");
    let flipping = run("deletion:steps=16");
    for (found, want) in flipping.iter().zip(rows("pixel-flipping", 16)) {
        same(&found.curve[1..], &want, "pixel flipping");
    }
    for order in ["morf", "lrf"] {
        // Quantus gives the drops.
        let found = run(&format!("region-perturbation:size=2,order={order},fill=zero,normalised=false"));
        for (found, want) in found.iter().zip(rows(&format!("region-perturbation-{order}"), 16)) {
            let drops: Vec<f64> = found.curve[1..].iter().map(|f| found.curve[0] - f).collect();
            same(&drops, &want, "region perturbation");
            same(&found.values[..1], &[want.iter().sum::<f64>() / 17.0], "AOPC");
        }
        let found = run(&format!("road:order={order},noise=0"));
        let wanted =
            rows(&format!("road-{order}-curves"), 9).into_iter().zip(read(&format!("road-{order}")).to_vec::<f64>());
        for (found, (curve, accuracy)) in found.iter().zip(wanted) {
            same(&found.curve[1..], &curve, "ROAD");
            same(&found.values[1..], &[accuracy], "ROAD's accuracy");
        }
    }
}

/// y = Σ x, and another output of 0.
fn sum(values: usize) -> Network {
    let mut net = Network::builder("sum");
    let x = net.input("x", &[values]);
    let weights = (0..2 * values).map(|i| if i < values { 0.0 } else { 1.0 }).collect();
    let y = net.dense("y", x, Tensor::from_f32([2, values], weights).unwrap(), None).unwrap();
    net.output(y);
    net.build().unwrap()
}

#[test]
fn sums_lose_what_is_taken_away() {
    let x = Tensor::from_f64([2, 3], vec![1.0, 2.0, 4.0, 2.0, -3.0, 1.0]).unwrap();
    let run = |metric: &str| measure(&sum(3), metric, [&x, &x], &LOGITS);
    let found = run("pixel-flipping:fill=zero");
    let curve = [7.0, 3.0, 1.0, 0.0].map(|f| f / 7.0);
    assert!(distance(&found[0].curve, &curve) < 1e-12);
    assert!(distance(&found[0].values, &[17.0 / 28.0, 7.5 / 21.0]) < 1e-12);
    // 2 − 3 + 1 = 0: a part of nothing.
    assert!(found[1].values.iter().all(|value| value.is_nan()) && found[1].curve.is_empty());
    let found = run("pixel-flipping:fill=zero,normalised=false,order=lrf");
    assert_eq!(found[1].curve, [0.0, 3.0, 2.0, 0.0]);
    assert_eq!(run("insertion:fill=zero")[0].curve, [0.0, 4.0, 6.0, 7.0]);
    // Means keep the sum when all are gone.
    assert!(distance(&run("deletion:fill=mean,steps=1")[0].curve, &[7.0, 7.0]) < 1e-12);
    // With equal relevance the first position goes first.
    let nothing = Tensor::from_f64([2, 3], vec![0.0; 6]).unwrap();
    for order in ["morf", "lrf"] {
        let found = measure(&sum(3), &format!("deletion:order={order}"), [&x, &nothing], &LOGITS);
        assert_eq!(found[0].curve, [7.0, 6.0, 4.0, 0.0]);
    }
    // Any order of equal values is as good as another.
    let equal = Tensor::from_f64([1, 4], vec![0.5; 4]).unwrap();
    let found = measure(&sum(4), "deletion:order=random", [&equal, &equal], &LOGITS);
    assert_eq!(found[0].curve, [2.0, 1.5, 1.0, 0.5, 0.0]);
    // Nothing to see in a picture of one colour: what is inpainted is what was there.
    let found = measure(&sum(4), "road", [&equal, &equal], &LOGITS);
    assert!(distance(&found[0].curve, &[2.0; 10]) < 1e-12 && found[0].values[1] == 1.0);
}

#[test]
fn a_sample_alone_and_among_others_in_any_batch_is_the_same() {
    let network = network();
    let [x, map] = subject(5);
    for metric in
        ["region-perturbation:size=2", "pixel-flipping:fill=inpaint,steps=7", "insertion:order=random", "road-combined"]
    {
        let all = measure(&network, metric, [&x, &map], &PROBABILITIES);
        for batch in [1, 3, 64] {
            for sample in [0, 3] {
                let [x, map] = [&x, &map].map(|tensor| tensor.rows(sample, sample + 1).unwrap());
                let alone = measure_on(EXACT, &network, metric, [&x, &map], &PROBABILITIES, batch).unwrap();
                // The same inputs to the bit; products may sum in another order.
                assert!(distance(&alone[0].curve, &all[sample].curve) < 1e-13, "{metric}, batch {batch}");
                assert!(distance(&alone[0].values, &all[sample].values) < 1e-13, "{metric}, batch {batch}");
            }
        }
        let other = Settings { seed: 4, ..PROBABILITIES };
        assert_ne!(measure(&network, metric, [&x, &map], &other)[0].curve, all[0].curve, "{metric}: the seed counts");
    }
}

#[test]
fn float32_and_the_gpu_agree_with_float64() {
    let network = network();
    let [x, map] = subject(3);
    for metric in ["pixel-flipping", "region-perturbation:size=2", "deletion:order=lrf", "insertion", "road"] {
        let exact = measure(&network, metric, [&x, &map], &PROBABILITIES);
        for place in [(Backend::Cpu, Precision::F32), (Backend::Gpu, Precision::F32)] {
            let found = measure_on(place, &network, metric, [&x, &map], &PROBABILITIES, 16).unwrap();
            for (found, exact) in found.iter().zip(&exact) {
                // Logits of a few units carry float32's 1e-7; the scores they make are below 1.
                assert!(distance(&found.curve, &exact.curve) < 1e-5, "{metric} {place:?}");
                assert!(distance(&found.values, &exact.values) < 1e-5, "{metric} {place:?}");
            }
        }
    }
}

/// The same function of pictures with their channels last: a dense layer with its weights moved.
#[test]
fn channels_may_be_last() {
    let mut random = Random::new(9);
    let len = CHANNELS * POSITIONS;
    let weights = random.tensor(&[3, len], 0.3).to_vec::<f64>();
    let moved = |values: &[f64]| -> Vec<f64> {
        values.chunks(len).flat_map(|row| (0..len).map(|at| row[at % CHANNELS * POSITIONS + at / CHANNELS])).collect()
    };
    let dense = |shape: &[usize], weights: Vec<f64>| {
        let mut net = Network::builder("dense");
        let x = net.input("x", shape);
        let x = net.flatten("flat", x).unwrap();
        let y = net.dense("y", x, Tensor::from_f64([3, len], weights).unwrap(), None).unwrap();
        net.output(y);
        net.build().unwrap()
    };
    let first = dense(&[CHANNELS, HEIGHT, WIDTH], weights.clone());
    let last = dense(&[HEIGHT, WIDTH, CHANNELS], moved(&weights));
    let [x, map] = subject(2);
    let [moved_x, moved_map] =
        [&x, &map].map(|t| Tensor::from_f64([2, HEIGHT, WIDTH, CHANNELS], moved(&t.to_vec::<f64>())).unwrap());
    let settings = Settings { channels_last: true, ..PROBABILITIES };
    for fill in ["zero", "mean", "blur", "noise", "inpaint"] {
        let metric = format!("region-perturbation:size=3,fill={fill}");
        let want = measure(&first, &metric, [&x, &map], &PROBABILITIES);
        let found = measure(&last, &metric, [&moved_x, &moved_map], &settings);
        for (found, want) in found.iter().zip(&want) {
            assert!(distance(&found.curve, &want.curve) < 1e-12, "{fill}");
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let [x, map] = subject(1);
    let run = |network: &Network, subject: [&Tensor; 2], settings: &Settings| {
        measure_on(EXACT, network, "pixel-flipping", subject, settings, 2).unwrap_err().to_string()
    };
    let mut values = map.to_vec::<f64>();
    values[5] = f64::NAN;
    let broken = Tensor::from_f64(map.shape(), values).unwrap();
    let said = run(&network(), [&x, &broken], &LOGITS);
    assert!(said.contains("the map holds NaN or infinity at value 5"), "{said}");
    let other = Tensor::from_f64([1, 3], vec![1.0; 3]).unwrap();
    let said = run(&network(), [&other, &other], &LOGITS);
    assert!(said.contains("must be N×2×6×7"), "{said}");
    let mut net = Network::builder("one output");
    let input = net.input("x", &[3]);
    let y = net.dense("y", input, Tensor::from_f32([1, 3], vec![1.0; 3]).unwrap(), None).unwrap();
    net.output(y);
    let one = net.build().unwrap();
    let said = run(&one, [&other, &other], &LOGITS);
    assert!(said.contains("class 1 of an output of 1 values"), "{said}");
    let mut runner = Runner::new(&one).unwrap().backend(Backend::Cpu);
    let subject = Subject { input: &other, classes: &[0], map: &other, method: &Method::Gradient, truth: None };
    let metric: Metric = "road".parse().unwrap();
    let said = metric.measure(&mut runner, &subject, &PROBABILITIES).unwrap_err().to_string();
    assert!(said.contains("score by the logit"), "{said}");
}

#[test]
fn names_and_parameters() {
    let flipping = |kind: FlippingKind| kind.usual();
    for (text, metric) in [
        ("pixel-flipping", Metric::Flipping(flipping(FlippingKind::PixelFlipping))),
        (
            "region-perturbation:size=9, steps=50,upto=0.5,fill=blur/0.1,normalised=false,order=lrf",
            Metric::Flipping(relprop::evaluate::Flipping {
                size: Some(9),
                steps: 50,
                upto: 0.5,
                fill: Fill::Blur(0.1),
                normalised: false,
                order: Order::Lrf,
                ..flipping(FlippingKind::RegionPerturbation)
            }),
        ),
        ("road", Metric::Road(Road::default())),
        ("road:order=lrf", Metric::Road(Road { order: Some(Order::Lrf), ..Road::default() })),
        ("road-combined:noise=0", Metric::Road(Road { order: None, noise: 0.0 })),
    ] {
        assert_eq!(text.parse::<Metric>().unwrap(), metric);
    }
    for name in NAMES {
        let metric: Metric = name.parse().unwrap();
        assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric, "{metric}");
    }
    for (text, says) in [
        ("pixel-fliping", "nearest: pixel-flipping"),
        ("pixel-flipping:steps", "\"steps\" is not of the form key=value"),
        ("pixel-flipping:stepps=3", "nearest: steps"),
        ("pixel-flipping:steps=3,steps=4", "\"steps\" is given twice"),
        ("pixel-flipping:steps=0", "steps=0 is not a whole number from 1"),
        ("pixel-flipping:size=-1", "size=-1 is not a whole number from 1"),
        ("pixel-flipping:upto=1.5", "upto=1.5 is not a share"),
        ("deletion:upto=NaN", "upto=NaN is not a share"),
        ("insertion:fill=blur/0", "fill=blur/0: it is zero, mean"),
        ("insertion:fill=zero/1", "fill=zero/1: it is zero, mean"),
        ("insertion:order=up", "it is morf, lrf or random"),
        ("insertion:normalised=1", "not true or false"),
        ("road:steps=3", "there is no \"steps\""),
        ("road-combined:order=lrf", "there is no \"order\""),
        ("road:noise=-1", "noise=-1 is not a number from 0 to 1"),
    ] {
        let said = text.parse::<Metric>().unwrap_err().to_string();
        assert!(said.contains(says), "{text}: {said}");
    }
}
