//! OpenSSL functions that the crate `openssl` does not wrap: ticket keys shared by many contexts, an external session
//! store, the server name of a ClientHello, the keys that a handshake leaves, and the location of the system's certificate
//! authorities.
//!
//! Everything here exists in both OpenSSL 1.1.1 and 3. That is why the ticket callback is the one with an HMAC_CTX,
//! which OpenSSL 3 still has: its newer callback does not exist in 1.1.1.

#![allow(unsafe_code, reason = "calls into libssl that no crate wraps")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_uchar, c_uint};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::ptr;
use std::slice;
use std::sync::{Arc, OnceLock};

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{SslContext, SslContextBuilder, SslRef, SslSession, SslVersion};
use openssl::x509::X509Ref;
use openssl_sys as ffi;
use zeroize::{Zeroize as _, Zeroizing};

/// SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB of `openssl/ssl.h`, which `openssl-sys` lacks.
const SET_TICKET_KEY_CALLBACK: c_int = 72;
/// The length of an AES block, and so of the callback's `iv`.
const IV: c_int = 16;

/// The keys of one generation of session tickets: AES-256-CBC and HMAC-SHA-256 (RFC 5077 4).
#[derive(Clone)]
pub struct TicketKey {
    /// The name of the key, which the ticket contains in the clear.
    pub name: [u8; 16],
    /// The cipher's key.
    pub aes: [u8; 32],
    /// The key of the MAC.
    pub hmac: [u8; 32],
}

impl Drop for TicketKey {
    /// Wipes the keys from memory.
    fn drop(&mut self) {
        self.aes.zeroize();
        self.hmac.zeroize();
    }
}

/// A source of ticket keys. Called during a handshake: must not block.
pub trait TicketKeys: Send + Sync {
    /// The key for a new ticket; on `None` the client gets no ticket.
    fn seal(&self) -> Option<TicketKey>;

    /// The key with that name, and whether the client should get a new ticket in place of this one.
    fn open(&self, name: &[u8; 16]) -> Option<(TicketKey, bool)>;
}

type SharedTicketKeys = Arc<dyn TicketKeys>;

fn keys_index() -> Result<Index<SslContext, SharedTicketKeys>, ErrorStack> {
    static INDEX: OnceLock<Index<SslContext, SharedTicketKeys>> = OnceLock::new();
    made_once(&INDEX, SslContext::new_ex_index)
}

/// The index of what is stored with each context or connection, made when it is first needed.
///
/// # Errors
/// OpenSSL has no memory for one.
pub fn made_once<O, D>(
    index: &OnceLock<Index<O, D>>,
    make: impl FnOnce() -> Result<Index<O, D>, ErrorStack>,
) -> Result<Index<O, D>, ErrorStack> {
    match index.get() {
        Some(index) => Ok(*index),
        None => {
            let made = make()?;
            Ok(*index.get_or_init(|| made))
        }
    }
}

/// Makes a context seal and open session tickets with `keys` (SSL_CTX_set_tlsext_ticket_key_cb(3)), so that a client
/// can resume a session under any context with the same keys.
///
/// # Errors
/// OpenSSL has no memory.
pub fn set_ticket_keys(context: &mut SslContextBuilder, keys: SharedTicketKeys) -> Result<(), ErrorStack> {
    type Callback = unsafe extern "C" fn(
        *mut ffi::SSL,
        *mut c_uchar,
        *mut c_uchar,
        *mut ffi::EVP_CIPHER_CTX,
        *mut ffi::HMAC_CTX,
        c_int,
    ) -> c_int;
    context.set_ex_data(keys_index()?, keys);
    // SAFETY: SSL_CTX_callback_ctrl takes any function pointer and casts it back to the type that belongs to the
    // command, which `Callback` is; the context is valid and not yet in use.
    unsafe {
        let callback: unsafe extern "C" fn() = std::mem::transmute(ticket_key as Callback);
        ffi::SSL_CTX_callback_ctrl__fixed_rust(context.as_ptr(), SET_TICKET_KEY_CALLBACK, Some(callback));
    }
    Ok(())
}

/// Return values, see SSL_CTX_set_tlsext_ticket_key_cb(3).
const FAILED: c_int = -1;
const NO_KEY: c_int = 0;
const DONE: c_int = 1;
const DONE_RENEW: c_int = 2;

/// # Safety
/// Only for OpenSSL, see SSL_CTX_set_tlsext_ticket_key_cb(3): `name` has 16 bytes, `iv` EVP_MAX_IV_LENGTH.
unsafe extern "C" fn ticket_key(
    ssl: *mut ffi::SSL,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut ffi::EVP_CIPHER_CTX,
    hmac: *mut ffi::HMAC_CTX,
    sealing: c_int,
) -> c_int {
    // SAFETY: the pointers are OpenSSL's, valid during this call and with the lengths given above; all contexts with
    // this callback have keys in their ex_data.
    unsafe {
        let ssl = SslRef::from_ptr(ssl);
        let (context, once) = (ssl.ssl_context(), ssl.version2() == Some(SslVersion::TLS1_3));
        let Some(keys) = keys_index().ok().and_then(|index| context.ex_data(index)) else { return NO_KEY };
        let name = slice::from_raw_parts_mut(name, 16);
        let (key, result) = if sealing == 1 {
            let Some(key) = keys.seal() else { return NO_KEY };
            if ffi::RAND_bytes(iv, IV) != 1 {
                return FAILED;
            }
            name.copy_from_slice(&key.name);
            (key, DONE)
        } else {
            let mut wanted = [0; 16];
            wanted.copy_from_slice(name);
            match keys.open(&wanted) {
                // A TLS 1.3 client uses a ticket only once (RFC 8446 C.4), and would otherwise get no new one.
                Some((key, renew)) => (key, if renew || once { DONE_RENEW } else { DONE }),
                None => return NO_KEY,
            }
        };
        let init = if sealing == 1 { ffi::EVP_EncryptInit_ex } else { ffi::EVP_DecryptInit_ex };
        let ready = init(cipher, ffi::EVP_aes_256_cbc(), ptr::null_mut(), key.aes.as_ptr(), iv) == 1
            && ffi::HMAC_Init_ex(
                hmac,
                key.hmac.as_ptr().cast(),
                key.hmac.len() as c_int,
                ffi::EVP_sha256(),
                ptr::null_mut(),
            ) == 1;
        if ready { result } else { FAILED }
    }
}

/// Calls `find` for the session whose ID a client offers (TLS 1.2 without tickets).
pub fn set_session_store<F>(context: &mut SslContextBuilder, find: F)
where
    F: Fn(&[u8]) -> Option<Zeroizing<Vec<u8>>> + Send + Sync + 'static,
{
    // SAFETY: the session must not belong to another context; it is created here from its DER form, so it belongs to
    // none.
    unsafe {
        context.set_get_session_callback(move |_, id| SslSession::from_der(&find(id)?).ok());
    }
}

/// Adds a certificate to the chain of the certificate that the context was given last; each has a chain of its own then
/// (SSL_CTX_add1_chain_cert(3)).
///
/// # Errors
/// What OpenSSL holds for too weak.
pub fn add_chain_certificate(
    context: &mut SslContextBuilder,
    certificate: &X509Ref,
) -> Result<(), ErrorStack> {
    /// SSL_CTRL_CHAIN_CERT of `openssl/ssl.h`, which `openssl-sys` lacks; with 1 the chain counts a reference of its own.
    const CHAIN_CERT: c_int = 89;
    // SAFETY: the command takes a certificate, which is valid; the context is valid and not yet in use.
    let added = unsafe { ffi::SSL_CTX_ctrl(context.as_ptr(), CHAIN_CERT, 1, certificate.as_ptr().cast()) };
    if added == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Whether the library holds unread bytes, of a complete record or a partial one.
pub fn has_unread(ssl: &SslRef) -> bool {
    unsafe extern "C" {
        /// Of `openssl/ssl.h`, which `openssl-sys` lacks.
        fn SSL_has_pending(ssl: *const ffi::SSL) -> c_int;
    }
    // SAFETY: the call only reads the SSL, which is valid.
    unsafe { SSL_has_pending(ssl.as_ptr()) == 1 }
}

/// What a connection does next, as its library has it: the functions for all versions, and those of one version once it is
/// agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method(usize);

impl Method {
    /// The one of a connection in this moment.
    pub fn of(ssl: &SslRef) -> Method {
        // SAFETY: the call only reads the SSL, which is valid. The result is a static table, of which only the address is used.
        Method(unsafe { ffi::SSL_get_ssl_method(ssl.as_ptr()) }.addr())
    }
}

/// Frees the two keys that were exchanged in a handshake that is made, pen's own and the peer's: nobody needs them any more, but
/// OpenSSL keeps them, 3 to 4 KiB with P-256, as long as the connection.
pub fn forget_exchanged_keys(ssl: &SslRef) {
    /// SSL_CTRL_GET_PEER_TMP_KEY and SSL_CTRL_GET_TMP_KEY of `openssl/ssl.h`, which `openssl-sys` lacks.
    const EXCHANGED: [c_int; 2] = [109, 133];
    unsafe extern "C" {
        /// Of `openssl/evp.h`, which `openssl-sys` lacks.
        fn EVP_PKEY_set_type(key: *mut ffi::EVP_PKEY, kind: c_int) -> c_int;
    }
    for command in EXCHANGED {
        let mut key: *mut ffi::EVP_PKEY = ptr::null_mut();
        // SAFETY: with 1 the command has stored a reference to the key, which is this connection's alone. Setting its type frees
        // what it holds and leaves an empty key, which OpenSSL accepts wherever it may still come across it.
        unsafe {
            if ffi::SSL_ctrl(ssl.as_ptr(), command, 0, (&raw mut key).cast()) == 1 {
                EVP_PKEY_set_type(key, ffi::EVP_PKEY_RSA);
                ffi::EVP_PKEY_free(key);
            }
        }
    }
}

/// The body of the server_name extension (RFC 6066 3); `None` without one. Only within a ClientHello callback.
pub fn server_name_extension(ssl: &SslRef) -> Option<&[u8]> {
    const SERVER_NAME: c_uint = 0;
    let mut data = ptr::null();
    let mut length = 0;
    // SAFETY: outside the callback the call returns 0. Within it, the bytes live until the handshake continues, which
    // needs exclusive access to the SSL, and so not before this borrow has ended.
    unsafe {
        let found =
            ffi::SSL_client_hello_get0_ext(ssl.as_ptr(), SERVER_NAME, &raw mut data, &raw mut length) == 1;
        if found && !data.is_null() { Some(slice::from_raw_parts(data, length)) } else { None }
    }
}

/// The location of the system's certificate authorities: a file, and a directory with hashed names
/// (SSL_CTX_set_default_verify_paths(3)). Neither need exist.
pub fn default_authorities() -> (PathBuf, PathBuf) {
    unsafe extern "C" {
        /// Of `openssl/x509.h`, which `openssl-sys` lacks.
        fn X509_get_default_cert_dir() -> *const c_char;
        fn X509_get_default_cert_dir_env() -> *const c_char;
    }
    // SAFETY: the calls return static strings of the library.
    let text = |text: *const c_char| unsafe { CStr::from_ptr(text) };
    // SAFETY: as above.
    let (file, file_name, dir, dir_name) = unsafe {
        (
            text(ffi::X509_get_default_cert_file()),
            text(ffi::X509_get_default_cert_file_env()),
            text(X509_get_default_cert_dir()),
            text(X509_get_default_cert_dir_env()),
        )
    };
    let place = |name: &CStr, otherwise: &CStr| {
        let given = std::env::var_os(OsStr::from_bytes(name.to_bytes()));
        given.unwrap_or_else(|| OsStr::from_bytes(otherwise.to_bytes()).to_owned()).into()
    };
    (place(file_name, file), place(dir_name, dir))
}
