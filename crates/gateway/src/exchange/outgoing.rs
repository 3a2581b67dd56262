//! The request to an upstream, made of the client's.

use std::borrow::Cow;

use bytes::Bytes;
use tallygate_adapter::{Call, EmbedCall, Outgoing, PastReasoning, Peek, prepare, prepare_embeddings, serves_responses};
use tallygate_billing::estimate;
use tallygate_store::ModelEntry;
use tallygate_types::Dialect;

use super::{count, plain, sealed};
use crate::layers::Question;
use crate::path::Operation;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::Step;

/// A request, and its body where media had to be fetched for the upstream in turn.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub question: &'a Question,
    pub with_media: Option<&'a (Bytes, Peek)>,
}

/// The upstream's request, without its credential.
pub fn outgoing(
    plane: &DataPlane,
    asked: Asked<'_>,
    model: &ModelEntry,
    step: &Step<'_>,
    past_reasoning: PastReasoning,
) -> Result<Outgoing, Refusal> {
    let Asked { question, with_media } = asked;
    let (upstream, upstream_model) = (&step.target.upstream, &*step.target.upstream_model);
    let profiles = &plane.profiles.load();
    let memory = plane.keepsakes.of(question.key.tenant.id, question.facts.accepted_at);
    if question.is_count() {
        return count::outgoing(question, model, profiles, &memory, step);
    }
    let batch = match question.endpoint.operation {
        Operation::Embeddings => Some(true),
        Operation::Embed { batch, .. } => Some(batch),
        _ => None,
    };
    if let Some(batch) = batch {
        if upstream.dialect == Dialect::Anthropic {
            let message = format!("The model `{}` makes no embeddings: Anthropic has no such endpoint.", question.model);
            return Err(Refusal::no_such_model(message));
        }
        let call = EmbedCall {
            client: question.endpoint.dialect,
            upstream: upstream.dialect,
            batch,
            client_model: &question.model,
            upstream_model,
            peek: &question.peek,
            input_estimate: estimate::tokens(question.peek.text_bytes),
            strict: model.strict,
        };
        return Ok(prepare_embeddings(&call, &question.body)?);
    }
    if let Some(asked) = &question.plain {
        return plain::outgoing(plane, question, step, asked);
    }
    let (body, peek, dropped) = match (sealed::body_for(plane, question, step)?, with_media) {
        (Some((body, peek, dropped)), _) => (Cow::Owned(body), Cow::Owned(peek), dropped),
        (None, Some((body, peek))) => (Cow::Borrowed(body), Cow::Borrowed(peek), 0),
        (None, None) => (Cow::Borrowed(&question.body), Cow::Borrowed(&question.peek), 0),
    };
    let call = Call {
        client: question.endpoint.dialect,
        upstream: upstream.dialect,
        speaks_responses: serves_responses(&upstream.base_url),
        client_model: &question.model,
        upstream_model,
        stream: question.stream,
        peek: &peek,
        strict: model.strict,
        response_id: &question.facts.request_id_text,
        created_at: question.facts.accepted_at,
        client_query: &question.query,
        profiles,
        memory: &memory,
        past_reasoning,
        output_cap: question.output_cap.map(|cap| cap.each),
    };
    let mut outgoing = prepare(&call, &body, &question.asked.0)?;
    if dropped > 0 {
        let detail = format!("{dropped} items of reasoning that another account sealed");
        outgoing.session.lost("input.encrypted_content", detail);
    }
    if let Some(plan) = &question.recalled.plan {
        outgoing.session.say_kept(true, plan.previous_id.as_deref());
    }
    Ok(outgoing)
}
