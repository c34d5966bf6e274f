use std::io::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn file(content: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    Arc::new(file)
}

async fn pair() -> (SendFileStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (SendFileStream::new(listener.accept().await.unwrap().0), client)
}

#[tokio::test]
async fn bytes_are_found_by_their_place_for_as_long_as_they_are_mapped() {
    let (content, files) = (noise(300_000), SendFile::new());
    let regions = &files.connection.regions;
    let file = file(&content);
    let bytes = files.map(&file, 5001, 200_000).unwrap();
    assert_eq!(bytes, content[5001..205_001]);
    let offset = |bytes: &[u8]| regions.find(bytes).map(|(_, offset)| offset);
    assert_eq!(offset(&bytes), Some(5001));
    let part = bytes.slice(199_999..);
    assert_eq!((offset(&part), offset(&bytes[7..9])), (Some(205_000), Some(5008)));
    assert_eq!(offset(&bytes[7..7]), None, "nothing to send");
    assert_eq!(offset(&content), None, "the same bytes somewhere else");
    drop(bytes);
    assert_eq!((offset(&part), regions.count()), (Some(205_000), 1), "a part is left");
    drop(part);
    assert_eq!(regions.count(), 0);
    assert!(files.map(&file, 0, u64::MAX).is_none());
}

#[tokio::test]
async fn what_is_mapped_is_sent_between_what_is_written() {
    let content = noise(3_000_000);
    let (mut stream, mut client) = pair().await;
    let files = stream.send_file();
    let bytes = files.map(&file(&content), 1000, 2_900_000).unwrap();
    let expected = [b"head", &content[1000..2_901_000], b"tail", &content[1000..1010]].concat();
    let writing = async move {
        let (head, middle, tail) = (Bytes::from("head"), bytes.clone(), Bytes::from("tail"));
        let mut all =
            bytes::Buf::chain(bytes::Buf::chain(head, middle), bytes::Buf::chain(tail, bytes.slice(..10)));
        stream.write_all_buf(&mut all).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.send_file().sent()
    };
    let reading = async move {
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        read
    };
    let (sent, read) = tokio::join!(writing, reading);
    assert!(read == expected, "{} bytes came", read.len());
    assert_eq!(sent, if cfg!(target_os = "linux") { 2_900_010 } else { 0 });
    assert_eq!((files.sent(), files.connection.regions.count()), (sent, 0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_has_become_shorter_is_an_error() {
    let (mut stream, _client) = pair().await;
    let file = file(&noise(100_000));
    let bytes = stream.send_file().map(&file, 0, 100_000).unwrap();
    file.set_len(40_000).unwrap();
    let error = stream.write_all(&bytes).await.unwrap_err();
    assert_eq!(error.to_string(), "a file has become shorter while it was sent");
    assert_eq!(stream.send_file().sent(), 40_000);
}

#[tokio::test]
async fn requests_by_http_1_say_it() {
    use tower::{Layer as _, ServiceExt as _, service_fn};

    let files = SendFile::new();
    let service = files.layer(service_fn(|request: http::Request<()>| async move {
        Ok::<_, std::convert::Infallible>(request.extensions().get::<SendFile>().is_some())
    }));
    for (version, says) in
        [(http::Version::HTTP_10, true), (http::Version::HTTP_11, true), (http::Version::HTTP_2, false)]
    {
        let request = http::Request::builder().version(version).body(()).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap(), says, "{version:?}");
    }
}
