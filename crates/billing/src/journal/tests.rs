use std::fs::{self, OpenOptions};

use tallygate_types::{Pico, Usage, UsageClass};

use super::frame::tests::{json, of_version, packed};
use super::writer::Unsynced;
use super::*;
use crate::record::{Outcome, UsageSource};
use crate::testing;

/// No sync of its own within a test.
fn config() -> JournalConfig {
    JournalConfig::default()
}

fn segments(dir: &Path) -> Vec<u64> {
    segment::list(dir).unwrap()
}

fn all(journal: &Journal) -> Vec<UsageRecord> {
    journal.read(Position::default(), usize::MAX).unwrap().records
}

#[test]
fn what_was_written_is_read_back_in_order_by_this_process_and_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..5).map(testing::record).collect();
    let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
    assert_eq!((recovery.segments, recovery.finished), (0, 0));
    for record in &records {
        journal.begin(&testing::begin_of(record)).unwrap();
        journal.end(record).unwrap();
    }
    assert_eq!((all(&journal), journal.pending(), journal.open_calls()), (records.clone(), 5, 0));
    let node = journal.node().to_owned();
    drop(journal);
    let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
    assert_eq!((recovery.segments, recovery.finished, recovery.settled.len()), (1, 5, 0));
    assert_eq!((all(&journal), journal.pending()), (records, 5));
    assert_eq!(journal.node(), node);
}

#[test]
fn a_journal_whose_segments_were_removed_is_another_journal() {
    let dir = tempfile::tempdir().unwrap();
    let node = |dir: &Path| Journal::open(dir, config()).unwrap().0.node().to_owned();
    let before = node(dir.path());
    assert_eq!(node(dir.path()), before);
    for sequence in segments(dir.path()) {
        segment::remove(dir.path(), sequence).unwrap();
    }
    assert_ne!(node(dir.path()), before);
}

#[test]
fn a_directory_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, _) = Journal::open(dir.path(), config()).unwrap();
    assert!(matches!(Journal::open(dir.path(), config()), Err(JournalError::Locked { .. })));
}

#[test]
fn a_call_in_flight_is_settled_from_its_last_checkpoint_once() {
    let dir = tempfile::tempdir().unwrap();
    let begin = testing::begin(1, 1_000, Pico::new(10_000_000_000));
    {
        let (journal, _) = Journal::open(dir.path(), config()).unwrap();
        journal.begin(&begin).unwrap();
        journal.checkpoint(begin.request_id, 10);
        journal.checkpoint(begin.request_id, 40);
    }
    let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
    let [settled] = recovery.settled.as_slice() else { panic!("{recovery:?}") };
    assert_eq!(settled.request_id, begin.request_id);
    assert_eq!((settled.outcome, settled.usage_source), (Outcome::Crash, UsageSource::Crash));
    assert_eq!(settled.usage, Usage::default().with(UsageClass::InputUncached, 1_000).with(UsageClass::OutputText, 40));
    assert_eq!(settled.charge, Pico::new(1_000 * testing::INPUT_PICO + 40 * testing::OUTPUT_PICO));
    assert_eq!(all(&journal), recovery.settled);
    drop(journal);
    let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
    assert_eq!((recovery.finished, recovery.settled.len(), journal.pending()), (1, 0, 1));
}

#[test]
fn a_crash_never_charges_above_the_reservation() {
    let reserved = Pico::new(1_000 * testing::INPUT_PICO + 3 * testing::OUTPUT_PICO);
    let settled = testing::begin(1, 1_000, reserved).settle_crash(500, Timestamp::UNIX_EPOCH);
    assert_eq!(settled.charge, reserved);
    assert_eq!(settled.usage.get(UsageClass::OutputText), 3);
}

#[test]
fn cut_anywhere_the_journal_opens_with_every_record_before_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..3).map(testing::record).collect();
    let mut ends = vec![0];
    {
        let (journal, _) = Journal::open(dir.path(), config()).unwrap();
        for record in &records {
            journal.end(record).unwrap();
            ends.push(journal.bytes() as usize);
        }
    }
    let whole = fs::read(segment::path(dir.path(), 1)).unwrap();
    // Every header byte of the last record and a sample of the rest: each cut costs a sync. The frame's own test cuts at all.
    let last = ends[2]..ends[2] + frame::HEADER_BYTES + 2;
    for cut in (0..=whole.len()).step_by(29).chain(last).chain(ends.clone()).chain([whole.len() - 1]) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(segment::path(dir.path(), 1), &whole[..cut]).unwrap();
        let recovery = recovery::recover(dir.path(), &[1]).unwrap();
        let expected = ends.iter().filter(|&&end| end > 0 && end <= cut).count();
        let boundary = ends[expected];
        assert_eq!(recovery.finished, expected as u64, "cut {cut}");
        assert_eq!(recovery.torn.map(|torn| torn.bytes), (cut > boundary).then_some((cut - boundary) as u64), "cut {cut}");
        assert_eq!(segment::length(dir.path(), 1).unwrap(), boundary as u64, "cut {cut}");
        assert!(recovery.quarantined.is_empty(), "cut {cut}");
    }
}

#[test]
fn damage_in_the_middle_costs_one_record_and_is_kept_for_inspection() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..3).map(testing::record).collect();
    let mut ends = vec![0];
    {
        let (journal, _) = Journal::open(dir.path(), config()).unwrap();
        for record in &records {
            journal.end(record).unwrap();
            ends.push(journal.bytes() as usize);
        }
    }
    let whole = fs::read(segment::path(dir.path(), 1)).unwrap();
    // Every seventh byte is coprime to the header's layout and keeps the test short.
    for at in (ends[1]..ends[2]).step_by(7) {
        let dir = tempfile::tempdir().unwrap();
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(segment::path(dir.path(), 1), &damaged).unwrap();
        let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
        assert_eq!(all(&journal), [records[0].clone(), records[2].clone()], "byte {at}");
        let [damage] = recovery.quarantined.as_slice() else { panic!("byte {at}: {recovery:?}") };
        assert_eq!((damage.offset, damage.bytes), (ends[1] as u64, (ends[2] - ends[1]) as u64));
        assert_eq!(fs::read(damage.copy.as_ref().unwrap()).unwrap(), damaged[ends[1]..ends[2]]);
    }
}

#[test]
fn segments_are_bounded_and_go_when_all_of_them_is_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig { segment_bytes: 2_048, ..config() }).unwrap();
    let records: Vec<_> = (0..20).map(testing::record).collect();
    for record in &records {
        journal.begin(&testing::begin_of(record)).unwrap();
        journal.end(record).unwrap();
    }
    let before = segments(dir.path());
    assert!(before.len() > 5, "{before:?}");
    for sequence in &before {
        assert!(segment::length(dir.path(), *sequence).unwrap() <= 2_048);
    }
    let first = journal.read(Position::default(), 10).unwrap();
    assert_eq!(first.records, records[..10]);
    journal.shipped(first.next, 10).unwrap();
    assert_eq!(journal.pending(), 10);
    assert!(segments(dir.path()).len() < before.len());
    let second = journal.read(first.next, 100).unwrap();
    assert_eq!(second.records, records[10..]);
    journal.shipped(second.next, 10).unwrap();
    assert_eq!((segments(dir.path()).len(), journal.pending()), (1, 0));
}

#[test]
fn a_call_begun_in_a_segment_keeps_it_until_its_end_is_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig { segment_bytes: 1, ..config() }).unwrap();
    let long = testing::record(0);
    journal.begin(&testing::begin_of(&long)).unwrap();
    journal.end(&testing::record(1)).unwrap();
    journal.checkpoint(long.request_id, 1);
    let position = journal.read(Position::default(), 10).unwrap().next;
    journal.shipped(position, 1).unwrap();
    assert_eq!(segments(dir.path()), [1, 2, 3]);
    journal.end(&long).unwrap();
    journal.shipped(position, 0).unwrap();
    assert_eq!(segments(dir.path()), [1, 2, 3, 4]);
    let position = journal.read(position, 10).unwrap().next;
    journal.shipped(position, 1).unwrap();
    assert_eq!(segments(dir.path()), [4]);
}

#[test]
fn one_long_stream_does_not_keep_every_later_segment() {
    let dir = tempfile::tempdir().unwrap();
    let long = testing::begin(100, 7, Pico::new(1_000_000_000_000));
    {
        let (journal, _) = Journal::open(dir.path(), JournalConfig { segment_bytes: 1, ..config() }).unwrap();
        journal.begin(&long).unwrap();
        journal.checkpoint(long.request_id, 3);
        let mut position = Position::default();
        for n in 0..10 {
            journal.end(&testing::record(n)).unwrap();
            position = journal.read(position, 10).unwrap().next;
            journal.shipped(position, 1).unwrap();
        }
        assert!(segments(dir.path()).len() <= 7, "{:?}", segments(dir.path()));
        assert!(!segments(dir.path()).contains(&1));
        assert_eq!(journal.open_calls(), 1);
    }
    let (_, recovery) = Journal::open(dir.path(), config()).unwrap();
    assert_eq!(recovery.settled.iter().map(|r| r.request_id).collect::<Vec<_>>(), [long.request_id]);
    // The checkpoint was carried along.
    assert_eq!(recovery.settled[0].usage.get(UsageClass::OutputText), 3);
}

#[test]
fn a_full_disk_refuses_new_calls_and_keeps_the_ends_of_running_ones() {
    let dir = tempfile::tempdir().unwrap();
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        println!("skipped: this machine has no /dev/full");
        return;
    };
    let shared;
    let (first, second) = (testing::record(0), testing::record(1));
    {
        let (journal, _) = Journal::open(dir.path(), config()).unwrap();
        journal.begin(&testing::begin_of(&first)).unwrap();
        let mut writer = journal.shared.writer();
        // Under the lock, so that the sync thread does not write it out before the test has looked.
        writer.replace_file(full);
        assert!(matches!(writer.append(&packed(&testing::begin_of(&second))), Err(JournalError::DiskFull)));
        writer.append_or_park(first.request_id, &packed(&first)).unwrap();
        shared = writer.parked();
        // The spoiled file was left behind and the END went into a fresh segment.
        assert_eq!(shared, 0);
        assert_eq!(writer.tail().segment, 2);
        drop(writer);
    }
    let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
    assert_eq!(recovery.settled, []);
    assert_eq!(all(&journal), [first]);
}

#[test]
fn an_end_that_finds_no_room_waits_in_memory_and_calls_are_refused_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), config()).unwrap();
    let record = testing::record(0);
    journal.begin(&testing::begin_of(&record)).unwrap();
    let mut writer = journal.shared.writer();
    // A read-only handle refuses every write, and the next segment's name is taken.
    writer.replace_file(File::open(segment::path(dir.path(), 1)).unwrap());
    fs::write(segment::path(dir.path(), 2), b"").unwrap();
    writer.append_or_park(record.request_id, &packed(&record)).unwrap();
    assert_eq!(writer.parked(), 1);
    assert!(matches!(writer.accepts_calls(), Err(JournalError::DiskFull)));
    // A refused request never began: it takes none of the room kept for what must be billed.
    let refused = testing::record(1);
    let answer = writer.append_or_park(refused.request_id, &packed(&refused));
    assert!(matches!(answer, Err(JournalError::DiskFull)));
    assert_eq!(writer.parked(), 1);
    assert_eq!(writer.write_parked(), 0);
    fs::remove_file(segment::path(dir.path(), 2)).unwrap();
    assert_eq!(writer.write_parked(), 1);
    assert!(writer.accepts_calls().is_ok());
    drop(writer);
    assert_eq!(all(&journal), [record]);
}

#[test]
fn while_nothing_can_be_synced_one_fresh_segment_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), config()).unwrap();
    let record = testing::record(0);
    journal.begin(&testing::begin_of(&record)).unwrap();
    // Under the lock, so that the sync thread says nothing in between.
    let mut writer = journal.shared.writer();
    for _ in 0..10 {
        writer.synced(false);
        assert!(matches!(writer.accepts_calls(), Err(JournalError::SyncFailed)));
    }
    assert_eq!(segments(dir.path()), [1, 2]);
    writer.append_or_park(record.request_id, &packed(&record)).unwrap();
    for _ in 0..10 {
        writer.synced(false);
    }
    assert_eq!(segments(dir.path()), [1, 2, 3]);
    writer.sync_now().unwrap();
    assert!(writer.accepts_calls().is_ok());
    drop(writer);
    assert_eq!(all(&journal), [record]);
}

#[test]
fn one_file_that_cannot_be_synced_is_said_wherever_it_stands() {
    let Ok(bad) = OpenOptions::new().write(true).open("/dev/full") else {
        println!("skipped: this machine has no /dev/full");
        return;
    };
    let (bad, good) = (Arc::new(bad), Arc::new(tempfile::tempfile().unwrap()));
    for files in [[&bad, &good], [&good, &bad]] {
        assert!(Unsynced { files: files.map(Arc::clone).to_vec(), dir: None }.run().is_err());
    }
    Unsynced { files: vec![good], dir: None }.run().unwrap();
}

#[test]
fn the_pause_after_a_failed_sync_doubles_to_its_bound() {
    let pauses: Vec<_> = std::iter::successors(Some(FIRST_SYNC_PAUSE), |&pause| Some(longer(pause))).take(10).collect();
    let millis: Vec<_> = pauses.iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [25, 50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    assert_eq!(longer(Duration::ZERO), MAX_SYNC_INTERVAL);
}

#[test]
fn a_slow_disk_is_synced_sooner_so_that_the_sync_ends_in_time() {
    let pauses = [0, 1, 5, 20, 25, 400].map(|took| after_sync_of(Duration::from_millis(took)).as_millis());
    assert_eq!(pauses, [50, 48, 40, 10, 10, 10]);
}

#[test]
fn the_journal_is_bounded_in_all() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig { max_bytes: 1, ..config() }).unwrap();
    let begin = testing::begin(1, 1, Pico::ZERO);
    journal.begin(&begin).unwrap();
    assert!(matches!(journal.begin(&begin), Err(JournalError::Full { limit: 1, .. })));
    // What never began adds nothing; what is under way may end.
    let bytes = journal.bytes();
    assert!(matches!(journal.end(&testing::record(2)), Err(JournalError::Full { limit: 1, .. })));
    assert_eq!((journal.bytes(), journal.pending()), (bytes, 0));
    journal.end(&testing::record(1)).unwrap();
    assert_eq!(all(&journal), [testing::record(1)]);
}

#[test]
fn a_healthy_journal_takes_an_end_without_a_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), config()).unwrap();
    journal.end(&testing::record(0)).unwrap();
    assert_eq!((all(&journal), journal.pending()), (vec![testing::record(0)], 1));
}

#[test]
fn a_record_above_the_bound_loses_its_bulk_and_not_its_charge() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), config()).unwrap();
    let record = UsageRecord { raw_usage: Some("x".repeat(frame::MAX_PAYLOAD_BYTES)), ..testing::record(0) };
    journal.end(&record).unwrap();
    assert_eq!(all(&journal), [UsageRecord { raw_usage: None, end_user: None, attempts: Vec::new(), ..record }]);
}

#[test]
fn what_an_earlier_program_wrote_as_json_is_read_among_what_this_one_writes() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..4).map(testing::record).collect();
    let (old, new) = (testing::begin(10, 7, Pico::new(1_000_000_000_000)), testing::begin(11, 7, Pico::new(1_000_000_000_000)));
    let at = Timestamp::UNIX_EPOCH;
    let reached = |begin: &BeginRecord, output_estimate| Checkpoint { request_id: begin.request_id, output_estimate, at };
    let frames = [
        json(&testing::begin_of(&records[0])),
        json(&records[0]),
        packed(&records[1]),
        json(&old),
        json(&reached(&old, 3)),
        packed(&new),
        json(&reached(&new, 4)),
        packed(&reached(&old, 5)),
        json(&records[2]),
        packed(&records[3]),
    ];
    fs::write(segment::path(dir.path(), 1), frames.concat()).unwrap();
    let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
    assert_eq!((recovery.finished, recovery.torn, recovery.quarantined), (4, None, Vec::new()));
    let outputs: Vec<_> = recovery.settled.iter().map(|r| (r.request_id, r.usage.get(UsageClass::OutputText))).collect();
    assert_eq!(outputs, [(old.request_id, 5), (new.request_id, 4)]);
    assert_eq!(all(&journal), [records, recovery.settled].concat());
}

#[test]
fn records_of_a_newer_version_are_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let frame = of_version(3, packed(&testing::record(1)));
    fs::write(segment::path(dir.path(), 1), &frame).unwrap();
    assert!(matches!(Journal::open(dir.path(), config()), Err(JournalError::Newer { version: 3, kind: 3, .. })));
    assert_eq!(fs::read(segment::path(dir.path(), 1)).unwrap(), frame);
}

#[test]
fn writers_in_parallel_lose_nothing() {
    const WRITERS: u32 = 8;
    const RECORDS: u32 = 50;
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig { segment_bytes: 20_000, ..config() }).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..RECORDS {
                    let record = testing::record(writer * RECORDS + n);
                    journal.begin(&testing::begin_of(&record)).unwrap();
                    journal.end(&record).unwrap();
                }
            });
        }
    });
    let mut ids: Vec<_> = all(&journal).into_iter().map(|record| record.request_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..WRITERS * RECORDS).map(|n| testing::record(n).request_id).collect::<Vec<_>>());
}

/// Where the process below writes; unset in an ordinary run.
const CHILD_DIR: &str = "TALLYGATE_TEST_JOURNAL_DIR";

/// Not a test by itself: the process that [`a_killed_process_leaves_every_finished_call_and_settles_the_others`] kills.
#[test]
fn child_process_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let (journal, _) = Journal::open(dir, JournalConfig { segment_bytes: 100_000, ..config() }).unwrap();
    for n in 0..1_000_000 {
        // Every tenth call never ends.
        let record = testing::record(n);
        journal.begin(&testing::begin_of(&record)).unwrap();
        if n % 10 != 0 {
            journal.end(&record).unwrap();
        }
        println!("acknowledged {n}");
    }
}

#[test]
fn a_killed_process_leaves_every_finished_call_and_settles_the_others() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const KILL_AFTER: u32 = 500;
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::child_process_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The harness may put its own words before the first.
        let line = line.unwrap();
        if let Some((_, n)) = line.rsplit_once("acknowledged ") {
            acknowledged.push(n.parse::<u32>().unwrap());
        }
        if acknowledged.len() == KILL_AFTER as usize {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    let (journal, recovery) = Journal::open(dir.path(), config()).unwrap();
    assert_eq!(recovery.quarantined, []);
    let records = all(&journal);
    let mut ids: Vec<_> = records.iter().map(|record| record.request_id).collect();
    ids.sort_unstable();
    // Whatever was begun is there once; a call may have begun that was never acknowledged.
    let begun = ids.len() as u32;
    assert!(begun >= acknowledged.len() as u32 && acknowledged.len() as u32 >= KILL_AFTER, "{begun}");
    assert_eq!(ids, (0..begun).map(|n| testing::record(n).request_id).collect::<Vec<_>>());
    for n in acknowledged {
        let id = testing::record(n).request_id;
        let outcome = records.iter().find(|record| record.request_id == id).unwrap().outcome;
        assert_eq!(outcome, if n % 10 == 0 { Outcome::Crash } else { Outcome::Ok }, "call {n}");
    }
    assert_eq!(journal.pending(), u64::from(begun));
}
