//! Amounts of resources, as Kubernetes writes them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

/// An amount of a resource, in thousandths of its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u64);

/// The suffixes, each with what it multiplies by, as a fraction.
const SUFFIXES: &[(&str, u128, u128)] = &[
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1_000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
    ("", 1, 1),
];

impl Quantity {
    /// Reads an amount such as `500m`, `2`, `1.5Gi` or `1e3`, rounded up to thousandths. Nothing
    /// if it is none, is negative, or is more than any node has.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && decimals.is_empty() {
            return None;
        }
        let digits: u128 = if decimals.is_empty() {
            whole.parse().ok()?
        } else {
            format!("{whole}{decimals}").parse().ok()?
        };
        let places = u32::try_from(decimals.len()).ok()?;
        let (times, parts) = match SUFFIXES.iter().find(|(known, ..)| *known == suffix) {
            Some((_, times, parts)) => (*times, *parts),
            None => power_of_ten(suffix.strip_prefix(['e', 'E'])?.parse().ok()?)?,
        };
        let times = times.checked_mul(1_000)?;
        let parts = 10_u128.checked_pow(places)?.checked_mul(parts)?;
        let thousandths = digits.checked_mul(times)?.div_ceil(parts);
        u64::try_from(thousandths).ok().map(Self)
    }

    /// Both together, at most as much as can be told.
    #[must_use]
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

fn power_of_ten(exponent: i32) -> Option<(u128, u128)> {
    let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2", Some(2_000))]
    #[case("500m", Some(500))]
    #[case("0.5", Some(500))]
    #[case(".5", Some(500))]
    #[case("1.5Gi", Some(1_610_612_736_000))]
    #[case("1e3", Some(1_000_000))]
    #[case("1E3", Some(1_000_000))]
    #[case("1E", None)]
    #[case("12e-1", Some(1_200))]
    #[case("1n", Some(1))]
    #[case("100M", Some(100_000_000_000))]
    #[case("", None)]
    #[case(".", None)]
    #[case("-1", None)]
    #[case("1.2.3", None)]
    #[case("1X", None)]
    #[case("99999999999999999999999999999999999999999", None)]
    #[case("1e99", None)]
    fn amounts_are_read_as_kubernetes_writes_them(
        #[case] text: &str,
        #[case] thousandths: Option<u64>,
    ) {
        assert_eq!(Quantity::parse(text), thousandths.map(Quantity));
    }
}
