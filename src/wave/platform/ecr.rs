//! Which registries are Amazon's, and where their passwords are asked for.

use crate::spec::name::Host;

/// A registry of Amazon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EcrHost {
    /// Where the requests for its passwords are signed for.
    pub(super) region: String,
    pub(super) kind: EcrKind,
    /// What names of the services' hosts end with.
    domain: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EcrKind {
    /// One of an account's.
    Private,
    /// The gallery that all accounts share.
    Public,
}

impl EcrHost {
    /// What `host` is, when it is one of Amazon's and doesn't only look like one: `public.ecr.aws`, or exactly
    /// `<account>.dkr.ecr.<region>.amazonaws.com` with or without `.cn`.
    pub(super) fn of(host: &Host) -> Option<Self> {
        let host = host.as_str();
        if host == "public.ecr.aws" {
            // The gallery has one region, whatever the caller's.
            return Some(Self {
                region: "us-east-1".to_owned(),
                kind: EcrKind::Public,
                domain: "amazonaws.com",
            });
        }
        let mut labels = host.splitn(5, '.');
        let (account, dkr) = (labels.next()?, labels.next()?);
        let (ecr, region, domain) = (labels.next()?, labels.next()?, labels.next()?);
        let domain = ["amazonaws.com", "amazonaws.com.cn"].into_iter().find(|known| *known == domain)?;
        let is_account = account.len() == ACCOUNT && account.bytes().all(|b| b.is_ascii_digit());
        let is_region = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_account || dkr != "dkr" || ecr != "ecr" || !is_region || region.is_empty() {
            return None;
        }
        Some(Self { region: region.to_owned(), kind: EcrKind::Private, domain })
    }

    /// The URL of the service that gives out passwords.
    pub(super) fn password_service(&self) -> String {
        let Self { region, domain, .. } = self;
        match self.kind {
            EcrKind::Private => format!("https://api.ecr.{region}.{domain}/"),
            EcrKind::Public => format!("https://api.ecr-public.{region}.{domain}/"),
        }
    }

    /// The URL of the service that gives out the keys of roles.
    pub(super) fn role_service(&self) -> String {
        format!("https://sts.{}.{}/", self.region, self.domain)
    }
}

/// The digits of an account's number.
const ACCOUNT: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Option<EcrHost> {
        EcrHost::of(&host.parse().unwrap())
    }

    #[test]
    fn amazons_registries_are_known_by_all_of_their_name() {
        let host = of("123456789012.dkr.ecr.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((host.region.as_str(), host.kind), ("eu-west-1", EcrKind::Private));
        assert_eq!(host.password_service(), "https://api.ecr.eu-west-1.amazonaws.com/");
        assert_eq!(host.role_service(), "https://sts.eu-west-1.amazonaws.com/");
        let host = of("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn").unwrap();
        assert_eq!(host.password_service(), "https://api.ecr.cn-north-1.amazonaws.com.cn/");
        assert_eq!(host.role_service(), "https://sts.cn-north-1.amazonaws.com.cn/");
        let host = of("public.ecr.aws").unwrap();
        assert_eq!((host.region.as_str(), host.kind), ("us-east-1", EcrKind::Public));
        assert_eq!(host.password_service(), "https://api.ecr-public.us-east-1.amazonaws.com/");
    }

    #[test]
    fn what_looks_alike_is_not_amazons() {
        for host in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-west-1.evil-amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443",
            "123456789012.dkr.ecr.eu-west-1.x.amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "a23456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.co",
            "public.ecr.aws.evil.example",
            "evil-public.ecr.aws",
            "x.public.ecr.aws",
            "docker.io",
        ] {
            assert_eq!(of(host), None, "{host}");
        }
    }
}
