//! What answers amount to: those of portals and servers as they are seen, and some that nobody should send.

use sluss_policy::PortalAnswer as Expected;

use super::answer::judge;
use super::*;

#[test]
fn the_request_says_nothing_about_the_laptop() {
    for (probe, host, path) in [
        ("http://192.0.2.80/", "192.0.2.80", "/"),
        (
            "http://probe.example.se:8080/portal?a=b",
            "probe.example.se:8080",
            "/portal?a=b",
        ),
        ("http://[2001:db8::80]/x", "[2001:db8::80]", "/x"),
    ] {
        let expected = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(request(&probe.parse().unwrap()), expected);
    }
}

#[test]
fn the_expected_answer_is_the_only_clear_one() {
    let no_content = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(whole(&nothing(), no_content), Some(Finding::Clear));
    assert_eq!(whole(&text("inside out"), no_content), Some(PORTAL));
    for right in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ninside out",
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ninside out\r\nand what is behind it",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n  inside out\n",
        "HTTP/1.0 200 OK\r\n\r\ninside out",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n7\r\ninside \r\n3;x=y\r\nout\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ninside out",
    ] {
        assert_eq!(
            whole(&text("inside out"), right),
            Some(Finding::Clear),
            "{right}"
        );
        assert_eq!(whole(&nothing(), right), Some(PORTAL), "{right}");
    }
    for wrong in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ninside out",
        "HTTP/1.1 200 OK\r\n\r\n<html>inside out</html>",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\ninside out",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ninside out",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\ninside out",
        "HTTP/1.1 203 Changed\r\nContent-Length: 10\r\n\r\ninside out",
        "HTTP/1.1 511 Network Authentication Required\r\n\r\ninside out",
    ] {
        assert_eq!(whole(&text("inside out"), wrong), Some(PORTAL), "{wrong}");
    }
}

#[test]
fn an_answer_may_come_in_any_pieces() {
    let rules = text("inside out");
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ninside out",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ninside\r\n4\r\n out\r\n0\r\n",
    ] {
        let mut page = Page::default();
        let (last, others) = answer.as_bytes().split_last().unwrap();
        for byte in others {
            put(&mut page, &[*byte]);
            assert_eq!(judge(&page, &rules), None);
        }
        put(&mut page, &[*last]);
        assert_eq!(judge(&page, &rules).unwrap().finding, Finding::Clear);
    }
}

#[test]
fn a_redirect_is_a_portal_and_its_target_is_for_reading() {
    let to = |target: &str| {
        whole(
            &nothing(),
            &format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n"),
        )
    };
    for target in [
        "http://login.hotel.example/?from=10.20.7.2",
        "https://192.0.2.1:8443/start",
        "HTTPS://[2001:db8::1]/",
    ] {
        let url = Some(target.to_owned());
        assert_eq!(to(target), Some(Finding::Portal { url }));
    }
    let url = Some("http://192.0.2.80/login".to_owned());
    assert_eq!(to("/login"), Some(Finding::Portal { url }));
    for target in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//evil.example/",
        "login.html",
        "http://",
        "http:///path",
        "http://bank.example@evil.example/",
        "http://bank.example\\@evil.example/",
        "http://hotel.example/\u{1b}[2J",
        "http://hotel.example/a b",
        "http://hötel.example/",
        "",
        &format!("http://hotel.example/{}", "a".repeat(500)),
    ] {
        assert_eq!(to(target), Some(PORTAL), "{target}");
    }
    assert_eq!(
        whole(&nothing(), "HTTP/1.1 302 Found\r\n\r\n"),
        Some(PORTAL)
    );
}

#[test]
fn a_server_in_trouble_is_no_portal() {
    for status in [400, 403, 404, 407, 500, 502, 503] {
        let answer = format!("HTTP/1.1 {status} Sorry\r\n\r\ninside out");
        let expected = Finding::Unreachable(Reason::Status(status));
        assert_eq!(whole(&text("inside out"), &answer), Some(expected));
    }
}

#[test]
fn what_is_no_answer_is_none() {
    for noise in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200",
        "\r\n\r\n",
        "\0",
    ] {
        assert_eq!(
            whole(&nothing(), noise),
            Some(Finding::Unreachable(Reason::NotHttp)),
            "{noise:?}"
        );
    }
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ninsi";
    assert_eq!(
        whole(&text("inside out"), cut),
        Some(Finding::Unreachable(Reason::Refused))
    );
}

#[test]
fn endless_answers_end() {
    for (rules, start, more, finding) in [
        (
            nothing(),
            "HTTP/1.1 200 OK\r\n",
            "X: y\r\n",
            Finding::Unreachable(Reason::NotHttp),
        ),
        (
            nothing(),
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            Finding::Unreachable(Reason::NotHttp),
        ),
        (
            text("inside out"),
            "HTTP/1.1 200 OK\r\n\r\n",
            "inside out",
            PORTAL,
        ),
        (
            text("inside out"),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\na\r\n",
            PORTAL,
        ),
    ] {
        let mut page = Page::default();
        put(&mut page, start.as_bytes());
        let answer = loop {
            assert!(!page.space().is_empty(), "wants more than it looks at");
            put(&mut page, more.as_bytes());
            if let Some(answer) = judge(&page, &rules) {
                break answer;
            }
        };
        assert_eq!(answer.finding, finding, "{more:?}");
    }
}

#[test]
fn the_date_is_read_where_it_is_one() {
    let date = |date: &str| {
        let answer = format!("HTTP/1.1 204 No Content\r\nDate: {date}\r\n\r\n");
        read(&nothing(), &answer).unwrap().date
    };
    // RFC 9110, 5.6.7 has this day in its three forms.
    for day in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ] {
        assert_eq!(date(day), Some(784_111_777), "{day}");
    }
    assert_eq!(date("yesterday"), None);
}

const PORTAL: Finding = Finding::Portal { url: None };

fn nothing() -> PortalRules {
    PortalRules {
        probe: "http://192.0.2.80/".parse().unwrap(),
        expect: Expected::NoContent,
        open: true,
    }
}

fn text(text: &str) -> PortalRules {
    PortalRules {
        expect: Expected::Text(text.to_owned()),
        ..nothing()
    }
}

fn whole(rules: &PortalRules, answer: &str) -> Option<Finding> {
    Some(read(rules, answer)?.finding)
}

/// An answer that comes in one piece and ends.
fn read(rules: &PortalRules, answer: &str) -> Option<Answer> {
    let mut page = Page::default();
    put(&mut page, answer.as_bytes());
    page.advance(0);
    judge(&page, rules)
}

fn put(page: &mut Page, bytes: &[u8]) {
    let space = page.space();
    let count = bytes.len().min(space.len());
    space[..count].copy_from_slice(&bytes[..count]);
    page.advance(count);
}
