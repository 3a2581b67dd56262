//! The bare proxy: hyper's server and hyper-util's client with nothing between them.

use std::net::SocketAddr;

use anyhow::Result;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// The way to the upstream.
pub type Onward = Client<HttpConnector, Incoming>;

pub async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Onward = Client::builder(TokioExecutor::new()).build(connector);
    let authority: Authority = upstream.to_string().parse()?;
    let host = HeaderValue::from_str(authority.as_str())?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (client, authority, host) = (client.clone(), authority.clone(), host.clone());
        let service = service_fn(move |request| pass(request, client.clone(), authority.clone(), host.clone()));
        // The load counts what it did not get.
        tokio::spawn(http1::Builder::new().pipeline_flush(false).serve_connection(TokioIo::new(socket), service));
    }
}

pub async fn pass(
    mut request: Request<Incoming>,
    client: Onward,
    authority: Authority,
    host: HeaderValue,
) -> Result<Response<Incoming>> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build()?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().remove(CONNECTION);
    let mut response = client.request(request).await?;
    response.headers_mut().remove(CONNECTION);
    response.headers_mut().remove(TRANSFER_ENCODING);
    Ok(response)
}
