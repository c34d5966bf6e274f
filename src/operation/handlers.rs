use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::call::{Call, OperationKind, Request, Response};
use super::registry::BoxFuture;
use crate::error::Error;

type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Response, Error>> + Send + Sync>;

/// A leaf made of functions, one for each operation that it answers; every other one is `UNSUPPORTED`.
///
/// A function takes the request of its operation and answers with its reply, alone or in a [`Response`]. See the
/// example of [the module](crate::operation).
#[derive(Clone, Default)]
pub struct Handlers {
    handlers: Arc<HashMap<OperationKind, Handler>>,
}

impl Handlers {
    /// A leaf that answers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the operation `O` with `handler`, in place of an earlier one for it.
    #[must_use]
    pub fn on<O, F, Fut, T>(mut self, handler: F) -> Self
    where
        O: Call,
        F: Fn(Request<O>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Error>> + Send + 'static,
        T: Into<Response<O::Reply>>,
    {
        let handler: Handler = Arc::new(move |request: Request| match request.downcast::<O>() {
            Ok(request) => {
                let future = handler(request);
                Box::pin(async move { Ok(future.await?.into().erase()) })
            }
            Err(other) => Box::pin(std::future::ready(Err(unsupported(other.operation().kind())))),
        });
        let mut handlers = HashMap::clone(&self.handlers);
        handlers.insert(O::KIND, handler);
        self.handlers = Arc::new(handlers);
        self
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

impl Service<Request> for Handlers {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let kind = request.operation().kind();
        match self.handlers.get(&kind) {
            Some(handler) => handler(request),
            None => Box::pin(std::future::ready(Err(unsupported(kind)))),
        }
    }
}

fn unsupported(kind: OperationKind) -> Error {
    Error::unsupported(format!("this registry does not support the operation {}", kind.as_str()))
}
