//! CRI-O's `registries.conf` (version 2, and 1 where that is still there): prefixes, locations
//! and their mirrors.
//!
//! Mirrors come first and the location last; pod credentials stay with the registry's own host.
//! Short names are completed by `aliases`, else by `unqualified-search-registries`. What CRI-O
//! refuses is refused here: with such a file its nodes pull nothing.

use std::collections::BTreeMap;

use super::crio_registries::{CrioLocation, CrioRegistries, CrioRegistry};
use super::route::RegistryHosts;
use super::toml_reader::{Document, Field, MirrorError, MirrorFault, Section};
use crate::image::{ImageReference, is_registry};

/// The word for the auth file among `credential-helpers`, where all others are programs.
const AUTH_FILE_HELPER: &str = "containers-auth.json";

/// Which of several entries for one location say the same: insecure, blocked.
type Settings = BTreeMap<Box<str>, (bool, bool)>;

/// Reads one `registries.conf`.
pub fn parse_registries_conf(file: &str, text: &str) -> Result<RegistryHosts, MirrorError> {
    parse(file, text, true)
}

/// Reads one file of `registries.conf.d`, where version 1 is refused.
pub(crate) fn parse_registries_drop_in(
    file: &str,
    text: &str,
) -> Result<RegistryHosts, MirrorError> {
    parse(file, text, false)
}

fn parse(file: &str, text: &str, takes_first: bool) -> Result<RegistryHosts, MirrorError> {
    let document = Document { file, text };
    let parsed = document.parse()?;
    let root = document.section(parsed.get_ref());
    let mut crio = CrioRegistries::default();
    let mut settings = Settings::new();
    if let Some(registries) = root.get_any_case("registry") {
        for element in registries.list()? {
            let (prefix, registry) = read_registry(&element, &mut settings)?;
            crio.registries.entry(prefix).or_insert(registry);
        }
    }
    if let Some(aliases) = root.get_any_case("aliases") {
        for (name, full) in aliases.section()?.in_order() {
            crio.aliases.insert(name.into(), read_alias(name, &full)?.into());
        }
    }
    if let Some(search) = root.get_any_case("unqualified-search-registries") {
        crio.search = Some(read_search(&search)?);
    }
    if let Some(helpers) = root.get_any_case("credential-helpers") {
        let helpers = helpers.list()?;
        let names = helpers.iter().map(Field::text).collect::<Result<Vec<_>, _>>()?;
        crio.helpers = Some(names.iter().any(|name| *name != AUTH_FILE_HELPER));
    }
    if let Some(mode) = root.get_any_case("short-name-mode")
        && !matches!(mode.text()?, "" | "disabled" | "enforcing" | "permissive")
    {
        return Err(mode.fault(MirrorFault::CriO("must be disabled, enforcing or permissive")));
    }
    if let Some(first_version) = root.get_any_case("registries") {
        let is_new = !crio.registries.is_empty() || !crio.aliases.is_empty();
        if read_first_version(&first_version.section()?, &mut crio)? && (is_new || !takes_first) {
            let fault = "is version 1, for a file alone";
            return Err(first_version.fault(MirrorFault::CriO(fault)));
        }
    }
    Ok(RegistryHosts::of_cri_o(crio))
}

/// Version 1: registries to search, to trust without a certificate and to block; whether any.
fn read_first_version(
    section: &Section<'_, '_>,
    crio: &mut CrioRegistries,
) -> Result<bool, MirrorError> {
    let list = |name: &str| -> Result<Option<Vec<Field<'_, '_>>>, MirrorError> {
        let Some(table) = section.get_any_case(name) else { return Ok(None) };
        let Some(list) = table.section()?.get_any_case("registries") else { return Ok(None) };
        list.list().map(Some)
    };
    let (search, insecure, blocked) = (list("search")?, list("insecure")?, list("block")?);
    let any = search.is_some() || insecure.is_some() || blocked.is_some();
    if let Some(search) = search {
        crio.search = Some(search.iter().map(read_search_entry).collect::<Result<_, _>>()?);
    }
    let mut entry = |field: &Field<'_, '_>, blocks: bool| {
        let location = read_location(field)?;
        let registry = crio.registries.entry(location.into()).or_insert_with(|| CrioRegistry {
            blocked: false,
            locations: vec![CrioLocation {
                location: Some(location.into()),
                insecure: false,
                by_tag: true,
                by_digest: true,
            }],
        });
        registry.blocked |= blocks;
        registry.locations[0].insecure |= !blocks;
        Ok(())
    };
    blocked.unwrap_or_default().iter().try_for_each(|field| entry(field, true))?;
    insecure.unwrap_or_default().iter().try_for_each(|field| entry(field, false))?;
    Ok(any)
}

fn read_registry(
    element: &Field<'_, '_>,
    settings: &mut Settings,
) -> Result<(Box<str>, CrioRegistry), MirrorError> {
    let section = element.section()?;
    let location = section.get_any_case("location").map(|field| read_location(&field));
    let location = location.transpose()?.unwrap_or_default();
    let prefix = section.get_any_case("prefix").map(|field| match field.text()? {
        "" => Ok(location),
        _ => read_location(&field),
    });
    let prefix = prefix.transpose()?.unwrap_or(location);
    if prefix.is_empty() {
        return Err(element.fault(MirrorFault::Incomplete));
    }
    let is_wildcard = prefix.starts_with("*.");
    if location.is_empty() && !is_wildcard {
        return Err(element.fault(MirrorFault::CriO("needs a location beside its prefix")));
    }
    if is_wildcard && prefix.contains(['/', '@', ':']) {
        let fault = "has a prefix with a wildcard and more than a domain";
        return Err(element.fault(MirrorFault::CriO(fault)));
    }
    if let Some(field) = section.get_any_case("pull-from-mirror")
        && !field.text()?.is_empty()
    {
        return Err(field.fault(MirrorFault::CriO("is for mirrors alone")));
    }
    let digest_only = section.flag_any_case("mirror-by-digest-only")?;
    let insecure = section.flag_any_case("insecure")?;
    let blocked = section.flag_any_case("blocked")?;
    let mut locations = Vec::new();
    if let Some(mirrors) = section.get_any_case("mirror") {
        for mirror in mirrors.list()? {
            locations.push(read_mirror(&mirror, digest_only)?);
        }
    }
    locations.push(CrioLocation {
        location: (!location.is_empty()).then(|| location.into()),
        insecure,
        by_tag: true,
        by_digest: true,
    });
    let place = if location.is_empty() { prefix } else { location };
    let known = settings.entry(place.into()).or_insert((insecure, blocked));
    if *known != (insecure, blocked) {
        let fault = "says otherwise than another entry whether it is insecure or blocked";
        return Err(element.fault(MirrorFault::CriO(fault)));
    }
    Ok((prefix.into(), CrioRegistry { blocked, locations }))
}

fn read_mirror(mirror: &Field<'_, '_>, digest_only: bool) -> Result<CrioLocation, MirrorError> {
    let section: Section<'_, '_> = mirror.section()?;
    let location = section.get_any_case("location").map(|field| read_location(&field));
    let location = location.transpose()?.unwrap_or_default();
    if location.is_empty() {
        return Err(mirror.fault(MirrorFault::Incomplete));
    }
    let (by_tag, by_digest) = match section.get_any_case("pull-from-mirror") {
        None => (!digest_only, true),
        Some(pull) => match pull.text()? {
            "" => (!digest_only, true),
            "all" | "digest-only" | "tag-only" if digest_only => {
                let fault = "must not stand beside mirror-by-digest-only";
                return Err(pull.fault(MirrorFault::CriO(fault)));
            }
            "all" => (true, true),
            "digest-only" => (false, true),
            "tag-only" => (true, false),
            _ => return Err(pull.fault(MirrorFault::PullFromMirror)),
        },
    };
    let insecure = section.flag_any_case("insecure")?;
    Ok(CrioLocation { location: Some(location.into()), insecure, by_tag, by_digest })
}

/// `host[:port][/path]`, without slashes at its end.
fn read_location<'d>(field: &Field<'d, '_>) -> Result<&'d str, MirrorError> {
    let text = field.text()?.trim_end_matches('/');
    if text.contains("://") { Err(field.fault(MirrorFault::Address)) } else { Ok(text) }
}

fn read_search(list: &Field<'_, '_>) -> Result<Vec<Box<str>>, MirrorError> {
    list.list()?.iter().map(read_search_entry).collect()
}

fn read_search_entry(field: &Field<'_, '_>) -> Result<Box<str>, MirrorError> {
    let name = read_location(field)?;
    if is_registry(name) && !name.starts_with('[') {
        Ok(name.into())
    } else {
        Err(field.fault(MirrorFault::CriO("must be a registry, without a path")))
    }
}

/// What a short name stands for: a whole name without tag and digest; or nothing, which takes an
/// alias back.
fn read_alias<'d>(name: &str, full: &Field<'d, '_>) -> Result<&'d str, MirrorError> {
    let parsed = ImageReference::parse(name).ok();
    if parsed.as_ref().and_then(ImageReference::short_name) != Some(name) {
        return Err(full.fault(MirrorFault::CriO("must be the alias of a short name")));
    }
    let text = full.text()?;
    if text.is_empty() {
        return Ok(text);
    }
    let parsed = ImageReference::parse(text).ok();
    let is_whole = parsed.is_some_and(|parsed| !parsed.is_short() && !parsed.cri_o_refuses());
    let last = text.rsplit('/').next().unwrap_or_default();
    if is_whole && !last.contains([':', '@']) {
        Ok(text)
    } else {
        let fault = "must be a registry and a repository, without tag and digest";
        Err(full.fault(MirrorFault::CriO(fault)))
    }
}
