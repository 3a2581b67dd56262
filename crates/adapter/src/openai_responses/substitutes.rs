//! OpenAI's own kinds of tool that the client runs, as functions for upstreams that have functions only.
//!
//! The function has the tool's name; a call of it becomes the item the client knows, and such items of a history become
//! calls again. Source of the shapes: openai-openapi `LocalShellToolCall`, `FunctionShellCall`, `ApplyPatchToolCall`,
//! `ToolSearchCall`.

use serde_json::{Value, json};

use crate::ir::{ClientTool, FunctionTool, Object, Part};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Substitute {
    LocalShell,
    Shell,
    ApplyPatch,
    ToolSearch,
}

impl Substitute {
    const ALL: [Self; 4] = [Self::LocalShell, Self::Shell, Self::ApplyPatch, Self::ToolSearch];

    /// The `type` in `tools`, and the name of the function.
    pub fn tool(self) -> &'static str {
        match self {
            Self::LocalShell => "local_shell",
            Self::Shell => "shell",
            Self::ApplyPatch => "apply_patch",
            Self::ToolSearch => "tool_search",
        }
    }

    /// The `type` of an item that is a call.
    pub fn call(self) -> &'static str {
        match self {
            Self::LocalShell => "local_shell_call",
            Self::Shell => "shell_call",
            Self::ApplyPatch => "apply_patch_call",
            Self::ToolSearch => "tool_search_call",
        }
    }

    /// The `type` of an item that is a result.
    pub fn output(self) -> &'static str {
        match self {
            Self::LocalShell => "local_shell_call_output",
            Self::Shell => "shell_call_output",
            Self::ApplyPatch => "apply_patch_call_output",
            Self::ToolSearch => "tool_search_output",
        }
    }

    pub fn id_prefix(self) -> &'static str {
        match self {
            Self::LocalShell => "lsh",
            Self::Shell => "sh",
            Self::ApplyPatch => "apc",
            Self::ToolSearch => "tsc",
        }
    }

    /// `None`: a tool that OpenAI runs.
    pub fn of_tool(kind: &str, fields: &Object) -> Option<Self> {
        let substitute = Self::named(kind)?;
        let is_clients = match substitute {
            Self::LocalShell | Self::ApplyPatch => true,
            Self::Shell => environment_is_local(fields),
            Self::ToolSearch => fields.get("execution").is_some_and(|execution| execution == "client"),
        };
        is_clients.then_some(substitute)
    }

    pub fn of_call(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|substitute| substitute.call() == kind)
    }

    pub fn of_output(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|substitute| substitute.output() == kind)
    }

    /// What the client knows a tool as, if it is one of these.
    pub fn of_client_tool(tool: &ClientTool) -> Option<Self> {
        match tool {
            ClientTool::Typed(kind) => Self::named(kind),
            ClientTool::Namespaced { .. } => None,
        }
    }

    /// By the `type` in `tools`.
    pub fn named(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|substitute| substitute.tool() == kind)
    }

    /// Whether OpenAI ran the call or made the result itself: nothing another provider could read or answer.
    pub fn is_hosted_item(self, fields: &Object) -> bool {
        match self {
            Self::Shell => !environment_is_local(fields),
            Self::ToolSearch => fields.get("execution").is_none_or(|execution| execution != "client"),
            Self::LocalShell | Self::ApplyPatch => false,
        }
    }

    pub fn function(self, name: String, fields: &Object) -> FunctionTool {
        let said = |field: &str| fields.get(field).filter(|value| !value.is_null());
        let (description, parameters) = match self {
            Self::LocalShell => (
                "Runs a command on the user's machine and gives its output.".to_owned(),
                object(
                    json!({
                        "command": { "type": "array", "items": { "type": "string" }, "description": "The program and its arguments." },
                        "workdir": { "type": "string", "description": "The folder to run it in." },
                        "timeout_ms": { "type": "integer", "description": "The longest it may run, in milliseconds." },
                    }),
                    &["command"],
                ),
            ),
            Self::Shell => (
                "Runs shell commands and gives the output of each.".to_owned(),
                object(
                    json!({
                        "commands": { "type": "array", "items": { "type": "string" }, "description": "Shell commands, in order." },
                        "timeout_ms": { "type": "integer", "description": "The longest they may run, in milliseconds." },
                    }),
                    &["commands"],
                ),
            ),
            Self::ApplyPatch => (
                "Creates, updates or deletes one file.".to_owned(),
                object(
                    json!({
                        "type": { "type": "string", "enum": ["create_file", "update_file", "delete_file"] },
                        "path": { "type": "string", "description": "The file." },
                        "diff": { "type": "string", "description": "What changes, as a V4A diff. Left out to delete the file." },
                    }),
                    &["type", "path"],
                ),
            ),
            Self::ToolSearch => (
                said("description").and_then(Value::as_str).unwrap_or("Finds tools that can be called after.").to_owned(),
                said("parameters").cloned().unwrap_or_else(|| {
                    object(json!({ "query": { "type": "string", "description": "What the tool should do." } }), &["query"])
                }),
            ),
        };
        FunctionTool { name, description: Some(description), parameters: Some(parameters), ..FunctionTool::default() }
    }

    /// The arguments of the function, of a call the client knows as an item.
    pub fn arguments(self, item: &Object) -> String {
        let action = item.get("action").unwrap_or(&Value::Null);
        let mut arguments = Object::new();
        let mut put = |name: &str, value: Option<&Value>| {
            if let Some(value) = value.filter(|value| !value.is_null()) {
                arguments.insert(name.to_owned(), value.clone());
            }
        };
        match self {
            Self::LocalShell => {
                put("command", action.get("command"));
                put("workdir", action.get("working_directory"));
                put("timeout_ms", action.get("timeout_ms"));
            }
            Self::Shell => {
                put("commands", action.get("commands"));
                put("timeout_ms", action.get("timeout_ms"));
            }
            Self::ApplyPatch => {
                for field in ["type", "path", "diff"] {
                    put(field, item.get("operation").and_then(|operation| operation.get(field)));
                }
            }
            Self::ToolSearch => match item.get("arguments") {
                Some(Value::Object(given)) => arguments.clone_from(given),
                Some(Value::String(text)) => return text.clone(),
                _ => {}
            },
        }
        Value::Object(arguments).to_string()
    }

    /// The item the client knows, of a call of the function. What the model wrote may be cut off or in another shape.
    pub fn item(self, id: &str, call_id: &str, arguments: &str, status: &str) -> Value {
        let given: Value = serde_json::from_str(arguments).unwrap_or_default();
        let integer = |field: &str| given[field].as_u64();
        let mut item = json!({ "id": id, "type": self.call(), "status": status, "call_id": call_id });
        match self {
            Self::LocalShell => {
                let command = match &given["command"] {
                    // A whole command line where a list was asked for.
                    Value::String(line) => vec!["bash".into(), "-lc".into(), line.clone()],
                    list => strings(list),
                };
                let mut action = json!({ "type": "exec", "command": command, "env": {} });
                if let Some(folder) = given["workdir"].as_str() {
                    action["working_directory"] = folder.into();
                }
                if let Some(timeout) = integer("timeout_ms") {
                    action["timeout_ms"] = timeout.into();
                }
                item["action"] = action;
            }
            Self::Shell => {
                let commands = match &given["commands"] {
                    Value::String(line) => vec![line.clone()],
                    list => strings(list),
                };
                item["action"] = json!({ "commands": commands, "timeout_ms": integer("timeout_ms"), "max_output_length": null });
                item["environment"] = json!({ "type": "local" });
            }
            Self::ApplyPatch => {
                // The item knows no status for a call that was cut off.
                item["status"] = if status == "completed" { "completed" } else { "in_progress" }.into();
                let kind = given["type"].as_str().filter(|kind| OPERATIONS.contains(kind)).unwrap_or("update_file");
                let mut operation = json!({ "type": kind, "path": given["path"].as_str().unwrap_or_default() });
                if kind != "delete_file" {
                    operation["diff"] = given["diff"].as_str().unwrap_or_default().into();
                }
                item["operation"] = operation;
            }
            Self::ToolSearch => {
                item["execution"] = "client".into();
                item["arguments"] = if given.is_object() { given } else { json!({}) };
            }
        }
        item
    }

    /// What a result says to the model, and whether it tells of a failure.
    pub fn result(self, item: &Object) -> (Vec<Part>, bool) {
        let output = item.get("output").unwrap_or(&Value::Null);
        let said = match output {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        match self {
            Self::LocalShell | Self::Shell => (vec![Part::text(said)], false),
            Self::ApplyPatch => {
                let status = item.get("status").and_then(Value::as_str).unwrap_or("completed");
                (vec![Part::text(if said.is_empty() { status.to_owned() } else { said })], status == "failed")
            }
            Self::ToolSearch => {
                let found = item.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let names: Vec<&str> = found.iter().filter_map(|tool| tool["name"].as_str()).collect();
                (vec![Part::text(json!({ "found": names }).to_string())], false)
            }
        }
    }
}

const OPERATIONS: &[&str] = &["create_file", "update_file", "delete_file"];

fn environment_is_local(fields: &Object) -> bool {
    match fields.get("environment") {
        None | Some(Value::Null) => true,
        Some(environment) => environment["type"] == "local",
    }
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Object {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_call_comes_back_as_the_item_it_was() {
        for (substitute, item) in [
            (
                Substitute::LocalShell,
                json!({"id": "i", "type": "local_shell_call", "status": "completed", "call_id": "c", "action":
                    {"type": "exec", "command": ["ls", "-l"], "env": {}, "working_directory": "/tmp", "timeout_ms": 5}}),
            ),
            (
                Substitute::Shell,
                json!({"id": "i", "type": "shell_call", "status": "completed", "call_id": "c",
                    "action": {"commands": ["ls"], "timeout_ms": null, "max_output_length": null}, "environment": {"type": "local"}}),
            ),
            (
                Substitute::ApplyPatch,
                json!({"id": "i", "type": "apply_patch_call", "status": "completed", "call_id": "c",
                    "operation": {"type": "delete_file", "path": "a.txt"}}),
            ),
            (
                Substitute::ToolSearch,
                json!({"id": "i", "type": "tool_search_call", "status": "completed", "call_id": "c",
                    "execution": "client", "arguments": {"query": "mail"}}),
            ),
        ] {
            let arguments = substitute.arguments(&fields(item.clone()));
            assert_eq!(substitute.item("i", "c", &arguments, "completed"), item);
            assert_eq!(Substitute::of_call(item["type"].as_str().unwrap()), Some(substitute));
        }
    }

    #[test]
    fn arguments_that_cannot_be_read_give_an_item_that_does_nothing() {
        assert_eq!(
            Substitute::LocalShell.item("i", "c", "{\"comm", "incomplete")["action"],
            json!({"type": "exec", "command": [], "env": {}})
        );
        let line = Substitute::LocalShell.item("i", "c", r#"{"command":"ls | wc"}"#, "completed");
        assert_eq!(line["action"]["command"], json!(["bash", "-lc", "ls | wc"]));
        let patch = Substitute::ApplyPatch.item("i", "c", "", "incomplete");
        assert_eq!(
            (&patch["status"], &patch["operation"]),
            (&json!("in_progress"), &json!({"type": "update_file", "path": "", "diff": ""}))
        );
    }

    #[test]
    fn what_openai_runs_itself_has_no_substitute() {
        let of = |kind: &str, value: Value| Substitute::of_tool(kind, &fields(value));
        assert_eq!(of("shell", json!({"environment": {"type": "container_auto"}})), None);
        assert_eq!(of("shell", json!({"environment": null})), Some(Substitute::Shell));
        assert_eq!(of("tool_search", json!({})), None);
        assert_eq!(of("tool_search", json!({"execution": "client"})), Some(Substitute::ToolSearch));
        assert_eq!(of("web_search", json!({})), None);
    }
}
