//! A thread of the service that is stuck holds up neither /status nor the end of the process.

use std::time::{Duration, Instant};

use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::service_manager::ServiceManager;
use crate::harness::spec::proxy;

/// Stops threads of a process for good, as a debugger does: nothing of them runs until they are killed.
fn freeze(pid: u32, is_meant: impl Fn(u32, &str) -> bool) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let threads = tasks.flatten().filter_map(|task| {
        let id: u32 = task.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        is_meant(id, name.trim()).then_some(id)
    });
    let threads: Vec<u32> = threads.collect();
    let count = threads.len();
    let (done, frozen) = std::sync::mpsc::channel();
    // The tracer of a thread is a thread: it stays until the last of them is dead, and takes each from the kernel's hands, which its
    // parent waits for.
    std::thread::spawn(move || {
        let null = std::ptr::null_mut::<libc::c_void>();
        for id in &threads {
            let id = *id as libc::pid_t;
            let mut status = 0;
            // SAFETY: no memory is handed over but `status`, which outlives the calls.
            let results = unsafe {
                [
                    libc::ptrace(libc::PTRACE_SEIZE, id, null, null),
                    libc::ptrace(libc::PTRACE_INTERRUPT, id, null, null),
                    libc::waitpid(id, &raw mut status, libc::__WALL).into(),
                ]
            };
            assert!(
                results.iter().all(|result| *result >= 0),
                "{:?}",
                std::io::Error::last_os_error()
            );
        }
        done.send(()).expect("the test waits");
        for id in threads {
            let mut status = 0;
            // SAFETY: as above.
            unsafe { libc::waitpid(id as libc::pid_t, &raw mut status, libc::__WALL) };
        }
    });
    frozen.recv().expect("the threads are frozen");
    count
}

#[tokio::test]
async fn status_answers_while_the_supervisor_is_stuck() {
    let topics = Topics::unique("orders");
    let manager = ServiceManager::new();
    let app = proxy(&topics).set("management_port", crate::harness::kafka::free_port());
    let app = manager.of(app).start().await;
    assert!(app.manage("/status").await.json()["actors"].is_array());
    // The supervisor runs on the main thread.
    assert_eq!(freeze(app.pid(), |id, _| id == app.pid()), 1);
    let began = Instant::now();
    let status = app.manage("/status").await;
    assert_eq!(status.status, 200, "{status:?}");
    assert!(status.json()["actors"].is_null(), "{}", status.text());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Nor is the watchdog of systemd fed any more. Before, it was once a second.
    while manager.hears(Duration::from_millis(1)).is_some() {}
    assert_eq!(manager.hears(Duration::from_millis(2500)), None);
}

#[tokio::test]
async fn a_router_that_is_stuck_does_not_hold_up_the_end() {
    let topics = Topics::unique("orders");
    let mut app = proxy(&topics).set("drain_timeout", 4).start().await;
    let waiting = app.leave_waiting(&Request::post("/x", "nobody answers")).await;
    app.wait_for_pending(1).await;
    let frozen = freeze(app.pid(), |id, name| id != app.pid() && name.starts_with("actix-rt"));
    assert!(frozen > 0, "the router has a thread");
    app.signal("TERM");
    let began = Instant::now();
    assert_eq!(app.wait_exit().await, Some(75), "{}", app.log());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(app.log().contains("does not answer at the end"), "{}", app.log());
    drop(waiting);
}
