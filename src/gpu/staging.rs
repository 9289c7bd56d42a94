//! Buffers through which results come back to the host.

use std::sync::mpsc;

use super::device::Gpu;
use crate::error::Result;

/// Bytes a staging buffer holds at most; larger results get several.
const MAX_BYTES: u64 = 256 << 20;

/// Room for a list of results, allocated once and used by every run.
#[derive(Debug)]
pub(super) struct Staging {
    buffers: Vec<(wgpu::Buffer, u64)>,
    pieces: Vec<Piece>,
}

/// Where a result lies.
#[derive(Debug)]
struct Piece {
    buffer: usize,
    offset: u64,
    bytes: u64,
}

impl Staging {
    /// Room for results of so many values.
    pub fn new(gpu: &Gpu, lens: &[usize]) -> Result<Staging> {
        let limit = MAX_BYTES.min(gpu.info().max_buffer);
        let mut sizes: Vec<u64> = Vec::new();
        let mut pieces = Vec::with_capacity(lens.len());
        for len in lens {
            let bytes = *len as u64 * 4;
            // A mapped range begins at a multiple of 8.
            let room = bytes.next_multiple_of(wgpu::MAP_ALIGNMENT);
            match sizes.last_mut() {
                Some(size) if *size + room <= limit => *size += room,
                _ => sizes.push(room),
            }
            let buffer = sizes.len() - 1;
            pieces.push(Piece { buffer, offset: sizes[buffer] - room, bytes });
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffers =
            sizes.into_iter().filter(|size| *size > 0).map(|size| Ok((gpu.buffer("results", size, usage)?, size)));
        Ok(Staging { buffers: buffers.collect::<Result<_>>()?, pieces })
    }

    /// Copies the beginnings of the sources, as many as there is room for results.
    pub fn copy_from<'a>(&self, encoder: &mut wgpu::CommandEncoder, sources: impl Iterator<Item = &'a wgpu::Buffer>) {
        for (piece, source) in self.pieces.iter().zip(sources) {
            if piece.bytes > 0 {
                encoder.copy_buffer_to_buffer(source, 0, &self.buffers[piece.buffer].0, piece.offset, piece.bytes);
            }
        }
    }

    /// Asks for the buffers to be mapped; each answer comes through `done`.
    pub fn map(&self, done: &mpsc::Sender<bool>) {
        for (buffer, size) in &self.buffers {
            let done = done.clone();
            buffer.map_async(wgpu::MapMode::Read, 0..*size, move |result| {
                // The receiver outlives the wait; one that is gone no longer cares.
                let _ = done.send(result.is_ok());
            });
        }
    }

    /// The results, from mapped buffers.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<Vec<f32>>> {
        let piece = |piece: &Piece| {
            if piece.bytes == 0 {
                return Ok(Vec::new());
            }
            let range = piece.offset..piece.offset + piece.bytes;
            let view = self.buffers[piece.buffer].0.get_mapped_range(range).map_err(|e| gpu.error(&e.to_string()))?;
            Ok(bytemuck::pod_collect_to_vec(&view[..]))
        };
        self.pieces.iter().map(piece).collect()
    }

    /// Hands the buffers back to the device.
    pub fn unmap(&self) {
        self.buffers.iter().for_each(|(buffer, _)| buffer.unmap());
    }
}
