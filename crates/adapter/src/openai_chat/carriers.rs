//! Where reasoning and signatures ride in a protocol that has no field for them.
//!
//! A client that keeps unknown fields of a message sends them back, so that the next request carries the vendor's own
//! bytes again: `reasoning_details` (OpenRouter's form) for reasoning of any vendor, `thinking_blocks` (LiteLLM's) for
//! Anthropic's, `extra_content.google.thought_signature` (Google's) for signatures on calls and text.

use super::wire::{ExtraContent, GoogleContent, Message, ReasoningDetail, ThinkingBlock, ToolCall};
use crate::ir::{Part, PartKind, Reasoning, Signature, Vendor};

const TEXT: &str = "reasoning.text";
const SUMMARY: &str = "reasoning.summary";
const ENCRYPTED: &str = "reasoning.encrypted";

const ANTHROPIC: &str = "anthropic-claude-v1";
const GOOGLE: &str = "google-gemini-v1";
const OPENAI: &str = "openai-responses-v1";

/// LiteLLM's, between the id of a call and the signature it carries.
const ID_SUFFIX: &str = "__thought__";

const fn format_of(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Anthropic => ANTHROPIC,
        Vendor::Google => GOOGLE,
        Vendor::OpenAi => OPENAI,
    }
}

fn vendor_of(format: Option<&str>) -> Option<Vendor> {
    match format? {
        ANTHROPIC => Some(Vendor::Anthropic),
        GOOGLE => Some(Vendor::Google),
        OPENAI => Some(Vendor::OpenAi),
        _ => None,
    }
}

/// Signed reasoning as details, in a stream numbered on from `first`; what is not signed needs none. `text_before`: how
/// many characters of text were said before it, for its vendor wants it back in its place.
pub(super) fn details(reasoning: &Reasoning, first: Option<u32>, text_before: u64) -> Vec<ReasoningDetail> {
    let Some(signature) = &reasoning.signature else { return Vec::new() };
    let detail = |kind: &str| ReasoningDetail {
        kind: kind.to_owned(),
        id: reasoning.id.clone(),
        format: Some(format_of(signature.vendor).to_owned()),
        ..ReasoningDetail::default()
    };
    let encrypted = || ReasoningDetail { data: Some(signature.data.clone()), ..detail(ENCRYPTED) };
    let text = Some(reasoning.text.clone()).filter(|text| !text.is_empty());
    let mut details = if reasoning.is_redacted {
        vec![encrypted()]
    } else if signature.vendor == Vendor::OpenAi {
        let said = text.map(|text| {
            if reasoning.is_summary {
                ReasoningDetail { summary: Some(text), ..detail(SUMMARY) }
            } else {
                ReasoningDetail { text: Some(text), ..detail(TEXT) }
            }
        });
        said.into_iter().chain([encrypted()]).collect()
    } else {
        vec![ReasoningDetail { text: Some(reasoning.text.clone()), signature: Some(signature.data.clone()), ..detail(TEXT) }]
    };
    for (detail, offset) in details.iter_mut().zip(0..) {
        detail.index = first.map(|first| first + offset);
        detail.text_before = Some(text_before).filter(|chars| *chars > 0);
    }
    details
}

/// Anthropic's signed blocks in LiteLLM's form. Other vendors' are not said there.
pub(super) fn thinking_block(reasoning: &Reasoning, index: Option<u32>) -> Option<ThinkingBlock> {
    let signature = reasoning.signature.as_ref().filter(|signature| signature.vendor == Vendor::Anthropic)?;
    Some(if reasoning.is_redacted {
        ThinkingBlock { kind: "redacted_thinking".into(), index, data: Some(signature.data.clone()), ..ThinkingBlock::default() }
    } else {
        ThinkingBlock {
            kind: "thinking".into(),
            index,
            thinking: Some(reasoning.text.clone()),
            signature: Some(signature.data.clone()),
            data: None,
        }
    })
}

/// A signature that rides on a call or a text. Only Google makes such.
pub(super) fn extra_content(signature: Option<&Signature>) -> Option<ExtraContent> {
    let signature = signature.filter(|signature| signature.vendor == Vendor::Google)?;
    let google = GoogleContent { thought_signature: Some(signature.data.clone()), thought: None };
    Some(ExtraContent { google: Some(google) })
}

/// What a client brought back, each with the characters of text before it: the signed details if there are any, else the
/// signed blocks, else the bare text.
pub(super) fn reasoning(message: &mut Message) -> Vec<(Part, u64)> {
    let text = [message.reasoning_content.take(), message.reasoning.take()].into_iter().flatten().find(|text| !text.is_empty());
    let details = message.reasoning_details.take().unwrap_or_default();
    let mut found = of_details(&details);
    if found.iter().all(|(reasoning, _)| reasoning.signature.is_none()) {
        let blocks = message.thinking_blocks.take().unwrap_or_default();
        if !blocks.is_empty() {
            found = blocks.into_iter().map(|block| (of_block(block), 0)).collect();
        } else if let Some(text) = text {
            found = vec![(Reasoning { text, ..Reasoning::default() }, 0)];
        }
    }
    found.into_iter().map(|(reasoning, chars)| (Part::new(PartKind::Reasoning(reasoning)), chars)).collect()
}

fn of_block(block: ThinkingBlock) -> Reasoning {
    let data = block.signature.or(block.data).filter(|data| !data.is_empty());
    Reasoning {
        text: block.thinking.unwrap_or_default(),
        is_redacted: block.kind == "redacted_thinking",
        signature: data.map(|data| Signature { vendor: Vendor::Anthropic, data }),
        ..Reasoning::default()
    }
}

fn of_details(details: &[ReasoningDetail]) -> Vec<(Reasoning, u64)> {
    let mut found: Vec<(Reasoning, u64)> = Vec::with_capacity(details.len());
    for detail in details {
        let vendor = vendor_of(detail.format.as_deref());
        let text_before = detail.text_before.unwrap_or(0);
        let sign = |data: &Option<String>| {
            let data = data.clone().filter(|data| !data.is_empty())?;
            Some(Signature { vendor: vendor?, data })
        };
        match detail.kind.as_str() {
            ENCRYPTED => {
                let Some(signature) = sign(&detail.data) else { continue };
                // OpenAI's items come as a summary and what is sealed, under one id.
                if signature.vendor == Vendor::OpenAi
                    && let Some((last, _)) = found.last_mut()
                    && last.signature.is_none()
                    && last.id == detail.id
                {
                    last.signature = Some(signature);
                    continue;
                }
                let is_redacted = signature.vendor == Vendor::Anthropic;
                let sealed = Reasoning { id: detail.id.clone(), is_redacted, signature: Some(signature), ..Reasoning::default() };
                found.push((sealed, text_before));
            }
            TEXT | SUMMARY => {
                let said = Reasoning {
                    id: detail.id.clone(),
                    text: detail.text.clone().or_else(|| detail.summary.clone()).unwrap_or_default(),
                    is_summary: detail.kind == SUMMARY,
                    signature: sign(&detail.signature),
                    ..Reasoning::default()
                };
                found.push((said, text_before));
            }
            _ => {}
        }
    }
    found
}

/// The readable text of details, of a server that gives it nowhere else.
pub(super) fn text_of(details: &[ReasoningDetail]) -> String {
    details.iter().filter_map(|detail| detail.text.as_deref().or(detail.summary.as_deref())).collect()
}

/// The signature on a message's text.
pub(super) fn signature_of_text(extra: Option<ExtraContent>) -> Option<Signature> {
    google(extra?.google?.thought_signature)
}

/// The signature on a call, wherever its client or server keeps it; a suffix of the id is cut off.
pub(super) fn signature_of_call(call: &mut ToolCall) -> Option<Signature> {
    let in_id = call.id.as_mut().and_then(|id| {
        let (bare, signature) = split_id(id);
        let (bare, signature) = (bare.to_owned(), signature.map(str::to_owned));
        *id = bare;
        signature
    });
    let own = call.extra_content.take().and_then(|extra| extra.google?.thought_signature);
    let in_function = || call.function.as_mut().and_then(|function| function.thought_signature.take());
    let in_fields = || call.provider_specific_fields.as_ref().and_then(|fields| fields.thought_signature.clone());
    google(own.or_else(in_function).or_else(in_fields).or(in_id))
}

/// The id of a call without the signature LiteLLM appends.
pub(super) fn split_id(id: &str) -> (&str, Option<&str>) {
    id.split_once(ID_SUFFIX).map_or((id, None), |(bare, signature)| (bare, Some(signature)))
}

fn google(data: Option<String>) -> Option<Signature> {
    data.filter(|data| !data.is_empty()).map(|data| Signature { vendor: Vendor::Google, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_of_every_vendor_comes_back_as_it_went() {
        let of = |vendor, text: &str, is_redacted, is_summary, id: Option<&str>| Reasoning {
            id: id.map(str::to_owned),
            text: text.into(),
            is_summary,
            is_redacted,
            signature: Some(Signature { vendor, data: "c2ln".into() }),
        };
        let sent = [
            of(Vendor::Anthropic, "a", false, false, None),
            of(Vendor::Anthropic, "", false, false, None),
            of(Vendor::Anthropic, "", true, false, None),
            of(Vendor::Google, "b", false, false, None),
            of(Vendor::OpenAi, "c", false, true, Some("rs_1")),
            of(Vendor::OpenAi, "", false, false, Some("rs_2")),
            of(Vendor::OpenAi, "d", false, false, Some("rs_3")),
        ];
        let mut list = Vec::new();
        for reasoning in &sent {
            list.extend(details(reasoning, Some(list.len() as u32), list.len() as u64));
        }
        assert_eq!(list.iter().map(|detail| detail.index.unwrap()).collect::<Vec<_>>(), (0..9).collect::<Vec<u32>>());
        let text = serde_json::to_string(&list).unwrap();
        let back = of_details(&serde_json::from_str::<Vec<_>>(&text).unwrap());
        assert_eq!(back.iter().map(|(reasoning, _)| reasoning.clone()).collect::<Vec<_>>(), sent);
        assert_eq!(back.iter().map(|(_, chars)| *chars).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 6, 7]);
    }

    #[test]
    fn a_call_gives_up_its_signature_wherever_it_is_kept() {
        for call in [
            r#"{"id":"c","extra_content":{"google":{"thought_signature":"s"}}}"#,
            r#"{"id":"c","function":{"name":"f","thought_signature":"s"}}"#,
            r#"{"id":"c","provider_specific_fields":{"thought_signature":"s"}}"#,
            r#"{"id":"c__thought__s"}"#,
        ] {
            let mut call: ToolCall = serde_json::from_str(call).unwrap();
            assert_eq!(signature_of_call(&mut call), google(Some("s".into())));
            assert_eq!(call.id.as_deref(), Some("c"));
        }
        let mut odd: ToolCall = serde_json::from_str(r#"{"id":"c","extra_content":[1],"provider_specific_fields":7}"#).unwrap();
        assert_eq!(signature_of_call(&mut odd), None);
    }
}
