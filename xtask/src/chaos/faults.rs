//! Faults, done to real servers: each begins, lasts, and is undone. Whoever it killed is started again afterwards, as
//! a supervisor would.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::Result;
use ostler_sim::rng::Rng;

use super::member::Member;
use super::net::{Filter, Net, client_address, server_address};
use super::plan::{Class, Episode};

/// Begins a fault, and the other at the same time; says of each in a few words what was done to whom.
pub(super) fn begin(
    episode: &Episode,
    without: &[Class],
    members: &mut [Member],
    net: &mut Net,
    clients: usize,
) -> Result<Vec<(Class, String)>> {
    let mut rng = Rng::new(episode.seed);
    let mut done = Vec::new();
    let also = episode.also.filter(|class| !without.contains(class));
    for class in [Some(episode.class), also].into_iter().flatten() {
        if let Some(what) = begin_one(class, &mut rng, members, net, clients)? {
            done.push((class, what));
        }
    }
    Ok(done)
}

/// `None` if there was nobody to do it to.
fn begin_one(
    class: Class,
    rng: &mut Rng,
    members: &mut [Member],
    net: &mut Net,
    clients: usize,
) -> Result<Option<String>> {
    let count = members.len();
    let leader = leader_of(members);
    // Leaders are where it hurts: half of the time one of them is hit.
    let one = match leader {
        Some(leader) if rng.one_in(2) => leader,
        _ => rng.index(count),
    };
    let mark = |place: usize| if Some(place) == leader { "*" } else { "" };
    let name = |places: &[usize]| {
        places.iter().map(|place| format!("{}{}", place + 1, mark(*place))).collect::<Vec<_>>().join(" ")
    };
    match class {
        Class::Kill => {
            let whom = draw_victims(rng, one, count);
            for place in &whom {
                members[*place].kill()?;
            }
            Ok(Some(name(&whom)))
        }
        Class::PowerCut => {
            // Apache's server syncs neither its snapshots nor its renames: what that loses would be its own.
            let mut whom = draw_victims(rng, one, count);
            whom.retain(|place| members[*place].is_ostler());
            if whom.is_empty() {
                whom.extend(members.iter().position(Member::is_ostler));
            }
            for place in &whom {
                members[*place].cut_power()?;
            }
            Ok((!whom.is_empty()).then(|| name(&whom)))
        }
        Class::FullDisk => {
            // A full disk leaves Apache's server with a log that it refuses to start with (ZOOKEEPER-1621).
            let ours: Vec<usize> = (0..count).filter(|place| members[*place].is_ostler()).collect();
            if ours.is_empty() {
                return Ok(None);
            }
            let place = if members[one].is_ostler() { one } else { *rng.pick(&ours) };
            members[place].fill_disk()?;
            Ok(Some(name(&[place])))
        }
        Class::Pause => {
            members[one].pause()?;
            Ok(Some(name(&[one])))
        }
        Class::Halves => {
            let mut places = shuffled(rng, count);
            let near = places.split_off(count / 2);
            part(net, &places, &near, rng, clients)?;
            Ok(Some(format!("{} | {}", name(&places), name(&near))))
        }
        Class::LeaderAlone => {
            let place = leader.unwrap_or(one);
            let others: Vec<usize> = (0..count).filter(|other| *other != place).collect();
            part(net, &[place], &others, rng, clients)?;
            Ok(Some(name(&[place])))
        }
        Class::OneWay => {
            let others = (0..count).filter(|other| *other != one).map(server_address);
            let mut filter = Filter::default();
            let is_deaf = rng.one_in(2);
            if is_deaf {
                filter.deaf_to.extend(others)
            } else {
                filter.mute_to.extend(others)
            }
            net.set_filter(one, filter)?;
            Ok(Some(format!("{} is {}", name(&[one]), if is_deaf { "deaf" } else { "mute" })))
        }
        Class::Bridge => {
            let places = shuffled(rng, count);
            let (bridge, rest) = (places[0], &places[1..]);
            let (left, right) = rest.split_at(rest.len() / 2);
            for (here, there) in [(left, right), (right, left)] {
                for place in here {
                    let filter = Filter {
                        deaf_to: there.iter().copied().map(server_address).collect(),
                        ..Filter::default()
                    };
                    net.set_filter(*place, filter)?;
                }
            }
            Ok(Some(format!("{} - {} - {}", name(left), name(&[bridge]), name(right))))
        }
        Class::Reset => {
            let mut resets: BTreeSet<Ipv4Addr> = BTreeSet::new();
            if rng.one_in(2) {
                resets.extend((0..count).filter(|other| *other != one).map(server_address));
            }
            if resets.is_empty() || rng.one_in(2) {
                resets.extend((0..clients).map(client_address));
            }
            net.set_filter(one, Filter { resets, ..Filter::default() })?;
            Ok(Some(name(&[one])))
        }
        Class::Slow => {
            let filter = Filter {
                loss_percent: *rng.pick(&[0, 5, 20]),
                rate_kbit: Some(*rng.pick(&[96, 256, 1_000])),
                delay_ms: Some(*rng.pick(&[20, 80, 200])),
                ..Filter::default()
            };
            let what = format!(
                "{} {} kbit/s {} %",
                name(&[one]),
                filter.rate_kbit.unwrap_or_default(),
                filter.loss_percent
            );
            net.set_filter(one, filter)?;
            Ok(Some(what))
        }
    }
}

/// Undoes whatever there is, and starts who is down.
pub(super) fn end(members: &mut [Member], net: &mut Net) -> Result<()> {
    net.heal()?;
    let count = members.len();
    for member in members {
        member.resume()?;
        if member.was_full {
            member.empty_disk()?;
        }
        if !member.is_running() {
            member.start(count, net)?;
        }
    }
    Ok(())
}

/// Who says that it leads.
pub(super) fn leader_of(members: &[Member]) -> Option<usize> {
    members.iter().position(|member| member.standing().is_some_and(|standing| standing.leads))
}

/// One, a majority, or all.
fn draw_victims(rng: &mut Rng, one: usize, count: usize) -> Vec<usize> {
    match rng.below(10) {
        0..=5 => vec![one],
        6..=7 => {
            let mut whom = shuffled(rng, count);
            whom.truncate(count / 2 + 1);
            whom
        }
        _ => (0..count).collect(),
    }
}

fn shuffled(rng: &mut Rng, count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    for place in (1..count).rev() {
        places.swap(place, rng.index(place + 1));
    }
    places
}

/// Parts two groups of servers; each client stays with one of them.
fn part(net: &mut Net, left: &[usize], right: &[usize], rng: &mut Rng, clients: usize) -> Result<()> {
    let mut sides = [BTreeSet::new(), BTreeSet::new()];
    for client in 0..clients {
        sides[rng.index(2)].insert(client_address(client));
    }
    for (here, there, strangers) in [(left, right, &sides[1]), (right, left, &sides[0])] {
        for place in here {
            let mut filter = net.filter(*place).clone();
            filter.deaf_to.extend(there.iter().copied().map(server_address));
            filter.deaf_to.extend(strangers);
            net.set_filter(*place, filter)?;
        }
    }
    Ok(())
}
