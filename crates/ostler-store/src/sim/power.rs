//! What is left after a power cut. Whatever was synced is there; of the rest a cut keeps what its kind says. Files
//! and names are told apart: the bytes of a file may be there and its name not, and the other way round.

use std::collections::BTreeMap;

use super::image::SECTOR;
use super::{Change, Directory, Image, Inode, Rng, State};

/// Which of what was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerCut {
    /// All of it: the process was killed, the machine went on.
    KeepAll,
    /// Nothing of it.
    DropUnsynced,
    /// What was done up to some call.
    Prefix,
    /// Each sector on its own is written or not, lengths lag behind, names are there up to some call.
    Torn,
    /// The bytes are all there; each change of a name on its own is there or not.
    LoseNames,
    /// Sectors and names, each on its own.
    Anything,
}

impl PowerCut {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::KeepAll, Self::DropUnsynced, Self::Prefix, Self::Torn, Self::LoseNames, Self::Anything];
}

/// Fills an empty disk with what is left.
pub(super) fn cut(state: &State, rng: &mut Rng, cut: PowerCut, after: &mut State) {
    let up_to = rng.below(state.ops + 1);
    let mut names = BTreeMap::new();
    for (dir, directory) in &state.dirs {
        names.insert(*dir, surviving_names(directory, rng, cut, up_to));
    }
    for (dir, names) in names {
        let mut kept = BTreeMap::new();
        for (name, inode) in names {
            let Some(file) = state.inodes.get(&inode) else { continue };
            let image = surviving_bytes(file, rng, cut, up_to);
            let inode = after.new_inode();
            after.inodes.insert(inode, Inode { durable: image.clone(), seen: image, pending: Vec::new() });
            kept.insert(name, inode);
        }
        after.dirs.insert(dir, Directory { durable: kept.clone(), seen: kept, pending: Vec::new() });
    }
}

fn surviving_names(directory: &Directory, rng: &mut Rng, cut: PowerCut, up_to: u64) -> BTreeMap<String, u64> {
    let mut names = directory.durable.clone();
    let prefix = rng.below(directory.pending.len() as u64 + 1);
    for (i, (number, change)) in directory.pending.iter().enumerate() {
        let keep = match cut {
            PowerCut::KeepAll => true,
            PowerCut::DropUnsynced => false,
            PowerCut::Prefix => *number < up_to,
            PowerCut::Torn => (i as u64) < prefix,
            PowerCut::LoseNames | PowerCut::Anything => rng.one_in(2),
        };
        if keep {
            change.apply(&mut names);
        }
    }
    names
}

fn surviving_bytes(file: &Inode, rng: &mut Rng, cut: PowerCut, up_to: u64) -> Image {
    let mut image = file.durable.clone();
    match cut {
        PowerCut::DropUnsynced => {}
        PowerCut::KeepAll | PowerCut::LoseNames => {
            for change in &file.pending {
                change.apply(&mut image);
            }
        }
        PowerCut::Prefix => {
            for change in file.pending.iter().filter(|change| change.number() < up_to) {
                change.apply(&mut image);
            }
        }
        PowerCut::Torn | PowerCut::Anything => tear(file, rng, &mut image),
    }
    image
}

/// For each sector that was written some version of it, from the durable one to the newest; and some length.
fn tear(file: &Inode, rng: &mut Rng, image: &mut Image) {
    let mut lengths = vec![image.len()];
    let mut writes: BTreeMap<u64, u64> = BTreeMap::new();
    let mut whole = image.clone();
    for change in &file.pending {
        change.apply(&mut whole);
        lengths.push(whole.len());
        if let Change::Write { offset, bytes, .. } = change {
            for sector in Image::touched(*offset, bytes.len() as u64) {
                *writes.entry(sector).or_default() += 1;
            }
        }
    }
    // A sector mostly is either as it was or as it is; the versions in between are rare on a disk too.
    let kept: BTreeMap<u64, u64> =
        writes.into_iter().map(|(sector, count)| (sector, rng.below(count + 1))).collect();
    let mut done: BTreeMap<u64, u64> = BTreeMap::new();
    let mut torn = image.clone();
    for change in &file.pending {
        match change {
            Change::Length { len, .. } if *len < torn.len() && rng.one_in(2) => torn.set_len(*len),
            Change::Length { .. } => {}
            Change::Write { offset, bytes, .. } => {
                for sector in Image::touched(*offset, bytes.len() as u64) {
                    let done = done.entry(sector).or_default();
                    *done += 1;
                    if *done > kept.get(&sector).copied().unwrap_or(0) {
                        continue;
                    }
                    let from = (sector * SECTOR).max(*offset);
                    let to = ((sector + 1) * SECTOR).min(*offset + bytes.len() as u64);
                    let index = |at: u64| usize::try_from(at - offset).expect("within the bytes");
                    torn.write(from, &bytes[index(from)..index(to)]);
                }
            }
        }
    }
    let at = usize::try_from(rng.below(lengths.len() as u64)).expect("an index");
    // The length as of some call: what lies behind it is lost, what it promises reads as zeros.
    torn.set_len(lengths[at]);
    *image = torn;
}
