//! A function call that comes in pieces (Vertex with `streamFunctionCallArguments`): each piece names a place in the
//! arguments and what is to be set or appended there.

use serde_json::Value;

use super::super::wire::PartialArg;
use crate::ir::Object;

/// Longest list an index may ask for: a hostile `[4000000000]` must not fill the memory.
const MAX_INDEX: usize = 10_000;

/// A call in work.
#[derive(Debug)]
pub(super) struct Growing {
    /// Its number in the candidate.
    pub part: u32,
    args: Value,
}

enum Step<'a> {
    Member(&'a str),
    Index(usize),
}

impl Growing {
    pub fn new(part: u32, args: Option<Object>) -> Self {
        Self { part, args: Value::Object(args.unwrap_or_default()) }
    }

    pub fn add(&mut self, piece: &PartialArg) {
        let Some(steps) = steps(&piece.json_path) else { return };
        let mut at = &mut self.args;
        for step in steps {
            at = match step {
                Step::Member(name) => {
                    if !at.is_object() {
                        *at = Value::Object(Object::new());
                    }
                    match at {
                        Value::Object(object) => object.entry(name).or_insert(Value::Null),
                        _ => return,
                    }
                }
                Step::Index(index) if index < MAX_INDEX => {
                    if !at.is_array() {
                        *at = Value::Array(Vec::new());
                    }
                    match at {
                        Value::Array(list) => {
                            if list.len() <= index {
                                list.resize(index + 1, Value::Null);
                            }
                            &mut list[index]
                        }
                        _ => return,
                    }
                }
                Step::Index(_) => return,
            };
        }
        match (at, &piece.string_value) {
            (Value::String(text), Some(more)) => text.push_str(more),
            (at, Some(text)) => *at = Value::from(text.as_str()),
            (at, None) => {
                *at = piece.number_value.clone().or(piece.bool_value.map(Value::Bool)).unwrap_or(Value::Null);
            }
        }
    }

    pub fn arguments(&self) -> String {
        self.args.to_string()
    }
}

/// `$.a.b[0]['c d']`
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            steps.push(Step::Member(&tail[..end]));
            rest = &tail[end..];
        } else {
            let (inner, tail) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = inner.strip_prefix(['\'', '"']).and_then(|inner| inner.strip_suffix(['\'', '"']));
            steps.push(match quoted {
                Some(name) => Step::Member(name),
                None => Step::Index(inner.parse().ok()?),
            });
            rest = tail;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_into_arguments() {
        let mut growing = Growing::new(0, None);
        for piece in [
            r#"{"jsonPath":"$.city","stringValue":"San ","willContinue":true}"#,
            r#"{"jsonPath":"$.city","stringValue":"Francisco"}"#,
            r#"{"jsonPath":"$.days[1].n","numberValue":2}"#,
            r#"{"jsonPath":"$['a b']","boolValue":true}"#,
            r#"{"jsonPath":"$.days[99999999].n","numberValue":2}"#,
            r#"{"jsonPath":"nonsense","numberValue":2}"#,
        ] {
            growing.add(&serde_json::from_str(piece).unwrap());
        }
        assert_eq!(growing.arguments(), r#"{"city":"San Francisco","days":[null,{"n":2}],"a b":true}"#);
    }
}
