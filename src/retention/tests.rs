//! Golden plans: a policy, the states, and what becomes of each, to be read.

use super::*;

/// Friday, 2026-11-20T12:00:00Z.
const NOW: Timestamp = Timestamp(1_795_176_000_000_000_000);
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn small() -> Policy {
    Policy {
        all_seconds: HOUR,
        hourly_seconds: 6 * HOUR,
        daily_seconds: 3 * DAY,
        weekly_seconds: 21 * DAY,
        max_bytes: None,
    }
}

fn ago(seconds: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(seconds))
}

fn state(epoch: u64, seconds_ago: u64) -> State {
    State {
        epoch: Epoch(epoch),
        time: ago(seconds_ago),
        named: None,
    }
}

/// States so many seconds before now, oldest first.
fn states(ages: &[u64]) -> Vec<State> {
    let numbered = ages.iter().zip(1..);
    numbered.map(|(age, epoch)| state(epoch, *age)).collect()
}

/// A line for each state: its time, and what becomes of it.
fn show(plan: &Plan) -> String {
    let line = |(_, time, reason): &(Epoch, Timestamp, Reason)| {
        let time = time.to_string();
        format!("{} {reason:?}\n", &time[5..19])
    };
    plan.states.iter().map(line).collect()
}

#[test]
fn one_of_each_hour_day_and_week_stays() {
    let minutes = |m: u64| m * 60;
    let ages = [
        30 * DAY,
        15 * DAY + HOUR,
        15 * DAY,
        9 * DAY,
        2 * DAY + HOUR,
        2 * DAY,
        DAY,
        minutes(200),
        minutes(190),
        minutes(170),
        minutes(90),
        minutes(70),
        minutes(30),
        minutes(10),
        0,
    ];
    assert_eq!(
        show(&plan(&states(&ages), &small(), NOW)),
        "10-21T12:00:00 Keep(Week)\n\
         11-05T11:00:00 Drop(Week)\n\
         11-05T12:00:00 Keep(Week)\n\
         11-11T12:00:00 Keep(Day)\n\
         11-18T11:00:00 Drop(Day)\n\
         11-18T12:00:00 Keep(Day)\n\
         11-19T12:00:00 Keep(Hour)\n\
         11-20T08:40:00 Drop(Hour)\n\
         11-20T08:50:00 Keep(Hour)\n\
         11-20T09:10:00 Keep(Hour)\n\
         11-20T10:30:00 Drop(Hour)\n\
         11-20T10:50:00 Keep(All)\n\
         11-20T11:30:00 Keep(All)\n\
         11-20T11:50:00 Keep(All)\n\
         11-20T12:00:00 Keep(Newest)\n"
    );
}

#[test]
fn what_ended_before_all_spans_goes_and_what_lasted_till_now_stays() {
    let ages = [90 * DAY, 60 * DAY, 50 * DAY, 0];
    assert_eq!(
        show(&plan(&states(&ages), &small(), NOW)),
        "08-22T12:00:00 Drop(Old)\n\
         09-21T12:00:00 Drop(Old)\n\
         10-01T12:00:00 Keep(All)\n\
         11-20T12:00:00 Keep(Newest)\n"
    );
    let alone = [900 * DAY];
    assert_eq!(plan(&states(&alone), &small(), NOW).dropped(), []);
}

#[test]
fn a_name_stays_and_for_a_day_one_that_was_taken_away() {
    let mut all = states(&[80 * DAY, 70 * DAY, 60 * DAY, 50 * DAY, 0]);
    all[0].named = Some(Named::Snapshot);
    all[1].named = Some(Named::Deleted { at: ago(DAY - 1) });
    all[2].named = Some(Named::Deleted { at: ago(DAY) });
    let nothing = Policy {
        all_seconds: 0,
        hourly_seconds: 0,
        daily_seconds: 0,
        weekly_seconds: 0,
        max_bytes: None,
    };
    let mut made = plan(&all, &nothing, NOW);
    made.shrink(usize::MAX, Drop::Space);
    assert_eq!(
        show(&made),
        "09-01T12:00:00 Keep(Snapshot)\n\
         09-11T12:00:00 Keep(Deleted)\n\
         09-21T12:00:00 Drop(Old)\n\
         10-01T12:00:00 Drop(Old)\n\
         11-20T12:00:00 Keep(Newest)\n"
    );
}

#[test]
fn space_takes_the_oldest_first_and_never_the_last_hour() {
    let mut all = states(&[9 * HOUR, 8 * HOUR, 7 * HOUR, 2 * HOUR, HOUR / 2, 60, 0]);
    all[1].named = Some(Named::Snapshot);
    let mut made = plan(&all, &Policy::default(), NOW);
    assert_eq!(made.dropped(), []);
    assert_eq!(made.spare(), [Epoch(1), Epoch(3)]);
    made.shrink(1, Drop::Size);
    assert_eq!(made.dropped(), [Epoch(1)]);
    made.shrink(9, Drop::Space);
    assert_eq!(
        show(&made),
        "11-20T03:00:00 Drop(Size)\n\
         11-20T04:00:00 Keep(Snapshot)\n\
         11-20T05:00:00 Drop(Space)\n\
         11-20T10:00:00 Keep(All)\n\
         11-20T11:30:00 Keep(All)\n\
         11-20T11:59:00 Keep(All)\n\
         11-20T12:00:00 Keep(Newest)\n"
    );
    assert_eq!(made.cut_off(Drop::Space), Some(ago(2 * HOUR)));
    made.show_floor();
    assert_eq!(
        show(&made),
        "11-20T03:00:00 Drop(Size)\n\
         11-20T04:00:00 Keep(Snapshot)\n\
         11-20T05:00:00 Drop(Space)\n\
         11-20T10:00:00 Keep(Floor)\n\
         11-20T11:30:00 Keep(Floor)\n\
         11-20T11:59:00 Keep(Floor)\n\
         11-20T12:00:00 Keep(Newest)\n"
    );
}

#[test]
fn what_the_policy_before_keeps_stays_for_a_while() {
    let all = states(&[4 * HOUR, 4 * HOUR - 60, 2 * HOUR, 0]);
    let mut made = plan(&all, &small(), NOW);
    assert_eq!(made.dropped(), [Epoch(1)]);
    made.keep_also(&plan(&all, &Policy::default(), NOW));
    assert_eq!(made.dropped(), []);
    assert_eq!(made.states[0].2, Reason::Keep(Keep::Former));
}

#[test]
fn groups_count_and_span_the_states_of_a_reason() {
    let all = states(&[9 * DAY, 8 * DAY, 4 * HOUR, 4 * HOUR - 60, 4 * HOUR - 90, 0]);
    let groups = plan(&all, &small(), NOW).groups();
    let hours = groups
        .iter()
        .find(|group| group.reason == Reason::Drop(Drop::Hour))
        .expect("a group");
    assert_eq!((hours.states, hours.oldest), (2, ago(4 * HOUR)));
    assert_eq!(hours.newest, ago(4 * HOUR - 60));
    assert_eq!(groups.iter().map(|group| group.states).sum::<u64>(), 6);
}

/// Thousands of random lists: what a plan leaves, a second plan leaves too; every instant of the
/// last hour keeps its state; what stays is what the words of the policy say.
#[test]
fn a_plan_that_was_carried_out_drops_nothing_more() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    for seed in 0..3000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut age = 0;
        let mut ages = vec![0];
        for _ in 0..random.random_range(0..60) {
            age += 1 << random.random_range(0..22);
            ages.push(age);
        }
        ages.reverse();
        let mut all = states(&ages);
        for state in &mut all {
            if random.random_bool(0.05) {
                state.named = Some(Named::Snapshot);
            }
        }
        let first = plan(&all, &small(), NOW);
        let dropped = first.dropped();
        let left: Vec<State> = all
            .iter()
            .filter(|state| !dropped.contains(&state.epoch))
            .cloned()
            .collect();
        assert_eq!(plan(&left, &small(), NOW).dropped(), [], "seed {seed}");
        // The state of every full hour, day and week of its span is still the one it was.
        let at = |states: &[State], time: Timestamp| {
            let known = states.partition_point(|state| state.time < time);
            known.checked_sub(1).map(|i| states[i].epoch)
        };
        let spans = [(HOUR, 6 * HOUR), (DAY, 3 * DAY)];
        for (length, span) in spans {
            let last = NOW.0 / 1_000_000_000 / i64::try_from(length).unwrap();
            for n in 0..i64::try_from(span / length).unwrap() {
                let time = (last - n) * i64::try_from(length).unwrap() * 1_000_000_000;
                let time = Timestamp(time);
                if NOW.since(time) < Duration::from_secs(span) {
                    assert_eq!(at(&left, time), at(&all, time), "seed {seed} at {time}");
                }
            }
        }
    }
}
