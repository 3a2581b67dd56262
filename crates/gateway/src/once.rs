//! Requests that name themselves (`Idempotency-Key`): one that is sent again while it is served is refused, one that was
//! answered gets the same answer, and neither is charged again.
//!
//! It is this process's memory of a day at most, so what reaches another replica, or this one after a restart, is served anew. A
//! stream is not kept: it is refused while it runs and may be asked for again when it has ended. What failed is forgotten, for
//! that is what clients retry.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tallygate_types::TenantId;

use crate::body::ReplyBody;

/// A longer key is refused.
pub const MAX_KEY_BYTES: usize = 255;
/// Requests that are remembered, over all tenants; beyond it the oldest are forgotten.
const MAX_ENTRIES: usize = 50_000;
/// Answers of all of them together.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// A larger answer is not kept.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
const LIFETIME: Duration = Duration::from_hours(24);
/// Of an answer that is given again: it costs nothing this time.
const NOT_REPEATED: [&str; 2] = ["x-tallygate-cost", "x-tallygate-currency"];

/// See the module.
#[derive(Default)]
pub struct Answers {
    hasher: RandomState,
    book: Mutex<Book>,
}

/// A tenant's name for one request.
type Name = (TenantId, String);

#[derive(Default)]
struct Book {
    entries: HashMap<Name, Entry>,
    /// Oldest first; what was forgotten since stands there until its turn.
    order: VecDeque<(Name, u64)>,
    bytes: usize,
    next: u64,
}

struct Entry {
    number: u64,
    /// Digest of what was asked.
    asked: u64,
    begun: Instant,
    /// `None` while it is under way.
    answer: Option<Kept>,
}

struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What is known of a name.
pub enum Known {
    /// Nothing; from now on it is under way.
    Nothing(Ticket),
    UnderWay,
    /// It was given to a request that asks something else.
    Otherwise,
    Answered(Response<ReplyBody>),
}

/// Holds a name while its request is served; dropped, the name is forgotten.
pub struct Ticket {
    answers: Arc<Answers>,
    name: Option<Name>,
    number: u64,
}

impl Answers {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a name up, and takes it if it is free. `asked` is all that makes two requests the same.
    pub fn ask(self: &Arc<Self>, tenant: TenantId, key: &str, asked: &(&str, &str, &[u8])) -> Known {
        let asked = self.hasher.hash_one(asked);
        let (name, now) = ((tenant, key.to_owned()), Instant::now());
        let mut book = self.book();
        book.forget_old(now);
        if let Some(entry) = book.entries.get(&name) {
            return match &entry.answer {
                _ if entry.asked != asked => Known::Otherwise,
                None => Known::UnderWay,
                Some(kept) => Known::Answered(kept.response()),
            };
        }
        let number = book.next;
        book.next += 1;
        book.entries.insert(name.clone(), Entry { number, asked, begun: now, answer: None });
        book.order.push_back((name.clone(), number));
        Known::Nothing(Ticket { answers: Arc::clone(self), name: Some(name), number })
    }
}

impl Book {
    fn forget_old(&mut self, now: Instant) {
        while let Some((name, number)) = self.order.front() {
            let entry = self.entries.get(name).filter(|entry| entry.number == *number);
            let is_old = entry.is_none_or(|entry| now.duration_since(entry.begun) > LIFETIME);
            if !is_old && self.order.len() < MAX_ENTRIES && self.bytes <= MAX_BYTES {
                break;
            }
            if let Some((name, number)) = self.order.pop_front() {
                self.forget(&name, number);
            }
        }
    }

    fn forget(&mut self, name: &Name, number: u64) {
        if self.entries.get(name).is_some_and(|entry| entry.number == number)
            && let Some(Entry { answer: Some(kept), .. }) = self.entries.remove(name)
        {
            self.bytes -= kept.body.len();
        }
    }
}

impl Kept {
    fn response(&self) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::Whole(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl Ticket {
    /// The request has been answered. A whole good answer is kept; a stream keeps the name for as long as it runs.
    pub fn answered(mut self, response: Response<ReplyBody>) -> Response<ReplyBody> {
        let (head, body) = response.into_parts();
        match body {
            ReplyBody::Whole(bytes) => {
                if head.status == StatusCode::OK && bytes.len() <= MAX_ANSWER_BYTES {
                    self.keep(head.status, &head.headers, &bytes);
                }
                Response::from_parts(head, ReplyBody::Whole(bytes))
            }
            stream => Response::from_parts(head, ReplyBody::Once(Box::new((stream, self)))),
        }
    }

    fn keep(&mut self, status: StatusCode, headers: &HeaderMap, body: &Bytes) {
        let mut headers = headers.clone();
        for name in NOT_REPEATED {
            headers.remove(name);
        }
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        let mut book = self.answers.book();
        if let Some(name) = self.name.take()
            && let Some(entry) = book.entries.get_mut(&name).filter(|entry| entry.number == self.number)
        {
            entry.answer = Some(Kept { status, headers, body: body.clone() });
            book.bytes += body.len();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.answers.book().forget(&name, self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(length: usize) -> Response<ReplyBody> {
        Response::new(ReplyBody::Whole(Bytes::from(vec![b'x'; length])))
    }

    fn first(answers: &Arc<Answers>, tenant: TenantId, key: &str) -> Ticket {
        match answers.ask(tenant, key, &("chat", "", b"{}")) {
            Known::Nothing(ticket) => ticket,
            _ => panic!("{key} is known"),
        }
    }

    #[test]
    fn a_name_is_taken_while_its_request_is_served_and_free_if_it_fails() {
        let (answers, tenant) = (Arc::new(Answers::default()), TenantId::generate());
        let ticket = first(&answers, tenant, "a");
        assert!(matches!(answers.ask(tenant, "a", &("chat", "", b"{}")), Known::UnderWay));
        assert!(matches!(answers.ask(tenant, "a", &("chat", "", b"[]")), Known::Otherwise));
        drop(first(&answers, TenantId::generate(), "a"));
        drop(ticket);
        let mut failed = answer(1);
        *failed.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        first(&answers, tenant, "a").answered(failed);
        drop(first(&answers, tenant, "a"));
        assert!(answers.book().entries.is_empty());
    }

    #[test]
    fn a_good_answer_is_given_again_without_its_cost() {
        let (answers, tenant) = (Arc::new(Answers::default()), TenantId::generate());
        let mut good = answer(3);
        good.headers_mut().insert("x-tallygate-cost", HeaderValue::from_static("1"));
        first(&answers, tenant, "a").answered(good);
        let Known::Answered(again) = answers.ask(tenant, "a", &("chat", "", b"{}")) else { panic!("it is not kept") };
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        assert!(!again.headers().contains_key("x-tallygate-cost"));
        assert!(matches!(again.body(), ReplyBody::Whole(body) if body == "xxx"));
        first(&answers, tenant, "large").answered(answer(MAX_ANSWER_BYTES + 1));
        drop(first(&answers, tenant, "large"));
    }

    #[test]
    fn the_oldest_leave_when_there_are_too_many_bytes() {
        let (answers, tenant) = (Arc::new(Answers::default()), TenantId::generate());
        for n in 0..=MAX_BYTES / MAX_ANSWER_BYTES {
            first(&answers, tenant, &n.to_string()).answered(answer(MAX_ANSWER_BYTES));
        }
        drop(first(&answers, tenant, "0"));
        assert_eq!(answers.book().bytes, MAX_BYTES);
        assert!(matches!(answers.ask(tenant, "1", &("chat", "", b"{}")), Known::Answered(_)));
    }
}
