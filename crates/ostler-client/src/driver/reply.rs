//! The answer to a request as a future. The request is on its way when the call returns, not when the future is first
//! polled: so requests go out in the order of the calls, and many can be under way before the first is awaited.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ostler_wire::client::response::Response;

use super::shared::{Shared, SlotKey};
use super::watch::Hold;
use crate::connect_string::Chroot;
use crate::error::{Error, ErrorKind};

/// Makes of the answer what the caller wants.
pub(crate) type Shape<T> = fn(Result<Response, Error>, &Chroot, Option<Hold>) -> Result<T, Error>;

enum Inner {
    /// It was not even sent.
    Refused(Box<Error>),
    Waiting(SlotKey),
    Done,
}

/// The answer to a request that is on its way. Dropping it takes nothing back: the request was sent, and whatever its
/// answer is, nobody hears it. A watch that was asked for with it is taken off.
#[must_use = "the request is on its way; its answer tells whether it went well"]
pub struct Reply<T> {
    shared: Arc<Shared>,
    inner: Inner,
    shape: Shape<T>,
    /// Few have one, and a reply that is moved about is to be small.
    hold: Option<Box<Hold>>,
}

impl<T> Reply<T> {
    pub(crate) fn waiting(shared: Arc<Shared>, slot: SlotKey, shape: Shape<T>, hold: Option<Hold>) -> Self {
        Self { shared, inner: Inner::Waiting(slot), shape, hold: hold.map(Box::new) }
    }

    pub(crate) fn refused(shared: Arc<Shared>, error: Error, shape: Shape<T>) -> Self {
        Self { shared, inner: Inner::Refused(Box::new(error)), shape, hold: None }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let answer = match std::mem::replace(&mut this.inner, Inner::Done) {
            Inner::Refused(error) => Err(*error),
            Inner::Waiting(slot) => {
                let answer = this.shared.lock().poll_slot(slot, cx.waker());
                let Some(answer) = answer else {
                    this.inner = Inner::Waiting(slot);
                    return Poll::Pending;
                };
                answer
            }
            Inner::Done => Err(Error::new(ErrorKind::Misuse, "polled after it was ready")),
        };
        Poll::Ready((this.shape)(answer, &this.shared.chroot, this.hold.take().map(|hold| *hold)))
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Inner::Waiting(slot) = self.inner {
            self.shared.lock().abandon_slot(slot, 1);
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.inner {
            Inner::Refused(error) => return write!(f, "Reply(refused: {error})"),
            Inner::Waiting(_) => "waiting",
            Inner::Done => "done",
        };
        write!(f, "Reply({state})")
    }
}
