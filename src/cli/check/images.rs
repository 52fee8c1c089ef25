//! Images that stand in no object: those of `--image`, and of the lists of `--images-from`.

use std::sync::Arc;

use super::SubjectFlags;
use super::manifest::Found;
use crate::cli::output::{IMAGE_KIND, InputError, Position};
use crate::workload::{ObjectRef, Workload};

/// Images in one list.
const MAX_IMAGES: usize = 100_000;

/// An image by itself, as a pod of that namespace would have it.
pub(super) fn alone(flags: &SubjectFlags, image: &str, namespace: &str) -> Found {
    let workload = Workload {
        object: ObjectRef { kind: IMAGE_KIND.into(), name: image.into(), ..ObjectRef::default() },
        pull_secrets: flags.pull_secret.iter().map(|name| name.as_str().into()).collect(),
        service_account: Some(flags.service_account.as_str().into()),
        ..Workload::of_image(image)
    };
    Found { workload, namespace: namespace.into(), file: None, places: Vec::new() }
}

/// The images of a list: one or more on a line; what stands behind a `#` is a comment.
pub(super) fn listed(
    flags: &SubjectFlags,
    namespace: &str,
    file: &str,
    content: &[u8],
) -> Result<Vec<Found>, InputError> {
    let text = std::str::from_utf8(content)
        .map_err(|_| InputError::new(file, Position::UNKNOWN, "this is not text"))?;
    let name: Arc<str> = file.into();
    let mut found = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let line = line.split('#').next().unwrap_or_default();
        for image in line.split_whitespace() {
            if found.len() == MAX_IMAGES {
                let problem = format!("more than {MAX_IMAGES} images in one list");
                return Err(InputError::new(file, Position { line: number, column: 0 }, problem));
            }
            let places = vec![Position { line: number, column: 0 }];
            let file = Some(name.clone());
            found.push(Found { file, places, ..alone(flags, image, namespace) });
        }
    }
    if found.is_empty() {
        return Err(InputError::new(file, Position::UNKNOWN, "there is no image in this list"));
    }
    Ok(found)
}
