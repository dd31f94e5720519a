//! Wakes the thread that polls a client when the client has something to report.
//!
//! rdkafka's own `poll(timeout)` waits, too. But librdkafka takes whole milliseconds, so rdkafka spins through the last one of each
//! timeout: 1 to 2 % of a core in a process with nothing to do.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::thread::Thread;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka_sys as rdsys;

/// A client's queue of reports, which unparks one thread whenever it is no longer empty.
pub(super) struct Reports {
    queue: NonNull<rdsys::rd_kafka_queue_t>,
    /// The queue holds its address until the drop.
    _thread: Box<Thread>,
}

impl Reports {
    /// Has the calling thread unparked whenever `client`'s queue gets its first report. Must not outlive the client.
    pub(super) fn to_this_thread<C: ClientContext>(client: &Client<C>) -> Self {
        let thread = Box::new(std::thread::current());
        // SAFETY: the client lives, and each of its queues is a reference of its own, destroyed at the drop.
        let queue = unsafe { rdsys::rd_kafka_queue_get_main(client.native_ptr()) };
        let queue = NonNull::new(queue).expect("every client has a main queue");
        // SAFETY: the thread's handle stays at its address until the callback is taken back.
        unsafe {
            rdsys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(unpark), (&raw const *thread) as *mut c_void)
        };
        Reports { queue, _thread: thread }
    }

    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: the queue is ours until the drop.
        unsafe { rdsys::rd_kafka_queue_length(self.queue.as_ptr()) == 0 }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // SAFETY: librdkafka calls the callback under the queue's lock, so none is running once it is taken back.
        unsafe {
            rdsys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, null_mut());
            rdsys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Called by librdkafka's threads, which it must not block.
unsafe extern "C" fn unpark(_client: *mut rdsys::rd_kafka_t, thread: *mut c_void) {
    // SAFETY: it is the handle that `Reports` holds.
    unsafe { (*thread.cast::<Thread>()).unpark() };
}
