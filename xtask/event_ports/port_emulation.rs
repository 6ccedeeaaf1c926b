//! Event ports as on Solaris (port_create(3C) and related pages), implemented with epoll(7): an association reports one
//! event and is then removed. All other functions are libc's own.
//!
//! Compiled into a copy of mio by `cargo xtask check-event-ports`, never into pen.
#![allow(non_camel_case_types, missing_docs)]

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

pub use ::libc::*;

pub const PORT_SOURCE_USER: c_int = 3;
pub const PORT_SOURCE_FD: c_int = 4;

#[repr(C)]
#[derive(Clone, Debug)]
pub struct port_event {
    pub portev_events: c_int,
    pub portev_source: c_ushort,
    pub portev_pad: c_ushort,
    pub portev_object: uintptr_t,
    pub portev_user: *mut c_void,
}

/// The state of a port that the kernel would hold.
#[derive(Default)]
struct State {
    /// The value that each descriptor was last associated with.
    associations: HashMap<RawFd, usize>,
    /// The events sent by port_send(3C).
    sent: VecDeque<(c_int, usize)>,
    /// A descriptor that is readable while there are sent events.
    signal: RawFd,
}

type Port = Arc<Mutex<State>>;

static PORTS: LazyLock<Mutex<HashMap<RawFd, Port>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn port(number: RawFd) -> Port {
    Arc::clone(lock(&PORTS).get(&number).expect("a port"))
}

fn fail(error: c_int) -> c_int {
    unsafe { *__errno_location() = error };
    -1
}

pub unsafe fn port_create() -> c_int {
    unsafe {
        let number = epoll_create1(EPOLL_CLOEXEC);
        let signal = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        let mut event = epoll_event { events: EPOLLIN as u32, u64: u64::MAX };
        if number < 0 || signal < 0 || epoll_ctl(number, EPOLL_CTL_ADD, signal, &mut event) != 0 {
            return -1;
        }
        lock(&PORTS).insert(number, Arc::new(Mutex::new(State { signal, ..State::default() })));
        number
    }
}

/// A second descriptor of a port; the kernel would know that both are the same.
pub fn clone_port(from: &OwnedFd) -> io::Result<OwnedFd> {
    let clone = from.try_clone()?;
    let state = port(from.as_raw_fd());
    lock(&PORTS).insert(clone.as_raw_fd(), state);
    Ok(clone)
}

pub unsafe fn port_associate(
    number: c_int,
    source: c_int,
    object: uintptr_t,
    events: c_int,
    user: *mut c_void,
) -> c_int {
    assert_eq!(source, PORT_SOURCE_FD);
    let fd = object as RawFd;
    let mut event = epoll_event { events: events as u32 | EPOLLONESHOT as u32, u64: object as u64 };
    let port = port(number);
    let mut state = lock(&port);
    unsafe {
        let changed = epoll_ctl(number, EPOLL_CTL_MOD, fd, &mut event);
        if changed != 0 && epoll_ctl(number, EPOLL_CTL_ADD, fd, &mut event) != 0 {
            return -1;
        }
    }
    state.associations.insert(fd, user as usize);
    0
}

pub unsafe fn port_dissociate(number: c_int, source: c_int, object: uintptr_t) -> c_int {
    assert_eq!(source, PORT_SOURCE_FD);
    let fd = object as RawFd;
    if lock(&port(number)).associations.remove(&fd).is_none() {
        return fail(ENOENT);
    }
    unsafe { epoll_ctl(number, EPOLL_CTL_DEL, fd, std::ptr::null_mut()) }
}

pub unsafe fn port_send(number: c_int, events: c_int, user: *mut c_void) -> c_int {
    let port = port(number);
    let mut state = lock(&port);
    state.sent.push_back((events, user as usize));
    unsafe { eventfd_write(state.signal, 1) };
    0
}

pub unsafe fn port_getn(
    number: c_int,
    list: *mut port_event,
    max: c_uint,
    count: *mut c_uint,
    timeout: *mut timespec,
) -> c_int {
    unsafe {
        assert_eq!(*count, 1, "waits for one event at least");
        *count = 0;
        let wait = timeout.as_ref().map_or(-1, |time| {
            let milliseconds = time.tv_sec.saturating_mul(1000).saturating_add((time.tv_nsec + 999_999) / 1_000_000);
            c_int::try_from(milliseconds).unwrap_or(c_int::MAX)
        });
        let mut events = vec![epoll_event { events: 0, u64: 0 }; max.clamp(1, 1024) as usize];
        let got = epoll_wait(number, events.as_mut_ptr(), events.len() as c_int, wait);
        if got < 0 {
            return -1;
        }
        let port = port(number);
        let mut state = lock(&port);
        let put = |events, source, object, user: usize| {
            let event = port_event {
                portev_events: events,
                portev_source: source as c_ushort,
                portev_pad: 0,
                portev_object: object,
                portev_user: user as *mut c_void,
            };
            list.add(*count as usize).write(event);
            *count += 1;
        };
        for event in &events[..got as usize] {
            if event.u64 == u64::MAX {
                // Only one of them, since the caller may have no room for more.
                if let Some((events, user)) = state.sent.pop_front() {
                    put(events, PORT_SOURCE_USER, 0, user);
                }
                if state.sent.is_empty() {
                    eventfd_read(state.signal, &mut 0);
                }
            } else if let Some(user) = state.associations.remove(&(event.u64 as RawFd)) {
                put(event.events as c_int, PORT_SOURCE_FD, event.u64 as uintptr_t, user);
            }
        }
        if *count == 0 { fail(ETIME) } else { 0 }
    }
}
