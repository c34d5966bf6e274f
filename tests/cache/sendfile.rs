//! Blobs that the system sends from their files: over real connections, the same bytes as ever.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::Layer as _;
use tower_oci::http::OciService;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs};
use tower_oci::store::sendfile::{SendFile, SendFileStream};

use crate::origin::{Origin, REPOSITORY, content, kept};

/// Too large for what is kept in memory of a transfer, and for a socket that nobody reads.
const SIZE: usize = 12 << 20;

struct Served {
    origin: Origin,
    store: DiskBlobs,
    blob: Bytes,
    digest: Digest,
    port: u16,
    /// What each connection has sent, in the order in which they came.
    connections: Arc<Mutex<Vec<SendFile>>>,
    root: tempfile::TempDir,
    tasks: Tasks,
}

impl Served {
    async fn new() -> Self {
        let blob = content(SIZE);
        let digest = Digest::sha256(&blob);
        let origin = Origin::new([blob.clone()]).frames(200_000);
        let root = tempfile::tempdir().unwrap();
        let (store, tasks) = (DiskBlobs::open(root.path()).await.unwrap(), Tasks::new());
        let layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
        let service = OciService::new(origin.cached(&layer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, serving) = (Arc::new(Mutex::new(Vec::new())), tasks.clone());
        let opened = Arc::clone(&connections);
        tasks.spawn(async move {
            loop {
                let stream = SendFileStream::new(listener.accept().await.unwrap().0);
                opened.lock().unwrap().push(stream.send_file());
                let service = TowerToHyperService::new(stream.send_file().layer(service.clone()));
                let mut server = Builder::new();
                server.max_buf_size(16 * 1024);
                let connection = server.serve_connection(TokioIo::new(stream), service);
                serving.spawn(async move { drop(connection.await) });
            }
        });
        Self { origin, store, blob, digest, port, connections, root, tasks }
    }

    fn sent(&self) -> Vec<u64> {
        self.connections.lock().unwrap().iter().map(SendFile::sent).collect()
    }

    /// How many files of the store are mapped, as far as the system tells.
    fn mapped(&self) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let root = self.root.path().to_str().unwrap();
        maps.lines().filter(|line| line.contains(root)).count()
    }

    async fn client(&self) -> Client {
        Client(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    async fn get(&self, range: &str) -> (String, Bytes) {
        let mut client = self.client().await;
        let (head, length) = client.ask(self.digest, range).await;
        (head, client.read(length).await.unwrap())
    }

    async fn end(self) {
        self.tasks.abort();
        assert!(self.tasks.shutdown(Duration::from_secs(10)).await);
    }
}

struct Client(TcpStream);

impl Client {
    /// Asks for the blob. Answers the head and the announced length.
    async fn ask(&mut self, digest: Digest, range: &str) -> (String, usize) {
        let range = if range.is_empty() { String::new() } else { format!("range: bytes={range}\r\n") };
        let request = format!("GET /v2/{REPOSITORY}/blobs/{digest} HTTP/1.1\r\nhost: a\r\n{range}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.unwrap().parse().unwrap();
        (head, length)
    }

    async fn read(&mut self, length: usize) -> std::io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await?;
        Ok(bytes.into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_blobs_and_ranges_of_them_are_sent_from_the_file() {
    let served = Served::new().await;
    served.store.put(served.digest, None, served.blob.clone().into()).await.unwrap();
    let (head, whole) = served.get("").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(whole == served.blob);
    for (first, last) in [(0, SIZE - 1), (4097, 5_000_000), (SIZE - 300_000, SIZE - 1)] {
        let (head, part) = served.get(&format!("{first}-{last}")).await;
        assert!(head.starts_with("HTTP/1.1 206"), "{head}");
        assert!(part == served.blob[first..=last], "{first}-{last}");
    }
    // What is small was read when it was looked up.
    let (_, part) = served.get("5-9").await;
    assert_eq!(part, served.blob[5..10]);
    if cfg!(target_os = "linux") {
        assert_eq!(served.sent(), [SIZE as u64, SIZE as u64, 4_995_904, 300_000, 0]);
    }
    // Several, with their heads between them, over one connection.
    let mut client = served.client().await;
    for _ in 0..3 {
        let (head, length) = client.ask(served.digest, "0-999999,2000000-2000001,-500000").await;
        assert!(head.contains("multipart/byteranges"), "{head}");
        let body = client.read(length).await.unwrap();
        let find = |part: &[u8]| body.windows(64).position(|found| *found == part[..64]);
        for part in [&served.blob[..1_000_000], &served.blob[SIZE - 500_000..]] {
            let at = find(part).unwrap();
            assert!(body[at..at + part.len()] == *part);
        }
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_is_given_what_has_come_and_no_end_that_is_not_verified() {
    let served = Served::new().await;
    served.origin.release(SIZE / 2);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = served.client().await;
        let (_, length) = client.ask(served.digest, "").await;
        assert_eq!(length, SIZE);
        clients.push(client);
    }
    // Half of it comes, though the rest is held.
    let early = SIZE / 2 - 400_000;
    for client in &mut clients {
        assert!(client.read(early).await.unwrap() == served.blob[..early]);
    }
    // Who comes late has it from the file.
    let mut late = served.client().await;
    late.ask(served.digest, "").await;
    assert!(late.read(early).await.unwrap() == served.blob[..early]);
    if cfg!(target_os = "linux") {
        assert!(served.sent().last().is_some_and(|sent| *sent > 0));
    }
    clients.push(late);
    served.origin.release(SIZE);
    for client in &mut clients {
        assert!(client.read(SIZE - early).await.unwrap() == served.blob[early..]);
    }
    assert_eq!(served.origin.seen().len(), 1);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_content_never_ends_well() {
    let served = Served::new().await;
    let mut wrong = served.blob.to_vec();
    wrong[SIZE - 1] ^= 1;
    served.origin.replace(served.digest, wrong.into());
    served.origin.release(SIZE / 2);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = served.client().await;
        client.ask(served.digest, "").await;
        clients.push(client);
    }
    served.origin.release(SIZE);
    for client in &mut clients {
        let error = client.read(SIZE).await.unwrap_err();
        assert!(["early eof", "reset"].iter().any(|words| error.to_string().contains(words)), "{error}");
    }
    assert_eq!(kept(&served.store).await, []);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_removed_is_sent_to_its_end_and_a_client_that_leaves_leaves_nothing() {
    let served = Served::new().await;
    served.store.put(served.digest, None, served.blob.clone().into()).await.unwrap();
    let (mut stays, mut leaves) = (served.client().await, served.client().await);
    stays.ask(served.digest, "").await;
    leaves.ask(served.digest, "").await;
    assert!(served.store.remove(served.digest).await.unwrap());
    if cfg!(target_os = "linux") {
        assert!(served.mapped() > 0);
    }
    drop(leaves);
    assert!(stays.read(SIZE).await.unwrap() == served.blob);
    drop(stays);
    // The connections end in tasks of their own.
    for _ in 0..5000 {
        if served.mapped() == 0 {
            return served.end().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{} files of the store are mapped still", served.mapped());
}
