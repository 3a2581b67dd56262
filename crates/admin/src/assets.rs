//! The dashboard's files, from inside the binary.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::problem::Problem;

/// One file of the dashboard.
struct Asset {
    path: &'static str,
    etag: &'static str,
    /// Named after its content.
    immutable: bool,
    bytes: &'static [u8],
    gzip: Option<&'static [u8]>,
}

static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Ask again each time; the ETag makes it cheap.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The file at `path`; for any other path a browser asks for, the page that routes it on the client's side.
pub fn serve(method: &Method, path: &str, headers: &HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return Problem::not_found("route").into_response();
    }
    let wanted = path.trim_start_matches('/');
    let found = find(wanted).or_else(|| if accepts_html(headers) { find("index.html") } else { None });
    let Some(asset) = found else {
        return Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "This listener serves the dashboard and the admin API under /admin/v1. Requests to models go to the other listener.",
        )
        .into_response();
    };
    respond(asset, headers)
}

fn find(path: &str) -> Option<&'static Asset> {
    let path = if path.is_empty() { "index.html" } else { path };
    ASSETS.iter().find(|asset| asset.path == path)
}

fn respond(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let mut response = if header_has(headers, header::IF_NONE_MATCH, asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match asset.gzip.filter(|_| header_has(headers, header::ACCEPT_ENCODING, "gzip")) {
            Some(zipped) => ([(header::CONTENT_ENCODING, "gzip")], Body::from(zipped)).into_response(),
            None => Body::from(asset.bytes).into_response(),
        }
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(asset.path)));
    out.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(header::CACHE_CONTROL, if asset.immutable { IMMUTABLE } else { REVALIDATE });
    response
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// Whether one of the comma-separated values of a header is `wanted`, parameters and a weak mark aside.
fn header_has(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|value| {
        let value = value.split(';').next().unwrap_or("").trim();
        value.strip_prefix("W/").unwrap_or(value) == wanted
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_browser_gets_the_page_for_any_path_and_a_program_an_honest_404() {
        let browser = headers(&[(header::ACCEPT, "text/html,application/xhtml+xml")]);
        let page = serve(&Method::GET, "/tenants/ten_1", &browser);
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let program = serve(&Method::GET, "/v1/models", &headers(&[(header::ACCEPT, "application/json")]));
        assert_eq!(program.status(), StatusCode::NOT_FOUND);
        assert_eq!(program.headers()[header::CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        let first = serve(&Method::GET, "/", &HeaderMap::new());
        let etag = first.headers()[header::ETAG].clone();
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, etag);
        assert_eq!(serve(&Method::GET, "/", &again).status(), StatusCode::NOT_MODIFIED);
    }
}
