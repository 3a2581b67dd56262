//! Simulated LLM providers: one listener that speaks OpenAI Chat Completions, OpenAI Responses, Anthropic Messages and
//! Gemini, with scripted faults and books of its own. The demo, the tests and the benches put it where a vendor would be.
//!
//! It knows nothing of the gateway and shares no code with it, so that each can be the other's check: it is written from
//! the vendors' documents, refuses what they refuse (a tool result without its call, a missing `max_tokens`), and its
//! ledger tells what really arrived, what it cost and how it ended. It never calls anything, and serves no real model.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use tallygate_sim::{SimConfig, start};
//!
//! let sim = start(SimConfig::default()).await?;
//! println!("base URL of every dialect: http://{}", sim.addr);
//! assert!(sim.ledger().is_empty());
//! sim.shutdown().await;
//! # Ok::<(), tallygate_sim::SimError>(()) }).unwrap();
//! ```
//!
//! # What it answers
//!
//! Any model name is served, at the vendor's own paths (whatever stands before them): `/v1/chat/completions`,
//! `/v1/responses`, `/v1/messages`, `/v1beta/models/{model}:generateContent` and `:streamGenerateContent` (server-sent
//! events with `alt=sse`, else one JSON array), `/v1/embeddings` (numbers or base64), the token counters and the model
//! lists. A credential must stand in the dialect's own header; which one is free.
//!
//! | the request | the answer |
//! |---|---|
//! | text | quotes the last user message, with characters of more than one byte |
//! | `words=N` in the text | N words, 20,000 at most; the caller's token cap is kept and ends it with `length` |
//! | tools, and the word `tool` in the text or a forced choice | a call of the first tool (with `parallel`: of two), arguments from its schema |
//! | a tool result at the end | quotes the result |
//! | images | their media types and lengths in bytes |
//! | a JSON schema for the answer | JSON that follows it |
//! | a model named `…think…` or `…reason…`, or reasoning asked for | reasoning, and tokens for it |
//!
//! | `sim-script=[[["tool",{…}],…],…]` in a user's text, and tools | an agent's work: see below |
//!
//! Usage follows from the request: a token is four bytes of text (rounded up), an image 85 tokens; of a prompt of 32
//! tokens or more one in four was read from the cache, and with a `cache_control` marker one in eight is written to it.
//!
//! # Scripts
//!
//! `sim-script=` in a user's text, then a JSON list of steps, each a list of `[tool, arguments]`: the model thinks, makes
//! the calls of the first step (two or more are parallel), takes their results, thinks again, and so on; after the last
//! step it ends with a text that quotes all results. Which step is due follows from the conversation alone, so it works in
//! every dialect, plain and streaming. With `sim-redacted` in the text Anthropic's thinking comes redacted. A request
//! without tools (a title, a summary) is answered as if there were no script; a script that calls a tool that is not
//! offered is refused.
//!
//! # What it refuses
//!
//! What the vendor refuses, with the vendor's status and words: unknown fields, parameters that the model does not take
//! (models are known by the vendors' own names; a stranger's name takes everything), empty content, calls without results
//! and the reverse, wrong order. And what belongs to reasoning:
//!
//! | dialect | signed | refused |
//! |---|---|---|
//! | Anthropic | each thinking block, over its text and, from Fable 5.1 on, the conversation before it | a missing, forged, foreign or moved signature, altered text; with a thinking budget, a last assistant turn of calls that does not begin with its thinking |
//! | Gemini | the first call of each step; the last text of an answer | a forged or moved signature; from Gemini 3 on, a first call of the current turn without one (Google's two stand-ins are taken) |
//! | Responses | `encrypted_content`, where it is asked for | ciphertext it cannot read, reasoning without the item it led to, a call's item without its reasoning, reasoning by id where nothing was stored |
//! | all | | a call that does not come back as it was answered |
//!
//! The ledger tells of each request why it was refused, and what came back of the reasoning behind the calls of the
//! current turn ([`Returned`]). A chat model named `deepseek…` shows its reasoning as `reasoning_content`.
//!
//! # Faults
//!
//! By the model's name, as `sim-<fault>` or `<any name>:<fault>`:
//!
//! | fault | what happens |
//! |---|---|
//! | `400`, `401`, `403`, `404`, `429`, `quota`, `500`, `503`, `529` | that error in the vendor's words, headers and hints |
//! | `hang`, `hang-midstream` | no answer at all; half an answer and then silence |
//! | `slow` | the first byte and each chunk come after `slow_delay_ms` |
//! | `cut` | the connection is closed in the middle of the body |
//! | `garbage`, `garbage-json` | status 200 with an HTML page, with broken JSON |
//! | `midstream-error` | an error event after half the stream; without a stream an error body with status 200 |
//! | `no-usage` | a good answer that does not tell its usage |
//! | `refuse`, `reset` | the connection is closed, or reset, without an answer |
//! | `reset-midstream` | the connection is reset in the middle of the body |
//! | `truncate` | the body ends in its middle as if that were its end |
//! | `error-200` | an error body with status 200, for a stream too |
//! | `huge-line` | a line of 100 MiB |
//! | `gzip-bomb` | 100 MiB compressed to 100 KiB, which nobody asked for |
//! | `drip` | one byte a second |
//! | `usage-negative`, `-huge`, `-inconsistent` | a usage that cannot be true |
//! | `usage-twice`, `-split`, `-late` | the true usage told twice; half of it and then all; after the end of the stream |
//! | `sim-fail-first-<N>` (whole name) | the first N requests get 500, later ones are served |
//!
//! By a word of the credential (`sk-bad-1`): `bad` is not known to the provider, `limited` gets 429, `quota` has no
//! money left, `down` gets 503, `hanging` no answer, `refused` a closed connection.
//!
//! And at run time, which wins over both: `PUT /_sim/faults?credential=<the whole credential>&fault=<fault>`, for `429` with
//! `&retry_after=<seconds>`; `DELETE /_sim/faults?credential=…` heals it, `DELETE /_sim/faults` all.
//!
//! # Books
//!
//! `GET /_sim/ledger` (`?since=<seq>`) gives `{"entries": [LedgerEntry…]}`, `DELETE /_sim/ledger` forgets them and the
//! counters of faults. `GET /_sim/last-request` gives the latest 64 requests as they arrived, newest first, credentials
//! masked. With [`SimConfig::ledger`] each finished entry is also a line of JSON in that file.
//!
//! # Replay
//!
//! With [`SimConfig::replay`] it serves recorded exchanges instead, one folder a provider and one file a case: a request
//! for the model `<provider>/<id>` gets that case's status, headers and body, whatever else it asks. See
//! [`REPLAY_CHUNK_SIZES`] for how streams are cut.

mod answer;
mod conversation;
mod dialect;
mod exchange;
mod families;
mod faults;
mod ledger;
mod memory;
mod misbehave;
mod provider;
mod recent;
mod replay;
mod route;
mod schema;
mod script;
mod seal;
mod server;
mod usage;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use conversation::Returned;
pub use dialect::Dialect;
pub use ledger::{Ended, LedgerEntry};
pub use replay::CHUNK_SIZES as REPLAY_CHUNK_SIZES;
pub use server::{SimHandle, start};
pub use usage::Usage;

/// Pause between the chunks of a stream, unless configured: about the pace of a quick model.
const DEFAULT_CHUNK_DELAY_MS: u64 = 10;
/// How late the `slow` fault is, unless configured.
const DEFAULT_SLOW_DELAY_MS: u64 = 2_000;

/// How a simulator is set up.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A folder of recorded cases to serve instead of simulated answers.
    pub replay: Option<PathBuf>,
    /// Pause between the chunks of a stream, in milliseconds; 0 sends them as fast as the client takes them.
    pub chunk_delay_ms: u64,
    /// How late the `slow` fault is, in milliseconds.
    pub slow_delay_ms: u64,
    /// A file to which each finished entry of the ledger is appended as a line of JSON.
    pub ledger: Option<PathBuf>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            replay: None,
            chunk_delay_ms: DEFAULT_CHUNK_DELAY_MS,
            slow_delay_ms: DEFAULT_SLOW_DELAY_MS,
            ledger: None,
        }
    }
}

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("cannot listen on {addr}: {source}; choose another address or port 0")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("cannot load recorded cases from {path}: {source}", path = path.display())]
    Replay { path: PathBuf, source: io::Error },
    #[error("cannot append to the ledger file {path}: {source}", path = path.display())]
    Ledger { path: PathBuf, source: io::Error },
}
