//! Tables for tests.

use std::io;
use std::sync::Arc;

use super::Bytes;

/// Bytes in memory.
struct Given(Vec<u8>);

impl Bytes for Given {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let there = self.0.get(offset as usize..).unwrap_or_default();
        let count = there.len().min(out.len());
        out[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }
}

/// These bytes.
pub fn bytes(bytes: &[u8]) -> Arc<dyn Bytes> {
    Arc::new(Given(bytes.to_vec()))
}
