//! The one thread that carries the frames of all links of a lab.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::lane::{Due, Lane, Road};
use super::stats::{Counts, total};
use super::waiting::{Outlook, Waiting};
use super::{DirectionStats, End, Heading, LinkSpec, LinkStats, Middlebox, Port, Priority, Shaper};
use crate::capture::Recorder;
use crate::sys;
use crate::{LabError, process, wait_until};

/// An order to the running emulator.
pub(crate) enum Control {
    /// Both directions of a link take on other properties.
    Spec { link: usize, spec: LinkSpec },
    /// One direction does.
    DirectionSpec {
        link: usize,
        heading: Heading,
        spec: LinkSpec,
    },
    /// Puts a middlebox into one direction, or takes it out.
    Middlebox {
        link: usize,
        heading: Heading,
        middlebox: Option<Middlebox>,
    },
    /// Frames are to be recorded from now on, until the recorder's other
    /// holders have let go of it.
    Record(Arc<Recorder>),
    /// Brings the count of frames that the rings lost up to date.
    CountOverruns,
}

/// The handle of the emulator's thread; dropping it ends the thread.
pub(crate) struct Emulator {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    started: Started,
}

/// What the thread tells about itself when it starts.
struct Started {
    priority: Priority,
    thread_id: u32,
}

struct Shared {
    stop: AtomicBool,
    /// Rounds of the loop so far: each looks into every ring.
    rounds: AtomicU64,
    orders_wait: AtomicBool,
    orders: Mutex<Vec<Control>>,
    counts: Mutex<Vec<Counts>>,
    wake: File,
}

impl Emulator {
    /// Starts carrying frames. `ports` holds two a link, left end first.
    pub(crate) fn start(ports: Vec<Port>, specs: &[LinkSpec]) -> Result<Self, LabError> {
        let wake = sys::event().map_err(LabError::system("make an eventfd"))?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            orders_wait: AtomicBool::new(false),
            orders: Mutex::default(),
            counts: Mutex::new(vec![Counts::new(); ports.len()]),
            wake: wake.into(),
        });
        let carrier = Carrier::new(ports, specs, Arc::clone(&shared));
        let (starting, started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || carrier.run(starting))
            .map_err(LabError::system("start the emulator's thread"))?;
        let started = started
            .recv()
            .map_err(|_| LabError::BadSpec(GONE.to_owned()))?;
        Ok(Self {
            shared,
            thread: Some(thread),
            started,
        })
    }

    /// Gives an order and waits until it is in force.
    pub(crate) fn order(&self, order: Control) -> Result<(), LabError> {
        lock(&self.shared.orders).push(order);
        self.shared.orders_wait.store(true, Ordering::Release);
        self.settle()
    }

    /// Waits until everything that had been sent before has been picked up.
    pub(crate) fn settle(&self) -> Result<(), LabError> {
        // The round that is under way may have passed a ring already, the
        // next one looks into all of them.
        let goal = self.shared.rounds.load(Ordering::Acquire) + 2;
        wait_until(
            "the link emulator to look into its rings",
            SETTLE_BOUND,
            || {
                self.shared.wake_up();
                (self.shared.rounds.load(Ordering::Acquire) >= goal).then_some(())
            },
        )
    }

    /// The counts of each link.
    pub(crate) fn stats(&self) -> Vec<LinkStats> {
        self.count_overruns();
        let counts = lock(&self.shared.counts);
        let links = counts.chunks_exact(2);
        links
            .map(|ends| LinkStats {
                to_server: ends[0].summary(),
                to_client: ends[1].summary(),
            })
            .collect()
    }

    /// All links' counts in one.
    pub(crate) fn total(&self) -> DirectionStats {
        self.count_overruns();
        total(lock(&self.shared.counts).iter())
    }

    /// How the thread is scheduled.
    pub(crate) const fn priority(&self) -> Priority {
        self.started.priority
    }

    /// Processor time that the thread has used.
    pub(crate) fn cpu_time(&self) -> Result<Duration, LabError> {
        let thread = format!("/proc/self/task/{}/stat", self.started.thread_id);
        process::cpu_time(Path::new(&thread))
    }

    fn count_overruns(&self) {
        if let Err(error) = self.order(Control::CountOverruns) {
            tracing::error!(%error, "the link emulator does not answer");
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake_up();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the link emulator's thread panicked");
        }
    }
}

impl Shared {
    fn wake_up(&self) {
        // Fails only when the counter is full: then it is readable anyway.
        let _ = (&self.wake).write(&1_u64.to_ne_bytes());
    }
}

/// The thread's own state.
struct Carrier {
    ports: Vec<Port>,
    lanes: Vec<Lane>,
    due: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    spare: Vec<Vec<u8>>,
    recorders: Vec<Arc<Recorder>>,
    shortest_delay_ns: u64,
    shared: Arc<Shared>,
}

impl Carrier {
    fn new(ports: Vec<Port>, specs: &[LinkSpec], shared: Arc<Shared>) -> Self {
        let lanes = (0..ports.len()).map(|lane| Lane {
            shaper: Shaper::new(specs[lane / 2].clone(), lane as u64),
            middlebox: None,
            on_the_way: 0,
        });
        Self {
            lanes: lanes.collect(),
            ports,
            due: BinaryHeap::new(),
            sequence: 0,
            spare: Vec::new(),
            recorders: Vec::new(),
            shortest_delay_ns: 0,
            shared,
        }
    }

    fn run(mut self, started: Sender<Started>) {
        let priority = sys::ask_for_promptness();
        let _ = started.send(Started {
            priority,
            thread_id: sys::thread_id(),
        });
        drop(started);
        self.note_shortest_delay();
        let mut waiting = Waiting::new(&self.ports, &self.shared.wake);
        while !self.shared.stop.load(Ordering::Acquire) {
            self.obey();
            for port in 0..self.ports.len() {
                self.pick_up(port);
            }
            self.shared.rounds.fetch_add(1, Ordering::AcqRel);
            self.deliver();
            waiting.rest(self.outlook(), &self.shared.wake);
        }
    }

    fn outlook(&self) -> Outlook {
        let first_due_ns = self.due.peek().map(|first| first.0.at_ns);
        Outlook {
            first_due_ns,
            shortest_delay_ns: self.shortest_delay_ns,
        }
    }

    fn note_shortest_delay(&mut self) {
        let delays = self.lanes.iter().map(|lane| lane.shaper.spec().delay);
        let shortest = delays.min().unwrap_or_default().as_nanos();
        self.shortest_delay_ns = u64::try_from(shortest).unwrap_or(u64::MAX);
    }

    /// Carries out what was ordered, and notices recorders that are done.
    fn obey(&mut self) {
        if self.shared.orders_wait.swap(false, Ordering::AcqRel) {
            let orders = std::mem::take(&mut *lock(&self.shared.orders));
            for order in orders {
                self.carry_out(order);
            }
            self.note_shortest_delay();
        }
        let recording = self.recorders.len();
        self.recorders
            .retain(|recorder| Arc::strong_count(recorder) > 1);
        if self.recorders.len() < recording {
            self.choose_ring_filter();
        }
    }

    fn carry_out(&mut self, order: Control) {
        match order {
            Control::Spec { link, spec } => {
                for end in [End::Left, End::Right] {
                    self.lanes[lane(link, end)].shaper.set_spec(spec.clone());
                }
            }
            Control::DirectionSpec {
                link,
                heading,
                spec,
            } => {
                self.lanes[lane(link, heading.entry())]
                    .shaper
                    .set_spec(spec);
            }
            Control::Middlebox {
                link,
                heading,
                middlebox,
            } => {
                self.lanes[lane(link, heading.entry())].middlebox = middlebox;
            }
            Control::CountOverruns => self.count_overruns(),
            Control::Record(recorder) => {
                self.recorders.push(recorder);
                self.choose_ring_filter();
            }
        }
    }

    fn count_overruns(&self) {
        let mut counts = lock(&self.shared.counts);
        for (port, counts) in self.ports.iter().zip(counts.iter_mut()) {
            match port.ring.take_overruns() {
                Ok(frames) => counts.stats.failed += u64::from(frames),
                Err(error) => tracing::error!(%error, "cannot ask a ring for its overruns"),
            }
        }
    }

    /// Received frames are needed in the rings for recording only.
    fn choose_ring_filter(&self) {
        let snap = self
            .recorders
            .iter()
            .map(|recorder| recorder.snap_octets())
            .max();
        for port in &self.ports {
            if let Err(error) = port.ring.keep_received(snap.unwrap_or(0)) {
                tracing::error!(%error, "received frames will not be recorded");
            }
        }
    }

    /// Takes what the kernel sent into one port, up to a bound, so that no
    /// port's burst delays the others.
    fn pick_up(&mut self, port: usize) {
        for _ in 0..PICK_UP_BATCH {
            // Split borrows: the ring lends the frame while the rest decides.
            let Self {
                ports,
                lanes,
                due,
                sequence,
                spare,
                recorders,
                shared,
                shortest_delay_ns: _,
            } = self;
            let Port {
                ring, interface, ..
            } = &mut ports[port];
            let lane = &mut lanes[port];
            let more = ring.next_frame(|frame| {
                for recorder in &*recorders {
                    recorder.record(*interface, &frame);
                }
                if frame.outgoing {
                    let mut counts = lock(&shared.counts);
                    let mut road = Road {
                        due,
                        sequence,
                        spare,
                        lane: port,
                    };
                    lane.accept(&frame, &mut road, &mut counts[port]);
                }
            });
            if !more {
                return;
            }
        }
    }

    /// Writes what is due, and nothing that is not: a late wake-up does not
    /// turn into a burst of frames ahead of their time.
    fn deliver(&mut self) {
        for _ in 0..DELIVER_BATCH {
            let now_ns = sys::realtime_ns();
            if self.due.peek().is_none_or(|first| first.0.at_ns > now_ns) {
                return;
            }
            let Some(Reverse(Due {
                at_ns, lane, frame, ..
            })) = self.due.pop()
            else {
                return;
            };
            self.lanes[lane].on_the_way -= 1;
            let written = self.ports[lane ^ 1].write(&frame);
            let mut counts = lock(&self.shared.counts);
            match written {
                Ok(()) => counts[lane].delivered(frame.len(), now_ns - at_ns),
                Err(_) => counts[lane].stats.failed += 1,
            }
            drop(counts);
            if self.spare.len() < SPARE_BUFFERS {
                self.spare.push(frame);
            }
        }
    }
}

fn lane(link: usize, end: End) -> usize {
    link * 2 + usize::from(end == End::Right)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PICK_UP_BATCH: usize = 64;
const DELIVER_BATCH: usize = 32;
const SPARE_BUFFERS: usize = 4_096;
const GONE: &str = "the link emulator's thread ended at once";
const SETTLE_BOUND: Duration = Duration::from_secs(5);
