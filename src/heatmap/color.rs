//! Colour maps.

use std::str::FromStr;

use crate::text::nearest;

/// From relevance of −1..1 to a colour.
///
/// Diverging maps are neutral in their middle and have a colour for each sign; sequential ones show the magnitude alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMap {
    /// Blue, white, red. Diverging.
    #[default]
    Bwr,
    /// Dark blue, blue, white, red, dark red. Diverging.
    Seismic,
    /// Cyan, blue, black, red, yellow. Diverging.
    Coldnhot,
    /// ColorBrewer's blue, white, red. Diverging, distinct for the colour-blind.
    RedBlue,
    /// ColorBrewer's purple, white, orange. Diverging, distinct for the colour-blind.
    PurpleOrange,
    /// Blue, light grey, red, of even lightness on both sides (Moreland, "Diverging Color Maps for Scientific Visualization",
    /// 2009). Diverging, distinct for the colour-blind.
    Coolwarm,
    /// Black, red, yellow, white, as of glowing metal. Sequential.
    Hot,
    /// Matplotlib's viridis. Sequential.
    Viridis,
    /// Matplotlib's plasma. Sequential.
    Plasma,
    /// Blue to yellow, the same to the colour-blind (Nuñez, Anderton and Renslow, 2018). Sequential.
    Cividis,
    /// Matplotlib's inferno. Sequential.
    Inferno,
    /// Matplotlib's magma. Sequential.
    Magma,
    /// Google's turbo. Sequential.
    Turbo,
    /// Black to white. Sequential.
    Grey,
    /// White to black, for paper. Sequential.
    GreyReversed,
}

impl ColorMap {
    /// All of them.
    pub const ALL: [ColorMap; 15] = [
        ColorMap::Bwr,
        ColorMap::Seismic,
        ColorMap::Coldnhot,
        ColorMap::RedBlue,
        ColorMap::PurpleOrange,
        ColorMap::Coolwarm,
        ColorMap::Hot,
        ColorMap::Viridis,
        ColorMap::Plasma,
        ColorMap::Cividis,
        ColorMap::Inferno,
        ColorMap::Magma,
        ColorMap::Turbo,
        ColorMap::Grey,
        ColorMap::GreyReversed,
    ];

    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            ColorMap::Bwr => "bwr",
            ColorMap::Seismic => "seismic",
            ColorMap::Coldnhot => "coldnhot",
            ColorMap::RedBlue => "red-blue",
            ColorMap::PurpleOrange => "purple-orange",
            ColorMap::Coolwarm => "coolwarm",
            ColorMap::Hot => "hot",
            ColorMap::Viridis => "viridis",
            ColorMap::Plasma => "plasma",
            ColorMap::Cividis => "cividis",
            ColorMap::Inferno => "inferno",
            ColorMap::Magma => "magma",
            ColorMap::Turbo => "turbo",
            ColorMap::Grey => "grey",
            ColorMap::GreyReversed => "grey-reversed",
        }
    }

    /// Whether each sign has a colour of its own.
    pub fn is_diverging(self) -> bool {
        matches!(
            self,
            ColorMap::Bwr
                | ColorMap::Seismic
                | ColorMap::Coldnhot
                | ColorMap::RedBlue
                | ColorMap::PurpleOrange
                | ColorMap::Coolwarm
        )
    }

    /// The colour of a relevance of −1 (strongest against) to 1 (strongest for); beyond that, of the nearer end.
    pub fn color(self, relevance: f64) -> [u8; 3] {
        let x = if relevance.is_nan() { 0.0 } else { relevance.clamp(-1.0, 1.0) };
        let gradient = |g: colorous::Gradient, t: f64| g.eval_continuous(t).as_array();
        match self {
            ColorMap::Bwr => stops(&[[0.0, 0.0, 1.0], [1.0; 3], [1.0, 0.0, 0.0]], x),
            ColorMap::Seismic => {
                stops(&[[0.0, 0.0, 0.3], [0.0, 0.0, 1.0], [1.0; 3], [1.0, 0.0, 0.0], [0.5, 0.0, 0.0]], x)
            }
            ColorMap::Coldnhot => {
                stops(&[[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0; 3], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]], x)
            }
            // These run from red and from orange.
            ColorMap::RedBlue => gradient(colorous::RED_BLUE, (1.0 - x) / 2.0),
            ColorMap::PurpleOrange => gradient(colorous::PURPLE_ORANGE, (1.0 + x) / 2.0),
            ColorMap::Coolwarm => stops(&COOLWARM.map(|color| color.map(|c| f64::from(c) / 255.0)), x),
            ColorMap::Hot => hot(x.abs()),
            ColorMap::Viridis => gradient(colorous::VIRIDIS, x.abs()),
            ColorMap::Inferno => gradient(colorous::INFERNO, x.abs()),
            ColorMap::Plasma => gradient(colorous::PLASMA, x.abs()),
            ColorMap::Cividis => gradient(colorous::CIVIDIS, x.abs()),
            ColorMap::Magma => gradient(colorous::MAGMA, x.abs()),
            ColorMap::Turbo => gradient(colorous::TURBO, x.abs()),
            ColorMap::Grey => [(x.abs() * 255.0).round() as u8; 3],
            ColorMap::GreyReversed => [((1.0 - x.abs()) * 255.0).round() as u8; 3],
        }
    }
}

/// Moreland's cool to warm at equal distances.
const COOLWARM: [[u8; 3]; 17] = [
    [59, 76, 192],
    [78, 104, 216],
    [98, 130, 234],
    [119, 154, 247],
    [141, 176, 254],
    [163, 194, 254],
    [185, 208, 249],
    [204, 217, 237],
    [221, 220, 220],
    [236, 211, 197],
    [245, 196, 172],
    [247, 176, 147],
    [244, 152, 122],
    [235, 125, 98],
    [221, 95, 75],
    [202, 59, 55],
    [180, 4, 38],
];

/// Red rises first, then green, then blue; the corners are Matplotlib's.
fn hot(x: f64) -> [u8; 3] {
    let (red, green) = (0.365079, 0.746032);
    let rise = |from: f64, to: f64| ((x - from) / (to - from)).clamp(0.0, 1.0);
    let channels = [0.0416 + (1.0 - 0.0416) * rise(0.0, red), rise(red, green), rise(green, 1.0)];
    channels.map(|c| (c * 255.0).round() as u8)
}

/// Linear between colours at equal distances over −1..1.
fn stops<const N: usize>(colors: &[[f64; 3]; N], x: f64) -> [u8; 3] {
    let at = (x + 1.0) / 2.0 * (N - 1) as f64;
    let below = (at as usize).min(N - 2);
    let part = at - below as f64;
    let (a, b) = (colors[below], colors[below + 1]);
    std::array::from_fn(|c| ((a[c] + (b[c] - a[c]) * part) * 255.0).round() as u8)
}

impl std::fmt::Display for ColorMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ColorMap {
    type Err = String;
    fn from_str(text: &str) -> Result<ColorMap, String> {
        let wanted = text.to_ascii_lowercase();
        ColorMap::ALL.into_iter().find(|c| c.name() == wanted).ok_or_else(|| {
            let near = nearest(text, ColorMap::ALL.iter().map(|c| c.name()), 3).join(", ");
            format!("there is no colour map \"{text}\"; the nearest names are: {near}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middle() {
        let cases = [
            (ColorMap::Bwr, [0, 0, 255], [255; 3], [255, 0, 0]),
            (ColorMap::Seismic, [0, 0, 77], [255; 3], [128, 0, 0]),
            (ColorMap::Coldnhot, [0, 255, 255], [0; 3], [255, 255, 0]),
            (ColorMap::Grey, [255; 3], [0; 3], [255; 3]),
            (ColorMap::GreyReversed, [0; 3], [255; 3], [0; 3]),
        ];
        for (map, low, middle, high) in cases {
            assert_eq!([map.color(-1.0), map.color(0.0), map.color(1.0)], [low, middle, high], "{map}");
            assert_eq!([map.color(-7.0), map.color(f64::NAN), map.color(7.0)], [low, middle, high], "{map}");
        }
    }

    /// Matplotlib 3.11's values at five places of the magnitude, and at both ends of coolwarm.
    #[test]
    fn colours_are_those_of_matplotlib() {
        let cases = [
            (ColorMap::Hot, [[11, 0, 0], [144, 0, 0], [255, 23, 0], [255, 157, 0], [255, 255, 54], [255; 3]]),
            (
                ColorMap::Plasma,
                [[13, 8, 135], [106, 0, 168], [177, 42, 144], [225, 100, 98], [252, 166, 54], [240, 249, 33]],
            ),
        ];
        for (map, wanted) in cases {
            for (i, want) in wanted.into_iter().enumerate() {
                let got = map.color(i as f64 / 5.0);
                // Matplotlib has 256 steps, each up to 4 levels from the next.
                assert!(
                    got.iter().zip(want).all(|(g, w): (&u8, u8)| g.abs_diff(w) <= 4),
                    "{map} {i}: {got:?} {want:?}"
                );
            }
        }
        assert_eq!([ColorMap::Coolwarm.color(-1.0), ColorMap::Coolwarm.color(1.0)], [[59, 76, 192], [180, 4, 38]]);
        assert_eq!(ColorMap::Coolwarm.color(0.5), [244, 152, 122]);
        let ends = [ColorMap::Cividis.color(0.0), ColorMap::Cividis.color(1.0)];
        let wanted = [[0, 34, 78], [254, 232, 56]];
        // The gradient is a polynomial near Matplotlib's values; where it is farthest, 13 levels of blue at the upper end.
        let near =
            |(got, want): (&[u8; 3], &[u8; 3])| got.iter().zip(want).all(|(g, w): (&u8, &u8)| g.abs_diff(*w) <= 13);
        assert!(ends.iter().zip(&wanted).all(near), "{ends:?}");
    }

    #[test]
    fn diverging_maps_are_warm_for_positive_and_cold_for_negative() {
        for map in ColorMap::ALL.into_iter().filter(|m| m.is_diverging()) {
            let ([r, _, b], [nr, _, nb]) = (map.color(0.8), map.color(-0.8));
            assert!(r > b && nb > nr, "{map}");
        }
        for map in ColorMap::ALL.into_iter().filter(|m| !m.is_diverging()) {
            assert_eq!(map.color(0.6), map.color(-0.6), "{map}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for map in ColorMap::ALL {
            assert_eq!(map.name().parse(), Ok(map));
        }
        assert!("veridis".parse::<ColorMap>().unwrap_err().contains("viridis"));
    }
}
