//! TLS on the client's side.

use std::pin::Pin;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslOptions, SslVerifyMode};
use openssl::x509::X509;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_openssl::SslStream;

use super::*;
use crate::net::relay::{Cause, Side};

/// A context of a server with a certificate of its own making.
fn context() -> SslContext {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_certificate(&certificate.build()).unwrap();
    context.set_private_key(&key).unwrap();
    // As pen's own contexts have it: SSL_OP_IGNORE_UNEXPECTED_EOF.
    context.set_options(SslOptions::from_bits_retain(1 << 7));
    context.build()
}

/// A TLS client, a server, and the relay between them.
async fn tls_rig() -> (SslStream<TcpStream>, TcpStream, JoinHandle<RelayOutcome>) {
    tls_rig_with(|relay| tokio::spawn(relay)).await
}

/// The same, with a relay that `start` puts to work.
pub(super) async fn tls_rig_with<T>(
    start: impl FnOnce(Relay<()>) -> T,
) -> (SslStream<TcpStream>, TcpStream, T) {
    let ((client, near_client), (near_server, server)) = (tcp_pair(false).await, tcp_pair(false).await);
    let mut wanted = SslContext::builder(SslMethod::tls_client()).unwrap();
    wanted.set_verify(SslVerifyMode::NONE);
    let mut client = SslStream::new(Ssl::new(&wanted.build()).unwrap(), client).unwrap();
    let mut near_client = SslStream::new(Ssl::new(&context()).unwrap(), side(near_client)).unwrap();
    let (connected, accepted) =
        tokio::join!(Pin::new(&mut client).connect(), Pin::new(&mut near_client).accept());
    connected.unwrap();
    accepted.unwrap();
    let settings = RelaySettings { pipes: Some(Pool::new(1)), ..RelaySettings::default() };
    let relay = start(Relay::new(near_client, side(near_server), &settings, ()));
    (client, server, relay)
}

#[test]
fn close_notify_is_a_half_close_each_way() {
    run(async {
        let (mut client, mut server, relay) = tls_rig().await;
        let (question, answer) = (noise(2_000_000, 20), noise(3_000_000, 21));
        let ask = async {
            client.write_all(&question).await.unwrap();
            client.shutdown().await.unwrap();
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            got
        };
        let serve = async {
            let (got, end) = read_all(&mut server).await;
            end.unwrap();
            server.write_all(&answer).await.unwrap();
            server.shutdown().await.unwrap();
            got
        };
        let (got_answer, got_question) = tokio::join!(ask, serve);
        assert!(got_question == question && got_answer == answer);
        assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
    });
}

#[test]
fn a_fin_without_close_notify_is_a_half_close_too() {
    run(async {
        let (mut client, mut server, relay) = tls_rig().await;
        let question = noise(300_000, 22);
        client.write_all(&question).await.unwrap();
        client.get_mut().shutdown().await.unwrap();
        let (got, end) = read_all(&mut server).await;
        end.unwrap();
        assert!(got == question);
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"answer");
        assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
    });
}

#[test]
fn a_stream_cut_off_within_a_record_is_a_reset() {
    run(async {
        let (mut client, mut server, relay) = tls_rig().await;
        client.write_all(b"half a req").await.unwrap();
        server.read_exact(&mut [0; 10]).await.unwrap();
        // The head of a record of 32 bytes, and some of them.
        client.get_mut().write_all(b"\x17\x03\x03\x00\x20abc").await.unwrap();
        client.get_mut().shutdown().await.unwrap();
        assert!(read_all(&mut server).await.1.is_err(), "a truncated stream looks complete");
        let end = relay.await.unwrap();
        assert!(matches!(&end.cause, Cause::Broken { side: Side::Client, .. }), "{end:?}");
    });
}

#[test]
fn a_reset_right_behind_data_is_no_end() {
    run(async {
        let (mut client, mut server, relay) = tls_rig().await;
        // Both are there when the relay looks for the first time.
        client.write_all(b"half a req").await.unwrap();
        socket2::SockRef::from(client.get_ref()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        assert!(read_all(&mut server).await.1.is_err(), "a truncated stream looks complete");
        let end = relay.await.unwrap();
        assert!(matches!(&end.cause, Cause::Broken { side: Side::Client, .. }), "{end:?}");
    });
}

#[test]
fn a_server_that_breaks_off_gives_no_close_notify() {
    run(async {
        let (mut client, mut server, relay) = tls_rig().await;
        server.write_all(b"half an ans").await.unwrap();
        client.read_exact(&mut [0; 11]).await.unwrap();
        reset(server);
        assert!(client.read(&mut [0; 1]).await.is_err(), "a truncated stream looks complete");
        relay.await.unwrap();
    });
}
