//! The uids of objects, and which of them a list showed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The sixteen bytes of an object's uid, or a hash of one that is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 16]);

impl Uid {
    /// The uid with this text.
    pub fn of(text: &str) -> Self {
        if let Some(number) = uuid(text) {
            return Self(number.to_be_bytes());
        }
        let mut bytes = [0u8; 16];
        for (half, salt) in [(0, "a"), (8, "b")] {
            let mut hasher = DefaultHasher::new();
            (salt, text).hash(&mut hasher);
            bytes[half..half + 8].copy_from_slice(&hasher.finish().to_le_bytes());
        }
        Self(bytes)
    }

    /// The uid in these metadata; the same one for all that have none.
    pub(crate) fn of_object(meta: &ObjectMeta) -> Self {
        Self::of(meta.uid.as_deref().unwrap_or_default())
    }
}

/// The number that a UUID writes; dashes may stand anywhere.
fn uuid(text: &str) -> Option<u128> {
    let (mut number, mut digits) = (0u128, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'-' => continue,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
        digits += 1;
    }
    (digits == 32).then_some(number)
}

/// The objects that one complete list showed.
#[derive(Debug, Default)]
pub struct Listed(Box<[Uid]>);

impl FromIterator<Uid> for Listed {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut uids: Vec<Uid> = uids.into_iter().collect();
        uids.sort_unstable();
        Self(uids.into())
    }
}

impl Listed {
    /// Whether the list showed the object: one that it did not show is gone.
    pub fn contains(&self, uid: Uid) -> bool {
        self.0.binary_search(&uid).is_ok()
    }

    /// Whether it showed none at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
