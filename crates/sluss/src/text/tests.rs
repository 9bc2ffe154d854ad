//! Which language is chosen, and what both must keep.

use std::collections::HashMap;

use sluss_ipc::{CardFault, Notice, Prompt, PromptId, PromptReason};

use super::*;

fn chosen_by(variables: &[(&str, &str)]) -> &'static str {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    for_locale(|name| variables.get(name).map(OsString::from)).unlocked()
}

const ENGLISH: &str = "The card is unlocked.";
const SWEDISH: &str = "Kortet är upplåst.";

#[test]
fn the_first_locale_variable_that_is_set_decides() {
    assert_eq!(chosen_by(&[]), ENGLISH);
    assert_eq!(chosen_by(&[("LANG", "sv_SE.UTF-8")]), SWEDISH);
    assert_eq!(
        chosen_by(&[("LANG", "sv_SE.UTF-8"), ("LC_ALL", "C.UTF-8")]),
        ENGLISH
    );
    assert_eq!(
        chosen_by(&[("LANG", "en_GB.UTF-8"), ("LC_MESSAGES", "sv_FI")]),
        SWEDISH
    );
    assert_eq!(chosen_by(&[("LC_ALL", ""), ("LANG", "sv")]), SWEDISH);
}

#[test]
fn only_swedish_is_swedish() {
    for locale in ["svc", "se_NO.UTF-8", "C", "POSIX", "de_DE", "\u{1b}", "_sv"] {
        assert_eq!(chosen_by(&[("LANG", locale)]), ENGLISH, "{locale:?}");
    }
    assert_eq!(chosen_by(&[("LANG", "sv@euro")]), SWEDISH);
}

#[test]
fn consent_is_the_whole_word_in_the_language_of_the_question() {
    assert!(English.is_consent("yes") && English.is_consent("YES"));
    assert!(Swedish.is_consent("ja") && Swedish.is_consent("Ja"));
    for answer in ["", "y", "no", "j", "nej", "yes please"] {
        assert!(
            !English.is_consent(answer) && !Swedish.is_consent(answer),
            "{answer:?}"
        );
    }
}

#[test]
fn times_read_as_people_say_them() {
    for (ms, english, swedish) in [
        (0, "0 seconds", "0 sekunder"),
        (1_000, "1 second", "1 sekund"),
        (40_400, "40 seconds", "40 sekunder"),
        (119_000, "119 seconds", "119 sekunder"),
        (180_000, "3 minutes", "3 minuter"),
        (7_200_000, "2 hours", "2 timmar"),
        (172_800_000, "2 days", "2 dygn"),
        (u64::MAX, "213503982334 days", "213503982334 dygn"),
    ] {
        assert_eq!(
            (English.span(ms).as_str(), Swedish.span(ms).as_str()),
            (english, swedish)
        );
    }
}

#[test]
fn amounts_have_the_decimal_mark_of_the_language() {
    for (bytes, english, swedish) in [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1_440, "1.4 kB", "1,4 kB"),
        (150_000_000, "150 MB", "150 MB"),
        (2_500_000_000, "2.5 GB", "2,5 GB"),
    ] {
        assert_eq!(
            (English.bytes(bytes).as_str(), Swedish.bytes(bytes).as_str()),
            (english, swedish)
        );
    }
}

#[test]
fn a_name_from_outside_cannot_command_the_terminal() {
    assert_eq!(
        plain("ACR\u{1b}[2J39\u{9b}U\n\u{7f}"),
        "ACR\u{fffd}[2J39\u{fffd}U\u{fffd}\u{fffd}"
    );
    assert_eq!(plain("Läsare 1"), "Läsare 1");
    assert_eq!(
        plain("moc.\u{202e}evil\u{2066}"),
        "moc.\u{fffd}evil\u{fffd}"
    );
}

/// The Desktop Notifications Specification lets a body be read as markup.
#[test]
fn no_notification_has_markup_or_a_name_in_its_body() {
    let gateway = "<b>vpn</b>\u{1b}".to_owned();
    for text in [&English as &dyn Text, &Swedish] {
        for notice in [
            Notice::Connected {
                gateway: gateway.clone(),
            },
            Notice::Inside,
            Notice::CardPulled,
            Notice::CardMissed,
            Notice::CardUnusable {
                fault: CardFault::OtherCard,
            },
            Notice::CardBlocked,
            Notice::NoCardService,
            Notice::GatewaySilent {
                gateway: gateway.clone(),
            },
            Notice::TunnelFailed,
            Notice::LoginPage,
        ] {
            let (summary, body) = text.notice(&notice);
            assert!(!summary.is_empty() && !body.is_empty(), "{notice:?}");
            assert!(!summary.contains('\u{1b}'), "{summary:?}");
            assert!(!body.contains(['<', '>', '&']), "{body}");
        }
    }
}

#[test]
fn a_prompt_names_card_and_reader_and_no_control_character() {
    let prompt = Prompt {
        id: PromptId(1),
        serial: "0006:12345678".to_owned(),
        reader: "ACS\u{1b}[2J\n00".to_owned(),
        tries_left: None,
        last_try: false,
        pin_pad: false,
        reason: PromptReason::Needed,
    };
    for text in [&English as &dyn Text, &Swedish] {
        for words in [text.prompt(&prompt), text.prompt_on_pad(&prompt)] {
            assert!(words.contains("0006:12345678"), "{words}");
            assert!(words.contains("ACS\u{fffd}[2J\u{fffd}00"), "{words:?}");
        }
    }
}
