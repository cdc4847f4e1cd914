//! What a learner that lags is sent from the log on disk. Reading happens on threads of its own, a few pieces ahead of the
//! connection and no more; the node's thread only hands the pieces on. Answers to Java's `TxnLogProposalIterator`.

use std::rc::Rc;

use ostler_node::disk_work::search_log;
use ostler_store::LogPart;
use ostler_wire::Zxid;
use ostler_wire::quorum::{Packet, Side};
use ostler_zab::{Input, LinkId};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::{spawn_blocking, spawn_local};
use tracing::{info, warn};

use super::PeersConfig;
use crate::os_disk::OsDisk;

/// About as much is read and written at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for the connection.
const PIECES: usize = 4;

/// Looks for the place of a learner in the log; the node hears what was found.
pub(super) fn search(config: Rc<PeersConfig>, link: LinkId, wanted: (Zxid, Zxid, Zxid)) {
    spawn_local(async move {
        let source = config.log.clone();
        let found = spawn_blocking(move || match source.size_factor {
            Some(factor) => search_log(&source.disk, wanted, factor),
            None => Ok(None),
        });
        let place = match found.await {
            Ok(Ok(place)) => place,
            Ok(Err(error)) => {
                warn!(%error, "cannot read the log for a learner; it is sent the whole tree");
                None
            }
            Err(_) => None,
        };
        config.tell(Input::LogSearched { link, place });
    });
}

/// Writes a part of the log as proposals and commits. Before it a tree may have been sent, with parts of what there is
/// up to `in_tree`.
pub(super) async fn write(
    config: &PeersConfig,
    stream: &mut (impl AsyncWrite + Unpin),
    after: Zxid,
    upto: Zxid,
    in_tree: Zxid,
) -> std::io::Result<()> {
    info!(%after, %upto, "sending a learner what the log on disk has");
    let (pieces, mut wanted) = channel(PIECES);
    let disk = config.log.disk.clone();
    let reading = spawn_blocking(move || read(&disk, (after, upto), in_tree, &pieces));
    while let Some(piece) = wanted.recv().await {
        stream.write_all(&piece).await?;
    }
    match reading.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            warn!(%error, "cannot read the log for a learner; it has to come again");
            Err(std::io::Error::other(error))
        }
        Err(error) => Err(std::io::Error::other(error)),
    }
}

/// Reads until all is read, or nobody wants it any more.
fn read(
    disk: &OsDisk,
    (after, upto): (Zxid, Zxid),
    in_tree: Zxid,
    pieces: &Sender<Vec<u8>>,
) -> ostler_store::Result<()> {
    let mut part = LogPart::open(disk, after, upto)?;
    let mut piece = Vec::new();
    while let Some(record) = part.read()? {
        let proposal = Packet::Proposal { zxid: record.zxid, entry: record.bytes };
        proposal.behind_tree(in_tree).encode(Side::Master, &mut piece);
        Packet::Commit { zxid: record.zxid }.encode(Side::Master, &mut piece);
        if piece.len() >= PIECE_BYTES && pieces.blocking_send(std::mem::take(&mut piece)).is_err() {
            return Ok(());
        }
    }
    // If nobody wants it, the connection is gone.
    let _ = pieces.blocking_send(piece);
    Ok(())
}
