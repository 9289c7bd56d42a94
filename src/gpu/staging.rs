//! Buffers through which values go to the device and results come back.

use std::sync::mpsc;

use super::device::Gpu;
use crate::error::Result;

/// Bytes a staging buffer holds at most; larger results get several.
const MAX_BYTES: u64 = 256 << 20;

/// Where the device says that a buffer is mapped, or could not be.
pub(super) type Mapped = mpsc::Sender<bool>;

/// Asks for a buffer to be mapped; the answer comes through `mapped`.
pub(super) fn map(buffer: &wgpu::Buffer, mode: wgpu::MapMode, mapped: &Mapped) {
    let mapped = mapped.clone();
    buffer.map_async(mode, .., move |result| {
        // A receiver that is gone no longer cares.
        let _ = mapped.send(result.is_ok());
    });
}

/// Room for values on their way to the device. It is mapped, but while a run reads it.
#[derive(Debug)]
pub(super) struct Upload(wgpu::Buffer);

impl Upload {
    /// Room for so many bytes.
    pub fn new(gpu: &Gpu, label: &str, bytes: u64) -> Result<Upload> {
        Ok(Upload(gpu.mapped_buffer(label, bytes)?))
    }

    /// Bytes it holds.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// The buffer, for copies from it.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.0
    }

    /// Writes values at its beginning and hands it to the device. They must fit.
    pub fn fill(&self, gpu: &Gpu, values: &[u8]) -> Result<()> {
        if !values.is_empty() {
            let range = 0..values.len() as u64;
            let mut view = self.0.get_mapped_range_mut(range).map_err(|e| gpu.error(&e.to_string()))?;
            view.copy_from_slice(values);
        }
        self.0.unmap();
        Ok(())
    }

    /// Asks for it back.
    pub fn map(&self, mapped: &Mapped) {
        map(&self.0, wgpu::MapMode::Write, mapped);
    }
}

/// Room for a list of results, allocated once and used by every run.
#[derive(Debug)]
pub(super) struct Staging {
    buffers: Vec<wgpu::Buffer>,
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
        let buffers = sizes.into_iter().filter(|size| *size > 0).map(|size| gpu.buffer("results", size, usage));
        Ok(Staging { buffers: buffers.collect::<Result<_>>()?, pieces })
    }

    /// Copies the beginnings of the sources, as many as there is room for results.
    pub fn copy_from<'a>(&self, encoder: &mut wgpu::CommandEncoder, sources: impl Iterator<Item = &'a wgpu::Buffer>) {
        for (piece, source) in self.pieces.iter().zip(sources) {
            if piece.bytes > 0 {
                encoder.copy_buffer_to_buffer(source, 0, &self.buffers[piece.buffer], piece.offset, piece.bytes);
            }
        }
    }

    /// Asks for the buffers to be mapped.
    pub fn map(&self, mapped: &Mapped) {
        self.buffers.iter().for_each(|buffer| map(buffer, wgpu::MapMode::Read, mapped));
    }

    /// The results, from mapped buffers.
    pub fn read<V: bytemuck::Pod>(&self, gpu: &Gpu) -> Result<Vec<Vec<V>>> {
        let piece = |piece: &Piece| {
            if piece.bytes == 0 {
                return Ok(Vec::new());
            }
            let range = piece.offset..piece.offset + piece.bytes;
            let view = self.buffers[piece.buffer].get_mapped_range(range).map_err(|e| gpu.error(&e.to_string()))?;
            Ok(bytemuck::pod_collect_to_vec(&view[..]))
        };
        self.pieces.iter().map(piece).collect()
    }

    /// Hands the buffers back to the device.
    pub fn unmap(&self) {
        self.buffers.iter().for_each(wgpu::Buffer::unmap);
    }
}
