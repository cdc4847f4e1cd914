//! What a round does, drawn from the seed alone: which servers there are, and which faults come when.

use ostler_sim::rng::Rng;

/// A class of faults. Each has to be met in every longer run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// SIGKILL: of one, of the leader, of a majority, of all.
    Kill,
    /// SIGSTOP, then SIGCONT.
    Pause,
    /// Two halves that do not hear one another.
    Halves,
    /// The leader alone with some of the clients.
    LeaderAlone,
    /// One server hears and is not heard, or the other way round.
    OneWay,
    /// Two halves, and one server that sees both.
    Bridge,
    /// Connections end with resets.
    Reset,
    /// Little bandwidth, loss, delay.
    Slow,
    /// No byte is free on the disk.
    FullDisk,
    /// What was not synced is lost.
    PowerCut,
}

impl Class {
    /// All of them.
    pub(super) const ALL: [Self; 10] = [
        Self::Kill,
        Self::Pause,
        Self::Halves,
        Self::LeaderAlone,
        Self::OneWay,
        Self::Bridge,
        Self::Reset,
        Self::Slow,
        Self::FullDisk,
        Self::PowerCut,
    ];

    /// What goes on inside a server or its disk, and not between servers.
    pub(super) const INNER: [Self; 4] = [Self::Kill, Self::Pause, Self::FullDisk, Self::PowerCut];

    /// A name for tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Pause => "pause",
            Self::Halves => "halves",
            Self::LeaderAlone => "leader alone",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Reset => "reset",
            Self::Slow => "slow link",
            Self::FullDisk => "full disk",
            Self::PowerCut => "power cut",
        }
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Episode {
    /// What.
    pub(super) class: Class,
    /// What else, at the same time.
    pub(super) also: Option<Class>,
    /// How long all is well before it, in milliseconds.
    pub(super) gap_ms: u64,
    /// How long it lasts.
    pub(super) lasts_ms: u64,
    /// Draws whatever else has to be chosen, such as whom it hits.
    pub(super) seed: u64,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// One letter for each server: `O` for Ostler, `J` for Java.
    pub(super) shape: String,
    /// Ostler's lanes.
    pub(super) lanes: u32,
    /// The faults, one after the other; the round is over when its time is, wherever it stands.
    pub(super) episodes: Vec<Episode>,
    /// What the clients draw from.
    pub(super) seed: u64,
}

/// Three and five, pure and mixed; a pair of rounds has the same shape, with one lane and with three.
const SHAPES: [&str; 5] = ["OOO", "OOJ", "OOOOO", "JOJ", "OJOJO"];

impl Plan {
    /// The plan of a round of a seed.
    pub(super) fn draw(seed: u64, round: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let shape = SHAPES[usize::try_from(round / 2).expect("few rounds") % SHAPES.len()].to_owned();
        let mut episodes = Vec::new();
        // One deck for the seed, in which every other round begins at the middle: two rounds meet every class.
        let mut deck = Class::ALL.to_vec();
        let mut dealer = Rng::new(seed);
        for place in (1..deck.len()).rev() {
            deck.swap(place, dealer.index(place + 1));
        }
        let middle = deck.len() / 2;
        deck.rotate_left(if round.is_multiple_of(2) { 0 } else { middle });
        for turn in 0..60 {
            let class = deck[turn % deck.len()];
            let also = *rng.pick(&Class::INNER);
            episodes.push(Episode {
                class,
                also: (rng.one_in(4) && !Class::INNER.contains(&class)).then_some(also),
                gap_ms: rng.range(200, 900),
                lasts_ms: if rng.one_in(5) { rng.range(2_500, 4_500) } else { rng.range(300, 1_800) },
                seed: rng.draw(),
            });
        }
        Self { shape, lanes: if round.is_multiple_of(2) { 1 } else { 3 }, episodes, seed: rng.draw() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides() {
        assert_eq!(Plan::draw(7, 3), Plan::draw(7, 3));
        assert_ne!(Plan::draw(7, 3).episodes, Plan::draw(8, 3).episodes);
    }

    #[test]
    fn half_of_the_rounds_have_three_lanes() {
        let plans: Vec<Plan> = (0..20).map(|round| Plan::draw(1, round)).collect();
        assert_eq!(plans.iter().filter(|plan| plan.lanes == 3).count(), 10);
        for shape in SHAPES {
            assert!(plans.iter().filter(|plan| plan.shape == shape).count() >= 2);
        }
    }

    #[test]
    fn every_class_comes_soon_in_two_rounds() {
        for class in Class::ALL {
            let is_soon =
                |round| Plan::draw(5, round).episodes[..5].iter().any(|episode| episode.class == class);
            assert!(is_soon(2) || is_soon(3), "{}", class.name());
        }
    }
}
