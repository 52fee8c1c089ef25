//! Names what went wrong below HTTP: the error of the client, taken apart by type, never by text.

use std::error::Error;
use std::io;

use rustls::{CertificateError, InvalidMessage};

use super::resolver::ResolveFault;
use crate::pull::{NetworkFault, Outcome, Step, TlsFault};

/// The outcome that an error of the HTTP client stands for.
pub(super) fn outcome_of(error: &reqwest::Error, proxied: bool) -> Outcome {
    let mut named = None;
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    // The deepest error that has a name is the cause; the chain is short, but not ours.
    for _ in 0..16 {
        let Some(current) = next else { break };
        named = name(current).or(named);
        next = inner(current);
    }
    match named {
        Some(outcome @ (Outcome::Tls(_) | Outcome::ForbiddenAddress)) => outcome,
        _ if error.is_connect() && proxied => Outcome::Network(NetworkFault::Proxy),
        Some(outcome) => outcome,
        None if error.is_timeout() && error.is_connect() => Outcome::Timeout(Step::Connect),
        None if error.is_timeout() => Outcome::Timeout(Step::FirstByte),
        None if error.is_connect() => Outcome::Network(NetworkFault::Refused),
        None if error.is_body() || error.is_decode() => Outcome::Network(NetworkFault::Reset),
        None if error.is_builder() => Outcome::Malformed("an address that cannot be asked"),
        None => Outcome::Network(NetworkFault::Reset),
    }
}

/// What stands inside an error; an `io::Error` hides what it carries from `source`.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(io) = error.downcast_ref::<io::Error>()
        && let Some(carried) = io.get_ref()
    {
        return Some(carried);
    }
    error.source()
}

fn name(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(fault) = error.downcast_ref::<ResolveFault>() {
        return Some(match fault {
            ResolveFault::Unknown => Outcome::Network(NetworkFault::Dns),
            ResolveFault::Forbidden => Outcome::ForbiddenAddress,
            ResolveFault::TimedOut => Outcome::Timeout(Step::Resolve),
        });
    }
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(Outcome::Tls(tls_fault(tls)));
    }
    if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
        return name_hyper(hyper);
    }
    error.downcast_ref::<io::Error>().and_then(|io| name_io(io.kind()))
}

fn name_hyper(error: &hyper::Error) -> Option<Outcome> {
    if error.is_parse_too_large() {
        Some(Outcome::Malformed("headers are too large"))
    } else if error.is_parse() {
        Some(Outcome::Malformed("the answer is not HTTP"))
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Some(Outcome::Network(NetworkFault::Reset))
    } else {
        None
    }
}

fn name_io(kind: io::ErrorKind) -> Option<Outcome> {
    use io::ErrorKind as Kind;
    match kind {
        Kind::ConnectionRefused
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::AddrNotAvailable => Some(Outcome::Network(NetworkFault::Refused)),
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::NotConnected
        | Kind::UnexpectedEof => Some(Outcome::Network(NetworkFault::Reset)),
        Kind::TimedOut => Some(Outcome::Timeout(Step::Connect)),
        _ => None,
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => TlsFault::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFault::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFault::Expired,
            _ => TlsFault::Handshake,
        },
        // A plain answer: its first bytes are no TLS record.
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => TlsFault::PlainHttp,
        _ => TlsFault::Handshake,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(CertificateError::UnknownIssuer, TlsFault::UnknownAuthority)]
    #[case(CertificateError::NotValidForName, TlsFault::WrongName)]
    #[case(CertificateError::Expired, TlsFault::Expired)]
    #[case(CertificateError::NotValidYet, TlsFault::Expired)]
    #[case(CertificateError::BadSignature, TlsFault::Handshake)]
    fn keeps_certificate_faults_apart(#[case] error: CertificateError, #[case] fault: TlsFault) {
        assert_eq!(tls_fault(&rustls::Error::InvalidCertificate(error)), fault);
    }

    #[test]
    fn finds_a_cause_that_an_io_error_carries() {
        let carried =
            io::Error::other(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(name(&carried), None);
        let found = inner(&carried).and_then(name);
        assert_eq!(found, Some(Outcome::Tls(TlsFault::UnknownAuthority)));
    }
}
