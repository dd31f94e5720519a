//! How many partitions are restored at a time: each takes a consumer while it is read, and an assignment brings many.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Partitions that are read at a time, in the whole process.
const AT_ONCE: usize = 4;

/// The places of the process. Clones share them.
#[derive(Clone)]
pub struct Restores(Arc<Semaphore>);

impl Default for Restores {
    fn default() -> Self {
        Restores(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Restores {
    /// Runs `work`, which blocks, as soon as there is a place. The place is taken until it ends, also where nobody waits for that any more.
    /// `None`: it panicked, and the panic hook has logged it.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        // None: never, it is not closed.
        let place = self.0.clone().acquire_owned().await.ok()?;
        let work = move || {
            let done = work();
            drop(place);
            done
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn so_many_run_at_a_time_whoever_still_waits_for_them() {
        let restores = Restores::default();
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (release, held) = crossbeam_channel::unbounded::<()>();
        let mut all: Vec<_> = (0..10)
            .map(|number| {
                let (began, held, restores) = (began.clone(), held.clone(), restores.clone());
                Box::pin(async move {
                    let work = move || {
                        began.send(number).unwrap();
                        held.recv().unwrap();
                    };
                    restores.run(work).await
                })
            })
            .collect();
        for restore in &mut all {
            assert!(restore.now_or_never().is_none());
        }
        for _ in 0..AT_ONCE {
            begun.recv().await.unwrap();
        }
        assert_eq!(restores.0.available_permits(), 0);
        // Nobody waits for the first ones any more, which goes on all the same: the next one waits as before.
        let mut last = all.split_off(AT_ONCE);
        drop(all);
        assert!(last[0].as_mut().now_or_never().is_none() && begun.try_recv().is_err());
        for _ in 0..10 {
            release.send(()).unwrap();
        }
        assert_eq!(futures_util::future::join_all(last).await, vec![Some(()); 10 - AT_ONCE]);
        assert_eq!(
            restores
                .0
                .clone()
                .acquire_many_owned(AT_ONCE as u32)
                .await
                .unwrap()
                .num_permits(),
            AT_ONCE
        );
    }
}
