//! Which hosts are reached without the outbound proxy.

use std::net::IpAddr;

/// Hosts, suffixes, addresses and networks, each with a port if it is meant for that port alone.
///
/// | entry | what goes direct |
/// |---|---|
/// | `*` | everything |
/// | `api.example.com` | that host, and no host below it |
/// | `.example.com`, `*.example.com` | every host below it, and not itself |
/// | `10.0.0.7`, `::1`, `10.0.0.0/8`, `fd00::/8` | hosts written as such an address; names are not looked up |
/// | any of these with `:443`; IPv6 as `[::1]:443` | the same, on that port |
///
/// Nothing is excepted that is not listed, `localhost` included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy {
    rules: Vec<Rule>,
}

/// An entry that is none of the above.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host, `.suffix`, `*`, IP address or network such as 10.0.0.0/8, each with a `:port` if need be")]
pub struct NoProxyError(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    who: Who,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    All,
    Host(String),
    /// With its leading dot.
    Below(String),
    Network {
        bits: u128,
        mask: u128,
        is_v4: bool,
    },
}

impl NoProxy {
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, NoProxyError> {
        let rules = entries.into_iter().map(|entry| {
            let entry = entry.as_ref();
            rule(entry.trim()).ok_or_else(|| NoProxyError(entry.to_owned()))
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Whether `host` (a name, or an address with or without brackets) is reached directly on `port`.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse().ok().map(bits_of);
        self.rules.iter().any(|rule| rule.port.is_none_or(|only| only == port) && rule.who.is(&host, address))
    }
}

impl Who {
    fn is(&self, host: &str, address: Option<(u128, bool)>) -> bool {
        match self {
            Self::All => true,
            Self::Host(name) => name == host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Network { bits, mask, is_v4 } => address.is_some_and(|(address, v4)| v4 == *is_v4 && address & mask == *bits),
        }
    }
}

fn rule(entry: &str) -> Option<Rule> {
    if let Some(who) = network(entry) {
        return Some(Rule { who, port: None });
    }
    let (who, port) = match entry.rsplit_once(':') {
        Some((who, port)) => (who, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (entry, None),
    };
    let bare = who.strip_prefix('[').and_then(|who| who.strip_suffix(']'));
    let who = match network(bare.unwrap_or(who)) {
        Some(who) => who,
        None if bare.is_some() => return None,
        None => named(who)?,
    };
    Some(Rule { who, port })
}

fn named(text: &str) -> Option<Who> {
    if text == "*" {
        return Some(Who::All);
    }
    let name = text.strip_prefix('*').unwrap_or(text);
    let is_suffix = name.starts_with('.');
    if name.len() != text.len() && !is_suffix {
        return None;
    }
    let host = name.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    is_name.then(|| if is_suffix { Who::Below(format!(".{host}")) } else { Who::Host(host) })
}

fn network(text: &str) -> Option<Who> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let (address, is_v4) = bits_of(address.parse().ok()?);
    let width: u32 = if is_v4 { 32 } else { 128 };
    let free = width.checked_sub(length.unwrap_or(width))?;
    let all = if is_v4 { u128::from(u32::MAX) } else { u128::MAX };
    let mask = all & u128::MAX.checked_shl(free).unwrap_or(0);
    Some(Who::Network { bits: address & mask, mask, is_v4 })
}

fn bits_of(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(entries: &[&str], host: &str, port: u16) -> bool {
        NoProxy::parse(entries).unwrap().matches(host, port)
    }

    #[test]
    fn hosts_suffixes_addresses_and_networks_match_what_they_say_and_no_more() {
        assert!(!direct(&[], "localhost", 80));
        assert!(direct(&["*"], "anything.example", 1));
        assert!(direct(&["api.example.com"], "API.example.com.", 443));
        assert!(!direct(&["api.example.com"], "x.api.example.com", 443));
        for suffix in [".example.com", "*.example.com"] {
            assert!(direct(&[suffix], "a.b.example.com", 443));
            assert!(!direct(&[suffix], "example.com", 443));
            assert!(!direct(&[suffix], "badexample.com", 443));
        }
        assert!(direct(&["10.0.0.0/8"], "10.200.3.4", 80));
        assert!(!direct(&["10.0.0.0/8"], "11.0.0.1", 80));
        assert!(!direct(&["10.0.0.0/8"], "10.example.com", 80));
        assert!(direct(&["0.0.0.0/0"], "8.8.8.8", 80));
        assert!(!direct(&["0.0.0.0/0"], "[fd00::1]", 80));
        assert!(direct(&["fd00::/8"], "[fd12::1]", 80));
        assert!(direct(&["::1"], "[::1]", 80));
        assert!(direct(&["127.0.0.1"], "::ffff:127.0.0.1", 80));
    }

    #[test]
    fn a_port_narrows_an_entry() {
        for (entry, host) in [("10.0.0.1:8080", "10.0.0.1"), ("[::1]:8080", "::1"), ("h:8080", "h"), ("*:8080", "any")] {
            assert!(direct(&[entry], host, 8080), "{entry}");
            assert!(!direct(&[entry], host, 8081), "{entry}");
        }
        assert!(direct(&["10.0.0.0/8:443"], "10.1.1.1", 443));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_quotes_it() {
        for entry in ["", "a b", "http://h", "10.0.0.0/33", "h:0", "h:x", "*x", "[h]:1", "."] {
            assert_eq!(NoProxy::parse([entry]), Err(NoProxyError(entry.to_owned())), "{entry}");
        }
    }
}
