//! A waker between a task and a future that calls itself.
//!
//! hyper's connections are made for tasks of their own: much of what is handed to and fro within them wakes their task, which
//! is the very one that polls them. Such a call is answered by polling again at once; only those from outside wake the task.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future is polled again at once so many times, if it asks for it; then others have their turn first.
const MAX_TURNS: u8 = 4;

const RESTING: u8 = 0;
const WORKING: u8 = 1;
/// It is to be polled: it asked for it, or has never been.
const CALLED: u8 = 2;

/// See the module.
pub struct Nudge {
    ear: Arc<Ear>,
    waker: Waker,
    /// The task that the ear wakes: as a rule it stays the same for many polls, and need not be told again.
    task: Option<Waker>,
}

/// Hears the calls.
struct Ear {
    state: AtomicU8,
    /// Stays when it is woken: an `AtomicWaker` would have to be filled anew each time.
    task: Mutex<Option<Waker>>,
}

impl Nudge {
    pub fn new() -> Self {
        let ear = Arc::new(Ear { state: AtomicU8::new(CALLED), task: Mutex::default() });
        Self { waker: Waker::from(Arc::clone(&ear)), ear, task: None }
    }

    /// For what calls from outside.
    pub const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whoever polled last is woken no more.
    pub fn forget(&mut self) {
        self.task = None;
        self.ear.listen_for(None);
    }

    /// Polls until nothing is left to do for now.
    pub fn drive<T>(&mut self, cx: &mut Context<'_>, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.listen(cx);
        self.turns(cx, poll)
    }

    /// The same if it was called since, from outside or by itself; else nothing has changed.
    pub fn drive_if_called<T>(&mut self, cx: &mut Context<'_>, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.listen(cx);
        if self.is_called() { self.turns(cx, poll) } else { Poll::Pending }
    }

    /// There is something to do for it.
    pub fn is_called(&self) -> bool {
        self.ear.state.load(Ordering::Acquire) != RESTING
    }

    fn listen(&mut self, cx: &Context<'_>) {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
            self.ear.listen_for(self.task.clone());
        }
    }

    fn turns<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let state = &self.ear.state;
        for _ in 0..MAX_TURNS {
            state.store(WORKING, Ordering::Release);
            let polled = poll(&mut Context::from_waker(&self.waker));
            let was_called = state.compare_exchange(WORKING, RESTING, Ordering::AcqRel, Ordering::Acquire).is_err();
            if polled.is_ready() || !was_called {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// What is done here may call it without waking the task, which comes back by itself.
    pub fn quietly<T>(&self, what: impl FnOnce() -> T) -> T {
        let state = &self.ear.state;
        let before = state.swap(WORKING, Ordering::AcqRel);
        let done = what();
        // If it was called meanwhile it stays so.
        let _ = state.compare_exchange(WORKING, before, Ordering::AcqRel, Ordering::Acquire);
        done
    }
}

impl Ear {
    fn listen_for(&self, task: Option<Waker>) {
        let before = std::mem::replace(&mut *self.task.lock().unwrap_or_else(PoisonError::into_inner), task);
        // Not under the lock: it may be the last of its task.
        drop(before);
    }
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(CALLED, Ordering::AcqRel) == RESTING
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn driven(calls: usize) -> (usize, usize, Poll<()>, Nudge, Arc<Count>) {
        let (mut nudge, count) = (Nudge::new(), Arc::<Count>::default());
        let mut polls = 0;
        let waker = Waker::from(Arc::clone(&count));
        let polled = nudge.drive(&mut Context::from_waker(&waker), |cx| {
            polls += 1;
            if polls <= calls {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        (polls, count.0.load(Ordering::SeqCst), polled, nudge, count)
    }

    #[test]
    fn what_calls_itself_is_polled_again_without_its_task_being_woken() {
        for (calls, polls) in [(0, 1), (1, 2), (3, 4)] {
            let (polled, woken, ..) = driven(calls);
            assert_eq!((polled, woken), (polls, 0), "{calls}");
        }
    }

    #[test]
    fn what_never_rests_lets_others_have_their_turn() {
        let (polls, woken, ..) = driven(100);
        assert_eq!((polls, woken), (4, 1));
    }

    #[test]
    fn a_call_from_outside_wakes_the_task() {
        let (.., nudge, count) = driven(1);
        nudge.waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_was_not_called_is_not_polled_in_vain() {
        let (.., mut nudge, count) = driven(0);
        let waker = Waker::from(Arc::clone(&count));
        let polls = |nudge: &mut Nudge| {
            let mut polls = 0;
            let _ = nudge.drive_if_called(&mut Context::from_waker(&waker), |_| {
                polls += 1;
                Poll::<()>::Pending
            });
            polls
        };
        assert_eq!((polls(&mut Nudge::new()), polls(&mut nudge)), (1, 0), "one that was never polled has to be");
        for calls in 1..=2 {
            nudge.waker.wake_by_ref();
            assert_eq!((polls(&mut nudge), polls(&mut nudge)), (1, 0));
            assert_eq!(count.0.load(Ordering::SeqCst), calls);
        }
    }

    #[test]
    fn the_task_that_polled_last_is_woken_until_it_is_forgotten() {
        let (.., mut nudge, first) = driven(0);
        let second = Arc::<Count>::default();
        let _ = nudge.drive(&mut Context::from_waker(&Waker::from(Arc::clone(&second))), |_| Poll::<()>::Pending);
        nudge.waker.wake_by_ref();
        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
        let _ = nudge.drive(&mut Context::from_waker(&Waker::from(Arc::clone(&second))), |_| Poll::<()>::Pending);
        nudge.forget();
        nudge.waker.wake_by_ref();
        assert_eq!(second.0.load(Ordering::SeqCst), 1);
        assert_eq!(Arc::strong_count(&second), 1);
    }

    #[test]
    fn a_quiet_call_is_heard_and_wakes_nobody() {
        for calls in [false, true] {
            let (.., nudge, count) = driven(0);
            let call = || nudge.waker.wake_by_ref();
            nudge.quietly(|| calls.then(call));
            assert_eq!(nudge.ear.state.load(Ordering::SeqCst), if calls { CALLED } else { RESTING });
            nudge.quietly(|| ());
            assert_eq!(nudge.ear.state.load(Ordering::SeqCst), if calls { CALLED } else { RESTING });
            assert_eq!(count.0.load(Ordering::SeqCst), 0);
            // From outside again, it is only woken where it did not know.
            call();
            assert_eq!(count.0.load(Ordering::SeqCst), usize::from(!calls));
        }
    }
}
