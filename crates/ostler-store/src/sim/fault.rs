//! Faults that are planned for the calls of a simulated disk.

use std::collections::BTreeMap;

use crate::disk::DiskOp;

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops before it.
    CrashBefore,
    /// The machine stops after it, and the caller does not hear that it was done.
    CrashAfter,
    /// It fails. If it was a sync, what was to be synced is lost, and a later sync succeeds all the same.
    Error,
    /// A write stops half-way with an error; another call just fails.
    Short,
    /// There is no space.
    Full,
}

/// The faults of a run.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    at: BTreeMap<u64, Fault>,
    /// The next calls of these kinds fail.
    next: Vec<(DiskOp, Fault)>,
    /// How many bytes the disk holds; unbounded if not given.
    pub(super) space_bytes: Option<u64>,
}

impl FaultPlan {
    /// One fault at the call with this number.
    #[must_use]
    pub fn at(number: u64, fault: Fault) -> Self {
        Self::default().and(number, fault)
    }

    /// One more fault.
    #[must_use]
    pub fn and(mut self, number: u64, fault: Fault) -> Self {
        self.at.insert(number, fault);
        self
    }

    /// One fault at the next call of a kind.
    #[must_use]
    pub fn at_next(op: DiskOp, fault: Fault) -> Self {
        Self { next: vec![(op, fault)], ..Self::default() }
    }

    /// One more fault, at the next call of a kind.
    #[must_use]
    pub fn and_next(mut self, op: DiskOp, fault: Fault) -> Self {
        self.next.push((op, fault));
        self
    }

    /// With so many bytes on the disk, or without a bound.
    #[must_use]
    pub fn space(mut self, bytes: Option<u64>) -> Self {
        self.space_bytes = bytes;
        self
    }

    pub(super) fn take(&mut self, number: u64, op: DiskOp) -> Option<Fault> {
        if let Some(fault) = self.at.remove(&number) {
            return Some(fault);
        }
        let at = self.next.iter().position(|(kind, _)| *kind == op)?;
        Some(self.next.remove(at).1)
    }
}
