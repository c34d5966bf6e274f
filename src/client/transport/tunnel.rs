//! `CONNECT` ([RFC 9110, 9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)): a tunnel through an HTTP proxy.

use std::io;

use tokio::net::TcpStream;

use super::proxy::Proxy;
use super::target::Target;
use crate::error::Error;

/// The most bytes of a proxy's answer.
const MAX_ANSWER: usize = 16 * 1024;

/// Asks `proxy`, to which `stream` goes, for a tunnel to `target`.
pub(super) async fn tunnel(stream: TcpStream, proxy: &Proxy, target: &Target) -> Result<TcpStream, Error> {
    let broken = |error: io::Error| {
        Error::unavailable(format!("the HTTP proxy `{proxy}` broke off: {}", error.kind())).with_source(error)
    };
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(authorization.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    write_all(&stream, &head).await.map_err(broken)?;
    let answer = read_head(&stream).await.map_err(broken)?;
    match status(&answer) {
        Some(200..=299) => Ok(stream),
        Some(407) => Err(Error::bad_gateway(format!(
            "the HTTP proxy `{proxy}` wants other credentials to connect to `{target}` (status 407)"
        ))),
        Some(status) => Err(Error::unavailable(format!(
            "the HTTP proxy `{proxy}` doesn't connect to `{target}` (status {status})"
        ))),
        None => Err(Error::bad_gateway(format!("the HTTP proxy `{proxy}` doesn't answer as one"))),
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads up to the empty line. What follows it belongs to the tunnel, where the other side has nothing to say before we do.
async fn read_head(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        if answer.len() > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => answer.extend(buffer.iter().take(read)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|b| *b == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let digits = rest.get(..3).filter(|_| rest.get(3..4).is_none_or(|after| after == " "))?;
    digits.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 200\r\n\r\n", Some(200)),
            ("HTTP/1.1 407 Proxy Authentication Required\r\nX: y\r\n\r\n", Some(407)),
            ("HTTP/1.1 2000\r\n\r\n", None),
            ("HTTP/1.1 +20 OK\r\n\r\n", None),
            ("HTTP/2 200\r\n\r\n", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(status(line.as_bytes()), expected, "{line}");
        }
    }
}
