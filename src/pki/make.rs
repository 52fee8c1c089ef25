//! What has to be made or renewed, and the making. No sockets here; the time is an argument.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use ring::rand::SecureRandom;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::material::{Pair, PkiSecret};

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A certificate.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The machine gives no random numbers.
    #[error("failed to make a token: the machine gives no random numbers")]
    Random,
}

/// How long what is made lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authority.
    pub authority: Duration,
    /// A serving certificate; it is renewed when a third of it is left.
    pub certificate: Duration,
    /// How long a new authority is trusted before anything is signed with it.
    pub overlap: Duration,
    /// How long before now what is made begins to be valid, since clocks differ.
    pub backdate: Duration,
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            authority: DAY.saturating_mul(5 * 365),
            certificate: DAY.saturating_mul(90),
            overlap: Duration::from_secs(5 * 60),
            backdate: DAY,
        }
    }
}

/// What is wanted of the Secret's content.
pub(super) struct Wanted<'a> {
    /// The names of the certificate; none where others make it.
    pub(super) hosts: &'a [String],
    pub(super) lifetimes: Lifetimes,
    /// For how long the webhook configurations have had the bundle as it is kept.
    pub(super) published: Duration,
    pub(super) now: Timestamp,
}

/// The content as it ought to be, or nothing if it is.
pub(super) fn renew(kept: &PkiSecret, wanted: &Wanted<'_>) -> Result<Option<PkiSecret>, MakeError> {
    let mut new = kept.clone();
    if !new.token.as_deref().is_some_and(is_token) {
        new.token = Some(token()?);
    }
    if !wanted.hosts.is_empty() {
        renew_authority(&mut new, wanted)?;
        renew_leaf(&mut new, wanted)?;
        drop_expired(&mut new, wanted.now);
    }
    Ok((new != *kept).then_some(new))
}

/// The same where one authority is trusted alone, whatever becomes of it: the next takes over at
/// once, and there is no token.
pub(super) fn renew_with_one_authority(
    kept: &PkiSecret,
    wanted: &Wanted<'_>,
) -> Result<PkiSecret, MakeError> {
    let mut new = kept.clone();
    let can_sign = |pair: &Pair| is_usable(pair, wanted.now) && !is_ageing(pair, wanted);
    if !new.authority.as_ref().is_some_and(can_sign) {
        new.authority = Some(authority(wanted)?);
    }
    renew_leaf(&mut new, wanted)?;
    Ok(new)
}

/// Whether the authority will not outlive two certificates.
fn is_ageing(authority: &Pair, wanted: &Wanted<'_>) -> bool {
    left(&authority.certificate, wanted.now)
        .is_none_or(|left| left < wanted.lifetimes.certificate.saturating_mul(2))
}

fn renew_authority(new: &mut PkiSecret, wanted: &Wanted<'_>) -> Result<(), MakeError> {
    // Made by a clock that was ahead: those whose clocks are may trust it meanwhile.
    if let Some(early) = new.authority.take_if(|pair| begins_later(&pair.certificate, wanted.now)) {
        new.previous.push_str(&early.certificate);
    }
    new.authority = new.authority.take().filter(|pair| is_usable(pair, wanted.now));
    new.next = new.next.take().filter(|pair| is_usable(pair, wanted.now));
    match &new.authority {
        // There is nothing that anybody could trust meanwhile: no reason to wait.
        None => {
            new.authority = match new.next.take() {
                Some(next) => Some(next),
                None => Some(authority(wanted)?),
            };
        }
        Some(current) if is_ageing(current, wanted) && new.next.is_none() => {
            new.next = Some(authority(wanted)?);
        }
        Some(_) => {}
    }
    Ok(())
}

fn renew_leaf(new: &mut PkiSecret, wanted: &Wanted<'_>) -> Result<(), MakeError> {
    let life = wanted.lifetimes.certificate;
    let fresh = new.leaf.as_ref().is_some_and(|leaf| {
        left(&leaf.certificate, wanted.now).is_some_and(|left| left > life / 3)
            && is_trusted(leaf, &new.bundle(), wanted)
    });
    if fresh {
        return Ok(());
    }
    if new.next.is_some() && wanted.published >= wanted.lifetimes.overlap {
        if let Some(earlier) = new.authority.take() {
            new.previous.push_str(&earlier.certificate);
        }
        new.authority = new.next.take();
    }
    if let Some(authority) = &new.authority {
        new.leaf = Some(leaf(authority, wanted)?);
    }
    Ok(())
}

/// The last line of a certificate's PEM.
const END: &str = "-----END CERTIFICATE-----";

fn drop_expired(new: &mut PkiSecret, now: Timestamp) {
    if new.previous.is_empty() {
        return;
    }
    let kept: Vec<String> = new
        .previous
        .split_inclusive(END)
        .map(|pem| format!("{}\n", pem.trim()))
        .filter(|pem| left(pem, now).is_some_and(|left| !left.is_zero()))
        .collect();
    new.previous = kept.concat();
}

/// How long the first certificate of a PEM still lives; zero if it has expired.
fn left(pem: &str, now: Timestamp) -> Option<Duration> {
    let (_, ends) = validity(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)?;
    Some(Duration::try_from(ends.duration_since(now)).unwrap_or_default())
}

/// Whether the first certificate of a PEM is not valid yet.
fn begins_later(pem: &str, now: Timestamp) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    certificate.and_then(|one| validity(&one)).is_some_and(|(begins, _)| begins > now)
}

/// Since when and until when a certificate is valid.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    let begins = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
    Some((begins, Timestamp::from_second(validity.not_after.timestamp()).ok()?))
}

/// Whether an authority is valid and of its key.
fn is_usable(pair: &Pair, now: Timestamp) -> bool {
    let check = || {
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        let key = KeyPair::from_pem(&pair.key).ok()?;
        let of_this_key = parsed.public_key().raw == key.subject_public_key_info();
        let (begins, ends) = validity(&certificate)?;
        (of_this_key && begins <= now && now < ends).then_some(())
    };
    check().is_some()
}

/// Whether a certificate is of its key, signed by one of the bundle, and for all names.
fn is_trusted(leaf: &Pair, bundle: &str, wanted: &Wanted<'_>) -> bool {
    let check = || {
        let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).ok()?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            let authority = authority.ok()?;
            // The API server's library asks this of authorities too, this one does not.
            let (begins, ends) = validity(&authority)?;
            if begins > wanted.now || ends <= wanted.now {
                continue;
            }
            roots.add(authority).ok()?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], key, &provider).ok()?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().ok()?;
        let now = u64::try_from(wanted.now.as_second()).ok()?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        for host in wanted.hosts {
            let host = ServerName::try_from(host.as_str()).ok()?;
            verifier.verify_server_cert(&certificate, &[], &host, &[], now).ok()?;
        }
        Some(())
    };
    check().is_some()
}

fn authority(wanted: &Wanted<'_>) -> Result<Pair, MakeError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::new())?;
    // Two authorities of one name would be taken for each other: the name has a number.
    let number = wanted.now.as_second();
    params.distinguished_name.push(DnType::CommonName, format!("Pullgate authority {number}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, wanted, wanted.lifetimes.authority);
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// A certificate that nobody trusts, PEM with its key: to listen with until there is a real one.
pub(crate) fn placeholder(now: Timestamp) -> Result<(String, String), MakeError> {
    let hosts = ["not-ready.pullgate.invalid".to_owned()];
    let lifetimes = Lifetimes::default();
    let wanted = Wanted { hosts: &hosts, lifetimes, published: Duration::ZERO, now };
    let nobody = authority(&wanted)?;
    let Pair { certificate, key } = leaf(&nobody, &wanted)?;
    Ok((certificate, key))
}

fn leaf(authority: &Pair, wanted: &Wanted<'_>) -> Result<Pair, MakeError> {
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(wanted.hosts.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "Pullgate");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut params, wanted, wanted.lifetimes.certificate);
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

fn valid(params: &mut CertificateParams, wanted: &Wanted<'_>, life: Duration) {
    let since = |moment: Timestamp| {
        Duration::try_from(moment.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default()
    };
    let backdate = SignedDuration::try_from(wanted.lifetimes.backdate).unwrap_or_default();
    let begins = wanted.now.checked_sub(backdate).unwrap_or(wanted.now);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since(begins);
    params.not_after = epoch + since(wanted.now) + life;
}

fn token() -> Result<String, MakeError> {
    let mut bytes = [0_u8; 32];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| MakeError::Random)?;
    // The API server takes only lower-case letters, digits, dots and dashes in a webhook's path.
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

fn is_token(text: &str) -> bool {
    (32..=200).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn wanted(hosts: &[String], hours: i64, published: Duration) -> Wanted<'_> {
        let start: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        Wanted {
            hosts,
            lifetimes: Lifetimes {
                authority: HOUR * 100,
                certificate: HOUR * 30,
                overlap: HOUR,
                backdate: HOUR,
            },
            published,
            now: start + SignedDuration::from_hours(hours),
        }
    }

    fn hosts() -> Vec<String> {
        vec!["pullgate.pullgate.svc".to_owned()]
    }

    #[test]
    fn everything_is_made_once_and_kept() {
        let hosts = hosts();
        let wanted = wanted(&hosts, 0, HOUR);
        let made = renew(&PkiSecret::default(), &wanted).unwrap().unwrap();
        assert!(is_trusted(made.leaf.as_ref().unwrap(), &made.bundle(), &wanted));
        assert_eq!(made.token.as_deref().map(str::len), Some(64));
        assert!(made.next.is_none() && made.previous.is_empty());
        assert_eq!(renew(&made, &wanted).unwrap(), None);
        assert_eq!(PkiSecret::read(&made.write()), made);
    }

    #[test]
    fn only_a_token_is_made_where_others_make_the_certificate() {
        let made = renew(&PkiSecret::default(), &wanted(&[], 0, HOUR)).unwrap().unwrap();
        assert!(made.authority.is_none() && made.leaf.is_none() && made.token.is_some());
        assert!(made.material(true).is_none() && made.material(false).is_some());
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_is_left_by_the_same_authority() {
        let hosts = hosts();
        let first = renew(&PkiSecret::default(), &wanted(&hosts, 0, HOUR)).unwrap().unwrap();
        assert_eq!(renew(&first, &wanted(&hosts, 19, HOUR)).unwrap(), None);
        let second = renew(&first, &wanted(&hosts, 21, HOUR)).unwrap().unwrap();
        assert!(second.leaf != first.leaf && second.authority == first.authority);
        assert_eq!((&second.token, second.bundle()), (&first.token, first.bundle()));
    }

    /// Every half hour for a long time: whatever a replica serves with, old or new, is trusted by
    /// whatever bundle an API server has, old or new.
    #[test]
    fn old_and_new_overlap_all_the_time() {
        let hosts = hosts();
        let mut kept = renew(&PkiSecret::default(), &wanted(&hosts, 0, HOUR)).unwrap().unwrap();
        let (mut authorities, mut published) = (1, Duration::ZERO);
        for half_hour in 0..2000 {
            let mut wanted = wanted(&hosts, 0, published);
            wanted.now += SignedDuration::from_mins(30 * half_hour);
            published += HOUR / 2;
            if let Some(new) = renew(&kept, &wanted).unwrap() {
                for bundle in [kept.bundle(), new.bundle()] {
                    for leaf in [&kept.leaf, &new.leaf] {
                        assert!(is_trusted(leaf.as_ref().unwrap(), &bundle, &wanted));
                    }
                }
                if new.bundle() != kept.bundle() {
                    published = Duration::ZERO;
                }
                authorities += u32::from(new.authority != kept.authority);
                assert!(new.bundle().matches("BEGIN").count() <= 4, "bundles do not grow");
                kept = new;
            }
        }
        assert!(authorities > 10, "{authorities}");
    }

    #[test]
    fn a_new_authority_signs_nothing_before_it_is_published() {
        let hosts = hosts();
        let first = renew(&PkiSecret::default(), &wanted(&hosts, 0, HOUR)).unwrap().unwrap();
        let second = renew(&first, &wanted(&hosts, 45, Duration::ZERO)).unwrap().unwrap();
        assert!(second.next.is_some() && second.authority == first.authority);
        let third = renew(&second, &wanted(&hosts, 70, Duration::ZERO)).unwrap().unwrap();
        assert_eq!(third.authority, first.authority);
        let fourth = renew(&second, &wanted(&hosts, 70, HOUR)).unwrap().unwrap();
        assert_eq!(fourth.authority, second.next);
        assert!(fourth.bundle().contains(first.authority.unwrap().certificate.trim()));
    }

    #[test]
    fn what_somebody_broke_is_made_again() {
        let hosts = hosts();
        let wanted = wanted(&hosts, 0, HOUR);
        let made = renew(&PkiSecret::default(), &wanted).unwrap().unwrap();
        let other = renew(&PkiSecret::default(), &wanted).unwrap().unwrap();
        let mixed = PkiSecret { leaf: other.leaf.clone(), ..made.clone() };
        assert_eq!(renew(&mixed, &wanted).unwrap().unwrap().authority, made.authority);
        let broken = Pair { certificate: "x".to_owned(), key: "y".to_owned() };
        let broken = PkiSecret { authority: Some(broken), ..made.clone() };
        let mended = renew(&broken, &wanted).unwrap().unwrap();
        assert!(is_trusted(mended.leaf.as_ref().unwrap(), &mended.bundle(), &wanted));
        let short = PkiSecret { token: Some("short".to_owned()), ..made };
        assert_ne!(renew(&short, &wanted).unwrap().unwrap().token, short.token);
    }

    #[test]
    fn what_a_clock_that_was_ahead_made_is_made_again_and_trusted_meanwhile() {
        let hosts = hosts();
        let early = renew(&PkiSecret::default(), &wanted(&hosts, 48, HOUR)).unwrap().unwrap();
        let now = wanted(&hosts, 0, HOUR);
        assert!(!is_trusted(early.leaf.as_ref().unwrap(), &early.bundle(), &now));
        let mended = renew(&early, &now).unwrap().unwrap();
        assert!(is_trusted(mended.leaf.as_ref().unwrap(), &mended.bundle(), &now));
        assert_ne!(mended.authority, early.authority);
        assert!(mended.bundle().contains(early.authority.unwrap().certificate.trim()));
        assert_eq!(mended.token, early.token);
        assert_eq!(renew(&mended, &now).unwrap(), None);
        // A clock that is an hour off makes no difference.
        let skewed = renew(&PkiSecret::default(), &wanted(&hosts, 1, HOUR)).unwrap().unwrap();
        assert_eq!(renew(&skewed, &now).unwrap(), None);
    }

    #[test]
    fn an_expired_installation_comes_back() {
        let hosts = hosts();
        let made = renew(&PkiSecret::default(), &wanted(&hosts, 0, HOUR)).unwrap().unwrap();
        let later = wanted(&hosts, 5000, Duration::ZERO);
        let back = renew(&made, &later).unwrap().unwrap();
        assert!(is_trusted(back.leaf.as_ref().unwrap(), &back.bundle(), &later));
    }
}
