//! The nearest name, for words that a person got slightly wrong.

/// How alike two words must be for one to be offered for the other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// The word of `words` that `wrong` was most likely meant to be, if any is near.
pub(super) fn nearest<'w>(
    wrong: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    let wrong = wrong.to_lowercase();
    words
        .into_iter()
        .map(|word| (strsim::normalized_damerau_levenshtein(&wrong, &word.to_lowercase()), word))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

/// `, did you mean ...?`, or nothing.
pub(super) fn did_you_mean<'w>(wrong: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    nearest(wrong, words).map(|word| format!(", did you mean \"{word}\"?")).unwrap_or_default()
}
