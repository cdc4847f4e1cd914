//! Which loop runs on which thread, from the number of processors.

/// How the loops are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Threads that serve clients.
    pub(crate) lanes: usize,
    /// Whether the node runs beside lane 0, so that a write changes threads only for the disk.
    pub(crate) node_on_lane_0: bool,
}

impl Placement {
    pub(crate) fn choose(lanes: usize) -> Self {
        Self { lanes, node_on_lane_0: lanes == 1 }
    }

    /// Lanes for a machine with so many processors: half of them, since clients and the log need some too.
    pub(crate) fn default_lanes(processors: usize) -> usize {
        (processors / 2).clamp(1, 16)
    }
}
