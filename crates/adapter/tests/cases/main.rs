//! The numbered cases of the protocol references, one test each: `case_a<NN>_…` for the cases between OpenAI Chat
//! Completions and Anthropic Messages, `case_b<NN>_…` for those with Gemini and OpenAI Responses.
//!
//! A file per group of cases; the helpers are in `support`. Cases that need the gateway or a running server stand there.

mod chat_request;
#[path = "../common/mod.rs"]
mod common;
mod support;

mod anthropic_to_openai_answers;
mod anthropic_to_openai_streams;
mod chat_answers;
mod chat_clients;
mod chat_round_trips;
mod chat_rows;
mod codex;
mod gemini_answers;
mod gemini_clients;
mod gemini_requests;
mod gemini_signatures;
mod listed;
mod messages_to_chat;
mod openai_schema;
mod openai_to_anthropic_content;
mod openai_to_anthropic_controls;
mod openai_to_anthropic_messages;
mod others_to_anthropic;
mod responses_answers;
mod responses_requests;
mod signatures;
