//! Reading a snapshot as a stream: header, sessions, ACLs, nodes, seals. Memory is bounded by the longest field,
//! and that by the bytes that are there and by `jute.maxbuffer`.

use ostler_wire::disk::{
    DIGEST_SECTION_LEN, FILE_HEADER_LEN, FILE_VERSION, LAST_ZXID_SECTION_LEN, SEAL_LEN, SNAPSHOT_END,
    SNAPSHOT_MAGIC, StatPersisted,
};
use ostler_wire::jute::{Reader, decode_utf8};
use ostler_wire::{Acl, SessionId, Zxid};

use super::source::{FileStream, Source};
use super::window::{Stop, Window};
use super::{Ignore, SnapshotDigest, SnapshotVisitor, framing};
use crate::disk::{Disk, DiskResult};
use crate::error::{Error, Result};
use crate::names::{Compression, Named};

/// Bounds on what is read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest string or buffer in bytes; Java's is `jute.maxbuffer` and its extra.
    pub max_field_bytes: usize,
    /// The longest file in bytes, uncompressed.
    pub max_total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_field_bytes: 2 * ostler_wire::jute::DEFAULT_MAX_BUFFER, max_total_bytes: u64::MAX }
    }
}

/// What a snapshot says of itself besides its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotInfo {
    /// Of the section with the digest.
    pub digest: Option<SnapshotDigest>,
    /// Of the section with the last zxid. The zxid in the name is what counts.
    pub last_processed: Option<Zxid>,
    /// How many sessions it has.
    pub sessions: u64,
    /// How many nodes it has.
    pub nodes: u64,
    /// Bytes, uncompressed.
    pub bytes: u64,
}

/// Whether a file may be a whole snapshot, judged by its first or last bytes as Java does: a file that is not was
/// being written when its writer stopped.
pub fn is_plausible<D: Disk>(disk: &D, snapshot: &Named) -> DiskResult<bool> {
    let file = disk.open(&snapshot.path)?;
    let length = disk.length(&file)?;
    let mut bytes = [0; 10];
    Ok(match snapshot.compression {
        Compression::None => {
            let tail = &mut bytes[..SNAPSHOT_END.len()];
            length >= 10
                && disk.read_at(&file, length - SNAPSHOT_END.len() as u64, tail)? == SNAPSHOT_END.len()
                && *tail == SNAPSHOT_END
        }
        Compression::Gzip => disk.read_at(&file, 0, &mut bytes)? >= 2 && bytes.starts_with(&[0x1f, 0x8b]),
        Compression::Snappy => disk.read_at(&file, 0, &mut bytes)? >= 8 && bytes.starts_with(&framing::MAGIC),
    })
}

/// Reads a snapshot whole and checks every seal. On an error the visitor has seen a part of it.
pub fn read<D: Disk + Clone>(
    disk: &D,
    snapshot: &Named,
    limits: Limits,
    visitor: &mut dyn SnapshotVisitor,
) -> Result<SnapshotInfo> {
    let stream = FileStream::open(disk, &snapshot.path)?;
    let mut parser = Parser {
        window: Window::new(Source::new(stream, snapshot.compression)),
        limits,
        info: SnapshotInfo::default(),
    };
    match parser.parse(visitor) {
        Ok(()) => Ok(parser.info),
        Err(what) => Err(match parser.window.inner_mut().take_failure() {
            Some(error) => error.into(),
            None => {
                Error::BadSnapshot { file: disk.show(&snapshot.path), offset: parser.window.position(), what }
            }
        }),
    }
}

/// Reads a snapshot only to check it.
pub fn verify<D: Disk + Clone>(disk: &D, snapshot: &Named, limits: Limits) -> Result<SnapshotInfo> {
    read(disk, snapshot, limits, &mut Ignore)
}

type Parsed<T> = std::result::Result<T, String>;

struct Parser<D: Disk> {
    window: Window<Source<D>>,
    limits: Limits,
    info: SnapshotInfo,
}

impl<D: Disk> Parser<D> {
    fn parse(&mut self, visitor: &mut dyn SnapshotVisitor) -> Parsed<()> {
        self.header()?;
        self.sessions(visitor)?;
        self.acls(visitor)?;
        self.nodes(visitor)?;
        self.seal()?;
        self.sections()
    }

    fn header(&mut self) -> Parsed<()> {
        let header = self.take(FILE_HEADER_LEN, "header")?;
        if header[..4] != SNAPSHOT_MAGIC {
            return Err("it does not begin as a snapshot does (ZKSN)".into());
        }
        if header[4..8] != FILE_VERSION.to_be_bytes() {
            return Err("its format has a version that is not known".into());
        }
        Ok(())
    }

    fn sessions(&mut self, visitor: &mut dyn SnapshotVisitor) -> Parsed<()> {
        for _ in 0..self.count("sessions")? {
            let id = SessionId(self.long("session.id")?);
            let timeout_ms = self.int("session.timeout")?;
            visitor.session(id, timeout_ms)?;
            self.info.sessions += 1;
        }
        Ok(())
    }

    fn acls(&mut self, visitor: &mut dyn SnapshotVisitor) -> Parsed<()> {
        for _ in 0..self.count("acls")? {
            let id = self.long("acl.id")?;
            let begin = self.window.position();
            let mut list = Vec::new();
            // Java tolerates a null list; it grants nothing.
            for _ in 0..self.count("acl.list")? {
                list.push(Acl::new(
                    self.int("acl.perms")?,
                    self.string("acl.scheme")?.unwrap_or_default(),
                    self.string("acl.id")?.unwrap_or_default(),
                ));
                if self.window.position() - begin > self.limits.max_field_bytes as u64 {
                    return Err(format!("an ACL is longer than {} bytes", self.limits.max_field_bytes));
                }
            }
            visitor.acl(id, list)?;
        }
        Ok(())
    }

    fn nodes(&mut self, visitor: &mut dyn SnapshotVisitor) -> Parsed<()> {
        loop {
            let path_len = self.length("node.path")?.ok_or("a node without a path")?;
            if path_len == 1 && self.peek(1)? == b"/" {
                self.take(1, "node.path")?;
                return Ok(());
            }
            // The node in one piece: path, data with its length, ACL id and Stat.
            let head = self.peek(path_len + 4)?;
            let data_len = match head.get(path_len..path_len + 4) {
                Some(bytes) => i32::from_be_bytes(bytes.try_into().expect("4 bytes")),
                None => return Err("it ends within a node".into()),
            };
            let data_bytes = self.check_length(data_len, "node.data")?;
            let whole = path_len + 4 + data_bytes.unwrap_or(0) + 8 + StatPersisted::LEN;
            let limit = self.limits.max_total_bytes;
            if self.window.position() > limit {
                return Err(format!("it is longer than {limit} bytes"));
            }
            let bytes = self.take(whole, "node")?;
            let path = decode_utf8(&bytes[..path_len]);
            let data = data_bytes.map(|len| &bytes[path_len + 4..path_len + 4 + len]);
            let mut rest = Reader::new(&bytes[whole - 8 - StatPersisted::LEN..]);
            let acl_id = rest.long("node.acl").map_err(|error| error.to_string())?;
            let stat = StatPersisted::decode(&mut rest).map_err(|error| error.to_string())?;
            visitor.node(&path, data, acl_id, &stat)?;
            self.info.nodes += 1;
        }
    }

    /// The checksum of all before it, and the end mark.
    fn seal(&mut self) -> Parsed<()> {
        let computed = i64::from(self.window.checksum());
        let seal = self.take(SEAL_LEN, "seal")?;
        let read = i64::from_be_bytes(seal[..8].try_into().expect("8 bytes"));
        if seal[8..] != SNAPSHOT_END {
            return Err("a seal does not end with its mark".into());
        }
        if read != computed {
            return Err(format!("its checksum {read:#x} does not match its bytes ({computed:#x})"));
        }
        Ok(())
    }

    /// What follows the first seal, told by its length.
    fn sections(&mut self) -> Parsed<()> {
        const LAST_ZXID: usize = LAST_ZXID_SECTION_LEN + SEAL_LEN;
        const DIGEST: usize = DIGEST_SECTION_LEN + SEAL_LEN;
        const BOTH: usize = DIGEST + LAST_ZXID;
        let rest = self.peek(BOTH + 1)?;
        let (digest, last_zxid) = match rest.len() {
            0 => (false, false),
            LAST_ZXID => (false, true),
            DIGEST => (true, false),
            BOTH => (true, true),
            more => return Err(format!("{more} bytes follow its seal that mean nothing")),
        };
        if digest {
            let zxid = Zxid(self.long("digest.zxid")?);
            let version = self.int("digest.version")?;
            let digest = self.long("digest.digest")?;
            self.seal()?;
            self.info.digest = Some(SnapshotDigest { zxid, version, digest });
        }
        if last_zxid {
            let zxid = Zxid(self.long("lastProcessedZxid")?);
            self.seal()?;
            self.info.last_processed = Some(zxid);
        }
        self.info.bytes = self.window.position();
        Ok(())
    }

    fn take(&mut self, n: usize, what: &'static str) -> Parsed<&[u8]> {
        self.window.take(n).map_err(|stop| match stop {
            Stop::End => format!("it ends within {what}"),
            Stop::Failed(error) => format!("cannot read {what}: {error}"),
        })
    }

    fn peek(&mut self, n: usize) -> Parsed<&[u8]> {
        self.window.peek(n).map_err(|stop| match stop {
            Stop::End => "it ends".into(),
            Stop::Failed(error) => error.to_string(),
        })
    }

    fn int(&mut self, what: &'static str) -> Parsed<i32> {
        Ok(i32::from_be_bytes(self.take(4, what)?.try_into().expect("4 bytes")))
    }

    fn long(&mut self, what: &'static str) -> Parsed<i64> {
        Ok(i64::from_be_bytes(self.take(8, what)?.try_into().expect("8 bytes")))
    }

    fn count(&mut self, what: &'static str) -> Parsed<u32> {
        Ok(u32::try_from(self.int(what)?).unwrap_or(0))
    }

    /// The length of a string or buffer; `None` is null.
    fn length(&mut self, what: &'static str) -> Parsed<Option<usize>> {
        let length = self.int(what)?;
        self.check_length(length, what)
    }

    fn check_length(&self, length: i32, what: &'static str) -> Parsed<Option<usize>> {
        match usize::try_from(length) {
            Ok(length) if length <= self.limits.max_field_bytes => Ok(Some(length)),
            _ if length == -1 => Ok(None),
            _ => Err(format!(
                "unreasonable length {length} of {what} (jute.maxbuffer allows {})",
                self.limits.max_field_bytes
            )),
        }
    }

    fn string(&mut self, what: &'static str) -> Parsed<Option<String>> {
        let Some(length) = self.length(what)? else { return Ok(None) };
        Ok(Some(decode_utf8(self.take(length, what)?).into_owned()))
    }
}
