//! Answers that take more than one call of the same upstream.

use serde_json::{Value, json};
use tallygate_adapter::MAX_HOPS;
use tallygate_billing::{Outcome, UsageSource};
use tallygate_types::{Dialect, UsageClass};

use crate::rig::{Answer, Gateway, Rig};
use crate::upstream::{Act, Upstream, answer, stream};

const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"Hi"}]}"#;
const ASK_STREAM: &str =
    r#"{"model":"smart","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}"#;

fn ask(streams: bool) -> &'static str {
    if streams { ASK_STREAM } else { ASK }
}

fn body(provider: &Upstream, number: usize) -> Value {
    serde_json::from_str(&provider.seen()[number].body).unwrap()
}

/// Text, finish reasons and usage of a chat answer, streamed or whole.
fn read(reply: &Answer) -> (String, Vec<String>, Value) {
    let (mut text, mut finishes, mut usage) = (String::new(), Vec::new(), Value::Null);
    for line in reply.body.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap_or(line)) else { continue };
        for holder in ["delta", "message"] {
            text.push_str(value["choices"][0][holder]["content"].as_str().unwrap_or_default());
        }
        finishes.extend(value["choices"][0]["finish_reason"].as_str().map(str::to_owned));
        if value["usage"].is_object() {
            usage = value["usage"].clone();
        }
    }
    (text, finishes, usage)
}

fn used(usage: &Value) -> (u64, u64) {
    (usage["prompt_tokens"].as_u64().unwrap(), usage["completion_tokens"].as_u64().unwrap())
}

fn gemini(parts: Value, finish: &str, output: u64, token: Option<&str>) -> Value {
    let mut record = json!({"responseId": format!("g{output}"), "modelVersion": "real",
        "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": output, "totalTokenCount": 10 + output}});
    if let Some(token) = token {
        record["continuationToken"] = token.into();
    }
    record
}

/// An upstream's script for a record of Gemini's.
fn said(record: &Value, streams: bool) -> Vec<Act> {
    if streams { stream(&[&format!("data: {record}\n\n")]) } else { answer(200, &[], &record.to_string()) }
}

#[tokio::test]
async fn case_b43_a_continuation_is_one_answer_with_the_usage_of_both_calls() {
    for streams in [false, true] {
        let first = gemini(json!([{"text": "Hel"}]), "CONTINUATION", 2, Some("dG9r"));
        let second = gemini(json!([{"text": "lo."}]), "STOP", 3, None);
        let provider = Upstream::start(vec![said(&first, streams), said(&second, streams)]).await;
        let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
        let reply = gateway.chat(ask(streams)).await;
        let (text, finishes, usage) = read(&reply);
        assert_eq!((text.as_str(), finishes), ("Hello.", vec!["stop".to_owned()]), "{}", reply.body);
        assert_eq!(used(&usage), (20, 5));
        assert_eq!(reply.body.matches("[DONE]").count(), usize::from(streams));
        assert_eq!(reply.body.matches("\"role\"").count(), 1);

        let seen = provider.seen();
        assert_eq!(seen[1].body, format!("{{\"continuationToken\":\"dG9r\",{}", &seen[0].body[1..]));
        assert_eq!(seen[1].line(), seen[0].line());
        assert_eq!(seen[1].header("x-goog-api-key"), seen[0].header("x-goog-api-key"));
        let records = gateway.records();
        let record = &records[0];
        assert_eq!((records.len(), record.outcome, record.usage_source), (1, Outcome::Ok, UsageSource::Provider));
        assert_eq!((record.usage.input_total(), record.usage.get(UsageClass::OutputText)), (20, 5));
        assert_eq!(record.charge.to_string(), "0.000135");
        let outcomes: Vec<_> = record.attempts.iter().map(|attempt| &*attempt.outcome).collect();
        assert_eq!(outcomes, ["ok", "ok"]);
        let raw: Value = serde_json::from_str(record.raw_usage.as_deref().unwrap()).unwrap();
        assert_eq!((&raw[0], &raw[1]), (&first["usageMetadata"], &second["usageMetadata"]));
        assert_eq!(gateway.journal.open_calls(), 0);
    }
}

#[tokio::test]
async fn a_continuation_that_fails_loses_neither_what_was_said_nor_what_it_cost() {
    for streams in [false, true] {
        let first = gemini(json!([{"text": "Hel"}]), "CONTINUATION", 2, Some("dG9r"));
        let provider = Upstream::start(vec![said(&first, streams), answer(500, &[], "{}")]).await;
        let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
        let reply = gateway.chat(ask(streams)).await;
        let (text, finishes, _) = read(&reply);
        assert_eq!(text, "Hel", "{}", reply.body);
        let record = &gateway.records()[0];
        assert_eq!((record.usage.input_total(), record.usage.output_total()), (10, 2));
        if streams {
            assert!(finishes.is_empty() && reply.body.contains("\"error\":{") && !reply.body.contains("[DONE]"));
            assert_eq!(record.outcome, Outcome::UpstreamError);
        } else {
            assert_eq!(finishes, ["length"]);
        }
        let outcomes: Vec<_> = record.attempts.iter().map(|attempt| &*attempt.outcome).collect();
        assert_eq!(outcomes, ["ok", "server_error"]);
    }
}

const SEARCH: &str = r#"{"model":"smart","web_search_options":{},"messages":[{"role":"user","content":"Weather?"}]}"#;
const SEARCH_STREAM: &str = r#"{"model":"smart","stream":true,"stream_options":{"include_usage":true},"web_search_options":{},"messages":[{"role":"user","content":"Weather?"}]}"#;

/// An answer of Anthropic's, in blocks.
fn claude(content: Value, stop: &str, streams: bool) -> Vec<Act> {
    let usage = json!({"input_tokens": 10, "output_tokens": 4});
    let mut message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "real", "content": content,
        "stop_reason": stop, "stop_sequence": null, "usage": usage});
    if !streams {
        return answer(200, &[], &message.to_string());
    }
    let blocks = message["content"].take();
    (message["content"], message["stop_reason"]) = (json!([]), Value::Null);
    let mut events = vec![json!({"type": "message_start", "message": message})];
    for (index, block) in blocks.as_array().unwrap().iter().enumerate() {
        let (mut start, mut deltas) = (block.clone(), Vec::new());
        match block["type"].as_str().unwrap() {
            "text" => {
                start["text"] = "".into();
                let (head, tail) = block["text"].as_str().unwrap().split_at(3);
                deltas = vec![json!({"type": "text_delta", "text": head}), json!({"type": "text_delta", "text": tail})];
            }
            "server_tool_use" => {
                start["input"] = json!({});
                let input = block["input"].to_string();
                let (head, tail) = input.split_at(4);
                deltas = vec![
                    json!({"type": "input_json_delta", "partial_json": head}),
                    json!({"type": "input_json_delta", "partial_json": tail}),
                ];
            }
            "thinking" => {
                (start["thinking"], start["signature"]) = ("".into(), "".into());
                deltas = vec![
                    json!({"type": "thinking_delta", "thinking": block["thinking"]}),
                    json!({"type": "signature_delta", "signature": block["signature"]}),
                ];
            }
            _ => {}
        }
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        events.extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": 4}}),
    );
    events.push(json!({"type": "message_stop"}));
    let text: Vec<String> =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect();
    stream(&text.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A gateway whose Anthropic model may run the vendor's own search.
async fn searching(provider: &Upstream) -> Gateway {
    let mut rig = Rig::serving(Dialect::Anthropic, provider.address);
    rig.profiles = "[[anthropic.models]]\nmatch = [\"real-model\"]\nlike = \"claude-opus-4-8\"\nhosted_search = true\n";
    rig.start().await
}

#[tokio::test]
async fn case_a65_a_paused_turn_goes_on_with_what_the_assistant_said_unmodified() {
    for streams in [false, true] {
        let paused = json!([
            {"type": "thinking", "thinking": "Search.", "signature": "c2ln"},
            {"type": "text", "text": "Let me see. "},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "weather"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "https://a.ch", "title": "A", "encrypted_content": "eA=="}]},
        ]);
        let end = json!([{"type": "text", "text": "It is sunny."}]);
        let provider =
            Upstream::start(vec![claude(paused.clone(), "pause_turn", streams), claude(end, "end_turn", streams)]).await;
        let gateway = searching(&provider).await;
        let reply = gateway.chat(if streams { SEARCH_STREAM } else { SEARCH }).await;
        let (text, finishes, usage) = read(&reply);
        assert_eq!((text.as_str(), finishes), ("Let me see. It is sunny.", vec!["stop".to_owned()]), "{}", reply.body);
        assert_eq!(used(&usage), (20, 8));
        assert_eq!(reply.body.matches("\"role\"").count(), 1);

        let (first, mut second) = (body(&provider, 0), body(&provider, 1));
        assert_eq!(second["messages"].as_array_mut().unwrap().pop().unwrap(), json!({"role": "assistant", "content": paused}));
        assert_eq!(second, first);
        let records = gateway.records();
        assert_eq!((records.len(), records[0].usage.input_total(), records[0].usage.output_total()), (1, 20, 8));
        assert_eq!(records[0].attempts.len(), 2);
    }
}

#[tokio::test]
async fn case_a65_a_turn_that_pauses_for_ever_ends_as_cut_for_its_length() {
    for streams in [false, true] {
        let paused = json!([{"type": "text", "text": "more "}]);
        let provider = Upstream::start(vec![claude(paused, "pause_turn", streams)]).await;
        let gateway = searching(&provider).await;
        let reply = gateway.chat(if streams { SEARCH_STREAM } else { SEARCH }).await;
        let calls = u64::from(MAX_HOPS) + 1;
        let (text, finishes, usage) = read(&reply);
        assert_eq!((text, finishes), ("more ".repeat(6), vec!["length".to_owned()]), "{}", reply.body);
        assert_eq!(used(&usage), (10 * calls, 4 * calls));
        assert_eq!(provider.seen().len() as u64, calls);
        // Each call has all that was said before it, in one turn.
        let messages = body(&provider, 5)["messages"].clone();
        assert_eq!((messages.as_array().unwrap().len(), messages[1]["content"].as_array().unwrap().len()), (2, 5));
        assert_eq!(gateway.records()[0].usage.output_total(), 4 * calls);
    }
}

#[tokio::test]
async fn case_b37_a_malformed_call_is_tried_once_more_and_then_an_error() {
    for streams in [false, true] {
        let mut broken = gemini(json!([]), "MALFORMED_FUNCTION_CALL", 0, None);
        broken["candidates"][0]["finishMessage"] = "Malformed function call: f(".into();
        let good = gemini(json!([{"text": "good"}]), "STOP", 3, None);
        let provider = Upstream::start(vec![said(&broken, streams), said(&good, streams)]).await;
        let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
        let reply = gateway.chat(ask(streams)).await;
        assert_eq!((reply.status.as_u16(), read(&reply).0.as_str()), (200, "good"), "{}", reply.body);
        assert_eq!(body(&provider, 0), body(&provider, 1));
        let record = &gateway.records()[0];
        let outcomes: Vec<_> = record.attempts.iter().map(|attempt| &*attempt.outcome).collect();
        assert_eq!(outcomes, ["malformed_call", "ok"]);

        let provider = Upstream::start(vec![said(&broken, streams)]).await;
        let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
        let reply = gateway.chat(ask(streams)).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), error["code"].as_str()), (502, Some("malformed_function_call")), "{}", reply.body);
        assert!(error["message"].as_str().unwrap().contains("Malformed function call: f("));
        assert_eq!(provider.seen().len(), 2);
        assert_eq!(gateway.records()[0].charge.get(), 0);

        let mut beside = broken.clone();
        beside["candidates"][0]["content"]["parts"] = json!([{"functionCall": {"name": "f", "args": {}}}]);
        let provider = Upstream::start(vec![said(&beside, streams)]).await;
        let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
        assert_eq!(read(&gateway.chat(ask(streams)).await).1, ["tool_calls"]);
        assert_eq!(provider.seen().len(), 1);
    }
}

const KEPT: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"bad"}}}]},{"role":"tool","tool_call_id":"call_1","content":"r"}]}"#;

#[tokio::test]
async fn case_b51_a_refused_signature_is_tried_once_more_without() {
    let refusal =
        answer(400, &[], r#"{"error":{"code":400,"message":"Corrupted thought signature.","status":"INVALID_ARGUMENT"}}"#);
    let good = answer(200, &[], &gemini(json!([{"text": "good"}]), "STOP", 3, None).to_string());
    let provider = Upstream::start(vec![refusal.clone(), good]).await;
    let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
    let reply = gateway.chat(KEPT).await;
    assert_eq!((reply.status.as_u16(), read(&reply).0.as_str()), (200, "good"), "{}", reply.body);
    assert_eq!((reply.header("x-tallygate-attempts"), reply.header("x-tallygate-loss")), ("2", "dropped=reasoning"));
    let signature = |number| body(&provider, number)["contents"][1]["parts"][0]["thoughtSignature"].clone();
    assert_eq!((signature(0), signature(1)), (json!("bad"), json!("skip_thought_signature_validator")));

    // Once: then the upstream's own word stands.
    let provider = Upstream::start(vec![refusal]).await;
    let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
    let reply = gateway.chat(KEPT).await;
    assert_eq!((reply.status.as_u16(), provider.seen().len()), (400, 2));
    assert!(reply.body.contains("Corrupted thought signature."), "{}", reply.body);

    // The other vendors, each in its own dialect and words.
    let thinking = r#"{"model":"smart","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"bad"},{"type":"text","text":"a"}]},{"role":"user","content":"y"}]}"#;
    let reasoning = r#"{"model":"smart","store":false,"input":[{"role":"user","content":"x"},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"bad"}]}"#;
    for (dialect, path, ask, error) in [
        (
            Dialect::Anthropic,
            "/v1/messages",
            thinking,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#,
        ),
        (
            Dialect::OpenaiResponses,
            "/v1/responses",
            reasoning,
            r#"{"error":{"message":"The encrypted content could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#,
        ),
    ] {
        let good = match dialect {
            Dialect::Anthropic => {
                r#"{"id":"msg_1","type":"message","role":"assistant","model":"real","content":[{"type":"text","text":"good"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":6,"output_tokens":5}}"#
            }
            _ => {
                r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"real","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"good","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#
            }
        };
        let provider = Upstream::start(vec![answer(400, &[], error), answer(200, &[], good)]).await;
        let gateway = Rig::serving(dialect, provider.address).start().await;
        let reply = gateway.post(path, ask).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-attempts")), (200, "2"), "{}", reply.body);
        let seen = provider.seen();
        assert!(seen[0].body.contains("bad") && !seen[1].body.contains("bad"), "{}", seen[1].body);
    }
}
