//! Asks one resolver on one link: UDP, again while it is silent, and TCP for what does not fit.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sluss_platform::net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::question::{Answer, Question};

/// A resolver has mostly answered by then; else the question or its answer was lost.
const AGAIN: Duration = Duration::from_millis(400);

/// No answer with the addresses of one host comes near this; what is behind it is not read.
const LARGEST: usize = 4096;

/// Of whom to ask, and by which link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) link: String,
    pub(crate) address: SocketAddr,
}

/// What the server answers; whoever wants it gives up when the time has come, by dropping this.
///
/// # Errors
/// The server cannot be reached, or says that nobody listens there.
pub(crate) async fn ask(server: &Server, question: &Question) -> io::Result<Answer> {
    match by_udp(server, question).await? {
        Answer::Truncated => by_tcp(server, question).await,
        answer => Ok(answer),
    }
}

async fn by_udp(server: &Server, question: &Question) -> io::Result<Answer> {
    let socket = net::query_socket(&server.link, server.address)?;
    let mut datagram = [0; LARGEST];
    loop {
        socket.send(question.bytes()).await?;
        let again = Instant::now() + AGAIN;
        while let Ok(length) = timeout_at(again, socket.recv(&mut datagram)).await {
            if let Some(answer) = question.read(&datagram[..length?]) {
                return Ok(answer);
            }
        }
    }
}

/// With its length in front (RFC 1035, 4.2.2).
async fn by_tcp(server: &Server, question: &Question) -> io::Result<Answer> {
    let socket = net::probe_socket(&server.link, server.address.ip())?;
    let mut stream = socket.connect(server.address).await?;
    let length = u16::try_from(question.bytes().len()).map_err(io::Error::other)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(question.bytes());
    stream.write_all(&message).await?;

    let length = usize::from(stream.read_u16().await?);
    if length > LARGEST {
        return Ok(Answer::Failed);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    // Truncated again, or the answer to something else: it does not know how.
    Ok(match question.read(&message) {
        Some(Answer::Truncated) | None => Answer::Failed,
        Some(answer) => answer,
    })
}
