//! Listening sockets that can be closed without losing a connection.
//!
//! Closing a listener resets the connections that the kernel has set up and the process has not accepted yet. An nginx in front may have
//! sent its request on such a connection, and does not send a POST again. So new connections stop first, those under way are accepted,
//! and only then the socket closes. From then on connecting is refused, and nginx takes the next upstream.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

/// Handshakes that began before the stop end well within this, and their connections are accepted.
pub const SETTLE: Duration = Duration::from_millis(250);

/// A second handle of a listening socket.
pub struct ListenerGuard(TcpListener);

/// Opens a listening socket, and a guard for its end.
///
/// # Errors
/// The port is taken, or the address is not this machine's.
pub fn listen(bind: IpAddr, port: u16) -> io::Result<(TcpListener, ListenerGuard)> {
    let listener = TcpListener::bind((bind, port))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let guard = ListenerGuard(listener.try_clone()?);
    Ok((listener, guard))
}

impl ListenerGuard {
    /// From now on the kernel drops packets that would open a connection; clients send them again after a second. Where the kernel cannot
    /// do that, the listener closes like any other.
    #[cfg(target_os = "linux")]
    pub fn stop_new_connections(&self) {
        use std::os::fd::AsRawFd;
        // Classic BPF over the TCP header (socket(7), SO_ATTACH_FILTER): byte 13 holds the flags; SYN without ACK is dropped.
        const SYN: u32 = 0x02;
        const SYN_AND_ACK: u32 = 0x12;
        let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        let mut program = [
            op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
            op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, SYN_AND_ACK),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, SYN),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        ];
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the socket is ours and open; the kernel copies the program within the call.
        let attached = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const filter).cast(),
                size_of_val(&filter) as libc::socklen_t,
            )
        };
        if attached != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "new connections cannot be held off while the listener closes");
        }
    }

    /// Other systems have no such filter; the listener closes like any other.
    #[cfg(not(target_os = "linux"))]
    pub fn stop_new_connections(&self) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    #[test]
    fn what_is_under_way_is_accepted_and_nothing_new_begins() {
        let (listener, guard) = listen(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let address = listener.local_addr().unwrap();
        let early = TcpStream::connect(address).unwrap();
        guard.stop_new_connections();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
        drop((accepted, listener, guard));
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
