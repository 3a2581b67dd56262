//! The scripted agent: a prompt that says which tools the model calls, step by step, before it answers.
//!
//! A user's text with `sim-script=` and a list of steps, each a list of `[tool, arguments]`, makes the model think, make the
//! calls of the first step, take the results, think again, make those of the next, and end with a text that quotes all
//! results. Which step is due follows from the conversation alone.

use serde::Deserialize as _;
use serde_json::Value;

use crate::answer::Call;
use crate::conversation::{Ask, Said, Tool};
use crate::dialect::Problem;

/// What a script begins with.
pub(crate) const KEYWORD: &str = "sim-script=";
/// Steps of one script at most.
const MAX_STEPS: usize = 32;

/// What the script of a conversation wants next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Progress {
    /// There is none, or it is over.
    #[default]
    None,
    /// Step `number` (from 1) of `of`.
    Step { number: usize, of: usize, calls: Vec<Call> },
    /// All steps are done; these are their results.
    Finished { results: Vec<String> },
}

/// Finds the script that is in force and what it wants next. A request that offers no tools has none: agents ask for
/// titles and summaries of a conversation besides.
pub(crate) fn progress(ask: &Ask) -> Result<Progress, Problem> {
    let scripted = |said: &Said| matches!(said, Said::User(text) if text.contains(KEYWORD));
    let Some(start) = ask.history.iter().rposition(scripted) else { return Ok(Progress::None) };
    let Said::User(text) = &ask.history[start] else { return Ok(Progress::None) };
    if ask.tools.is_empty() {
        return Ok(Progress::None);
    }
    let steps = parse(text)?;
    let (mut done, mut results) = (0, Vec::new());
    for said in &ask.history[start + 1..] {
        match said {
            Said::Model(calls) if calls.is_empty() && done == steps.len() => return Ok(Progress::None),
            Said::Model(calls) => done += usize::from(!calls.is_empty()),
            Said::Results(more) => results.extend(more.iter().cloned()),
            Said::User(_) => {}
        }
    }
    let Some(step) = steps.get(done) else { return Ok(Progress::Finished { results }) };
    let calls = step.iter().map(|call| offered(call, &ask.tools)).collect::<Result<_, _>>()?;
    Ok(Progress::Step { number: done + 1, of: steps.len(), calls })
}

/// A model calls what it is offered: a script that names another tool is a mistake of the test, and says so.
fn offered(call: &Call, tools: &[Tool]) -> Result<Call, Problem> {
    if tools.iter().any(|tool| tool.name == call.name) {
        return Ok(call.clone());
    }
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let text = format!("{KEYWORD} calls `{}`, but the tools are: {}", call.name, names.join(", "));
    Err(Problem::invalid(text, "tools"))
}

fn parse(text: &str) -> Result<Vec<Vec<Call>>, Problem> {
    let wrong = |what: String| Problem::invalid(format!("{KEYWORD}[[[tool, {{arguments}}], …], …]: {what}"), "messages");
    let json = text.rsplit_once(KEYWORD).map_or("", |(_, rest)| rest);
    let mut reader = serde_json::Deserializer::from_str(json);
    let steps: Vec<Vec<(String, Value)>> = Vec::deserialize(&mut reader).map_err(|error| wrong(error.to_string()))?;
    if steps.is_empty() || steps.len() > MAX_STEPS || steps.iter().any(Vec::is_empty) {
        return Err(wrong(format!("1 to {MAX_STEPS} steps of one call or more")));
    }
    let call = |(name, arguments)| Call { name, arguments };
    Ok(steps.into_iter().map(|step| step.into_iter().map(call).collect()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::PastCall;

    fn ask(history: Vec<Said>) -> Ask {
        let tools = ["weather", "clock"].map(|name| Tool { name: name.to_owned(), schema: Value::Null });
        Ask { history, tools: tools.to_vec(), ..Ask::default() }
    }

    fn script() -> Said {
        Said::User(r#"go: sim-script=[[["weather",{"city":"Oslo"}]],[["clock",{}],["weather",{}]]] and answer"#.to_owned())
    }

    fn called() -> Said {
        Said::Model(vec![PastCall::default()])
    }

    #[test]
    fn the_step_follows_from_the_conversation() {
        let call = |name: &str, arguments| Call { name: name.to_owned(), arguments };
        let first = Progress::Step { number: 1, of: 2, calls: vec![call("weather", json!({"city": "Oslo"}))] };
        assert_eq!(progress(&ask(vec![script()])), Ok(first));
        let results = |text: &str| Said::Results(vec![text.to_owned()]);
        let reminder = Said::User("a reminder".to_owned());
        let second = Progress::Step { number: 2, of: 2, calls: vec![call("clock", json!({})), call("weather", json!({}))] };
        assert_eq!(progress(&ask(vec![script(), called(), results("sunny"), reminder])), Ok(second));
        let mut all = vec![script(), called(), results("sunny"), called(), results("noon")];
        assert_eq!(progress(&ask(all.clone())), Ok(Progress::Finished { results: vec!["sunny".into(), "noon".into()] }));
        all.extend([Said::Model(Vec::new()), Said::User("thanks".to_owned())]);
        assert_eq!(progress(&ask(all)), Ok(Progress::None));
    }

    #[test]
    fn a_script_that_cannot_be_followed_is_refused() {
        for text in ["sim-script=[]", "sim-script=nothing", r#"sim-script=[[["unknown",{}]]]"#] {
            assert!(progress(&ask(vec![Said::User(text.to_owned())])).is_err(), "{text}");
        }
        let without_tools = Ask { tools: Vec::new(), ..ask(vec![script()]) };
        assert_eq!(progress(&without_tools), Ok(Progress::None));
    }
}
