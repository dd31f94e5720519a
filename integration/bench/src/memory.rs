//! Memory and start-up: the memory of an idle process and of a waiting connection, and the time until it is ready.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use crate::error::Result;
use crate::figures::Memory;
use crate::options::Options;
use crate::process::rss_mib;
use crate::role::request;
use crate::service::{self, SETTLE, Service};
use crate::stage::{Base, Khp};

/// Measures the first proxy and the first processor, and a proxy of its own for the connections that wait.
///
/// # Errors
/// There is no proxy or no processor, or the extra proxy does not start.
pub fn measure(base: &Base, khp: &Khp, options: &Options) -> Result<Memory> {
    let (Some(proxy), Some(processor)) = (khp.proxies.first(), khp.processors.first()) else {
        return Err("at least one proxy and one processor are needed".into());
    };
    Ok(Memory {
        proxy_idle_mib: proxy.idle_mib,
        processor_idle_mib: processor.idle_mib,
        proxy_ready_seconds: proxy.ready_after.as_secs_f64(),
        processor_ready_seconds: processor.ready_after.as_secs_f64(),
        waiting: options.waiting,
        kib_per_waiting: match options.waiting {
            0 => 0.0,
            count => kib_per_waiting(base, count, options.body)?,
        },
    })
}

/// Starts a proxy whose requests nobody answers, and divides what `count` of them add to its memory.
fn kib_per_waiting(base: &Base, count: usize, body: usize) -> Result<f64> {
    let mut env = base.env.clone();
    env.insert("KHP__REQUEST_TOPIC".into(), service::topic("waiting"));
    let proxy = Service::proxy(&base.binary, &env, None, 0)?;
    let request = request(proxy.address, body, &[]);
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = TcpStream::connect(proxy.address)?;
        connection.write_all(&request)?;
        connections.push(connection);
    }
    thread::sleep(SETTLE);
    let waiting_mib = rss_mib(proxy.process.watched().pid)?;
    Ok((waiting_mib - proxy.idle_mib) * 1024.0 / count as f64)
}
