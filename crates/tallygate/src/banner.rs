//! What a start prints for a person: where everything is, and lines that work as pasted.

use std::fmt::Write as _;
use std::time::Duration;

/// Everything a first start has to say.
pub struct Banner {
    /// The data plane's base, without a path: `http://127.0.0.1:8080`.
    pub url: String,
    pub admin_url: String,
    pub metrics_url: String,
    /// Opens the dashboard's first-run page; present while nobody has an account.
    pub setup_link: Option<String>,
    /// Keys minted by this start, shown this once: (tenant, key name, secret).
    pub minted_keys: Vec<(String, String, String)>,
    pub store: String,
    pub upstreams: usize,
    /// How many models are for sale, and the one of the example lines.
    pub models: usize,
    pub example_model: Option<String>,
    pub ready_in: Duration,
    /// Lines that need the operator's attention, each with its fix.
    pub warnings: Vec<String>,
}

impl Banner {
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        line(format!("Tallygate {} · ready in {:.1} s", env!("CARGO_PKG_VERSION"), self.ready_in.as_secs_f32()));
        line(format!(
            "  API        {}/v1  (OpenAI)   {}/v1/messages  (Anthropic)   {}/v1beta  (Gemini)",
            self.url, self.url, self.url
        ));
        match &self.setup_link {
            Some(link) => line(format!("  Dashboard  {link}   (one-time link, 30 minutes: makes the first account)")),
            None => line(format!("  Dashboard  {}", self.admin_url)),
        }
        line(format!("  Metrics    {}/metrics", self.metrics_url));
        line(format!("  Store      {}   Upstreams {}   Models {}", self.store, self.upstreams, self.models));
        for (tenant, name, secret) in &self.minted_keys {
            line(format!("  Key        {secret}   (tenant {tenant}, key {name}; shown once)"));
        }
        for warning in &self.warnings {
            line(format!("  Warning    {warning}"));
        }
        if let (Some((_, _, key)), Some(model)) = (self.minted_keys.first(), &self.example_model) {
            out.push_str(&self.examples(key, model));
        }
        out
    }

    fn examples(&self, key: &str, model: &str) -> String {
        let mut out = String::from("Try:\n");
        let url = &self.url;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  curl {url}/v1/chat/completions -H \"Authorization: Bearer {key}\" -H \"Content-Type: application/json\" -d \
             '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'"
        );
        let _ = writeln!(
            out,
            "  python3 -c 'from openai import OpenAI; c = OpenAI(base_url=\"{url}/v1\", api_key=\"{key}\"); \
             print(c.chat.completions.create(model=\"{model}\", messages=[{{\"role\": \"user\", \"content\": \
             \"Hello\"}}]).choices[0].message.content)'"
        );
        let _ = writeln!(
            out,
            "  ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} ANTHROPIC_MODEL={model} \
             ANTHROPIC_DEFAULT_HAIKU_MODEL={model} claude"
        );
        out
    }
}

/// Names of small chat models, and words in the names of models that do not chat.
const SMALL: [&str; 4] = ["mini", "haiku", "flash", "sim"];
const NOT_FOR_CHAT: [&str; 9] = ["embed", "audio", "image", "tts", "realtime", "transcribe", "preview", "ft:", "search"];

/// The model of the example lines: a small one that chats, else any that does, else the first.
pub fn example_model(models: &[String]) -> Option<&String> {
    let chats = |model: &&String| !NOT_FOR_CHAT.iter().any(|word| model.contains(word));
    let is_small = |model: &&String| SMALL.iter().any(|word| model.contains(word));
    let small = models.iter().rev().filter(chats).find(is_small);
    small.or_else(|| models.iter().find(chats)).or_else(|| models.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner() -> Banner {
        Banner {
            url: "http://127.0.0.1:8080".into(),
            admin_url: "http://127.0.0.1:8081".into(),
            metrics_url: "http://127.0.0.1:8082".into(),
            setup_link: None,
            minted_keys: vec![("acme".into(), "demo".into(), "sk-tg1_x".into())],
            store: "sqlite".into(),
            upstreams: 4,
            models: 1,
            example_model: Some("gpt-sim".into()),
            ready_in: Duration::from_millis(420),
            warnings: vec![],
        }
    }

    #[test]
    fn the_curl_line_works_as_pasted() {
        let text = banner().text();
        let curl = text.lines().find(|line| line.trim_start().starts_with("curl")).unwrap();
        assert_eq!(
            curl.trim_start(),
            "curl http://127.0.0.1:8080/v1/chat/completions -H \"Authorization: Bearer sk-tg1_x\" -H \"Content-Type: \
             application/json\" -d '{\"model\":\"gpt-sim\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'"
        );
    }

    #[test]
    fn the_example_model_is_a_small_one_that_chats() {
        let pick = |names: &[&str]| {
            let models: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            example_model(&models).cloned()
        };
        assert_eq!(pick(&["chat-latest", "gpt-5-mini", "gpt-audio-mini"]).as_deref(), Some("gpt-5-mini"));
        assert_eq!(pick(&["embedding-x", "smart"]).as_deref(), Some("smart"));
        assert_eq!(pick(&[]), None);
    }

    #[test]
    fn without_a_new_key_no_example_is_printed() {
        let text = Banner { minted_keys: vec![], ..banner() }.text();
        assert!(!text.contains("Try:"), "{text}");
    }
}
