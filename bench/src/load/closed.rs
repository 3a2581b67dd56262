//! The closed loop: every connection has one request under way, always.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::sample::Sample;
use super::wire::{Questions, Reader};
use super::{Outcome, Span};

/// A connection that has failed is tried again after this.
const PAUSE: Duration = Duration::from_millis(10);
const READ_BYTES: usize = 16 * 1024;

pub async fn run(target: SocketAddr, questions: Arc<Questions>, connections: usize, span: Span) -> Result<Outcome> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(connection(target, Arc::clone(&questions), start, span));
    }
    Ok(Sample::sum(tasks.join_all().await, span))
}

async fn connection(target: SocketAddr, questions: Arc<Questions>, start: Instant, span: Span) -> Sample {
    let mut sample = Sample::default();
    while start.elapsed() < span.end() {
        if let Err(error) = talk(target, &questions, start, span, &mut sample).await {
            sample.failed(error);
            tokio::time::sleep(PAUSE).await;
        }
    }
    sample
}

async fn talk(target: SocketAddr, questions: &Questions, start: Instant, span: Span, sample: &mut Sample) -> Result<()> {
    let mut socket = TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    let (mut request, mut buffer, mut reader) = (Vec::new(), vec![0; READ_BYTES], Reader::new());
    while start.elapsed() < span.end() {
        questions.write_next(&mut request);
        let asked = start.elapsed();
        socket.write_all(&request).await?;
        reader.reset();
        loop {
            let read = socket.read(&mut buffer).await?;
            anyhow::ensure!(read > 0, "the connection was closed inside an answer");
            if reader.feed(&buffer[..read]).map_err(anyhow::Error::msg)? {
                break;
            }
        }
        match questions.fault(&reader) {
            None => sample.answered(span, asked, start.elapsed(), reader.marks),
            Some(fault) => sample.failed(fault),
        }
    }
    Ok(())
}
