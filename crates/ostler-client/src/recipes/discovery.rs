//! Services that are found by name: providers register, consumers keep a list and choose from it.
//!
//! **Layouts**: plain, Dubbo's, and that of Curator's service discovery; see [`Layout`]. All ephemeral.
//!
//! **Guarantees**: a provider that dies is off the lists when its session expires; the consumer's list outlives
//! connection and session; a provider that fails several times in a row is set aside for a time that doubles, and tried
//! again. **Not**: consumers hear of a provider that goes a moment later: [`Registration::offline`] therefore waits
//! between leaving the list and returning.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::cache::{Cache, CacheEvent, CachedNode, Scope};
use super::common::ensure;
use super::group::{Group, Membership};
use super::layout::{Instance, Layout, percent_encode};
use crate::driver::Random;
use crate::{Client, Error};

/// So many failures in a row set a provider aside.
const FAILURES: u32 = 3;
/// For so long the first time.
const FIRST_ASIDE: Duration = Duration::from_secs(1);
const LONGEST_ASIDE: Duration = Duration::from_secs(60);

/// Where providers register.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
    layout: Layout,
}

impl Registry {
    /// The registry of this layout.
    #[must_use]
    pub fn new(client: &Client, layout: Layout) -> Self {
        Self { client: client.clone(), layout }
    }

    /// Registers a provider; waits while another session has the same id.
    pub async fn register(&self, service: &str, instance: &Instance) -> Result<Registration, Error> {
        let (name, data) = self.layout.encode(service, instance);
        let directory = self.layout.providers(service);
        let membership = Group::new(&self.client, &directory).join(&name, data).await?;
        Ok(Registration { membership })
    }

    /// Registers a consumer, where the layout has a place for it: for people and tools that look.
    pub async fn register_consumer(&self, service: &str, address: &str) -> Result<Option<Membership>, Error> {
        if self.layout != Layout::Dubbo {
            return Ok(None);
        }
        let name = percent_encode(&format!("consumer://{address}/{service}?category=consumers"));
        let directory = format!("/dubbo/{service}/consumers");
        Group::new(&self.client, &directory).join(&name, "").await.map(Some)
    }

    /// Keeps a list of a service's providers. To be called on a tokio runtime.
    pub async fn discover(&self, service: &str) -> Result<Discovery, Error> {
        let directory = self.layout.providers(service);
        ensure(&self.client, &directory).await?;
        let cache = Cache::start(&self.client, &directory, Scope::Children);
        Ok(Discovery { cache, layout: self.layout.clone() })
    }
}

/// A provider that is registered. Dropped, it goes off the list in the background.
#[derive(Debug)]
#[must_use = "a registration that is dropped goes off the list"]
pub struct Registration {
    membership: Membership,
}

impl Registration {
    /// Waits until it is lost: then register again, with a new client.
    pub async fn lost(&self) {
        self.membership.lost().await;
    }

    /// Goes off the list, and waits for `grace`, so that consumers see it before the provider stops serving.
    pub async fn offline(self, grace: Duration) -> Result<(), Error> {
        self.membership.leave().await?;
        tokio::time::sleep(grace).await;
        Ok(())
    }
}

/// A list of providers.
#[derive(Debug)]
pub struct Discovery {
    cache: Cache,
    layout: Layout,
}

impl Discovery {
    /// The providers, as far as is known, in the order of their ids.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let decode = |(path, node): (String, CachedNode)| {
            self.layout.decode(path.rsplit('/').next().unwrap_or_default(), &node.data)
        };
        self.cache.nodes().into_iter().filter_map(decode).collect()
    }

    /// Waits until the list has been read once; `false` if the session is over before.
    pub async fn loaded(&mut self) -> bool {
        self.cache.initialized().await
    }

    /// Waits until the list changes; `false` if the session is over: the list stays as it is.
    pub async fn changed(&mut self) -> bool {
        !matches!(self.cache.next().await, None | Some(CacheEvent::Ended))
    }
}

/// How a provider is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
    /// Any, in proportion to the weights.
    Weighted,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    aside: Duration,
    until: Option<Instant>,
}

#[derive(Debug)]
struct Choice {
    random: Random,
    turn: usize,
    trouble: BTreeMap<String, Trouble>,
}

/// Chooses among providers, and sets aside those that fail.
#[derive(Debug)]
pub struct Balancer {
    strategy: Strategy,
    choice: Mutex<Choice>,
}

impl Balancer {
    /// A balancer.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        let choice = Choice { random: Random::from_system(), turn: 0, trouble: BTreeMap::new() };
        Self { strategy, choice: Mutex::new(choice) }
    }

    /// The next provider of a list. When all are set aside, one of them: it may be well again.
    pub fn pick<'a>(&self, instances: &'a [Instance]) -> Option<&'a Instance> {
        let mut choice = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Who is off the list is forgotten, so that this does not grow for ever.
        choice.trouble.retain(|id, _| instances.iter().any(|instance| instance.id == *id));
        let is_aside = |instance: &&Instance| {
            choice
                .trouble
                .get(&instance.id)
                .and_then(|trouble| trouble.until)
                .is_some_and(|until| until > now)
        };
        let mut good: Vec<&Instance> = instances.iter().filter(|instance| !is_aside(instance)).collect();
        if good.is_empty() {
            good = instances.iter().collect();
        }
        if good.is_empty() {
            return None;
        }
        Some(match self.strategy {
            Strategy::Random => good[choice.random.below(good.len())],
            Strategy::RoundRobin => {
                choice.turn = choice.turn.wrapping_add(1);
                good[choice.turn % good.len()]
            }
            Strategy::Weighted => {
                let total: u64 = good.iter().map(|instance| u64::from(instance.weight)).sum();
                if total == 0 {
                    return good.first().copied();
                }
                let mut at = choice.random.bits() % total;
                good.iter().copied().find(|instance| {
                    let weight = u64::from(instance.weight);
                    let found = at < weight;
                    at = at.saturating_sub(weight);
                    found
                })?
            }
        })
    }

    /// A call to this provider failed. After several in a row it is set aside, for longer each time.
    pub fn failed(&self, instance: &Instance) {
        let mut choice = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = choice.trouble.entry(instance.id.clone()).or_default();
        trouble.failures += 1;
        if trouble.failures >= FAILURES {
            trouble.aside = (trouble.aside * 2).clamp(FIRST_ASIDE, LONGEST_ASIDE);
            trouble.until = Some(Instant::now() + trouble.aside);
            // Back on trial: the next failure sets it aside again.
            trouble.failures = FAILURES - 1;
        }
    }

    /// A call to this provider went well.
    pub fn succeeded(&self, instance: &Instance) {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner).trouble.remove(&instance.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_is_set_aside_and_comes_back() {
        let instances: Vec<_> = (0..3).map(|i| Instance::new(&i.to_string(), "h", i)).collect();
        let balancer = Balancer::new(Strategy::RoundRobin);
        let picks = |n: usize| (0..n).map(|_| balancer.pick(&instances).unwrap().port).collect::<Vec<_>>();
        let mut all = picks(3);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        for _ in 0..FAILURES {
            assert!(picks(3).contains(&1));
            balancer.failed(&instances[1]);
        }
        assert!(!picks(6).contains(&1));
        tokio::time::advance(FIRST_ASIDE).await;
        assert!(picks(3).contains(&1), "on trial");
        balancer.failed(&instances[1]);
        tokio::time::advance(FIRST_ASIDE).await;
        assert!(!picks(6).contains(&1), "for twice as long");
        tokio::time::advance(FIRST_ASIDE).await;
        balancer.succeeded(&instances[1]);
        assert!(picks(3).contains(&1));
    }

    #[test]
    fn weights_are_proportions() {
        let mut instances =
            vec![Instance::new("a", "h", 1), Instance::new("b", "h", 2), Instance::new("c", "h", 3)];
        (instances[0].weight, instances[1].weight, instances[2].weight) = (0, 10, 30);
        let balancer = Balancer::new(Strategy::Weighted);
        let mut counts = [0_u32; 4];
        for _ in 0..4000 {
            counts[usize::from(balancer.pick(&instances).unwrap().port)] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((800..1200).contains(&counts[2]), "{counts:?}");
    }
}
