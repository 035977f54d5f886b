//! The pipes that splice(2) needs, lent to flows only while octets are in flight.

use std::cell::{Cell, RefCell};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::rc::Rc;

use crate::sys;

/// Wanted size of a pipe: about what one splice(2) moves before the other flows get their turn.
const PIPE_OCTETS: [i32; 3] = [512 * 1024, 256 * 1024, 128 * 1024];
/// The most that one splice(2) moves. A pipe's size counts pages, and a page of it can hold a whole
/// segment: without a bound SYNs would wait behind some megabytes of others.
const FILL_OCTETS: usize = 512 * 1024;
/// Size of the buffer that stands in when no pipe is free.
const SCRATCH_OCTETS: usize = 64 * 1024;
/// How many empty pipes are kept open for the next flow.
const SPARE_PIPES: usize = 64;

/// A bounded stock of pipes for all flows of one thread.
///
/// An idle flow owns none, so it costs its two sockets only. When the stock is used up (a pipe
/// stays with a flow whose reader stalls), flows fall back to copying through one shared buffer.
#[derive(Debug)]
pub struct PipePool {
    spare: RefCell<Vec<Pipe>>,
    lent: Cell<usize>,
    max_lent: usize,
    scratch: RefCell<Box<[u8]>>,
}

impl PipePool {
    /// A pool that lends at most `max_lent` pipes (two descriptors each); 0 means always copy.
    pub fn new(max_lent: usize) -> Rc<Self> {
        Rc::new(Self {
            spare: RefCell::default(),
            lent: Cell::new(0),
            max_lent,
            scratch: RefCell::new(vec![0; SCRATCH_OCTETS].into_boxed_slice()),
        })
    }

    /// How many pipes are with flows at the moment.
    pub fn lent(&self) -> usize {
        self.lent.get()
    }

    /// An empty pipe; `None` when the stock is used up or the kernel has none left.
    pub(super) fn take(self: &Rc<Self>) -> Option<LentPipe> {
        if self.lent.get() >= self.max_lent {
            return None;
        }
        let spare = self.spare.borrow_mut().pop();
        let pipe = match spare {
            Some(pipe) => pipe,
            None => Pipe::open().ok()?,
        };
        self.lent.set(self.lent.get() + 1);
        Some(LentPipe {
            pipe: Some(pipe),
            in_flight_octets: 0,
            pool: Rc::clone(self),
        })
    }

    /// Runs `copy` with the shared buffer.
    pub(super) fn with_scratch<R>(&self, copy: impl FnOnce(&mut [u8]) -> R) -> R {
        copy(&mut self.scratch.borrow_mut())
    }
}

#[derive(Debug)]
struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // Above pipe-user-pages-soft an unprivileged user gets EPERM: a smaller pipe, down to
        // what the kernel gave, only costs throughput.
        for octets in PIPE_OCTETS {
            if sys::set_pipe_size(&writer, octets).is_ok() {
                break;
            }
        }
        Ok(Self { reader, writer })
    }
}

/// A pipe on loan. Dropped empty it goes back to the pool; dropped with octets it is closed.
#[derive(Debug)]
pub(super) struct LentPipe {
    pipe: Option<Pipe>,
    in_flight_octets: usize,
    pool: Rc<PipePool>,
}

impl LentPipe {
    /// Octets read from the source and not yet written to the sink.
    pub(super) fn in_flight_octets(&self) -> usize {
        self.in_flight_octets
    }

    /// Fills the pipe from `socket`; 0 means that the peer has finished.
    pub(super) fn fill(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return Ok(0);
        };
        let moved = sys::splice(socket, &pipe.writer, FILL_OCTETS)?;
        self.in_flight_octets += moved;
        Ok(moved)
    }

    /// Empties the pipe into `socket` as far as that takes it.
    pub(super) fn drain(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return Ok(0);
        };
        // Exactly what is there: a larger length would make the kernel cork the last segment.
        let moved = sys::splice(&pipe.reader, socket, self.in_flight_octets)?;
        self.in_flight_octets = self.in_flight_octets.saturating_sub(moved);
        Ok(moved)
    }
}

impl Drop for LentPipe {
    fn drop(&mut self) {
        self.pool.lent.set(self.pool.lent.get().saturating_sub(1));
        let mut spare = self.pool.spare.borrow_mut();
        if self.in_flight_octets == 0
            && spare.len() < SPARE_PIPES
            && let Some(pipe) = self.pipe.take()
        {
            spare.push(pipe);
        }
    }
}
