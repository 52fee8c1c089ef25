//! Which addresses are never contacted: one list with its sources, and what may open it.
//!
//! An image name is an address that a tenant chose, so the check is made on the address that is
//! dialled, in whatever form IPv6 can carry it. Pure: names are resolved elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Services that hand out credentials or control of a machine to whoever asks from it. Nothing
/// opens these.
const METADATA: &[IpAddr] = &[
    // AWS EC2, GCP, Azure IMDS, DigitalOcean, OpenStack: the instance metadata service.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS ECS task credentials.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    // AWS EKS Pod Identity agent.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Azure WireServer: goal state and extension settings of the machine.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Alibaba Cloud ECS metadata.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle Cloud (classic) metadata.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS EC2 metadata over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // AWS EKS Pod Identity agent over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // GCP metadata over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Why an address is not contacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forbidden {
    /// A metadata service.
    Metadata,
    /// Loopback: our own pod, or the node with host networking.
    Loopback,
    /// Link-local (RFC 3927, RFC 4291) or the deprecated site-local range.
    LinkLocal,
    /// `0.0.0.0/8` and `::`, which Linux dials as loopback (RFC 1122).
    Unspecified,
    /// Multicast (RFC 5771, RFC 4291).
    Multicast,
    /// Broadcast and the reserved block `240.0.0.0/4` (RFC 1112).
    Reserved,
    /// A service or pod range of this cluster, for a registry not declared to be in it.
    InCluster,
}

/// What may be contacted.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressPolicy {
    /// Ranges that are opened; never metadata services.
    pub allow: Vec<IpNet>,
    /// Whether loopback may be contacted: a person who runs the command line for themselves.
    pub loopback: bool,
    /// The service and pod ranges of this cluster.
    pub cluster: Vec<IpNet>,
}

impl AddressPolicy {
    /// Whether this address may be dialled; `in_cluster` for a registry that is declared to be
    /// served from within the cluster.
    pub(crate) fn check(&self, address: IpAddr, in_cluster: bool) -> Result<(), Forbidden> {
        self.check_form(address, in_cluster)?;
        if let IpAddr::V6(v6) = address {
            for embedded in embedded_v4(v6) {
                self.check_form(IpAddr::V4(embedded), in_cluster)?;
            }
        }
        Ok(())
    }

    fn check_form(&self, address: IpAddr, in_cluster: bool) -> Result<(), Forbidden> {
        if METADATA.contains(&address) {
            return Err(Forbidden::Metadata);
        }
        if self.allow.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        if !in_cluster && self.cluster.iter().any(|net| net.contains(&address)) {
            return Err(Forbidden::InCluster);
        }
        let forbidden = match address {
            IpAddr::V4(v4) => forbidden_v4(v4),
            IpAddr::V6(v6) => forbidden_v6(v6),
        };
        match forbidden {
            Some(Forbidden::Loopback) if self.loopback => Ok(()),
            Some(kind) => Err(kind),
            None => Ok(()),
        }
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<Forbidden> {
    let first = address.octets()[0];
    if first == 0 {
        Some(Forbidden::Unspecified)
    } else if address.is_loopback() {
        Some(Forbidden::Loopback)
    } else if address.is_link_local() {
        Some(Forbidden::LinkLocal)
    } else if address.is_multicast() {
        Some(Forbidden::Multicast)
    } else if first >= 240 {
        Some(Forbidden::Reserved)
    } else {
        None
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<Forbidden> {
    let first = address.segments()[0];
    if address.is_unspecified() {
        Some(Forbidden::Unspecified)
    } else if address.is_loopback() {
        Some(Forbidden::Loopback)
    } else if first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 {
        Some(Forbidden::LinkLocal)
    } else if address.is_multicast() {
        Some(Forbidden::Multicast)
    } else {
        None
    }
}

/// The IPv4 addresses that an IPv6 address may lead to.
fn embedded_v4(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let s = address.segments();
    let last = join(s[6], s[7]);
    let mut found = Vec::new();
    // IPv4-mapped and the deprecated IPv4-compatible form (RFC 4291); `::` and `::1` are
    // addresses of their own.
    if s[..5] == [0; 5] && (s[5] == 0xffff || (s[5] == 0 && (s[6] != 0 || s[7] > 1))) {
        found.push(last);
    }
    // IPv4-translated (RFC 2765): ::ffff:0:a.b.c.d.
    if s[..4] == [0; 4] && s[4] == 0xffff && s[5] == 0 {
        found.push(last);
    }
    // NAT64: the well-known prefix (RFC 6052), and the local-use one (RFC 8215), whose
    // operator chooses where within it the address stands.
    if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        found.push(last);
    }
    if s[..3] == [0x64, 0xff9b, 1] {
        // RFC 6052 section 2.2: prefixes of 48, 56 and 64 bits skip the eighth octet.
        let o = address.octets();
        let places = [
            last,
            Ipv4Addr::new(o[6], o[7], o[9], o[10]),
            Ipv4Addr::new(o[7], o[9], o[10], o[11]),
            Ipv4Addr::new(o[9], o[10], o[11], o[12]),
        ];
        // Zeros only say that the address does not stand at this place.
        found.extend(places.into_iter().filter(|place| place.octets()[0] != 0));
    }
    // 6to4 (RFC 3056).
    if s[0] == 0x2002 {
        found.push(join(s[1], s[2]));
    }
    // Teredo (RFC 4380): the client's address, inverted.
    if s[0] == 0x2001 && s[1] == 0 {
        found.push(join(!s[6], !s[7]));
    }
    // ISATAP (RFC 5214).
    if s[4] & 0xfdff == 0 && s[5] == 0x5efe {
        found.push(last);
    }
    found
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn check(policy: &AddressPolicy, address: &str) -> Result<(), Forbidden> {
        policy.check(address.parse().unwrap(), false)
    }

    #[rstest]
    #[case("169.254.169.254", Forbidden::Metadata)]
    #[case("169.254.170.2", Forbidden::Metadata)]
    #[case("169.254.170.23", Forbidden::Metadata)]
    #[case("168.63.129.16", Forbidden::Metadata)]
    #[case("100.100.100.200", Forbidden::Metadata)]
    #[case("192.0.0.192", Forbidden::Metadata)]
    #[case("fd00:ec2::254", Forbidden::Metadata)]
    #[case("fd20:ce::254", Forbidden::Metadata)]
    #[case("::ffff:169.254.169.254", Forbidden::Metadata)]
    #[case("::169.254.169.254", Forbidden::Metadata)]
    #[case("::ffff:0:169.254.169.254", Forbidden::Metadata)]
    #[case("64:ff9b::169.254.169.254", Forbidden::Metadata)]
    #[case("64:ff9b::100.100.100.200", Forbidden::Metadata)]
    #[case("64:ff9b:1::169.254.169.254", Forbidden::Metadata)]
    #[case("64:ff9b:1:a9fe:a9:fe00::", Forbidden::Metadata)]
    #[case("2002:a9fe:a9fe::1", Forbidden::Metadata)]
    #[case("2001:0:1234::5601:5601", Forbidden::Metadata)]
    #[case("2001:db8::5efe:169.254.169.254", Forbidden::Metadata)]
    #[case("127.0.0.1", Forbidden::Loopback)]
    #[case("127.255.0.3", Forbidden::Loopback)]
    #[case("::1", Forbidden::Loopback)]
    #[case("::ffff:127.0.0.1", Forbidden::Loopback)]
    #[case("64:ff9b::127.0.0.1", Forbidden::Loopback)]
    #[case("169.254.1.1", Forbidden::LinkLocal)]
    #[case("fe80::1", Forbidden::LinkLocal)]
    #[case("febf::1", Forbidden::LinkLocal)]
    #[case("fec0::1", Forbidden::LinkLocal)]
    #[case("0.0.0.0", Forbidden::Unspecified)]
    #[case("0.1.2.3", Forbidden::Unspecified)]
    #[case("::", Forbidden::Unspecified)]
    #[case("::ffff:0.0.0.0", Forbidden::Unspecified)]
    #[case("224.0.0.1", Forbidden::Multicast)]
    #[case("ff02::1", Forbidden::Multicast)]
    #[case("255.255.255.255", Forbidden::Reserved)]
    #[case("240.0.0.1", Forbidden::Reserved)]
    fn refuses(#[case] address: &str, #[case] kind: Forbidden) {
        assert_eq!(check(&AddressPolicy::default(), address), Err(kind));
    }

    #[rstest]
    #[case("10.0.0.1")]
    #[case("192.168.1.1")]
    #[case("172.16.0.1")]
    #[case("100.64.0.1")]
    #[case("fd12:3456::1")]
    #[case("1.1.1.1")]
    #[case("2606:4700::1111")]
    #[case("64:ff9b::10.0.0.1")]
    #[case("64:ff9b:1::10.0.0.1")]
    #[case("2002:0a00:0001::1")]
    fn lets_company_and_public_addresses_pass(#[case] address: &str) {
        assert_eq!(check(&AddressPolicy::default(), address), Ok(()));
    }

    #[test]
    fn allow_opens_what_it_names_and_never_metadata() {
        let policy = AddressPolicy {
            allow: vec!["169.254.0.0/16".parse().unwrap(), "fd00:ec2::/32".parse().unwrap()],
            ..AddressPolicy::default()
        };
        assert_eq!(check(&policy, "169.254.1.1"), Ok(()));
        assert_eq!(check(&policy, "::ffff:169.254.1.1"), Ok(()));
        assert_eq!(check(&policy, "fd00:ec2::1"), Ok(()));
        assert_eq!(check(&policy, "fe80::1"), Err(Forbidden::LinkLocal));
        assert_eq!(check(&policy, "127.0.0.1"), Err(Forbidden::Loopback));
        for metadata in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            assert_eq!(check(&policy, metadata), Err(Forbidden::Metadata), "{metadata}");
        }
        let everything = AddressPolicy {
            allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            ..AddressPolicy::default()
        };
        for metadata in METADATA {
            assert_eq!(everything.check(*metadata, true), Err(Forbidden::Metadata));
        }
        assert_eq!(check(&everything, "64:ff9b::169.254.169.254"), Err(Forbidden::Metadata));
    }

    #[test]
    fn cluster_ranges_are_closed_to_registries_that_are_not_declared() {
        let policy = AddressPolicy {
            cluster: vec!["10.96.0.0/12".parse().unwrap()],
            ..AddressPolicy::default()
        };
        assert_eq!(check(&policy, "10.96.0.1"), Err(Forbidden::InCluster));
        assert_eq!(check(&policy, "::ffff:10.96.0.1"), Err(Forbidden::InCluster));
        assert_eq!(check(&policy, "10.1.0.1"), Ok(()));
        assert_eq!(policy.check("10.96.0.1".parse().unwrap(), true), Ok(()));
    }

    #[test]
    fn a_person_may_contact_loopback() {
        let policy = AddressPolicy { loopback: true, ..AddressPolicy::default() };
        assert_eq!(check(&policy, "127.0.0.1"), Ok(()));
        assert_eq!(check(&policy, "::1"), Ok(()));
        assert_eq!(check(&policy, "::ffff:127.0.0.1"), Ok(()));
        assert_eq!(check(&policy, "0.0.0.0"), Err(Forbidden::Unspecified));
    }
}
