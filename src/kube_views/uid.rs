//! The uids of objects, and which of them a list showed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The sixteen bytes of an object's uid, or a hash of one that is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 16]);

impl Uid {
    /// The uid with this text.
    pub fn of(text: &str) -> Self {
        let mut bytes = [0u8; 16];
        let mut nibbles = 0;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            let value = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => {
                    nibbles = 99;
                    break;
                }
            };
            if nibbles < 32 {
                bytes[nibbles / 2] |= value << (if nibbles % 2 == 0 { 4 } else { 0 });
            }
            nibbles += 1;
        }
        if nibbles == 32 {
            return Self(bytes);
        }
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
