use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::SendFile;

/// A TCP stream that has the system send what is mapped from files; see [the module](super).
#[derive(Debug)]
pub struct SendFileStream {
    stream: TcpStream,
    send_file: SendFile,
}

impl SendFileStream {
    /// Writes to `stream`.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, send_file: SendFile::new() }
    }

    /// What goes into the requests that come through this stream.
    #[must_use]
    pub fn send_file(&self) -> SendFile {
        self.send_file.clone()
    }

    /// The stream itself.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends `bytes` from their file. None where they aren't of a file, or it can't be sent that way.
    #[cfg(target_os = "linux")]
    fn send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        use rustix::io::Errno;
        use std::sync::atomic::Ordering;
        use std::task::ready;
        use tokio::io::Interest;

        let (file, start) = self.send_file.connection.regions.find(bytes)?;
        let attempt = || {
            let mut offset = start;
            Ok(rustix::fs::sendfile(&self.stream, &file, Some(&mut offset), bytes.len())?)
        };
        let mut send = || loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, attempt) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        };
        match send() {
            Poll::Ready(Ok(0)) => {
                let error = "a file has become shorter while it was sent";
                Some(Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))))
            }
            Poll::Ready(Ok(sent)) => {
                self.send_file.connection.sent.fetch_add(sent as u64, Ordering::Relaxed);
                Some(Poll::Ready(Ok(sent)))
            }
            // Not every file system can; the system reads the mapped memory, then.
            Poll::Ready(Err(error))
                if [Errno::INVAL, Errno::NOSYS]
                    .map(|errno| Some(errno.raw_os_error()))
                    .contains(&error.raw_os_error()) =>
            {
                None
            }
            other => Some(other),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send(&self, _: &mut Context<'_>, _: &[u8]) -> Option<Poll<io::Result<usize>>> {
        None
    }
}

impl AsyncRead for SendFileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for SendFileStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.send(cx, bytes) {
            Some(sent) => sent,
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let regions = &self.send_file.connection.regions;
        let Some(at) = slices.iter().position(|slice| regions.contains(slice)) else {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        };
        // What stands before it goes first.
        let (before, rest) = slices.split_at(at);
        if before.iter().any(|slice| !slice.is_empty()) {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, before);
        }
        match rest.first().and_then(|mapped| self.send(cx, mapped)) {
            Some(sent) => sent,
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, rest),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
