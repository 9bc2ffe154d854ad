//! What came back to the request for a captive portal, and what it amounts to: bytes in, a finding out.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Response, Status, parse_chunk_size};
use sluss_policy::{Host, HttpAddress, PortalAnswer, PortalRules};

/// Bytes of an answer that are looked at. What policy expects is far shorter.
const LONGEST: usize = 16 * 1024;
const HEADERS: usize = 64;
/// Bytes of a redirect's target that a person is shown.
const LONGEST_URL: usize = 512;

/// What one link answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub finding: Finding,
    /// What time it is, as whoever answered says, in seconds since 1970. Nobody vouches for it.
    pub date: Option<u64>,
}

/// What an answer amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The server that policy names was reached: nobody is in between.
    Clear,
    /// Somebody else answered. `url`: the page to which browsers are sent, where that is told; its own claim.
    Portal { url: Option<String> },
    /// Nobody could be asked, or nothing came that says either.
    Unreachable(Reason),
}

/// Why nothing was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The server's name has no address here.
    NoAddress,
    /// The link has no way there.
    NoRoute,
    /// The connection was refused, or ended too early.
    Refused,
    /// Nothing came back in time.
    NoAnswer,
    /// What came back is no HTTP.
    NotHttp,
    /// The server, or a proxy, could not serve the request: a status of 400 or more.
    Status(u16),
}

impl From<Reason> for Answer {
    fn from(reason: Reason) -> Self {
        Self {
            finding: Finding::Unreachable(reason),
            date: None,
        }
    }
}

/// An answer on its way: what has come of it, as far as it is looked at.
pub struct Page {
    bytes: Box<[u8]>,
    filled: usize,
    ended: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            bytes: vec![0; LONGEST].into(),
            filled: 0,
            ended: false,
        }
    }
}

impl Page {
    /// Where the next bytes go. Never empty as long as [`judge`] wants more.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// So many bytes were put into [`Page::space`]; none means that nothing more will come.
    pub fn advance(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.bytes.len());
        self.ended |= count == 0;
    }

    fn is_full(&self) -> bool {
        self.filled == self.bytes.len()
    }
}

/// What an answer amounts to, as far as it has come; `None` as long as that depends on what is still to come.
///
/// As in the browsers, a status of 400 or more is a server in trouble and no portal, but for 511 (RFC 6585, 6).
pub fn judge(page: &Page, rules: &PortalRules) -> Option<Answer> {
    // Whoever writes portals is not always careful, and a header that is none says nothing about the others.
    let mut parser = ParserConfig::default();
    parser.ignore_invalid_headers_in_responses(true);
    let is_last = page.ended || page.is_full();
    let mut rest = &page.bytes[..page.filled];
    loop {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut response = Response::new(&mut headers);
        let (length, status) = match (parser.parse_response(&mut response, rest), response.code) {
            (Ok(Status::Complete(length)), Some(status)) => (length, status),
            (Ok(Status::Partial), _) if !is_last => return None,
            _ => return Some(Reason::NotHttp.into()),
        };
        rest = &rest[length..];
        let portal = Finding::Portal { url: None };
        let finding = match (status, &rules.expect) {
            // The answer proper is still to come (RFC 9110, 15.2).
            (100..=199, _) => continue,
            (204, PortalAnswer::NoContent) => Finding::Clear,
            (200, PortalAnswer::Text(text)) => match content(response.headers, rest, page.ended) {
                Some(content) if says(&content, text) => Finding::Clear,
                None if !is_last => return None,
                None if !page.is_full() => Finding::Unreachable(Reason::Refused),
                Some(_) | None => portal,
            },
            (300..=399, _) => Finding::Portal {
                url: header(response.headers, "location")
                    .and_then(|target| shown(target, &rules.probe)),
            },
            (200..=299 | 511, _) => portal,
            (status, _) => Finding::Unreachable(Reason::Status(status)),
        };
        let date = date(response.headers);
        return Some(Answer { finding, date });
    }
}

/// The content of a message, once all of it has come (RFC 9112, 6.3). What cannot be read is empty: nobody expects that.
fn content<'a>(headers: &[Header<'_>], body: &'a [u8], ended: bool) -> Option<Cow<'a, [u8]>> {
    let unreadable = Some(Cow::Borrowed(&[][..]));
    match (
        header(headers, "transfer-encoding"),
        header(headers, "content-length"),
    ) {
        (Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => chunks(body),
        (Some(_), _) => unreadable,
        (None, Some(length)) => match str::from_utf8(length).map(str::parse) {
            Ok(Ok(length)) => body.get(..length).map(Cow::Borrowed),
            _ => unreadable,
        },
        (None, None) => ended.then_some(Cow::Borrowed(body)),
    }
}

/// All chunks put together, once the last of them has come (RFC 9112, 7.1).
fn chunks(mut body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut content = Vec::new();
    loop {
        let (start, length) = match parse_chunk_size(body) {
            Ok(Status::Complete((_, 0))) => return Some(content.into()),
            Ok(Status::Complete((start, length))) => (start, usize::try_from(length).ok()?),
            Ok(Status::Partial) => return None,
            Err(_) => return Some(Cow::Borrowed(&[])),
        };
        let chunk = body.get(start..)?.get(..length)?;
        content.extend_from_slice(chunk);
        body = body[start + length..].strip_prefix(b"\r\n")?;
    }
}

fn says(content: &[u8], text: &str) -> bool {
    str::from_utf8(content).is_ok_and(|content| content.trim() == text)
}

fn header<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h [u8]> {
    let header = headers
        .iter()
        .find(|it| it.name.eq_ignore_ascii_case(name))?;
    Some(header.value.trim_ascii())
}

fn date(headers: &[Header<'_>]) -> Option<u64> {
    let text = str::from_utf8(header(headers, "date")?).ok()?;
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// A redirect's target as text that a person may be shown: an http or https address without control characters, spaces
/// or a user's name, which would make it look like another server's. A path is completed with the probe's own server.
fn shown(target: &[u8], probe: &HttpAddress) -> Option<String> {
    let target = str::from_utf8(target).ok()?;
    let url = match target.starts_with('/') && !target.starts_with("//") {
        true => format!("http://{}{target}", authority(probe)),
        false => target.to_owned(),
    };
    let (scheme, rest) = url.split_once("://")?;
    let server = rest.split(['/', '?', '#']).next()?;
    let is_web = ["http", "https"]
        .iter()
        .any(|it| scheme.eq_ignore_ascii_case(it));
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    let names_a_server = !server.is_empty() && !server.contains(['@', '\\']);
    (is_web && is_plain && names_a_server && url.len() <= LONGEST_URL).then_some(url)
}

/// The server as a URL has it (RFC 3986, 3.2): without the port that HTTP has anyway.
pub(super) fn authority(probe: &HttpAddress) -> String {
    let HttpAddress { host, port, .. } = probe;
    let host = match host {
        Host::Name(name) => name.to_string(),
        Host::Address(IpAddr::V4(address)) => address.to_string(),
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
    };
    match port {
        80 => host,
        port => format!("{host}:{port}"),
    }
}
