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
    /// Model names, for the example lines.
    pub models: Vec<String>,
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
        line(format!("  Store      {}   Upstreams {}   Models {}", self.store, self.upstreams, self.models.len()));
        for (tenant, name, secret) in &self.minted_keys {
            line(format!("  Key        {secret}   (tenant {tenant}, key {name}; shown once)"));
        }
        for warning in &self.warnings {
            line(format!("  Warning    {warning}"));
        }
        if let (Some((_, _, key)), Some(model)) = (self.minted_keys.first(), self.models.first()) {
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
        let _ = writeln!(out, "  ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} claude");
        out
    }
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
            models: vec!["gpt-sim".into()],
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
    fn without_a_new_key_no_example_is_printed() {
        let text = Banner { minted_keys: vec![], ..banner() }.text();
        assert!(!text.contains("Try:"), "{text}");
    }
}
