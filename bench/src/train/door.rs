//! A door with TLS before the simulated providers: most upstreams are reached by it, and many by HTTP/2.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use http::Version;
use http::uri::Authority;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::proxy;

/// What is spoken behind a door; the client takes what is offered.
#[derive(Debug, Clone, Copy)]
pub enum Spoken {
    Http1,
    Http2,
}

/// A certificate for the loopback that is its own authority.
pub struct Certificate {
    pub file: PathBuf,
    key: PathBuf,
}

impl Certificate {
    pub fn make(folder: &Path) -> Result<Self> {
        let (file, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .args([&key, Path::new("-out"), &file])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("the training needs `openssl`")?;
        ensure!(made.success(), "openssl made no certificate");
        Ok(Self { file, key })
    }

    fn acceptor(&self, spoken: Spoken) -> Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from_pem_file(&self.file)?], PrivateKeyDer::from_pem_file(&self.key)?)?;
        config.alpn_protocols = vec![match spoken {
            Spoken::Http1 => b"http/1.1".to_vec(),
            Spoken::Http2 => b"h2".to_vec(),
        }];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Opens a door; it stands open as long as the runtime lives.
pub async fn open(certificate: &Certificate, spoken: Spoken, upstream: SocketAddr) -> Result<SocketAddr> {
    let acceptor = certificate.acceptor(spoken)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let client: proxy::Onward = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let authority: Authority = upstream.to_string().parse()?;
    let host = HeaderValue::from_str(authority.as_str())?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, client, authority, host) = (acceptor.clone(), client.clone(), authority.clone(), host.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                // The providers speak nothing else.
                *request.version_mut() = Version::HTTP_11;
                proxy::pass(request, client.clone(), authority.clone(), host.clone())
            });
            // What breaks off is missed by whoever asked.
            tokio::spawn(async move {
                socket.set_nodelay(true)?;
                let socket = TokioIo::new(acceptor.accept(socket).await?);
                auto::Builder::new(TokioExecutor::new()).serve_connection(socket, service).await.map_err(anyhow::Error::msg)
            });
        }
    });
    Ok(address)
}
