//! The open loop: requests are due at fixed times. One that leaves late, because the one before it on its connection took too
//! long, still counts from when it was due; nothing is left out of the percentiles by waiting.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::sample::Sample;
use super::wire::{Questions, Reader};
use super::{Outcome, Span};

const READ_BYTES: usize = 16 * 1024;
/// An answer that takes longer is an error.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One thread a connection: a thread that sleeps in the kernel wakes within microseconds, an async timer within a millisecond.
pub fn run(target: SocketAddr, questions: &Questions, connections: usize, rate: u64, span: Span) -> Result<Outcome> {
    ensure!(rate > 0, "an open loop needs --rate");
    let start = Instant::now() + Duration::from_millis(50);
    let samples: Vec<Sample> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|index| {
                scope.spawn(move || {
                    let mut sample = Sample::default();
                    if let Err(error) = talk(target, questions, start, span, (index, connections, rate), &mut sample) {
                        sample.failed(error);
                    }
                    sample
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    ensure!(samples.len() == connections, "a thread of the load panicked");
    Ok(Sample::sum(samples, span))
}

fn talk(
    target: SocketAddr,
    questions: &Questions,
    start: Instant,
    span: Span,
    (index, connections, rate): (usize, usize, u64),
    sample: &mut Sample,
) -> Result<()> {
    let mut socket = TcpStream::connect(target)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let (mut request, mut buffer, mut reader) = (Vec::new(), vec![0; READ_BYTES], Reader::new());
    for turn in 0.. {
        let number = (turn * connections + index) as u64;
        let due = Duration::from_nanos(number.saturating_mul(1_000_000_000) / rate);
        if due >= span.end() {
            break;
        }
        questions.write_next(&mut request);
        std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
        socket.write_all(&request)?;
        reader.reset();
        loop {
            let read = socket.read(&mut buffer)?;
            ensure!(read > 0, "the connection was closed inside an answer");
            if reader.feed(&buffer[..read]).map_err(anyhow::Error::msg)? {
                break;
            }
        }
        if questions.is_refusal(&reader) {
            sample.refused += 1;
            continue;
        }
        match questions.fault(&reader) {
            None => sample.answered(span, due, start.elapsed(), reader.marks),
            Some(fault) => sample.failed(fault),
        }
    }
    Ok(())
}
