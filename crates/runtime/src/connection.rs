//! The agent's end of the conversation with one shim.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::oneshot,
};

use crate::protocol::{Answer, Call, MAX_LINE, Message, Refusal, Request};

/// Requests to a shim. Clones share one connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    pending: Arc<Mutex<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<Answer, Refusal>>>,
    closed: bool,
}

/// The shim is gone, and the answer with it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the sandbox's shim is gone")]
pub(crate) struct Gone;

/// The receiving side: to be read until it ends.
#[derive(Debug)]
pub(crate) struct Incoming {
    reader: BufReader<OwnedReadHalf>,
    pending: Arc<Mutex<Pending>>,
    line: Vec<u8>,
}

/// Connects to the shim that listens at `socket`.
pub(crate) async fn connect(socket: &Path) -> io::Result<(Connection, Incoming)> {
    let (read, write) = UnixStream::connect(socket).await?.into_split();
    let pending = Arc::new(Mutex::new(Pending::default()));
    let connection = Connection { writer: Arc::new(tokio::sync::Mutex::new(write)), pending: Arc::clone(&pending) };
    Ok((connection, Incoming { reader: BufReader::new(read), pending, line: Vec::new() }))
}

fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    // The map is consistent between any two of its operations.
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// Asks the shim and waits for the answer.
    pub(crate) async fn ask(&self, call: Call) -> Result<Result<Answer, Refusal>, Gone> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut pending = lock(&self.pending);
            if pending.closed {
                return Err(Gone);
            }
            pending.next += 1;
            let id = pending.next;
            pending.waiting.insert(id, sender);
            id
        };
        let mut line = serde_json::to_vec(&Request { id, call }).map_err(|_| Gone)?;
        line.push(b'\n');
        // Written by a task of its own: a caller that loses interest must not leave half a line.
        let writer = Arc::clone(&self.writer);
        let written = tokio::spawn(async move { writer.lock().await.write_all(&line).await });
        match written.await {
            Ok(Ok(())) => receiver.await.map_err(|_| Gone),
            _ => Err(Gone),
        }
    }
}

impl Incoming {
    /// Returns the next message that is not a reply, or the reply that has to be handed on.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.line.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        match (&mut self.reader).take(limit).read_until(b'\n', &mut self.line).await {
            Ok(read) if read > 0 => serde_json::from_slice(&self.line).ok(),
            _ => None,
        }
    }

    /// Hands a reply to whoever asked.
    pub(crate) fn hand_over(&self, id: u64, result: Result<Answer, Refusal>) {
        if let Some(sender) = lock(&self.pending).waiting.remove(&id) {
            // The caller may have lost interest.
            let _ = sender.send(result);
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut pending = lock(&self.pending);
        pending.closed = true;
        pending.waiting.clear();
    }
}
