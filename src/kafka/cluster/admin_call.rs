//! How an admin request of librdkafka's is sent with a client of ours, and its answer awaited.

use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as rdsys;
use rdsys::rd_kafka_admin_op_t as Op;

/// How long the cluster may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
/// How much longer librdkafka may take to report that this has passed.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// Sends an admin request and waits for the event that answers it.
pub(super) fn ask<C: ClientContext>(
    client: &Client<C>,
    op: Op,
    send: impl FnOnce(*mut rdsys::rd_kafka_AdminOptions_t, *mut rdsys::rd_kafka_queue_t),
) -> KafkaResult<Owned<rdsys::rd_kafka_event_t>> {
    ask_within(client, op, TIMEOUT, send)
}

/// `ask`, with a time limit of its own.
pub(super) fn ask_within<C: ClientContext>(
    client: &Client<C>,
    op: Op,
    timeout: Duration,
    send: impl FnOnce(*mut rdsys::rd_kafka_AdminOptions_t, *mut rdsys::rd_kafka_queue_t),
) -> KafkaResult<Owned<rdsys::rd_kafka_event_t>> {
    // SAFETY: the client outlives all that is made of it here.
    let (options, queue) = unsafe { (options(client, op, timeout), queue(client)) };
    send(options.pointer, queue.pointer);
    next_event(&queue, timeout + GRACE)
}

/// The options of an admin request.
///
/// # Safety
/// The client outlives what is returned.
pub(super) unsafe fn options<C: ClientContext>(
    client: &Client<C>,
    op: Op,
    timeout: Duration,
) -> Owned<rdsys::rd_kafka_AdminOptions_t> {
    // SAFETY: the client is alive, and the error text has no room on purpose.
    unsafe {
        let options = Owned {
            pointer: rdsys::rd_kafka_AdminOptions_new(client.native_ptr(), op),
            destroy: rdsys::rd_kafka_AdminOptions_destroy,
        };
        rdsys::rd_kafka_AdminOptions_set_request_timeout(options.pointer, millis(timeout), std::ptr::null_mut(), 0);
        options
    }
}

/// A queue for the answers to admin requests.
///
/// # Safety
/// The client outlives what is returned.
pub(super) unsafe fn queue<C: ClientContext>(client: &Client<C>) -> Owned<rdsys::rd_kafka_queue_t> {
    Owned {
        // SAFETY: the client is alive.
        pointer: unsafe { rdsys::rd_kafka_queue_new(client.native_ptr()) },
        destroy: rdsys::rd_kafka_queue_destroy,
    }
}

/// Waits for the next event: the answer to a request, or the reason why there is none.
pub(super) fn next_event(
    queue: &Owned<rdsys::rd_kafka_queue_t>,
    timeout: Duration,
) -> KafkaResult<Owned<rdsys::rd_kafka_event_t>> {
    poll(queue, timeout).unwrap_or(Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)))
}

/// The same; `None`: no event came in time.
pub(super) fn poll(
    queue: &Owned<rdsys::rd_kafka_queue_t>,
    timeout: Duration,
) -> Option<KafkaResult<Owned<rdsys::rd_kafka_event_t>>> {
    // SAFETY: the queue is alive; a null event is told apart below and never destroyed.
    let event = unsafe { rdsys::rd_kafka_queue_poll(queue.pointer, millis(timeout)) };
    if event.is_null() {
        return None;
    }
    let event = Owned {
        pointer: event,
        destroy: rdsys::rd_kafka_event_destroy,
    };
    // SAFETY: the event is ours.
    Some(match unsafe { rdsys::rd_kafka_event_error(event.pointer) }.into() {
        RDKafkaErrorCode::NoError => Ok(event),
        code => Err(KafkaError::AdminOp(code)),
    })
}

/// An object of librdkafka's, destroyed by the function that belongs to it.
pub(super) struct Owned<T> {
    pub(super) pointer: *mut T,
    pub(super) destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by the counterpart of `destroy`, and nobody else's.
        unsafe { (self.destroy)(self.pointer) }
    }
}

/// An array of librdkafka's, from a function that returns its first item and writes its length.
///
/// # Safety
/// What `get` returns lives as long as the slice is used, and has as many items as it says.
pub(super) unsafe fn items<'a, T>(get: impl FnOnce(*mut usize) -> *mut *const T) -> &'a [*const T] {
    let mut count = 0;
    let first = get(&mut count);
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// # Errors
/// A name holds a NUL.
pub(super) fn c_strings(names: &[&str]) -> KafkaResult<Vec<CString>> {
    names
        .iter()
        .map(|name| CString::new(*name).map_err(KafkaError::Nul))
        .collect()
}

fn millis(duration: Duration) -> c_int {
    duration.as_millis() as c_int
}

/// A string of librdkafka's; empty for null.
///
/// # Safety
/// It is null, or ends with a NUL and lives through the call.
pub(super) unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
