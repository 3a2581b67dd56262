//! Images and documents that a request names by URL, fetched for upstreams that take them only inline.
//!
//! The URL is a tenant's, so it never reaches a private address: names are resolved here, every address is judged, and the
//! connection goes to the address that was judged ([`fetch`]). No outbound proxy is used for it: a proxy would resolve the
//! name anew, out of our sight.

mod address;
mod fetch;

pub use self::address::is_public;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tallygate_adapter::media_urls::{
    FetchedMedia, MediaKind, MediaUrl, TakesUrls, inline_media, may_name_media, media_urls, sniffed_media_type,
};
use tallygate_adapter::{Peek, peek};
use tallygate_types::Dialect;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::fetch::{Fault, Fetcher};
use crate::config::MediaBounds;
use crate::layers::{Question, no_room};
use crate::plane::{DataPlane, Room};
use crate::refusal::Refusal;
use crate::routing::Step;

/// See the module.
pub struct Media {
    fetcher: Fetcher,
    fetching: Semaphore,
    bounds: MediaBounds,
}

/// A request's body with its media inline, for upstreams that fetch alike.
pub struct Inlined {
    takes: TakesUrls,
    /// `None`: nothing had to be fetched.
    body: Option<(Bytes, Peek)>,
    /// Held as long as the body is.
    _room: Room,
}

impl Media {
    pub fn new(bounds: MediaBounds) -> Self {
        Self { fetcher: Fetcher::new(&bounds), fetching: Semaphore::new(bounds.max_fetches), bounds }
    }

    /// Whether the request may name something that `step`'s upstream does not fetch.
    pub fn is_wanted(question: &Question, step: &Step<'_>) -> bool {
        let upstream = &step.target.upstream;
        !TakesUrls::of(question.endpoint.dialect, upstream.dialect, &upstream.base_url).takes_all()
            && may_name_media(&question.body)
    }

    /// Fetches what `step`'s upstream does not. What was fetched for one attempt serves the next.
    pub async fn inline<'a>(
        &self,
        plane: &DataPlane,
        question: &Question,
        step: &Step<'_>,
        done: &'a mut Vec<Inlined>,
    ) -> Result<Option<&'a (Bytes, Peek)>, Refusal> {
        let upstream = &step.target.upstream;
        let takes = TakesUrls::of(question.endpoint.dialect, upstream.dialect, &upstream.base_url);
        if !Self::is_wanted(question, step) {
            return Ok(None);
        }
        let at = if let Some(at) = done.iter().position(|inlined| inlined.takes == takes) {
            at
        } else {
            // Few fetch: its future is not part of everyone's.
            done.push(Box::pin(self.fetch_all(plane, question, takes)).await?);
            done.len() - 1
        };
        Ok(done[at].body.as_ref())
    }

    async fn fetch_all(&self, plane: &DataPlane, question: &Question, takes: TakesUrls) -> Result<Inlined, Refusal> {
        let dialect = if question.peek.is_responses_body { Dialect::OpenaiResponses } else { question.endpoint.dialect };
        let mut room = plane.room();
        let mut wanted = media_urls(dialect, &question.body, takes);
        if wanted.is_empty() {
            return Ok(Inlined { takes, body: None, _room: room });
        }
        if wanted.len() > self.bounds.max_urls {
            let message =
                format!("At most {} images and documents can be named by URL; send the others as data.", self.bounds.max_urls);
            return Err(Refusal::bad_request("too_many_media", message).with_param(wanted[self.bounds.max_urls].param.clone()));
        }
        // Named twice, fetched once.
        let mut seen = std::collections::HashSet::new();
        wanted.retain(|media| seen.insert((media.url.clone(), media.kind)));
        // Made before they are run: a closure between them would hide from the compiler that they can be sent.
        let fetches: Vec<_> = wanted.iter().map(|media| self.fetch(media)).collect();
        let fetched: Vec<FetchedMedia> =
            stream::iter(fetches).buffered(self.bounds.max_fetches_per_request).try_collect().await?;
        let total: usize = fetched.iter().map(|media| media.bytes.len()).sum();
        if total > self.bounds.max_bytes_per_request {
            let message = format!(
                "The images and documents named by URL are {total} bytes together; at most {} are taken.",
                self.bounds.max_bytes_per_request
            );
            return Err(Refusal::bad_request("media_too_large", message).with_param(wanted[0].param.clone()));
        }
        let body = Bytes::from(inline_media(dialect, &question.body, &fetched)?);
        if !room.grow(body.len()) {
            return Err(no_room());
        }
        let peek = peek(question.endpoint.dialect, &body)?;
        Ok(Inlined { takes, body: Some((body, peek)), _room: room })
    }

    async fn fetch(&self, media: &MediaUrl) -> Result<FetchedMedia, Refusal> {
        let fetching = async {
            // It is never closed.
            let _permit = self.fetching.acquire().await.map_err(|_| Fault::Failed("too many are fetched".into()))?;
            self.fetcher.fetch(&media.url).await
        };
        let fetched = timeout(self.bounds.timeout, fetching).await.unwrap_or_else(|_| Err(Fault::TimedOut(self.bounds.timeout)));
        let (bytes, said) = fetched.map_err(|fault| refused(media, &fault))?;
        let media_type = sniffed_media_type(&bytes, said.as_deref()).filter(|kind| match media.kind {
            MediaKind::Image => kind.starts_with("image/"),
            MediaKind::Document => *kind == "application/pdf" || kind.starts_with("text/"),
        });
        match media_type {
            Some(media_type) => {
                Ok(FetchedMedia { url: media.url.clone(), media_type: media_type.to_owned(), bytes: bytes.to_vec() })
            }
            None => Err(refused(media, &Fault::OtherContent)),
        }
    }
}

/// In OpenAI's own words where it has some. What stands at a private address is never told from what does not.
fn refused(media: &MediaUrl, fault: &Fault) -> Refusal {
    let (what, kinds) = match media.kind {
        MediaKind::Image => ("image", "JPEG, PNG, GIF, WebP or HEIC"),
        MediaKind::Document => ("file", "PDF or plain text"),
    };
    let (code, message) = match fault {
        Fault::NotAllowed(why) => (
            ["invalid_image_url", "invalid_file_url"],
            format!(
                "The {what} cannot be fetched from this URL: {why}. Use a public http or https URL, or send the data itself."
            ),
        ),
        Fault::TooLarge(limit) => {
            (["image_too_large", "file_too_large"], format!("The {what} at this URL is larger than {limit} bytes."))
        }
        Fault::OtherContent => (
            ["unsupported_image_media_type", "unsupported_file_media_type"],
            format!("What stands at this URL is no {what} that can be sent to the model: {kinds} is needed."),
        ),
        Fault::TimedOut(limit) => (
            ["failed_to_download_image", "failed_to_download_file"],
            format!("The {what} at this URL did not come within {} seconds.", limit.as_secs()),
        ),
        Fault::Failed(why) => (
            ["failed_to_download_image", "failed_to_download_file"],
            format!("The {what} at this URL could not be fetched: {why}."),
        ),
    };
    Refusal::bad_request(code[usize::from(media.kind == MediaKind::Document)], message).with_param(media.param.clone())
}
