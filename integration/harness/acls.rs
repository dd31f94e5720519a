//! The rights that a broker grants or denies. rdkafka has no call for them, so this uses librdkafka's.

use std::ffi::CString;
use std::ptr::null_mut;
use std::time::Duration;

pub use rdkafka::bindings::{
    rd_kafka_AclOperation_t as Operation, rd_kafka_AclPermissionType_t as Permission,
    rd_kafka_ResourceType_t as Resource,
};

use rdkafka::bindings::{
    rd_kafka_AclBinding_destroy, rd_kafka_AclBinding_new, rd_kafka_AclBindingFilter_new, rd_kafka_CreateAcls,
    rd_kafka_DeleteAcls, rd_kafka_ResourcePatternType_t as Pattern, rd_kafka_event_destroy, rd_kafka_event_error,
    rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_resp_err_t,
};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// The settings of a broker that checks rights. A topic without a rule allows everything; a topic with a rule allows only what its rules
/// allow.
pub const AUTHORIZER: [&str; 2] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
];

/// One rule: who may or must not do what on which resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub principal: String,
    pub resource: Resource,
    pub name: String,
    pub operation: Operation,
    pub permission: Permission,
}

impl Rule {
    /// Creates it (`there`), or removes it. Blocks until the broker has answered.
    pub fn set(&self, brokers: &str, there: bool) {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .create()
            .expect("a client");
        let client = client.client().native_ptr();
        let text = |text: &str| CString::new(text).expect("no NUL");
        let (name, principal) = (text(&self.name), text(&self.principal));
        let make = if there {
            rd_kafka_AclBinding_new
        } else {
            rd_kafka_AclBindingFilter_new
        };
        // SAFETY: the strings and the binding live until the answer has arrived; a null event is rejected before it is used.
        unsafe {
            let mut binding = make(
                self.resource,
                name.as_ptr(),
                Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                principal.as_ptr(),
                c"*".as_ptr(),
                self.operation,
                self.permission,
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
}

/// Creates a rule for everybody on a topic (`there`), or removes it. Blocks until the broker has answered.
pub fn rule(brokers: &str, topic: &str, permission: Permission, operation: Operation, there: bool) {
    let rule = Rule {
        principal: "User:ANONYMOUS".into(),
        resource: Resource::RD_KAFKA_RESOURCE_TOPIC,
        name: topic.into(),
        operation,
        permission,
    };
    rule.set(brokers, there);
}

/// The rules that a command `kafka-acls --add` creates.
pub fn rules_of(command: &str) -> Vec<Rule> {
    let mut words = command.split_whitespace().skip(1);
    let (mut principal, mut operations, mut resources) = (None, Vec::new(), Vec::new());
    while let Some(option) = words.next() {
        if option == "--add" {
            continue;
        }
        let value = words.next().unwrap_or_else(|| panic!("{option} in {command}"));
        match option {
            "--bootstrap-server" => {}
            "--allow-principal" => principal = Some(value.to_owned()),
            "--operation" => operations.push(operation(value)),
            "--topic" => resources.push(resource("topic", value)),
            "--group" => resources.push(resource("group", value)),
            "--transactional-id" => resources.push(resource("transactionalId", value)),
            other => panic!("{other} in {command}"),
        }
    }
    let principal = principal.expect("a principal");
    let all = resources
        .iter()
        .flat_map(|resource| operations.iter().map(move |operation| (resource, operation)));
    let rules = all.map(|((resource, name), operation)| Rule {
        principal: principal.clone(),
        resource: *resource,
        name: name.clone(),
        operation: *operation,
        permission: Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
    });
    rules.collect()
}

/// An operation, as Kafka's tools name it.
pub fn operation(name: &str) -> Operation {
    match name {
        "Read" => Operation::RD_KAFKA_ACL_OPERATION_READ,
        "Write" => Operation::RD_KAFKA_ACL_OPERATION_WRITE,
        "Create" => Operation::RD_KAFKA_ACL_OPERATION_CREATE,
        "Describe" => Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE,
        "DescribeConfigs" => Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        other => panic!("{other}"),
    }
}

/// A resource: its kind as Strimzi names it, and its own name.
pub fn resource(kind: &str, name: &str) -> (Resource, String) {
    let kind = match kind {
        "topic" => Resource::RD_KAFKA_RESOURCE_TOPIC,
        "group" => Resource::RD_KAFKA_RESOURCE_GROUP,
        "transactionalId" => Resource::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
        other => panic!("{other}"),
    };
    (kind, name.to_owned())
}
