//! Free text inside a function's arguments: `{"input":"…"}` and back, also while the arguments still stream.

use std::str::Chars;

use serde_json::{Value, json};

use crate::ir::FunctionTool;

/// The one property a free-text tool's substitute is called with.
pub(crate) const FIELD: &str = "input";

/// A function of one string in place of a free-text tool. The grammar moves into the description: nothing enforces it.
pub(crate) fn function(name: String, description: Option<String>, format: Option<&Value>) -> FunctionTool {
    let hint = match format.and_then(|format| Some((format["syntax"].as_str()?, format["definition"].as_str()?))) {
        Some((syntax, grammar)) => {
            format!("The whole input of the tool as plain text, in the {syntax} grammar:\n{grammar}")
        }
        None => "The whole input of the tool as plain text.".to_owned(),
    };
    let parameters = json!({
        "type": "object",
        "properties": { FIELD: { "type": "string", "description": hint } },
        "required": [FIELD],
    });
    FunctionTool { name, description, parameters: Some(parameters), ..FunctionTool::default() }
}

/// The arguments of the substitute.
pub(crate) fn arguments(text: &str) -> String {
    json!({ FIELD: text }).to_string()
}

/// Takes the text out of arguments that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Extractor {
    /// What cannot be given yet: the head before the text, an escape that is not whole, or everything where the arguments
    /// do not begin as they should.
    held: String,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Text,
    Over,
    /// Not in the expected shape: read as a whole at the end.
    Whole,
}

enum Head {
    /// The text begins at this byte.
    Found(usize),
    NotYet,
    Other,
}

impl Extractor {
    /// Takes a fragment, gives the text it brings.
    pub fn push(&mut self, fragment: &str) -> String {
        if self.state == State::Over {
            return String::new();
        }
        self.held.push_str(fragment);
        if self.state == State::Head {
            match head(&self.held) {
                Head::Found(start) => {
                    self.held.drain(..start);
                    self.state = State::Text;
                }
                Head::NotYet => {}
                Head::Other => self.state = State::Whole,
            }
        }
        if self.state == State::Text { self.unescape() } else { String::new() }
    }

    /// The arguments are over: what was held back for being in another shape.
    pub fn finish(self) -> String {
        match self.state {
            State::Head | State::Whole => taken_out(&self.held).unwrap_or(self.held),
            State::Text | State::Over => String::new(),
        }
    }

    fn unescape(&mut self) -> String {
        let mut text = String::with_capacity(self.held.len());
        let mut chars = self.held.chars();
        let mut consumed = 0;
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    self.state = State::Over;
                    break;
                }
                '\\' => match escaped(&mut chars) {
                    Some(c) => text.push(c),
                    None => break,
                },
                c => text.push(c),
            }
            consumed = self.held.len() - chars.as_str().len();
        }
        if self.state == State::Over {
            self.held.clear();
        } else {
            self.held.drain(..consumed);
        }
        text
    }
}

/// The same of arguments that are whole.
pub(crate) fn text_of(arguments: &str) -> String {
    let mut extractor = Extractor::default();
    let mut text = extractor.push(arguments);
    text.push_str(&extractor.finish());
    text
}

/// Whether `{"input":"` stands at the beginning, with any white space JSON allows.
fn head(text: &str) -> Head {
    let mut rest = text;
    for token in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        match rest.strip_prefix(token) {
            Some(after) => rest = after,
            None if token.starts_with(rest) => return Head::NotYet,
            None => return Head::Other,
        }
    }
    Head::Found(text.len() - rest.len())
}

/// The character after a backslash; `None`: not all of it has come.
fn escaped(chars: &mut Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => return unicode(chars),
        other => other,
    })
}

fn unicode(chars: &mut Chars<'_>) -> Option<char> {
    let unit = code_unit(chars)?;
    let alone = Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
    if !(0xd800..0xdc00).contains(&unit) {
        return alone;
    }
    // The other half of a surrogate pair must follow.
    let mut ahead = chars.clone();
    for due in ['\\', 'u'] {
        if ahead.next()? != due {
            return alone;
        }
    }
    let low = code_unit(&mut ahead)?;
    if !(0xdc00..0xe000).contains(&low) {
        return alone;
    }
    *chars = ahead;
    char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
}

/// Four hex digits; what is none counts as zero.
fn code_unit(chars: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| Some(unit * 16 + chars.next()?.to_digit(16).unwrap_or(0)))
}

/// The text of whole arguments in another order or under another name; `None`: they are the text themselves.
fn taken_out(arguments: &str) -> Option<String> {
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(arguments) else { return None };
    match object.remove(FIELD) {
        Some(Value::String(text)) => Some(text),
        // Models rename a lone property.
        None if object.len() == 1 => object.into_iter().find_map(|(_, value)| value.as_str().map(str::to_owned)),
        None if object.is_empty() => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_however_the_arguments_are_cut() {
        let text = "*** Begin \"Patch\"\n\t+ caf\u{e9} \u{1f980} \\ / end\u{7}";
        for arguments in [
            arguments(text),
            json!({ FIELD: text }).to_string().replace('\u{1f980}', "\\ud83e\\udd80").replace('\u{e9}', "\\u00E9"),
            format!(" {{ \"input\" :\n {} , \"more\": 1 }}", json!(text)),
        ] {
            assert_eq!(text_of(&arguments), text);
            for size in 1..9 {
                let mut extractor = Extractor::default();
                let mut got = String::new();
                let chars: Vec<char> = arguments.chars().collect();
                for piece in chars.chunks(size) {
                    got.push_str(&extractor.push(&piece.iter().collect::<String>()));
                }
                assert_eq!(got + &extractor.finish(), text, "pieces of {size}");
            }
        }
    }

    #[test]
    fn text_comes_as_soon_as_it_is_known() {
        let mut extractor = Extractor::default();
        assert_eq!(extractor.push("{\"inp"), "");
        assert_eq!(extractor.push("ut\":\"a\\"), "a");
        assert_eq!(extractor.push("nb\\ud83e"), "\nb");
        assert_eq!(extractor.push("\\udd80c\"}"), "\u{1f980}c");
        assert_eq!(extractor.finish(), "");
    }

    #[test]
    fn other_shapes_are_read_at_the_end() {
        for (arguments, text) in [
            ("plain text", "plain text"),
            (r#"{"note":"n","input":"x"}"#, "x"),
            (r#"{"patch":"x\ny"}"#, "x\ny"),
            (r#"{"a":"x","b":"y"}"#, r#"{"a":"x","b":"y"}"#),
            (r#"{"input":7}"#, r#"{"input":7}"#),
            ("{}", ""),
            ("", ""),
            (r#"{"input":"cut \u00"#, "cut "),
            (r#"{"input":"\ud83e!"}"#, "\u{fffd}!"),
            (r#"{"input":"\ud83e\u0041"}"#, "\u{fffd}A"),
        ] {
            assert_eq!(text_of(arguments), text, "{arguments}");
        }
    }

    #[test]
    fn a_grammar_becomes_a_hint() {
        let format = json!({"type": "grammar", "syntax": "lark", "definition": "start: \"x\""});
        assert_eq!(
            function("t".into(), None, Some(&format)).parameters,
            Some(json!({"type": "object", "properties": {"input": {"type": "string",
                "description": "The whole input of the tool as plain text, in the lark grammar:\nstart: \"x\""}},
                "required": ["input"]}))
        );
    }
}
