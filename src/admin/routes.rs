//! Finds the response to a request.

use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use parking_lot::Mutex;

use crate::core::report::pieces::Pieces;
use crate::sys::pace::Pace;

use super::body::ResponseBody;
use super::dashboard::{self, PageContents, history::History};
use super::progress::ConnectionProgress;
use super::source::ReportSource;
use super::{host, metrics, percent};

/// Pages may not load or run anything, except the dashboard its own parts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The headers of every response.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// A response.
struct Found {
    status: StatusCode,
    kind: &'static str,
    content: ResponseContent,
}

/// What a response contains.
enum ResponseContent {
    Text(String),
    /// Of a document, made at the pace of documents.
    Pieces(Pieces),
    /// Of metrics.
    Scrape(Pieces),
}

impl Found {
    fn here(kind: &'static str, text: impl Into<String>) -> Self {
        Found { status: StatusCode::OK, kind, content: ResponseContent::Text(text.into()) }
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Found {
    Found { status, ..Found::here(TEXT, text) }
}

/// What responses are made of, for all connections.
pub(super) struct AdminContext<S> {
    pub(super) source: Arc<S>,
    pub(super) history: Arc<Mutex<History>>,
    pub(super) pace: Arc<Pace>,
    pub(super) scrape_pace: Arc<Pace>,
}

/// Responds to `request`; `loopback` if it came over a loopback address.
pub(super) fn answer<B>(
    context: &AdminContext<impl ReportSource>,
    request: &Request<B>,
    loopback: bool,
    progress: ConnectionProgress,
) -> Response<ResponseBody> {
    let head_only = request.method() == Method::HEAD;
    let found = if is_without_host(request) {
        text(StatusCode::BAD_REQUEST, "The request names no host.\n")
    } else if loopback && names_another_host(request) {
        text(StatusCode::MISDIRECTED_REQUEST, "The request names another host.\n")
    } else if !head_only && request.method() != Method::GET {
        text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.\n")
    } else {
        find(&context.source, &context.history, request.uri(), request.headers())
    };
    let not_allowed = found.status == StatusCode::METHOD_NOT_ALLOWED;
    let body = match found.content {
        _ if head_only => ResponseBody::ready(String::new(), progress),
        ResponseContent::Text(text) => ResponseBody::ready(text, progress),
        ResponseContent::Pieces(pieces) => ResponseBody::new(pieces, &context.pace, progress),
        ResponseContent::Scrape(pieces) => ResponseBody::new(pieces, &context.scrape_pace, progress),
    };
    let mut response = Response::new(body);
    *response.status_mut() = found.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(found.kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if not_allowed {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// HTTP/1.1 requires a Host header; HTTP/1.0 has none.
fn is_without_host<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST)
}

/// Whether a Host header, or the target of the request, names another host than this one.
fn names_another_host<B>(request: &Request<B>) -> bool {
    let named = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(Authority::as_str);
    named.chain(target).any(|host| !host::is_own(host))
}

/// Makes the contents of the dashboard when it is their turn.
fn contents<S: ReportSource>(source: &Arc<S>) -> impl FnOnce() -> PageContents + Send + use<S> {
    let source = Arc::clone(source);
    move || source.contents()
}

fn find(
    source: &Arc<impl ReportSource>,
    history: &Arc<Mutex<History>>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Found {
    let Some(path) = percent::decoded(uri.path()) else {
        return text(StatusCode::BAD_REQUEST, "The path is wrongly encoded.\n");
    };
    let document = path.strip_prefix("/api/v1/").and_then(|name| source.document(name));
    if let Some(pieces) = document {
        return Found { status: StatusCode::OK, kind: JSON, content: ResponseContent::Pieces(pieces) };
    }
    match &*path {
        "/metrics" => {
            let accepted: Vec<_> =
                headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
            let (kind, pieces) = metrics::pieces(source.measurements(), source, &accepted.join(","));
            Found { status: StatusCode::OK, kind, content: ResponseContent::Scrape(pieces) }
        }
        "/" => {
            let pieces = dashboard::page(contents(source), source, history);
            Found { status: StatusCode::OK, kind: HTML, content: ResponseContent::Pieces(pieces) }
        }
        "/dashboard/data" => {
            let known = uri.query().and_then(|query| query.strip_prefix("points=")?.parse().ok());
            let pieces = dashboard::data(contents(source), source, history, known);
            Found { status: StatusCode::OK, kind: JSON, content: ResponseContent::Pieces(pieces) }
        }
        "/dashboard.css" => Found::here("text/css; charset=utf-8", dashboard::STYLE),
        "/dashboard.js" => Found::here("text/javascript; charset=utf-8", dashboard::SCRIPT),
        "/dashboard.svg" => Found::here("image/svg+xml", dashboard::ICON),
        "/health" if source.can_serve() => text(StatusCode::OK, "ok\n"),
        "/health" => text(StatusCode::SERVICE_UNAVAILABLE, "no server can serve new clients\n"),
        _ => text(
            StatusCode::NOT_FOUND,
            "There is nothing here; see /, /metrics, /health and /api/v1/version.\n",
        ),
    }
}
