//! Requests signed as AWS has it: [Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html),
//! for a `POST` to `/` without a query, which is all that is needed here.

use std::time::SystemTime;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::secret::{Mac, Secret};

/// Keys of AWS.
#[derive(Clone)]
pub(super) struct AwsKeys {
    pub(super) access: String,
    pub(super) secret: Secret,
    /// What the keys of a role come with.
    pub(super) session: Option<Secret>,
}

/// Where a signature is good.
pub(super) struct Signing<'a> {
    pub(super) keys: &'a AwsKeys,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) at: SystemTime,
}

impl Signing<'_> {
    /// The headers that a request has to have beside `headers`: names in lower case, and values, of which the
    /// last is `authorization`. `host` is the authority that it is sent to.
    pub(super) fn sign(
        &self,
        host: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Vec<(&'static str, Secret)> {
        let at = stamp(self.at);
        let day = at.get(..DAY).unwrap_or_default();
        let mut added = vec![("x-amz-date", Secret::from(at.as_str()))];
        added.extend(self.keys.session.clone().map(|session| ("x-amz-security-token", session)));
        let mut all: Vec<(&str, &str)> = added.iter().map(|(name, value)| (*name, value.expose())).collect();
        all.push(("host", host));
        all.extend(headers);
        all.sort_unstable();
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hash(body));

        let Self { region, service, .. } = self;
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hash(canonical.as_bytes()));
        let signature = hex(&Mac::new(&self.key(day)).of(&[text.as_bytes()]));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.keys.access
        );
        added.push(("authorization", authorization.into()));
        added
    }

    fn key(&self, day: &str) -> [u8; Mac::LENGTH] {
        let first = format!("AWS4{}", self.keys.secret.expose());
        let parts = [self.region, self.service, "aws4_request"];
        let key = Mac::new(first.as_bytes()).of(&[day.as_bytes()]);
        parts.iter().fold(key, |key, part| Mac::new(&key).of(&[part.as_bytes()]))
    }
}

/// `20150830T123600Z`
fn stamp(at: SystemTime) -> String {
    Timestamp::try_from(at).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The length of a date in a stamp.
const DAY: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn keys(session: Option<&str>) -> AwsKeys {
        AwsKeys {
            access: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: session.map(Secret::from),
        }
    }

    fn signing(keys: &AwsKeys) -> Signing<'_> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        Signing { keys, region: "us-east-1", service: "service", at }
    }

    /// The cases of AWS's own suite, `aws-sig-v4-test-suite`, that have the form of our requests.
    #[test]
    fn signatures_are_those_of_awss_suite() {
        let (plain, role) = (keys(None), keys(Some(SESSION)));
        let form = [("content-type", "application/x-www-form-urlencoded")];
        for (case, keys, headers, body, names, signature) in [
            (
                "post-vanilla",
                &plain,
                &[][..],
                &b""[..],
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                &plain,
                &form[..],
                b"Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-sts-header-before",
                &role,
                &[],
                b"",
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let added = signing(keys).sign("example.amazonaws.com", headers, body);
            assert_eq!((added[0].0, added[0].1.expose()), ("x-amz-date", "20150830T123600Z"), "{case}");
            let (name, value) = added.last().unwrap();
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            );
            assert_eq!((*name, value.expose()), ("authorization", expected.as_str()), "{case}");
        }
    }

    const SESSION: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
}
