//! A slab of values in chunks, addressed by 32-bit ids. Growing adds a chunk and moves nothing, so a tree of
//! millions of nodes never stalls to copy itself. An id is valid until it is taken; who keeps one longer must look
//! it up anew.

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Values by id.
#[derive(Debug, Default)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T: Default> Slab<T> {
    /// Puts a value in and says where.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            *self.at_mut(id) = value;
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let index = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("one was just made sure of");
        let id = u32::try_from(index + chunk.len()).expect("2^32 nodes are more than fit into memory");
        chunk.push(value);
        id
    }

    /// Takes a value out; its id may be given to another.
    pub(crate) fn take(&mut self, id: u32) -> T {
        let value = std::mem::take(self.at_mut(id));
        self.free.push(id);
        value
    }

    /// The value of a valid id.
    pub(crate) fn at(&self, id: u32) -> &T {
        &self.chunks[(id >> CHUNK_BITS) as usize][id as usize % CHUNK]
    }

    /// The value of a valid id, to be changed.
    pub(crate) fn at_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[(id >> CHUNK_BITS) as usize][id as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_reused_and_chunks_do_not_move() {
        let mut slab = Slab::default();
        let first = slab.insert(1_u64);
        let place: *const u64 = slab.at(first);
        for i in 0..CHUNK as u64 * 3 {
            let id = slab.insert(i);
            assert_eq!(*slab.at(id), i);
        }
        assert!(std::ptr::eq(place, slab.at(first)));
        assert_eq!(slab.take(5), 4);
        assert_eq!(slab.insert(77), 5);
        assert_eq!(*slab.at(5), 77);
    }
}
