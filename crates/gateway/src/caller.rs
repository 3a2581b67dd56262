//! Whom a request comes from: whoever the connection is with, unless that is a proxy of the operator's.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Request};
use tallygate_types::Network;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request as it came, and the address of whom its connection is with.
pub struct Arrived<B> {
    pub request: Request<B>,
    pub peer: IpAddr,
}

/// The right-most address of `x-forwarded-for` that is no trusted proxy's: what stands left of it is only a client's word. A text
/// that is no address ends what can be believed.
pub fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut caller = peer;
    // What a proxy adds it may add to the last line, or as one more.
    let lines: Vec<&str> = headers.get_all(&FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default()).collect();
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = parsed(text.trim()) else { break };
        caller = address;
        if !is_trusted(address) {
            break;
        }
    }
    caller
}

/// `192.0.2.7`, `2001:db8::1`, and what some proxies make of them: `192.0.2.7:1234`, `[2001:db8::1]`, `[2001:db8::1]:1234`.
fn parsed(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, lines: &[&'static str], trusted: &[&str]) -> String {
        let headers = lines.iter().map(|line| (FORWARDED_FOR.clone(), http::HeaderValue::from_static(line)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        let trusted: Vec<Network> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        address(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_saw_itself() {
        let ours = &["10.0.0.0/8", "2001:db8:1::/48"][..];
        for (peer, lines, trusted, expected) in [
            ("198.51.100.1", &["203.0.113.9"][..], &[][..], "198.51.100.1"),
            ("198.51.100.1", &["203.0.113.9"], ours, "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9"], ours, "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], ours, "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"], ours, "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9,10.0.0.2"], ours, "203.0.113.9"),
            ("2001:db8:1::1", &["2001:db8:9::9"], ours, "2001:db8:9::9"),
            // Nothing is told, or all are ours.
            ("10.0.0.1", &[], ours, "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], ours, "10.0.0.3"),
            // What is left of a text that is no address is nobody's word.
            ("10.0.0.1", &["203.0.113.9, unknown"], ours, "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown, 10.0.0.2"], ours, "10.0.0.2"),
            ("10.0.0.1", &[""], ours, "10.0.0.1"),
        ] {
            assert_eq!(caller(peer, lines, trusted), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_address_may_come_with_its_port() {
        for (text, address) in [
            ("203.0.113.9:443", "203.0.113.9"),
            ("[2001:db8::9]:443", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(parsed(text).unwrap().to_string(), address, "{text}");
        }
        assert_eq!(parsed("example.com"), None);
    }
}
