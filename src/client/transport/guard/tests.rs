use super::*;
use crate::error::ErrorKind;

fn judged(address: &str) -> Option<&'static str> {
    not_public(address.parse().unwrap())
}

#[test]
fn addresses_that_are_not_public() {
    for (address, reason) in [
        ("0.0.0.0", "an unspecified address (0.0.0.0/8)"),
        ("0.1.2.3", "an unspecified address (0.0.0.0/8)"),
        ("10.0.0.1", "a private address (10.0.0.0/8)"),
        ("10.255.255.255", "a private address (10.0.0.0/8)"),
        ("100.64.0.1", "a shared address (100.64.0.0/10)"),
        ("100.100.100.200", "a shared address (100.64.0.0/10)"),
        ("100.127.255.255", "a shared address (100.64.0.0/10)"),
        ("127.0.0.1", "a loopback address (127.0.0.0/8)"),
        ("127.255.255.254", "a loopback address (127.0.0.0/8)"),
        ("169.254.169.254", "a cloud's metadata address"),
        ("169.254.170.2", "a link-local address (169.254.0.0/16)"),
        ("168.63.129.16", "a cloud's metadata address"),
        ("172.16.0.1", "a private address (172.16.0.0/12)"),
        ("172.31.255.255", "a private address (172.16.0.0/12)"),
        ("192.0.0.192", "a protocol address (192.0.0.0/24)"),
        ("192.0.2.1", "an address for documentation"),
        ("198.51.100.1", "an address for documentation"),
        ("203.0.113.1", "an address for documentation"),
        ("192.88.99.1", "a relay address (192.88.99.0/24)"),
        ("192.168.1.1", "a private address (192.168.0.0/16)"),
        ("198.18.0.1", "an address for benchmarks (198.18.0.0/15)"),
        ("198.19.255.255", "an address for benchmarks (198.18.0.0/15)"),
        ("224.0.0.1", "a multicast address (224.0.0.0/4)"),
        ("239.255.255.255", "a multicast address (224.0.0.0/4)"),
        ("240.0.0.1", "a reserved address (240.0.0.0/4)"),
        ("255.255.255.255", "the broadcast address"),
        ("::", "an unspecified address (::)"),
        ("::1", "a loopback address (::1)"),
        ("fc00::1", "a unique local address (fc00::/7)"),
        ("fd00:ec2::254", "a unique local address (fc00::/7)"),
        ("fe80::1", "a link-local address (fe80::/10)"),
        ("febf::1", "a link-local address (fe80::/10)"),
        ("fec0::1", "a site-local address (fec0::/10)"),
        ("ff02::1", "a multicast address (ff00::/8)"),
        ("2001:db8::1", "an address for documentation"),
        ("3fff::1", "an address for documentation"),
        ("2001:2::1", "an address for benchmarks (2001:2::/48)"),
        ("2001:10::1", "a protocol address (2001::/23)"),
        ("100::1", "no global unicast address"),
        ("5f00::1", "no global unicast address"),
        ("4000::1", "no global unicast address"),
    ] {
        assert_eq!(judged(address), Some(reason), "{address}");
    }
}

#[test]
fn addresses_that_stand_for_others_are_judged_by_those() {
    let loopback = Some("a loopback address (127.0.0.0/8)");
    let metadata = Some("a cloud's metadata address");
    let private = Some("a private address (10.0.0.0/8)");
    for (address, expected) in [
        ("::ffff:127.0.0.1", loopback),
        ("::ffff:10.0.0.1", private),
        ("::ffff:8.8.8.8", None),
        ("::127.0.0.1", loopback),
        ("::8.8.8.8", None),
        ("::ffff:0:127.0.0.1", loopback),
        ("64:ff9b::127.0.0.1", loopback),
        ("64:ff9b::169.254.169.254", metadata),
        ("64:ff9b::8.8.8.8", None),
        ("64:ff9b:1::10.0.0.1", private),
        ("64:ff9b:1::8.8.8.8", None),
        // RFC 6052, 2.2: prefixes of 48, 56 and 64 bits.
        ("64:ff9b:1:7f00:0:100::", loopback),
        ("64:ff9b:1:7f:0:1::", loopback),
        ("64:ff9b:1::7f:0:100:0", loopback),
        ("64:ff9b:1::", Some("an unspecified address (0.0.0.0/8)")),
        ("2002:7f00:1::1", loopback),
        ("2002:a9fe:a9fe::1", metadata),
        ("2002:808:808::1", None),
        // Teredo: the server in front, the client's bits turned over behind.
        ("2001:0:808:808::f5ff:fffe", private),
        ("2001:0:7f00:1::f7f7:f7f7", loopback),
        ("2001:0:808:808::f7f7:f7f7", None),
    ] {
        assert_eq!(judged(address), expected, "{address}");
    }
}

#[test]
fn addresses_beside_the_ranges_are_public() {
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2606:4700::1111",
        "2a00:1450::1",
        "3ffe::1",
    ] {
        assert_eq!(judged(address), None, "{address}");
    }
}

fn check(guard: &Guard, host: &str, address: &str, port: u16) -> bool {
    guard.check(host, address.parse().unwrap(), port).is_ok()
}

#[test]
fn a_host_is_allowed_exactly() {
    let guard = Guard::public_only()
        .allow_host(&"registry.corp.example:5000".parse().unwrap())
        .allow_host(&"plain.corp.example".parse().unwrap())
        .allow_host(&"[::1]:5000".parse().unwrap());
    for (host, address, port, allowed) in [
        ("registry.corp.example", "10.0.0.1", 5000, true),
        ("Registry.Corp.Example", "10.0.0.1", 5000, true),
        ("registry.corp.example", "10.0.0.1", 5001, false),
        ("registry.corp.example", "10.0.0.1", 443, false),
        ("registry.corp.example", "8.8.8.8", 443, true),
        ("x.registry.corp.example", "10.0.0.1", 5000, false),
        ("corp.example", "10.0.0.1", 5000, false),
        ("10.0.0.1", "10.0.0.1", 5000, false),
        ("plain.corp.example", "10.0.0.1", 443, true),
        ("plain.corp.example", "10.0.0.1", 80, true),
        ("plain.corp.example", "10.0.0.1", 8080, false),
        ("::1", "::1", 5000, true),
        ("0:0::1", "::1", 5000, true),
        ("::1", "::1", 5001, false),
    ] {
        assert_eq!(check(&guard, host, address, port), allowed, "{host} {address} {port}");
    }
}

#[test]
fn a_network_is_allowed_by_any_name() {
    let guard = Guard::public_only().allow_network("10.1.0.0/16").unwrap();
    let guard = guard.allow_network("127.0.0.3").unwrap().allow_network("fd00:1::/32").unwrap();
    for (address, allowed) in [
        ("10.1.0.0", true),
        ("10.1.255.255", true),
        ("10.2.0.0", false),
        ("::ffff:10.1.2.3", true),
        ("64:ff9b::10.1.2.3", true),
        ("::ffff:10.2.2.3", false),
        ("127.0.0.3", true),
        ("127.0.0.2", false),
        ("fd00:1::1", true),
        ("fd00:2::1", false),
    ] {
        assert_eq!(check(&guard, "x.example", address, 443), allowed, "{address}");
    }
    let all = Guard::public_only().allow_network("0.0.0.0/0").unwrap().allow_network("::/0").unwrap();
    assert!(check(&all, "x.example", "127.0.0.1", 1) && check(&all, "x.example", "::1", 1));
}

#[test]
fn networks_are_in_cidr_notation() {
    for bad in ["", "10", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "x/8", "10.0.0.0/8/8"] {
        let error = Guard::public_only().allow_network(bad).unwrap_err();
        assert!(error.message().starts_with(&format!("`{bad}` is no network: ")), "{error}");
    }
}

#[test]
fn refusals_name_the_host_and_the_reason() {
    let guard = Guard::public_only();
    let error = guard.check("x.example", "10.0.0.1".parse().unwrap(), 443).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.message(),
        "`x.example` resolves to a private address (10.0.0.0/8), which may not be connected to"
    );
    let error = guard.check("127.0.0.1", "127.0.0.1".parse().unwrap(), 443).unwrap_err();
    assert_eq!(
        error.message(),
        "`127.0.0.1` is a loopback address (127.0.0.0/8), which may not be connected to"
    );
}

#[test]
fn through_a_proxy_names_are_judged() {
    let guard = Guard::public_only().allow_host(&"registry.internal:5000".parse().unwrap());
    for (host, allowed) in [
        ("registry.example", true),
        ("8.8.8.8", true),
        ("registry.internal", true),
        ("other.internal", false),
        ("metadata.google.internal.", false),
        ("localhost", false),
        ("LOCALHOST.", false),
        ("x.localhost", false),
        ("printer.local", false),
        ("nas.home.arpa", false),
        ("metadata", false),
        ("127.0.0.1", false),
        ("::1", false),
        ("127.1", false),
        ("0x7f.0x1", false),
        ("2130706433", false),
        ("127.0.0.1.", false),
    ] {
        assert_eq!(guard.check_name(host, 5000).is_ok(), allowed, "{host}");
    }
}
