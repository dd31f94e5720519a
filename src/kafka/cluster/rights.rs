//! Which rights this client's user has on a topic or a group, as the brokers tell them (authorized operations, KIP-430).

use std::fmt;

use rdkafka_sys as rdsys;
use rdsys::rd_kafka_AclOperation_t as Operation;

/// A right that a role can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Read,
    Write,
    Describe,
    DescribeConfigs,
}

impl Right {
    fn operation(self) -> Operation {
        match self {
            Right::Read => Operation::RD_KAFKA_ACL_OPERATION_READ,
            Right::Write => Operation::RD_KAFKA_ACL_OPERATION_WRITE,
            Right::Describe => Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE,
            Right::DescribeConfigs => Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        }
    }
}

impl fmt::Display for Right {
    /// As `kafka-acls --operation` names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The rights on one topic or group. Empty where the brokers do not tell: those before 2.3 do not, and neither do others of what the user may
/// not even describe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights(Vec<Operation>);

impl Rights {
    /// From librdkafka's function that returns the first right and writes how many there are.
    ///
    /// # Safety
    /// What `get` returns is null or lives through the call, and has as many items as it says.
    pub(super) unsafe fn of(get: impl FnOnce(*mut usize) -> *const Operation) -> Self {
        let mut count = 0;
        let first = get(&mut count);
        if first.is_null() {
            return Rights::default();
        }
        // SAFETY: the caller's promise.
        Rights(unsafe { std::slice::from_raw_parts(first, count) }.to_vec())
    }

    /// Does the user have this right, as far as the brokers tell?
    pub fn allow(&self, right: Right) -> bool {
        self.0.is_empty() || self.0.contains(&right.operation())
    }
}

#[cfg(test)]
impl Rights {
    pub fn only(rights: &[Right]) -> Self {
        Rights(rights.iter().map(|right| right.operation()).collect())
    }
}
