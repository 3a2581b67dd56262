//! What the tests of the translation share.
#![allow(dead_code, reason = "each test program uses a part of it")]

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{
    BadRequest, Call, Memory, NoMemory, Outgoing, PastReasoning, Peek, Profiles, ResponseStream, Session, StreamFailure, peek,
    prepare,
};
use tallygate_types::{Dialect, Timestamp};

pub struct To<'a> {
    pub client: Dialect,
    pub upstream: Dialect,
    pub model: &'a str,
    pub strict: bool,
}

/// The same, where the chat upstream serves the Responses API too.
pub struct Both<'a>(pub To<'a>);

impl Both<'_> {
    pub fn prepare(&self, body: &Value) -> Result<Outgoing, BadRequest> {
        self.0.prepare_at(body, true, &NoMemory, Profiles::builtin())
    }
}

impl To<'_> {
    pub fn prepare(&self, body: &Value) -> Result<Outgoing, BadRequest> {
        self.prepare_with(body, &NoMemory)
    }

    /// The same for a tenant whose earlier answers left something behind.
    pub fn prepare_with(&self, body: &Value, memory: &dyn Memory) -> Result<Outgoing, BadRequest> {
        self.prepare_at(body, false, memory, Profiles::builtin())
    }

    /// The same where the operator says what models accept.
    pub fn prepare_by(&self, body: &Value, profiles: &Profiles) -> Result<Outgoing, BadRequest> {
        self.prepare_at(body, false, &NoMemory, profiles)
    }

    fn prepare_at(
        &self,
        body: &Value,
        speaks_responses: bool,
        memory: &dyn Memory,
        profiles: &Profiles,
    ) -> Result<Outgoing, BadRequest> {
        let body = Bytes::from(body.to_string());
        let seen = peek(self.client, &body)?;
        prepare(&Call { speaks_responses, memory, profiles, ..self.call(&seen) }, &body, &[])
    }

    /// The call, for tests that say more of it.
    pub fn call<'c>(&'c self, seen: &'c Peek) -> Call<'c> {
        Call {
            client: self.client,
            upstream: self.upstream,
            speaks_responses: false,
            client_model: "smart",
            upstream_model: self.model,
            stream: seen.stream,
            peek: seen,
            strict: self.strict,
            response_id: "0192",
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
            client_query: "",
            profiles: Profiles::builtin(),
            memory: &NoMemory,
            past_reasoning: PastReasoning::Sent,
            output_cap: None,
        }
    }

    /// The upstream's body.
    pub fn body(&self, body: &Value) -> Value {
        serde_json::from_slice(&self.prepare(body).unwrap().body.whole()).unwrap()
    }

    /// The loss header.
    pub fn loss(&self, body: &Value) -> String {
        self.prepare(body).unwrap().loss.to_string()
    }

    /// Field and message of the refusal.
    pub fn refusal(&self, body: &Value) -> (Option<String>, String) {
        let error = self.prepare(body).unwrap_err();
        (error.param, error.message)
    }

    pub fn session(&self, body: &Value) -> Session {
        *self.prepare(body).unwrap().session
    }

    pub fn answer(&self, request: &Value, body: &Value) -> Value {
        let answer = self.session(request).answer(Bytes::from(body.to_string())).unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The client's stream as text, the same for every way to cut the upstream's in two.
    pub fn stream(&self, request: &Value, upstream: &str) -> Result<String, StreamFailure> {
        let whole = self.stream_of(request, &[upstream.as_bytes()]);
        for cut in 0..upstream.len() {
            let (head, tail) = upstream.as_bytes().split_at(cut);
            assert_eq!(self.stream_of(request, &[head, tail]), whole, "cut at {cut}");
        }
        whole
    }

    /// The client's stream as text, fed whole.
    pub fn once(&self, request: &Value, upstream: &str) -> String {
        self.stream_of(request, &[upstream.as_bytes()]).unwrap()
    }

    fn stream_of(&self, request: &Value, chunks: &[&[u8]]) -> Result<String, StreamFailure> {
        let mut stream = self.session(request).stream();
        let mut out = Vec::new();
        for chunk in chunks {
            stream.push(Bytes::copy_from_slice(chunk), &mut out)?;
        }
        stream.finish(&mut out)?;
        Ok(text(&out))
    }

    pub fn open(&self, request: &Value) -> ResponseStream {
        self.session(request).stream()
    }
}

pub fn text(out: &[Bytes]) -> String {
    String::from_utf8(out.concat()).unwrap()
}

/// The JSON of a stream's events.
pub fn data(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// What OpenAI's SDK makes of a stream: strings are joined, lists go by index.
pub fn gather_chat(stream: &str) -> Value {
    let mut message = json!({"role": null, "content": null, "refusal": null});
    let mut whole = Value::Null;
    let mut finish = Value::Null;
    for chunk in data(stream) {
        for choice in chunk["choices"].as_array().unwrap() {
            join(&mut message, &choice["delta"]);
            if !choice["finish_reason"].is_null() {
                assert!(finish.is_null(), "finished twice");
                finish = choice["finish_reason"].clone();
            }
        }
        whole = chunk;
    }
    json!({"id": whole["id"], "object": "chat.completion", "created": whole["created"], "model": whole["model"],
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}], "usage": whole["usage"]})
}

fn join(target: &mut Value, delta: &Value) {
    for (field, value) in delta.as_object().unwrap() {
        let slot = &mut target[field];
        match value {
            Value::String(text) if slot.is_string() && field != "type" => {
                *slot = format!("{}{text}", slot.as_str().unwrap()).into();
            }
            Value::Object(_) if slot.is_object() => join(slot, value),
            Value::Array(items) => {
                if slot.is_null() {
                    *slot = json!([]);
                }
                for item in items {
                    let index = item["index"].as_u64().expect("list elements need an index") as usize;
                    let mut item = item.clone();
                    item.as_object_mut().unwrap().remove("index");
                    let list = slot.as_array_mut().unwrap();
                    if index == list.len() { list.push(item) } else { join(&mut list[index], &item) }
                }
            }
            value => *slot = value.clone(),
        }
    }
}
