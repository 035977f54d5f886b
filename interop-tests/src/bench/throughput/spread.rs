//! Median and range of a few figures.

use serde::Serialize;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }

    /// Of what `figures` are of `others`, pair by pair.
    pub(super) fn of_ratios(figures: &[f64], others: &[f64]) -> Option<Self> {
        let pairs = figures
            .iter()
            .zip(others)
            .filter(|(_, other)| **other > 0.0);
        let ratios: Vec<f64> = pairs.map(|(figure, other)| figure / other).collect();
        Self::of(&ratios)
    }

    /// For people: `1.05 (0.98–1.10)`.
    pub(super) fn text(self, digits: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_spread() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of_ratios(&[1.0], &[]), None);
    }

    #[test]
    fn the_median_is_the_middle_or_between_two() {
        let text = |figures: &[f64]| Spread::of(figures).expect("figures").text(1);
        assert_eq!(text(&[3.0, 1.0, 2.0]), "2.0 (1.0–3.0)");
        assert_eq!(text(&[4.0, 1.0, 2.0, 3.0]), "2.5 (1.0–4.0)");
    }

    /// A machine that is twice as fast in one round says nothing about the relays.
    #[test]
    fn ratios_are_of_one_round() {
        let ratios = Spread::of_ratios(&[30.0, 60.0], &[20.0, 40.0]);
        assert_eq!(ratios.expect("ratios").text(2), "1.50 (1.50–1.50)");
    }
}
