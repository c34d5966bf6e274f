//! A list of tags, read to its end over as many pages as it has.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// How many tags a list has.
pub(crate) fn tags(address: SocketAddr, repository: &str) -> usize {
    let (mut path, mut count) = (format!("/v2/{repository}/tags/list"), 0);
    loop {
        let (head, body) = get(address, &path);
        assert!(head.get(9..12) == Some("200"), "{head}");
        let (_, tags) = body.split_once('[').expect("a list");
        count += tags.matches('"').count() / 2;
        let links = head.lines().filter_map(|line| line.split_once(':'));
        let mut links = links.filter(|(name, _)| name.eq_ignore_ascii_case("link"));
        let Some((_, link)) = links.next() else { return count };
        let next = link.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        next.expect("a link").0.clone_into(&mut path);
    }
}

/// By HTTP/1.0: docker-registry announces no length, and its body then has no frames of its own.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}
