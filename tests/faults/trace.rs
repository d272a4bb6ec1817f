//! The record of what a process did to the files below a directory, as `shim.c` writes it.

/// A mark of the test's own in the trace.
pub const MARK: u32 = 11;
