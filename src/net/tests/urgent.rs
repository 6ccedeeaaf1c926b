//! Urgent data (RFC 6093): the byte itself is not passed on, and all that is around it is.

use super::*;

/// Sends an urgent byte between two pieces. Of two such bytes that are unread, the system makes the first a plain one.
async fn send(stream: &mut TcpStream, before: &[u8], after: &[u8]) {
    stream.write_all(before).await.unwrap();
    SockRef::from(&*stream).send_out_of_band(b"!").unwrap();
    stream.write_all(after).await.unwrap();
}

#[test]
fn what_follows_it_needs_no_further_event() {
    both_ways(|settings| async move {
        let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
        // All of it is there when the relay reads first; nothing more comes.
        send(&mut client, b"abc", b"def").await;
        send(&mut server, b"123", b"456").await;
        let _relay = tokio::spawn(relay);
        let (mut request, mut answer) = ([0; 6], [0; 6]);
        server.read_exact(&mut request).await.unwrap();
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!((&request, &answer), (b"abcdef", b"123456"));
    });
}

#[test]
fn it_is_no_end_before_the_end() {
    both_ways(|settings| async move {
        let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
        send(&mut client, b"abc", b"def").await;
        client.shutdown().await.unwrap();
        let _relay = tokio::spawn(relay);
        assert_eq!(read_all(&mut server).await.0, b"abcdef");
    });
}

#[test]
fn it_is_no_end_of_bulk() {
    both_ways(|settings| async move {
        let Rig { mut client, mut server, relay, .. } = rig(&settings, false).await;
        let data = noise(6_000_000, 30);
        let (before, after) = data.split_at(3_500_000);
        let sent = async {
            send(&mut client, before, after).await;
            client.shutdown().await.unwrap();
        };
        let ((got, end), ()) = tokio::join!(read_all(&mut server), sent);
        assert!(got == data, "{} of {}: {end:?}", got.len(), data.len());
        drop((client, server));
        relay.await.unwrap();
    });
}
