//! Properties of the translation as a whole, over all pairs of dialects: whoever asks and whoever answers, the same is said.

#[path = "../common/mod.rs"]
mod common;
mod fields;
mod gather;
mod meaning;
mod reply;
mod talk;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use tallygate_adapter::{BadRequest, Call, NoMemory, Outgoing, PastReasoning, Profiles, peek, prepare};
use tallygate_types::{Dialect, Timestamp};

use crate::gather::{gathered, settled};
use crate::meaning::Meaning;
use crate::reply::{Reply, Tokens, reply};
use crate::talk::{Choice, Exchange, Piece, Talk, talk};

/// A client and an upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair {
    client: Dialect,
    upstream: Dialect,
}

fn pairs() -> impl Iterator<Item = Pair> {
    Dialect::ALL.into_iter().flat_map(|client| Dialect::ALL.into_iter().map(move |upstream| Pair { client, upstream }))
}

impl Pair {
    /// Models that take all that the conversations say: what newer ones refuse is the profiles' matter.
    fn model(self) -> &'static str {
        match self.upstream {
            Dialect::OpenaiChat | Dialect::OpenaiResponses => "gpt-4o",
            Dialect::Anthropic => "claude-sonnet-4-5",
            Dialect::Gemini => "gemini-2.5-flash",
        }
    }

    fn prepare(self, body: &Value, stream: bool) -> Result<Outgoing, BadRequest> {
        let body = Bytes::from(body.to_string());
        let seen = peek(self.client, &body)?;
        let call = Call {
            client: self.client,
            upstream: self.upstream,
            speaks_responses: false,
            client_model: "smart",
            upstream_model: self.model(),
            stream,
            peek: &seen,
            strict: false,
            response_id: "0192",
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
            client_query: "alt=sse",
            profiles: Profiles::builtin(),
            memory: &NoMemory,
            past_reasoning: PastReasoning::Sent,
            output_cap: None,
        };
        prepare(&call, &body, &[])
    }

    fn body(self, body: &Value) -> Value {
        serde_json::from_slice(&self.prepare(body, false).unwrap().body.whole()).unwrap()
    }

    fn answer(self, request: &Talk, whole: &Value) -> Value {
        let session = self.prepare(&request.written(self.client, false), false).unwrap().session;
        serde_json::from_slice(&session.answer(Bytes::from(whole.to_string())).unwrap().body).unwrap()
    }

    fn stream<'a>(self, request: &Talk, chunks: impl Iterator<Item = &'a [u8]>) -> String {
        let mut stream = self.prepare(&request.written(self.client, true), true).unwrap().session.stream();
        let mut out = Vec::new();
        for chunk in chunks {
            stream.push(Bytes::copy_from_slice(chunk), &mut out).unwrap();
        }
        stream.finish(&mut out).unwrap();
        common::text(&out)
    }
}

fn short_talk() -> Talk {
    Talk {
        system: None,
        exchanges: Vec::<Exchange>::new(),
        last: vec![Piece::Text("x".into())],
        choice: Choice::Auto,
        max_tokens: 100,
        temperature: None,
    }
}

/// An answer with everything in it, and what breaks careless cutting.
fn rich_reply() -> Reply {
    Reply {
        reasoning: "漢\n\n🙂 ".into(),
        text: "data: [DONE]\n\n\"ä\" \\u00e4\r\n".into(),
        calls: vec![
            ("call_0".into(), "f".into(), serde_json::json!({"city": "Ö🏔", "n": -1.5})),
            ("call_1".into(), "get_weather".into(), serde_json::json!({})),
        ],
        is_cut: false,
        tokens: Tokens { fresh: 7, cached: 5, said: 11, reasoned: 3 },
    }
}

/// Ids are the client's own matter, as long as no two calls share one.
fn without_ids(mut reply: Reply) -> Reply {
    let ids: std::collections::HashSet<&String> = reply.calls.iter().map(|(id, ..)| id).collect();
    assert_eq!(ids.len(), reply.calls.len(), "two calls share an id");
    for call in &mut reply.calls {
        call.0.clear();
    }
    reply
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same conversation, written by any client, means the same to any upstream.
    #[test]
    fn any_client_says_the_same_to_any_upstream(talk in talk()) {
        for pair in pairs() {
            let body = pair.body(&talk.written(pair.client, false));
            prop_assert_eq!(Meaning::read(pair.upstream, &body), talk.meaning(), "{:?}: {}", pair, body);
        }
    }

    /// Any upstream's answer reads the same to any client, and a stream, once gathered, is that answer.
    #[test]
    fn any_upstream_says_the_same_to_any_client_whole_and_streamed(
        reply in reply(), sizes in prop::collection::vec(1_usize..9, 1..6),
    ) {
        let talk = short_talk();
        for pair in pairs() {
            let whole = pair.answer(&talk, &reply.whole(pair.upstream));
            prop_assert_eq!(without_ids(Reply::read(pair.client, &whole)), without_ids(reply.clone()), "{:?}: {}", pair, whole);
            let upstream = reply.stream(pair.upstream, &sizes);
            let streamed = gathered(pair.client, &pair.stream(&talk, std::iter::once(upstream.as_bytes())));
            if pair.client == pair.upstream {
                prop_assert_eq!(Reply::read(pair.client, &streamed), reply.clone(), "{:?}: {}", pair, streamed);
            } else {
                prop_assert_eq!(settled(pair.client, streamed), settled(pair.client, whole), "{:?}: {}", pair, upstream);
            }
        }
    }
}

/// However the network cuts a stream, the client gets the same bytes.
macro_rules! cuts {
    ($($name:ident: $upstream:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            cut_anywhere(Dialect::$upstream);
        })*
    };
}

cuts! {
    a_chat_stream_cut_anywhere_is_the_same_stream: OpenaiChat,
    a_responses_stream_cut_anywhere_is_the_same_stream: OpenaiResponses,
    a_messages_stream_cut_anywhere_is_the_same_stream: Anthropic,
    a_gemini_stream_cut_anywhere_is_the_same_stream: Gemini,
}

fn cut_anywhere(upstream: Dialect) {
    let (talk, reply) = (short_talk(), rich_reply());
    // The work of trying every cut grows with the square of the length.
    let small = Reply { reasoning: String::new(), text: "ä🙂".into(), calls: reply.calls[..1].to_vec(), ..reply.clone() };
    for pair in pairs().filter(|pair| pair.upstream == upstream) {
        let upstream = small.stream(pair.upstream, &[usize::MAX]);
        let whole = pair.stream(&talk, std::iter::once(upstream.as_bytes()));
        for at in 0..upstream.len() {
            let (head, tail) = upstream.as_bytes().split_at(at);
            assert_eq!(pair.stream(&talk, [head, tail].into_iter()), whole, "{pair:?} cut at {at}");
        }
        let upstream = reply.stream(pair.upstream, &[3, 1, 4]);
        let whole = pair.stream(&talk, std::iter::once(upstream.as_bytes()));
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(pair.stream(&talk, upstream.as_bytes().chunks(size)), whole, "{pair:?} in chunks of {size}");
        }
        // Other ends of lines are the same stream; where it passes untouched, it passes with them.
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        for end in ["\r\n", "\r"] {
            let other = upstream.replace('\n', end);
            for size in [1, 2, other.len()] {
                let out = pair.stream(&talk, other.as_bytes().chunks(size));
                assert_eq!(lines(&out), lines(&whole), "{pair:?} with {end:?} in chunks of {size}");
            }
        }
    }
}
