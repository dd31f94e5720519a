//! Tells the router that nobody waits any more.

use prometheus::IntCounter;

use crate::proxy::reply_router::slot::RouterHandle;
use crate::wire::CorrelationId;

/// Tells it at the deadline, or when actix-web drops the handler because the client left.
pub struct ForgetOnDrop<'a> {
    router: &'a RouterHandle,
    id: CorrelationId,
    disconnects: &'a IntCounter,
    /// Until the request has ended otherwise.
    armed: bool,
}

impl<'a> ForgetOnDrop<'a> {
    pub fn new(router: &'a RouterHandle, id: CorrelationId, disconnects: &'a IntCounter) -> Self {
        ForgetOnDrop {
            router,
            id,
            disconnects,
            armed: true,
        }
    }

    /// At the deadline.
    pub fn forget(mut self) {
        self.armed = false;
        self.router.forget(self.id);
    }

    /// The request has ended.
    pub fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.disconnects.inc();
            self.router.forget(self.id);
        }
    }
}
