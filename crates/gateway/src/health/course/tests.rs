//! Every state against every event, and the promises that follow.

use super::*;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const HELD: [State; 4] = [State::Failing, State::Cooling, State::Exhausted, State::AuthFailed];

fn at(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

/// Waits that are easy to tell apart.
fn bounds() -> HealthBounds {
    let secs = Duration::from_secs;
    HealthBounds {
        rate_wait: secs(1),
        max_rate_wait: secs(8),
        max_told_wait: secs(1_000),
        exhausted_probe: secs(100),
        max_exhausted_probe: secs(400),
        max_told_reset: secs(100_000),
        auth_recheck: secs(30),
        auth_probe: secs(900),
        max_auth_probe: secs(3_600),
        open: secs(10),
        max_open: secs(40),
        failures_to_open: 5,
        unproven_failures_to_open: 3,
        ..HealthBounds::default()
    }
}

fn proven() -> Course {
    let mut course = Course::new();
    assert!(course.accepted(Ticket::open(START), START));
    course
}

/// Held in `state` since the start by a call that began then.
fn held(state: State) -> Course {
    let mut course = proven();
    match state {
        State::Active => {}
        State::Failing => (0..5).for_each(|_| {
            course.failed(Ticket::open(START), at(1), START, &bounds());
        }),
        _ => assert!(course.refused(state, None, Ticket::open(START), START, &bounds())),
    }
    assert_eq!(course.state, state);
    course
}

fn first_wait(state: State) -> u64 {
    match state {
        State::Active => 0,
        State::Failing => 10,
        State::Cooling => 1,
        State::Exhausted => 100,
        State::AuthFailed => 30,
    }
}

/// Takes the probe that is due at `now`.
fn probe(course: &mut Course, now: Timestamp) -> Ticket {
    let ticket = course.admit(false, now).expect("a probe is due");
    assert!(ticket.is_probe());
    ticket
}

#[test]
fn a_new_one_is_open_and_unproven_until_it_is_accepted() {
    let mut course = Course::new();
    assert_eq!((course.door(START), course.is_proven), (Door::Open, false));
    assert!(course.accepted(Ticket::open(START), START), "the first acceptance is news");
    assert!(course.is_proven);
    assert!(!course.accepted(Ticket::open(START), START));
}

#[test]
fn each_refusal_shuts_the_door_for_its_own_time() {
    for state in HELD {
        let course = held(state);
        let until = at(first_wait(state));
        assert_eq!(course.door(START), Door::Shut { until }, "{state:?}");
        assert_eq!(course.door(Timestamp::from_micros(until.micros() - 1)), Door::Shut { until }, "{state:?}");
        assert_eq!(course.door(until), Door::Probe, "{state:?}");
    }
}

#[test]
fn exactly_one_probe_is_let_through_and_its_loss_lets_the_next() {
    for state in HELD {
        let mut course = held(state);
        let due = at(first_wait(state));
        let ticket = probe(&mut course, due);
        assert_eq!(course.admit(false, due), Err(Door::Probing), "{state:?}");
        assert_eq!(course.door(at(1_000_000)), Door::Probing, "however long it takes: {state:?}");
        course.abandoned(ticket);
        let next = probe(&mut course, due);
        course.abandoned(ticket);
        assert_eq!(course.door(due), Door::Probing, "one that is lost twice frees nothing: {state:?}");
        assert!(course.accepted(next, due));
        assert_eq!((course.state, course.door(due), course.run), (State::Active, Door::Open, 0), "{state:?}");
    }
}

#[test]
fn only_a_cooled_one_is_asked_beside_its_probe_and_only_as_a_last_resort() {
    for state in HELD {
        let mut course = held(state);
        let due = at(first_wait(state));
        probe(&mut course, due);
        assert_eq!(course.admit(true, due).is_ok(), state == State::Cooling, "{state:?}");
        let mut shut = held(state);
        assert!(shut.admit(true, START).is_err(), "never before its time: {state:?}");
    }
}

#[test]
fn waits_grow_with_each_refused_probe_up_to_their_cap() {
    for (state, waits) in [
        (State::Failing, [10, 20, 40, 40, 40]),
        (State::Cooling, [1, 2, 4, 8, 8]),
        (State::Exhausted, [100, 200, 400, 400, 400]),
        (State::AuthFailed, [30, 30, 900, 1_800, 3_600]),
    ] {
        let mut course = held(state);
        let mut now = START;
        for wait in waits {
            assert_eq!(course.door(now), Door::Shut { until: now.saturating_add(Duration::from_secs(wait)) }, "{state:?}");
            now = course.until;
            let ticket = probe(&mut course, now);
            assert!(course.refused(state, None, ticket, now, &bounds()));
        }
    }
}

#[test]
fn a_dead_key_is_asked_three_times_before_the_slow_interval() {
    let mut course = Course::new();
    let mut asked = 0;
    let mut now = START;
    while now < at(900) {
        if let Ok(ticket) = course.admit(false, now) {
            asked += 1;
            course.refused(State::AuthFailed, None, ticket, now, &bounds());
        }
        now = now.saturating_add(Duration::from_secs(1));
    }
    assert_eq!(asked, 3);
    // Asked thrice at once, it is out at once.
    let mut course = Course::new();
    (0..20).for_each(|_| {
        course.refused(State::AuthFailed, None, Ticket::open(START), START, &bounds());
    });
    assert_eq!((course.run, course.until), (AUTH_STRIKES, at(900)));
}

#[test]
fn a_vendors_word_on_the_wait_is_kept_and_bounded() {
    for (state, told, wait) in [
        (State::Cooling, 30, 30),
        (State::Cooling, 5_000, 1_000),
        (State::Exhausted, 50_000, 50_000),
        (State::Exhausted, 5_000_000, 100_000),
        // A key that is not accepted is no better for waiting, whatever is said.
        (State::AuthFailed, 1, 30),
    ] {
        let mut course = proven();
        course.refused(state, Some(at(told)), Ticket::open(START), START, &bounds());
        assert_eq!(course.until, at(wait), "{state:?} {told}");
    }
    // Who says too little twice in a row is believed less.
    let mut course = proven();
    course.refused(State::Cooling, Some(START), Ticket::open(START), START, &bounds());
    let ticket = probe(&mut course, START);
    course.refused(State::Cooling, Some(START), ticket, START, &bounds());
    assert_eq!(course.until, at(2));
}

#[test]
fn what_is_held_is_never_shortened_by_calls_that_were_out_already() {
    let mut course = proven();
    let early = Ticket::open(START);
    course.refused(State::Cooling, Some(at(60)), early, START, &bounds());
    for reset in [None, Some(at(5))] {
        assert!(!course.refused(State::Cooling, reset, early, at(1), &bounds()));
    }
    assert_eq!((course.until, course.run), (at(60), 1));
    assert!(!course.accepted(early, at(2)), "an older answer says nothing against it");
    assert!(course.refused(State::Cooling, Some(at(90)), early, at(3), &bounds()), "but a longer wait counts");
    assert_eq!((course.until, course.run), (at(90), 1));
}

#[test]
fn the_heavier_state_wins_unless_a_probe_says_otherwise() {
    for held_as in HELD {
        for said in HELD {
            let mut course = held(held_as);
            course.refused(said, None, Ticket::open(START), START, &bounds());
            let expected = held_as.max(said);
            assert_eq!(course.state, expected, "{held_as:?} then {said:?}");

            let mut course = held(held_as);
            let due = at(first_wait(held_as));
            let ticket = probe(&mut course, due);
            course.refused(said, None, ticket, due, &bounds());
            assert_eq!(course.state, said, "{held_as:?}, its probe {said:?}");
            assert!(matches!(course.door(due), Door::Shut { .. }));
        }
    }
}

#[test]
fn an_answer_to_a_call_from_before_the_recovery_shuts_nothing() {
    let mut course = held(State::Cooling);
    let old = Ticket::open(START);
    let ticket = probe(&mut course, at(5));
    assert!(course.accepted(ticket, at(6)));
    for state in HELD {
        assert!(!course.refused(state, None, old, at(7), &bounds()), "{state:?}");
    }
    assert!(!course.failed(old, at(9), at(7), &bounds()));
    assert_eq!((course.state, course.failures), (State::Active, 0));
}

#[test]
fn failures_shut_only_the_one_that_fails_where_others_work() {
    let fail = |course: &mut Course, answered| course.failed(Ticket::open(START), answered, at(10), &bounds());
    let mut alone = proven();
    assert!((0..50).all(|_| !fail(&mut alone, at(9))), "nobody was answered since: the upstream's circuit is for that");
    let mut liar = proven();
    assert_eq!((0..5).map(|_| fail(&mut liar, at(11))).collect::<Vec<_>>(), [false, false, false, false, true]);
    assert_eq!((liar.state, liar.until), (State::Failing, at(20)));
    let mut new = Course::new();
    assert_eq!((0..3).map(|_| fail(&mut new, at(11))).collect::<Vec<_>>(), [false, false, true]);
    let mut shaky = proven();
    for _ in 0..20 {
        (0..4).for_each(|_| assert!(!fail(&mut shaky, at(11))));
        shaky.accepted(Ticket::open(START), at(11));
    }
}

#[test]
fn a_probe_that_fails_without_a_verdict_keeps_the_state() {
    for state in HELD {
        let mut course = held(state);
        let due = at(first_wait(state));
        let ticket = probe(&mut course, due);
        assert!(course.failed(ticket, due, due, &bounds()));
        assert_eq!(course.state, state);
        assert!(course.until > due, "{state:?}");
    }
}

#[test]
fn a_person_brings_back_whatever_is_held() {
    for state in HELD {
        let mut course = held(state);
        assert!(course.reactivated(at(1)));
        assert_eq!((course.state, course.door(at(1)), course.is_proven), (State::Active, Door::Open, true), "{state:?}");
        assert!(!course.refused(state, None, Ticket::open(START), at(2), &bounds()), "calls from before are old");
    }
    assert!(!proven().reactivated(at(1)));
}

#[test]
fn what_another_replica_says_counts_if_it_is_newer() {
    let word = |state, changed, until| Word { state, changed, until, run: 2 };
    let mut course = proven();
    assert!(course.told(word(State::Cooling, at(5), at(60))));
    assert_eq!((course.state, course.until, course.run), (State::Cooling, at(60), 2));
    assert!(!course.told(word(State::Active, at(4), at(4))), "older");
    assert!(!course.told(course.word()), "its own echo");
    assert!(course.told(word(State::Active, at(6), at(6))));
    assert_eq!(course.door(at(6)), Door::Open);
    let mut new = Course::new();
    assert!(new.told(word(State::Active, at(6), at(6))));
    assert!(new.is_proven, "it works for the others");
}

#[test]
fn states_read_back_from_their_names() {
    for state in State::ALL {
        assert_eq!(State::read(state.as_str()), Some(state));
    }
    assert_eq!(State::read("well"), None);
}
