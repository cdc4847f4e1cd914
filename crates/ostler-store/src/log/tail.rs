//! What the end of a log means. Appends go into space that read as zeros before, and a power cut leaves each
//! 512-byte sector of what was not synced either written or not. So where the records stop there is a *torn* record
//! only if a sector's part of it is all zeros or nothing at all follows; anything else is *damage*, and to go on as
//! if the log ended there would lose what was acknowledged.
//!
//! Java stops quietly at a zero length and at a wrong end mark, and refuses a wrong checksum. We stop only where a
//! crash explains the bytes, also at a wrong checksum, and refuse the rest.

use ostler_wire::disk::{END_OF_RECORD, RECORD_HEADER_LEN};

use super::{End, ReadAhead, record_header};
use crate::disk::{Disk, DiskResult};
use crate::error::Result;

/// What a disk writes as one.
const SECTOR: u64 = 512;
/// The high half of a checksum is always zero, so it says nothing about whether its sector was written.
const ALWAYS_ZERO: u64 = 4;
/// A record longer than this was written by nobody.
const LONGEST_RECORD: i32 = 1 << 30;

/// The end of the log at `at`, where there is no whole record; the inner error says what is damaged.
pub(super) fn classify<D: Disk>(
    bytes: &mut ReadAhead<D>,
    at: u64,
) -> Result<std::result::Result<End, String>> {
    let Some(first) = bytes.first_nonzero(at)? else { return Ok(Ok(End::Clean)) };
    let Some((checksum, length)) = record_header(bytes, at)? else {
        return Ok(Ok(End::Torn("the file ends in the middle of a record")));
    };
    let header_torn = has_zero_part(bytes, at + ALWAYS_ZERO, at + RECORD_HEADER_LEN as u64)?;
    if first >= sector_end(at + ALWAYS_ZERO) {
        return Ok(Ok(End::Torn("the record was not written, what follows it was")));
    }
    if let Some(real) = find_whole_record(bytes, at, checksum)? {
        return Ok(Err(format!("its length reads {length}, but with {real} its checksum holds")));
    }
    if length <= 0 || length > LONGEST_RECORD {
        return Ok(if header_torn || (length == 0 && nothing_after_header(bytes, at)?) {
            Ok(End::Torn("the header of the record was written in part"))
        } else {
            Err(format!("unreasonable length {length}"))
        });
    }
    let end_mark = at + RECORD_HEADER_LEN as u64 + u64::from(length.unsigned_abs());
    if end_mark >= bytes.length() {
        return Ok(Ok(End::Torn("the file ends in the middle of a record")));
    }
    let mark = bytes.byte_ahead(end_mark)?;
    if has_zero_part(bytes, at + ALWAYS_ZERO, end_mark + 1)? {
        return Ok(Ok(End::Torn("a part of the record was not written")));
    }
    if mark == 0 && bytes.first_nonzero(end_mark)?.is_none() {
        return Ok(Ok(End::Torn("the end of the record was not written")));
    }
    Ok(Err(if mark == END_OF_RECORD {
        format!("the checksum of the record ({checksum:#x}) does not match its {length} bytes")
    } else {
        format!("the record of {length} bytes does not end with its mark, but with {mark:#04x}")
    }))
}

fn sector_end(at: u64) -> u64 {
    (at / SECTOR + 1) * SECTOR
}

fn nothing_after_header<D: Disk>(bytes: &mut ReadAhead<D>, at: u64) -> DiskResult<bool> {
    Ok(bytes.first_nonzero(at + RECORD_HEADER_LEN as u64)?.is_none())
}

/// Whether the range has only zeros within one of the sectors that it touches.
fn has_zero_part<D: Disk>(bytes: &mut ReadAhead<D>, from: u64, to: u64) -> DiskResult<bool> {
    let mut at = from;
    while at < to {
        let end = sector_end(at).min(to);
        let len = usize::try_from(end - at).expect("a sector at most");
        if bytes.slice(at, len)?.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = end;
    }
    Ok(false)
}

/// The length, other than the one that is written, with which the record is whole: then the length is what rotted.
fn find_whole_record<D: Disk>(bytes: &mut ReadAhead<D>, at: u64, checksum: i64) -> DiskResult<Option<u64>> {
    const PIECE: u64 = 64 << 10;
    const MODULUS: u32 = 65_521;
    let Ok(wanted) = u32::try_from(checksum) else { return Ok(None) };
    if wanted == 0 {
        return Ok(None);
    }
    let start = at + RECORD_HEADER_LEN as u64;
    let (mut low, mut high) = (1_u32, 0_u32);
    let mut from = start;
    let mut zeros = 0_u64;
    while from < bytes.length() {
        let len = usize::try_from((bytes.length() - from).min(PIECE)).expect("a piece");
        for (i, byte) in bytes.slice(from, len)?.iter().enumerate() {
            if *byte == END_OF_RECORD && (high << 16 | low) == wanted {
                return Ok(Some(from + i as u64 - start));
            }
            low = (low + u32::from(*byte)) % MODULUS;
            high = (high + low) % MODULUS;
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
        }
        from += len as u64;
        // Behind the written part there is nothing to be found; look once whether it is that.
        if zeros >= PIECE && bytes.first_nonzero(from)?.is_none() {
            break;
        }
    }
    Ok(None)
}
