//! What tests of supervision do to a router.

use std::time::Duration;

use actix::{Handler, Message};

use super::ReplyRouter;

/// Makes a router under test panic or freeze.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Fault {
    Panic,
    Freeze(Duration),
}

impl Handler<Fault> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, fault: Fault, _: &mut actix::Context<Self>) {
        match fault {
            Fault::Panic => panic!("asked to panic"),
            Fault::Freeze(time) => std::thread::sleep(time),
        }
    }
}
