//! The listener: accepts connections on loopback or wherever it is told to, and stops when asked.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::exchange::RESETS;
use crate::ledger::{Ledger, LedgerEntry};
use crate::provider::Provider;
use crate::replay::Cases;
use crate::{SimConfig, SimError};

/// Connections served at the same time; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 16_384;

/// A running simulator. Dropping it stops it as [`SimHandle::shutdown`] does, without waiting.
pub struct SimHandle {
    /// Where it listens; the port that was chosen if port 0 was asked for.
    pub addr: SocketAddr,
    ledger: Arc<Ledger>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl SimHandle {
    /// Every request received so far, oldest first.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.ledger.since(0)
    }

    /// Stops listening and cuts the exchanges that are under way.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // The task may have ended by itself; then nobody listens for the sign.
            let _ = stop.send(());
        }
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the simulator stopped badly");
        }
    }
}

/// Starts a simulator; it serves until it is shut down.
pub async fn start(config: SimConfig) -> Result<SimHandle, SimError> {
    let ledger = Ledger::open(config.ledger.as_deref())
        .map_err(|source| SimError::Ledger { path: config.ledger.clone().unwrap_or_default(), source })?;
    let cases = match &config.replay {
        Some(dir) => Some(Cases::load(dir).map_err(|source| SimError::Replay { path: dir.clone(), source })?),
        None => None,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(|source| SimError::Listen { addr: config.listen, source })?;
    let addr = listener.local_addr().map_err(|source| SimError::Listen { addr: config.listen, source })?;
    let ledger = Arc::new(ledger);
    let provider = Arc::new(Provider::new(&config, Arc::clone(&ledger), cases));
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(accept(listener, provider, stopped));
    Ok(SimHandle { addr, ledger, stop: Some(stop), task })
}

async fn accept(listener: TcpListener, provider: Arc<Provider>, mut stopped: oneshot::Receiver<()>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            // A dropped handle stops the simulator too.
            _ = &mut stopped => break,
            accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            } => accepted,
        };
        let (Ok(slot), Ok((stream, _))) = accepted else {
            // Out of file descriptors, most likely: let some connections end first.
            tokio::task::yield_now().await;
            continue;
        };
        let provider = Arc::clone(&provider);
        connections.spawn(async move {
            serve_connection(stream, provider).await;
            drop(slot);
        });
    }
    provider.ledger.close();
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, provider: Arc<Provider>) {
    // Chunks must leave as they come: Nagle would join them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the socket keeps its delay");
    }
    let service = service_fn(move |request| {
        let provider = Arc::clone(&provider);
        Box::pin(async move { provider.answer(request).await })
    });
    let mut connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let served = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    let Err(error) = served else {
        // A client that is gone already need not be told.
        let _ = stream.shutdown().await;
        return;
    };
    tracing::debug!(%error, "a connection ended early");
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    if cause.is_some_and(|cause| cause.kind() == RESETS)
        && let Err(error) = stream.set_zero_linger()
    {
        tracing::debug!(%error, "the connection is closed instead of reset");
    }
}
