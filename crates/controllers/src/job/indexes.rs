//! Sets of completion indexes and their text form (S9-37).

use std::fmt::{self, Display};

/// A set of indexes, kept as ranges: a Job may have a hundred thousand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes {
    /// First and last index of each range, in order, with gaps between ranges.
    ranges: Vec<(u32, u32)>,
}

impl Indexes {
    /// Reads the text form; what is not below `end` is left out, as is what cannot be read.
    #[must_use]
    pub fn parse(text: &str, end: u32) -> Self {
        text.split(',').filter_map(parse_range).fold(Self::default(), |mut set, (first, last)| {
            if first < end {
                set.insert_range(first, last.min(end - 1));
            }
            set
        })
    }

    /// Adds an index.
    pub fn insert(&mut self, index: u32) {
        self.insert_range(index, index);
    }

    fn insert_range(&mut self, first: u32, last: u32) {
        if first > last {
            return;
        }
        // Everything that touches the new range is merged into it.
        let start = self.ranges.partition_point(|&(_, l)| l.saturating_add(1) < first);
        let end = self.ranges.partition_point(|&(f, _)| f <= last.saturating_add(1));
        let touched = self.ranges.get(start..end).unwrap_or_default();
        let first = touched.first().map_or(first, |&(f, _)| f.min(first));
        let last = touched.last().map_or(last, |&(_, l)| l.max(last));
        self.ranges.splice(start..end, [(first, last)]);
    }

    /// Adds all indexes of another set.
    pub fn extend(&mut self, other: &Self) {
        for &(first, last) in &other.ranges {
            self.insert_range(first, last);
        }
    }

    /// Whether the index is in the set.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        let at = self.ranges.partition_point(|&(_, last)| last < index);
        self.ranges.get(at).is_some_and(|&(first, _)| first <= index)
    }

    /// Whether every index of the other set is in this one.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.ranges.iter().all(|&(first, last)| {
            let at = self.ranges.partition_point(|&(_, l)| l < first);
            self.ranges.get(at).is_some_and(|&(f, l)| f <= first && last <= l)
        })
    }

    /// How many indexes both sets have.
    #[must_use]
    pub fn common(&self, other: &Self) -> u32 {
        let overlap = |&(first, last): &(u32, u32)| -> u32 {
            self.ranges.iter().map(|&(f, l)| (last.min(l) + 1).saturating_sub(first.max(f))).sum()
        };
        other.ranges.iter().map(overlap).sum()
    }

    /// The number of indexes.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.ranges.iter().map(|&(first, last)| last - first + 1).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The indexes below `end` that are not in the set, lowest first.
    pub fn missing(&self, end: u32) -> impl Iterator<Item = u32> + '_ {
        let starts = std::iter::once(0).chain(self.ranges.iter().map(|&(_, last)| last + 1));
        let ends = self.ranges.iter().map(|&(first, _)| first).chain(std::iter::once(end));
        starts.zip(ends).flat_map(move |(from, to)| from..to.min(end))
    }
}

impl FromIterator<u32> for Indexes {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        let mut set = Self::default();
        indexes.into_iter().for_each(|index| set.insert(index));
        set
    }
}

impl Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(first, last)) in self.ranges.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                // Two neighbours are written one by one (S9-37).
                1 => write!(f, "{separator}{first},{last}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

fn parse_range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    // One less than the largest number, so that `last + 1` is a number too.
    (last < u32::MAX).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn s9_37_three_neighbours_are_a_range_and_two_are_not() {
        let text = |indexes: &[u32]| indexes.iter().copied().collect::<Indexes>().to_string();
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[0, 1]), "0,1");
        assert_eq!(text(&[4, 2, 3, 0]), "0,2-4");
        assert_eq!(text(&[1, 3, 4, 5, 7]), "1,3-5,7");
    }

    #[test]
    fn text_beyond_the_completions_or_not_readable_is_left_out() {
        assert_eq!(Indexes::parse("0,2-9,x,12", 5).to_string(), "0,2-4");
        assert_eq!(Indexes::parse("4294967295", u32::MAX).to_string(), "");
        assert!(Indexes::parse("", 5).is_empty());
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(a in prop::collection::vec(0u32..40, 0..30), b in prop::collection::vec(0u32..40, 0..30)) {
            let (set_a, set_b): (Indexes, Indexes) = (a.iter().copied().collect(), b.iter().copied().collect());
            let (tree_a, tree_b): (BTreeSet<u32>, BTreeSet<u32>) = (a.into_iter().collect(), b.into_iter().collect());
            prop_assert_eq!(&Indexes::parse(&set_a.to_string(), 40), &set_a);
            prop_assert_eq!(set_a.len() as usize, tree_a.len());
            prop_assert_eq!(set_a.common(&set_b) as usize, tree_a.intersection(&tree_b).count());
            prop_assert_eq!(set_a.contains_all(&set_b), tree_a.is_superset(&tree_b));
            prop_assert!((0..40).all(|i| set_a.contains(i) == tree_a.contains(&i)));
            prop_assert!(set_a.missing(40).eq((0..40).filter(|i| !tree_a.contains(i))));
            let mut union = set_a;
            union.extend(&set_b);
            prop_assert_eq!(union, tree_a.union(&tree_b).copied().collect());
        }
    }
}
