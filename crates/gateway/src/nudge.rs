//! A waker between a task and a future that calls itself.
//!
//! hyper's connections are made for tasks of their own: much of what is handed to and fro within them wakes their task, which
//! is the very one that polls them. Such a call is answered by polling again at once; only those from outside wake the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future is polled again at once so many times, if it asks for it; then others have their turn first.
const MAX_TURNS: u8 = 4;

const RESTING: u8 = 0;
const WORKING: u8 = 1;
/// It asked to be polled again while it was.
const CALLED: u8 = 2;

/// See the module.
pub struct Nudge {
    ear: Arc<Ear>,
    waker: Waker,
}

/// Hears the calls.
struct Ear {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Nudge {
    pub fn new() -> Self {
        let ear = Arc::new(Ear { state: AtomicU8::new(RESTING), task: AtomicWaker::new() });
        Self { waker: Waker::from(Arc::clone(&ear)), ear }
    }

    /// For what calls from outside.
    pub const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whoever polled last is woken no more.
    pub fn forget(&self) {
        self.ear.task.take();
    }

    /// Polls until nothing is left to do for now.
    pub fn drive<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let state = &self.ear.state;
        self.ear.task.register(cx.waker());
        for _ in 0..MAX_TURNS {
            state.store(WORKING, Ordering::Release);
            let polled = poll(&mut Context::from_waker(&self.waker));
            let was_called = state.compare_exchange(WORKING, RESTING, Ordering::AcqRel, Ordering::Acquire).is_err();
            if polled.is_ready() || !was_called {
                state.store(RESTING, Ordering::Release);
                return polled;
            }
        }
        state.store(RESTING, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(WORKING, CALLED, Ordering::AcqRel, Ordering::Acquire) == Err(RESTING) {
            self.task.wake();
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
        let (nudge, count) = (Nudge::new(), Arc::<Count>::default());
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
}
