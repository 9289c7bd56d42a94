//! What was measured, sample by sample.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What one metric says of one sample's map by one method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub method: String,
    pub metric: String,
    /// Fingerprint of method and metric with all that their names leave out.
    pub way: String,
    pub input: String,
    /// Fingerprint of the input's bytes, and its mask's.
    pub digest: String,
    pub sample: usize,
    pub class: usize,
    #[serde(with = "or_null")]
    pub values: Vec<f64>,
    #[serde(with = "or_null")]
    pub curve: Vec<f64>,
    /// Time of explaining the sample, by its share of those that were explained together.
    pub explain_seconds: f64,
    /// The same of measuring.
    pub measure_seconds: f64,
}

/// Which record: the numbers of method, metric, input and sample.
pub type Place = (usize, usize, usize, usize);

/// Records by their places.
#[derive(Default)]
pub struct Records(HashMap<Place, Record>);

impl Records {
    pub fn add(&mut self, place: Place, record: Record) {
        self.0.insert(place, record);
    }

    pub fn get(&self, place: Place) -> Option<&Record> {
        self.0.get(&place)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in order of method, metric, input and sample.
    pub fn all(&self) -> Vec<&Record> {
        let mut all: Vec<(&Place, &Record)> = self.0.iter().collect();
        all.sort_by_key(|(place, _)| **place);
        all.into_iter().map(|(_, record)| record).collect()
    }
}

/// Numbers of which NaN is written as null.
mod or_null {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        values.iter().map(|v| Some(*v).filter(|v| v.is_finite())).collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(from)?;
        Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_comes_back() {
        let text = r#"{"method":"m","metric":"n","way":"w","input":"i","digest":"d","sample":0,"class":1,
            "values":[null,0.1],"curve":[],"explain_seconds":1.0,"measure_seconds":2.0}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert!(record.values[0].is_nan() && record.values[1] == 0.1);
        let again = serde_json::to_string(&record).unwrap();
        assert!(again.contains("\"values\":[null,0.1]"), "{again}");
    }
}
