//! What callers can rely on, with a watcher and operators made of words.

use super::*;
use crate::{Algorithm, CardKind, HeapVault, KeyMode, Pin};
use std::collections::BTreeSet;

/// A desk, its clock, and what it says in words.
struct Office {
    desk: Desk,
    now: Instant,
}

impl Office {
    fn new() -> Self {
        Self {
            desk: Desk::new(true, keeper()),
            now: Instant::now(),
        }
    }

    /// One card in reader `a`, serving from seat 0.
    fn serving(card: CardInfo) -> Self {
        let mut office = Self::new();
        office.present("a");
        office.looked(0, Ok(card));
        office
    }

    fn handle(&mut self, input: Input) -> Vec<String> {
        let words = |output| match output {
            Output::Tell(event) => event.to_string(),
            Output::Seat { seat, reader } => format!("seat {} at {reader}", seat.0),
            Output::Dismiss { seat } => format!("dismiss {}", seat.0),
            Output::Assign { seat, task, .. } => match task {
                Task::Look => format!("{}: look", seat.0),
                Task::Verify { .. } => format!("{}: verify", seat.0),
                Task::Dh { .. } => format!("{}: dh", seat.0),
                Task::Lock => format!("{}: lock", seat.0),
            },
        };
        self.desk
            .handle(input, self.now)
            .into_iter()
            .map(words)
            .collect()
    }

    fn present(&mut self, reader: &str) -> Vec<String> {
        self.handle(Input::CardPresent {
            reader: reader.into(),
        })
    }

    fn absent(&mut self, reader: &str) -> Vec<String> {
        self.handle(Input::CardAbsent {
            reader: reader.into(),
        })
    }

    fn looked(&mut self, seat: u64, result: Result<CardInfo, Error>) -> Vec<String> {
        self.answered(seat, Answer::Look(result))
    }

    fn answered(&mut self, seat: u64, answer: Answer) -> Vec<String> {
        self.handle(Input::Answered {
            seat: Seat(seat),
            answer,
        })
    }

    fn request(&mut self, op: u64, command: Command) -> Vec<String> {
        let deadline = self.now + Duration::from_secs(2);
        self.handle(Input::Requested {
            op: Op(op),
            command,
            deadline,
        })
    }

    fn dh(&mut self, op: u64) -> Vec<String> {
        self.request(op, Command::Dh { with: [9; 32] })
    }

    fn verify(&mut self, op: u64, serial: &str) -> Vec<String> {
        let pin = Pin::new(b"123456".to_vec().into()).unwrap();
        self.request(
            op,
            Command::Verify {
                serial: serial.into(),
                pin: PinEntry::Typed(pin),
                last_try_consented: false,
            },
        )
    }

    /// Jumps to the desk's own deadline.
    fn wait(&mut self) -> Vec<String> {
        self.now = self.desk.deadline().expect("something to wait for");
        self.handle(Input::DeadlineReached)
    }
}

fn keeper() -> Arc<Keeper> {
    Arc::new(Keeper::new(Box::new(HeapVault::default())))
}

fn card(serial: &str) -> CardInfo {
    let key = serial.bytes().fold(0, u8::wrapping_add);
    CardInfo {
        serial: serial.into(),
        kind: CardKind::OpenPgp,
        mode: KeyMode::Held,
        algorithm: Algorithm::X25519,
        public_key: [key; 32],
        subject: None,
        tries_left: 3,
        ready: false,
        pin_pad: false,
    }
}

fn unlocked(serial: &str) -> CardInfo {
    CardInfo {
        ready: true,
        ..card(serial)
    }
}

fn other_card() -> Error {
    Error::OtherCard { serial: "B".into() }
}

fn secret() -> Answer {
    let secret = SharedSecret::from_answer(&[1; 32]).unwrap();
    Answer::Dh(secret.map(|secret| Agreed {
        secret,
        ready: true,
    }))
}

const NONSENSE: Error = Error::Nonsense {
    step: "jest",
    what: "not funny",
};
const NONE: [&str; 0] = [];

#[test]
fn a_card_is_looked_at_and_then_serves() {
    let mut office = Office::new();
    assert_eq!(office.present("a"), ["seat 0 at a", "0: look"]);
    assert_eq!(
        office.present("a"),
        NONE,
        "a reader's other changes are no new card"
    );
    assert_eq!(office.looked(0, Ok(card("A"))), ["card A inserted in a"]);
    assert_eq!(office.desk.deadline(), None, "nothing to wake up for");
    assert_eq!(office.dh(1), ["0: dh"]);
    assert_eq!(office.answered(0, secret()), ["dh 1: done"]);
    assert_eq!(office.absent("a"), ["dismiss 0", "card removed from a"]);
}

#[test]
fn an_operator_has_one_task_at_a_time() {
    let mut office = Office::serving(unlocked("A"));
    assert_eq!(office.dh(1), ["0: dh"]);
    assert_eq!(office.dh(2), NONE);
    assert_eq!(office.request(3, Command::Lock), NONE);
    assert_eq!(office.answered(0, secret()), ["dh 1: done", "0: dh"]);
    assert_eq!(office.answered(0, secret()), ["dh 2: done", "0: lock"]);
    assert_eq!(office.answered(0, Answer::Lock(Ok(()))), ["lock 3: done"]);
}

#[test]
fn without_a_card_everything_is_answered_at_once() {
    let mut office = Office::new();
    assert_eq!(office.dh(1), ["dh 1: the card is not in the reader"]);
    assert_eq!(
        office.verify(2, "A"),
        ["verify 2: the card is not in the reader"]
    );
    assert_eq!(
        office.request(3, Command::Refresh),
        ["refresh 3: the card is not in the reader"]
    );
    office.present("a");
    assert_eq!(
        office.dh(4),
        ["dh 4: the card is not in the reader"],
        "nor is one that is still looked at"
    );
}

#[test]
fn a_pin_goes_to_no_other_card() {
    let mut office = Office::serving(card("A"));
    assert_eq!(
        office.verify(1, "B"),
        ["verify 1: the card is not in the reader"]
    );
    // typed for A, which is pulled while the operator is busy; B comes in
    office.dh(2);
    assert_eq!(office.verify(3, "A"), NONE);
    let gone = [
        "dismiss 0",
        "card removed from a",
        "dh 2: the card is not in the reader",
        "verify 3: the card is not in the reader",
    ];
    assert_eq!(office.absent("a"), gone);
    office.present("a");
    office.looked(1, Err(other_card()));
    assert_eq!(
        office.answered(0, Answer::Verify(Ok(()))),
        NONE,
        "nobody listens to a dismissed operator"
    );
}

#[test]
fn a_hang_costs_its_request_and_one_operator() {
    let mut office = Office::serving(unlocked("A"));
    office.dh(1);
    assert_eq!(
        office.wait(),
        [
            "dh 1: the card did not answer in time",
            "dismiss 0",
            "seat 1 at a",
            "1: look"
        ]
    );
    assert_eq!(office.dh(2), NONE, "waits for the look");
    assert_eq!(
        office.wait(),
        ["dh 2: the card did not answer in time"],
        "and no third operator"
    );
    assert_eq!(office.answered(0, secret()), NONE, "too late");
    assert_eq!(office.dh(3), NONE);
    assert_eq!(office.looked(1, Ok(unlocked("A"))), ["1: dh"]);
    assert_eq!(office.answered(1, secret()), ["dh 3: done"]);
}

#[test]
fn a_pin_is_not_tried_after_its_time() {
    let mut office = Office::serving(card("A"));
    office.dh(1);
    assert_eq!(office.verify(2, "A"), NONE);
    office.wait();
    assert_eq!(
        office.looked(1, Ok(card("A"))),
        NONE,
        "nothing is left to do"
    );
}

#[test]
fn a_requests_time_runs_while_another_is_served() {
    let mut office = Office::serving(unlocked("A"));
    office.dh(1);
    office.now += Duration::from_secs(1);
    office.dh(2);
    office.now += Duration::from_millis(900);
    assert_eq!(office.answered(0, secret()), ["dh 1: done", "0: dh"]);
    let late = [
        "dh 2: the card did not answer in time",
        "dismiss 0",
        "seat 1 at a",
        "1: look",
    ];
    assert_eq!(office.wait(), late);
}

#[test]
fn losing_the_verified_state_is_told_once() {
    let mut office = Office::serving(unlocked("A"));
    office.dh(1);
    let lost = [
        "dh 1: the card is locked",
        "card in a lost its verified state",
    ];
    assert_eq!(office.answered(0, Answer::Dh(Err(Error::Locked))), lost);
    office.dh(2);
    assert_eq!(
        office.answered(0, Answer::Dh(Err(Error::Locked))),
        ["dh 2: the card is locked"]
    );
    office.verify(3, "A");
    office.answered(0, Answer::Verify(Ok(())));
    // seen by the new operator after a hang
    office.dh(4);
    office.wait();
    assert_eq!(
        office.looked(1, Ok(card("A"))),
        ["card in a lost its verified state"]
    );
}

#[test]
fn what_the_user_does_wrong_casts_no_doubt_on_the_card() {
    let mut office = Office::serving(card("A"));
    for error in [
        Error::WrongPin { left: 2 },
        Error::OneTryLeft,
        Error::Blocked,
        Error::PinLength { min: 6, max: 8 },
    ] {
        office.verify(1, "A");
        let told = format!("verify 1: {error}");
        assert_eq!(office.answered(0, Answer::Verify(Err(error))), [told]);
    }
    office.dh(2);
    let zero = office.answered(0, Answer::Dh(Err(Error::ZeroSecret)));
    assert_eq!(zero, ["dh 2: the card computed an all-zero secret"]);
}

#[test]
fn after_a_strange_error_the_card_is_looked_at_again() {
    let again = |looked| {
        let mut office = Office::serving(unlocked("A"));
        office.dh(1);
        office.dh(2);
        let doubt = office.answered(0, Answer::Dh(Err(NONSENSE)));
        assert_eq!(
            doubt,
            [
                &format!("dh 1: {NONSENSE}"),
                "dismiss 0",
                "seat 1 at a",
                "1: look"
            ]
        );
        office.looked(1, looked)
    };
    assert_eq!(again(Ok(unlocked("A"))), ["1: dh"]);
    assert_eq!(
        again(Ok(card("A"))),
        ["card in a lost its verified state", "1: dh"]
    );
    let useless = [
        "dismiss 1".into(),
        format!("card in a is unusable: {NONSENSE}"),
        format!("dh 2: {NONSENSE}"),
    ];
    assert_eq!(again(Err(NONSENSE)), useless);
    let swapped = [
        "dismiss 1",
        "card removed from a",
        "card in a is unusable: card B is not the one in use",
        "dh 2: card B is not the one in use",
    ];
    assert_eq!(again(Err(other_card())), swapped);
}

#[test]
fn a_card_that_answers_as_if_gone_is_gone_and_looked_for() {
    let mut office = Office::serving(unlocked("A"));
    office.dh(1);
    let gone = [
        "dh 1: the card is not in the reader",
        "dismiss 0",
        "card removed from a",
    ];
    assert_eq!(office.answered(0, Answer::Dh(Err(Error::Gone))), gone);
    // it was a fast pull and re-insertion, which no reader noticed
    assert_eq!(office.wait(), ["seat 1 at a", "1: look"]);
    assert_eq!(
        office.looked(1, Err(Error::Gone)),
        ["dismiss 1"],
        "what is not known to be there is not removed twice"
    );
    assert_eq!(office.wait(), ["seat 2 at a", "2: look"]);
    assert_eq!(office.looked(2, Ok(card("A"))), ["card A inserted in a"]);
    // and a real pull, seen later by the reader
    office.dh(2);
    office.answered(2, Answer::Dh(Err(Error::Gone)));
    assert_eq!(office.absent("a"), NONE);
    assert_eq!(office.desk.deadline(), None);
}

#[test]
fn a_bad_card_is_looked_at_again_for_half_a_minute_and_told_once() {
    let mut office = Office::new();
    office.present("a");
    let start = office.now;
    assert_eq!(
        office.looked(0, Err(NONSENSE)),
        [
            "dismiss 0".into(),
            format!("card in a is unusable: {NONSENSE}")
        ]
    );
    let mut looks = 0;
    while office.desk.deadline().is_some() && looks < 100 {
        looks += 1;
        office.wait();
        assert_eq!(
            office.looked(looks, Err(NONSENSE)),
            [format!("dismiss {looks}")]
        );
    }
    let time = office.now - start;
    assert!(
        (20..60).contains(&time.as_secs()) && looks < 10,
        "{looks} looks in {time:?}"
    );
    assert_eq!(
        office.present("a"),
        NONE,
        "our own coming and going must not start it again"
    );
    office.request(1, Command::Refresh);
    assert_eq!(
        office.looked(looks + 1, Ok(card("A"))),
        ["card A inserted in a"]
    );
}

#[test]
fn a_card_that_cannot_ever_serve_is_left_alone() {
    for reason in [
        Error::NoApplet(CardKind::OpenPgp),
        Error::NoKey,
        Error::Unsupported,
        Error::HashedPin,
    ] {
        let mut office = Office::new();
        office.present("a");
        let told = format!("card in a is unusable: {reason}");
        assert_eq!(office.looked(0, Err(reason)), ["dismiss 0".into(), told]);
        assert_eq!(office.desk.deadline(), None);
        assert_eq!(office.absent("a"), ["card removed from a"]);
    }
}

#[test]
fn a_slow_first_look_is_told_and_waited_for() {
    let mut office = Office::new();
    office.present("a");
    assert_eq!(
        office.wait(),
        ["card in a is unusable: the card did not answer in time"]
    );
    assert_eq!(office.desk.deadline(), None);
    assert_eq!(office.looked(0, Ok(card("A"))), ["card A inserted in a"]);
}

#[test]
fn exclusive_use_ends_when_the_reader_says_that_something_changed() {
    let mut office = Office::new();
    office.present("a");
    let busy = [
        "dismiss 0",
        "card in a is unusable: another program uses the card exclusively",
    ];
    assert_eq!(office.looked(0, Err(Error::Busy)), busy);
    assert_eq!(office.present("a"), ["seat 1 at a", "1: look"]);
    assert_eq!(office.looked(1, Ok(card("A"))), ["card A inserted in a"]);
}

#[test]
fn only_the_bound_card_serves() {
    let unusable = [
        "dismiss 0",
        "card in b is unusable: card B is not the one in use",
    ];
    let mut office = Office::new();
    office.present("b");
    assert_eq!(office.looked(0, Err(other_card())), unusable);
    assert_eq!(office.desk.deadline(), None, "it will not become another");
    office.present("a");
    assert_eq!(office.looked(1, Ok(card("A"))), ["card A inserted in a"]);
}

#[test]
fn without_a_bound_card_none_is_touched() {
    let mut office = Office::new();
    office.desk = Desk::new(false, keeper());
    assert_eq!(
        office.present("a"),
        ["card in a is unusable: this laptop has no card enrolled"]
    );
    assert_eq!(office.desk.deadline(), None);
    assert_eq!(
        office.request(1, Command::Refresh),
        ["refresh 1: the card is not in the reader"]
    );
    assert_eq!(office.absent("a"), ["card removed from a"]);
}

#[test]
fn without_the_service_no_card_is_there() {
    let mut office = Office::serving(card("A"));
    office.present("b");
    office.looked(1, Err(other_card()));
    office.dh(1);
    let lost = office.handle(Input::ServiceLost { reason: NONSENSE });
    let expected = [
        "dismiss 0",
        "card removed from a",
        "dh 1: the card is not in the reader",
        "card removed from b",
        &format!("smart card service lost: {NONSENSE}"),
    ];
    assert_eq!(lost, expected);
    assert_eq!(office.desk.deadline(), None);
}

#[test]
fn a_token_that_nobody_can_pull_outlives_the_service() {
    let mut office = Office::new();
    let place = String::from("t");
    assert_eq!(
        office.handle(Input::TokenPresent { place }),
        ["seat 0 at t", "0: look"]
    );
    office.looked(0, Ok(unlocked("A")));
    office.present("b");
    office.looked(1, Err(other_card()));
    let lost = office.handle(Input::ServiceLost { reason: NONSENSE });
    let expected = [
        "card removed from b",
        &format!("smart card service lost: {NONSENSE}"),
    ];
    assert_eq!(lost, expected);
    assert_eq!(office.dh(1), ["0: dh"]);
}

/// Keeps what an operator would keep that was given its task just now.
fn keep(office: &Office) {
    keep_in(office, office.desk.keeper.era());
}

/// The same in a task of this era, if that lasts.
fn keep_in(office: &Office, era: Era) {
    let keeper = &office.desk.keeper;
    keeper.keep_pin(era, &Pin::new(b"271828".to_vec().into()).unwrap());
    let kept = keeper.keep_key(era, |place| {
        *place = [7; 32];
        Ok(())
    });
    assert_eq!(kept.is_ok(), keeper.era() == era);
}

#[test]
fn an_unwrapped_key_answers_whatever_the_card_is_doing() {
    let mut office = Office::serving(card("A"));
    office.verify(1, "A");
    keep(&office);
    office.answered(0, Answer::Verify(Ok(())));
    assert_eq!(office.dh(2), ["dh 2: done"]);
    // another program resets the card, and holds it
    office.request(3, Command::Refresh);
    assert_eq!(office.dh(4), ["dh 4: done"]);
    office.wait();
    assert_eq!(office.dh(5), ["dh 5: done"], "while it is looked at anew");
}

#[test]
fn an_unwrapped_key_does_not_feel_a_wrong_pin() {
    let mut office = Office::serving(unlocked("A"));
    keep(&office);
    office.verify(1, "A");
    office.answered(0, Answer::Verify(Err(Error::WrongPin { left: 2 })));
    assert_eq!(office.dh(2), ["dh 2: done"]);
    // so that its end is still told when it comes
    office.request(3, Command::Forget);
    office.request(4, Command::Refresh);
    assert_eq!(
        office.answered(0, Answer::Look(Ok(card("A")))),
        ["refresh 4: done", "card in a lost its verified state"]
    );
}

#[test]
fn an_unwrapped_key_does_not_feel_another_programs_exclusive_use() {
    let mut office = Office::serving(unlocked("A"));
    keep(&office);
    office.request(1, Command::Refresh);
    let busy = office.answered(0, Answer::Look(Err(Error::Busy)));
    let told = "refresh 1: another program uses the card exclusively";
    assert_eq!(busy, [told, "dismiss 0", "seat 1 at a", "1: look"]);
    assert_eq!(office.looked(1, Err(Error::Busy)), ["dismiss 1"]);
    assert_eq!(office.dh(2), ["dh 2: done"]);
    // the reader tells that something changed
    assert_eq!(office.present("a"), ["seat 2 at a", "2: look"]);
    assert_eq!(office.looked(2, Ok(unlocked("A"))), NONE);
    assert_eq!(office.request(3, Command::Refresh), ["2: look"]);
    assert_eq!(
        office.absent("a"),
        [
            "dismiss 2",
            "card removed from a",
            "refresh 3: the card is not in the reader"
        ]
    );
    assert!(!office.desk.keeper.has_key());
}

#[test]
fn secrets_are_wiped_when_the_card_leaves_or_cannot_serve_or_the_user_says_so() {
    let leaves: [fn(&mut Office); 6] = [
        |office| drop(office.absent("a")),
        |office| drop(office.handle(Input::ServiceLost { reason: NONSENSE })),
        |office| drop(office.request(1, Command::Lock)),
        |office| drop(office.request(1, Command::Forget)),
        |office| {
            office.request(1, Command::Refresh);
            office.answered(0, Answer::Look(Err(Error::Gone)));
        },
        |office| {
            office.request(1, Command::Refresh);
            office.answered(0, Answer::Look(Err(NONSENSE)));
            office.looked(1, Err(NONSENSE));
        },
    ];
    for leave in leaves {
        let mut office = Office::serving(unlocked("A"));
        keep(&office);
        let before = office.desk.keeper.era();
        leave(&mut office);
        let keeper = &office.desk.keeper;
        assert!(!keeper.has_pin() && !keeper.has_key());
        assert_ne!(keeper.era(), before, "nor is kept what was begun before");
    }
}

#[test]
fn a_sealed_key_that_does_not_open_is_nothing_to_ask_the_user_again_for() {
    let closed = Error::SealedKey(crate::sealed::Error::Closed);
    let mut office = Office::serving(card("A"));
    office.verify(1, "A");
    let told = [
        format!("verify 1: {closed}"),
        "dismiss 0".into(),
        format!("card in a is unusable: {closed}"),
    ];
    assert_eq!(office.answered(0, Answer::Verify(Err(closed))), told);
    assert_eq!(office.desk.deadline(), None);
}

#[test]
fn forgetting_is_answered_at_once_and_leaves_the_card_as_it_is() {
    let mut office = Office::serving(unlocked("A"));
    office.dh(1);
    assert_eq!(office.request(2, Command::Forget), ["forget 2: done"]);
    let mut office = Office::new();
    assert_eq!(office.request(3, Command::Forget), ["forget 3: done"]);
}

#[test]
fn forgetting_ends_middleware_that_may_remember_the_pin() {
    let token = || CardInfo {
        kind: CardKind::Pkcs11,
        ..unlocked("A")
    };
    let mut office = Office::serving(token());
    let told = office.request(1, Command::Forget);
    assert_eq!(
        told,
        ["dismiss 0", "seat 1 at a", "1: look", "forget 1: done"]
    );
    let locked = CardInfo {
        ready: false,
        ..token()
    };
    assert_eq!(
        office.looked(1, Ok(locked)),
        ["card in a lost its verified state"]
    );

    // in the middle of a request
    let mut office = Office::serving(token());
    office.dh(1);
    let told = office.request(2, Command::Forget);
    let locked = "dh 1: the card is locked";
    assert_eq!(
        told,
        [
            locked,
            "dismiss 0",
            "seat 1 at a",
            "1: look",
            "forget 2: done"
        ]
    );
    assert_eq!(office.answered(0, Answer::Dh(Err(Error::Gone))), [""; 0]);
}

#[test]
fn a_kept_pin_that_was_refused_is_told_as_a_loss() {
    for error in [Error::WrongPin { left: 2 }, Error::Blocked, Error::Locked] {
        let mut office = Office::serving(unlocked("A"));
        office.dh(1);
        let told = [
            format!("dh 1: {error}"),
            "card in a lost its verified state".into(),
        ];
        assert_eq!(office.answered(0, Answer::Dh(Err(error))), told);
    }
}

/// Random watchers, operators and callers against the promises of the interface.
#[test]
fn every_request_is_answered_once_and_no_secret_stays_without_its_card() {
    let mut kept = 0;
    for seed in 1..=300_u64 {
        let mut rng = seed;
        let mut below = |limit: u64| {
            // xorshift64
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % limit
        };
        let mut office = Office::new();
        let mut asked = BTreeSet::new();
        let mut shown = BTreeSet::new();
        let mut working: BTreeMap<Seat, (u8, Era)> = BTreeMap::new();
        // dismissed in the middle of something, which may still succeed
        let mut hung: Vec<Era> = Vec::new();
        let mut serving = None;
        for op in 0..300 {
            office.now += Duration::from_millis(below(1500));
            let reader = ["a", "b"][below(2) as usize].to_owned();
            let seat = working.keys().nth(below(4) as usize).copied();
            let input = match below(12) {
                0 => Input::CardPresent { reader },
                1 => Input::CardAbsent { reader },
                2 if below(5) == 0 => Input::ServiceLost { reason: NONSENSE },
                3..=5 => {
                    asked.insert(op);
                    let command = match below(10) {
                        0..2 => Command::Refresh,
                        2 => Command::Lock,
                        3 => Command::Forget,
                        4..7 => Command::Dh { with: [9; 32] },
                        _ => Command::Verify {
                            serial: ["A", "B"][below(2) as usize].into(),
                            pin: PinEntry::Typed(Pin::new(vec![b'1'; 6].into()).unwrap()),
                            last_try_consented: false,
                        },
                    };
                    Input::Requested {
                        op: Op(op),
                        command,
                        deadline: office.now + Duration::from_secs(below(5)),
                    }
                }
                6.. if seat.is_some() => {
                    let seat = seat.unwrap();
                    let error = [
                        Error::Gone,
                        Error::Locked,
                        NONSENSE,
                        Error::Busy,
                        Error::NoKey,
                        Error::Timeout,
                    ]
                    .into_iter()
                    .nth(below(16) as usize);
                    let card = if below(2) == 0 {
                        card(["A", "B"][below(2) as usize])
                    } else {
                        unlocked("A")
                    };
                    let (task, era) = working.remove(&seat).unwrap();
                    if task == b'v' && error.is_none() {
                        keep_in(&office, era);
                    }
                    let answer = match (task, error) {
                        (b'l', Some(error)) => Answer::Look(Err(error)),
                        (b'l', None) => Answer::Look(Ok(card)),
                        (b'v', error) => Answer::Verify(error.map_or(Ok(()), Err)),
                        (b'k', error) => Answer::Lock(error.map_or(Ok(()), Err)),
                        (_, Some(error)) => Answer::Dh(Err(error)),
                        (_, None) => secret(),
                    };
                    Input::Answered { seat, answer }
                }
                _ => Input::DeadlineReached,
            };
            for output in office.desk.handle(input, office.now) {
                let mut answered =
                    |op: Op| assert!(asked.remove(&op.0), "seed {seed}: {} answered twice", op.0);
                match output {
                    Output::Seat { .. } => {}
                    Output::Assign {
                        seat, task, era, ..
                    } => {
                        let kind = match task {
                            Task::Look => b'l',
                            Task::Verify { .. } => b'v',
                            Task::Dh { .. } => b'd',
                            Task::Lock => b'k',
                        };
                        assert!(
                            working.insert(seat, (kind, era)).is_none(),
                            "seed {seed}: two tasks at once"
                        );
                    }
                    Output::Dismiss { seat } => {
                        let task = working.remove(&seat);
                        hung.extend(task.filter(|(task, _)| *task == b'v').map(|(_, era)| era));
                    }
                    Output::Tell(event) => match event {
                        Event::Inserted { reader, .. } => {
                            serving = Some(reader.clone());
                            shown.insert(reader);
                        }
                        Event::Unusable { reader, .. } => {
                            serving.take_if(|serving| *serving == reader);
                            shown.insert(reader);
                        }
                        Event::Removed { reader } => {
                            serving.take_if(|serving| *serving == reader);
                            assert!(
                                shown.remove(&reader),
                                "seed {seed}: removal of a card that nobody was told of"
                            );
                        }
                        Event::Locked { reader } => assert!(
                            shown.contains(&reader),
                            "seed {seed}: lost by a card unheard of"
                        ),
                        Event::ServiceLost { .. } => {
                            assert!(shown.is_empty(), "seed {seed}: {shown:?} left behind")
                        }
                        Event::ServiceFound => {}
                        Event::Verified { op, .. } | Event::Dh { op, .. } => answered(op),
                        Event::Relocked { op, .. } | Event::Refreshed { op, .. } => answered(op),
                        Event::Forgotten { op } => answered(op),
                    },
                }
            }
            if below(4) == 0
                && let Some(era) = hung.pop()
            {
                keep_in(&office, era);
            }
            let keeper = &office.desk.keeper;
            assert!(
                serving.is_some() || !keeper.has_pin() && !keeper.has_key(),
                "seed {seed}: secrets without a card"
            );
            kept += u32::from(keeper.has_key());
            assert!(
                office
                    .desk
                    .deadline()
                    .is_none_or(|deadline| deadline > office.now),
                "seed {seed}: a deadline in the past"
            );
        }
        // all that is still asked runs out
        office.now += Duration::from_secs(60);
        for output in office.desk.handle(Input::DeadlineReached, office.now) {
            if let Output::Tell(
                Event::Verified { op, .. }
                | Event::Dh { op, .. }
                | Event::Relocked { op, .. }
                | Event::Refreshed { op, .. },
            ) = output
            {
                assert!(asked.remove(&op.0), "seed {seed}: {} answered twice", op.0);
            }
        }
        assert!(asked.is_empty(), "seed {seed}: never answered {asked:?}");
    }
    assert!(kept > 1000, "a key was kept in {kept} steps only");
}
