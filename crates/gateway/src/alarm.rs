//! A timer that is looked at far more often than it fires: whoever has it looks whenever something else has woken him.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// See the module.
    pub struct Alarm {
        #[pin]
        sleep: Sleep,
        // Who is woken when it fires, and need not be told to it again.
        listener: Option<Waker>,
    }
}

impl Alarm {
    /// Must be made inside a tokio runtime.
    pub fn at(deadline: Instant) -> Self {
        Self { sleep: sleep_until(deadline), listener: None }
    }

    pub fn deadline(&self) -> Instant {
        self.sleep.deadline()
    }

    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.project();
        *this.listener = None;
        this.sleep.reset(deadline);
    }

    /// It will wake the task, or has.
    pub fn is_heard(&self, cx: &Context<'_>) -> bool {
        self.listener.as_ref().is_some_and(|listener| listener.will_wake(cx.waker()))
    }

    pub fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_heard(cx) && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        let this = self.project();
        // A task that has used up its turn is put off by the timer, and not heard.
        let is_heard = has_budget_remaining();
        let polled = this.sleep.poll(cx);
        *this.listener = is_heard.then(|| cx.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::task::coop::consume_budget;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn it_fires_for_whoever_looked_last_and_again_when_it_is_reset() {
        let mut alarm = pin!(Alarm::at(Instant::now() + SOON));
        assert!(alarm.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        for _ in 0..2 {
            poll_fn(|cx| {
                // The second look does not ask the timer.
                alarm.as_mut().poll(cx).is_ready().then_some(()).map_or_else(|| alarm.as_mut().poll(cx), Poll::Ready)
            })
            .await;
            assert!(Instant::now() >= alarm.deadline());
            alarm.as_mut().reset(Instant::now() + SOON);
        }
    }

    #[tokio::test]
    async fn a_task_that_has_used_up_its_turn_is_not_forgotten() {
        let mut alarm = pin!(Alarm::at(Instant::now() + SOON));
        poll_fn(|cx| {
            while has_budget_remaining() {
                let _ = pin!(consume_budget()).poll(cx);
            }
            assert!(alarm.as_mut().poll(cx).is_pending());
            assert!(!alarm.is_heard(cx));
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        poll_fn(|cx| alarm.as_mut().poll(cx)).await;
    }
}
