//! A sparse linear map along one axis: what slicing, padding, gathering, resizing, expanding, average pooling and
//! reducing all are.

use crate::error::{Error, Result};

/// A sparse matrix in compressed rows: `y[j] = Σ_k weight[k] · x[source[k]]` for k in `starts[j]..starts[j+1]`.
///
/// A row without entries gives 0 (zero padding). The adjoint of the map is its [`transpose`](AxisMap::transpose).
#[derive(Clone, Debug, PartialEq)]
pub struct AxisMap {
    inputs: usize,
    starts: Vec<u32>,
    sources: Vec<u32>,
    weights: Vec<f64>,
}

impl AxisMap {
    /// Builds the map from its rows, each a list of (input position, weight).
    ///
    /// # Errors
    /// [`Error::Shape`] when a position is not below `inputs`, or the map has more than 2²⁴ inputs, rows or entries.
    pub fn from_rows(inputs: usize, rows: impl IntoIterator<Item = Vec<(usize, f64)>>) -> Result<AxisMap> {
        check_size(inputs)?;
        let mut map = AxisMap { inputs, starts: vec![0], sources: Vec::new(), weights: Vec::new() };
        for row in rows {
            for (source, weight) in row {
                if source >= inputs {
                    return Err(Error::shape("axis map", format!("position {source} is outside the {inputs} inputs")));
                }
                map.sources.push(source as u32);
                map.weights.push(weight);
            }
            check_size(map.sources.len().max(map.starts.len()))?;
            map.starts.push(map.sources.len() as u32);
        }
        Ok(map)
    }

    /// Output j is input `sources[j]`.
    ///
    /// # Errors
    /// As [`AxisMap::from_rows`].
    pub fn pick(inputs: usize, sources: impl IntoIterator<Item = usize>) -> Result<AxisMap> {
        AxisMap::from_rows(inputs, sources.into_iter().map(|s| vec![(s, 1.0)]))
    }

    /// One output: the sum of all inputs, each times `weight`.
    ///
    /// # Errors
    /// As [`AxisMap::from_rows`].
    pub fn reduce(inputs: usize, weight: f64) -> Result<AxisMap> {
        check_size(inputs)?;
        AxisMap::from_rows(inputs, [(0..inputs).map(|i| (i, weight)).collect()])
    }

    /// The mean of each window of `kernel` positions, `dilation` apart. Padding counts as zeros in the divisor when
    /// `count_pad`; what `ceil` adds beyond the padding never does.
    ///
    /// # Errors
    /// [`Error::Shape`] when no window fits.
    pub fn average(
        inputs: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        pads: [usize; 2],
        ceil: bool,
        count_pad: bool,
    ) -> Result<AxisMap> {
        let windows = super::shape::taps(kernel, dilation)
            .and_then(|taps| super::shape::window_count(inputs, taps, stride, pads, ceil))
            .map_err(|what| Error::shape("average pooling", what))?;
        check_size(inputs.max(kernel))?;
        let padded = inputs + pads[0] + pads[1];
        AxisMap::from_rows(
            inputs,
            (0..windows).map(|j| {
                // Tap k lies at position begin + k·dilation of the padded input: how many lie before `end`?
                let begin = j * stride;
                let before = |end: usize| end.saturating_sub(begin).div_ceil(dilation).min(kernel);
                let inside = before(pads[0])..before(inputs + pads[0]);
                let divisor = if count_pad { before(padded) } else { inside.len() };
                inside.map(|k| (begin + k * dilation - pads[0], 1.0 / divisor as f64)).collect()
            }),
        )
    }

    /// Number of input positions.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of output positions.
    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where each row's entries begin; one more than there are rows.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// The input position of each entry.
    pub fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// The weight of each entry.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The map of the transposed matrix: the adjoint.
    pub fn transpose(&self) -> AxisMap {
        let mut counts = vec![0u32; self.inputs + 1];
        for source in &self.sources {
            counts[*source as usize + 1] += 1;
        }
        for i in 0..self.inputs {
            counts[i + 1] += counts[i];
        }
        let starts = counts.clone();
        let mut sources = vec![0; self.sources.len()];
        let mut weights = vec![0.0; self.weights.len()];
        for row in 0..self.outputs() {
            for k in self.starts[row] as usize..self.starts[row + 1] as usize {
                let at = &mut counts[self.sources[k] as usize];
                sources[*at as usize] = row as u32;
                weights[*at as usize] = self.weights[k];
                *at += 1;
            }
        }
        AxisMap { inputs: self.outputs(), starts, sources, weights }
    }

    /// Whether every output is one of the inputs.
    pub fn is_pick(&self) -> bool {
        self.starts.iter().enumerate().all(|(i, start)| *start as usize == i) && self.weights.iter().all(|w| *w == 1.0)
    }

    /// Whether the outputs of non-negative inputs are non-negative.
    pub fn is_non_negative(&self) -> bool {
        self.weights.iter().all(|w| *w >= 0.0)
    }
}

/// The largest size of an axis, and the most entries of a map. A file may claim any size; this bounds the memory it gets.
const MAX_SIZE: usize = 1 << 24;

fn check_size(size: usize) -> Result<()> {
    if size > MAX_SIZE {
        return Err(Error::shape(
            "axis map",
            format!("{size} positions are more than the {MAX_SIZE} of the largest axis"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_is_the_adjoint() {
        let map = AxisMap::from_rows(3, [vec![(0, 2.0), (2, -1.0)], vec![], vec![(2, 0.5)], vec![(1, 4.0)]]).unwrap();
        let dense = |m: &AxisMap| -> Vec<Vec<f64>> {
            (0..m.outputs())
                .map(|j| {
                    let mut row = vec![0.0; m.inputs()];
                    for k in m.starts()[j] as usize..m.starts()[j + 1] as usize {
                        row[m.sources()[k] as usize] += m.weights()[k];
                    }
                    row
                })
                .collect()
        };
        let (a, b) = (dense(&map), dense(&map.transpose()));
        for (j, row) in a.iter().enumerate() {
            for (i, weight) in row.iter().enumerate() {
                assert_eq!(*weight, b[i][j]);
            }
        }
        assert_eq!(map.transpose().transpose(), map);
    }

    #[test]
    fn averages_divide_by_what_counts() {
        let row = |m: &AxisMap, j: usize| -> Vec<(u32, f64)> {
            let range = m.starts()[j] as usize..m.starts()[j + 1] as usize;
            range.map(|k| (m.sources()[k], m.weights()[k])).collect()
        };
        // Size 5, window 3, stride 2, one of padding on both sides.
        let counted = AxisMap::average(5, 3, 2, 1, [1, 1], false, true).unwrap();
        assert_eq!(row(&counted, 0), [(0, 1.0 / 3.0), (1, 1.0 / 3.0)]);
        let inside = AxisMap::average(5, 3, 2, 1, [1, 1], false, false).unwrap();
        assert_eq!(row(&inside, 0), [(0, 0.5), (1, 0.5)]);
        // What ceil adds beyond the padding does not count.
        let ceil = AxisMap::average(4, 3, 2, 1, [0, 0], true, true).unwrap();
        assert_eq!(row(&ceil, 1), [(2, 0.5), (3, 0.5)]);
        let dilated = AxisMap::average(5, 2, 1, 3, [0, 0], false, true).unwrap();
        assert_eq!(row(&dilated, 1), [(1, 0.5), (4, 0.5)]);
    }

    #[test]
    fn sizes_are_bounded() {
        assert!(AxisMap::reduce(usize::MAX, 1.0).is_err());
        assert!(AxisMap::average(1 << 20, 1 << 19, 1, 1, [0, 0], false, true).is_err());
    }

    #[test]
    fn a_position_outside_is_an_error() {
        assert!(AxisMap::pick(2, [0, 2]).is_err());
    }
}
