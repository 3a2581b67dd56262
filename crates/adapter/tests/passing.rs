//! Client and upstream speak the same dialect: bytes pass, but for what routing must change; usage is read on the way.

mod common;

use bytes::Bytes;
use common::text;
use tallygate_adapter::{
    AnswerFailure, Call, ErrorKind, ErrorReply, FailureClass, NoMemory, Outgoing, PastReasoning, Profiles, Progress,
    ResponseStream, StreamFailure, peek, prepare,
};
use tallygate_types::{Dialect, Timestamp, Usage, UsageClass};

fn pass(dialect: Dialect, body: &'static str, stream: bool, query: &str, headers: &[(String, String)]) -> Outgoing {
    let body = Bytes::from_static(body.as_bytes());
    let seen = peek(dialect, &body).unwrap();
    let call = Call {
        client: dialect,
        upstream: dialect,
        speaks_responses: false,
        client_model: "smart",
        upstream_model: "big-\"1\"",
        stream,
        peek: &seen,
        strict: true,
        response_id: "0192",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: query,
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Sent,
        output_cap: None,
    };
    prepare(&call, &body, headers).unwrap()
}

#[test]
fn only_the_model_is_replaced() {
    let outgoing =
        pass(Dialect::Anthropic, "{ \"max_tokens\": 1.0e1,\"model\" : \"smart\" , \"unknown\":[1,  2]}", false, "", &[]);
    assert_eq!(outgoing.body, &b"{ \"max_tokens\": 1.0e1,\"model\" : \"big-\\\"1\\\"\" , \"unknown\":[1,  2]}"[..]);
    assert_eq!(outgoing.headers, [("anthropic-version", "2023-06-01".to_owned())]);
}

#[test]
fn an_equal_model_leaves_the_very_same_bytes() {
    let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
    let seen = peek(Dialect::OpenaiChat, &body).unwrap();
    let call = Call {
        client: Dialect::OpenaiChat,
        upstream: Dialect::OpenaiChat,
        speaks_responses: false,
        client_model: "m",
        upstream_model: "m",
        stream: false,
        peek: &seen,
        strict: false,
        response_id: "0192",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: "",
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Sent,
        output_cap: None,
    };
    assert_eq!(prepare(&call, &body, &[]).unwrap().body.whole().as_ptr(), body.as_ptr());
}

#[test]
fn the_version_and_betas_of_the_client_pass() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = [
        header("anthropic-version", "2026-10-21"),
        header("anthropic-beta", "a"),
        header("anthropic-beta", "b"),
        header("x-api-key", "k"),
    ];
    assert_eq!(
        pass(Dialect::Anthropic, r#"{"model":"smart"}"#, false, "", &headers).headers,
        [("anthropic-version", "2026-10-21".to_owned()), ("anthropic-beta", "a,b".to_owned())]
    );
}

#[test]
fn chat_streams_are_made_to_report_usage() {
    assert_eq!(
        pass(Dialect::OpenaiChat, r#" {"model":"smart","stream":true}"#, true, "", &[]).body,
        &br#" {"stream_options":{"include_usage":true},"model":"big-\"1\"","stream":true}"#[..]
    );
    assert_eq!(
        pass(
            Dialect::OpenaiChat,
            r#"{"stream_options": {"include_obfuscation":false}, "model":"smart","stream":true}"#,
            true,
            "",
            &[]
        )
        .body,
        &br#"{"stream_options": {"include_obfuscation":false,"include_usage":true}, "model":"big-\"1\"","stream":true}"#[..]
    );
    assert_eq!(
        pass(Dialect::OpenaiChat, r#"{"stream_options":null,"model":"smart","stream":true}"#, true, "", &[]).body,
        &br#"{"stream_options":{"include_usage":true},"model":"big-\"1\"","stream":true}"#[..]
    );
}

#[test]
fn gemini_keeps_the_query_of_the_client_but_not_its_key() {
    let path = |query: &str| pass(Dialect::Gemini, r#"{"contents":[]}"#, true, query, &[]).path;
    assert!(path("alt=sse&key=secret").ends_with(":streamGenerateContent?alt=sse"), "{}", path("alt=sse&key=secret"));
    assert!(path("key=secret").ends_with(":streamGenerateContent"));
}

const ASKED: &str = r#"{"model":"smart","stream":true,"stream_options":{"include_usage":true}}"#;
const NOT_ASKED: &str = r#"{"model":"smart","stream":true}"#;
const FIRST: &str = "data: {\"id\":\"c1\",\"model\":\"big\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const TEXT: &str = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hé \\\"error\\\" \\\"usage\\\":{\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const FINISH: &str =
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str =
    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn open(body: &'static str) -> ResponseStream {
    pass(Dialect::OpenaiChat, body, true, "", &[]).session.stream()
}

#[test]
fn a_stream_passes_untouched_and_is_metered() {
    let whole = [FIRST, ": ping\n\n", TEXT, FINISH, USAGE, DONE].concat();
    let mut stream = open(ASKED);
    let mut out = Vec::new();
    let chunk = Bytes::from(whole.clone());
    let progress = stream.push(chunk.clone(), &mut out).unwrap();
    assert_eq!((progress, out.len(), out[0].as_ptr()), (Progress { content: true, done: true }, 1, chunk.as_ptr()));
    stream.finish(&mut out).unwrap();
    assert_eq!(text(&out), whole);
    let meter = stream.meter();
    assert_eq!(meter.usage, Some(Usage::default().with(UsageClass::InputUncached, 5).with(UsageClass::OutputText, 2)));
    assert_eq!(meter.raw_usage.as_deref(), Some(r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}"#));
    assert_eq!(
        (meter.finish_reason.as_deref(), meter.upstream_response_id.as_deref(), meter.upstream_model.as_deref()),
        (Some("stop"), Some("c1"), Some("big"))
    );
}

#[test]
fn the_gate_opens_with_the_first_content() {
    let mut stream = open(ASKED);
    let mut out = Vec::new();
    assert_eq!(stream.push(FIRST.into(), &mut out).unwrap(), Progress { content: false, done: false });
    assert_eq!(stream.push(TEXT.into(), &mut out).unwrap(), Progress { content: true, done: false });
}

#[test]
fn usage_that_was_not_asked_for_is_taken_out_at_every_cut() {
    let whole = [FIRST, TEXT, FINISH, USAGE, DONE].concat();
    let expected = [FIRST, TEXT, FINISH, DONE].concat();
    for line_end in ["\n", "\r\n"] {
        let whole = whole.replace('\n', line_end);
        let expected = expected.replace('\n', line_end);
        for cut in 0..=whole.len() {
            let mut stream = open(NOT_ASKED);
            let mut out = Vec::new();
            stream.push(Bytes::copy_from_slice(&whole.as_bytes()[..cut]), &mut out).unwrap();
            stream.push(Bytes::copy_from_slice(&whole.as_bytes()[cut..]), &mut out).unwrap();
            stream.finish(&mut out).unwrap();
            assert_eq!(String::from_utf8(out.concat()).unwrap(), expected, "cut at {cut}");
            assert_eq!(stream.meter().usage.unwrap().total(), 7);
        }
    }
}

#[test]
fn only_whole_events_pass_so_that_an_error_can_follow() {
    let mut stream = open(ASKED);
    let mut out = Vec::new();
    stream.push([FIRST, TEXT, &FINISH[..20]].concat().into(), &mut out).unwrap();
    assert_eq!(text(&out), [FIRST, TEXT].concat());
    assert_eq!(stream.finish(&mut out), Err(StreamFailure::Truncated));
    assert_eq!(text(&out), [FIRST, TEXT].concat());
    stream.fail(&ErrorReply::new(ErrorKind::UpstreamInvalid, "upstream_invalid", "Cut.", "r"), &mut out);
    assert!(text(&out).starts_with(&([FIRST, TEXT].concat() + "data: {\"error\":")));
}

#[test]
fn an_error_event_is_seen_and_what_came_before_it_passes() {
    let mut stream = open(ASKED);
    let mut out = Vec::new();
    let error = "event: error\ndata: {\"error\":{\"message\":\"bad call\",\"code\":\"tool_use_failed\",\"type\":\"invalid_request_error\"}}\n\n";
    let Err(StreamFailure::Upstream(failure)) = stream.push([FIRST, TEXT, error].concat().into(), &mut out) else {
        panic!("no failure")
    };
    assert_eq!(
        (failure.class, failure.code.as_deref(), text(&out)),
        (FailureClass::BadRequest, Some("tool_use_failed"), [FIRST, TEXT].concat())
    );
}

#[test]
fn an_error_body_where_a_stream_was_due_is_an_error() {
    let mut stream = open(ASKED);
    let mut out = Vec::new();
    let body = "{\"error\":{\"message\":\"busy\",\"code\":\"server_is_overloaded\"}}";
    let Err(StreamFailure::Upstream(failure)) = stream.push(body.into(), &mut out) else { panic!("no failure") };
    assert_eq!((failure.class, out.len()), (FailureClass::Overloaded, 0));
}

#[test]
fn a_plain_answer_passes_and_is_metered() {
    let body = Bytes::from_static(br#"{"id":"msg_1","model":"big","content":[{"type":"text","text":"abc"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}"#);
    let answer = pass(Dialect::Anthropic, r#"{"model":"smart"}"#, false, "", &[]).session.answer(body.clone()).unwrap();
    assert_eq!(answer.body.as_ptr(), body.as_ptr());
    assert_eq!(
        (answer.meter.output_bytes, answer.meter.usage.unwrap().total(), answer.meter.finish_reason.as_deref()),
        (3, 4, Some("end_turn"))
    );
    let broken = pass(Dialect::Anthropic, r#"{"model":"smart"}"#, false, "", &[]).session.answer("<html>".into());
    assert!(broken.is_err());
}

/// A content event that is no JSON passes and is counted: nothing between the first event and the last is parsed.
#[test]
fn content_events_are_not_parsed() {
    let streams = [
        (
            Dialect::OpenaiChat,
            "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}],\"usage\":null,!}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
        ),
        (
            Dialect::OpenaiResponses,
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"m\"}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\",!}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"usage\":{\"input_tokens\":7,\"output_tokens\":2}}}\n\n",
        ),
        (
            Dialect::Anthropic,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\",\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"},!}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        (
            Dialect::Gemini,
            "data: {\"responseId\":\"r\",\"modelVersion\":\"m\",\"candidates\":[{\"content\":{\"parts\":[]}}]}\n\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hello\"}]}}],\"usageMetadata\":{\"promptTokenCount\":7,\"candidatesTokenCount\":2},!}\n\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[]},\"finishReason\":\"STOP\"}]}\n\n",
        ),
    ];
    for (dialect, first, content, last) in streams {
        let body = if dialect == Dialect::Gemini {
            "{}"
        } else {
            r#"{"model":"smart","stream":true,"stream_options":{"include_usage":true}}"#
        };
        let mut stream = pass(dialect, body, true, "alt=sse", &[]).session.stream();
        let mut out = Vec::new();
        for chunk in [first, content, last] {
            stream.push(Bytes::from_static(chunk.as_bytes()), &mut out).unwrap();
        }
        stream.finish(&mut out).unwrap();
        assert_eq!(out.concat(), [first, content, last].concat().as_bytes(), "{dialect}");
        let meter = stream.meter();
        assert_eq!(meter.output_bytes, 5, "{dialect}");
        let usage = meter.usage.unwrap();
        assert_eq!((usage.get(UsageClass::InputUncached), usage.get(UsageClass::OutputText)), (7, 2), "{dialect}");
    }
}

/// What stands before a usage report that was not asked for passes, however the stream is cut.
#[test]
fn a_comment_before_usage_that_is_taken_out_passes() {
    let stream = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n\
                  : keep-alive\r\n\r\n\
                  data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n\
                  data: [DONE]\n\n";
    let expected = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n\
                    : keep-alive\r\n\r\n\
                    data: [DONE]\n\n";
    for cut in 0..=stream.len() {
        let mut open = open(r#"{"model":"smart","stream":true}"#);
        let mut out = Vec::new();
        for piece in [&stream[..cut], &stream[cut..]] {
            open.push(Bytes::copy_from_slice(piece.as_bytes()), &mut out).unwrap();
        }
        open.finish(&mut out).unwrap();
        assert_eq!(text(&out), expected, "cut at {cut}");
    }
}

/// An error with status 200 is no answer, though it is good JSON: another upstream may have one.
#[test]
fn an_error_where_an_answer_was_due_does_not_pass() {
    let error = r#"{"error":{"message":"busy","type":"server_error","status":"INTERNAL","code":500}}"#;
    for dialect in Dialect::ALL {
        let outgoing = pass(dialect, r#"{"model":"smart"}"#, false, "", &[]);
        let failure = outgoing.session.answer(Bytes::from_static(error.as_bytes())).unwrap_err();
        assert!(matches!(&failure, AnswerFailure::Upstream(failure) if failure.message == "busy"), "{dialect}: {failure}");
    }
    let failed =
        r#"{"id":"r","object":"response","status":"failed","error":{"code":"server_error","message":"busy"},"output":[]}"#;
    let outgoing = pass(Dialect::OpenaiResponses, r#"{"model":"smart"}"#, false, "", &[]);
    assert_eq!(outgoing.session.answer(Bytes::from_static(failed.as_bytes())).unwrap().body, failed);
}

#[test]
fn an_event_that_is_cut_off_does_not_pass() {
    let mut stream = open(r#"{"model":"smart","stream":true}"#);
    let mut out = Vec::new();
    let good = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let cut = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"b\n\ndata: [DONE]\n\n";
    let failure = stream.push(Bytes::from([good, cut].concat()), &mut out).unwrap_err();
    assert_eq!(failure, StreamFailure::Truncated);
    assert_eq!(text(&out), good);
}
