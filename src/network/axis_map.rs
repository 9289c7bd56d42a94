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
    /// [`Error::Shape`] when a position is not below `inputs`, or the map has more than 2³²−1 entries.
    pub fn from_rows(inputs: usize, rows: impl IntoIterator<Item = Vec<(usize, f64)>>) -> Result<AxisMap> {
        let mut map = AxisMap { inputs, starts: vec![0], sources: Vec::new(), weights: Vec::new() };
        for row in rows {
            for (source, weight) in row {
                if source >= inputs {
                    return Err(Error::shape("axis map", format!("position {source} is outside the {inputs} inputs")));
                }
                map.sources.push(index(source)?);
                map.weights.push(weight);
            }
            map.starts.push(index(map.sources.len())?);
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
        AxisMap::from_rows(inputs, [(0..inputs).map(|i| (i, weight)).collect()])
    }

    /// The mean of each window of `kernel` positions. Padding counts as zeros in the divisor when `count_pad`; what
    /// `ceil` adds beyond the padding never does.
    ///
    /// # Errors
    /// [`Error::Shape`] when no window fits.
    pub fn average(
        inputs: usize,
        kernel: usize,
        stride: usize,
        pads: [usize; 2],
        ceil: bool,
        count_pad: bool,
    ) -> Result<AxisMap> {
        let windows = super::shape::window_count(inputs, kernel, stride, pads, ceil);
        let windows = windows.map_err(|what| Error::shape("average pooling", what))?;
        AxisMap::from_rows(
            inputs,
            (0..windows).map(|j| {
                // Positions in the padded input.
                let begin = j * stride;
                let end = (begin + kernel).min(inputs + pads[0] + pads[1]);
                let inside = begin.max(pads[0])..end.min(inputs + pads[0]);
                let divisor = if count_pad { end - begin } else { inside.len() };
                inside.map(|i| (i - pads[0], 1.0 / divisor as f64)).collect()
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

    /// Whether the outputs of non-negative inputs are non-negative.
    pub fn is_non_negative(&self) -> bool {
        self.weights.iter().all(|w| *w >= 0.0)
    }
}

fn index(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::shape("axis map", "more than 2^32-1 entries"))
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
    fn a_position_outside_is_an_error() {
        assert!(AxisMap::pick(2, [0, 2]).is_err());
    }
}
