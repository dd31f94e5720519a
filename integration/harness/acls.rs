//! The rights that a broker grants or denies on a topic. rdkafka has no call for them, so this uses librdkafka's.

use std::ffi::CString;
use std::ptr::null_mut;
use std::time::Duration;

pub use rdkafka::bindings::{rd_kafka_AclOperation_t as Operation, rd_kafka_AclPermissionType_t as Permission};

use rdkafka::bindings::{
    rd_kafka_AclBinding_destroy, rd_kafka_AclBinding_new, rd_kafka_AclBindingFilter_new, rd_kafka_CreateAcls,
    rd_kafka_DeleteAcls, rd_kafka_ResourcePatternType_t as Pattern, rd_kafka_ResourceType_t as Resource,
    rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll,
    rd_kafka_resp_err_t,
};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// The settings of a broker that checks rights. A topic without a rule allows everything; a topic with a rule allows only what its rules
/// allow.
pub const AUTHORIZER: [&str; 2] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
];

/// Creates a rule for everybody on a topic (`there`), or removes it. Blocks until the broker has answered.
pub fn rule(brokers: &str, topic: &str, permission: Permission, operation: Operation, there: bool) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("a client");
    let client = client.client().native_ptr();
    let topic = CString::new(topic).expect("no NUL");
    let make = if there {
        rd_kafka_AclBinding_new
    } else {
        rd_kafka_AclBindingFilter_new
    };
    // SAFETY: the strings and the binding live until the answer has arrived; a null event is rejected before it is used.
    unsafe {
        let mut binding = make(
            Resource::RD_KAFKA_RESOURCE_TOPIC,
            topic.as_ptr(),
            Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
            c"User:ANONYMOUS".as_ptr(),
            c"*".as_ptr(),
            operation,
            permission,
            null_mut(),
            0,
        );
        assert!(!binding.is_null());
        let queue = rd_kafka_queue_new(client);
        if there {
            rd_kafka_CreateAcls(client, &mut binding, 1, null_mut(), queue);
        } else {
            rd_kafka_DeleteAcls(client, &mut binding, 1, null_mut(), queue);
        }
        let event = rd_kafka_queue_poll(queue, Duration::from_secs(30).as_millis() as i32);
        assert!(!event.is_null(), "the broker answers");
        assert_eq!(
            rd_kafka_event_error(event),
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        );
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_AclBinding_destroy(binding);
    }
}
