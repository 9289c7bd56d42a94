//! Writes small ONNX models for tests.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::RefCell;

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor,
    ValueInfoProto,
};

/// A model under construction.
pub struct Model {
    pub graph: GraphProto,
    pub opset: i64,
}

/// One axis of an input: a size, or a name for an open one.
pub enum Axis {
    Size(i64),
    Name(&'static str),
    Missing,
}

/// An input of shape N × `sample`.
pub fn batch_of(sample: &[i64]) -> Vec<Axis> {
    std::iter::once(Axis::Name("N")).chain(sample.iter().map(|n| Axis::Size(*n))).collect()
}

impl Model {
    pub fn new(opset: i64) -> Model {
        Model { graph: GraphProto::default(), opset }
    }

    /// A float input.
    pub fn input(self, name: &str, axes: Vec<Axis>) -> Model {
        self.typed_input(name, axes, DataType::FLOAT)
    }

    pub fn typed_input(mut self, name: &str, axes: Vec<Axis>, kind: DataType) -> Model {
        let dim = axes
            .into_iter()
            .map(|axis| match axis {
                Axis::Size(n) => Dimension { dim_value: Some(n), dim_param: None },
                Axis::Name(name) => Dimension { dim_value: None, dim_param: Some(name.to_string()) },
                Axis::Missing => Dimension::default(),
            })
            .collect();
        self.graph.input.push(value(name, kind, Some(TensorShapeProto { dim })));
        self
    }

    pub fn output(mut self, name: &str) -> Model {
        self.graph.output.push(value(name, DataType::FLOAT, None));
        self
    }

    /// A node; inputs and outputs are separated by commas.
    pub fn node(self, op: &str, inputs: &str, outputs: &str, attributes: Vec<AttributeProto>) -> Model {
        self.node_named(&format!("the_{}", op.to_lowercase()), op, inputs, outputs, attributes)
    }

    pub fn node_named(
        mut self,
        name: &str,
        op: &str,
        inputs: &str,
        outputs: &str,
        attribute: Vec<AttributeProto>,
    ) -> Model {
        let list = |text: &str| text.split(',').filter(|_| !text.is_empty()).map(str::to_string).collect();
        self.graph.node.push(NodeProto {
            domain: None,
            name: Some(name.to_string()),
            input: list(inputs),
            output: list(outputs),
            op_type: Some(op.to_string()),
            attribute,
        });
        self
    }

    /// A node of the domain of classical machine learning.
    pub fn ml_node(self, op: &str, inputs: &str, outputs: &str, attributes: Vec<AttributeProto>) -> Model {
        let mut model = self.node(op, inputs, outputs, attributes);
        if let Some(node) = model.graph.node.last_mut() {
            node.domain = Some("ai.onnx.ml".to_string());
        }
        model
    }

    /// A float32 constant of random-looking values.
    pub fn weight(self, name: &str, dims: &[i64]) -> Model {
        let len = dims.iter().product::<i64>();
        self.floats(name, dims, (0..len).map(|i| ((i * 37 + 11) % 19) as f32 / 10.0 - 0.9).collect())
    }

    pub fn floats(self, name: &str, dims: &[i64], values: Vec<f32>) -> Model {
        self.raw(name, dims, DataType::FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Model {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(name, &[values.len() as i64], DataType::INT64, bytes)
    }

    pub fn raw(self, name: &str, dims: &[i64], kind: DataType, bytes: Vec<u8>) -> Model {
        self.tensor(tensor(name, dims, kind, bytes))
    }

    pub fn tensor(mut self, tensor: TensorProto) -> Model {
        self.graph.initializer.push(tensor);
        self
    }

    /// A float32 constant in an external file.
    pub fn external(self, name: &str, dims: &[i64], entries: &[(&str, &str)]) -> Model {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: Some(key.to_string()),
            value: Some(value.to_string()),
        };
        self.tensor(TensorProto {
            dims: dims.to_vec(),
            data_type: Some(DataType::FLOAT),
            name: Some(name.to_string()),
            data_location: Some(DataLocation::EXTERNAL),
            external_data: entries.iter().map(entry).collect(),
            ..TensorProto::default()
        })
    }

    pub fn bytes(self) -> Vec<u8> {
        let model = ModelProto {
            ir_version: Some(8),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(self.opset) }],
            ..ModelProto::default()
        };
        model.write_buf().unwrap()
    }
}

pub fn tensor(name: &str, dims: &[i64], kind: DataType, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(kind),
        name: Some(name.to_string()),
        raw_data: Some(RefCell::new(bytes)),
        ..TensorProto::default()
    }
}

fn value(name: &str, kind: DataType, shape: Option<TensorShapeProto>) -> ValueInfoProto {
    let tensor_type = Some(TypeProtoTensor { elem_type: Some(kind), shape });
    ValueInfoProto { name: Some(name.to_string()), r#type: Some(TypeProto { tensor_type, sequence: None }) }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_string()), r#type: Some(kind), ..AttributeProto::default() }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attribute(name, AttributeType::INT) }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f: Some(f), ..attribute(name, AttributeType::FLOAT) }
}

pub fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.to_string()), ..attribute(name, AttributeType::STRING) }
}

pub fn int_list(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::INTS) }
}

pub fn float_list(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto { floats: floats.to_vec(), ..attribute(name, AttributeType::FLOATS) }
}
