//! Who may connect at all: so many clients from one address, and so many together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The limits, and who is in.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Connections from one address; 0 for no limit.
    per_address: usize,
    /// Connections together; 0 for no limit.
    together: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    by_address: BTreeMap<IpAddr, usize>,
    total: usize,
    rejected: u64,
}

/// A place that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(per_address: usize, together: usize) -> Self {
        Self { per_address, together, inside: Mutex::new(Inside::default()) }
    }

    /// A place for a client from this address, if there is one.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let from_here = inside.by_address.get(&address).copied().unwrap_or(0);
        let full = (self.per_address > 0 && from_here >= self.per_address)
            || (self.together > 0 && inside.total >= self.together);
        if full {
            inside.rejected += 1;
            return None;
        }
        *inside.by_address.entry(address).or_default() += 1;
        inside.total += 1;
        drop(inside);
        Some(Admitted { admission: Arc::clone(self), address })
    }

    /// How many were turned away.
    pub(crate) fn rejected(&self) -> u64 {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).rejected
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut inside = self.admission.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total -= 1;
        if let Some(count) = inside.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let admission = Arc::new(Admission::new(2, 3));
        let (a, b): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert!(admission.admit(a).is_none());
        let _third = admission.admit(b).unwrap();
        assert!(admission.admit(b).is_none(), "three together");
        drop(first);
        assert!(admission.admit(a).is_some());
        assert_eq!(admission.rejected(), 2);
    }
}
