//! Broken bytes in every place: nothing panics, whatever comes.

mod common;

use bytes::Bytes;
use tallygate_adapter::{Call, NoMemory, PastReasoning, Profiles, decode_error, peek, prepare};
use tallygate_types::{Dialect, Timestamp};

/// Sound bodies of every dialect, to be broken.
const BODIES: &[&str] = &[
    r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"é"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAAN"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"stream":true,"stop":["a"]}"#,
    r#"{"model":"m","max_tokens":5,"system":[{"type":"text","text":"s"}],"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x"}]}]}],"thinking":{"type":"enabled","budget_tokens":2000}}"#,
    r#"{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"}],"tools":[{"type":"function","name":"f","parameters":{}}]}"#,
    r#"{"contents":[{"role":"user","parts":[{"text":"x"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{}},"thoughtSignature":"s"}]}],"generationConfig":{"maxOutputTokens":5}}"#,
    r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"é","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
    r#"{"id":"m","type":"message","content":[{"type":"text","text":"x","citations":[{"type":"char_location"}]},{"type":"tool_use","id":"t","name":"f","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":18446744073709551615,"cache_read_input_tokens":18446744073709551615}}"#,
    r#"{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"reasoning","id":"rs","summary":[]},{"type":"message","id":"m","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[]}]}],"usage":{"input_tokens":1,"output_tokens":2}}"#,
    r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"x"},{"functionCall":{"name":"f","args":{"a":1}}}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2},"modelVersion":"m"}"#,
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"é\",\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n",
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"output\":[]}}\n\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"x\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":1}}}\n\n",
    "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]},\r\n{\"candidates\":[{\"finishReason\":\"STOP\"}]}]",
];
const STREAM: fn(Dialect) -> &'static str = |dialect| match dialect {
    Dialect::Gemini => r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}]}"#,
    Dialect::OpenaiResponses => r#"{"model":"m","input":"x","stream":true}"#,
    _ => r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"stream":true}"#,
};

/// A small generator with a fixed seed: every run breaks the same bytes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn broken(&mut self, body: &str) -> Vec<u8> {
        let mut bytes = body.as_bytes().to_vec();
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len());
            match self.roll(5) {
                0 => bytes.truncate(at),
                1 => bytes[at] = self.roll(256) as u8,
                2 => {
                    bytes.remove(at);
                }
                3 => {
                    // Another type in the place of a value.
                    let values: [&[u8]; 7] = [b"null", b"-1", b"1e99", b"[]", b"{}", b"\"\"", b"true"];
                    if let Some(colon) = bytes[at..].iter().position(|byte| *byte == b':').map(|offset| at + offset) {
                        let end = bytes[colon..]
                            .iter()
                            .position(|byte| matches!(byte, b',' | b'}'))
                            .map_or(bytes.len(), |offset| colon + offset);
                        bytes.splice(colon + 1..end, values[self.roll(values.len())].iter().copied());
                    }
                }
                _ => {
                    let piece: Vec<u8> = bytes[at..(at + self.roll(40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
            if bytes.is_empty() {
                return bytes;
            }
        }
        bytes
    }
}

fn call(client: Dialect, upstream: Dialect, stream: bool, peek: &tallygate_adapter::Peek) -> Call<'_> {
    Call {
        client,
        upstream,
        speaks_responses: false,
        client_model: "m",
        upstream_model: "n",
        stream,
        peek,
        strict: false,
        response_id: "r",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: "",
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Sent,
        output_cap: None,
    }
}

#[test]
fn broken_bytes_never_panic() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let body = Bytes::from(dice.broken(BODIES[round % BODIES.len()]));
        for client in Dialect::ALL {
            let _ = decode_error(client, [200, 400, 429, 500][dice.roll(4)], &body);
            for upstream in Dialect::ALL {
                if let Ok(seen) = peek(client, &body) {
                    let _ = prepare(&call(client, upstream, seen.stream, &seen), &body, &[]);
                }
                let asked = Bytes::from_static(STREAM(client).as_bytes());
                let seen = peek(client, &asked).unwrap();
                let session = || prepare(&call(client, upstream, true, &seen), &asked, &[]).unwrap().session;
                let _ = session().answer(body.clone());
                let mut stream = session().stream();
                let mut out = Vec::new();
                let cut = dice.roll(body.len() + 1);
                if stream.push(body.slice(..cut), &mut out).is_ok() && stream.push(body.slice(cut..), &mut out).is_ok() {
                    let _ = stream.finish(&mut out);
                }
                let _ = stream.meter();
            }
        }
    }
}
