/// The bounds that every decoder here keeps; past any of them a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body, after content decoding.
    pub max_body: usize,
    /// Objects and arrays open at once. JSON text inside a string counts afresh, and is bounded
    /// by the number of values instead.
    pub max_depth: usize,
    /// Texts of one body. It bounds the number of JSON values too, at [`Limits::VALUES_PER_SEGMENT`]
    /// times as many.
    pub max_segments: usize,
    /// Bytes of decoded text over all segments. Their places are bounded by the same number, since
    /// a long key above many values would otherwise be written out once for each of them.
    pub max_text: usize,
    /// How much larger than its compressed form a message within a body may be.
    pub max_ratio: usize,
}

impl Limits {
    /// How many JSON values a body may hold for each segment that it may hold: numbers, literals
    /// and containers take memory while a body is scanned, but are no text.
    pub const VALUES_PER_SEGMENT: usize = 8;

    /// Files in one body.
    pub const MOST_FILES: usize = 256;

    /// Bytes that anything compressed may come to before the ratio counts: short repetitive text compresses a
    /// hundredfold by right.
    const RATIO_FLOOR: usize = 64 << 10;

    /// The most bytes that `packed` compressed ones may come to.
    #[must_use]
    pub fn max_unpacked(&self, packed: usize) -> usize {
        packed.saturating_mul(self.max_ratio).max(Self::RATIO_FLOOR)
    }

    /// The most JSON values of one body, those of texts inside strings included.
    #[must_use]
    pub fn max_values(&self) -> usize {
        self.max_segments.saturating_mul(Self::VALUES_PER_SEGMENT)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 32 << 20,
            max_depth: 64,
            max_segments: 100_000,
            max_text: 32 << 20,
            max_ratio: 200,
        }
    }
}
