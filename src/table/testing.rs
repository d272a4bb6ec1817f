//! Tables for tests.

use std::sync::Arc;

use super::Bytes;

/// These bytes.
pub fn bytes(bytes: &[u8]) -> Arc<dyn Bytes> {
    Arc::new(bytes.to_vec())
}
