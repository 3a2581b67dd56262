//! The accept loop: HTTP/1.1 and h2c on one port, bounded, with timers, drained in two stages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::connection::{Connections, Ended, Patience};
use crate::overload::{self, Strain};
use crate::plane::DataPlane;
use crate::stack;
use crate::stall::Unstalled;

/// After an error of `accept` (usually: no file descriptors left) the loop waits this long before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// One line of the log for all such errors within this time.
const ACCEPT_REPORT_INTERVAL: Duration = Duration::from_secs(10);
const LIMITS: &str = "/proc/self/limits";
/// What is read or written of a connection waits in buffers of up to this; a header must fit in one.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// What hyper takes if it is not told (`hyper::server::conn::http1::Builder::max_headers`).
const HYPER_MAX_HEADERS: usize = 100;
/// How often a drain says what it still waits for.
const DRAIN_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every open request came to its own end.
    Complete,
    /// Some were told in band that the server stops.
    Stopped,
}

/// Serves `listener` until `shutdown`, then drains: no new connections, open requests go on for the configured time, what
/// is left after it ends with an error in its own dialect. Settling has happened for all of them when this returns.
///
/// [`DataPlane::stop`] skips what remains of the drain: the second signal of a person who will not wait.
pub async fn serve(listener: TcpListener, plane: Arc<DataPlane>, shutdown: CancellationToken) -> Drained {
    let config = Arc::clone(&plane.config);
    let seats = Arc::new(Semaphore::new(max_connections(config.max_connections)));
    let watch = tokio::spawn(overload::watch(Arc::clone(&plane)));
    let connections = Arc::new(Connections::default());
    let stack = Arc::new(stack::assemble(Arc::clone(&plane)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_BUFFER_BYTES).pipeline_flush(false);
    // hyper keeps room for its own number of headers ready; for any other it is made with each request.
    if config.max_headers != HYPER_MAX_HEADERS {
        builder.http1().max_headers(config.max_headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.h2_max_streams)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(config.h2_ping_interval);
    let patience = Patience { first: config.header_read_timeout, next: config.keep_alive_timeout };
    // Idle connections that come while memory is short are kept for no longer than it takes to begin a request.
    let strained = Patience { next: patience.first.min(patience.next), ..patience };

    let mut troubled = None;
    loop {
        let (socket, peer) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = plane.stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    plane.metrics.accept_failures.inc();
                    if troubled.is_none_or(|last: tokio::time::Instant| last.elapsed() >= ACCEPT_REPORT_INTERVAL) {
                        troubled = Some(tokio::time::Instant::now());
                        tracing::warn!(%error, "cannot accept connections");
                    }
                    // What has come waits in the backlog; asking again at once would only burn the processor.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            plane.metrics.connections_refused.inc();
            tracing::debug!(%peer, "too many connections");
            continue;
        };
        prepare(&socket, peer);
        let patience = if plane.overload.strain() >= Strain::ShortenIdle { strained } else { patience };
        let connection = connections.attend(Arc::clone(&stack), peer.ip().to_canonical(), patience, |service| {
            builder.serve_connection(TokioIo::new(Unstalled::new(socket, config.write_stall_timeout)), service).into_owned()
        });
        let open = plane.metrics.connected();
        tokio::spawn(async move {
            match connection.await {
                Ended::Itself(Ok(())) | Ended::Cut => {}
                Ended::Itself(Err(error)) => tracing::debug!(%peer, %error, "connection ended with an error"),
                Ended::Idle => tracing::debug!(%peer, "no request in time"),
            }
            drop((open, seat));
        });
    }

    drop(listener);
    let drained = drain(&connections, &plane, config.drain_timeout, config.stop_timeout).await;
    watch.abort();
    drained
}

async fn drain(connections: &Connections, plane: &DataPlane, drain_timeout: Duration, stop_timeout: Duration) -> Drained {
    connections.wind_down();
    let mut drained = std::pin::pin!(connections.all_ended());
    let deadline = tokio::time::Instant::now() + drain_timeout;
    loop {
        let report = tokio::time::sleep(DRAIN_REPORT_INTERVAL);
        tokio::select! {
            () = &mut drained => return Drained::Complete,
            () = plane.stop.cancelled() => break,
            () = tokio::time::sleep_until(deadline) => break,
            () = report => tracing::info!(
                in_flight = plane.in_flight(),
                left_s = deadline.saturating_duration_since(tokio::time::Instant::now()).as_secs(),
                "draining"
            ),
        }
    }
    plane.stop.cancel();
    // Streams and waiting requests end with an error in their own dialect.
    plane.live.stop();
    if tokio::time::timeout(stop_timeout, &mut drained).await.is_err() {
        tracing::warn!("connections that did not end in time are cut");
        connections.cut();
        drained.await;
    }
    Drained::Stopped
}

/// As many connections as are allowed, and no more than half of what the process may have open: each may need one to an
/// upstream.
fn max_connections(configured: usize) -> usize {
    open_files(&std::fs::read_to_string(LIMITS).unwrap_or_default()).map_or(configured, |files| configured.min(files / 2))
}

/// The soft limit in a line like `Max open files            1024                 524288               files`.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn prepare(socket: &TcpStream, peer: SocketAddr) {
    // Without it each small piece of a stream waits for the acknowledgement of the one before: 40 ms.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_open_files_to_upstreams() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             127235               127235               processes\n\
                      Max open files            256                  524288               files\n";
        assert_eq!(open_files(limits), Some(256));
        assert_eq!(open_files("Max open files            unlimited            unlimited            files\n"), None);
        assert!(max_connections(1) == 1);
    }
}
