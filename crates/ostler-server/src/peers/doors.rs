//! The open ports of one kind: the tasks that take connections, by where they listen. A change of the members may move
//! one of them and leave the others where they are.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tokio::task::AbortHandle;

use crate::member::Spot;

/// See the module.
#[derive(Default)]
pub(super) struct Doors(RefCell<BTreeMap<Spot, AbortHandle>>);

impl Doors {
    /// Those of `wanted` that are not open.
    pub(super) fn missing(&self, wanted: &[Spot]) -> Vec<Spot> {
        let open = self.0.borrow();
        wanted.iter().filter(|spot| !open.contains_key(*spot)).cloned().collect()
    }

    /// Adds what was opened, and closes what is not wanted.
    pub(super) fn change(&self, wanted: &[Spot], fresh: impl IntoIterator<Item = (Spot, AbortHandle)>) {
        let mut open = self.0.borrow_mut();
        open.extend(fresh);
        open.retain(|spot, door| {
            let stays = wanted.contains(spot);
            if !stays {
                door.abort();
            }
            stays
        });
    }

    pub(super) fn close_all(&self) {
        self.change(&[], []);
    }
}
