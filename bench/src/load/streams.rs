//! Streams, one after the other on each connection, spread evenly over the time that one takes; or held open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::sample::Sample;
use super::wire::{Questions, Reader};
use super::{Outcome, Span};

const READ_BYTES: usize = 64 * 1024;
/// A held stream carries little.
const HELD_READ_BYTES: usize = 1024;
/// Between the openings of two held streams: a thousand at once would be a test of something else.
const HELD_APART: Duration = Duration::from_millis(1);
/// All held streams must have begun after this.
const HELD_WITHIN: Duration = Duration::from_secs(30);

pub async fn run(target: SocketAddr, questions: Arc<Questions>, connections: usize, span: Span) -> Result<Outcome> {
    let start = Instant::now();
    let (pieces, apart) = questions.pace();
    let each = apart * u32::try_from(pieces)?;
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let begin = each * u32::try_from(index)? / u32::try_from(connections)?;
        let questions = Arc::clone(&questions);
        tasks.spawn(async move {
            let mut sample = Sample::default();
            tokio::time::sleep(begin).await;
            if let Err(error) = talk(target, &questions, start, span, &mut sample).await {
                sample.failed(error);
            }
            sample
        });
    }
    Ok(Sample::sum(tasks.join_all().await, span))
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
            ensure!(read > 0, "the connection was closed inside a stream");
            let before = reader.marks;
            let is_whole = reader.feed(&buffer[..read]).map_err(anyhow::Error::msg)?;
            let now = start.elapsed();
            if before == 0 && reader.marks > 0 {
                sample.text_began(span, asked, now);
            }
            if span.covers(now) {
                sample.pieces_in_window += reader.marks - before;
            }
            if is_whole {
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

/// Opens all streams, prints `open`, and waits for the end of standard input.
pub async fn hold(target: SocketAddr, questions: Arc<Questions>, connections: usize) -> Result<Outcome> {
    let (began, mut begun) = mpsc::channel(connections);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (questions, began) = (Arc::clone(&questions), began.clone());
        tasks.spawn(async move {
            let held = held(target, &questions, began).await;
            if let Err(error) = held {
                eprintln!("a held stream: {error:#}");
            }
        });
        tokio::time::sleep(HELD_APART).await;
    }
    drop(began);
    let all = async {
        let mut open = 0;
        while open < connections && begun.recv().await.is_some() {
            open += 1;
        }
        open
    };
    let open = tokio::time::timeout(HELD_WITHIN, all).await?;
    ensure!(open == connections, "{open} of {connections} streams began");
    println!("open");
    let mut line = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await??;
    Ok(Outcome { answers: open as u64, errors: (connections - tasks.len()) as u64, ..Outcome::default() })
}

async fn held(target: SocketAddr, questions: &Questions, began: mpsc::Sender<()>) -> Result<()> {
    let mut socket = TcpStream::connect(target).await?;
    let (mut request, mut buffer, mut reader) = (Vec::new(), vec![0; HELD_READ_BYTES], Reader::new());
    questions.write_next(&mut request);
    socket.write_all(&request).await?;
    let mut has_begun = false;
    loop {
        let read = socket.read(&mut buffer).await?;
        ensure!(read > 0, "the connection was closed inside a stream");
        let is_whole = reader.feed(&buffer[..read]).map_err(anyhow::Error::msg)?;
        if reader.marks > 0 && !has_begun {
            has_begun = true;
            ensure!(reader.status == 200, "status {}", reader.status);
            began.send(()).await?;
        }
        ensure!(!is_whole, "a stream to be held has ended");
    }
}
