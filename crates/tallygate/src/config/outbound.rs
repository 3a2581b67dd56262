//! `[outbound]`: how the installation reaches its upstreams.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Deserializer, Serialize};
use tallygate_gateway::Proxy;
use tallygate_types::NoProxy;

use super::error::ConfigError;
use super::secret::SecretRef;

/// The way out for upstreams that name no proxy of their own. HTTPS_PROXY and its like in the environment are never used: a
/// request goes through a proxy because it says so here, and then through nothing else.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// `http://`, `https://` (TLS to the proxy), `socks5://` (names are resolved here) or `socks5h://` (at the proxy), with
    /// `user:password@` if it asks for them; one or a list, which is tried in turn. With a password better `env:NAME` or
    /// `file:/path`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub proxy: Vec<SecretRef>,
    /// What is reached without these proxies: `host`, `.suffix` (all below it), `*`, an IP address or a network such as
    /// `10.0.0.0/8`, each with a `:port` if need be.
    pub no_proxy: Vec<String>,
    /// Certificates in PEM, trusted beside the usual authorities: for upstreams, and for proxies reached by https.
    pub ca_file: Option<PathBuf>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum OneOrMany {
    One(SecretRef),
    Many(Vec<SecretRef>),
}

pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SecretRef>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

impl Outbound {
    /// With proxies fetched and certificates read.
    pub fn resolve(&self) -> Result<tallygate_gateway::Outbound, ConfigError> {
        let invalid = |why: &dyn std::fmt::Display| ConfigError::Invalid(format!("outbound.{why}"));
        let mut proxies = Vec::with_capacity(self.proxy.len());
        for proxy in &self.proxy {
            let url = proxy.resolve("outbound.proxy")?;
            Proxy::parse(url.expose_secret()).map_err(|error| invalid(&format!("proxy: {error}")))?;
            proxies.push(url.expose_secret().to_owned());
        }
        self.check()?;
        let mut authorities = Vec::new();
        if let Some(path) = &self.ca_file {
            let unreadable = |error: &dyn std::fmt::Display| invalid(&format!("ca_file `{}`: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                authorities.push(certificate.map_err(|error| unreadable(&error))?);
            }
            if authorities.is_empty() {
                return Err(unreadable(&"holds no certificate in PEM"));
            }
        }
        Ok(tallygate_gateway::Outbound { proxies, no_proxy: self.no_proxy.clone(), authorities })
    }

    /// What can be said of it without fetching anything.
    pub fn check(&self) -> Result<(), ConfigError> {
        for proxy in &self.proxy {
            if let SecretRef::Literal(url) = proxy {
                Proxy::parse(url.expose_secret()).map_err(|error| ConfigError::Invalid(format!("outbound.proxy: {error}")))?;
            }
        }
        NoProxy::parse(&self.no_proxy).map_err(|error| ConfigError::Invalid(format!("outbound.no_proxy: {error}")))?;
        Ok(())
    }
}
