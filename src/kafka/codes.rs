//! The one table of error codes: what each means for whoever gets it, be it Kafka's own or one that librdkafka made up.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The meaning of an error code. Whether a record is stored is not part of it: `Undelivered::not_persisted` tells that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeClass {
    /// The record, or the batch it was in, is larger than its topic, the broker or our own client takes. The same bytes may pass in
    /// another batch, or under a limit that was raised.
    TooLarge,
    /// No such topic, as far as the broker or client knows. It may have been deleted, or created a moment ago.
    NoSuchTopic,
    /// The topic exists without this partition. A topic may have grown since the client last asked.
    NoSuchPartition,
    /// A partition has no leader just now, or another than the one asked. It passes within seconds.
    LeaderMoving,
    /// The user lacks a right. It stays so until an operator grants it.
    Denied,
    /// Kafka refuses this record or topic name as such. The same again would end the same way.
    Invalid,
    /// The client's own queue is full. Nothing was sent.
    QueueFull,
    /// The consumer group is changing its members. The same request succeeds afterwards, or the partitions have moved.
    GroupRebalancing,
    /// No connection, or no answer in time. librdkafka keeps trying.
    NoConnection,
    /// The broker refuses the login, or TLS cannot be agreed on. It stays so until the configuration changes.
    LoginRefused,
    /// The client can never be used again and must be replaced.
    ClientDead,
    /// All others. They pass by themselves, or nothing here depends on them.
    Other,
}

impl CodeClass {
    /// The class of an error that carries a code; `Other` for one without.
    pub fn of(error: &KafkaError) -> Self {
        error.rdkafka_error_code().map_or(CodeClass::Other, CodeClass::from)
    }

    /// The topic, or the part of it that was asked for, was not found.
    pub fn is_not_found(self) -> bool {
        matches!(self, CodeClass::NoSuchTopic | CodeClass::NoSuchPartition)
    }

    /// A new topic, or one whose broker has just gone, answers like this for a moment.
    pub fn may_settle(self) -> bool {
        self == CodeClass::LeaderMoving || self.is_not_found()
    }

    /// Kafka does not take this record for this topic, however often it is sent.
    pub fn is_final(self) -> bool {
        matches!(self, CodeClass::Denied | CodeClass::Invalid)
    }
}

/// The error is of a group's coordinator. It says nothing to a consumer that is assigned by hand: it joins no group, and commits nothing.
pub fn is_of_group(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}

impl From<RDKafkaErrorCode> for CodeClass {
    fn from(code: RDKafkaErrorCode) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => CodeClass::TooLarge,
            Code::UnknownTopicOrPartition | Code::UnknownTopic => CodeClass::NoSuchTopic,
            Code::UnknownPartition => CodeClass::NoSuchPartition,
            Code::LeaderNotAvailable | Code::NotLeaderForPartition => CodeClass::LeaderMoving,
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                CodeClass::Denied
            }
            Code::InvalidTopic | Code::InvalidRecord | Code::PolicyViolation => CodeClass::Invalid,
            Code::QueueFull => CodeClass::QueueFull,
            Code::RebalanceInProgress | Code::IllegalGeneration | Code::StaleMemberEpoch => CodeClass::GroupRebalancing,
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::Resolve => {
                CodeClass::NoConnection
            }
            Code::Authentication
            | Code::SSL
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState => CodeClass::LoginRefused,
            Code::Fatal => CodeClass::ClientDead,
            _ => CodeClass::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;

    #[test]
    fn each_code_has_the_class_its_users_rely_on() {
        for (code, class) in [
            (Code::MessageSizeTooLarge, CodeClass::TooLarge),
            (Code::InvalidMessageSize, CodeClass::TooLarge),
            (Code::MessageBatchTooLarge, CodeClass::TooLarge),
            (Code::UnknownTopic, CodeClass::NoSuchTopic),
            (Code::UnknownTopicOrPartition, CodeClass::NoSuchTopic),
            (Code::UnknownPartition, CodeClass::NoSuchPartition),
            (Code::LeaderNotAvailable, CodeClass::LeaderMoving),
            (Code::NotLeaderForPartition, CodeClass::LeaderMoving),
            (Code::TopicAuthorizationFailed, CodeClass::Denied),
            (Code::GroupAuthorizationFailed, CodeClass::Denied),
            (Code::ClusterAuthorizationFailed, CodeClass::Denied),
            (Code::InvalidTopic, CodeClass::Invalid),
            (Code::InvalidRecord, CodeClass::Invalid),
            (Code::PolicyViolation, CodeClass::Invalid),
            (Code::QueueFull, CodeClass::QueueFull),
            (Code::RebalanceInProgress, CodeClass::GroupRebalancing),
            (Code::IllegalGeneration, CodeClass::GroupRebalancing),
            (Code::StaleMemberEpoch, CodeClass::GroupRebalancing),
            (Code::BrokerTransportFailure, CodeClass::NoConnection),
            (Code::AllBrokersDown, CodeClass::NoConnection),
            (Code::OperationTimedOut, CodeClass::NoConnection),
            (Code::Resolve, CodeClass::NoConnection),
            (Code::Authentication, CodeClass::LoginRefused),
            (Code::SSL, CodeClass::LoginRefused),
            (Code::SaslAuthenticationFailed, CodeClass::LoginRefused),
            (Code::UnsupportedSASLMechanism, CodeClass::LoginRefused),
            (Code::Fatal, CodeClass::ClientDead),
            // Its record may be sent again: brokers come back, replicas catch up.
            (Code::NotEnoughReplicas, CodeClass::Other),
            (Code::MessageTimedOut, CodeClass::Other),
        ] {
            assert_eq!(CodeClass::from(code), class, "{code:?}");
            assert_eq!(CodeClass::of(&KafkaError::MessageProduction(code)), class, "{code:?}");
        }
        assert_eq!(CodeClass::of(&KafkaError::NoMessageReceived), CodeClass::Other);
    }

    #[test]
    fn a_groups_refusal_is_told_from_a_topics() {
        let of_group = |code| is_of_group(&KafkaError::MessageConsumption(code));
        assert!(of_group(Code::GroupAuthorizationFailed));
        assert!(!of_group(Code::TopicAuthorizationFailed) && !of_group(Code::AutoOffsetReset));
        assert!(!is_of_group(&KafkaError::NoMessageReceived));
    }

    #[test]
    fn only_what_no_repetition_helps_is_final() {
        for code in [
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::InvalidTopic,
            Code::InvalidRecord,
            Code::PolicyViolation,
        ] {
            assert!(CodeClass::from(code).is_final(), "{code:?}");
        }
        for code in [
            Code::MessageSizeTooLarge,
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::NotLeaderForPartition,
            Code::NotEnoughReplicas,
            Code::MessageTimedOut,
            Code::Fatal,
            Code::SSL,
        ] {
            assert!(!CodeClass::from(code).is_final(), "{code:?}");
        }
    }
}
