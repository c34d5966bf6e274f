use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::blob::Failure;
use crate::error::Error;
use crate::rt::Tasks;
use crate::store::recent::lock;

/// What is told to those who share a question: nothing yet, or the answer.
type Told<T> = Option<Result<T, Failure>>;

type Questions<Q, T> = Arc<Mutex<BTreeMap<Q, Asked<T>>>>;

/// The questions that upstreams are being asked: each once, however many have it.
pub(crate) struct Flights<Q, T>(Questions<Q, T>);

/// A question that is being asked, and since when.
struct Asked<T> {
    told: watch::Receiver<Told<T>>,
    since: Instant,
}

impl<Q, T> Default for Flights<Q, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Q, T> Flights<Q, T>
where
    Q: Ord + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// A place among those who wait for the answer to `question`, which `ask` asks unless somebody is asking it. None
    /// when so much is going on that it can't be asked in a task of its own.
    ///
    /// In a task of its own, so that a caller who leaves doesn't end it for the others.
    pub(crate) fn fly<F>(&self, tasks: &Tasks, question: Q, ask: impl FnOnce() -> F) -> Option<Waiting<T>>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (waiting, flight) = self.board(&question);
        if let Some(flight) = flight {
            let asking = ask();
            let asking = async move {
                let answer = asking.await;
                flight.land(answer.map_err(|error| Failure::from(&error)));
            };
            if !tasks.spawn(asking) {
                return None;
            }
        }
        Some(waiting)
    }

    fn board(&self, question: &Q) -> (Waiting<T>, Option<Flight<Q, T>>) {
        let mut questions = lock(&self.0);
        if let Some(asked) = questions.get(question) {
            return (Waiting { told: asked.told.clone(), since: asked.since, is_first: false }, None);
        }
        let (teller, told) = watch::channel(None);
        let since = Instant::now();
        questions.insert(question.clone(), Asked { told: told.clone(), since });
        let flight = Flight { questions: Arc::clone(&self.0), question: question.clone(), told: teller };
        (Waiting { told, since, is_first: true }, Some(flight))
    }
}

/// A place among those who wait for an answer.
pub(crate) struct Waiting<T> {
    told: watch::Receiver<Told<T>>,
    since: Instant,
    /// Whether this is the one for whom it was asked.
    pub(super) is_first: bool,
}

impl<T: Clone> Waiting<T> {
    /// The answer.
    pub(crate) async fn answer(&mut self) -> Result<T, Error> {
        let told = self.told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        match told {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(failure)) => Err(failure.error()),
            None => Err(Error::unavailable("the request to the upstream was ended; try again")),
        }
    }

    /// The answer, unless that takes longer than somebody who came at `came` waits. Another time it may be there.
    pub(super) async fn answer_within(&mut self, came: Instant, limit: Duration) -> Option<Result<T, Error>> {
        within(came.min(self.since), limit, self.answer()).await
    }
}

/// What `future` comes to, unless that takes longer than `limit` from `since` on. A limit too large for the clock is
/// none.
pub(super) async fn within<T>(since: Instant, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match since.checked_add(limit) {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// A question that is being asked; it is asked no more when this is dropped.
struct Flight<Q: Ord, T> {
    questions: Questions<Q, T>,
    question: Q,
    told: watch::Sender<Told<T>>,
}

impl<Q: Ord, T> Flight<Q, T> {
    fn land(self, answer: Result<T, Failure>) {
        // Whoever has the question from now on finds what is kept; the answer is for those who wait.
        lock(&self.questions).remove(&self.question);
        self.told.send_replace(Some(answer));
    }
}

impl<Q: Ord, T> Drop for Flight<Q, T> {
    fn drop(&mut self) {
        let mut questions = lock(&self.questions);
        // Another flight may have begun since this one landed.
        let is_this = questions
            .get(&self.question)
            .is_some_and(|asked| asked.told.same_channel(&self.told.subscribe()));
        if is_this {
            questions.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    async fn answer(number: u32) -> Result<u32, Error> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(number)
    }

    async fn landed(waiting: Option<Waiting<u32>>) -> (u32, bool) {
        let mut waiting = waiting.unwrap();
        (waiting.answer().await.unwrap(), waiting.is_first)
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_shared_and_comes_though_the_first_caller_left() {
        let (flights, tasks) = (Flights::default(), Tasks::new());
        let first = landed(flights.fly(&tasks, "q", || answer(1)));
        assert!(tokio::time::timeout(Duration::from_millis(500), first).await.is_err());
        let (second, other) = tokio::join!(
            landed(flights.fly(&tasks, "q", || answer(2))),
            landed(flights.fly(&tasks, "r", || answer(3)))
        );
        assert_eq!((second, other), ((1, false), (3, true)));
        assert_eq!(landed(flights.fly(&tasks, "q", || answer(4))).await, (4, true));
        assert!(lock(&flights.0).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_when_the_flight_was_ended() {
        let (flights, tasks) = (Flights::<_, u32>::default(), Tasks::with_cap(1));
        let mut waiting = flights.fly(&tasks, "q", std::future::pending).unwrap();
        tokio::task::yield_now().await;
        assert!(flights.fly(&tasks, "r", || answer(1)).is_none());
        tasks.abort();
        assert_eq!(waiting.answer().await.err().map(|error| error.kind()), Some(ErrorKind::Unavailable));
        assert!(lock(&flights.0).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_late_waits_no_longer_than_the_first() {
        let (flights, tasks) = (Flights::default(), Tasks::new());
        let start = Instant::now();
        let millis = Duration::from_millis;
        let mut first = flights.fly(&tasks, "q", || answer(1)).unwrap();
        assert!(first.answer_within(start, millis(400)).await.is_none());
        assert_eq!(start.elapsed(), millis(400));
        let mut late = flights.fly(&tasks, "q", || answer(2)).unwrap();
        assert!(late.answer_within(Instant::now(), millis(400)).await.is_none());
        assert_eq!(start.elapsed(), millis(400), "at once");
        // Who came before the question was asked has waited already.
        assert!(first.answer_within(start - millis(500), millis(900)).await.is_none());
        assert_eq!(start.elapsed(), millis(400));
        assert_eq!(first.answer_within(start, Duration::MAX).await.unwrap().unwrap(), 1);
        assert_eq!(late.answer_within(start, Duration::ZERO).await.unwrap().unwrap(), 1);
        assert_eq!(start.elapsed(), millis(1000));
    }
}
