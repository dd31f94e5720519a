//! What a request says beside HTTP: that it may be answered in several records, and where a body lies that is larger than a record.

use bytes::Bytes;

/// A process, new at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId([u8; 16]);

impl InstanceId {
    /// A new one.
    pub fn new() -> Self {
        InstanceId(rand::random())
    }

    /// As it stands in a record; `None`: it is no such id.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(InstanceId)
    }

    /// As it is written.
    pub fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl Default for InstanceId {
    fn default() -> Self {
        InstanceId::new()
    }
}

/// What a request says that may be answered in several records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOffer {
    /// Bytes of the body that may be sent before credit comes.
    pub window: u64,
    /// Who asks. A process that is gone takes no answer.
    pub instance: InstanceId,
}

impl StreamOffer {
    /// Of a request whose answer is kept until somebody fetches it: it waits for no reader, and whoever asked may be gone.
    pub const STORED: StreamOffer = StreamOffer {
        window: u64::MAX,
        instance: InstanceId([0; 16]),
    };

    /// The answer is kept.
    pub fn is_stored(&self) -> bool {
        *self == StreamOffer::STORED
    }
}

/// Where a body lies. The topic is the configured one, never a record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPlace {
    /// All its pieces are in this partition.
    pub partition: i32,
    /// The offset of its first piece.
    pub first: i64,
    /// The offset of its last piece. Between the two, other bodies may have pieces.
    pub last: i64,
    /// Bytes in all.
    pub length: u64,
}
