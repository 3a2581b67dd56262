//! The thread that brings usage to the database: a runtime of its own, so that no request waits behind the encoding of a batch
//! and the system shows what it costs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tallygate_billing::Shipper;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The running thread; dropped, it ends without a last flush.
pub struct Shipping {
    flush: oneshot::Sender<Flush>,
    /// Ends the endless part.
    stop: DropGuard,
}

struct Flush {
    deadline: Duration,
    done: oneshot::Sender<()>,
}

impl Shipping {
    /// Ships from `loaded` on. `tidy` is other work on the same tables that no request should wait behind.
    pub fn start(
        shipper: Arc<Shipper>,
        loaded: CancellationToken,
        tidy: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .thread_name("shipper-io")
            .enable_all()
            .build()
            .context("cannot make the runtime of the shipper")?;
        let (flush, asked) = oneshot::channel::<Flush>();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let ship = async move {
            tokio::spawn(tidy);
            let endless = Box::pin(async {
                loaded.cancelled().await;
                Arc::clone(&shipper).run().await;
            });
            stopped.run_until_cancelled(endless).await;
            let Ok(Flush { deadline, done }) = asked.await else { return };
            if let Err(error) = shipper.flush(deadline).await {
                tracing::warn!(%error, "usage is left in the journal");
            }
            // Nobody need wait for it any more.
            let _ = done.send(());
        };
        std::thread::Builder::new()
            .name("shipper".into())
            .spawn(move || runtime.block_on(ship))
            .context("cannot start the thread of the shipper")?;
        Ok(Self { flush, stop: stop.drop_guard() })
    }

    /// Ships what is left, for at most `deadline`, and ends.
    pub async fn finish(self, deadline: Duration) {
        let (done, ended) = oneshot::channel();
        drop(self.stop);
        // Either fails if the thread panicked, and it has said so.
        if self.flush.send(Flush { deadline, done }).is_ok() {
            let _ = ended.await;
        }
    }
}
