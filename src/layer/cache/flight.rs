use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::blob::Failure;
use crate::error::Error;
use crate::rt::Tasks;
use crate::store::recent::lock;

/// What is told to those who share a question: nothing yet, or the answer.
type Told<T> = Option<Result<T, Failure>>;

type Questions<Q, T> = Arc<Mutex<BTreeMap<Q, watch::Receiver<Told<T>>>>>;

/// The questions that upstreams are being asked: each once, however many have it.
pub(crate) struct Flights<Q, T>(Questions<Q, T>);

impl<Q, T> Default for Flights<Q, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// What came of a question.
pub(crate) enum Flown<T> {
    /// The answer, and whether this caller was the first to ask.
    Landed(T, bool),
    /// So much is going on already that it can't be asked in a task of its own.
    Full,
}

impl<Q, T> Flights<Q, T>
where
    Q: Ord + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// The answer to `question`, which `ask` asks unless somebody is asking it.
    ///
    /// It is asked in a task of its own, so that a caller who leaves doesn't end it for the others.
    pub(crate) async fn fly<F>(
        &self,
        tasks: &Tasks,
        question: Q,
        ask: impl FnOnce() -> F,
    ) -> Result<Flown<T>, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (mut receiver, flight) = self.board(&question);
        let is_first = flight.is_some();
        if let Some(flight) = flight {
            let asking = ask();
            let asking = async move {
                let answer = asking.await;
                flight.land(answer.map_err(|error| Failure::from(&error)));
            };
            if !tasks.spawn(asking) {
                return Ok(Flown::Full);
            }
        }
        let told = receiver.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        match told {
            Some(Ok(answer)) => Ok(Flown::Landed(answer, is_first)),
            Some(Err(failure)) => Err(failure.error()),
            None => Err(Error::unavailable("the request to the upstream was ended; try again")),
        }
    }

    fn board(&self, question: &Q) -> (watch::Receiver<Told<T>>, Option<Flight<Q, T>>) {
        let mut questions = lock(&self.0);
        if let Some(receiver) = questions.get(question) {
            return (receiver.clone(), None);
        }
        let (told, receiver) = watch::channel(None);
        questions.insert(question.clone(), receiver.clone());
        let flight = Flight { questions: Arc::clone(&self.0), question: question.clone(), told };
        (receiver, Some(flight))
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
            .is_some_and(|receiver| receiver.same_channel(&self.told.subscribe()));
        if is_this {
            questions.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;

    async fn answer(number: u32) -> Result<u32, Error> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(number)
    }

    fn landed(flown: Result<Flown<u32>, Error>) -> (u32, bool) {
        match flown {
            Ok(Flown::Landed(answer, is_first)) => (answer, is_first),
            Ok(Flown::Full) => panic!("full"),
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_shared_and_comes_though_the_first_caller_left() {
        let (flights, tasks) = (Flights::default(), Tasks::new());
        let first = flights.fly(&tasks, "q", || answer(1));
        assert!(tokio::time::timeout(Duration::from_millis(500), first).await.is_err());
        let (second, other) =
            tokio::join!(flights.fly(&tasks, "q", || answer(2)), flights.fly(&tasks, "r", || answer(3)));
        assert_eq!((landed(second), landed(other)), ((1, false), (3, true)));
        assert_eq!(landed(flights.fly(&tasks, "q", || answer(4)).await), (4, true));
        assert!(lock(&flights.0).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_when_the_flight_was_ended() {
        let (flights, tasks) = (Flights::<_, u32>::default(), Tasks::with_cap(1));
        let waiting = flights.fly(&tasks, "q", std::future::pending);
        let ending = async {
            tokio::task::yield_now().await;
            assert!(matches!(flights.fly(&tasks, "r", || answer(1)).await, Ok(Flown::Full)));
            tasks.abort();
        };
        let (answer, ()) = tokio::join!(waiting, ending);
        assert_eq!(answer.err().map(|error| error.kind()), Some(ErrorKind::Unavailable));
        assert!(lock(&flights.0).is_empty());
    }
}
