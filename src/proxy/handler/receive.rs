//! Takes in a request's body: into its record where it fits, else into a topic of bodies as it comes.

use actix_web::{HttpRequest, web};
use bytes::Bytes;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::proxy::admission::bytes::{ByteBudget, HeldBytes};
use crate::proxy::handler::body::{BodyLimits, Part, declared_length, next_chunk, read_body};
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::uploads::Uploads;
use crate::wire::beside::BodyPlace;
use crate::wire::idempotency::identity::BodyDigest;
use crate::wire::native::afterwards;
use crate::wire::{CorrelationId, Format, Record};

/// What the seal of a record takes at most, and its reply partition, which is added later.
const LATER: usize = 512;

/// How bodies are taken in.
pub struct Bodies {
    /// How large a record each request topic takes.
    pub records: RecordLimits,
    /// Bytes that are held of bodies and answers.
    pub bytes: ByteBudget,
    pub uploads: Uploads,
}

/// Which request a body belongs to.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub id: CorrelationId,
    pub topic: &'a KnownTopic,
    pub format: Format,
    /// A digest of a body is needed that lies elsewhere.
    pub runs_once: bool,
    /// What it may be.
    pub limits: &'a BodyLimits,
}

/// Where a request's body is.
#[derive(Debug)]
pub enum Received {
    /// There is none.
    None,
    Whole(Bytes),
    /// With its digest, where its request runs once.
    Elsewhere(BodyPlace, Option<BodyDigest>),
}

impl Received {
    /// Its bytes.
    pub fn length(&self) -> u64 {
        match self {
            Received::None => 0,
            Received::Whole(body) => body.len() as u64,
            Received::Elsewhere(place, _) => place.length,
        }
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> BodyDigest {
        let mut digest = BodyDigest::default();
        match self {
            Received::None => {}
            Received::Whole(body) => digest.update(body),
            Received::Elsewhere(_, known) => digest = known.clone().unwrap_or_default(),
        }
        digest
    }

    /// What is encoded with the head, and what is put into the record afterwards. An envelope has its body in it.
    pub fn split(self, format: Format) -> (Option<Bytes>, Received) {
        match (format, self) {
            (_, Received::None) => (None, Received::None),
            (Format::Json, Received::Whole(body)) => (Some(body), Received::None),
            (_, later) => (Some(Bytes::new()), later),
        }
    }
}

impl Bodies {
    /// Takes in the body of a request that has one. `deadline` is that of a body that fits into a record.
    ///
    /// # Errors
    /// As `read_body` and `Uploads::begin`; `KafkaUnavailable` where Kafka does not take all of it.
    pub async fn receive(
        &self,
        request: &HttpRequest,
        payload: &mut web::Payload,
        owner: Owner<'_>,
        deadline: Instant,
        held: &mut HeldBytes,
    ) -> Result<Received, RequestError> {
        let Some(declared) = declared_length(request) else {
            return Ok(Received::None);
        };
        let of_record = self.records.of(&owner.topic.name);
        let most = match owner.format {
            Format::Native => owner.limits.size,
            // The whole envelope is one record.
            Format::Json => owner.limits.size.min(of_record),
        };
        if declared.is_some_and(|length| length > most) {
            return Err(RequestError::BodyTooLarge);
        }
        if declared.is_some_and(|length| length > of_record) {
            return Box::pin(self.upload(payload, owner, Bytes::new(), Instant::now())).await;
        }
        drop(
            self.bytes
                .begin(declared.unwrap_or(0))
                .ok_or(RequestError::Overloaded)?,
        );
        let began = Instant::now();
        match read_body(payload, declared, (owner.limits, of_record), deadline, held).await? {
            Part::Whole(body) => Ok(Received::Whole(body)),
            Part::Beyond(_) if owner.format == Format::Json => Err(RequestError::BodyTooLarge),
            // In a box of its own, as above and below: all other requests would carry its room while they wait.
            Part::Beyond(beginning) => Box::pin(self.upload(payload, owner, beginning, began)).await,
        }
    }

    /// Writes a body of which the beginning has come.
    async fn upload(
        &self,
        payload: &mut web::Payload,
        owner: Owner<'_>,
        beginning: Bytes,
        began: Instant,
    ) -> Result<Received, RequestError> {
        let mut upload = self.uploads.begin(owner.topic, owner.id).await?;
        let mut digest = owner.runs_once.then(BodyDigest::default);
        let write = async {
            if let Some(digest) = &mut digest {
                digest.update(&beginning);
            }
            upload.push(beginning).await?;
            while let Some(chunk) = next_chunk(payload, owner.limits, began, upload.length()).await? {
                if let Some(digest) = &mut digest {
                    digest.update(&chunk);
                }
                upload.push(chunk).await?;
            }
            Ok(())
        };
        if let Err(error) = write.await {
            upload.failed(error);
            return Err(error);
        }
        upload.finish().await.map(|place| Received::Elsewhere(place, digest))
    }

    /// Completes a request of the native format that was encoded with an empty body. A body that does not fit beside its head goes
    /// elsewhere after all. True: it lies there.
    ///
    /// # Errors
    /// As `receive`.
    pub async fn put_into(&self, record: &mut Record, body: Received, owner: Owner<'_>) -> Result<bool, RequestError> {
        let place = match body {
            Received::None => return Ok(false),
            Received::Elsewhere(place, _) => place,
            Received::Whole(body) => {
                let size = record.encoded_size() + body.len() + LATER;
                if size <= self.records.of(&owner.topic.name) || body.is_empty() {
                    record.value = body;
                    return Ok(false);
                }
                Box::pin(self.write_whole(body, owner)).await?
            }
        };
        afterwards::set_place(record, place);
        Ok(true)
    }

    /// Writes a body that came whole.
    async fn write_whole(&self, body: Bytes, owner: Owner<'_>) -> Result<BodyPlace, RequestError> {
        let mut upload = self.uploads.begin(owner.topic, owner.id).await?;
        if let Err(error) = upload.push(body).await {
            upload.failed(error);
            return Err(error);
        }
        upload.finish().await
    }
}
