//! From a model to the ordered attempts at serving it: a pure function of configuration, health and turn.

use std::sync::Arc;

use tallygate_store::pins::Pin;
use tallygate_store::{CredentialEntry, ModelEntry, TargetEntry};
use tallygate_types::{CredentialId, Timestamp};

/// While other upstreams are left to try, one upstream gets this many attempts.
const ATTEMPTS_PER_TARGET: usize = 2;

/// One try: a target and the credential to use there.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub target: &'a TargetEntry,
    /// `None`: the upstream asks for no key.
    pub credential: Option<&'a Arc<CredentialEntry>>,
}

/// The attempts in the order they are to be made, at most `max_attempts`.
///
/// Targets go by priority; among equals the first is chosen by weight, so that of any run of turns as long as the sum of the
/// weights each target gets exactly its share, well mixed. Credentials take turns. A credential that is cooling is passed
/// over while any other way is left; if none is, the one that is ready soonest is tried all the same.
pub fn plan<'a>(
    model: &'a ModelEntry,
    turn: u64,
    cooling_until: impl Fn(CredentialId) -> Option<Timestamp>,
    max_attempts: usize,
) -> Vec<Step<'a>> {
    let targets = order(&model.targets, turn);
    let mut ready: Vec<Vec<Step<'a>>> = Vec::with_capacity(targets.len());
    let mut cooling: Vec<(Timestamp, Step<'a>)> = Vec::new();
    for (target, visit) in targets {
        let credentials = &target.upstream.credentials;
        if credentials.is_empty() {
            ready.push(vec![Step { target, credential: None }]);
            continue;
        }
        let start = usize::try_from(visit % credentials.len() as u64).unwrap_or(0);
        let mut steps = Vec::with_capacity(credentials.len());
        for credential in credentials[start..].iter().chain(&credentials[..start]) {
            let step = Step { target, credential: Some(credential) };
            match cooling_until(credential.id) {
                Some(until) => cooling.push((until, step)),
                None => steps.push(step),
            }
        }
        ready.push(steps);
    }

    let is_only = ready.iter().filter(|steps| !steps.is_empty()).count() <= 1;
    let each = if is_only { max_attempts } else { ATTEMPTS_PER_TARGET };
    let mut plan: Vec<Step<'a>> = ready.iter().flat_map(|steps| steps.iter().take(each).copied()).take(max_attempts).collect();
    if plan.is_empty() {
        // The sort keeps the order of preference among those that are ready at the same time.
        cooling.sort_by_key(|(until, _)| *until);
        plan.extend(cooling.first().map(|(_, step)| *step));
    }
    plan
}

/// The ways to the account that keeps something, whatever is held against it. A key that is no more is followed by the others
/// of its upstream: as a rule they were its successors.
pub fn pinned(model: &ModelEntry, pin: Pin) -> Vec<Step<'_>> {
    let Some(target) = model.targets.iter().find(|target| target.upstream.id == pin.upstream) else { return Vec::new() };
    let credentials = &target.upstream.credentials;
    let step = |credential| Step { target, credential };
    match (pin.credential, credentials.iter().find(|credential| Some(credential.id) == pin.credential)) {
        (None, _) => vec![step(None)],
        (Some(_), Some(credential)) => vec![step(Some(credential))],
        (Some(_), None) => credentials.iter().map(|credential| step(Some(credential))).collect(),
    }
}

/// Targets by priority, and within one priority the chosen one first; each with the number of this visit among its own. A
/// weight of zero takes no traffic.
fn order(targets: &[TargetEntry], turn: u64) -> Vec<(&TargetEntry, u64)> {
    let mut left: Vec<&TargetEntry> = targets.iter().filter(|target| target.weight > 0).collect();
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(priority) = left.iter().map(|target| target.priority).min() {
        let (mut group, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|target| target.priority == priority);
        while !group.is_empty() {
            let weights: Vec<u64> = group.iter().map(|target| u64::from(target.weight)).collect();
            let (chosen, visit) = pick(&weights, turn);
            ordered.push((group.remove(chosen), visit));
        }
        left = rest;
    }
    ordered
}

/// The position of the weight whose turn it is, and how often its turn came before.
///
/// Each cycle of `sum(weights)` turns visits every slot once, in strides near the golden section: the share is exact over a
/// cycle, and a small weight is not bunched at its end. The visits are numbered without gaps (in some order), so that what is
/// divided by them, such as the credentials of a target, gets even shares too.
fn pick(weights: &[u64], turn: u64) -> (usize, u64) {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|weight| weight / divisor).sum();
    if sum == 0 {
        return (0, turn);
    }
    let mut stride = ((u128::from(sum) * 618 / 1000) as u64).max(1);
    while gcd(stride, sum) != 1 {
        stride += 1;
    }
    let mut slot = (u128::from(turn % sum) * u128::from(stride) % u128::from(sum)) as u64;
    for (position, weight) in weights.iter().enumerate() {
        let share = weight / divisor;
        if slot < share {
            return (position, (turn / sum).wrapping_mul(share).wrapping_add(slot));
        }
        slot -= share;
    }
    (0, turn)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use tallygate_store::UpstreamEntry;
    use tallygate_types::Dialect;

    use super::*;

    fn upstream(name: &str, credentials: &[&str]) -> Arc<UpstreamEntry> {
        let credential = |name: &&str| Arc::new(CredentialEntry::named(*name, "secret"));
        Arc::new(UpstreamEntry {
            credentials: credentials.iter().map(credential).collect(),
            ..UpstreamEntry::at(name, Dialect::OpenaiChat, "http://127.0.0.1:1")
        })
    }

    fn model(targets: &[(&Arc<UpstreamEntry>, u32, u32)]) -> ModelEntry {
        let target = |(upstream, weight, priority): &(&Arc<UpstreamEntry>, u32, u32)| TargetEntry {
            weight: *weight,
            priority: *priority,
            ..TargetEntry::at(Arc::clone(upstream), "m")
        };
        ModelEntry::named("m", targets.iter().map(target).collect())
    }

    fn names(plan: &[Step<'_>]) -> String {
        let name = |step: &Step<'_>| match step.credential {
            Some(credential) => format!("{}/{}", step.target.upstream.name, credential.name),
            None => step.target.upstream.name.clone(),
        };
        plan.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn equals_take_turns() {
        let (a, b, c) = (upstream("a", &["1"]), upstream("b", &["1"]), upstream("c", &["1"]));
        let two = model(&[(&a, 1, 1), (&b, 1, 1)]);
        let firsts = |model: &ModelEntry, turns: u64| -> String {
            (0..turns).map(|turn| names(&plan(model, turn, |_| None, 1)).chars().next().unwrap()).collect()
        };
        assert_eq!(firsts(&two, 6), "ababab");
        assert_eq!(firsts(&model(&[(&a, 5, 1), (&b, 5, 1), (&c, 5, 1)]), 6), "abcabc");
    }

    #[test]
    fn weights_are_exact_over_a_cycle_and_well_mixed() {
        let (a, b) = (upstream("a", &["1"]), upstream("b", &["1"]));
        let model = model(&[(&a, 7, 1), (&b, 3, 1)]);
        let line: String = (0..20).map(|turn| names(&plan(&model, turn, |_| None, 1)).chars().next().unwrap()).collect();
        assert_eq!(line.matches('b').count(), 6);
        assert!(!line.contains("bb"), "{line}");
        assert_eq!(line[..10], line[10..]);
    }

    #[test]
    fn a_lower_priority_is_the_last_resort() {
        let (a, b, local) = (upstream("a", &["1"]), upstream("b", &["1"]), upstream("local", &[]));
        let model = model(&[(&a, 1, 1), (&local, 9, 2), (&b, 1, 1)]);
        assert_eq!(names(&plan(&model, 0, |_| None, 4)), "a/1 b/1 local");
        assert_eq!(names(&plan(&model, 1, |_| None, 4)), "b/1 a/1 local");
        assert_eq!(names(&plan(&model, 0, |_| None, 2)), "a/1 b/1");
    }

    #[test]
    fn credentials_take_turns_and_leave_room_for_the_next_target() {
        let (a, b) = (upstream("a", &["1", "2", "3", "4", "5"]), upstream("b", &["1"]));
        let only = model(&[(&a, 1, 1)]);
        assert_eq!(names(&plan(&only, 0, |_| None, 4)), "a/1 a/2 a/3 a/4");
        assert_eq!(names(&plan(&only, 3, |_| None, 4)), "a/4 a/5 a/1 a/2");
        let both = model(&[(&a, 1, 1), (&b, 1, 2)]);
        assert_eq!(names(&plan(&both, 0, |_| None, 4)), "a/1 a/2 b/1");
    }

    #[test]
    fn every_credential_of_every_target_gets_its_share() {
        let (a, b) = (upstream("a", &["1", "2"]), upstream("b", &["1", "2", "3"]));
        let model = model(&[(&a, 1, 1), (&b, 1, 1)]);
        let mut firsts: Vec<_> = (0..12).map(|turn| names(&plan(&model, turn, |_| None, 1))).collect();
        firsts.sort();
        assert_eq!(firsts.join(" "), "a/1 a/1 a/1 a/2 a/2 a/2 b/1 b/1 b/2 b/2 b/3 b/3");
    }

    #[test]
    fn a_cooling_credential_is_passed_over_until_nothing_else_is_left() {
        let (a, b) = (upstream("a", &["1", "2"]), upstream("b", &["1"]));
        let model = model(&[(&a, 1, 1), (&b, 1, 2)]);
        let cold = a.credentials[0].id;
        let at = Timestamp::from_micros;
        assert_eq!(names(&plan(&model, 0, |id| (id == cold).then_some(at(9)), 4)), "a/2 b/1");
        let soonest = |id| Some(if id == a.credentials[1].id { at(5) } else { at(9) });
        assert_eq!(names(&plan(&model, 0, soonest, 4)), "a/2");
    }

    #[test]
    fn a_model_without_a_live_target_has_no_plan() {
        let a = upstream("a", &["1"]);
        assert!(plan(&model(&[]), 0, |_| None, 4).is_empty());
        assert!(plan(&model(&[(&a, 0, 1)]), 0, |_| None, 4).is_empty());
    }
}
