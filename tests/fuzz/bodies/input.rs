//! Reading a fuzzer's bytes as choices, and writing such bytes for a corpus.

/// Bytes not used yet; once they are used up, all choices are zero.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes, or as many as are left.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    /// A number of 8 bits.
    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// A number of 16 bits.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A length of 16 bits and as many bytes.
    pub fn block(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.take(usize::from(len))
    }
}

/// Writes what an [`Input`] reads.
#[derive(Default)]
pub struct Script(pub Vec<u8>);

impl Script {
    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Script {
        self.0.extend_from_slice(bytes);
        self
    }

    /// See [`Input::block`].
    pub fn block(self, bytes: &[u8]) -> Script {
        let len = u16::try_from(bytes.len()).expect("a block of a corpus is short");
        self.raw(&len.to_le_bytes()).raw(bytes)
    }
}
