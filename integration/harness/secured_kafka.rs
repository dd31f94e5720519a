//! A Kafka whose listener wants TLS and a login, and which denies what no rule allows. Its other listener is the administrator's.

use std::ffi::CString;
use std::ptr::null_mut;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::bindings::{
    rd_kafka_AlterUserScramCredentials, rd_kafka_ScramMechanism_t as Mechanism,
    rd_kafka_UserScramCredentialAlteration_destroy, rd_kafka_UserScramCredentialUpsertion_new, rd_kafka_event_destroy,
    rd_kafka_event_error, rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_resp_err_t,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

use super::acls::{self, Rule};
use super::certificates::Authority;
use super::kafka::{Node, free_port};

/// A running node.
pub struct SecuredKafka {
    node: Node,
    port: u16,
    /// Issued the broker's certificate.
    pub authority: Authority,
}

impl SecuredKafka {
    /// Starts a node with a listener of this protocol, `SSL` or `SASL_SSL`, and these settings besides.
    pub async fn start(protocol: &str, settings: impl FnOnce(&Authority) -> Vec<String>) -> Self {
        let (authority, port) = (Authority::new(), free_port());
        let own = authority.issue("localhost");
        let line = |pem: &str| pem.replace('\n', "\\n");
        let mut all = vec![
            format!("listener={protocol}://localhost:{port}"),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.certificate.chain={}", line(&own.cert)),
            format!("ssl.keystore.key={}", line(&own.key)),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.certificates={}", line(&authority.pem())),
            acls::AUTHORIZER[0].to_owned(),
            // The plain listener is for the node itself, and for whoever sets up a test.
            "super.users=User:ANONYMOUS".to_owned(),
        ];
        all.extend(settings(&authority));
        let start = move || Node::try_start(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let started = tokio::task::spawn_blocking(start).await.expect("no panic");
        SecuredKafka {
            node: started.unwrap_or_else(|error| panic!("{error}")),
            port,
            authority,
        }
    }

    /// One that wants a user and a password.
    pub async fn with_scram() -> Self {
        Self::start("SASL_SSL", |_| {
            vec![
                "sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned(),
            ]
        })
        .await
    }

    /// Where it wants a login.
    pub fn brokers(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// `kafka.properties` of a user with a password.
    pub fn scram(&self, user: &str, password: &str) -> Value {
        json!({
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password,
            "ssl.ca.location": self.authority.file(),
        })
    }

    /// Sets these rules.
    pub async fn allow(&self, rules: Vec<Rule>) {
        let brokers = self.node.brokers();
        let set = move || rules.iter().for_each(|rule| rule.set(&brokers, true));
        tokio::task::spawn_blocking(set).await.expect("the broker takes them");
    }

    /// Takes a rule away.
    pub async fn disallow(&self, rule: Rule) {
        let brokers = self.node.brokers();
        let set = move || rule.set(&brokers, false);
        tokio::task::spawn_blocking(set).await.expect("the broker takes it");
    }

    /// Creates a topic with settings of its own.
    pub async fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        self.create(&[new]).await;
    }

    pub async fn create_topics(&self, names: &[&str]) {
        let topics: Vec<_> = names
            .iter()
            .map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)))
            .collect();
        self.create(&topics).await;
    }

    async fn create(&self, topics: &[NewTopic<'_>]) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.node.brokers())
            .create()
            .expect("a client");
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let created = admin.create_topics(topics, &options).await.expect("the broker answers");
        created.into_iter().for_each(|topic| drop(topic.expect("a new topic")));
    }

    /// Creates a user, or gives it another password.
    pub async fn set_user(&self, user: &str, password: &str) {
        let (brokers, user, password) = (self.node.brokers(), user.to_owned(), password.to_owned());
        let set = move || set_scram_user(&brokers, &user, &password);
        tokio::task::spawn_blocking(set).await.expect("the broker takes it");
    }
}

fn set_scram_user(brokers: &str, user: &str, password: &str) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("a client");
    let client = client.client().native_ptr();
    let user = CString::new(user).expect("no NUL");
    // SAFETY: all strings live until the answer has arrived; a null event is rejected before it is used.
    unsafe {
        let mut change = rd_kafka_UserScramCredentialUpsertion_new(
            user.as_ptr(),
            Mechanism::RD_KAFKA_SCRAM_MECHANISM_SHA_512,
            4096,
            password.as_ptr(),
            password.len(),
            null_mut(),
            0,
        );
        let queue = rd_kafka_queue_new(client);
        rd_kafka_AlterUserScramCredentials(client, &mut change, 1, null_mut(), queue);
        let event = rd_kafka_queue_poll(queue, Duration::from_secs(30).as_millis() as i32);
        assert!(!event.is_null(), "the broker answers");
        assert_eq!(
            rd_kafka_event_error(event),
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        );
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_UserScramCredentialAlteration_destroy(change);
    }
}
