//! The options of how relevance is looked at, as a user gives them: what is in the files that they ask for.

#[path = "support/onnx_writer.rs"]
mod onnx_writer;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use onnx_writer::{Model, batch_of, int};
use relprop::input::npy;
use relprop::{Data, Tensor};
use serde_json::Value;

/// Height and width of the photo that the network takes.
const SIZE: usize = 4;
/// Pictures of it are enlarged that many times.
const FACTOR: u32 = 112;

/// A folder with a linear network N×3×4×4 → "no", "yes" and a photo. Its relevance is weight times input.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = (0..3 * SIZE * SIZE * 2).map(|i| ((i * 7 + i / 5) % 13) as f32 / 6.0 - 1.0).collect();
    let model = Model::new(17)
        .input("x", batch_of(&[3, 4, 4]))
        .floats("w", &[48, 2], weights)
        .node("Flatten", "x", "flat", vec![int("axis", 1)])
        .node("MatMul", "flat,w", "logits", vec![])
        .output("logits");
    std::fs::write(folder.path().join("net.onnx"), model.bytes()).unwrap();
    let description = "scale = 0.00392156862745098\nlabels = ['no', 'yes']\nfit = 'stretch'\n";
    std::fs::write(folder.path().join("net.toml"), description).unwrap();
    let photo =
        RgbImage::from_fn(4, 4, |x, y| Rgb([(x * 60 + 20) as u8, (y * 50 + 40) as u8, ((x + y) * 30 + 10) as u8]));
    photo.save(folder.path().join("photo.png")).unwrap();
    folder
}

/// Explains the photo and gives the last line.
fn explain(folder: &Path, options: &[&str]) -> String {
    let (code, out, err) = run(folder, options);
    assert_eq!(code, 0, "{options:?}: {out}{err}");
    out.lines().last().unwrap_or_default().to_string()
}

fn run(folder: &Path, options: &[&str]) -> (i32, String, String) {
    let args =
        ["explain", "photo.png", "-m", "net.onnx", "--backend", "cpu", "--composite", "epsilon", "--target", "yes"];
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_relprop"))
        .args(args)
        .args(options)
        .current_dir(folder)
        .output()
        .expect("a run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    assert!(!err.contains("panicked"), "{options:?}: {err}");
    (status.code().expect("an exit code"), out, err)
}

fn picture(folder: &Path, name: &str) -> RgbImage {
    let path = folder.join("relprop-out").join(name);
    image::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).to_rgb8()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("relprop-out")).expect("relprop-out");
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The photo's relevance, channel by channel.
fn relevance(folder: &Path) -> Vec<f64> {
    let tensor = npy::read(folder.join("relprop-out/photo.relevance.npy")).expect("relevance");
    assert_eq!(tensor.shape(), [1, 3, SIZE, SIZE]);
    tensor.to_vec()
}

/// Its sums over channels.
fn sums(relevance: &[f64]) -> Vec<f64> {
    let plane = SIZE * SIZE;
    (0..plane).map(|i| (0..3).map(|c| relevance[c * plane + i]).sum()).collect()
}

/// Blue, white, red.
fn bwr(share: f64) -> [u8; 3] {
    let pale = ((1.0 - share.abs().min(1.0)) * 255.0).round() as u8;
    if share < 0.0 { [pale, pale, 255] } else { [255, pale, pale] }
}

/// Every value of a map has the colour that it is to have, but for rounding.
fn assert_colors(picture: &RgbImage, (left, top): (u32, u32), map: &[f64], color: impl Fn(f64) -> [u8; 3]) {
    for (i, value) in map.iter().enumerate() {
        let (x, y) = ((i % SIZE) as u32 * FACTOR, (i / SIZE) as u32 * FACTOR);
        for (dx, dy) in [(0, 0), (FACTOR - 1, FACTOR - 1)] {
            let (got, want) = (picture.get_pixel(left + x + dx, top + y + dy).0, color(*value));
            let off = got.iter().zip(want).map(|(g, w)| g.abs_diff(w)).max();
            assert!(off <= Some(1), "value {i}, {value}: {got:?} is not {want:?}");
        }
    }
}

#[test]
fn ranges() {
    let folder = folder();
    let dir = folder.path();
    explain(dir, &["--range", "0.5"]);
    let map = sums(&relevance(dir));
    let most = map.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    assert_colors(&picture(dir, "photo.png"), (0, 0), &map, |v| bwr(v / 0.5));
    explain(dir, &["--range", "symmetric", "--percentile", "100"]);
    assert_colors(&picture(dir, "photo.png"), (0, 0), &map, |v| bwr(v / most));

    let report: Value = serde_json::from_slice(&std::fs::read(dir.join("relprop-out/report.json")).unwrap()).unwrap();
    let seed = report["inputs"][0]["targets"][0]["seed"].as_f64().unwrap();
    explain(dir, &["--range", "seed:2"]);
    assert_colors(&picture(dir, "photo.png"), (0, 0), &map, |v| bwr(v / (2.0 * seed.abs() / 16.0)));

    explain(dir, &["--range", "min-max", "--percentile", "100", "--colormap", "grey"]);
    let low = map.iter().copied().fold(f64::INFINITY, f64::min);
    let high = map.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(low < 0.0 && high > 0.0 && -low != high);
    let grey = |v: f64| [((v - low) / (high - low) * 255.0).round() as u8; 3];
    assert_colors(&picture(dir, "photo.png"), (0, 0), &map, grey);
}

#[test]
fn gamma_and_signs() {
    let folder = folder();
    let dir = folder.path();
    explain(dir, &["--range", "1", "--gamma", "0.5"]);
    let map = sums(&relevance(dir));
    assert_colors(&picture(dir, "photo.png"), (0, 0), &map, |v| bwr(v.signum() * v.abs().sqrt()));
    for (sign, shown) in [("positive", f64::max as fn(f64, f64) -> f64), ("negative", f64::min)] {
        explain(dir, &["--range", "1", "--sign", sign]);
        assert_colors(&picture(dir, "photo.png"), (0, 0), &map, |v| bwr(shown(v, 0.0)));
    }
    explain(dir, &["--range", "1", "--sign", "absolute"]);
    assert_colors(&picture(dir, "photo.png"), (0, 0), &map, |v| bwr(v.abs()));
}

#[test]
fn channels_alone_and_beside_each_other() {
    let folder = folder();
    let dir = folder.path();
    explain(dir, &["--range", "1", "--channel-maps", "each"]);
    let relevance = relevance(dir);
    let grid = picture(dir, "photo.png");
    // Three pictures of 448 under a line of 12, with 8 around each.
    assert_eq!(grid.dimensions(), (8 + 3 * 456, 8 + 12 + 448 + 8));
    for (c, plane) in relevance.chunks(SIZE * SIZE).enumerate() {
        assert_colors(&grid, (8 + c as u32 * 456, 20), plane, bwr);
    }
    assert_eq!(picture(dir, "photo.overlay.png").dimensions(), grid.dimensions());
    for name in ["G", "g", "1"] {
        explain(dir, &["--range", "1", "--channel-maps", name]);
        assert_colors(&picture(dir, "photo.png"), (0, 0), &relevance[16..32], bwr);
    }
    explain(dir, &["--range", "1", "--channel-maps", "B,R"]);
    assert_colors(&picture(dir, "photo.png"), (8, 20), &relevance[32..], bwr);
    let (code, _, err) = run(dir, &["--channel-maps", "alpha"]);
    assert!(code == 2 && err.contains("no channel \"alpha\"; give R, G, B or its number"), "{err}");
    let (_, _, err) = run(dir, &["--channel-maps", "3"]);
    assert!(err.contains("there is no channel 3: they are 0 to 2"), "{err}");
}

#[test]
fn overlays_contours_and_masks() {
    let folder = folder();
    let dir = folder.path();
    let given = ["--overlay-strength", "0", "--mask", "25", "--contour", "25", "--smooth", "0"];
    explain(dir, &given);
    assert_eq!(
        names(dir),
        [
            "photo.contour.png",
            "photo.masked.png",
            "photo.overlay.png",
            "photo.png",
            "photo.relevance.npy",
            "report.json"
        ]
    );
    let over = picture(dir, "photo.overlay.png");
    assert!(over.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]), "nothing but the photo in grey");
    let masked = picture(dir, "photo.masked.png");
    let count = masked.pixels().filter(|p| !(p.0[0] == p.0[1] && p.0[1] == p.0[2])).count();
    let part = count as f64 / f64::from(masked.width() * masked.height());
    // A quarter, but for pixels of the same relevance.
    assert!((part - 0.25).abs() < 0.01, "{part}");
    let outlined = picture(dir, "photo.contour.png");
    let lines = outlined.pixels().filter(|p| p.0 == [255, 0, 0]).count();
    assert!(lines > 100 && lines < count, "{lines} pixels of lines around {count}");
    // Where the line is, the mask has an edge.
    let edge = outlined.enumerate_pixels().filter(|(_, _, p)| p.0 == [255, 0, 0]).all(|(x, y, _)| {
        let p = masked.get_pixel(x, y).0;
        !(p[0] == p[1] && p[1] == p[2])
    });
    assert!(edge, "lines are inside the region");
    explain(dir, &["--mask", "25", "--smooth", "30"]);
    assert_ne!(picture(dir, "photo.masked.png"), masked);
}

#[test]
fn titles_and_colour_bars() {
    let folder = folder();
    let dir = folder.path();
    explain(dir, &["--range", "1"]);
    let (plain, over) = (picture(dir, "photo.png"), picture(dir, "photo.overlay.png"));
    explain(dir, &["--range", "1", "--annotate"]);
    for (name, plain) in [("photo.png", plain), ("photo.overlay.png", over)] {
        let annotated = picture(dir, name);
        // A line above, a bar of 10 and a line below, 8 around.
        assert_eq!(annotated.dimensions(), (plain.width() + 16, plain.height() + 58), "{name}");
        let inner = image::imageops::crop_imm(&annotated, 8, 20, plain.width(), plain.height()).to_image();
        assert_eq!(inner, plain, "{name}");
        let ink = |rows: std::ops::Range<u32>| {
            annotated.enumerate_pixels().filter(|(_, y, p)| rows.contains(y) && p.0 == [0; 3]).count()
        };
        assert!(ink(8..20) > 100, "{name}: a title");
        assert!(ink(plain.height() + 38..plain.height() + 58) > 50, "{name}: numbers");
        let bar = |x: u32| annotated.get_pixel(x, plain.height() + 30).0;
        assert_eq!([bar(8), bar(7 + plain.width())], [[0, 0, 255], [255, 0, 0]], "{name}");
    }
}

#[test]
fn formats() {
    let folder = folder();
    let dir = folder.path();
    explain(dir, &["--format", "npz,png16,tiff,npy"]);
    assert_eq!(names(dir), ["photo.16bit.png", "photo.npz", "photo.relevance.npy", "photo.tiff", "report.json"]);
    let (all, out) = (relevance(dir), dir.join("relprop-out"));
    let map = sums(&all);

    let mut archive = zip::ZipArchive::new(std::fs::File::open(out.join("photo.npz")).unwrap()).unwrap();
    let mut array = |name: &str| -> Tensor {
        let mut bytes = Vec::new();
        archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
        npy::parse(name, &bytes).unwrap()
    };
    assert_eq!(array("relevance"), npy::read(out.join("photo.relevance.npy")).unwrap());
    let input = array("input");
    // Red of the first pixel.
    assert_eq!(
        (input.shape(), input.get(0)),
        (&[1, 3, 4, 4][..], Some(f64::from((20.0 * 0.003_921_568_627_450_98) as f32)))
    );
    assert_eq!(array("output").shape(), [1, 2]);
    assert!(matches!(array("target").data(), Data::I64(class) if class[..] == [1]));
    assert_eq!(array("seed").get(0), array("output").get(1));

    let mut decoder = tiff::decoder::Decoder::new(std::fs::File::open(out.join("photo.tiff")).unwrap()).unwrap();
    let tiff::decoder::DecodingResult::F32(floats) = decoder.read_image().unwrap() else { panic!("no floats") };
    assert_eq!(floats, map.iter().map(|v| *v as f32).collect::<Vec<_>>());

    let file = std::io::BufReader::new(std::fs::File::open(out.join("photo.16bit.png")).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut grey = vec![0; 2 * SIZE * SIZE];
    reader.next_frame(&mut grey).unwrap();
    let text = reader.info().uncompressed_latin1_text.iter().find(|t| t.keyword == "relprop:scale").expect("a scale");
    let scale: f64 = text.text.parse().unwrap();
    for (pixel, want) in grey.chunks(2).zip(&map) {
        let got = (f64::from(u16::from_be_bytes([pixel[0], pixel[1]])) - 32768.0) / 32767.0 * scale;
        // Half a step.
        assert!((got - want).abs() <= 0.5001 * scale / 32767.0, "{got} is not {want}");
    }
    std::fs::remove_dir_all(&out).unwrap();
    explain(dir, &["--format", "png"]);
    assert_eq!(names(dir), ["photo.overlay.png", "photo.png", "report.json"]);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let folder = folder();
    let cases = [
        (&["--range", "minmax"][..], "is no range"),
        (&["--range", "0"], "is no range"),
        (&["--gamma", "0"], "above 0"),
        (&["--gamma", "nan"], "above 0"),
        (&["--sign", "plus"], "there is no sign"),
        (&["--overlay-strength", "1.5"], "from 0 to 1"),
        (&["--contour", "101"], "from 0 to 100"),
        (&["--mask=-1"], "from 0 to 100"),
        (&["--smooth", "1e9"], "from 0 to 1000"),
        (&["--format", "bmp"], "png16"),
        (&["--colormap", "jet"], "there is no colour map"),
    ];
    for (options, message) in cases {
        let (code, _, err) = run(folder.path(), options);
        assert!(code == 2 && err.contains(message), "{options:?}: {code} {err}");
    }
}

#[test]
fn a_run_with_another_look_is_not_resumed() {
    let folder = folder();
    let dir = folder.path();
    let last =
        |options: &[&str]| explain(dir, &[options, &["--resume"]].concat()).split(" in ").next().unwrap().to_string();
    let looks = [
        &[][..],
        &["--range", "min-max"],
        &["--gamma", "0.5"],
        &["--sign", "positive"],
        &["--channel-maps", "each"],
        &["--overlay-strength", "0.5"],
        &["--contour", "5"],
        &["--mask", "5"],
        &["--smooth", "2"],
        &["--annotate"],
        &["--format", "png,npz"],
        &["--colormap", "coolwarm"],
    ];
    for options in looks {
        assert_eq!(last(options), "1 explained", "{options:?}");
        assert_eq!(last(options), "0 explained, 1 done before", "{options:?}");
    }
}
