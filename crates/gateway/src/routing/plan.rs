//! The ordered attempts.

use std::cell::Cell;
use std::sync::Arc;

use tallygate_store::pins::Pin;
use tallygate_store::routing::{Affinity, RoutingPolicy, SplitBy};
use tallygate_store::{CredentialEntry, RouteEntry, TargetEntry};
use tallygate_types::Timestamp;

use super::affinity::{self, Held, Kind, Session};
use super::asked::Asked;
use super::capability::{Lack, lack};
use super::credentials::Best;
use super::rule::Rule;
use super::split;
use super::targets::{Choice, MAX_TARGETS, Set};
use super::trace::{PassedOver, Trace};
use super::view::View;
use crate::health::{Readiness, Standing};

/// While other targets are left to try, one target gets this many attempts.
const ATTEMPTS_PER_TARGET: usize = 2;

/// One try: a target and the credential to use there.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub target: &'a TargetEntry,
    /// `None`: the upstream asks for no key.
    pub credential: Option<&'a Arc<CredentialEntry>>,
    /// A local upstream that stands in for others.
    pub is_fallback: bool,
}

/// What is tried, in order, and why.
#[derive(Debug)]
pub struct Plan<'a> {
    pub route: Option<&'a RouteEntry>,
    pub arm: Option<&'a str>,
    /// Where the session belongs; none if nothing tells of one, or there is nothing to choose.
    pub held: Option<Held>,
    pub policy: &'a RoutingPolicy,
    /// At least one.
    pub steps: Vec<Step<'a>>,
}

/// Why nobody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWay {
    /// What the request refers to is kept by an upstream that does not serve this model.
    KeptElsewhere,
    /// No target is there, or none that takes traffic.
    NoTarget,
    /// No target can take what is asked.
    Lacks(Lack),
    /// Everything is out; this is ready soonest.
    Out { why: &'static str, until: Option<Timestamp> },
}

/// Decides. See the crate's ARCHITECTURE for the order of things.
pub fn plan<'a, T: Trace>(rule: Rule<'a>, asked: &Asked<'_>, view: &impl View, trace: &mut T) -> Result<Plan<'a>, NoWay> {
    if !T::IS_WRITING
        && let Some(made) = sole(&rule, asked, view)
    {
        return Ok(made);
    }
    let (targets, policy) = (rule.targets(), rule.policy());
    let session = wanted_session(&rule, asked, view);
    let arm = policy.split.as_ref().map(|split| {
        let (position, was_found) = split::arm(rule.name(), split, asked, session.as_ref());
        trace.arm(&split.arms[position].name, &split.by, was_found);
        split.arms[position].name.as_str()
    });
    let mut made = Plan { route: rule.route.map(AsRef::as_ref), arm, held: None, policy, steps: Vec::new() };
    if let Some(pin) = asked.pin {
        made.steps = pinned(targets, pin);
        let first = made.steps.first().ok_or(NoWay::KeptElsewhere)?;
        made.held = Some(Held::by(Kind::Pin, first));
        trace.affinity(&Held::by(Kind::Pin, first), true);
        return Ok(made);
    }

    let candidates = candidates(targets, arm, asked, trace);
    let has_remote = candidates.iter().any(|at| !targets[at].upstream.local);
    let fit = fit(targets, candidates, asked, view, trace)?;
    let session = session.filter(|_| policy.affinity == Affinity::Auto);
    let turns = Turn { view, rule: &rule, taken: Cell::new(None) };
    let mut walk = Walk {
        has_remote,
        soonest: None,
        steps: Vec::with_capacity(asked.max_attempts),
        spared: Vec::new(),
        sole: None,
        giving: 0,
    };
    let choice = Choice { strategy: policy.strategy, session: session.map(|session| session.hash), asked, view };
    let mut left = fit;
    while !left.is_empty() && (walk.steps.len() < asked.max_attempts || T::IS_WRITING) {
        let group = left.first_group(targets);
        let (at, visit) = if group.len() == 1 {
            (group.iter().next().unwrap_or(0), None)
        } else {
            let (at, visit) = choice.next(targets, group, || turns.take());
            (at, Some(visit))
        };
        left.remove(at);
        let target = &targets[at];
        let best = walk.visit(target, choice.session, || visit.unwrap_or_else(|| turns.take()), view, trace);
        if let (Some(session), None) = (&session, &made.held) {
            let credential = best.home.map(|credential| credential.id);
            made.held = Some(Held { kind: session.kind, target: target.id, credential });
        }
        walk.take(target, best, asked.max_attempts);
    }
    walk.fill_up(asked.max_attempts);
    // Not for the cache's sake: nobody else can read that reasoning.
    if let Some(origin) = asked.sealed_by {
        let first = pinned(targets, origin).into_iter().find(|step| pin_of(step) == origin && is_open(view, step));
        if let Some(first) = first.filter(|first| targets_hold(targets, fit, first.target)) {
            walk.steps.retain(|step| pin_of(step) != origin);
            walk.steps.insert(0, Step { is_fallback: first.target.upstream.local && has_remote, ..first });
            walk.steps.truncate(asked.max_attempts);
            made.held = Some(Held::by(Kind::Reasoning, &first));
        }
    }
    let Some(first) = walk.steps.first() else {
        return Err(walk.soonest.map_or(NoWay::NoTarget, |(until, why)| NoWay::Out { why, until }));
    };
    if let Some(held) = &made.held {
        trace.affinity(held, held.is_home(first));
    }
    made.steps = walk.steps;
    Ok(made)
}

/// The usual case, where nothing is to be chosen: one target, one credential at most, and both may be asked.
fn sole<'a>(rule: &Rule<'a>, asked: &Asked<'_>, view: &impl View) -> Option<Plan<'a>> {
    let ([target], policy) = (rule.targets(), rule.policy()) else { return None };
    let upstream = &target.upstream;
    let credential = match upstream.credentials.as_slice() {
        [] => None,
        [only] if only.weight > 0 => Some(only),
        _ => return None,
    };
    let is_bound = policy.split.is_some() || asked.pin.is_some() || asked.sealed_by.is_some();
    if is_bound || target.weight == 0 || !asked.can_sell(target) || lack(target, asked, false, view).is_some() {
        return None;
    }
    let is_open = |standing: Standing| matches!(standing.readiness, Readiness::Ready | Readiness::Probe);
    if !is_open(view.upstream(upstream)) || !credential.is_none_or(|credential| is_open(view.credential(upstream, credential))) {
        return None;
    }
    let steps = vec![Step { target, credential, is_fallback: false }];
    Some(Plan { route: rule.route.map(AsRef::as_ref), arm: None, held: None, policy, steps })
}

/// The account of a step.
pub fn pin_of(step: &Step<'_>) -> Pin {
    Pin { upstream: step.target.upstream.id, credential: step.credential.map(|credential| credential.id) }
}

/// The ways to the account that keeps something, whatever is held against it. A key that is no more is followed by the others
/// of its upstream: as a rule they were its successors.
fn pinned(targets: &[TargetEntry], pin: Pin) -> Vec<Step<'_>> {
    let Some(target) = targets.iter().find(|target| target.upstream.id == pin.upstream) else { return Vec::new() };
    let credentials = &target.upstream.credentials;
    let step = |credential| Step { target, credential, is_fallback: false };
    match (pin.credential, credentials.iter().find(|credential| Some(credential.id) == pin.credential)) {
        (None, _) => vec![step(None)],
        (Some(_), Some(credential)) => vec![step(Some(credential))],
        (Some(_), None) => credentials.iter().map(|credential| step(Some(credential))).collect(),
    }
}

/// The session, where it decides anything: an arm, or which of several accounts.
fn wanted_session(rule: &Rule<'_>, asked: &Asked<'_>, view: &impl View) -> Option<Session> {
    let policy = rule.policy();
    let splits = policy.split.as_ref().is_some_and(|split| split.by == SplitBy::Conversation);
    let has_choice = match rule.targets() {
        [] => false,
        [only] => only.upstream.credentials.len() > 1,
        _ => true,
    };
    (splits || policy.affinity == Affinity::Auto && has_choice).then(|| affinity::session(asked, view)).flatten()
}

/// The targets that take traffic of this arm and can be charged.
fn candidates(targets: &[TargetEntry], arm: Option<&str>, asked: &Asked<'_>, trace: &mut impl Trace) -> Set {
    let mut candidates = Set::default();
    for (at, target) in targets.iter().enumerate().take(MAX_TARGETS) {
        let why = if target.weight == 0 {
            PassedOver::NoWeight
        } else if arm.is_some() && target.arm.is_some() && target.arm.as_deref() != arm {
            PassedOver::OtherArm
        } else if !asked.can_sell(target) {
            PassedOver::Unpriced
        } else {
            candidates.insert(at);
            continue;
        };
        trace.passed_over(target, None, why);
    }
    candidates
}

/// Of these the ones that can take the request. Where none has a context that is large enough by the estimate, the largest is
/// asked: its upstream knows better.
fn fit(
    targets: &[TargetEntry],
    candidates: Set,
    asked: &Asked<'_>,
    view: &impl View,
    trace: &mut impl Trace,
) -> Result<Set, NoWay> {
    let has_choice = candidates.len() > 1;
    let mut fit = candidates;
    let (mut lacking, mut largest) = (None, None);
    for at in candidates.iter() {
        let Some(lack) = lack(&targets[at], asked, has_choice, view) else { continue };
        fit.remove(at);
        lacking = Some(lack);
        if let Lack::Context { has, .. } = lack
            && largest.is_none_or(|(_, most)| has > most)
        {
            largest = Some((at, has));
        }
        trace.passed_over(&targets[at], None, PassedOver::Lacks(lack));
    }
    match (fit.is_empty(), largest, lacking) {
        (false, ..) => Ok(fit),
        (true, Some((at, _)), _) => {
            fit.insert(at);
            Ok(fit)
        }
        (true, None, Some(lack)) => Err(NoWay::Lacks(lack)),
        (true, None, None) => Err(NoWay::NoTarget),
    }
}

fn targets_hold(targets: &[TargetEntry], set: Set, target: &TargetEntry) -> bool {
    set.iter().any(|at| targets[at].id == target.id)
}

fn is_open(view: &impl View, step: &Step<'_>) -> bool {
    let upstream = &step.target.upstream;
    let is_out = |readiness| matches!(readiness, Readiness::Not { .. });
    !is_out(view.upstream(upstream).readiness)
        && !step.credential.is_some_and(|credential| is_out(view.credential(upstream, credential).readiness))
}

/// The turn of the rule, taken once and only if somebody asks for it.
struct Turn<'a, V> {
    view: &'a V,
    rule: &'a Rule<'a>,
    taken: Cell<Option<u64>>,
}

impl<V: View> Turn<'_, V> {
    fn take(&self) -> u64 {
        let turn = self.taken.get().unwrap_or_else(|| self.view.turn(self.rule.line()));
        self.taken.set(Some(turn));
        turn
    }
}

/// Gathers the steps, target by target.
struct Walk<'a> {
    has_remote: bool,
    soonest: Option<(Option<Timestamp>, &'static str)>,
    steps: Vec<Step<'a>>,
    /// What is asked only if there is no other.
    spared: Vec<Step<'a>>,
    /// The first target that gave steps, for the case that it stays the only one.
    sole: Option<(&'a TargetEntry, Best<'a>)>,
    /// Targets that gave steps.
    giving: usize,
}

impl<'a> Walk<'a> {
    /// The credentials of a target that may be asked, in order.
    fn visit<V: View>(
        &mut self,
        target: &'a TargetEntry,
        session: Option<u64>,
        turn: impl Fn() -> u64,
        view: &V,
        trace: &mut impl Trace,
    ) -> Best<'a> {
        let upstream = view.upstream(&target.upstream).readiness;
        let mut best = Best::of(target, session, turn, view, trace, |out| self.note(out));
        if let Readiness::Not { why, until } = upstream {
            self.note(PassedOver::Out { why, until });
            trace.passed_over(target, None, PassedOver::Out { why, until });
            best.is_shut = true;
        }
        best
    }

    fn take(&mut self, target: &'a TargetEntry, best: Best<'a>, max: usize) {
        let step = |credential| Step { target, credential, is_fallback: target.upstream.local && self.has_remote };
        let room = max.saturating_sub(self.steps.len()).min(ATTEMPTS_PER_TARGET);
        let before = self.steps.len();
        if target.upstream.credentials.is_empty() {
            self.steps.extend((room > 0 && !best.is_shut).then(|| step(None)));
        } else {
            self.steps.extend(best.iter(false).take(room).map(|credential| step(Some(credential))));
            let room = max.saturating_sub(self.spared.len()).min(ATTEMPTS_PER_TARGET);
            self.spared.extend(best.iter(true).take(room).map(|credential| step(Some(credential))));
        }
        if self.steps.len() > before {
            self.giving += 1;
            if self.giving == 1 {
                self.sole = Some((target, best));
            }
        }
    }

    /// A target that is the only way gets all attempts; what is spared comes after all others.
    fn fill_up(&mut self, max: usize) {
        if let (1, Some((target, best))) = (self.giving, &self.sole) {
            let given = self.steps.len();
            let is_fallback = target.upstream.local && self.has_remote;
            let more = best.iter(false).skip(given).take(max.saturating_sub(given));
            self.steps.extend(more.map(|credential| Step { target, credential: Some(credential), is_fallback }));
        }
        let room = max.saturating_sub(self.steps.len());
        self.steps.extend(self.spared.drain(..).take(room));
    }

    fn note(&mut self, out: PassedOver) {
        let PassedOver::Out { why, until } = out else { return };
        // One that says when comes before one that does not.
        let rank = |until: Option<Timestamp>| (until.is_none(), until);
        if self.soonest.is_none_or(|(known, _)| rank(until) < rank(known)) {
            self.soonest = Some((until, why));
        }
    }
}
