//! Who fits a pattern, and who only would like to.

use super::*;

/// A name as RFC 4514 writes it.
fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn fits(pattern: &str, subject: &str) -> bool {
    pattern.parse::<Pattern>().unwrap().matches(&name(subject))
}

const ANNA: &str = "CN=Anna Ek,OU=Skolan,O=Exempel kommun,C=SE";

#[test]
fn a_pattern_fits_those_it_is_meant_for() {
    for pattern in [
        "*",
        ANNA,
        "*,O=Exempel kommun,C=SE",
        "CN=*,*,C=SE",
        "CN=Anna*,OU=*,O=*kommun,C=SE",
        "*,OU=S*l*n,*",
        "cn=Anna Ek, ou=Skolan, o=Exempel kommun, c=SE",
        "*,2.5.4.10=Exempel kommun,C=SE",
        "*,*,CN=*,*,*",
    ] {
        assert!(fits(pattern, ANNA), "{pattern}");
    }
}

#[test]
fn a_pattern_fits_nobody_else() {
    for pattern in [
        "",
        "CN=Anna Ek",
        "*,O=Exempel kommun",
        "O=Exempel kommun,*",
        "*,O=exempel kommun,C=SE",
        "*,O=Exempel,C=SE",
        "C=SE,*",
        "*,OU=*,OU=*,*",
        "CN=Anna*na Ek,*",
        "CN=Anna Ek+OU=Skolan,O=Exempel kommun,C=SE",
    ] {
        assert!(
            pattern.parse::<Pattern>().is_err() || !fits(pattern, ANNA),
            "{pattern}"
        );
    }
}

#[test]
fn no_name_that_a_person_chose_passes_for_an_organisation() {
    let pattern = "*,O=Exempel kommun,C=SE";
    for forged in [
        r"CN=x\,O=Exempel kommun\,C=SE",
        r"CN=x\,O=Exempel kommun,C=SE",
        r"CN=x,O=Annan\,O=Exempel kommun,C=SE",
        "CN=x+O=Exempel kommun,C=SE",
        "CN=O=Exempel kommun,C=SE",
        "O=Exempel kommun,C=SE,CN=x",
    ] {
        assert!(!fits(pattern, forged), "{forged}");
    }
    assert!(!fits(
        "CN=*,O=Exempel kommun,C=SE",
        "CN=a,CN=b,O=Exempel kommun,C=SE"
    ));
}

#[test]
fn what_is_special_can_be_meant_itself() {
    assert!(fits(r"CN=Ek\, Anna,*", r"CN=Ek\, Anna,C=SE"));
    assert!(fits(r"CN=\*,C=SE", "CN=*,C=SE"));
    assert!(!fits(r"CN=\*,C=SE", "CN=Anna,C=SE"));
    assert!(fits(r"CN=a\\b\+c,C=SE", r"CN=a\\b\+c,C=SE"));
}

#[test]
fn a_part_of_several_attributes_is_fitted_as_a_whole() {
    let subject = "CN=Anna+serialNumber=42,C=SE";
    assert!(fits("serialNumber=4*+CN=Anna,C=SE", subject));
    assert!(!fits("CN=Anna,C=SE", subject));
    assert!(!fits("CN=Anna+CN=Anna,C=SE", subject));
}

#[test]
fn a_wrong_pattern_is_explained() {
    let bad = |text: &str| text.parse::<Pattern>().unwrap_err();
    assert_eq!(
        bad("*,kommun,C=SE"),
        BadPattern::NoAttribute {
            part: "kommun".to_owned()
        }
    );
    assert_eq!(
        bad("*,,C=SE"),
        BadPattern::NoAttribute {
            part: String::new()
        }
    );
    assert_eq!(
        bad("organization=x"),
        BadPattern::UnknownType {
            name: "organization".to_owned()
        }
    );
    assert_eq!(bad(r"CN=x\"), BadPattern::LooseBackslash);
}

#[test]
fn the_older_encodings_of_text_are_read() {
    let value = |tag, bytes: &[u8]| text(&Any::new(tag, bytes).unwrap());
    assert_eq!(
        value(Tag::Utf8String, "Åsa".as_bytes()).as_deref(),
        Some("Åsa")
    );
    assert_eq!(value(Tag::TeletexString, b"\xc5sa").as_deref(), Some("Åsa"));
    assert_eq!(
        value(Tag::BmpString, b"\x00\xc5\x00s\x00a").as_deref(),
        Some("Åsa")
    );
    assert_eq!(value(Tag::BmpString, b"\x00\xc5\x00"), None);
    assert_eq!(value(Tag::Utf8String, b"\xff"), None);
    assert_eq!(value(Tag::Integer, b"1"), None);
}

/// A pattern of stars against a name of many parts is over at once.
#[test]
fn no_name_takes_long() {
    let pattern = "CN=*a*,*,".repeat(60) + "C=XX";
    let subject = "CN=aaaaaaaa,".repeat(400) + "C=SE";
    assert!(!fits(&pattern, &subject));
}
