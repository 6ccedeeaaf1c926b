//! TLS for the tests: certificate authorities, certificates, and a client whose every step is visible.

use std::fs;
use std::io::{self, BufRead as _, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{
    ErrorCode, HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslContextBuilder, SslMethod,
    SslStream, SslVerifyMode, SslVersion, StatusType,
};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameBuilder};

use socket2::Socket;

use super::client::Client;

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// P-256.
    Ec,
    /// RSA of 2048 bits.
    Rsa,
}

fn key(kind: Kind) -> PKey<Private> {
    match kind {
        Kind::Ec => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
            PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
        }
        Kind::Rsa => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
    }
}

fn name(common: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common).unwrap();
    name.build()
}

/// A certificate, its key, and its chain of authorities.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) cert: X509,
    pub(crate) key: PKey<Private>,
    pub(crate) chain: Vec<X509>,
}

impl Pair {
    fn new(common: &str, kind: Kind, days: (i64, i64), is_authority: bool, issuer: Option<&Pair>) -> Pair {
        let key = key(kind);
        let mut serial = BigNum::new().unwrap();
        serial.rand(64, MsbOption::MAYBE_ZERO, false).unwrap();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .cast_signed();
        let day = |n: i64| Asn1Time::from_unix(now + n * 86400).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
        builder.set_subject_name(&name(common)).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&day(days.0)).unwrap();
        builder.set_not_after(&day(days.1)).unwrap();
        match issuer {
            Some(issuer) => builder.set_issuer_name(issuer.cert.subject_name()).unwrap(),
            None => builder.set_issuer_name(&name(common)).unwrap(),
        }
        if is_authority {
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        } else {
            let context = builder.x509v3_context(issuer.map(|i| &*i.cert), None);
            let mut names = SubjectAlternativeName::new();
            let names = if common.parse::<IpAddr>().is_ok() { names.ip(common) } else { names.dns(common) };
            let names = names.build(&context).unwrap();
            builder.append_extension(names).unwrap();
        }
        builder.sign(issuer.map_or(&key, |i| &i.key), MessageDigest::sha256()).unwrap();
        let chain = match issuer {
            // The root itself is omitted, as it should be.
            Some(issuer) if !issuer.is_root() => [vec![issuer.cert.clone()], issuer.chain.clone()].concat(),
            _ => Vec::new(),
        };
        Pair { cert: builder.build(), key, chain }
    }

    /// A root authority.
    pub(crate) fn root(common: &str) -> Pair {
        Self::new(common, Kind::Ec, (-1, 30), true, None)
    }

    /// An authority issued by this one.
    pub(crate) fn intermediate(&self, common: &str) -> Pair {
        Self::new(common, Kind::Ec, (-1, 30), true, Some(self))
    }

    /// A certificate from this authority, for a name or an address.
    pub(crate) fn issue(&self, common: &str) -> Pair {
        self.issue_as(common, Kind::Ec, (-1, 30))
    }

    /// The same with a key of that kind; the validity is given in days from now.
    pub(crate) fn issue_as(&self, common: &str, kind: Kind, days: (i64, i64)) -> Pair {
        Self::new(common, kind, days, false, Some(self))
    }

    fn is_root(&self) -> bool {
        self.cert.issued(&self.cert) == openssl::x509::X509VerifyResult::OK
    }

    /// The certificate and its chain.
    pub(crate) fn cert_pem(&self) -> String {
        let pem = |c: &X509| String::from_utf8(c.to_pem().unwrap()).unwrap();
        std::iter::once(&self.cert).chain(&self.chain).map(pem).collect()
    }

    /// The key.
    pub(crate) fn key_pem(&self) -> String {
        String::from_utf8(self.key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }

    /// Writes `NAME.crt` and `NAME.key`, replacing each file as a whole, as a careful administrator does.
    pub(crate) fn write(&self, dir: &Path, name: &str) {
        replace(&dir.join(format!("{name}.key")), self.key_pem());
        replace(&dir.join(format!("{name}.crt")), self.cert_pem());
    }
}

/// Replaces a file atomically.
pub(crate) fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// The parameters of a client.
pub(crate) struct TlsClient {
    context: SslContextBuilder,
    name: Option<String>,
    stapling: bool,
}

impl TlsClient {
    /// A client that trusts `authority`.
    pub(crate) fn new(authority: &Pair) -> TlsClient {
        let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
        context.cert_store_mut().add_cert(authority.cert.clone()).unwrap();
        context.set_verify(SslVerifyMode::PEER);
        TlsClient { context, name: None, stapling: false }
    }

    /// Requests a server by name, and accepts no certificate for another name.
    pub(crate) fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Accepts any certificate.
    pub(crate) fn trusting(mut self) -> Self {
        self.context.set_verify(SslVerifyMode::NONE);
        self
    }

    /// Offers only this version.
    pub(crate) fn version(mut self, version: SslVersion) -> Self {
        // Old versions are below the library's default security level.
        self.context.set_security_level(0);
        self.context.set_min_proto_version(Some(version)).unwrap();
        self.context.set_max_proto_version(Some(version)).unwrap();
        self
    }

    /// Offers these ciphers of TLS 1.2.
    pub(crate) fn ciphers(mut self, list: &str) -> Self {
        self.context.set_cipher_list(list).unwrap();
        self
    }

    /// Offers these protocols (ALPN).
    pub(crate) fn protocols(mut self, names: &[&str]) -> Self {
        let length = |name: &str| u8::try_from(name.len()).unwrap();
        let wire: Vec<u8> = names.iter().flat_map(|n| [&[length(n)], n.as_bytes()].concat()).collect();
        if !wire.is_empty() {
            self.context.set_alpn_protos(&wire).unwrap();
        }
        self
    }

    /// Accepts only these signature algorithms.
    pub(crate) fn signatures(mut self, list: &str) -> Self {
        self.context.set_sigalgs_list(list).unwrap();
        self
    }

    /// Offers only this group for the exchange of keys.
    pub(crate) fn group(mut self, name: &str) -> Self {
        self.context.set_groups_list(name).unwrap();
        self
    }

    /// Has a client certificate.
    pub(crate) fn identity(mut self, pair: &Pair) -> Self {
        self.context.set_certificate(&pair.cert).unwrap();
        self.context.set_private_key(&pair.key).unwrap();
        for certificate in &pair.chain {
            self.context.add_extra_chain_cert(certificate.clone()).unwrap();
        }
        self
    }

    /// Requests an OCSP response.
    pub(crate) fn stapling(mut self) -> Self {
        self.stapling = true;
        self
    }

    /// Connects and performs the handshake.
    pub(crate) fn try_connect(self, address: SocketAddr) -> Result<Tls, String> {
        self.over(Client::to(address))
    }

    /// The same, when it must succeed.
    #[track_caller]
    pub(crate) fn connect(self, address: SocketAddr) -> Tls {
        self.try_connect(address).unwrap_or_else(|e| panic!("TLS to {address}: {e}"))
    }

    /// Sends the first message, and reads nothing before [`HalfMade::finish`].
    pub(crate) fn begin(self, client: Client) -> HalfMade {
        match self.prepared().connect(Gate { socket: client.0, open: false }) {
            Err(HandshakeError::WouldBlock(stream)) => HalfMade(stream),
            _ => panic!("a handshake without an answer"),
        }
    }

    /// Performs the handshake on a connection.
    pub(crate) fn over(self, client: Client) -> Result<Tls, String> {
        match self.prepared().connect(client.0) {
            Ok(stream) => Ok(Tls(stream)),
            Err(e) => Err(e.to_string()),
        }
    }

    fn prepared(self) -> Ssl {
        let context = self.context.build();
        let mut ssl = Ssl::new(&context).unwrap();
        if let Some(name) = &self.name {
            ssl.set_hostname(name).unwrap();
            ssl.param_mut().set_host(name).unwrap();
        }
        if self.stapling {
            ssl.set_status_type(StatusType::OCSP).unwrap();
        }
        ssl
    }
}

/// A socket from which nothing can be read until it is opened.
#[derive(Debug)]
struct Gate {
    socket: Socket,
    open: bool,
}

impl Read for Gate {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.open { self.socket.read(buffer) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A handshake that the client has begun.
pub(crate) struct HalfMade(MidHandshakeSslStream<Gate>);

impl HalfMade {
    /// Whether the server's first message has come.
    pub(crate) fn has_answer(&self) -> bool {
        self.0.get_ref().socket.peek(&mut [MaybeUninit::uninit()]).is_ok()
    }

    /// Performs the rest of the handshake, and reads the first line of the server.
    pub(crate) fn finish(mut self) -> String {
        self.0.get_mut().open = true;
        let mut stream = self.0.handshake().unwrap_or_else(|e| panic!("the rest of a handshake: {e}"));
        let mut line = String::new();
        io::BufReader::new(&mut stream).read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

/// The first message of a client, which can be sent any number of times: the server then does all the work of a
/// handshake.
pub(crate) fn client_hello() -> Vec<u8> {
    recorded(|_| {})
}

/// The same with a server name.
pub(crate) fn client_hello_for(name: &str) -> Vec<u8> {
    recorded(|ssl| ssl.set_hostname(name).unwrap())
}

fn recorded(change: impl FnOnce(&mut Ssl)) -> Vec<u8> {
    struct Recorder(Vec<u8>);
    impl Read for Recorder {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
    impl Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let context = SslContext::builder(SslMethod::tls_client()).unwrap().build();
    let mut ssl = Ssl::new(&context).unwrap();
    change(&mut ssl);
    match ssl.connect(Recorder(Vec::new())) {
        Err(HandshakeError::WouldBlock(stream)) => stream.get_ref().0.clone(),
        _ => panic!("a handshake without an answer"),
    }
}

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Tls(pub(crate) SslStream<Socket>);

/// How a TLS stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsEnd {
    /// With close_notify.
    Clean,
    /// Without.
    Cut,
}

impl Tls {
    /// Sends all bytes.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("send over TLS");
    }

    /// Sends close_notify; receiving continues.
    pub(crate) fn finish(&mut self) {
        _ = self.0.shutdown();
    }

    /// All bytes up to the end, and how the stream ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, TlsEnd) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            match self.0.ssl_read(&mut buffer) {
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(e) if e.code() == ErrorCode::ZERO_RETURN => return (bytes, TlsEnd::Clean),
                Err(_) => return (bytes, TlsEnd::Cut),
            }
        }
    }

    /// All text up to a clean end.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        let (bytes, end) = self.rest();
        assert_eq!(end, TlsEnd::Clean, "after {:?}", String::from_utf8_lossy(&bytes));
        String::from_utf8(bytes).unwrap()
    }

    /// Exactly this many bytes.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count {
            match self.0.ssl_read(&mut bytes[at..]) {
                Ok(n) => at += n,
                Err(e) => panic!("after {at} of {count} bytes: {e}"),
            }
        }
        bytes
    }

    /// One line without its line feed.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.bytes(1)[0] {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    /// The name in the server's certificate.
    pub(crate) fn server_name(&self) -> String {
        common_name(&self.0.ssl().peer_certificate().expect("a certificate"))
    }

    /// The protocol.
    pub(crate) fn version(&self) -> &'static str {
        self.0.ssl().version_str()
    }

    /// The cipher.
    pub(crate) fn cipher(&self) -> &'static str {
        self.0.ssl().current_cipher().expect("a cipher").name()
    }

    /// The OCSP response that the server stapled.
    pub(crate) fn stapled(&self) -> Option<Vec<u8>> {
        self.0.ssl().ocsp_status().map(<[u8]>::to_vec)
    }
}

/// The common name that a certificate is for.
pub(crate) fn common_name(certificate: &X509) -> String {
    let entry = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next().expect("a common name");
    entry.data().to_string().unwrap()
}

/// Runs `openssl s_client` until the server ends the connection; returns its output.
#[track_caller]
pub(crate) fn s_client<S: AsRef<str>>(address: SocketAddr, args: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]);
    for arg in args {
        command.args(arg.as_ref().split(' '));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Without input it would not wait for the server.
    let input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(input);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Creates an OCSP response about `leaf` with `openssl ocsp`, valid for this many days from now.
pub(crate) fn ocsp_response(dir: &Path, authority: &Pair, leaf: &Pair, status: char, days: i32) -> Vec<u8> {
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    fs::write(file("ocsp-ca.pem"), authority.cert.to_pem().unwrap()).unwrap();
    fs::write(file("ocsp-ca.key"), authority.key_pem()).unwrap();
    fs::write(file("ocsp-leaf.pem"), leaf.cert.to_pem().unwrap()).unwrap();
    let serial = leaf.cert.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    let revoked = if status == 'R' { "250101000000Z" } else { "" };
    let name = common_name(&leaf.cert);
    fs::write(
        file("ocsp-index"),
        format!("{status}\t991231000000Z\t{revoked}\t{serial}\tunknown\t/CN={name}\n"),
    )
    .unwrap();
    let run = |args: String| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{args}: {output:?}");
    };
    run("ocsp -issuer ocsp-ca.pem -cert ocsp-leaf.pem -no_nonce -reqout ocsp-request".into());
    run(format!(
        "ocsp -index ocsp-index -rsigner ocsp-ca.pem -rkey ocsp-ca.key -CA ocsp-ca.pem -reqin ocsp-request \
         -respout ocsp-response -ndays {days}"
    ));
    fs::read(file("ocsp-response")).unwrap()
}
