//! Answers and streams of a Gemini upstream (cases b29 to b45).

use serde_json::{Value, json};
use tallygate_adapter::{AnswerFailure, ErrorKind, ErrorReply, FailureClass, InvalidAnswer, Next, StreamFailure};
use tallygate_types::{Dialect, UsageClass};

use crate::support::{To, data, plain_sse, text, to};

const TO: To<'_> = to(Dialect::OpenaiChat, Dialect::Gemini, "gemini-3.5-flash");
const RESPONSES: To<'_> = to(Dialect::OpenaiResponses, Dialect::Gemini, "gemini-3.5-flash");
const MESSAGES: To<'_> = to(Dialect::Anthropic, Dialect::Gemini, "gemini-3.5-flash");

fn request() -> Value {
    json!({"model": "smart", "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]})
}

fn streaming() -> Value {
    let mut request = request();
    request["stream"] = true.into();
    request["stream_options"] = json!({"include_usage": true});
    request
}

/// A record of these parts.
fn record(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}], "modelVersion": "gemini-3.5-flash", "responseId": "abc"})
}

fn ending(parts: Value, finish: &str) -> Value {
    let mut record = record(parts);
    record["candidates"][0]["finishReason"] = finish.into();
    record["usageMetadata"] = json!({"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7});
    record
}

/// The stream with Google's line ends.
fn sse(records: &[Value]) -> String {
    plain_sse(records).replace("\n\n", "\r\n\r\n")
}

fn choice(answer: &Value) -> &Value {
    &answer["choices"][0]
}

/// The deltas of a stream, without the one that says the role.
fn deltas(records: &[Value]) -> Vec<Value> {
    let events = TO.events(&streaming(), &sse(records));
    let deltas = events.iter().filter_map(|event| event["choices"][0].get("delta")).filter(|delta| delta.get("role").is_none());
    deltas.cloned().collect()
}

#[test]
fn case_b29_texts_and_a_call_of_one_event_all_come_in_order() {
    let parts = json!([{"text": "a"}, {"text": "b"}, {"functionCall": {"name": "f", "args": {"n": 1}}}]);
    let deltas = deltas(&[ending(parts.clone(), "STOP")]);
    assert_eq!((&deltas[0], &deltas[1]), (&json!({"content": "a"}), &json!({"content": "b"})));
    assert_eq!(deltas[2]["tool_calls"][0]["function"]["name"], "f");
    assert_eq!(deltas[3]["tool_calls"][0]["function"]["arguments"], "{\"n\":1}");
    let answer = TO.answer(&request(), &ending(parts, "STOP"));
    let message = &choice(&answer)["message"];
    assert_eq!(
        (&message["content"], &message["tool_calls"][0]["function"]),
        (&json!("ab"), &json!({"name": "f", "arguments": "{\"n\":1}"}))
    );
}

#[test]
fn case_b30_calls_of_two_events_are_numbered_and_have_ids_of_their_own() {
    let call = |name: &str| record(json!([{"functionCall": {"id": "same0000", "name": name}}]));
    let deltas = deltas(&[call("f"), call("g"), ending(json!([{"text": ""}]), "STOP")]);
    let opened: Vec<&Value> =
        deltas.iter().filter_map(|delta| delta["tool_calls"][0].get("id").map(|_| &delta["tool_calls"][0])).collect();
    assert_eq!((&opened[0]["index"], &opened[1]["index"]), (&json!(0), &json!(1)));
    assert_ne!(opened[0]["id"], opened[1]["id"]);
    for call in opened {
        let id = call["id"].as_str().unwrap();
        assert!(id.starts_with("call_") && id.len() == 29, "{id}");
    }
}

#[test]
fn case_b31_a_call_decides_what_stop_means_and_not_what_a_cut_means() {
    let finish = |word: &str| {
        let record = ending(json!([{"functionCall": {"name": "f"}}]), word);
        let streamed = TO.events(&streaming(), &sse(std::slice::from_ref(&record)));
        let said = streamed.iter().find_map(|event| event["choices"][0]["finish_reason"].as_str()).unwrap().to_owned();
        assert_eq!(choice(&TO.answer(&request(), &record))["finish_reason"], said.as_str());
        said
    };
    assert_eq!(finish("STOP"), "tool_calls");
    assert_eq!(finish("MAX_TOKENS"), "length");
}

#[test]
fn case_b32_an_answer_cut_while_thinking_has_only_thoughts_to_count() {
    let cut = json!({"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}],
        "usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 2, "totalTokenCount": 11}, "responseId": "r"});
    let answer = TO.answer(&request(), &cut);
    assert_eq!(choice(&answer)["finish_reason"], "length");
    assert!(matches!(choice(&answer)["message"]["content"], Value::Null) || choice(&answer)["message"]["content"] == "");
    let usage = &answer["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(9), &json!(2), &json!(11))
    );
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 2);
    let streamed = TO.events(&streaming(), &sse(&[cut]));
    assert_eq!(streamed[streamed.len() - 2]["usage"], *usage);
}

/// What a stream was metered at.
fn metered(records: &[Value]) -> tallygate_types::Usage {
    let mut stream = TO.open(&streaming());
    let mut out = Vec::new();
    stream.push(sse(records).into(), &mut out).unwrap();
    stream.finish(&mut out).unwrap();
    stream.meter().usage.unwrap()
}

#[test]
fn case_b33_restated_usage_counts_once_by_its_last_values() {
    let with_usage = |mut record: Value, usage: Value| {
        record["usageMetadata"] = usage;
        record
    };
    let usage = metered(&[
        with_usage(record(json!([{"text": "a"}])), json!({"promptTokenCount": 55, "totalTokenCount": 55})),
        with_usage(
            record(json!([{"text": "b"}])),
            json!({"promptTokenCount": 55, "candidatesTokenCount": 1, "totalTokenCount": 56}),
        ),
        with_usage(
            ending(json!([{"text": "c"}]), "STOP"),
            json!({"promptTokenCount": 257, "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 264}),
        ),
    ]);
    assert_eq!((usage.input_total(), usage.get(UsageClass::OutputText), usage.get(UsageClass::OutputReasoning)), (257, 3, 4));
}

#[test]
fn case_b34_candidates_that_hold_the_thoughts_are_not_counted_twice() {
    let mut answer = ending(json!([{"text": "a"}]), "STOP");
    answer["usageMetadata"] =
        json!({"promptTokenCount": 5, "candidatesTokenCount": 30, "thoughtsTokenCount": 20, "totalTokenCount": 35});
    let usage = TO.answer(&request(), &answer)["usage"].clone();
    assert_eq!((&usage["completion_tokens"], &usage["total_tokens"]), (&json!(30), &json!(35)));
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 20);
    // The sum where the total is missing.
    answer["usageMetadata"] =
        json!({"promptTokenCount": 5, "candidatesTokenCount": 30, "thoughtsTokenCount": 20, "toolUsePromptTokenCount": 2});
    let usage = TO.answer(&request(), &answer)["usage"].clone();
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(7), &json!(50), &json!(57))
    );
}

#[test]
fn case_b35_a_blocked_prompt_is_filtered_with_its_reason_and_billed_as_reported() {
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 12, "totalTokenCount": 12}, "responseId": "r"});
    let answer = TO.answer(&request(), &blocked);
    assert_eq!(choice(&answer)["finish_reason"], "content_filter");
    assert_eq!(choice(&answer)["message"]["content"], Value::Null);
    assert_eq!(choice(&answer)["message"]["refusal"], "Blocked by Gemini: SAFETY");
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["completion_tokens"]), (&json!(12), &json!(0)));
    let events = TO.events(&streaming(), &sse(std::slice::from_ref(&blocked)));
    let refused: Vec<&Value> = events.iter().filter_map(|event| event["choices"][0]["delta"].get("refusal")).collect();
    assert_eq!(refused, ["Blocked by Gemini: SAFETY"]);
    assert_eq!(events[events.len() - 3]["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(events[events.len() - 2]["usage"]["prompt_tokens"], 12);
    assert_eq!(events[events.len() - 1], "[DONE]");
    // Nothing counted is nothing billed.
    let vertex = json!({"promptFeedback": {"blockReason": "MODEL_ARMOR", "blockReasonMessage": "Not that."}, "usageMetadata": {"trafficType": "ON_DEMAND"}});
    let metered = TO.session(&request()).answer(vertex.to_string().into()).unwrap();
    assert_eq!(metered.meter.usage, None);
    let body: Value = serde_json::from_slice(&metered.body).unwrap();
    assert_eq!(choice(&body)["message"]["refusal"], "Not that.");

    let response = RESPONSES.answer(&json!({"model": "smart", "input": "x"}), &blocked);
    assert_eq!(
        (&response["status"], &response["incomplete_details"]),
        (&json!("incomplete"), &json!({"reason": "content_filter"}))
    );
    let message =
        MESSAGES.answer(&json!({"model": "smart", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}), &blocked);
    assert_eq!(message["stop_reason"], "refusal");
}

#[test]
fn case_b36_neither_candidates_nor_feedback_is_no_answer() {
    // The gateway turns this into another attempt, or a 502.
    let failure =
        TO.session(&request()).answer("{\"usageMetadata\":{\"promptTokenCount\":3},\"candidates\":[]}".into()).unwrap_err();
    assert_eq!(failure, AnswerFailure::Invalid(InvalidAnswer("it has neither candidates nor a reason why".into())));
    let empty = "data: {\"responseId\":\"r\"}\r\n\r\n";
    assert_eq!(TO.stream(&streaming(), empty), Err(StreamFailure::Truncated));
    // Nothing was said to the client that another attempt could not still say.
    let mut stream = TO.open(&streaming());
    assert!(!stream.push(empty.into(), &mut Vec::new()).unwrap().content);
}

#[test]
fn case_b37_a_malformed_call_is_a_failure_to_ask_again_unless_a_valid_one_came_beside() {
    let mut broken = ending(json!([]), "MALFORMED_FUNCTION_CALL");
    broken["candidates"][0]["finishMessage"] = "Malformed function call: f(".into();
    let message = "Malformed function call: f(".to_owned();
    // The gateway asks once more, then gives up with an error.
    let failure = TO.session(&request()).answer(broken.to_string().into()).unwrap_err();
    assert_eq!(failure, AnswerFailure::MalformedCall(message.clone()));
    assert_eq!(TO.stream(&streaming(), &sse(&[broken])), Err(StreamFailure::MalformedCall(message)));
    for word in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"] {
        let beside = ending(json!([{"functionCall": {"name": "f"}}]), word);
        let answer = TO.answer(&request(), &beside);
        assert_eq!(choice(&answer)["finish_reason"], "tool_calls");
        assert_eq!(choice(&answer)["native_finish_reason"], word);
        assert_eq!(choice(&answer)["message"]["tool_calls"][0]["function"]["name"], "f");
        let events = TO.events(&streaming(), &sse(&[beside]));
        assert!(events.iter().any(|event| event["choices"][0]["finish_reason"] == "tool_calls"));
    }
}

#[test]
fn case_b38_an_unknown_end_is_a_valid_word_with_the_native_one_beside() {
    let answer = TO.answer(&request(), &ending(json!([{"text": "a"}]), "FOO"));
    assert_eq!((&choice(&answer)["finish_reason"], &choice(&answer)["native_finish_reason"]), (&json!("stop"), &json!("FOO")));
    let events = TO.events(&streaming(), &sse(&[ending(json!([{"text": "a"}]), "FOO")]));
    let last = events.iter().find(|event| event["choices"][0]["finish_reason"].is_string()).unwrap();
    assert_eq!((&choice(last)["finish_reason"], &choice(last)["native_finish_reason"]), (&json!("stop"), &json!("FOO")));
}

#[test]
fn case_b39_an_end_without_a_reason_is_an_error_and_no_stop() {
    let cut = sse(&[record(json!([{"text": "Hal"}]))]);
    assert_eq!(TO.stream(&streaming(), &cut), Err(StreamFailure::Truncated));
    let mut stream = TO.open(&streaming());
    let mut out = Vec::new();
    stream.push(cut.into(), &mut out).unwrap();
    assert_eq!(stream.finish(&mut out), Err(StreamFailure::Truncated));
    stream.fail(&ErrorReply::new(ErrorKind::UpstreamUnavailable, "upstream_unavailable", "It went away.", "0192"), &mut out);
    let events = data(&text(&out));
    let last = events.last().unwrap();
    assert_eq!(
        (&last["error"]["code"], &last["error"]["message"]),
        (&json!("upstream_unavailable"), &json!("It went away. (request id: 0192)"))
    );
    assert!(events.iter().all(|event| event["choices"][0]["finish_reason"].is_null() && *event != "[DONE]"));
}

#[test]
fn case_b40_an_error_record_inside_a_stream_is_an_error() {
    let error = "data: {\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n";
    // Before the first output nothing has been committed: the gateway tries another upstream.
    let mut stream = TO.open(&streaming());
    let mut out = Vec::new();
    let Err(StreamFailure::Upstream(failure)) = stream.push(error.into(), &mut out) else { panic!("a failure") };
    assert_eq!(
        (failure.status, failure.class, failure.message.as_str()),
        (503, FailureClass::Overloaded, "The model is overloaded.")
    );
    assert!(out.is_empty());
    // After it the error is the last event.
    let mut stream = TO.open(&streaming());
    let mut out = Vec::new();
    assert!(stream.push(sse(&[record(json!([{"text": "a"}]))]).into(), &mut out).unwrap().content);
    assert!(matches!(stream.push(error.into(), &mut out), Err(StreamFailure::Upstream(_))));
    stream.fail(&ErrorReply::new(ErrorKind::UpstreamUnavailable, "upstream_unavailable", "Overloaded.", "0192"), &mut out);
    let events = data(&text(&out));
    assert_eq!(events.last().unwrap()["error"]["message"], "Overloaded. (request id: 0192)");
    // The record may be wrapped in a list.
    let listed = "[{\"error\":{\"code\":429,\"message\":\"Slow down\",\"status\":\"RESOURCE_EXHAUSTED\"}}]";
    assert!(
        matches!(TO.stream(&streaming(), listed), Err(StreamFailure::Upstream(failure)) if failure.class == FailureClass::RateLimited)
    );
}

/// A stream with characters of several bytes, a thought, a call and an end of its own.
fn rich() -> Vec<Value> {
    vec![
        record(json!([{"text": "Grüß ", "thought": true}])),
        record(json!([{"text": "漢字 🙂"}])),
        record(
            json!([{"text": " ist \"hier\"\n"}, {"functionCall": {"name": "f", "args": {"q": "wörld"}}, "thoughtSignature": "RXFV"}]),
        ),
        ending(json!([{"text": ""}]), "STOP"),
    ]
}

#[test]
fn case_b41_any_cut_gives_the_same_bytes() {
    // `stream` cuts at every byte: inside characters, between CR and LF.
    let whole = TO.stream(&streaming(), &sse(&rich())).unwrap();
    assert_eq!(TO.stream(&streaming(), &plain_sse(&rich())).unwrap(), whole);
    let contents: Vec<&str> = data(&whole)
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect::<Vec<_>>()
        .leak()
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(contents.concat(), "漢字 🙂 ist \"hier\"\n");
}

#[test]
fn case_b42_a_json_array_gives_the_same_chunks() {
    let records: Vec<String> = rich().iter().map(Value::to_string).collect();
    let expected = TO.stream(&streaming(), &sse(&rich())).unwrap();
    for separator in [",\r\n", ",", "\n,\n"] {
        let array = format!("[{}]\n", records.join(separator));
        assert_eq!(TO.stream(&streaming(), &array).unwrap(), expected);
    }
}

#[test]
fn case_b43_a_continuation_is_one_stream_and_one_sum_of_usage() {
    let mut half = ending(json!([{"text": "Hal"}]), "CONTINUATION");
    half["candidates"][0]["continuationToken"] = "dG9rZW4=".into();
    let rest = ending(json!([{"text": "lo"}]), "STOP");
    let mut stream = TO.open(&streaming());
    let mut out = Vec::new();
    stream.push(sse(&[half]).into(), &mut out).unwrap();
    let Next::Again(hop) = stream.end(&mut out).unwrap() else { panic!("another call") };
    assert_eq!(hop.path, "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse");
    let mut again: Value = serde_json::from_slice(&hop.body.whole()).unwrap();
    assert_eq!(again.as_object_mut().unwrap().shift_remove("continuationToken"), Some(json!("dG9rZW4=")));
    assert_eq!(again, TO.body(&streaming()));
    stream.push(sse(&[rest]).into(), &mut out).unwrap();
    assert_eq!(stream.end(&mut out).unwrap(), Next::Done(()));
    let events = data(&text(&out));
    let said: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "Hallo");
    let roles = events.iter().filter(|event| event["choices"][0]["delta"].get("role").is_some()).count();
    let ends: Vec<&Value> =
        events.iter().map(|event| &event["choices"][0]["finish_reason"]).filter(|end| end.is_string()).collect();
    assert_eq!((roles, ends), (1, vec![&json!("stop")]));
    let usage = &events[events.len() - 2]["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(10), &json!(4), &json!(14))
    );
}

#[test]
fn case_b44_byte_offsets_become_character_offsets() {
    let grounding = json!({
        "groundingChunks": [{"web": {"uri": "https://a.b", "title": "A"}}, {"retrievedContext": {"uri": "gs://c/d", "title": "D"}}, {"maps": {"uri": "https://maps", "title": "M"}}, {"image": {"sourceUri": "https://img"}}],
        "groundingSupports": [
            {"segment": {"partIndex": 1, "startIndex": 7, "endIndex": 13, "text": "漢字"}, "groundingChunkIndices": [0, 1]},
            {"segment": {"startIndex": 1, "endIndex": 6, "text": "Grüß"}, "groundingChunkIndices": [2, 9]},
            {"segment": {"partIndex": 1, "startIndex": 14, "endIndex": 99}, "groundingChunkIndices": [3]}
        ]
    });
    // "ü" and "ß" are two bytes, a Han character three.
    let mut answer = ending(json!([{"text": "„Grüß“ "}, {"text": "wörld 漢字 ."}]), "STOP");
    answer["candidates"][0]["groundingMetadata"] = grounding;
    let cited = |start: u64, end: u64, url: &str, title: &str| json!({"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, "url": url, "title": title}});
    let expected = json!([
        cited(13, 15, "https://a.b", "A"),
        cited(13, 15, "gs://c/d", "D"),
        cited(1, 5, "https://maps", "M"),
        cited(16, 17, "https://img", "")
    ]);
    assert_eq!(choice(&TO.answer(&request(), &answer))["message"]["annotations"], expected);
    // In a stream the parts are pieces of one text, and the segment's own text shows where it is meant.
    let pieces = json!([{"text": "„Grüß“ wör"}]);
    let mut last = ending(json!([{"text": "ld 漢字 ."}]), "STOP");
    last["candidates"][0]["groundingMetadata"] = answer["candidates"][0]["groundingMetadata"].clone();
    last["candidates"][0]["groundingMetadata"]["groundingSupports"].as_array_mut().unwrap().pop();
    let annotations: Vec<Value> =
        deltas(&[record(pieces), last]).iter().filter_map(|delta| delta.get("annotations").cloned()).collect();
    assert_eq!(annotations, [json!(expected.as_array().unwrap()[..3])]);
    // Citations of training data count bytes too.
    let mut recited = ending(json!([{"text": "é quoted"}]), "STOP");
    recited["candidates"][0]["citationMetadata"] = json!({"citationSources": [{"startIndex": 3, "endIndex": 9, "uri": "https://q", "license": "mit"}, {"startIndex": 0, "endIndex": 1}]});
    assert_eq!(choice(&TO.answer(&request(), &recited))["message"]["annotations"], json!([cited(2, 8, "https://q", "")]));
    // A Responses client gets the same as url_citation.
    let response = RESPONSES.answer(&json!({"model": "smart", "input": "x"}), &recited);
    assert_eq!(
        response["output"][0]["content"][0]["annotations"],
        json!([{"type": "url_citation", "start_index": 2, "end_index": 8, "url": "https://q", "title": ""}])
    );
}

#[test]
fn case_b45_an_image_is_a_data_url() {
    let image = json!([{"text": "Here:"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]);
    let answer = TO.answer(&request(), &ending(image.clone(), "STOP"));
    let url = json!({"url": "data:image/png;base64,iVBORw0KGgo="});
    let images = &choice(&answer)["message"]["images"];
    assert_eq!((&images[0]["type"], &images[0]["image_url"], images.as_array().unwrap().len()), (&json!("image_url"), &url, 1));
    assert_eq!(choice(&answer)["message"]["content"], "Here:");
    let deltas = deltas(&[ending(image, "STOP")]);
    let images: Vec<&Value> = deltas.iter().filter_map(|delta| delta.get("images")).collect();
    assert_eq!((images.len(), &images[0][0]["image_url"]), (1, &url));
}

#[test]
fn code_that_google_ran_is_text_and_log_probabilities_are_openais() {
    let mut answer = ending(
        json!([{"text": "See:"}, {"executableCode": {"language": "PYTHON", "code": "print(1)"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}, {"text": "Done."}]),
        "STOP",
    );
    answer["candidates"][0]["logprobsResult"] = json!({"chosenCandidates": [{"token": "é", "logProbability": -0.5}], "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}]}]});
    let plain = TO.answer(&request(), &answer);
    assert_eq!(choice(&plain)["message"]["content"], "See:\n```python\nprint(1)\n```\n\n```\n1\n```\nDone.");
    let entry = json!({"token": "é", "logprob": -0.5, "bytes": [195, 169]});
    let mut whole = entry.clone();
    whole["top_logprobs"] = json!([entry]);
    assert_eq!(choice(&plain)["logprobs"], json!({"content": [whole], "refusal": null}));
    let streamed: String = deltas(&[answer]).iter().filter_map(|delta| delta["content"].as_str().map(str::to_owned)).collect();
    assert_eq!(choice(&plain)["message"]["content"], streamed.as_str());
}
