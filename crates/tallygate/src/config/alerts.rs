//! `[alerts]`: who is told that a budget is nearly spent.

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::ConfigError;
use super::secret::SecretRef;
use crate::alerts::MAIL_TIMEOUT;

/// A secret that signs must not be guessed.
const MIN_SECRET_CHARS: usize = 16;

/// Who is told of budgets that are nearly spent and balances that run low. Without any of it they are listed in the dashboard only.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    pub webhook: Option<Webhook>,
    pub mail: Option<Mail>,
}

/// A POST of JSON for each, signed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// https, out on the Internet, unless its host is one of `private_hosts`. A URL with a secret in it may be `env:NAME` or
    /// `file:/path`.
    pub url: String,
    /// Signs what is sent: `x-tallygate-signature: t=SECONDS,v1=HEX`, the HMAC-SHA-256 of `SECONDS.BODY`. 16 characters at least.
    pub secret: SecretRef,
    /// Hosts that may be private and spoken to without TLS. Cloud metadata addresses are never reached.
    #[serde(default)]
    pub private_hosts: Vec<String>,
}

/// A mail for each.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// `smtps://user:password@host`, `smtp://host:587?tls=required` (STARTTLS), or `smtp://host` of a relay that is trusted; with a
    /// password better `env:NAME` or `file:/path`.
    pub smtp: SecretRef,
    pub from: String,
    /// Who is told of every tenant's; a tenant's own addresses are at the tenant.
    #[serde(default)]
    pub to: Vec<String>,
}

impl Alerts {
    /// What can be said of it without fetching anything.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(webhook) = &self.webhook {
            if let SecretRef::Literal(url) = webhook.url() {
                webhook.parse(url.expose_secret())?;
            }
            if let SecretRef::Literal(secret) = &webhook.secret {
                check_secret(secret.expose_secret())?;
            }
        }
        if let Some(mail) = &self.mail {
            mail.from()?;
            mail.to()?;
            if let SecretRef::Literal(smtp) = &mail.smtp {
                transport(smtp.expose_secret())?;
            }
        }
        Ok(())
    }
}

impl Webhook {
    /// Its URL and secret, fetched and checked.
    pub fn resolve(&self) -> Result<(Url, String), ConfigError> {
        let url = self.parse(self.url().resolve("alerts.webhook.url")?.expose_secret())?;
        let secret = self.secret.resolve("alerts.webhook.secret")?.expose_secret().to_owned();
        check_secret(&secret)?;
        Ok((url, secret))
    }

    pub fn is_private(&self, host: &str) -> bool {
        self.private_hosts.iter().any(|private| private.eq_ignore_ascii_case(host))
    }

    /// `https:` is a scheme, `env:` and `file:` point elsewhere.
    fn url(&self) -> SecretRef {
        self.url.parse().unwrap_or_else(|error: std::convert::Infallible| match error {})
    }

    /// The text may hold a token: errors never repeat it.
    fn parse(&self, text: &str) -> Result<Url, ConfigError> {
        let invalid = |why: &str| ConfigError::Invalid(format!("alerts.webhook.url {why}"));
        let url =
            Url::parse(text).map_err(|_| invalid("is not a URL; write for example `https://alerts.example.com/tallygate`"))?;
        let host = url.host_str().ok_or_else(|| invalid("names no host"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && self.is_private(host)) {
            return Err(invalid("must begin with https:// unless its host is one of alerts.webhook.private_hosts"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must not hold a user or a password; what is sent is signed with `secret`"));
        }
        Ok(url)
    }
}

impl Mail {
    pub fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, ConfigError> {
        transport(self.smtp.resolve("alerts.mail.smtp")?.expose_secret())
    }

    pub fn from(&self) -> Result<Mailbox, ConfigError> {
        mailbox("from", &self.from)
    }

    pub fn to(&self) -> Result<Vec<Mailbox>, ConfigError> {
        self.to.iter().map(|to| mailbox("to", to)).collect()
    }
}

fn check_secret(secret: &str) -> Result<(), ConfigError> {
    if secret.chars().count() < MIN_SECRET_CHARS {
        let reason = format!("alerts.webhook.secret must have {MIN_SECRET_CHARS} characters at least");
        return Err(ConfigError::Invalid(reason));
    }
    Ok(())
}

/// The text may hold a password: errors never repeat it.
fn transport(url: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, ConfigError> {
    let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| {
        let reason =
            "alerts.mail.smtp is not the URL of a mail server; write for example `smtps://user:password@mail.example.com`";
        ConfigError::Invalid(reason.to_owned())
    })?;
    Ok(builder.timeout(Some(MAIL_TIMEOUT)).build())
}

fn mailbox(field: &str, text: &str) -> Result<Mailbox, ConfigError> {
    text.parse().map_err(|_| {
        let form = "write `ops@example.com` or `Ops <ops@example.com>`";
        ConfigError::Invalid(format!("alerts.mail.{field}: `{text}` is no mail address; {form}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let alerts: Alerts = toml::from_str(text).map_err(|error| error.to_string())?;
        alerts.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_webhook_is_signed_and_leads_out_unless_it_is_named_private() {
        let webhook =
            |url: &str, more: &str| checked(&format!("webhook = {{ url = \"{url}\", secret = \"sixteen characters\"{more} }}"));
        assert_eq!(webhook("https://alerts.example.com/x", ""), Ok(()));
        assert!(webhook("http://alerts.example.com/x", "").unwrap_err().contains("must begin with https://"));
        assert_eq!(webhook("http://alerts.lan:8080/x", ", private_hosts = [\"Alerts.LAN\"]"), Ok(()));
        let hidden = webhook("https://me:hunter2@alerts.example.com/x", "").unwrap_err();
        assert!(hidden.contains("must not hold a user") && !hidden.contains("hunter2"), "{hidden}");
        let short = checked("webhook = { url = \"https://a.example\", secret = \"short\" }").unwrap_err();
        assert!(short.contains("16 characters"), "{short}");
        let unsigned = checked("webhook = { url = \"https://a.example\" }").unwrap_err();
        assert!(unsigned.contains("missing field `secret`"), "{unsigned}");
    }

    #[test]
    fn mail_says_where_from_and_where_to() {
        let mail = |text: &str| checked(&format!("[mail]\nsmtp = \"smtps://me:hunter2@mail.example.com\"\n{text}"));
        assert_eq!(mail("from = \"Gate <gate@example.com>\"\nto = [\"ops@example.com\"]"), Ok(()));
        assert!(mail("from = \"gate\"").unwrap_err().contains("`gate` is no mail address"));
        assert!(mail("from = \"gate@example.com\"\nto = [\"ops\"]").unwrap_err().contains("alerts.mail.to"));
        let wrong = checked("[mail]\nsmtp = \"mailto://hunter2\"\nfrom = \"gate@example.com\"").unwrap_err();
        assert!(wrong.contains("alerts.mail.smtp") && !wrong.contains("hunter2"), "{wrong}");
    }
}
