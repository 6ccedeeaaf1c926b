use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;

use super::*;
use crate::sys::platform::events::{CLOSED, ERROR, URGENT};
use crate::sys::platform::lane_transfer::LaneOwner;

/// A lane between two connections, with their far ends.
struct Route {
    from: Option<TcpStream>,
    to: Option<TcpStream>,
    source: Arc<PollSlot>,
    destination: Arc<PollSlot>,
    lane: Arc<PolledLane>,
    counted: Arc<AtomicUsize>,
    may: Arc<AtomicBool>,
    near_from: TcpStream,
    near_to: TcpStream,
}

struct Counter {
    may: Arc<AtomicBool>,
    counted: Arc<AtomicUsize>,
}

impl LaneOwner for Counter {
    fn may_forward(&self) -> bool {
        self.may.load(Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.counted.fetch_add(bytes, Relaxed);
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let near = listener.accept().unwrap().0;
    near.set_nonblocking(true).unwrap();
    far.set_nodelay(true).unwrap();
    (far, near)
}

impl Route {
    fn new() -> Self {
        let ((from, near_from), (to, near_to)) = (pair(), pair());
        let (source, destination) = (Arc::new(PollSlot::default()), Arc::new(PollSlot::default()));
        let counted = Arc::new(AtomicUsize::new(0));
        let may = Arc::new(AtomicBool::new(true));
        let owner = Box::new(Counter { may: Arc::clone(&may), counted: Arc::clone(&counted) });
        let lane =
            Arc::new(PolledLane::new(near_from.as_raw_fd(), (near_to.as_raw_fd(), &destination), owner));
        source.set_lane(Some(Arc::clone(&lane)));
        destination.tell(WRITABLE);
        lane.set_open(true);
        Route { from: Some(from), to: Some(to), source, destination, lane, counted, may, near_from, near_to }
    }

    /// A message that has come to the near end.
    fn send(&self, message: &[u8]) {
        self.from.as_ref().unwrap().write_all(message).unwrap();
        arrived(&self.near_from);
    }

    /// Nothing more can be sent to the destination.
    fn shut(&self) {
        self.near_to.shutdown(Shutdown::Write).unwrap();
    }

    /// What is left to the task.
    fn stop_reason(&self) -> Option<LaneStop> {
        self.lane.take().and_then(|transfer| transfer.stop)
    }
}

/// With the ring, if there is one, and without.
fn each_way(test: impl Fn(&mut LaneBatch)) {
    test(&mut LaneBatch::new(Together::if_wanted(true)));
    test(&mut LaneBatch::new(Together::default()));
}

/// One turn, in which each of the routes is told of as readable. All messages are forwarded, or all are left to their tasks.
fn turn(lanes: &mut LaneBatch, routes: &[&Route]) -> bool {
    lanes.begin();
    let taken = routes.iter().filter(|route| lanes.take(&route.source, READABLE | WRITABLE)).count();
    lanes.forward();
    assert!(taken == 0 || taken == routes.len());
    taken > 0
}

/// Something has come to a near end: bytes, an end or a reset.
fn arrived(near: &TcpStream) {
    poll(&mut [PollFd::new(near, PollFlags::IN)], None).unwrap();
}

fn reset(far: &mut Option<TcpStream>) {
    let far = far.take().unwrap();
    SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A message is read for each of them in the same turn as the faults, at any place among them.
#[test]
fn faults_at_either_end_are_left_to_tasks_and_others_are_carried() {
    each_way(|lanes| {
        let mut routes: Vec<Route> = (0..6).map(|_| Route::new()).collect();
        for at in [0, 2, 5] {
            routes[at].send(b"message");
        }
        reset(&mut routes[1].from);
        arrived(&routes[1].near_from);
        routes[2].shut();
        routes[3].from = None;
        arrived(&routes[3].near_from);
        // The fifth has nothing to be read: what was told of it is old.
        assert!(turn(lanes, &routes.iter().collect::<Vec<_>>()));
        for at in [0, 5] {
            let (route, mut got) = (&routes[at], [0; 7]);
            route.to.as_ref().unwrap().read_exact(&mut got).unwrap();
            assert_eq!((&got, route.counted.load(Relaxed)), (b"message", 7));
            assert!(!route.source.any(READABLE) && route.stop_reason().is_none());
        }
        assert!(matches!(routes[1].stop_reason(), Some(LaneStop::ReadFailed(_))));
        assert!(matches!(routes[2].stop_reason(), Some(LaneStop::WriteFailed(_))));
        assert_eq!(routes[2].counted.load(Relaxed), 0);
        for route in &routes[1..=3] {
            assert!(route.source.any(READABLE), "its task is to look");
            assert!(!turn(lanes, &[route]), "its task has not looked");
        }
        assert!(!routes[4].source.any(READABLE) && routes[4].stop_reason().is_none());
    });
}

#[test]
fn what_a_destination_does_not_take_is_left_whole_and_in_order() {
    each_way(|lanes| {
        let (route, other) = (Route::new(), Route::new());
        SockRef::from(&route.near_to).set_send_buffer_size(4096).unwrap();
        let (mut sent, mut left) = (Vec::new(), None);
        for n in 0..100_000_u32 {
            let message: Vec<u8> = n.to_be_bytes().repeat(250);
            route.send(&message);
            other.send(b"x");
            sent.extend_from_slice(&message);
            assert!(turn(lanes, &[&route, &other]));
            if let Some(reason) = route.stop_reason() {
                left = Some(reason);
                break;
            }
        }
        let Some(LaneStop::Unwritten(left)) = left else { panic!("{left:?}") };
        assert!(route.source.any(READABLE) && !route.destination.any(WRITABLE));
        let mut got = vec![0; sent.len() - left.len()];
        assert_eq!(route.counted.load(Relaxed), got.len());
        route.to.as_ref().unwrap().read_exact(&mut got).unwrap();
        got.extend_from_slice(&left);
        assert!(got == sent, "{} of {}", got.len(), sent.len());
        assert!(other.stop_reason().is_none());
    });
}

#[test]
fn nothing_is_carried_by_a_closed_lane_or_where_there_is_news_of_another_kind() {
    let route = Route::new();
    let mut lanes = LaneBatch::new(Together::default());
    let takes = |lanes: &mut LaneBatch, events| {
        lanes.begin();
        lanes.take(&route.source, events)
    };
    for unusual in [CLOSED, ERROR, URGENT] {
        assert!(!takes(&mut lanes, READABLE | unusual));
    }
    assert!(!takes(&mut lanes, WRITABLE));
    route.lane.set_open(false);
    assert!(!takes(&mut lanes, READABLE));
    route.lane.set_open(true);
    route.may.store(false, Relaxed);
    assert!(!takes(&mut lanes, READABLE));
    route.may.store(true, Relaxed);
    route.destination.clear(WRITABLE);
    assert!(!takes(&mut lanes, READABLE));
    route.destination.tell(WRITABLE);
    assert!(takes(&mut lanes, READABLE));
    route.source.tell(URGENT);
    assert!(!takes(&mut lanes, READABLE));
    let Route { source, destination, .. } = route;
    source.clear(URGENT);
    // The socket is gone.
    drop(destination);
    assert!(!lanes.take(&source, READABLE));
}
