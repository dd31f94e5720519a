//! Answers in several records, as the processor sends them, and the calls that requesters can end.
//!
//! - [`pieces`]: cuts a body into pieces.
//! - [`answer`]: one answer that is streamed, from its first piece to its last; [`source`]: where its bytes come from; [`sender`]: sends its
//!   pieces.
//! - [`acks`]: what Kafka took of it.
//! - [`calls`]: the calls of one worker that can be cancelled and given credit; [`early_cancels`]: cancels that came before their requests.
//! - [`control`]: a control topic, as its reader and the workers share it; [`control_reader`]: the actor that reads them;
//!   [`heard`]: which of their records it takes.
//! - [`shared`]: what all workers of the process share, and one worker's part.

pub mod acks;
pub mod answer;
pub mod calls;
pub mod control;
pub mod control_reader;
pub mod early_cancels;
pub mod heard;
pub mod pieces;
pub mod sender;
pub mod shared;
pub mod source;
