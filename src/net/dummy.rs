//! The tiny web server of the command `dummy`, a target for tests: one fixed answer, then the connection ends.

use std::future::poll_fn;
use std::time::Duration;

use super::stream::Stream;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: text/html\r\n\r\nPen is serving.";

/// A client that sends or reads nothing for this long is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers the first bytes that come, whatever they are.
pub(super) async fn serve(mut stream: Stream) {
    let answered = async {
        let mut request = [0; 1024];
        poll_fn(|cx| stream.poll_read(cx, &mut request)).await?;
        let mut rest = ANSWER;
        while !rest.is_empty() {
            let written = poll_fn(|cx| stream.poll_write(cx, rest)).await?;
            rest = rest.get(written..).unwrap_or_default();
        }
        poll_fn(|cx| stream.poll_shutdown(cx)).await?;
        // Closing a connection with unread bytes would reset it, and the client could lose the answer.
        while poll_fn(|cx| stream.poll_read(cx, &mut request)).await? > 0 {}
        std::io::Result::Ok(())
    };
    // In any case the connection is over.
    _ = tokio::time::timeout(PATIENCE, answered).await;
}
