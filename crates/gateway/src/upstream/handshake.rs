//! What is said to a proxy before it joins the connection to the upstream: CONNECT, and SOCKS version 5.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::proxy::Login;

/// A proxy's answer to CONNECT, at most.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// A proxy's own words in an error, at most.
const MAX_REASON_CHARS: usize = 100;

const SOCKS_VERSION: u8 = 5;
const SOCKS_LOGIN_VERSION: u8 = 1;
const SOCKS_NO_LOGIN: u8 = 0;
const SOCKS_LOGIN: u8 = 2;
const SOCKS_CONNECT: u8 = 1;
const SOCKS_IPV4: u8 = 1;
const SOCKS_NAME: u8 = 3;
const SOCKS_IPV6: u8 = 4;

/// Why a proxy did not join a connection.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be reached, or is not a proxy of the kind it was said to be.
    #[error("{0}")]
    Broken(String),
    /// It wants a login, or another one.
    #[error("{0}")]
    Login(String),
    /// It answered that it does not reach the upstream, or may not: the fault may be on either side of it.
    #[error("{0}")]
    Upstream(String),
}

/// Where the proxy is to connect.
pub enum Destination<'a> {
    Name(&'a str),
    Address(IpAddr),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(format!("it broke the connection off: {error}"))
    }
}

/// Asks an HTTP proxy to connect to `authority` (`host:port`).
pub async fn connect(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    authority: &str,
    login: Option<&Login>,
) -> Result<(), Fault> {
    let mut head = zeroize::Zeroizing::new(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"));
    if let Some(login) = login {
        head.push_str("Proxy-Authorization: ");
        head.push_str(&login.basic());
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    io.write_all(head.as_bytes()).await?;
    io.flush().await?;
    let (head, said_more) = read_head(io).await?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.trim_end().splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status: Option<u16> = words.next().and_then(|status| status.parse().ok());
    let reason: String = words.next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
    match status {
        // The client speaks first in every protocol that runs through here.
        Some(200..=299) if said_more => Err(Fault::Broken("it sent more than an answer to CONNECT".to_owned())),
        Some(200..=299) if version.starts_with("HTTP/1.") => Ok(()),
        // Some answer a wrong password with 401.
        Some(status @ (401 | 407)) => Err(Fault::Login(match login {
            Some(_) => format!("it refuses the user name or password ({status})"),
            None => format!("it wants a user name and password ({status})"),
        })),
        Some(status) if version.starts_with("HTTP/1.") => {
            Err(Fault::Upstream(format!("it answered `{status} {reason}` to CONNECT {authority}")))
        }
        _ => Err(Fault::Broken("it does not speak HTTP".to_owned())),
    }
}

/// Reads to the empty line; whether more came with it.
async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> Result<(Vec<u8>, bool), Fault> {
    let mut head = Vec::with_capacity(256);
    let mut some = [0; 512];
    loop {
        let read = io.read(&mut some).await?;
        if read == 0 {
            return Err(Fault::Broken("it closed the connection instead of answering CONNECT".to_owned()));
        }
        head.extend_from_slice(&some[..read]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let said_more = end + 4 != head.len();
            return Ok((head, said_more));
        }
        if head.len() > MAX_HEAD_BYTES {
            return Err(Fault::Broken(format!("its answer to CONNECT is longer than {MAX_HEAD_BYTES} bytes")));
        }
    }
}

/// RFC 1928, with user name and password by RFC 1929.
pub async fn socks(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    destination: Destination<'_>,
    port: u16,
    login: Option<&Login>,
) -> Result<(), Fault> {
    let offered: &[u8] = match login {
        Some(_) => &[SOCKS_VERSION, 2, SOCKS_NO_LOGIN, SOCKS_LOGIN],
        None => &[SOCKS_VERSION, 1, SOCKS_NO_LOGIN],
    };
    io.write_all(offered).await?;
    let mut chosen = [0; 2];
    io.read_exact(&mut chosen).await?;
    match (chosen, login) {
        ([SOCKS_VERSION, SOCKS_NO_LOGIN], _) => {}
        ([SOCKS_VERSION, SOCKS_LOGIN], Some(login)) => log_in(io, login).await?,
        ([SOCKS_VERSION, _], None) => return Err(Fault::Login("it wants a user name and password".to_owned())),
        ([SOCKS_VERSION, _], Some(_)) => return Err(Fault::Login("it takes no login by user name and password".to_owned())),
        _ => return Err(Fault::Broken("it does not speak SOCKS version 5".to_owned())),
    }
    let mut request = vec![SOCKS_VERSION, SOCKS_CONNECT, 0];
    match destination {
        Destination::Address(IpAddr::V4(address)) => {
            request.push(SOCKS_IPV4);
            request.extend(address.octets());
        }
        Destination::Address(IpAddr::V6(address)) => {
            request.push(SOCKS_IPV6);
            request.extend(address.octets());
        }
        Destination::Name(name) => {
            let length = u8::try_from(name.len()).map_err(|_| Fault::Upstream("the upstream's name is too long".to_owned()))?;
            request.extend([SOCKS_NAME, length]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    io.write_all(&request).await?;
    let mut answer = [0; 4];
    io.read_exact(&mut answer).await?;
    if answer[0] != SOCKS_VERSION {
        return Err(Fault::Broken("it does not speak SOCKS version 5".to_owned()));
    }
    let why = match answer[1] {
        0 => return skip_address(io, answer[3]).await,
        1 => "general failure",
        2 => "its rules do not allow the connection",
        3 => "the network is out of its reach",
        4 => "the host is out of its reach",
        5 => "the connection was refused",
        6 => "the way is too long",
        _ => "an error it does not explain",
    };
    Err(Fault::Upstream(format!("it answered {}: {why}", answer[1])))
}

async fn log_in(io: &mut (impl AsyncRead + AsyncWrite + Unpin), login: &Login) -> Result<(), Fault> {
    let mut message = zeroize::Zeroizing::new(vec![SOCKS_LOGIN_VERSION]);
    for text in [login.user.as_str(), login.password.as_str()] {
        let length = u8::try_from(text.len()).map_err(|_| Fault::Login("the login is too long".to_owned()))?;
        message.push(length);
        message.extend(text.as_bytes());
    }
    io.write_all(&message).await?;
    let mut answer = [0; 2];
    let said = io.read_exact(&mut answer).await;
    // Some close instead of saying no.
    if said.is_err() || answer[1] != 0 {
        return Err(Fault::Login("it refuses the user name or password".to_owned()));
    }
    Ok(())
}

/// The address the proxy connects from, which nobody needs.
async fn skip_address(io: &mut (impl AsyncRead + Unpin), kind: u8) -> Result<(), Fault> {
    let length = match kind {
        SOCKS_IPV4 => 4,
        SOCKS_IPV6 => 16,
        SOCKS_NAME => usize::from(io.read_u8().await?),
        _ => return Err(Fault::Broken("it does not speak SOCKS version 5".to_owned())),
    };
    let mut rest = vec![0; length + 2];
    io.read_exact(&mut rest).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::super::proxy::Proxy;
    use super::*;

    fn login() -> Option<Login> {
        Proxy::parse("http://user:pass@h").unwrap().login
    }

    /// What the proxy was told, and what came of its answer.
    async fn said(answer: &[u8], with_login: bool) -> (String, Result<(), String>) {
        let (mut ours, mut theirs) = duplex(4_096);
        theirs.write_all(answer).await.unwrap();
        let login = login().filter(|_| with_login);
        let result = connect(&mut ours, "api.example:443", login.as_ref()).await;
        drop(ours);
        let mut told = String::new();
        theirs.read_to_string(&mut told).await.unwrap();
        let kind = |fault: Fault| match fault {
            Fault::Broken(why) => format!("broken: {why}"),
            Fault::Login(why) => format!("login: {why}"),
            Fault::Upstream(why) => format!("upstream: {why}"),
        };
        (told, result.map_err(kind))
    }

    #[tokio::test]
    async fn connect_is_said_and_its_answers_are_told_apart() {
        let (told, result) = said(b"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n", true).await;
        assert_eq!(
            told,
            "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
        );
        assert_eq!(result, Ok(()));
        let (told, result) = said(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false).await;
        assert_eq!(told, "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n");
        assert_eq!(result, Err("login: it wants a user name and password (407)".into()));
        let (_, result) = said(b"HTTP/1.1 407 No\r\n\r\n", true).await;
        assert_eq!(result, Err("login: it refuses the user name or password (407)".into()));
        let (_, result) = said(b"HTTP/1.1 401 Unauthorized\r\n\r\n<html>", true).await;
        assert_eq!(result, Err("login: it refuses the user name or password (401)".into()));
        let (_, result) = said(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", false).await;
        assert_eq!(result, Err("upstream: it answered `502 Bad Gateway` to CONNECT api.example:443".into()));
        let (_, result) = said(b"\x05\x00 hello\r\n\r\n", false).await;
        assert_eq!(result, Err("broken: it does not speak HTTP".into()));
        let (_, result) = said(b"HTTP/1.1 200 OK\r\n\r\nmore", false).await;
        assert_eq!(result, Err("broken: it sent more than an answer to CONNECT".into()));
    }

    async fn socks_said(answer: &[u8], with_login: bool, destination: Destination<'_>) -> (Vec<u8>, Result<(), String>) {
        let (mut ours, mut theirs) = duplex(4_096);
        theirs.write_all(answer).await.unwrap();
        let login = login().filter(|_| with_login);
        let result = socks(&mut ours, destination, 443, login.as_ref()).await.map_err(|fault| fault.to_string());
        drop(ours);
        let mut told = Vec::new();
        theirs.read_to_end(&mut told).await.unwrap();
        (told, result)
    }

    #[tokio::test]
    async fn socks_names_and_addresses_with_and_without_a_login() {
        let (told, result) = socks_said(&[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0], false, Destination::Name("h.x")).await;
        assert_eq!((told, result), (b"\x05\x01\x00\x05\x01\x00\x03\x03h.x\x01\xbb".to_vec(), Ok(())));
        let address = Destination::Address([10, 0, 0, 1].into());
        let (told, result) = socks_said(&[5, 2, 1, 0, 5, 0, 0, 3, 2, b'a', b'b', 0, 1], true, address).await;
        assert_eq!(
            (told, result),
            (b"\x05\x02\x00\x02\x01\x04user\x04pass\x05\x01\x00\x01\x0a\x00\x00\x01\x01\xbb".to_vec(), Ok(()))
        );
        let (_, result) = socks_said(&[5, 255], false, Destination::Name("h")).await;
        assert_eq!(result, Err("it wants a user name and password".into()));
        let (_, result) = socks_said(&[5, 2, 1, 1], true, Destination::Name("h")).await;
        assert_eq!(result, Err("it refuses the user name or password".into()));
        let (_, result) = socks_said(&[5, 0, 5, 5, 0, 1], false, Destination::Name("h")).await;
        assert_eq!(result, Err("it answered 5: the connection was refused".into()));
        let (_, result) = socks_said(b"HTTP", false, Destination::Name("h")).await;
        assert_eq!(result, Err("it does not speak SOCKS version 5".into()));
    }
}
