//! Checks of what comes from outside, before it is written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tallygate_types::{Network, NoProxy, Pico};
use url::{Host, Url};

use crate::{Limits, StoreError};

/// Characters of a name at most.
const MAX_NAME_CHARS: usize = 200;
/// Characters of a text shown to people at most.
const MAX_TEXT_CHARS: usize = 2_000;
/// Names in an allow list at most.
const MAX_ALLOWED_MODELS: usize = 1_000;
/// Characters of a label at most.
const MAX_LABEL_CHARS: usize = 64;
/// Labels of one key at most.
const MAX_TAGS: usize = 50;
/// Networks that one key may be used from at most.
const MAX_NETWORKS: usize = 100;
/// Alerts of one budget at most.
const MAX_ALERTS: usize = 10;
/// A soft budget may be passed more than once.
const MAX_ALERT_PERCENT: u16 = 1_000;
/// Hosts reached without a proxy at most.
const MAX_NO_PROXY: usize = 200;
/// Names under which clouds serve the machine's own credentials.
const METADATA_HOSTS: [&str; 3] = ["metadata.google.internal", "metadata", "instance-data"];

/// A name: something visible, on one line, without space around it.
pub(crate) fn name(field: &'static str, text: &str) -> Result<(), StoreError> {
    if text.is_empty() || text.trim() != text {
        return Err(StoreError::invalid(field, "must not be empty nor begin or end with space"));
    }
    if text.chars().count() > MAX_NAME_CHARS {
        return Err(StoreError::invalid(field, format!("must have at most {MAX_NAME_CHARS} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(StoreError::invalid(field, "must not contain control characters"));
    }
    Ok(())
}

/// A short name that travels in headers and metrics: an arm, a tag, a project.
pub(crate) fn label(field: &'static str, text: &str) -> Result<(), StoreError> {
    name(field, text)?;
    if text.chars().count() > MAX_LABEL_CHARS || text.contains(',') {
        return Err(StoreError::invalid(field, format!("`{text}`: must have at most {MAX_LABEL_CHARS} characters and no comma")));
    }
    Ok(())
}

pub(crate) fn tags(tags: &[String]) -> Result<(), StoreError> {
    if tags.len() > MAX_TAGS {
        return Err(StoreError::invalid("tags", format!("must be at most {MAX_TAGS}")));
    }
    tags.iter().try_for_each(|tag| label("tags", tag))
}

/// The name of an HTTP header, as the data plane looks it up: in lower case.
pub(crate) fn header_name(field: &'static str, text: &str) -> Result<(), StoreError> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || text.len() > MAX_NAME_CHARS || !text.chars().all(is_token) {
        return Err(StoreError::invalid(field, format!("`{text}` is not the name of a header")));
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(StoreError::invalid(field, format!("`{text}` is not the name of a header in lower case")));
    }
    Ok(())
}

/// An amount of money that bounds or compares: neither negative nor beyond what the databases add up.
pub(crate) fn amount(field: &'static str, amount: Option<Pico>) -> Result<(), StoreError> {
    match amount {
        Some(amount) if amount < Pico::ZERO || amount.to_i64().is_none() => {
            Err(StoreError::invalid(field, "must not be negative nor above 9 million"))
        }
        _ => Ok(()),
    }
}

/// Hosts that are reached without an outbound proxy.
pub(crate) fn no_proxy(hosts: &[String]) -> Result<(), StoreError> {
    if hosts.len() > MAX_NO_PROXY {
        return Err(StoreError::invalid("no_proxy", format!("must have at most {MAX_NO_PROXY} entries")));
    }
    NoProxy::parse(hosts).map(|_| ()).map_err(|error| StoreError::invalid("no_proxy", error.to_string()))
}

pub(crate) fn text(field: &'static str, text: Option<&str>) -> Result<(), StoreError> {
    match text {
        Some(text) if text.chars().count() > MAX_TEXT_CHARS => {
            Err(StoreError::invalid(field, format!("must have at most {MAX_TEXT_CHARS} characters")))
        }
        Some(text) if text.contains('\0') => Err(StoreError::invalid(field, "must not contain the NUL character")),
        _ => Ok(()),
    }
}

pub(crate) fn allowed_models(models: Option<&[String]>) -> Result<(), StoreError> {
    let models = models.unwrap_or_default();
    if models.len() > MAX_ALLOWED_MODELS {
        return Err(StoreError::invalid("allowed_models", format!("must have at most {MAX_ALLOWED_MODELS} names")));
    }
    models.iter().try_for_each(|model| name("allowed_models", model))
}

/// Bounds of single models.
pub(crate) fn model_limits(limits: &BTreeMap<String, Limits>) -> Result<(), StoreError> {
    if limits.len() > MAX_ALLOWED_MODELS {
        return Err(StoreError::invalid("model_limits", format!("must have at most {MAX_ALLOWED_MODELS} models")));
    }
    limits.keys().try_for_each(|model| name("model_limits", model))
}

/// What endpoints a key may call, by their names.
pub(crate) fn allowed_endpoints(endpoints: Option<&[String]>) -> Result<(), StoreError> {
    let endpoints = endpoints.unwrap_or_default();
    if endpoints.len() > MAX_TAGS {
        return Err(StoreError::invalid("allowed_endpoints", format!("must have at most {MAX_TAGS} names")));
    }
    endpoints.iter().try_for_each(|endpoint| label("allowed_endpoints", endpoint))
}

/// From where a key may be used.
pub(crate) fn allowed_networks(networks: Option<&[Network]>) -> Result<(), StoreError> {
    match networks {
        Some(networks) if networks.len() > MAX_NETWORKS => {
            Err(StoreError::invalid("allowed_networks", format!("must have at most {MAX_NETWORKS} entries")))
        }
        _ => Ok(()),
    }
}

/// At how much of a budget somebody is told, in percent.
pub(crate) fn alerts(percents: &[u16]) -> Result<(), StoreError> {
    if percents.len() > MAX_ALERTS || !percents.is_sorted_by(|a, b| a < b) {
        return Err(StoreError::invalid("alerts", format!("must be at most {MAX_ALERTS} percents, each above the one before")));
    }
    if percents.iter().any(|percent| !(1..=MAX_ALERT_PERCENT).contains(percent)) {
        return Err(StoreError::invalid("alerts", format!("must be percents from 1 to {MAX_ALERT_PERCENT}")));
    }
    Ok(())
}

pub(crate) fn time_zone(text: &str) -> Result<(), StoreError> {
    match jiff::tz::TimeZone::get(text) {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(StoreError::invalid("time_zone", format!("`{text}` is not an IANA time zone, such as `Europe/Berlin` or `UTC`")))
        }
    }
}

/// Where an upstream is. An operator may name private addresses (local models), never a cloud's metadata service.
pub(crate) fn base_url(text: &str) -> Result<(), StoreError> {
    let invalid = |reason: &str| StoreError::invalid("base_url", reason);
    // A URL parser drops or escapes these; what is stored is the text itself.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid("must not contain space or control characters"));
    }
    let url = Url::parse(text).map_err(|e| invalid(&format!("not a URL ({e}); write for example `https://api.openai.com`")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("must not contain a user or password; secrets go into a credential"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("must not contain `?` or `#`"));
    }
    match url.host() {
        None => Err(invalid("names no host")),
        Some(host) if is_metadata(&host) => Err(invalid("is the address of a cloud's metadata service")),
        Some(_) => Ok(()),
    }
}

fn is_metadata(host: &Host<&str>) -> bool {
    let address = match host {
        Host::Domain(name) => return METADATA_HOSTS.contains(&name.trim_end_matches('.').to_ascii_lowercase().as_str()),
        Host::Ipv4(v4) => IpAddr::V4(*v4),
        Host::Ipv6(v6) => v6.to_canonical(),
    };
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.octets() == [100, 100, 100, 200],
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

/// An outbound proxy, parsed.
pub(crate) fn proxy(text: &str) -> Result<Url, StoreError> {
    let invalid = |reason: &str| StoreError::invalid("proxy", reason);
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid("must not contain space or control characters"));
    }
    // The text may hold a password: errors never repeat it.
    let url = Url::parse(text).map_err(|_| invalid("not a URL; write for example `socks5://127.0.0.1:1080`"))?;
    if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
        return Err(invalid("must begin with http://, https://, socks5:// or socks5h://"));
    }
    if url.host().is_none() {
        return Err(invalid("names no host"));
    }
    Ok(url)
}

pub(crate) fn email(text: &str) -> Result<String, StoreError> {
    let email = text.trim().to_lowercase();
    let plausible = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    if !plausible || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(StoreError::invalid("email", format!("`{text}` is not an e-mail address")));
    }
    name("email", &email)?;
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_may_be_private_but_never_the_metadata_service() {
        for good in
            ["https://api.openai.com", "http://127.0.0.1:11434/v1", "http://10.0.0.5", "http://[::1]:8000", "https://h/a/b"]
        {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://169.254.169.254",
            "http://0xa9fea9fe/",
            "http://[::ffff:169.254.169.254]/",
            "http://metadata.google.internal./x",
            "http://[fd00:ec2::254]",
            "ftp://h",
            "https://user:pass@h",
            "https://h?x=1",
            "h:80",
            "https://h/a b",
            "https://h/\n",
            "",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_email_is_kept_in_lower_case() {
        assert_eq!(email(" Ada@Example.COM ").unwrap(), "ada@example.com");
        for bad in ["", "ada", "@x", "a@", "a b@x", "a@b@c"] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_visible_text_on_one_line() {
        assert!(name("name", "gpt-4o/mini (beta)").is_ok());
        for bad in ["", " a", "a ", "a\nb", &"x".repeat(201)] {
            assert!(name("name", bad).is_err(), "{bad:?}");
        }
    }
}
