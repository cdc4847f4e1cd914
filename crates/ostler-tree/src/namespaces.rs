//! Figures by namespace, which is what ZooKeeper calls the first element of a path: how often and with how many
//! bytes it was read, written, refused. A number of namespaces is kept that no client can raise; who comes later is
//! not counted. Answers to the `..._PER_NAMESPACE` instruments of Java's `ServerMetrics`.

/// The most namespaces of which figures are kept.
pub const MAX_NAMESPACES: usize = 256;
/// The longest name of a namespace of which figures are kept.
const MAX_NAME_LEN: usize = 256;

/// Samples, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
}

/// Figures of each of a bounded number of namespaces.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    /// Sorted by name.
    entries: Vec<(Box<str>, Figures)>,
    /// Where the last sample went: the next one often goes there too.
    last: usize,
}

/// The first element of a path; the root has none.
#[must_use]
pub fn namespace(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    // By bytes, as in `Tree::find`.
    let name = rest.bytes().position(|byte| byte == b'/').map_or(rest, |end| &rest[..end]);
    (!name.is_empty()).then_some(name)
}

impl Namespaces {
    /// Counts one sample for a path.
    pub fn add(&mut self, path: &str, amount: usize) {
        let Some(name) = namespace(path) else { return };
        let amount = amount as u64;
        let sample = Figures::of(amount);
        if let Some((last, figures)) = self.entries.get_mut(self.last)
            && &**last == name
        {
            figures.merge(sample);
        } else {
            self.merge_one(name, sample);
        }
    }

    /// Both together.
    pub fn merge(&mut self, other: &Self) {
        for (name, figures) in &other.entries {
            self.merge_one(name, *figures);
        }
    }

    /// The namespaces by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Figures)> {
        self.entries.iter().map(|(name, figures)| (name.as_ref(), *figures))
    }

    fn merge_one(&mut self, name: &str, more: Figures) {
        match self.entries.binary_search_by(|(at, _)| (**at).cmp(name)) {
            Ok(at) => {
                self.entries[at].1.merge(more);
                self.last = at;
            }
            Err(at) if self.entries.len() < MAX_NAMESPACES && name.len() <= MAX_NAME_LEN => {
                self.entries.insert(at, (name.into(), more));
                self.last = at;
            }
            Err(_) => {}
        }
    }
}

impl Figures {
    fn of(amount: u64) -> Self {
        Self { count: 1, sum: amount, min: amount, max: amount }
    }

    /// One more.
    pub fn add(&mut self, amount: u64) {
        let sample = Self::of(amount);
        if self.count == 0 {
            *self = sample;
        } else {
            self.merge(sample);
        }
    }

    fn merge(&mut self, other: Self) {
        *self = Self {
            count: self.count.wrapping_add(other.count),
            sum: self.sum.wrapping_add(other.sum),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_counts() {
        for (path, name) in [
            ("/a", Some("a")),
            ("/a/b/c", Some("a")),
            ("/", None),
            ("", None),
            ("//a", None),
            ("a/b", None),
            ("/é/x", Some("é")),
        ] {
            assert_eq!(namespace(path), name, "{path}");
        }
    }

    #[test]
    fn samples_add_up() {
        let (mut all, mut other) = (Namespaces::default(), Namespaces::default());
        for (path, amount) in [("/b", 5), ("/b/c", 7), ("/a", 1), ("/b", 2), ("/", 9)] {
            all.add(path, amount);
        }
        other.add("/a", 3);
        other.add("/c", 0);
        all.merge(&other);
        let figures: Vec<_> = all.iter().map(|(name, f)| (name, f.count, f.sum, f.min, f.max)).collect();
        assert_eq!(figures, [("a", 2, 4, 1, 3), ("b", 3, 14, 2, 7), ("c", 1, 0, 0, 0)]);
    }

    #[test]
    fn nobody_can_fill_the_memory() {
        let mut all = Namespaces::default();
        all.add(&format!("/{}", "n".repeat(MAX_NAME_LEN + 1)), 1);
        assert_eq!(all.iter().count(), 0);
        for i in 0..2 * MAX_NAMESPACES {
            all.add(&format!("/n{i:05}"), 1);
        }
        all.add("/n00000", 1);
        assert_eq!(all.iter().count(), MAX_NAMESPACES);
        assert_eq!(all.iter().next().map(|(name, figures)| (name, figures.count)), Some(("n00000", 2)));
    }
}
