use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;

use super::*;
use crate::sys::platform::carried::Carrier;
use crate::sys::platform::events::{CLOSED, ERROR, URGENT};

/// A lane between two connections, with their far ends.
struct Road {
    from: Option<TcpStream>,
    to: Option<TcpStream>,
    source: Arc<Slot>,
    destination: Arc<Slot>,
    lane: Arc<Lane>,
    counted: Arc<AtomicUsize>,
    may: Arc<AtomicBool>,
    near_from: TcpStream,
    near_to: TcpStream,
}

struct Counter {
    may: Arc<AtomicBool>,
    counted: Arc<AtomicUsize>,
}

impl Carrier for Counter {
    fn may_carry(&self) -> bool {
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

impl Road {
    fn new() -> Self {
        let ((from, near_from), (to, near_to)) = (pair(), pair());
        let (source, destination) = (Arc::new(Slot::default()), Arc::new(Slot::default()));
        let counted = Arc::new(AtomicUsize::new(0));
        let may = Arc::new(AtomicBool::new(true));
        let carrier = Box::new(Counter { may: Arc::clone(&may), counted: Arc::clone(&counted) });
        let lane = Arc::new(Lane::new(near_from.as_raw_fd(), (near_to.as_raw_fd(), &destination), carrier));
        source.set_lane(Some(Arc::clone(&lane)));
        destination.tell(WRITABLE);
        lane.set_open(true);
        Road { from: Some(from), to: Some(to), source, destination, lane, counted, may, near_from, near_to }
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
    fn rest(&self) -> Option<Rest> {
        self.lane.take().and_then(|carried| carried.rest)
    }
}

/// With the ring, if there is one, and without.
fn each_way(test: impl Fn(&mut Lanes)) {
    test(&mut Lanes::new(Together::if_wanted(true)));
    test(&mut Lanes::new(Together::default()));
}

/// One turn, in which each of the roads is told of as readable. They are carried all, or left to their tasks all.
fn turn(lanes: &mut Lanes, roads: &[&Road]) -> bool {
    lanes.begin();
    let taken = roads.iter().filter(|road| lanes.take(&road.source, READABLE | WRITABLE)).count();
    lanes.carry();
    assert!(taken == 0 || taken == roads.len());
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
        let mut roads: Vec<Road> = (0..6).map(|_| Road::new()).collect();
        for at in [0, 2, 5] {
            roads[at].send(b"message");
        }
        reset(&mut roads[1].from);
        arrived(&roads[1].near_from);
        roads[2].shut();
        roads[3].from = None;
        arrived(&roads[3].near_from);
        // The fifth has nothing to be read: what was told of it is old.
        assert!(turn(lanes, &roads.iter().collect::<Vec<_>>()));
        for at in [0, 5] {
            let (road, mut got) = (&roads[at], [0; 7]);
            road.to.as_ref().unwrap().read_exact(&mut got).unwrap();
            assert_eq!((&got, road.counted.load(Relaxed)), (b"message", 7));
            assert!(!road.source.any(READABLE) && road.rest().is_none());
        }
        assert!(matches!(roads[1].rest(), Some(Rest::ReadFailed(_))));
        assert!(matches!(roads[2].rest(), Some(Rest::WriteFailed(_))));
        assert_eq!(roads[2].counted.load(Relaxed), 0);
        for road in &roads[1..=3] {
            assert!(road.source.any(READABLE), "its task is to look");
            assert!(!turn(lanes, &[road]), "its task has not looked");
        }
        assert!(!roads[4].source.any(READABLE) && roads[4].rest().is_none());
    });
}

#[test]
fn what_a_destination_does_not_take_is_left_whole_and_in_order() {
    each_way(|lanes| {
        let (road, other) = (Road::new(), Road::new());
        SockRef::from(&road.near_to).set_send_buffer_size(4096).unwrap();
        let (mut sent, mut left) = (Vec::new(), None);
        for n in 0..100_000_u32 {
            let message: Vec<u8> = n.to_be_bytes().repeat(250);
            road.send(&message);
            other.send(b"x");
            sent.extend_from_slice(&message);
            assert!(turn(lanes, &[&road, &other]));
            if let Some(rest) = road.rest() {
                left = Some(rest);
                break;
            }
        }
        let Some(Rest::Unwritten(left)) = left else { panic!("{left:?}") };
        assert!(road.source.any(READABLE) && !road.destination.any(WRITABLE));
        let mut got = vec![0; sent.len() - left.len()];
        assert_eq!(road.counted.load(Relaxed), got.len());
        road.to.as_ref().unwrap().read_exact(&mut got).unwrap();
        got.extend_from_slice(&left);
        assert!(got == sent, "{} of {}", got.len(), sent.len());
        assert!(other.rest().is_none());
    });
}

#[test]
fn nothing_is_carried_by_a_closed_lane_or_where_there_is_news_of_another_kind() {
    let road = Road::new();
    let mut lanes = Lanes::new(Together::default());
    let takes = |lanes: &mut Lanes, events| {
        lanes.begin();
        lanes.take(&road.source, events)
    };
    for unusual in [CLOSED, ERROR, URGENT] {
        assert!(!takes(&mut lanes, READABLE | unusual));
    }
    assert!(!takes(&mut lanes, WRITABLE));
    road.lane.set_open(false);
    assert!(!takes(&mut lanes, READABLE));
    road.lane.set_open(true);
    road.may.store(false, Relaxed);
    assert!(!takes(&mut lanes, READABLE));
    road.may.store(true, Relaxed);
    road.destination.clear(WRITABLE);
    assert!(!takes(&mut lanes, READABLE));
    road.destination.tell(WRITABLE);
    assert!(takes(&mut lanes, READABLE));
    road.source.tell(URGENT);
    assert!(!takes(&mut lanes, READABLE));
    let Road { source, destination, .. } = road;
    source.clear(URGENT);
    // The socket is gone.
    drop(destination);
    assert!(!lanes.take(&source, READABLE));
}
