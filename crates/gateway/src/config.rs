//! Every bound of the data plane, each with a default that has a name.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tallygate_store::upstreams::Timeouts;
use tallygate_types::Network;

use crate::health::HealthBounds;
use crate::limits::DefaultPlaces;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bounds and timeouts of the data plane. `Default` is what a running system starts with.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Open client connections. One more is closed as soon as it is accepted.
    pub max_connections: usize,
    /// Requests being served at once, over all tenants. One more is answered 503.
    pub max_in_flight: u32,
    /// Requests of one tenant being served at once, where its own limits say nothing. One more is answered 429.
    pub max_in_flight_per_tenant: u32,
    /// Requests of one key being served at once, where neither its own limits nor its tenant's say anything.
    pub max_in_flight_per_key: u32,
    /// Load is shed before the process has used this much; 0: never. `None`: what its control group may use.
    pub memory_limit_bytes: Option<u64>,
    /// From accepting a connection to the end of its first request's header.
    pub header_read_timeout: Duration,
    /// From the end of one answer to the end of the next request's header on the same HTTP/1.1 connection.
    pub keep_alive_timeout: Duration,
    pub max_headers: usize,
    pub max_header_bytes: usize,
    pub max_uri_bytes: usize,
    pub max_body_bytes: usize,
    /// A form with files: images to change, sound to write down.
    pub max_upload_bytes: usize,
    /// Pages that may call from a browser, by origin (`https://app.example.com`); `*` is every page. Empty: none.
    pub cors_origins: Vec<String>,
    /// Proxies that are believed whom they say a request comes from (`x-forwarded-for`).
    pub trusted_proxies: Vec<Network>,
    /// Request bodies in memory at once, over all requests. One more piece is answered 503.
    pub max_bodies_bytes: usize,
    /// Between two pieces of a request body.
    pub body_idle_timeout: Duration,
    /// The whole request body.
    pub body_timeout: Duration,
    /// A client that takes nothing for this long while there is something to send has left.
    pub write_stall_timeout: Duration,
    /// Concurrent requests on one HTTP/2 connection.
    pub h2_max_streams: u32,
    pub h2_ping_interval: Duration,
    /// Attempts on upstreams for one request, the first included.
    pub max_attempts: usize,
    /// From the first attempt at a request to the last that may begin; the upstreams' own total where the installation sets one.
    pub max_search_time: Duration,
    /// A whole upstream answer that has begun comes at least at this pace, or is given up; 0: at any. Whole answers are written
    /// before they are sent, so a model's slowness is none of this; streams know no such bound.
    pub min_answer_bytes_per_second: u32,
    /// A whole (not streamed) upstream answer.
    pub max_answer_bytes: usize,
    /// One streamed upstream answer, as it arrives.
    pub max_stream_bytes: usize,
    /// One streamed upstream answer, from dispatch to its end, where its upstream sets no total.
    pub max_stream_duration: Duration,
    /// A stream in which nothing has come for this long is sent a comment.
    pub stream_keep_alive: Duration,
    /// A stream whose answer has not begun for this long is begun without it: what fails from then on is said in it.
    pub stream_commit_delay: Duration,
    pub memory: MemoryBounds,
    pub kept: KeptBounds,
    pub media: MediaBounds,
    /// An upstream error body is read this far.
    pub max_error_bytes: usize,
    /// Timeouts of upstreams that set none of their own; where these are not set either, the defaults apply.
    pub upstream_timeouts: Timeouts,
    pub outbound: Outbound,
    /// Idle upstream connections kept for each host.
    pub pool_idle_per_host: usize,
    pub pool_idle_timeout: Duration,
    /// Output tokens assumed for a reservation when the request names no maximum.
    pub assumed_output_tokens: u64,
    /// Output tokens counted against the rate limit at admission, at most; the true number replaces it at the end.
    pub admitted_output_tokens: u64,
    pub health: HealthBounds,
    /// Records of requests that were refused before dispatch, per minute; beyond it they are only counted.
    pub max_rejection_records_per_minute: u32,
    /// After the first shutdown signal open requests may go on this long.
    pub drain_timeout: Duration,
    /// After the drain, what still runs is told in band and has this long to be flushed.
    pub stop_timeout: Duration,
}

/// The way out of the installation. The environment's proxies are never used: whether a request goes through one is nobody's
/// accident.
#[derive(Clone, Default)]
pub struct Outbound {
    /// For upstreams that name no proxy of their own: URLs, tried in turn. Empty: straight.
    pub proxies: Vec<String>,
    /// What is reached without them. The form: [`tallygate_types::NoProxy`].
    pub no_proxy: Vec<String>,
    /// Trusted beside the usual authorities.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// A proxy's URL may hold a password.
impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proxies, no_proxy, authorities } = self;
        f.debug_struct("Outbound")
            .field("proxies", &proxies.len())
            .field("no_proxy", no_proxy)
            .field("authorities", &authorities.len())
            .finish()
    }
}

/// Bounds of what is remembered of answers for the next turn of their tool loops.
#[derive(Debug, Clone, Copy)]
pub struct MemoryBounds {
    /// Over all tenants.
    pub max_bytes: usize,
    pub max_bytes_per_tenant: usize,
    /// Signatures have some hundred bytes, with tools that the provider runs some hundred kilobytes.
    pub max_entry_bytes: usize,
    pub max_entries: usize,
    /// Since it was last needed.
    pub lifetime: Duration,
}

/// Bounds of what requests of the Responses API may refer to.
#[derive(Debug, Clone, Copy)]
pub struct KeptBounds {
    /// One look at the database.
    pub read_timeout: Duration,
    /// Keeping one answer; its end is held back so long.
    pub write_timeout: Duration,
    /// Looks at the database at once. One more is answered 503.
    pub max_reads: usize,
    /// Responses that one may build on.
    pub max_chain_responses: u32,
    /// Bytes of all of them.
    pub max_chain_bytes: u64,
    /// Items that one request refers to.
    pub max_references: usize,
    /// Names of what upstreams keep, in memory, over all tenants.
    pub max_pins: usize,
    /// Such names on their way to the database.
    pub max_pins_waiting: usize,
}

impl Default for KeptBounds {
    fn default() -> Self {
        Self {
            read_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(2),
            max_reads: 64,
            max_chain_responses: 1_000,
            max_chain_bytes: 32 * MIB as u64,
            max_references: 256,
            max_pins: 65_536,
            max_pins_waiting: 8_192,
        }
    }
}

/// Bounds of fetching what requests name by URL.
#[derive(Debug, Clone)]
pub struct MediaBounds {
    /// One image or document.
    pub max_bytes: usize,
    /// All of one request.
    pub max_bytes_per_request: usize,
    /// URLs of one request.
    pub max_urls: usize,
    /// Fetches at once, over all requests; one more waits.
    pub max_fetches: usize,
    pub max_fetches_per_request: usize,
    pub max_redirects: usize,
    pub connect_timeout: Duration,
    /// One fetch, redirects included.
    pub timeout: Duration,
    /// Hosts, `name` or `name:port`, that a tenant's URL may reach though they are private.
    pub private_hosts: Vec<String>,
}

impl Default for MediaBounds {
    fn default() -> Self {
        Self {
            max_bytes: 20 * MIB,
            max_bytes_per_request: 32 * MIB,
            max_urls: 32,
            max_fetches: 32,
            max_fetches_per_request: 4,
            max_redirects: 3,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            private_hosts: Vec::new(),
        }
    }
}

impl Default for MemoryBounds {
    fn default() -> Self {
        Self {
            max_bytes: 128 * MIB,
            max_bytes_per_tenant: 16 * MIB,
            max_entry_bytes: 2 * MIB,
            max_entries: 200_000,
            lifetime: Duration::from_hours(24),
        }
    }
}

impl GatewayConfig {
    pub const fn default_places(&self) -> DefaultPlaces {
        DefaultPlaces { per_tenant: self.max_in_flight_per_tenant, per_key: self.max_in_flight_per_key }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_in_flight: 2_000,
            max_in_flight_per_tenant: 200,
            max_in_flight_per_key: 50,
            memory_limit_bytes: None,
            header_read_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            max_headers: 100,
            max_header_bytes: 32 * KIB,
            max_uri_bytes: 8 * KIB,
            max_body_bytes: 32 * MIB,
            max_upload_bytes: 100 * MIB,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_bodies_bytes: 1024 * MIB,
            body_idle_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_mins(5),
            write_stall_timeout: Duration::from_mins(1),
            h2_max_streams: 100,
            h2_ping_interval: Duration::from_secs(20),
            max_attempts: 4,
            max_search_time: Duration::from_mins(10),
            min_answer_bytes_per_second: 16,
            max_answer_bytes: 64 * MIB,
            max_stream_bytes: 64 * MIB,
            max_stream_duration: Duration::from_mins(30),
            stream_keep_alive: Duration::from_secs(15),
            stream_commit_delay: Duration::from_secs(15),
            memory: MemoryBounds::default(),
            kept: KeptBounds::default(),
            media: MediaBounds::default(),
            max_error_bytes: 64 * KIB,
            upstream_timeouts: Timeouts::default(),
            outbound: Outbound::default(),
            pool_idle_per_host: 256,
            pool_idle_timeout: Duration::from_secs(90),
            assumed_output_tokens: 4_096,
            admitted_output_tokens: 1_024,
            health: HealthBounds::default(),
            max_rejection_records_per_minute: 6_000,
            drain_timeout: Duration::from_mins(10),
            stop_timeout: Duration::from_secs(5),
        }
    }
}
