//! The answer to a request that asked for no watch, on its way to whoever waits for it.

use bytes::Bytes;
use ostler_wire::client::response::{DataBody, Response};

use crate::error::Error;

/// An answer that the session has looked at.
#[derive(Debug)]
pub enum Answer<'a> {
    /// To getData: where it lies in what arrived. It is read when somebody takes it.
    Data {
        /// Its parts.
        body: DataBody<'a>,
        /// What arrived with it, if the data may share that memory.
        whole: Option<&'a Bytes>,
    },
    /// Anything else, and what went wrong.
    Read(Result<Response, Error>),
}

impl Answer<'_> {
    /// As it is for whoever waits for this one alone.
    ///
    /// # Errors
    /// The answer says no.
    pub fn into_result(self) -> Result<Response, Error> {
        match self {
            Self::Data { body, whole } => Ok(body.read(whole)),
            Self::Read(result) => result,
        }
    }
}
