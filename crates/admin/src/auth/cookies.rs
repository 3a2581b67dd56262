//! The two cookies of a session. `__Host-` makes browsers insist on `Secure`, `Path=/` and no `Domain`.

use http::{HeaderMap, HeaderValue, header};

use crate::problem::{Problem, Result};

/// Carries the access token.
pub const SESSION_COOKIE: &str = "__Host-tg_session";
/// Carries the refresh token.
pub const REFRESH_COOKIE: &str = "__Host-tg_refresh";

/// The value of a cookie the request carries.
pub fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

/// Whether the request carries either cookie.
pub fn any(headers: &HeaderMap) -> bool {
    read(headers, SESSION_COOKIE).is_some() || read(headers, REFRESH_COOKIE).is_some()
}

/// Sets the access token's cookie for that many seconds.
pub fn set_access(headers: &mut HeaderMap, token: &str, max_age_seconds: i64) -> Result<()> {
    headers.append(header::SET_COOKIE, cookie(SESSION_COOKIE, token, max_age_seconds)?);
    Ok(())
}

/// Sets the refresh token's cookie for that many seconds.
pub fn set_refresh(headers: &mut HeaderMap, token: &str, max_age_seconds: i64) -> Result<()> {
    headers.append(header::SET_COOKIE, cookie(REFRESH_COOKIE, token, max_age_seconds)?);
    Ok(())
}

/// Takes both cookies away.
pub fn clear(headers: &mut HeaderMap) -> Result<()> {
    for name in [SESSION_COOKIE, REFRESH_COOKIE] {
        headers.append(header::SET_COOKIE, cookie(name, "", 0)?);
    }
    Ok(())
}

fn cookie(name: &str, value: &str, max_age_seconds: i64) -> Result<HeaderValue> {
    let text = format!("{name}={value}; Max-Age={}; Path=/; Secure; HttpOnly; SameSite=Strict", max_age_seconds.max(0));
    HeaderValue::from_str(&text).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_set_with_every_attribute() {
        let mut request = HeaderMap::new();
        request.insert(header::COOKIE, HeaderValue::from_static("a=1; __Host-tg_session=x.y.z; b=2"));
        assert_eq!(read(&request, SESSION_COOKIE), Some("x.y.z"));
        assert_eq!(read(&request, REFRESH_COOKIE), None);
        let mut answer = HeaderMap::new();
        set_access(&mut answer, "t", 600).unwrap();
        set_refresh(&mut answer, "r", 1800).unwrap();
        let lines: Vec<_> = answer.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(
            lines,
            [
                "__Host-tg_session=t; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Strict",
                "__Host-tg_refresh=r; Max-Age=1800; Path=/; Secure; HttpOnly; SameSite=Strict"
            ]
        );
    }
}
