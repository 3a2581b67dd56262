//! Structured output: enforced where the API can, else through a forced tool, else asked for in words.

use serde_json::Value;

use super::schema;
use super::thinking::Control;
use super::tools::Toolbox;
use super::wire::{self, Block};
use crate::ir::{OutputFormat, Request};
use crate::json_answer;
use crate::loss::LossReport;
use crate::profile::AnthropicModel;

const INSTRUCTION: &str = "Answer with one JSON object only, without any text around it.";
const SCHEMA_INSTRUCTION: &str = "Answer with JSON only, without any text around it. It must conform to this JSON Schema:";
const TOOL_DESCRIPTION: &str = "Gives the answer to the user. Call it once, with the whole answer.";

/// Says in which form the client wants the answer: gives the native field, or adds to tools or system prompt.
pub(super) fn output_format(
    request: &Request,
    model: AnthropicModel,
    control: &Control,
    toolbox: &mut Toolbox,
    system: &mut Vec<Block>,
    loss: &mut LossReport,
) -> Option<wire::OutputFormat> {
    let mut instruct = |text: String| system.push(Block { kind: "text".into(), text: Some(text), ..Block::default() });
    match request.output.as_ref()? {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => {
            loss.approximated("response_format", "JSON mode is asked for in the system prompt");
            instruct(INSTRUCTION.into());
            None
        }
        OutputFormat::JsonSchema { schema, description, strict, .. } => match schema::bend(schema) {
            Ok(mut bent) => {
                if bent.changed {
                    loss.approximated(
                        "response_format.json_schema",
                        "constraints that cannot be enforced are said in descriptions",
                    );
                }
                if *strict == Some(false) {
                    loss.approximated("response_format.json_schema.strict", "the schema is enforced");
                }
                if let (Some(text), Some(root)) = (description, bent.schema.as_object_mut()) {
                    root.entry("description").or_insert_with(|| text.clone().into());
                }
                Some(wire::OutputFormat { kind: "json_schema".into(), schema: Some(bent.schema) })
            }
            Err(reason) => {
                let takes_tool =
                    model.forced_tools && !control.is_budget() && toolbox.tools.is_empty() && is_plain_object(schema);
                if takes_tool {
                    loss.approximated("response_format.json_schema", format!("{reason}: a tool takes the answer"));
                    toolbox.force(wire::Tool {
                        name: json_answer::TOOL.into(),
                        description: Some(description.clone().unwrap_or_else(|| TOOL_DESCRIPTION.into())),
                        input_schema: Some(schema.clone()),
                        ..wire::Tool::default()
                    });
                } else {
                    loss.approximated("response_format.json_schema", format!("{reason}: asked for in the system prompt"));
                    instruct(format!("{SCHEMA_INSTRUCTION}\n{schema}"));
                }
                None
            }
        },
    }
}

/// What a tool takes as its parameters.
fn is_plain_object(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
        && ["anyOf", "oneOf", "allOf"].iter().all(|key| schema.get(key).is_none())
}
